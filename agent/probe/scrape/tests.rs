use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::*;
use crate::net::fake::{Server, closed_port};
use crate::net::{NetSettings, within};

async fn look(settings: Value) -> Report {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert_eq!(settings.check(), []);
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    within(Duration::from_secs(5), prober.look(Path::Fresh)).await.unwrap()
}

async fn look_at(server: &Server, more: Value) -> Report {
    let mut settings = json!({"url": server.url("/metrics")});
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    look(settings).await
}

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn value(report: &Report, name: &str) -> Option<f64> {
    report.readings.iter().find(|reading| reading.metric.name == name).map(|reading| reading.value)
}

fn failure(report: &Report) -> (Reason, &str) {
    let failure = report.failure.as_ref().unwrap();
    (failure.reason, &failure.error)
}

#[tokio::test]
async fn a_page_is_asked_for_in_every_format_and_packed() {
    let server = Server::answering(answer("Content-Type: text/plain; version=0.0.4\r\n", b"a 1\n")).await;
    let report = look_at(&server, json!({"headers": {"X-Key": "k"}, "bearer_token": "t"})).await;
    let page = report.exposition.unwrap();
    assert_eq!((page.text.as_str(), page.dialect), ("a 1\n", Dialect::Prometheus));
    let request = server.requests().remove(0);
    let accept = "accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.9,\
                        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.8,text/plain;version=0.0.4;q=0.7,*/*;q=0.1";
    for line in [accept, "accept-encoding: gzip", "x-key: k", "authorization: Bearer t"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} in {request}");
    }
    let left = request.lines().find_map(|line| line.strip_prefix("x-prometheus-scrape-timeout-seconds: ")).unwrap();
    let left: f64 = left.parse().unwrap();
    assert!(left > 0.0 && left <= 5.0, "{left}");
}

#[tokio::test]
async fn the_content_type_says_which_format_it_is() {
    let cases = [
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Dialect::OpenMetrics)),
        ("Text/Plain", Some(Dialect::Prometheus)),
        ("", Some(Dialect::Prometheus)),
        ("text/html", None),
        ("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily", None),
    ];
    for (content_type, expected) in cases {
        let header = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        let server = Server::answering(answer(&header, b"a 1\n")).await;
        let report = look_at(&server, json!({})).await;
        assert_eq!(report.exposition.as_ref().map(|page| page.dialect), expected, "{content_type}");
        if expected.is_none() {
            assert_eq!(failure(&report).0, Reason::Body);
        }
    }
}

#[tokio::test]
async fn a_packed_page_is_unpacked() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(b"a 1\n").unwrap();
    let server = Server::answering(answer("Content-Encoding: gzip\r\n", &packed.finish().unwrap())).await;
    assert_eq!(look_at(&server, json!({})).await.exposition.unwrap().text, "a 1\n");
}

#[tokio::test]
async fn a_page_over_its_bytes_says_what_to_raise() {
    let server = Server::answering(answer("", b"a 1\nb 2\n")).await;
    let report = look_at(&server, json!({"max_bytes": 7})).await;
    assert_eq!(failure(&report), (Reason::Body, "the page is larger than 7 bytes: expose less, or raise max_bytes"));
    assert!(look_at(&server, json!({"max_bytes": 8})).await.exposition.is_some());
}

#[tokio::test]
async fn a_failed_scrape_has_prometheus_s_zeros() {
    let server = Server::answering("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await;
    let refused = json!({"url": format!("http://{}/metrics", closed_port().await)});
    for report in [look_at(&server, json!({})).await, look(refused).await] {
        assert!(report.exposition.is_none());
        for name in ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"] {
            assert_eq!(value(&report, name), Some(0.0), "{name}");
        }
        assert!(value(&report, "scrape_duration_seconds").is_some_and(|took| took > 0.0));
    }
    assert_eq!(failure(&look_at(&server, json!({})).await).1, "status 503 Service Unavailable, wanted 200");
}

#[tokio::test]
async fn a_page_that_is_read_makes_the_report_whole() {
    let server = Server::answering(answer("", b"a 1\n")).await;
    let mut report = look_at(&server, json!({})).await;
    let page = Page { samples: 3, stored: 2, added: 1, refused: None };
    conclude(&mut report, Ok(page), 4, Duration::from_millis(2));
    let expected = [
        ("up", 1.0),
        ("scrape_samples_scraped", 3.0),
        ("scrape_samples_post_metric_relabeling", 2.0),
        ("scrape_series_added", 1.0),
        ("scrape_body_size_bytes", 4.0),
        ("watchkeeper_scrape_ingest_seconds", 0.002),
    ];
    for (name, expected) in expected {
        assert_eq!(value(&report, name), Some(expected), "{name}");
    }
    assert!(report.readings.iter().all(|reading| METRICS.contains(&reading.metric)));
    assert_eq!(report.failure, None);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_the_target_s_failure() {
    let mut report = Report::default();
    let error = ParseError { line: 3, message: "expected a value".to_owned() };
    conclude(&mut report, Err(error), 4, Duration::ZERO);
    assert_eq!(failure(&report), (Reason::Body, "line 3: expected a value"));
    assert_eq!(value(&report, "up"), Some(0.0));
}

#[tokio::test]
async fn credentials_stay_at_home() {
    let elsewhere = Server::answering(answer("", b"a 1\n")).await;
    let moved = format!("HTTP/1.1 302 F\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url("/m"));
    let server = Server::answering(moved).await;
    assert!(look_at(&server, json!({"bearer_token": "t"})).await.exposition.is_some());
    assert!(!elsewhere.requests()[0].contains("Bearer"));
    let report = look_at(&server, json!({"redirects": 0})).await;
    assert_eq!(failure(&report).0, Reason::Status);
}
