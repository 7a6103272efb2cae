use std::time::Duration;

use serde_json::json;
use watchkeeper::net::within;
use watchkeeper::probe::{Path, Prober, Reason};

use super::{
    broken, certificates, configured, failed, good, look, phases, prober, until, until_good, until_listening, value,
};
use crate::support::postgres::{Postgres, Stop};

/// A server with an ordinary role `app` that sees everything, password `s3cret`.
fn server(settings: &[&str]) -> Postgres {
    let server = Postgres::start_with(settings);
    server.execute("CREATE ROLE app LOGIN PASSWORD 's3cret'; GRANT pg_monitor TO app");
    server
}

fn app(server: &Postgres) -> String {
    format!("postgres://app:s3cret@127.0.0.1:{}/postgres", server.port)
}

/// From now on `app` needs its password.
fn demand_password(server: &Postgres) {
    let rules = std::fs::read_to_string(server.data().join("pg_hba.conf")).unwrap();
    server.write("pg_hba.conf", &format!("host all app 127.0.0.1/32 scram-sha-256\n{rules}"));
    server.execute("SELECT pg_reload_conf()");
}

#[tokio::test]
async fn a_server_says_who_it_is_and_how_full() {
    let server = server(&["max_connections=20"]);
    let mut prober = prober(&app(&server));
    let fresh = good(look(&mut prober, Path::Fresh).await);
    assert_eq!(phases(&fresh), ["resolve", "connect", "tls", "startup", "query"]);
    assert_eq!(value(&fresh, "watchkeeper_postgres_pool_exhausted", &[("path", "fresh")]), 0.0);
    let held = good(look(&mut prober, Path::Held).await);
    assert_eq!(held.warnings, Vec::<String>::new());
    assert_eq!(value(&held, "pg_up", &[]), 1.0);
    assert_eq!(value(&held, "pg_replication_is_replica", &[]), 0.0);
    let started: f64 = server.execute("SELECT extract(epoch FROM pg_postmaster_start_time())").parse().unwrap();
    assert!((value(&held, "pg_postmaster_start_time_seconds", &[]) - started).abs() < 1e-3);
    let number: u32 = server.execute("SHOW server_version_num").parse().unwrap();
    let short = format!("{}.{}.0", number / 10_000, number % 10_000);
    let version = server.execute("SELECT version()");
    assert_eq!(value(&held, "pg_static", &[("short_version", &short), ("version", &version)]), 1.0);
    assert_eq!(value(&held, "pg_settings_max_connections", &[]), 20.0);
    assert_eq!(value(&held, "pg_settings_superuser_reserved_connections", &[]), 3.0);
    assert_eq!(value(&held, "watchkeeper_postgres_connections_usable", &[]), 17.0);
    assert!(value(&held, "watchkeeper_postgres_connections_used", &[]) >= 1.0);
    let own = [("datname", "postgres"), ("state", "active"), ("usename", "app"), ("application_name", "watchkeeper")];
    assert_eq!(value(&held, "pg_stat_activity_count", &own), 1.0);
}

#[tokio::test]
async fn a_standby_is_known_as_one() {
    let mut server = Postgres::prepare(&[]);
    server.write("standby.signal", "");
    server.start_again();
    let held = good(look(&mut prober(&server.url()), Path::Held).await);
    assert_eq!(value(&held, "pg_replication_is_replica", &[]), 1.0);
}

#[tokio::test]
async fn the_held_connection_is_used_again_and_asked_once_a_look() {
    let server = server(&[]);
    let mut prober = prober(&app(&server));
    good(look(&mut prober, Path::Held).await);
    let sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'watchkeeper'";
    let first = server.execute(sessions);
    assert_eq!(first.lines().count(), 1, "{first}");
    assert_eq!(phases(&good(look(&mut prober, Path::Held).await)), ["query"]);
    assert_eq!(server.execute(sessions), first);
}

#[tokio::test]
async fn connections_are_counted_by_state() {
    let server = server(&[]);
    let waiting = "SET application_name = 'waiter'; BEGIN; SELECT 1";
    let mut psql = std::process::Command::new("/usr/lib/postgresql/15/bin/psql");
    psql.args(["-XAtq", "-c", waiting, "-c", "SELECT pg_sleep(60)"]).arg(server.url());
    let mut process = psql.stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut prober = prober(&app(&server));
    let sleeping = [("application_name", "waiter"), ("state", "active"), ("wait_event", "PgSleep")];
    until("the waiter", || server.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1")
        .await;
    let held = good(look(&mut prober, Path::Held).await);
    assert_eq!(value(&held, "pg_stat_activity_count", &sleeping), 1.0);
    process.kill().unwrap();
    process.wait().unwrap();
}

#[tokio::test]
async fn groups_beyond_the_limit_are_folded_by_state_and_none_is_lost() {
    let server = server(&["max_connections=150"]);
    server.execute("CREATE ROLE crowd LOGIN");
    let sessions: Vec<_> = (0..80)
        .map(|number| {
            let role = format!("crowd{number}");
            server.execute(&format!("CREATE ROLE {role} LOGIN"));
            server.connect(&role, "postgres").unwrap()
        })
        .collect();
    let held = good(look(&mut prober(&app(&server)), Path::Held).await);
    let groups: Vec<_> =
        held.readings.iter().filter(|reading| reading.metric.name == "pg_stat_activity_count").collect();
    assert!((64..=72).contains(&groups.len()), "{} groups", groups.len());
    let idle = groups.iter().filter(|group| group.labels.contains(&("state", "idle".to_owned())));
    assert_eq!(idle.map(|group| group.value).sum::<f64>(), sessions.len() as f64);
}

#[tokio::test]
async fn credentials_are_told_apart_from_an_outage() {
    let server = server(&[]);
    demand_password(&server);
    good(until_good(&mut prober(&app(&server)), Path::Fresh).await);
    for (url, part) in [
        (app(&server).replace("s3cret", "hunter2"), "28P01"),
        (app(&server).replace(":s3cret", ""), "has none"),
        (app(&server).replace("app:", "nobody_here:"), "28000"),
    ] {
        for path in [Path::Fresh, Path::Held] {
            let error = failed(&look(&mut prober(&url), path).await, Reason::Auth);
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
    let missing = app(&server).replace("/postgres", "/no_such_database");
    let error = failed(&look(&mut prober(&missing), Path::Fresh).await, Reason::NotServing);
    assert!(error.contains("no_such_database") && error.contains("3D000"), "{error}");
}

#[tokio::test]
async fn a_role_that_sees_too_little_is_warned_of() {
    let server = server(&[]);
    server.execute("REVOKE pg_monitor FROM app");
    let others = [server.connect("postgres", "postgres").unwrap(), server.connect("postgres", "postgres").unwrap()];
    let held = good(look(&mut prober(&app(&server)), Path::Held).await);
    assert!(held.warnings[0].contains("pg_monitor"), "{:?}", held.warnings);
    assert!(value(&held, "watchkeeper_postgres_connections_used", &[]) >= 1.0 + others.len() as f64);
}

#[tokio::test]
async fn a_stop_is_heard_at_once_and_a_start_seen() {
    let mut server = server(&[]);
    let mut prober = prober(&app(&server));
    for how in [Stop::Fast, Stop::Immediate] {
        good(look(&mut prober, Path::Held).await);
        server.stop(how);
        let failure = broken(&mut prober).await;
        assert!(matches!(failure.reason, Reason::NotServing | Reason::Reset), "{failure}");
        failed(&look(&mut prober, Path::Held).await, Reason::Refused);
        failed(&look(&mut prober, Path::Fresh).await, Reason::Refused);
        server.start_again();
    }
    good(look(&mut prober, Path::Held).await);
    server.kill();
    failed_with_reset_or_refusal(&mut prober).await;
}

async fn failed_with_reset_or_refusal(prober: &mut Prober) {
    let failure = broken(prober).await;
    assert!(matches!(failure.reason, Reason::NotServing | Reason::Reset), "{failure}");
}

#[tokio::test]
async fn a_session_that_is_terminated_says_so_and_is_opened_again() {
    let server = server(&[]);
    let mut prober = prober(&app(&server));
    good(look(&mut prober, Path::Held).await);
    // Waiting for the break is given up and taken up again, as the target's task does around its looks.
    assert!(tokio::time::timeout(Duration::from_millis(20), prober.broken()).await.is_err());
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'watchkeeper'");
    let failure = broken(&mut prober).await;
    assert_eq!(failure.reason, Reason::NotServing);
    assert!(failure.error.contains("57P01"), "{failure}");
    good(look(&mut prober, Path::Held).await);
}

#[tokio::test]
async fn a_session_that_ended_unheard_is_the_next_look_s_failure() {
    let server = server(&[]);
    let mut prober = prober(&app(&server));
    good(look(&mut prober, Path::Held).await);
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'watchkeeper'");
    let report = look(&mut prober, Path::Held).await;
    assert!(failed(&report, Reason::NotServing).contains("57P01"));
    assert_eq!(value(&report, "pg_up", &[]), 0.0);
    good(look(&mut prober, Path::Held).await);
}

#[tokio::test]
async fn a_full_server_is_full_and_not_down() {
    let server = server(&["max_connections=10"]);
    let mut prober = prober(&app(&server));
    good(look(&mut prober, Path::Held).await);
    let sessions = server.fill();
    let fresh = look(&mut prober, Path::Fresh).await;
    assert!(failed(&fresh, Reason::Full).contains("53300"));
    assert_eq!(value(&fresh, "watchkeeper_postgres_pool_exhausted", &[("path", "fresh")]), 1.0);
    let held = good(look(&mut prober, Path::Held).await);
    assert_eq!(value(&held, "watchkeeper_postgres_pool_exhausted", &[("path", "held")]), 1.0);
    let used = value(&held, "watchkeeper_postgres_connections_used", &[]);
    assert!(used >= value(&held, "watchkeeper_postgres_connections_usable", &[]), "{used}");
    let refused = look(&mut super::prober(&app(&server)), Path::Held).await;
    failed(&refused, Reason::Full);
    assert_eq!(value(&refused, "watchkeeper_postgres_pool_exhausted", &[("path", "held")]), 1.0);
    drop(sessions);
    let fresh = until_good(&mut prober, Path::Fresh).await;
    assert_eq!(value(&fresh, "watchkeeper_postgres_pool_exhausted", &[("path", "fresh")]), 0.0);
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_not_serving() {
    let mut server = Postgres::prepare(&["hot_standby=off"]);
    server.write("standby.signal", "");
    server.launch();
    let mut prober = prober(&server.url());
    let report = until_listening(&mut prober).await;
    assert!(failed(&report, Reason::NotServing).contains("57P03"));
}

#[tokio::test]
async fn a_look_that_is_given_up_is_not_held() {
    let server = server(&[]);
    server.execute(
        "CREATE FUNCTION public.pg_is_in_recovery() RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(60) IS NULL'",
    );
    // The server hangs in a function of its own, found before the real one.
    let url = format!("{}?options=-csearch_path%3Dpublic%2Cpg_catalog", app(&server));
    let mut prober = prober(&url);
    let failure = Box::pin(within(Duration::from_millis(500), prober.look(Path::Held))).await;
    let failure = failure.map_or_else(|failure| failure, |report| report.failure.unwrap());
    assert_eq!((failure.reason, failure.phase), (Reason::Timeout, "query"), "{failure}");
    assert!(tokio::time::timeout(Duration::from_millis(50), prober.broken()).await.is_err(), "nothing is held");
    // The server itself ends the statement, whether it notices that nobody waits or not.
    until("the statement's end", || {
        server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watchkeeper'") == "0"
    })
    .await;
}

#[tokio::test]
async fn a_rotated_url_is_followed() {
    let (one, two) = (server(&[]), server(&[]));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), app(&one) + "\n").unwrap();
    let mut prober = configured("postgres", json!({"url_file": file.path()}));
    good(look(&mut prober, Path::Held).await);
    std::fs::write(file.path(), app(&two)).unwrap();
    good(look(&mut prober, Path::Held).await);
    good(look(&mut prober, Path::Fresh).await);
    let held = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watchkeeper'";
    until("the old connection's end", || one.execute(held) == "0").await;
    assert_eq!(two.execute(held), "1");
    std::fs::remove_file(file.path()).unwrap();
    good(look(&mut prober, Path::Held).await);
    assert!(failed(&look(&mut prober, Path::Fresh).await, Reason::Secret).contains("cannot read"));
}

#[tokio::test]
async fn tls_is_as_strict_as_sslmode_says() {
    let certificates = certificates("localhost");
    let folder = crate::support::place::folder();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &certificates.authority).unwrap();
    let mut server = Postgres::prepare(&["ssl=on"]);
    server.write("server.crt", &certificates.certificate);
    server.write("server.key", &certificates.key);
    server.start_again();
    server.execute("CREATE ROLE app LOGIN PASSWORD 's3cret'; GRANT pg_monitor TO app");
    let rules = std::fs::read_to_string(server.data().join("pg_hba.conf")).unwrap();
    server.write(
        "pg_hba.conf",
        &format!("hostssl all app 127.0.0.1/32 scram-sha-256\nhost all app 127.0.0.1/32 reject\n{rules}"),
    );
    server.execute("SELECT pg_reload_conf()");
    let by_name = format!("postgres://app:s3cret@localhost:{}/postgres", server.port);
    let by_address = app(&server);
    let ca = ca.display();
    until_good(&mut prober(&by_name), Path::Fresh).await;
    for url in [
        by_name.clone(),
        format!("{by_name}?sslmode=require"),
        format!("{by_name}?sslmode=require&channel_binding=require"),
        format!("{by_address}?sslmode=verify-ca&sslrootcert={ca}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={ca}"),
    ] {
        let report = good(look(&mut prober(&url), Path::Fresh).await);
        assert!(value(&report, "probe_ssl_earliest_cert_expiry", &[]) > 1e9, "{url}");
        good(look(&mut prober(&url), Path::Held).await);
    }
    for (url, part) in [
        (format!("{by_name}?sslmode=verify-full"), "ca_file"),
        (format!("{by_name}?sslmode=verify-ca"), "ca_file"),
        (format!("{by_address}?sslmode=verify-full&sslrootcert={ca}"), "localhost"),
    ] {
        let report = look(&mut prober(&url), Path::Fresh).await;
        let error = failed(&report, Reason::Tls);
        assert!(error.contains(part), "{error}");
        assert!(value(&report, "probe_ssl_earliest_cert_expiry", &[]) > 1e9, "facts are there also when refused");
    }
    failed(&look(&mut prober(&format!("{by_name}?sslmode=disable")), Path::Fresh).await, Reason::Auth);
    let settings = json!({"url": by_name, "tls": {"ca_file": ca.to_string()}});
    good(look(&mut configured("postgres", settings), Path::Fresh).await);
}

#[tokio::test]
async fn tls_that_the_server_does_not_offer_is_refused_when_asked_for() {
    let server = server(&[]);
    let error =
        failed(&look(&mut prober(&format!("{}?sslmode=require", app(&server))), Path::Fresh).await, Reason::Tls);
    assert!(error.contains("does not offer TLS"), "{error}");
}
