//! The support itself: a helper that does not work would make other tests pass or fail for the wrong reason.

use std::net::TcpStream;
use std::time::Duration;

use crate::support::client;
use crate::support::http::{Answer, HttpService, Request};
use crate::support::mount::Tmpfs;
use crate::support::postgres::{Postgres, Stop};
use crate::support::prometheus::Prometheus;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::redis::Redis;
use crate::support::tcp::TcpService;
use crate::support::wait::{SOON, until};

#[test]
fn postgresql_starts_stops_is_killed_and_comes_back_on_its_port() {
    let mut server = Postgres::start_with(&["max_connections=10"]);
    assert_eq!(server.execute("SHOW max_connections"), "10");
    server.stop(Stop::Fast);
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
    server.start_again();
    server.kill();
    server.start_again();
    assert_eq!(server.execute("SELECT 1"), "1");
}

#[test]
fn postgresql_can_be_filled() {
    let server = Postgres::start_with(&["max_connections=10"]);
    let sessions = server.fill();
    assert_eq!(sessions.len(), 7, "10 less the 3 that are kept for superusers");
    drop(sessions);
    until("a free connection", SOON, || server.connect("crowd", "postgres").is_ok());
}

#[test]
fn redis_starts_with_a_password_and_comes_back_on_its_port() {
    let mut server = Redis::start_with(&["--requirepass", "sesame", "--maxclients", "50"]);
    assert_eq!(server.command(&["CONFIG", "GET", "maxclients"]), "maxclients\n50");
    server.stop();
    assert!(server.connect().is_err());
    server.start_again();
    server.kill();
    server.start_again();
    assert_eq!(server.command(&["PING"]), "PONG");
}

#[test]
fn a_service_switches_its_answer_and_keeps_its_port() {
    let mut service = HttpService::start(Answer::Status(200));
    let address = format!("127.0.0.1:{}", service.port());
    assert_eq!(client::get(&address, "/").unwrap().status, 200);
    service.answer(Answer::Status(503));
    assert_eq!(client::get(&address, "/").unwrap().status, 503);
    service.stop();
    assert!(client::get(&address, "/").is_err());
    service.start_again();
    assert_eq!(client::get(&address, "/").unwrap().status, 503);
    assert_eq!((service.requests(), service.connections()), (3, 3));
    until("every connection to be closed", SOON, || service.open() == 0);
}

#[test]
fn a_flood_ends_when_its_reader_leaves() {
    let service = TcpService::flood();
    drop(TcpStream::connect(service.address()).unwrap());
    until("the flood's end", SOON, || service.accepted() == 1 && service.open() == 0);
}

#[test]
fn a_receiver_keeps_what_it_is_sent_and_answers_by_its_script() {
    let receiver = Receiver::start();
    receiver.script([Answer::Status(503)]);
    let address = receiver.url().replace("http://", "").replace("/page", "");
    let body = r#"{"status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A"}}]}"#;
    let request = format!("POST /page HTTP/1.0\r\nwebhook-id: 7\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for expected in [503, 200] {
        let mut stream = TcpStream::connect(&address).unwrap();
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {expected}"));
    }
    let page = receiver.wait_for_page("A", SOON);
    assert_eq!((page.index, page.id()), (1, "7"));
    assert_eq!(receiver.attempts().len(), 2);
}

/// The example that implementations of Standard Webhooks test themselves with.
#[test]
fn a_signature_is_checked_as_standard_webhooks_says() {
    let signed = |signature: &str| {
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ];
        Delivery {
            at: std::time::Instant::now(),
            index: 0,
            request: Request {
                method: "POST".to_owned(),
                path: "/".to_owned(),
                last: false,
                headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
                body: br#"{"test": 2432232314}"#.to_vec(),
            },
            payload: serde_json::Value::Null,
            answer: Answer::Status(200),
        }
    };
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert!(signed("v1,AAAA v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=").is_signed_with(KEY));
    assert!(!signed("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=").is_signed_with(KEY));
}

#[test]
#[should_panic(expected = "none at all")]
fn a_page_that_does_not_come_fails_its_test() {
    Receiver::start().wait_for_page("A", Duration::from_millis(50));
}

#[test]
fn prometheus_answers_queries() {
    let prometheus = Prometheus::scraping("127.0.0.1:1");
    until("a scrape", SOON, || !prometheus.query("up").is_empty());
    assert_eq!(prometheus.query("up")[0]["value"][1], "0");
}

#[test]
fn a_small_disk_fills_up_and_becomes_read_only() {
    let disk = Tmpfs::mount(256);
    let write = || std::fs::write(disk.path().join("file"), [0; 4096]);
    write().unwrap();
    let ballast = disk.fill();
    let full = std::fs::write(disk.path().join("other"), [0; 4096]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    std::fs::remove_file(ballast).unwrap();
    write().unwrap();
    disk.make_read_only();
    assert_eq!(write().unwrap_err().kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    disk.make_writable();
    write().unwrap();
}
