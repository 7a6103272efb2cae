//! What the agent shows of itself, as Prometheus's own tools read it.

use std::path::Path;

use crate::support::agent::{Agent, Setup};
use crate::support::client;
use crate::support::http::{Answer, HttpService};
use crate::support::node::Gateway;
use crate::support::place::folder;
use crate::support::postgres::Postgres;
use crate::support::prometheus::{Prometheus, promtool, promtool3, run_promtool};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::wait::{SOON, eventually, until};

/// promtool's exit code where the text can be read, but names are not as one would choose them today.
const LINTS: i32 = 3;

const TARGETS: [&str; 7] = ["api", "cache", "db", "gateway", "machine", "port", "shop"];

struct Scene {
    _services: (HttpService, Postgres, Redis, Receiver, Gateway, HttpService),
    agent: Agent,
}

/// What is unusual and yet good: escapes, values that are no numbers, an exemplar, an empty help, an info.
fn page() -> Answer {
    let text = "# TYPE shop_orders counter\n# HELP shop_orders Orders \\\"taken\\\"\n\
                shop_orders_total{path=\"C:\\\\a\\nb\",target=\"x\"} 1 # {trace_id=\"1\"} 1.0\n\
                # TYPE shop_wait histogram\nshop_wait_bucket{le=\"1\"} 1\nshop_wait_bucket{le=\"+Inf\"} 2\n\
                shop_wait_sum NaN\nshop_wait_count 2\n# TYPE shop_build info\nshop_build_info{v=\"1\"} 1\n# EOF\n";
    let headers = vec![("Content-Type".to_owned(), "application/openmetrics-text; version=1.0.0".to_owned())];
    Answer::Full { status: 200, headers, body: text.as_bytes().to_vec() }
}

fn one_of_each_kind() -> Scene {
    let (databases, gateway) = ((Postgres::start(), Redis::start()), Gateway::start());
    let (api, shop) = (HttpService::start(Answer::Status(200)), HttpService::start(page()));
    let services = (api, databases.0, databases.1, Receiver::start(), gateway, shop);
    let targets = format!(
        "
defaults: {{interval: 300ms}}
targets:
  api: {{http: {{url: \"{}\"}}}}
  db: {{postgres: {{url: \"{}\"}}}}
  cache: {{redis: {{url: \"{}\"}}}}
  machine: {{host: {{}}}}
  gateway: {{websocket: {{url: \"{}\", load: {{metrics: \"{}\", gauge: ws_connections}}}}}}
  shop: {{scrape: {{url: \"{}\"}}}}
  port: {{tcp: {{address: \"127.0.0.1:{}\"}}, labels: {{odd: \"a \\\"quoted\\\" \\\\ value\\nof two lines\"}}}}
",
        services.0.url("/"),
        services.1.url(),
        services.2.url(),
        services.4.url(),
        services.4.metrics_url(),
        services.5.url("/metrics"),
        services.2.port
    );
    let alerting = crate::configuration::pages_for_everything(&services.3);
    let agent = Setup::new(&(targets + &alerting)).start();
    for target in TARGETS {
        agent.wait_for_verdict(target, true);
    }
    Scene { _services: services, agent }
}

#[test]
fn promtool_finds_no_error_in_the_metrics() {
    let scene = one_of_each_kind();
    until("both databases to be seen over their held connections", SOON, || {
        ["pg_up", "redis_up"].iter().all(|name| !scene.agent.metrics(name, &[]).is_empty())
    });
    let text = scene.agent.get("/metrics").body;
    assert_no_error(&promtool(), &text);
    if let Some(tool) = promtool3() {
        assert_no_error(&tool, &text);
    }
    for name in ["probe_success", "pg_up", "redis_up", "watchkeeper_target_up"] {
        assert!(text.lines().any(|line| line.starts_with(&format!("{name}{{"))), "no {name}:\n{text}");
    }
}

/// Lints on the exporters' historic names are expected; on our own names they are not, and errors never are.
fn assert_no_error(tool: &Path, text: &str) {
    let output = run_promtool(tool, &["check", "metrics"], text, folder().path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | LINTS)), "{}: {said}\n{text}", tool.display());
    let ours: Vec<_> = said.lines().filter(|line| line.starts_with("watchkeeper_")).collect();
    assert!(ours.is_empty(), "{}: {ours:?}", tool.display());
}

#[test]
fn the_metrics_are_prometheus_text() {
    let scene = one_of_each_kind();
    let answer = scene.agent.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"), "{:?}", answer.headers);
}

#[test]
fn a_real_prometheus_scrapes_the_agent() {
    let scene = one_of_each_kind();
    let prometheus = Prometheus::scraping(scene.agent.address());
    let found = eventually("the verdicts in Prometheus", SOON, || {
        let found = prometheus.query("watchkeeper_target_up");
        if found.len() == TARGETS.len() {
            Ok(found)
        } else {
            Err(format!("{found:?} of {}", prometheus.get("/api/v1/targets")))
        }
    });
    for series in &found {
        assert_eq!(series["value"][1], "1", "{series}");
        // With honor_labels, what is watched stays what it is called here.
        assert_eq!(series["metric"]["job"], series["metric"]["target"]);
    }
    assert_eq!(prometheus.query("up{job=\"watchkeeper\"}")[0]["value"][1], "1");
    assert_eq!(prometheus.query("watchkeeper_target_up{odd=~\"(?s)a \\\"quoted\\\".*\"}").len(), 1);
}

#[test]
fn prometheus_reads_openmetrics_where_it_asks_for_it() {
    let scene = one_of_each_kind();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";
    let request = format!("GET /metrics HTTP/1.0\r\nHost: agent\r\nAccept: {accept}\r\n\r\n");
    let answer = client::send(scene.agent.address(), request.as_bytes()).unwrap();
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(answer.body.ends_with("\n# EOF\n"), "{}", answer.body);
    assert!(answer.body.contains("# TYPE watchkeeper_probes counter\nwatchkeeper_probes_total{"), "{}", answer.body);
}

#[test]
fn every_metric_is_in_the_reference() {
    const REFERENCE: &str = include_str!("../../docs/reference/metrics.md");
    const KINDS: [&str; 8] = ["host", "http", "postgres", "redis", "scrape", "tcp", "tls", "websocket"];
    let scene = one_of_each_kind();
    let text = scene.agent.get("/metrics").body;
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let names = names.filter(|name| !name.starts_with("shop_"));
    let (ours, theirs): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("watchkeeper_"));
    assert!(ours.contains(&"watchkeeper_outbox_depth"), "the receiver's are there: {ours:?}");
    let missing: Vec<_> = ours.iter().filter(|name| !REFERENCE.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/metrics.md does not name {missing:?}");
    let page = |kind| std::fs::read_to_string(format!("docs/reference/probes/{kind}.md")).unwrap();
    let pages: String = KINDS.map(page).concat() + REFERENCE;
    let missing: Vec<_> = theirs.iter().filter(|name| !pages.contains(**name)).collect();
    assert!(missing.is_empty(), "no page of docs/reference names {missing:?}");
}
