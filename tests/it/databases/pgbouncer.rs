//! PostgreSQL behind PgBouncer in transaction mode.

use watchkeeper::probe::{Path, Reason};

use super::{failed, good, look, prober, value};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Postgres, Stop};

#[tokio::test]
async fn both_looks_go_through_and_leave_nothing_behind() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server, "default_pool_size = 1");
    let mut prober = prober(&pooler.url());
    for _ in 0..5 {
        good(look(&mut prober, Path::Fresh).await);
        let held = good(look(&mut prober, Path::Held).await);
        assert_eq!(value(&held, "pg_up", &[]), 1.0);
        // The one connection of the pool is the one that the looks have used.
        assert_eq!(pooler.execute("SHOW statement_timeout"), "0");
    }
}

#[tokio::test]
async fn a_pooler_that_is_full_is_full_and_not_down() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server, "max_client_conn = 1");
    let (mut first, mut second) = (prober(&pooler.url()), prober(&pooler.url()));
    good(look(&mut first, Path::Held).await);
    let refused = look(&mut second, Path::Fresh).await;
    assert!(failed(&refused, Reason::Full).contains("no more connections allowed"));
    good(look(&mut first, Path::Held).await);
}

#[tokio::test]
async fn a_server_that_is_gone_behind_its_pooler_is_not_serving() {
    let mut server = Postgres::start();
    let pooler = PgBouncer::before(&server, "server_login_retry = 1\nquery_wait_timeout = 2");
    let mut prober = prober(&pooler.url());
    good(look(&mut prober, Path::Held).await);
    server.stop(Stop::Fast);
    failed(&look(&mut prober, Path::Held).await, Reason::NotServing);
    failed(&look(&mut prober, Path::Fresh).await, Reason::NotServing);
    server.start_again();
    super::until_good(&mut prober, Path::Fresh).await;
}
