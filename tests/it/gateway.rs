//! WebSocket gateways: the library and the agent against a real Node server.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use watchkeeper::net::{Net, NetSettings, within};
use watchkeeper::probe::{KINDS, Path, Prober, Reason, Report, Settings};

use crate::configuration::paging;
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::node::Gateway;
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, until};

fn prober(gateway: &Gateway, more: Value) -> Prober {
    let mut settings = json!({"url": gateway.url()});
    settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let settings = Settings::deserialize("websocket", settings).unwrap().unwrap();
    assert_eq!(settings.check(), []);
    settings.prober(Arc::new(Net::new(NetSettings::default())))
}

/// With the load read too: only the open connections are counted.
fn with_load(gateway: &Gateway, more: Value) -> Prober {
    let mut settings = json!({"load": {"metrics": gateway.metrics_url(), "gauge": "ws_connections{state=\"open\"}"}});
    settings.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    prober(gateway, settings)
}

async fn look(prober: &mut Prober, path: Path) -> Report {
    Box::pin(within(Duration::from_secs(10), prober.look(path))).await.unwrap()
}

#[track_caller]
fn good(report: Report) -> Report {
    assert_eq!((&report.failure, &report.warnings), (&None, &Vec::new()));
    report
}

#[track_caller]
fn value(report: &Report, name: &str) -> f64 {
    let reading = report.readings.iter().find(|reading| reading.metric.name == name);
    reading.unwrap_or_else(|| panic!("no {name} in {:#?}", report.readings)).value
}

#[tokio::test]
async fn a_look_pings_and_closes_and_opens_no_session() {
    let gateway = Gateway::start();
    let report = good(look(&mut prober(&gateway, json!({})), Path::Fresh).await);
    assert_eq!(value(&report, "probe_websocket_connection_upgraded"), 1.0);
    assert_eq!(value(&report, "probe_websocket_status_code"), 101.0);
    gateway.wait_for_connections(0);
    let told = json!({"opened": 1, "refused": 0, "pings": 1, "messages": 0, "sessions": 0, "closes": {"1000": 1},
        "connections": 0});
    assert_eq!(gateway.counts(), told);
}

#[tokio::test]
async fn many_looks_leave_no_connection_and_no_message() {
    const LOOKS: u32 = 600;
    let gateway = Gateway::start();
    let (mut fresh, mut held) = (with_load(&gateway, json!({})), with_load(&gateway, json!({"hold": true})));
    for _ in 0..LOOKS {
        let report = good(look(&mut fresh, Path::Fresh).await);
        // The held connection of the other prober is the only one that is left when the load is read.
        assert!(value(&report, "watchkeeper_websocket_connections") <= 1.0);
        let report = good(look(&mut held, Path::Held).await);
        assert_eq!(value(&report, "watchkeeper_websocket_connections"), 1.0);
    }
    gateway.wait_for_connections(1);
    drop(held);
    gateway.wait_for_connections(0);
    let counts = gateway.counts();
    assert_eq!((&counts["opened"], &counts["closes"]["1000"]), (&json!(LOOKS + 1), &json!(LOOKS)));
    assert_eq!((&counts["messages"], &counts["sessions"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn the_load_follows_the_gateway_to_its_limits_and_back() {
    let gateway = Gateway::start_with(1000);
    let mut prober = with_load(&gateway, json!({}));
    let load = |report: &Report| {
        ["connections", "connections_peak", "saturation_ratio"]
            .map(|name| value(report, &format!("watchkeeper_websocket_{name}")))
    };
    assert_eq!(load(&good(look(&mut prober, Path::Fresh).await)), [0.0, 0.0, 0.0]);
    let half = gateway.fill(500);
    assert_eq!(load(&good(look(&mut prober, Path::Fresh).await)), [500.0, 500.0, 0.5]);
    let rest = gateway.fill(500);
    let full = look(&mut prober, Path::Fresh).await;
    let failure = full.failure.clone().unwrap();
    assert_eq!(failure.reason, Reason::Full, "{failure}");
    assert_eq!(value(&full, "probe_websocket_status_code"), 503.0);
    assert_eq!(load(&full), [1000.0, 1000.0, 1.0], "what is full is told with the failure");
    drop((half, rest));
    gateway.wait_for_connections(0);
    assert_eq!(load(&good(look(&mut prober, Path::Fresh).await)), [0.0, 1000.0, 0.0], "the peak is remembered");
}

#[tokio::test]
async fn a_held_connection_takes_one_place_and_is_told_of_its_end() {
    let mut gateway = Gateway::start();
    let mut prober = with_load(&gateway, json!({"hold": true}));
    for _ in 0..3 {
        let report = good(look(&mut prober, Path::Held).await);
        assert_eq!(value(&report, "watchkeeper_websocket_connections"), 1.0, "ours is in the gateway's count");
    }
    good(look(&mut prober, Path::Fresh).await);
    gateway.kill();
    let failure = tokio::time::timeout(SOON, prober.broken()).await.unwrap();
    assert_eq!((failure.reason, failure.phase), (Reason::Reset, "held"), "{failure}");
    assert_eq!(look(&mut prober, Path::Held).await.failure.unwrap().reason, Reason::Refused);
    gateway.start_again();
    good(look(&mut prober, Path::Held).await);
    assert_eq!(gateway.counts()["opened"], 1);
}

#[tokio::test]
async fn tls_is_verified_and_the_load_is_read_over_it_too() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let gateway = Gateway::start_with_tls(&certificate.pem(), &key.serialize_pem());
    let trusted = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trusted.path(), certificate.pem()).unwrap();
    let report = good(look(&mut with_load(&gateway, json!({"tls": {"ca_file": trusted.path()}})), Path::Fresh).await);
    let phases: Vec<_> = report.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, ["resolve", "connect", "tls", "upgrade", "ping", "close"]);
    assert!(value(&report, "probe_ssl_earliest_cert_expiry") > 1e9);
    assert_eq!(value(&report, "watchkeeper_websocket_connections"), 0.0);
    let report = look(&mut prober(&gateway, json!({})), Path::Fresh).await;
    assert_eq!(report.failure.as_ref().unwrap().reason, Reason::Tls);
    assert!(value(&report, "probe_ssl_earliest_cert_expiry") > 1e9, "a refused certificate is shown too");
    assert_eq!(gateway.counts()["opened"], 1);
}

#[tokio::test]
async fn every_metric_is_declared_and_in_the_reference() {
    let page = std::fs::read_to_string("docs/reference/probes/websocket.md").unwrap();
    let declared = KINDS.iter().find(|kind| kind.name == "websocket").unwrap().metrics;
    let missing: Vec<_> = declared.iter().filter(|metric| !page.contains(&format!("`{}", metric.name))).collect();
    assert!(missing.is_empty(), "docs/reference/probes/websocket.md does not name {missing:?}");
    let gateway = Gateway::start();
    let mut prober = with_load(&gateway, json!({"hold": true}));
    for path in [Path::Fresh, Path::Held] {
        for reading in good(look(&mut prober, path).await).readings {
            assert!(declared.contains(&reading.metric), "{}", reading.metric.name);
        }
    }
}

#[test]
fn the_command_line_looks_at_a_gateway() {
    let gateway = Gateway::start();
    let ended = Setup::without_configuration().argument("probe").argument(&gateway.url()).run_to_end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let address = format!("127.0.0.1:{}", gateway.port);
    for part in [&format!("OK websocket {address}"), "upgrade", "ping", "probe_websocket_connection_upgraded 1"] {
        assert!(ended.output.contains(part), "no {part}: {}", ended.output);
    }
    assert_eq!(gateway.counts()["messages"], 0);
}

#[tokio::test]
async fn a_page_that_is_no_gateway_is_told_apart() {
    let service = HttpService::start(Answer::Status(200));
    let url = format!("ws://127.0.0.1:{}/", service.port());
    let mut prober = Settings::from_url(&url).unwrap().unwrap().prober(Arc::new(Net::new(NetSettings::default())));
    let failure = look(&mut prober, Path::Fresh).await.failure.unwrap();
    assert!(failure.error.contains("status 200 OK, wanted 101"), "{failure}");
}

/// A page, its cause, and its resolve once the gateway serves again.
#[track_caller]
fn outage(agent: &Agent, receiver: &Receiver, cause: &str, mut serve: impl FnMut(bool)) {
    agent.wait_for_verdict("voice", true);
    serve(false);
    let page = receiver.wait_for_page("TargetDown", SOON);
    let told = page.alerts()[0]["annotations"]["cause"].as_str().unwrap_or_default().to_owned();
    assert!(told.contains(cause), "the page tells its cause ({cause}): {told}");
    agent.wait_for_verdict("voice", false);
    serve(true);
    receiver.wait_for_resolve("TargetDown", SOON);
    agent.wait_for_verdict("voice", true);
}

fn watching(gateway: &Gateway, receiver: &Receiver, more: &str, schedule: &str) -> Agent {
    let url = gateway.url();
    paging(receiver, &format!("targets: {{voice: {{websocket: {{url: \"{url}\"{more}}}{schedule}}}}}")).start()
}

#[test]
fn a_killed_and_a_hanging_gateway_page_and_resolve() {
    kill_and_hang("");
}

#[test]
fn a_killed_and_a_hanging_gateway_page_and_resolve_where_a_connection_is_held() {
    kill_and_hang(", hold: true, reconnect: 1s");
}

fn kill_and_hang(settings: &str) {
    let mut gateway = Gateway::start();
    let receiver = Receiver::start();
    let agent = watching(&gateway, &receiver, settings, "");
    outage(&agent, &receiver, "refused", |up| if up { gateway.start_again() } else { gateway.kill() });
    outage(&agent, &receiver, "no answer within", |up| if up { gateway.thaw() } else { gateway.freeze() });
    assert_eq!(gateway.counts()["messages"], 0);
}

/// The interval is longer than the test waits: what pages is the connection's end.
#[test]
fn a_killed_gateway_with_a_held_connection_pages_before_the_next_look_is_due() {
    let mut gateway = Gateway::start();
    let receiver = Receiver::start();
    let agent = watching(&gateway, &receiver, ", hold: true", ", interval: 10m, timeout: 2s");
    agent.wait_for_verdict("voice", true);
    gateway.wait_for_connections(1);
    gateway.kill();
    receiver.wait_for_page("TargetDown", SOON);
}

#[test]
fn an_agent_that_looks_for_a_while_leaves_one_held_connection_and_then_none() {
    let gateway = Gateway::start();
    let receiver = Receiver::start();
    let mut agent = watching(&gateway, &receiver, ", hold: true, reconnect: 1s", "");
    until("several fresh looks", SOON, || gateway.counts()["opened"].as_u64() >= Some(5));
    let_pass(Duration::from_millis(300));
    assert!(gateway.counts()["connections"].as_u64() <= Some(2), "the held one, and a fresh one at most");
    agent.terminate();
    gateway.wait_for_connections(0);
    assert_eq!(gateway.counts()["messages"], 0);
}
