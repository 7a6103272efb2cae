//! The agent's own HTTP and its log, as other programs read them.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::paging;
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::client::send;
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, Witness, eventually, until};

/// An agent that watches one service that is up and one that is down.
struct Scene {
    _up: HttpService,
    receiver: Receiver,
    agent: Agent,
}

fn scene() -> Scene {
    let up = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    let targets = format!(
        "
labels: {{region: here}}
targets:
  good: {{http: {{url: \"{}\"}}, labels: {{team: web}}}}
  bad: {{http: {{url: \"http://127.0.0.1:1/health?token=hidden\"}}}}
",
        up.url("/health")
    );
    let agent = paging(&receiver, &targets).start();
    agent.wait_for_verdict("good", true);
    agent.wait_for_verdict("bad", false);
    Scene { _up: up, receiver, agent }
}

#[test]
fn its_own_health_does_not_depend_on_its_targets() {
    let scene = scene();
    for path in ["/health", "/health/live", "/health/ready"] {
        until(path, SOON, || scene.agent.get(path).status == 200);
    }
}

#[test]
fn alerts_come_in_prometheus_envelope() {
    let scene = scene();
    scene.receiver.wait_for_page("TargetDown", SOON);
    let answer = scene.agent.get("/api/v1/alerts");
    assert_eq!(answer.header("content-type").split(';').next(), Some("application/json"));
    let json = answer.json();
    assert_eq!(json["status"], "success");
    let alerts = json["data"]["alerts"].as_array().unwrap();
    let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == "TargetDown").unwrap();
    assert_eq!(alert["state"], "firing");
    assert_eq!(alert["labels"]["target"], "bad");
    assert_eq!(alert["annotations"]["summary"], "bad is down");
    assert!(alert["activeAt"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{alert}");
    assert_eq!(
        alert["value"].as_str().unwrap().parse::<f64>(),
        Ok(0.0),
        "a value is a string, as Prometheus writes it"
    );
}

#[test]
fn targets_come_in_prometheus_envelope() {
    let scene = scene();
    let json = scene.agent.get("/api/v1/targets").json();
    assert_eq!(json["status"], "success");
    assert_eq!(json["data"]["droppedTargets"], Value::Array(Vec::new()));
    let targets = json["data"]["activeTargets"].as_array().unwrap();
    let of_name = |name: &str| targets.iter().find(|target| target["labels"]["target"] == name).unwrap();
    assert_eq!(targets.len(), 2);
    assert_eq!(of_name("good")["health"], "up");
    assert_eq!(of_name("good")["labels"]["team"], "web");
    assert_eq!(of_name("good")["lastError"], "");
    assert_eq!(of_name("bad")["health"], "down");
    assert!(of_name("bad")["lastError"].as_str().unwrap().contains("127.0.0.1:1"), "{}", of_name("bad"));
    assert!(!json.to_string().contains("hidden"), "a query may hold a secret: {json}");
}

#[test]
fn what_is_not_there_is_not_found() {
    let scene = scene();
    assert_eq!(scene.agent.get("/nothing/here").status, 404);
    assert_eq!(scene.agent.get("/api/v1/nothing").status, 404);
    let post = send(scene.agent.address(), b"POST /health HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert_eq!(post.status, 405);
}

#[test]
fn bad_requests_are_refused_and_the_watch_goes_on() {
    let mut scene = scene();
    let address = scene.agent.address().to_owned();
    let long = "x".repeat(1 << 20);
    let refused = [
        "\x01\x02\x03 what\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.0\r\n\r\n"),
        format!("GET /health?{long} HTTP/1.0\r\n\r\n"),
        format!("GET /health HTTP/1.0\r\nx-long: {long}\r\n\r\n"),
        format!("GET /health HTTP/1.0\r\n{}\r\n", "x: y\r\n".repeat(5_000)),
    ];
    for request in &refused {
        // A refusal, or the end of the connection: never an answer as if nothing were wrong.
        if let Ok(answer) = send(&address, request.as_bytes()) {
            assert!((400..500).contains(&answer.status), "{} for {:.40}", answer.status, request);
        }
    }
    assert_eq!(scene.agent.get("/health").status, 200);
    assert!(scene.agent.is_running());
}

#[test]
fn idle_and_unread_connections_keep_nobody_out() {
    let scene = scene();
    let idle: Vec<_> = (0..200).map(|_| TcpStream::connect(scene.agent.address()).unwrap()).collect();
    eventually("an answer beside 200 idle connections", SOON, || {
        crate::support::client::get(scene.agent.address(), "/health").map(|answer| assert_eq!(answer.status, 200))
    });
    drop(idle);
}

#[test]
fn clients_that_say_nothing_or_half_of_it_do_not_delay_a_health_check() {
    let (scene, witness) = (scene(), Witness::start());
    let address = scene.agent.address();
    let mut held: Vec<_> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    for (index, client) in held.iter_mut().enumerate() {
        // Some stay silent, some begin a head that never ends, some never read their answer.
        let said: &[u8] =
            [&b""[..], b"GET /health HTTP/1.1\r\nx: ", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"][index % 3];
        drop(client.write_all(said)); // one that was pushed out already may be closed
    }
    // Less than a client may take for its head: nobody had to time out first.
    let asked = std::time::Instant::now();
    let answer = crate::support::client::get(address, "/health/live").unwrap();
    assert_eq!(answer.status, 200);
    let took = asked.elapsed().saturating_sub(witness.stood_still());
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    drop(held);
}

#[test]
fn the_log_is_json_of_twelve_fields_and_attributes() {
    const FIELDS: [&str; 12] = [
        "timestamp",
        "level",
        "message",
        "correlation_id",
        "tenant_id",
        "client_id",
        "user_id",
        "service",
        "method",
        "path",
        "status",
        "duration_ms",
    ];
    let scene = scene();
    scene.receiver.wait_for_page("TargetDown", SOON);
    let lines = scene.agent.log();
    assert!(lines.len() >= 2);
    for line in &lines {
        let fields = line.as_object().unwrap();
        let unknown = fields.keys().find(|key| !FIELDS.contains(&key.as_str()) && *key != "attributes");
        assert_eq!(unknown, None, "{line}");
        assert!(fields.values().all(|value| !value.is_null()), "what does not apply is left out: {line}");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.ends_with('Z') && timestamp.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(matches!(line["level"].as_str(), Some("error" | "warn" | "info" | "debug" | "trace")), "{line}");
        assert!(line["message"].is_string(), "{line}");
        assert!(line["attributes"].is_object() || line["attributes"].is_null(), "{line}");
    }
    assert!(lines.iter().any(|line| line["message"] == "listening"), "the address is always printed");
    let transition = lines.iter().find(|line| line["attributes"]["alert"] == "TargetDown");
    let level = transition.map(|line| line["level"].as_str().unwrap_or_default());
    assert!(matches!(level, Some("warn" | "error")), "an alert's transition is logged, at warn or above: {lines:#?}");
    assert!(scene.agent.errors().is_empty(), "standard output only: {}", scene.agent.errors());
}

#[test]
fn no_credential_is_ever_shown() {
    let receiver = Receiver::start();
    let setup = Setup::new(&format!(
        "
{}
defaults: {{interval: 300ms, confirm: 50ms}}
rule_files: [rules.yml]
telemetry: {{log: {{level: trace}}}}
targets:
  db: {{postgres: {{url: \"postgres://someone:s3same@127.0.0.1:1/app\"}}}}
  cache: {{redis: {{url: \"redis://:s3same@127.0.0.1:1/0\"}}}}
  api: {{http: {{url: \"http://someone:s3same@127.0.0.1:1/?key=s3same\"}}}}
",
        crate::configuration::pages_for_everything(&receiver)
    ));
    let agent = setup.with_file("rules.yml", crate::configuration::RULES).start();
    for target in ["db", "cache", "api"] {
        agent.wait_for_verdict(target, false);
    }
    receiver.wait_for_page("TargetDown", SOON);
    let_pass(Duration::from_secs(1));
    let mut shown: Vec<String> = agent.lines();
    shown.extend(["/metrics", "/api/v1/alerts", "/api/v1/targets"].map(|path| agent.get(path).body));
    shown.extend(receiver.attempts().iter().map(|delivery| delivery.payload.to_string()));
    let leak = shown.iter().find(|text| text.contains("s3same"));
    assert_eq!(leak, None);
}
