use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::net::fake::{Server, closed_port, read_head, read_to_end};
use crate::net::tls::tests::{Authority, acceptor, expired, params};
use crate::net::{NetSettings, within};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

async fn look(settings: Value) -> Report {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert_eq!(settings.check(), []);
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    within(Duration::from_secs(5), prober.look(Path::Fresh)).await.unwrap()
}

async fn look_at(server: &Server, more: Value) -> Report {
    let mut settings = json!({"url": server.url("/health?token=x")});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    look(settings).await
}

fn value(report: &Report, name: &str) -> f64 {
    report.readings.iter().find(|reading| reading.metric.name == name).unwrap().value
}

fn reason(report: &Report) -> Option<Reason> {
    report.failure.as_ref().map(|failure| failure.reason)
}

fn error(report: &Report) -> &str {
    &report.failure.as_ref().unwrap().error
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_good_answer_is_measured_under_the_blackbox_exporter_s_names() {
    let server = Server::answering(OK).await;
    let report = look_at(&server, json!({})).await;
    assert_eq!(report.failure, None);
    let expected = [
        ("probe_http_status_code", 200.0),
        ("probe_http_content_length", 5.0),
        ("probe_http_uncompressed_body_length", 5.0),
        ("probe_http_redirects", 0.0),
        ("probe_http_ssl", 0.0),
        ("probe_http_version", 1.1),
        ("probe_failed_due_to_regex", 0.0),
        ("probe_ip_protocol", 4.0),
    ];
    for (name, expected) in expected {
        assert_eq!(value(&report, name), expected, "{name}");
    }
    let phases = report.readings.iter().filter(|reading| reading.metric == DURATION);
    let phases: Vec<&str> = phases.map(|reading| reading.labels[0].1.as_str()).collect();
    assert_eq!(phases, ["resolve", "connect", "tls", "processing", "transfer"]);
    let passed: Vec<&str> = report.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(passed, ["resolve", "connect", "processing", "transfer"]);
}

#[tokio::test]
async fn every_reading_is_declared() {
    let server = Server::answering(OK).await;
    for reading in look_at(&server, json!({})).await.readings {
        assert!(METRICS.contains(&reading.metric), "{}", reading.metric.name);
    }
}

#[tokio::test]
async fn the_request_is_plain_and_says_who_asks() {
    let server = Server::answering(OK).await;
    let settings = json!({"method": "POST", "body": "ping", "headers": {"X-Key": "k", "Host": "virtual"}});
    look_at(&server, settings).await;
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /health?token=x HTTP/1.1\r\n"), "{request}");
    for line in ["x-key: k", "host: virtual", "connection: close", "content-length: 4", "accept: */*"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
    assert!(request.contains(&format!("user-agent: watchkeeper/{}\r\n", env!("CARGO_PKG_VERSION"))));
    assert!(!request.contains("accept-encoding"));
}

#[tokio::test]
async fn credentials_come_from_the_url_the_settings_or_a_file() {
    let server = Server::answering(OK).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "t0ken\n").unwrap();
    let address = server.address;
    look(json!({"url": format!("http://us%65r:p%40ss&w+rd@{address}/")})).await;
    look(json!({"url": server.url("/"), "basic_auth": {"username": "user", "password": "pass"}})).await;
    look(json!({"url": server.url("/"), "bearer_token_file": file.path()})).await;
    let requests = server.requests();
    let sent: Vec<&str> =
        requests.iter().filter_map(|request| request.lines().find(|line| line.starts_with("authorization"))).collect();
    let expected = [
        "authorization: Basic dXNlcjpwQHNzJncrcmQ=",
        "authorization: Basic dXNlcjpwYXNz",
        "authorization: Bearer t0ken",
    ];
    assert_eq!(sent, expected);
    assert!(requests[0].contains(&format!("host: {address}\r\n")));
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_not_the_target_s_fault() {
    let server = Server::answering(OK).await;
    let report = look_at(&server, json!({"bearer_token_file": "/nowhere/token"})).await;
    assert_eq!(reason(&report), Some(Reason::Secret));
}

#[tokio::test]
async fn a_status_that_is_not_wanted_fails_and_is_told() {
    let server = Server::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let report = look_at(&server, json!({})).await;
    assert_eq!(reason(&report), Some(Reason::Status));
    assert_eq!(error(&report), "status 503 Service Unavailable, wanted 2xx");
    assert_eq!(value(&report, "probe_http_status_code"), 503.0);
    assert_eq!(look_at(&server, json!({"status": [200, "5xx"]})).await.failure, None);
}

#[tokio::test]
async fn a_body_that_is_not_wanted_fails_and_is_told() {
    let server = Server::answering(OK).await;
    let report = look_at(&server, json!({"expect_body": {"contains": "ready"}})).await;
    assert_eq!(reason(&report), Some(Reason::Body));
    assert_eq!(error(&report), r#"the body (5 bytes) does not hold "ready""#);
    assert_eq!(value(&report, "probe_failed_due_to_regex"), 1.0);
    assert_eq!(look_at(&server, json!({"expect_body": {"matches": "^h.*o$"}})).await.failure, None);
}

#[tokio::test]
async fn a_body_is_read_up_to_its_cap() {
    let server = Server::answering(OK).await;
    let report = look_at(&server, json!({"max_body": 3, "expect_body": {"contains": "hell"}})).await;
    assert_eq!(value(&report, "probe_http_uncompressed_body_length"), 3.0);
    assert_eq!(error(&report), r#"the part of the body that was read (3 bytes) does not hold "hell""#);
    assert_eq!(look_at(&server, json!({"max_body": 5})).await.failure, None);
}

#[tokio::test]
async fn heads_are_bounded() {
    for head in [format!("X: {}\r\n", "x".repeat(20_000)), "X: y\r\n".repeat(101)] {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{head}\r\n")).await;
        let report = look_at(&server, json!({})).await;
        assert_eq!(reason(&report), Some(Reason::Protocol));
        assert!(error(&report).contains("head is larger than"), "{}", error(&report));
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_still_tells_its_status() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello").await;
    let report = look_at(&server, json!({})).await;
    assert_eq!(reason(&report), Some(Reason::Reset));
    assert_eq!(value(&report, "probe_http_status_code"), 200.0);
    assert_eq!(error(&report), "the connection was closed before the answer was complete");
}

#[tokio::test]
async fn without_an_answer_everything_is_zero_as_with_the_blackbox_exporter() {
    let report = look(json!({"url": format!("http://{}/", closed_port().await)})).await;
    assert_eq!(reason(&report), Some(Reason::Refused));
    assert_eq!(value(&report, "probe_http_status_code"), 0.0);
    assert_eq!(value(&report, "probe_http_version"), 0.0);
}

#[tokio::test]
async fn redirects_are_followed_and_counted_up_to_the_limit() {
    let last = Server::answering(OK).await;
    let first = Server::answering(redirect(&last.url("/x"))).await;
    let report = look_at(&first, json!({})).await;
    assert_eq!(report.failure, None);
    assert_eq!(value(&report, "probe_http_redirects"), 1.0);
    let report = look_at(&first, json!({"redirects": 0})).await;
    assert_eq!(error(&report), "status 302 Found, wanted 2xx, and redirects are not followed");
    assert_eq!(look_at(&first, json!({"status": 302})).await.failure, None);
    let circle = Server::answering(redirect("/again")).await;
    let report = look_at(&circle, json!({"redirects": 3})).await;
    assert_eq!(error(&report), "status 302 Found, wanted 2xx, after 3 redirects");
    assert_eq!(circle.requests().len(), 4);
}

#[tokio::test]
async fn credentials_and_headers_stay_with_their_host() {
    let last = Server::answering(OK).await;
    let first = Server::answering(redirect(&format!("http://thief:x@{}/", last.address))).await;
    let settings = json!({"bearer_token": "hunter2", "headers": {"X-Key": "hunter3", "Cookie": "hunter4"}});
    assert_eq!(look_at(&first, settings).await.failure, None);
    assert!(first.requests()[0].contains("hunter2"));
    let request = last.requests().remove(0);
    for secret in ["hunter", "authorization", "cookie", "x-key"] {
        assert!(!request.contains(secret), "{request}");
    }
}

#[tokio::test]
async fn along_a_redirect_at_home_credentials_are_kept() {
    let server = Server::start(|mut stream, seen| async move {
        let request = read_head(&mut stream).await;
        let answer = if request.starts_with("GET /health") { redirect("/moved") } else { OK.to_owned() };
        seen.requests.lock().unwrap().push(request);
        let _ = stream.write_all(answer.as_bytes()).await;
        read_to_end(&mut stream).await;
    })
    .await;
    assert_eq!(look_at(&server, json!({"bearer_token": "t"})).await.failure, None);
    assert!(server.requests()[1].contains("authorization: Bearer t"));
}

#[tokio::test]
async fn a_request_with_a_body_is_not_taken_elsewhere() {
    let last = Server::answering(OK).await;
    let answer = format!("HTTP/1.1 307 T\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", last.url("/"));
    let first = Server::answering(answer).await;
    let report = look_at(&first, json!({"method": "POST", "body": "hunter2"})).await;
    assert_eq!(error(&report), "307 is not followed: it would take the request's body to another host");
    let found = Server::answering(redirect(&last.url("/"))).await;
    assert_eq!(look_at(&found, json!({"method": "POST", "body": "hunter2"})).await.failure, None);
    assert!(last.requests()[0].starts_with("GET / "));
}

#[tokio::test]
async fn a_redirect_to_another_protocol_is_refused() {
    let server = Server::answering(redirect("file:///etc/passwd")).await;
    let report = look_at(&server, json!({})).await;
    assert_eq!(error(&report), "302 is not followed: its Location is neither http nor https");
}

async fn https_server(acceptor: tokio_rustls::TlsAcceptor) -> Server {
    Server::start(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            read_head(&mut stream).await;
            let _ = stream.write_all(OK.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

#[tokio::test]
async fn certificate_facts_are_reported_verified_or_not() {
    let authority = Authority::new();
    let ca = authority.file();
    let cases =
        [(params("localhost"), None, 4_070_908_800.0), (expired("localhost"), Some(Reason::Tls), 1_577_836_800.0)];
    for (params, expected, expiry) in cases {
        let server = https_server(acceptor(&authority.issue(params))).await;
        let url = format!("https://localhost:{}/", server.address.port());
        let report = look(json!({"url": url, "tls": {"ca_file": ca.path()}})).await;
        assert_eq!(reason(&report), expected);
        assert_eq!(value(&report, "probe_ssl_earliest_cert_expiry"), expiry);
        assert_eq!(value(&report, "probe_ssl_last_chain_expiry_timestamp_seconds"), expiry);
        assert_eq!(value(&report, "probe_http_ssl"), 1.0);
        let of = |metric| report.readings.iter().find(|reading| reading.metric == metric).unwrap();
        assert_eq!(of(network::TLS_VERSION).labels, [("version", "TLS 1.3".to_owned())]);
        let info = of(network::CHAIN_INFO);
        let names: Vec<&str> = info.labels.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"]);
        assert_eq!(info.labels[3].1, "localhost");
    }
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_a_warning() {
    let authority = Authority::new();
    let ca = authority.file();
    let mut soon = params("localhost");
    let today = crate::clock::rfc3339(crate::clock::wall_ms() + 5 * 86_400_000);
    let part = |range: std::ops::Range<usize>| today[range].parse::<i32>().unwrap();
    soon.not_after = rcgen::date_time_ymd(part(0..4), part(5..7) as u8, part(8..10) as u8);
    let server = https_server(acceptor(&authority.issue(soon))).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let report = look(json!({"url": url, "tls": {"ca_file": ca.path()}})).await;
    assert_eq!(report.failure, None);
    assert_eq!(report.warnings, ["the certificate ends in 4 days"]);
}

#[tokio::test]
async fn http_1_0_is_understood() {
    let server = Server::answering("HTTP/1.0 200 OK\r\n\r\nhello").await;
    let report = look_at(&server, json!({})).await;
    assert_eq!(report.failure, None);
    assert_eq!(value(&report, "probe_http_version"), 1.0);
    assert_eq!(value(&report, "probe_http_content_length"), -1.0);
}

#[tokio::test]
async fn url_headers_and_body_in_files_are_read_for_every_look() {
    let server = Server::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let url = file("url", &format!("{}\n", server.url("/one")));
    let settings = json!({"url_file": url, "method": "POST", "headers_file": {"X-Key": file("key", "first\n")},
        "body_file": file("body", "payload")});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert_eq!((settings.check(), settings.instance()), (vec![], Ok(server.url("/one"))));
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    assert_eq!(prober.look(Path::Fresh).await.failure, None);
    file("url", &server.url("/two"));
    file("key", "second");
    assert_eq!(prober.look(Path::Fresh).await.failure, None);
    let heads = server.requests();
    for (head, line, key) in [(&heads[0], "POST /one ", "first"), (&heads[1], "POST /two ", "second")] {
        assert!(head.starts_with(line) && head.contains(&format!("x-key: {key}\r\n")), "{head}");
        assert!(head.contains("content-length: 7\r\n"), "{head}");
    }
    std::fs::remove_file(folder.path().join("key")).unwrap();
    let report = prober.look(Path::Fresh).await;
    assert_eq!(reason(&report), Some(Reason::Secret), "{}", error(&report));
}

#[tokio::test]
async fn json_must_say_what_is_wanted() {
    let body = r#"{"status": "UP", "parts": [{"name": "db", "ok": true}, {"name": "cache", "ok": false}], "lag": 2.0}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let server = Server::answering(answer).await;
    for good in [
        json!({"path": "$.status", "equals": "UP"}),
        json!([{"path": "$.status", "equals": ["OK", "UP"]}, {"path": "$.lag", "equals": 2}, {"path": "$.parts[*].name"}]),
        json!({"path": "$.parts[?@.name == 'db'].ok", "equals": true}),
    ] {
        assert_eq!(look_at(&server, json!({"json": good.clone()})).await.failure, None, "{good}");
    }
    for (bad, wanted) in [
        (json!({"path": "$.status", "equals": "OK"}), r#"$.status is "UP", wanted "OK""#),
        (json!({"path": "$.parts[*].ok", "equals": true}), "$.parts[*].ok is false, wanted true"),
        (json!({"path": "$.missing"}), "$.missing selects nothing in the body"),
    ] {
        let report = look_at(&server, json!({"json": bad})).await;
        assert_eq!((reason(&report), error(&report)), (Some(Reason::Body), wanted));
        assert_eq!(value(&report, "probe_failed_due_to_regex"), 1.0);
    }
    let report = look_at(&server, json!({"json": {"path": "$.status"}, "max_body": 10})).await;
    assert!(error(&report).contains("raise `max_body`"), "{}", error(&report));
    let report = look_at(&Server::answering(OK).await, json!({"json": {"path": "$.status"}})).await;
    assert!(error(&report).starts_with("the body is not JSON"), "{}", error(&report));
}

#[tokio::test]
async fn the_first_path_that_is_there_decides_and_is_remembered() {
    let there = Arc::new(std::sync::Mutex::new("/health"));
    let told = there.clone();
    let server = Server::start(move |mut stream, seen| {
        let there = told.clone();
        async move {
            let head = read_head(&mut stream).await;
            let is_there = head.starts_with(&format!("GET {} ", there.lock().unwrap()));
            seen.requests.lock().unwrap().push(head);
            let answer = if is_there { OK } else { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n" };
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            read_to_end(&mut stream).await;
        }
    })
    .await;
    let settings = json!({"url": server.url(""), "paths": ["/health/ready", "/health", "/api/health"]});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert_eq!(settings.instance().unwrap(), server.url("/"));
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    let mut look = async || {
        let report = within(Duration::from_secs(5), prober.look(Path::Fresh)).await.unwrap();
        let asked = std::mem::take(&mut *server.seen.requests.lock().unwrap());
        let path = |head: &String| head.split(' ').nth(1).unwrap_or_default().to_owned();
        (report.failure.map(|failure| failure.error), asked.iter().map(path).collect::<Vec<_>>())
    };
    assert_eq!(look().await, (None, vec!["/health/ready".to_owned(), "/health".to_owned()]));
    assert_eq!(look().await, (None, vec!["/health".to_owned()]), "a steady look is one request");
    *there.lock().unwrap() = "/api/health";
    assert_eq!(look().await.1, ["/health", "/health/ready", "/api/health"]);
    *there.lock().unwrap() = "/nowhere";
    let (error, _) = look().await;
    let tried = "/api/health (404), /health/ready (404), /health (404)";
    assert_eq!(error.unwrap(), format!("none of the paths is there: tried {tried}"));
}
