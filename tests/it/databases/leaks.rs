//! Ten thousand rounds, counted at the server: no connection is left behind, none more is made than declared.

use watchkeeper::probe::Path;

use super::{good, look, prober, until, value};
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;

const ROUNDS: u32 = 10_000;

#[tokio::test]
async fn redis_sees_one_held_connection_and_one_more_a_fresh_look() {
    const FRESH_EVERY: u32 = 4;
    let server = Redis::start();
    let mut prober = prober(&server.url());
    let before = good(look(&mut prober, Path::Held).await);
    for round in 0..ROUNDS {
        let path = if round % FRESH_EVERY == 0 { Path::Fresh } else { Path::Held };
        let report = good(look(&mut prober, path).await);
        if path == Path::Held {
            // The held one, and a fresh one whose end the server has yet to see.
            assert!(value(&report, "redis_connected_clients", &[]) <= 2.0);
        }
    }
    let after = good(look(&mut prober, Path::Held).await);
    let received = |report| value(report, "redis_connections_received_total", &[]);
    assert_eq!(received(&after) - received(&before), f64::from(ROUNDS / FRESH_EVERY));
    drop(prober);
    until("the last connection's end", || server.command(&["INFO", "clients"]).contains("connected_clients:1\r")).await;
}

#[tokio::test]
async fn postgresql_sees_one_held_connection_and_one_more_a_fresh_look() {
    const FRESH_EVERY: u32 = 40;
    let server = Postgres::start();
    server.execute("CREATE DATABASE watched");
    let mut prober = prober(&format!("postgres://postgres@127.0.0.1:{}/watched", server.port));
    good(look(&mut prober, Path::Held).await);
    let own = [("datname", "watched"), ("state", "active")];
    for round in 0..ROUNDS {
        let path = if round % FRESH_EVERY == 0 { Path::Fresh } else { Path::Held };
        let report = good(look(&mut prober, path).await);
        if path == Path::Held {
            assert_eq!(value(&report, "pg_stat_activity_count", &own), 1.0);
            // The held one, and a fresh one whose end the server has yet to see.
            assert!(value(&report, "watchkeeper_postgres_connections_used", &[]) <= 2.0);
        }
    }
    drop(prober);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'watched'";
    until("the last session's end", || server.execute(sessions) == "0").await;
    let made = server.execute("SELECT sessions FROM pg_stat_database WHERE datname = 'watched'");
    assert_eq!(made, (1 + ROUNDS / FRESH_EVERY).to_string());
}
