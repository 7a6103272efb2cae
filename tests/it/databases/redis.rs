use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use watchkeeper::net::{Net, NetSettings, within};
use watchkeeper::probe::{Path, Reason, Settings};

use super::{
    broken, certificates, configured, failed, good, look, phases, prober, until, until_good, until_listening, value,
};
use crate::support::place::{folder, free_port};
use crate::support::redis::Redis;
use crate::support::tcp::TcpService;

#[tokio::test]
async fn a_server_says_who_it_is_and_what_it_holds() {
    let server = Redis::start_with(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    server.command(&["SET", "a", "1"]);
    server.command(&["SET", "b", "1", "EX", "1000"]);
    let mut prober = configured("redis", json!({"url": server.url(), "role": "cache"}));
    let fresh = good(look(&mut prober, Path::Fresh).await);
    assert_eq!(phases(&fresh), ["resolve", "connect", "query"]);
    assert_eq!(value(&fresh, "watchkeeper_redis_pool_exhausted", &[("path", "fresh")]), 0.0);
    let held = good(look(&mut prober, Path::Held).await);
    assert_eq!(held.warnings, Vec::<String>::new());
    let version = server.command(&["INFO", "server"]);
    let version = version.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap();
    let info = [
        ("role", "master"),
        ("redis_version", version),
        ("redis_mode", "standalone"),
        ("maxmemory_policy", "allkeys-lru"),
    ];
    assert_eq!(value(&held, "redis_instance_info", &info), 1.0);
    for (name, expected) in [
        ("redis_up", 1.0),
        ("redis_memory_max_bytes", 64.0 * 1024.0 * 1024.0),
        ("redis_config_maxclients", 10_000.0),
        ("redis_connected_clients", 1.0),
        ("redis_rejected_connections_total", 0.0),
        ("redis_aof_enabled", 0.0),
        ("redis_connected_slaves", 0.0),
        ("watchkeeper_redis_policy_fits_role", 1.0),
        ("watchkeeper_redis_rdb_saved", 0.0),
    ] {
        assert_eq!(value(&held, name, &[]), expected, "{name}");
    }
    assert_eq!(value(&held, "redis_db_keys", &[("db", "db0")]), 2.0);
    assert_eq!(value(&held, "redis_db_keys_expiring", &[("db", "db0")]), 1.0);
    assert!(value(&held, "redis_memory_used_bytes", &[]) > 100_000.0);
    assert!(value(&held, "redis_connections_received_total", &[]) >= 2.0);
    assert_eq!(phases(&good(look(&mut prober, Path::Held).await)), ["query"]);
}

#[tokio::test]
async fn every_metric_of_a_report_is_declared() {
    let (redis, postgres) = (Redis::start(), crate::support::postgres::Postgres::start());
    for url in [redis.url(), postgres.url()] {
        let mut prober = prober(&url);
        let kind = watchkeeper::probe::Settings::from_url(&url).unwrap().unwrap().kind();
        let declared = watchkeeper::probe::KINDS.iter().find(|known| known.name == kind).unwrap().metrics;
        for path in [Path::Fresh, Path::Held] {
            for reading in good(look(&mut prober, path).await).readings {
                assert!(declared.iter().any(|metric| **metric == *reading.metric), "{}", reading.metric.name);
            }
        }
    }
}

#[tokio::test]
async fn a_snapshot_has_a_time_once_there_is_one() {
    let server = Redis::start();
    let mut prober = prober(&server.url());
    let time = |report: &watchkeeper::probe::Report| {
        let name = "redis_rdb_last_save_timestamp_seconds";
        report.readings.iter().find(|reading| reading.metric.name == name).map(|reading| reading.value)
    };
    assert_eq!(time(&good(look(&mut prober, Path::Held).await)), None);
    server.command(&["SAVE"]);
    let saved: f64 = server.command(&["LASTSAVE"]).parse().unwrap();
    let report = good(look(&mut prober, Path::Held).await);
    assert_eq!(time(&report), Some(saved));
    assert_eq!(value(&report, "watchkeeper_redis_rdb_saved", &[]), 1.0);
}

#[tokio::test]
async fn a_replica_tells_of_its_master_and_the_master_of_its_replica() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.command(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    until("the link", || replica.command(&["INFO", "replication"]).contains("master_link_status:up")).await;
    let of_master = [("master_host", "127.0.0.1"), ("master_port", &*master.port.to_string())];
    let report = good(look(&mut prober(&replica.url()), Path::Held).await);
    assert_eq!(value(&report, "redis_instance_info", &[("role", "slave")]), 1.0);
    assert_eq!(value(&report, "redis_master_link_up", &of_master), 1.0);
    until("the replica's word", || master.command(&["INFO", "replication"]).contains("state=online")).await;
    let report = good(look(&mut prober(&master.url()), Path::Held).await);
    let of_replica = [("slave_port", &*replica.port.to_string()), ("slave_state", "online")];
    assert!(value(&report, "redis_connected_slave_lag_seconds", &of_replica) >= 0.0);
    assert_eq!(value(&report, "redis_connected_slaves", &[]), 1.0);
}

#[tokio::test]
async fn credentials_are_told_apart_from_an_outage() {
    let server = Redis::start_with_password("s3cret");
    let at = format!("127.0.0.1:{}", server.port);
    server.command(&[
        "ACL",
        "SETUSER",
        "watcher",
        "on",
        ">w4tch",
        "resetkeys",
        "resetchannels",
        "-@all",
        "+ping",
        "+info",
    ]);
    server.command(&["ACL", "SETUSER", "blind", "on", ">bl1nd", "-@all", "+ping"]);
    for url in [server.url(), format!("redis://default:s3cret@{at}"), format!("redis://watcher:w4tch@{at}")] {
        let mut prober = prober(&url);
        good(look(&mut prober, Path::Fresh).await);
        assert_eq!(good(look(&mut prober, Path::Held).await).warnings, Vec::<String>::new());
    }
    for (url, part) in [
        (format!("redis://:hunter2@{at}"), "WRONGPASS"),
        (format!("redis://watcher:hunter2@{at}"), "WRONGPASS"),
        (format!("redis://{at}"), "NOAUTH"),
    ] {
        for path in [Path::Fresh, Path::Held] {
            let error = failed(&look(&mut prober(&url), path).await, Reason::Auth);
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
    let blind = good(look(&mut prober(&format!("redis://blind:bl1nd@{at}")), Path::Held).await);
    assert!(blind.warnings[0].contains("+info"), "{:?}", blind.warnings);
}

#[tokio::test]
async fn a_password_where_none_is_set_is_refused() {
    let server = Redis::start();
    let url = format!("redis://:s3cret@127.0.0.1:{}", server.port);
    failed(&look(&mut prober(&url), Path::Fresh).await, Reason::Auth);
}

#[tokio::test]
async fn a_database_is_selected() {
    let server = Redis::start();
    good(look(&mut prober(&format!("{}/3", server.url())), Path::Fresh).await);
    let error = failed(&look(&mut prober(&format!("{}/9999", server.url())), Path::Fresh).await, Reason::NotServing);
    assert!(error.contains("out of range"), "{error}");
}

#[tokio::test]
async fn a_stop_is_heard_at_once_and_a_start_seen() {
    let mut server = Redis::start();
    let mut prober = prober(&server.url());
    for killed in [false, true] {
        good(look(&mut prober, Path::Held).await);
        assert!(tokio::time::timeout(Duration::from_millis(20), prober.broken()).await.is_err());
        if killed {
            server.kill()
        } else {
            server.stop()
        }
        assert_eq!(broken(&mut prober).await.reason, Reason::Reset);
        let report = look(&mut prober, Path::Held).await;
        failed(&report, Reason::Refused);
        assert_eq!(value(&report, "redis_up", &[]), 0.0);
        failed(&look(&mut prober, Path::Fresh).await, Reason::Refused);
        server.start_again();
    }
    good(look(&mut prober, Path::Held).await);
    server.stop();
    server.start_again();
    failed(&look(&mut prober, Path::Held).await, Reason::Reset);
    good(look(&mut prober, Path::Held).await);
}

#[tokio::test]
async fn a_full_server_is_full_and_not_down() {
    let server = Redis::start_with(&["--maxclients", "5"]);
    let mut prober = prober(&server.url());
    good(look(&mut prober, Path::Held).await);
    let connections: Vec<_> = (0..4).map(|_| server.connect().unwrap()).collect();
    let held = loop {
        let held = good(look(&mut prober, Path::Held).await);
        if value(&held, "redis_connected_clients", &[]) == 5.0 {
            break held;
        }
    };
    assert_eq!(value(&held, "watchkeeper_redis_pool_exhausted", &[("path", "held")]), 1.0);
    // Whether the refusal comes before the question or after it, it is understood.
    for _ in 0..50 {
        let fresh = look(&mut prober, Path::Fresh).await;
        failed(&fresh, Reason::Full);
        assert_eq!(value(&fresh, "watchkeeper_redis_pool_exhausted", &[("path", "fresh")]), 1.0);
    }
    drop(connections);
    let fresh = until_good(&mut prober, Path::Fresh).await;
    assert_eq!(value(&fresh, "watchkeeper_redis_pool_exhausted", &[("path", "fresh")]), 0.0);
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_not_serving() {
    let arguments = ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Redis::start_with(&[&arguments[..], &["--enable-debug-command", "yes"]].concat());
    server.command(&["DEBUG", "POPULATE", "3000"]);
    server.command(&["SAVE"]);
    server.stop();
    server.launch();
    let mut prober = prober(&server.url());
    let report = until_listening(&mut prober).await;
    assert!(failed(&report, Reason::NotServing).contains("LOADING"));
}

#[tokio::test]
async fn a_server_that_cannot_save_is_not_serving() {
    let server = Redis::start_with(&["--save", "3600 1000", "--enable-protected-configs", "yes"]);
    let gone = server.folder().join("gone");
    std::fs::create_dir(&gone).unwrap();
    server.command(&["CONFIG", "SET", "dir", gone.to_str().unwrap()]);
    std::fs::remove_dir(&gone).unwrap();
    server.command(&["BGSAVE"]);
    until("the failure to save", || server.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err"))
        .await;
    let report = look(&mut prober(&server.url()), Path::Held).await;
    assert!(failed(&report, Reason::NotServing).contains("MISCONF"));
    assert_eq!(value(&report, "redis_rdb_last_bgsave_status", &[]), 0.0, "the look tells why");
    assert_eq!(value(&report, "redis_up", &[]), 0.0);
}

#[tokio::test]
async fn a_look_that_is_given_up_is_not_held() {
    let server = Redis::start();
    let mut prober = prober(&server.url());
    good(look(&mut prober, Path::Held).await);
    server.freeze();
    let failure = Box::pin(within(Duration::from_millis(200), prober.look(Path::Held))).await;
    let failure = failure.map_or_else(|failure| failure, |report| report.failure.unwrap());
    assert_eq!((failure.reason, failure.phase), (Reason::Timeout, "query"), "{failure}");
    assert!(tokio::time::timeout(Duration::from_millis(50), prober.broken()).await.is_err(), "nothing is held");
    server.thaw();
    until("the connection's end", || server.command(&["INFO", "clients"]).contains("connected_clients:1\r")).await;
}

#[tokio::test]
async fn a_rotated_url_is_followed() {
    let (one, two) = (Redis::start(), Redis::start_with_password("s3cret"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), one.url() + "\n").unwrap();
    let mut prober = configured("redis", json!({"url_file": file.path()}));
    good(look(&mut prober, Path::Held).await);
    std::fs::write(file.path(), two.url()).unwrap();
    good(look(&mut prober, Path::Held).await);
    good(look(&mut prober, Path::Fresh).await);
    until("the old connection's end", || one.command(&["INFO", "clients"]).contains("connected_clients:1\r")).await;
    std::fs::remove_file(file.path()).unwrap();
    good(look(&mut prober, Path::Held).await);
    failed(&look(&mut prober, Path::Fresh).await, Reason::Secret);
}

#[tokio::test]
async fn a_name_that_moves_is_followed() {
    let server = Redis::start_with(&["--bind", "127.0.0.1", "127.0.0.2"]);
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), "127.0.0.1 cache.test\n").unwrap();
    let net = Net::new(NetSettings { hosts_file: hosts.path().to_owned(), ..NetSettings::default() });
    let url = format!("redis://cache.test:{}", server.port);
    let mut prober = Settings::from_url(&url).unwrap().unwrap().prober(Arc::new(net));
    good(look(&mut prober, Path::Fresh).await);
    for _ in 0..2 {
        assert!(!good(look(&mut prober, Path::Held).await).addresses_changed);
    }
    std::fs::write(hosts.path(), "127.0.0.2 cache.test # moved\n").unwrap();
    let report = good(look(&mut prober, Path::Held).await);
    assert!(report.addresses_changed);
    assert_eq!(phases(&report), ["resolve", "connect", "query"], "the held connection has moved too");
    good(look(&mut prober, Path::Fresh).await);
    let report = good(look(&mut prober, Path::Held).await);
    assert!(!report.addresses_changed);
    assert_eq!(phases(&report), ["query"]);
}

#[tokio::test]
async fn tls_is_verified() {
    let certificates = certificates("localhost");
    let folder = folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in
        [("ca", &certificates.authority), ("cert", &certificates.certificate), ("key", &certificates.key)]
    {
        std::fs::write(path(name), text).unwrap();
    }
    let port = free_port();
    let _server = Redis::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("cert"),
        "--tls-key-file",
        &path("key"),
        "--tls-ca-cert-file",
        &path("ca"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let mut trusting = configured("redis", json!({"url": url, "tls": {"ca_file": path("ca")}}));
    let fresh = good(look(&mut trusting, Path::Fresh).await);
    assert_eq!(phases(&fresh), ["resolve", "connect", "tls", "query"]);
    assert!(value(&fresh, "probe_ssl_earliest_cert_expiry", &[]) > 1e9);
    good(look(&mut trusting, Path::Held).await);
    let refused = look(&mut prober(&url), Path::Fresh).await;
    assert!(failed(&refused, Reason::Tls).contains("ca_file"));
    assert!(value(&refused, "probe_ssl_earliest_cert_expiry", &[]) > 1e9, "facts are there also when refused");
    good(look(&mut prober(&format!("{url}?ssl_cert_reqs=none")), Path::Fresh).await);
}

#[tokio::test]
async fn an_answer_made_of_many_is_refused_before_memory_is_set_aside() {
    let service = TcpService::say(b"*999999999\r\n*999999999\r\n*999999999\r\n");
    failed(&look(&mut prober(&format!("redis://{}", service.address())), Path::Fresh).await, Reason::Protocol);
}

#[tokio::test]
async fn a_server_that_talks_unasked_is_cut_off() {
    let service = TcpService::start(|connection| {
        let mut asked = [0; 1024];
        let answers = ["+PONG\r\n", "$35\r\nredis_version:7.0.15\r\nrole:master\r\n\r\n"];
        for answer in answers {
            if !matches!(connection.read(&mut asked), Ok(1..)) {
                return;
            }
            connection.write_all(answer.as_bytes()).unwrap();
        }
        while connection.write_all(b"+more\r\n").is_ok() {}
    });
    let mut prober = prober(&format!("redis://{}", service.address()));
    good(look(&mut prober, Path::Held).await);
    let failure = broken(&mut prober).await;
    assert_eq!(failure.reason, Reason::Protocol);
    assert!(failure.error.contains("more than"), "{failure}");
}
