//! Reload: by SIGHUP, by a changed file, over HTTP. What is unchanged keeps its state, a bad file changes nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::{RULES, paging, paging_everything, paging_everything_text, paging_text};
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::client::{self, Response};
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::wait::{SOON, Witness, eventually, until};
use crate::told::assert_told;

/// Long enough for a changed file to be seen and acted upon.
const SEVERAL_LOOKS: Duration = Duration::from_secs(4);

const PATIENT: &str = "
groups:
- name: test
  rules:
  - {alert: TargetDown, expr: watchkeeper_target_up == 0, for: 1h}
";

/// Waits until the agent has taken over `count` configurations since its start.
#[track_caller]
pub fn wait_for_reloads(agent: &Agent, outcome: &str, count: usize) {
    let part = format!("outcome=\"{outcome}\"");
    until(&format!("{count} reloads {outcome}"), SOON, || {
        agent.metrics("watchkeeper_config_reloads_total", &[&part]).iter().sum::<f64>() >= count as f64
    });
}

fn alert(agent: &Agent, name: &str) -> Option<Value> {
    let json = agent.get("/api/v1/alerts").json();
    json["data"]["alerts"].as_array()?.iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
}

/// `POST /-/reload` with an `Authorization` header, or without one.
pub fn post_reload(agent: &Agent, authorization: Option<&str>) -> Response {
    let address = agent.address();
    let header = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("POST /-/reload HTTP/1.0\r\nHost: {address}\r\n{header}Content-Length: 0\r\n\r\n");
    client::send(address, request.as_bytes()).expect("an answer")
}

fn token(agent: &Agent) -> String {
    format!("Bearer {}", std::fs::read_to_string(agent.setup.state().join("token")).expect("a token").trim())
}

/// What [`paging`] writes, with other targets: the configuration of a running agent, changed.
fn change_targets(agent: &Agent, receiver: &Receiver, targets: &str) {
    agent.setup.configure(&paging_text(receiver, targets));
}

#[test]
fn a_changed_rule_file_is_taken_over_and_the_alerts_of_what_is_gone_resolve_with_the_reason() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging(&receiver, &targets).start();
    receiver.wait_for_page("TargetDown", SOON);
    agent.setup.write("rules.yml", &RULES.replace("TargetDown", "Renamed"));
    let resolve = receiver.wait_for_resolve("TargetDown", SOON);
    let resolved = resolve.alert("resolved", "TargetDown").unwrap();
    assert_eq!(resolved["annotations"]["resolution"], "rule removed");
    receiver.wait_for_page("Renamed", SOON);
}

#[test]
fn what_is_unchanged_keeps_its_held_connection_its_timers_and_its_pages() {
    let witness = Witness::start();
    let redis = Redis::start();
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let api = service.url("/");
    let targets = |more: &str| {
        format!(
            "targets: {{cache: {{redis: {{url: \"{}\", reconnect: 1h}}, interval: 2s, timeout: 2s}}, \
             api: {{http: {{url: \"{api}\"}}}}{more}}}",
            redis.url()
        )
    };
    let text =
        |more: &str| paging_text(&receiver, &targets(more)).replace("rules.yml, hold: true", "'*s.yml', hold: true");
    let setup = paging(&receiver, "").with_file("patients.yml", &PATIENT.replace("TargetDown", "Later"));
    setup.configure(&text(""));
    let agent = setup.start();
    agent.wait_for_verdict("cache", true);
    receiver.wait_for_page("TargetDown", SOON);
    let pending = eventually("a pending alert", SOON, || alert(&agent, "Later").ok_or("none yet"));
    let connections = redis.connections_received();

    let other = HttpService::start(Answer::Status(200));
    let more = format!(", web: {{http: {{url: \"{}\"}}}}", other.url("/"));
    agent.setup.configure(&text(&more));
    agent.wait_for_verdict("web", true);
    wait_for_reloads(&agent, "applied", 1);
    agent.signal("HUP");
    wait_for_reloads(&agent, "applied", 2);
    let made = redis.connections_received() - connections;
    let active_at = alert(&agent, "Later").map(|alert| alert["activeAt"].clone());
    // A machine that stood still breaks connections, and makes unknown what was pending.
    if witness.stood_still() == Duration::ZERO {
        assert_eq!(made, 1, "the asking itself, and nothing else");
        assert_eq!(active_at, Some(pending["activeAt"].clone()));
    }
    assert_eq!(receiver.attempts().len(), 1, "{}", receiver.dump());
    let lines = agent.log();
    let told = |target: &str| {
        lines.iter().filter(|line| line["message"] == "watching" && line["attributes"]["target"] == target).count()
    };
    assert_eq!((told("cache"), told("web")), (1, 1), "what is watched on as before is not told again");
}

#[test]
fn a_bad_file_changes_nothing_and_pages_until_it_is_mended() {
    let service = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging_everything(&receiver, &targets).start();
    agent.wait_for_verdict("api", true);
    agent.setup.configure("targets: {api: {htp: {}}}\n");
    receiver.wait_for_page("ConfigRejected", SOON);
    assert_eq!(agent.metric("watchkeeper_config_last_reload_successful"), Some(0.0));
    agent.wait_for_line("the mistake", |line| {
        line["attributes"]["problem"].as_str().is_some_and(|text| text.contains("htp"))
    });
    service.answer(Answer::Status(503));
    receiver.wait_for_page("TargetDown", SOON);
    service.answer(Answer::Status(200));
    receiver.wait_for_resolve("TargetDown", SOON);
    agent.setup.configure(&paging_everything_text(&receiver, &targets));
    receiver.wait_for_resolve("ConfigRejected", SOON);
}

#[test]
fn a_mistake_in_a_new_rule_file_is_seen_to_be_mended_there() {
    let receiver = Receiver::start();
    let setup = paging_everything(&receiver, "");
    let text = paging_everything_text(&receiver, "").replace("path: rules.yml", "path: 'more/*.yml'");
    std::fs::create_dir(setup.folder().join("more")).unwrap();
    setup.write("more/first.yml", "groups: []\n");
    setup.configure(&text);
    let agent = setup.start();
    agent.setup.write("more/second.yml", "groups: [{name: g, rules: [{alert: A, expr: '1 +'}]}]\n");
    wait_for_reloads(&agent, "rejected", 1);
    agent.setup.write("more/second.yml", "groups: [{name: g, rules: [{alert: Mended, expr: 'time() > bool 1'}]}]\n");
    receiver.wait_for_page("Mended", SOON);
    std::fs::remove_file(agent.setup.folder().join("more/second.yml")).unwrap();
    receiver.wait_for_resolve("Mended", SOON);
}

#[test]
fn the_swap_of_a_config_map_is_taken_over() {
    let receiver = Receiver::start();
    let setup = paging_everything(&receiver, "");
    let mount = setup.folder().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let version = |name: &str, alert: &str| {
        std::fs::create_dir(mount.join(name)).unwrap();
        let rules = format!("groups: [{{name: g, rules: [{{alert: {alert}, expr: 'time() > bool 1'}}]}}]\n");
        std::fs::write(mount.join(name).join("mapped.yml"), rules).unwrap();
        symlink(name, mount.join("..data_tmp")).unwrap();
        std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    };
    version("..1", "First");
    symlink("..data/mapped.yml", mount.join("mapped.yml")).unwrap();
    setup.configure(&paging_everything_text(&receiver, "").replace("path: rules.yml", "path: mount/mapped.yml"));
    let _agent = setup.start();
    receiver.wait_for_page("First", SOON);
    version("..2", "Other");
    receiver.wait_for_page("Other", SOON);
    receiver.wait_for_resolve("First", SOON);
}

#[test]
fn over_http_a_reload_needs_the_token_and_answers_what_is_wrong() {
    let receiver = Receiver::start();
    let agent = paging(&receiver, "").start();
    assert_eq!(post_reload(&agent, None).status, 401);
    assert_eq!(post_reload(&agent, Some("Bearer wrong")).status, 401);
    assert_eq!(agent.get("/-/reload").status, 405);
    let done = post_reload(&agent, Some(&token(&agent)));
    assert_eq!((done.status, done.json()["status"].as_str()), (200, Some("success")), "{}", done.body);
    wait_for_reloads(&agent, "applied", 1);

    agent.setup.configure("targets: {api: {htp: {}}}\n");
    let bad = post_reload(&agent, Some(&token(&agent)));
    assert_eq!(bad.status, 500, "{}", bad.body);
    let error = bad.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(error.contains("watchkeeper.yml:1:17") && error.contains("did you mean `http`?"), "{error}");

    agent.setup.configure(&paging_text(&receiver, "listen: 127.0.0.2:0\n"));
    let notes = post_reload(&agent, Some(&token(&agent))).json()["data"]["notes"].to_string();
    assert!(notes.contains("`listen` has changed"), "{notes}");
    let again = post_reload(&agent, Some(&token(&agent))).json()["data"]["notes"].to_string();
    assert_eq!(again, notes, "it is said until it is so");
    assert_eq!(agent.get("/health").status, 200, "it still listens where it did");

    agent.setup.configure(&paging_text(&receiver, ""));
    let taken_back = post_reload(&agent, Some(&token(&agent))).json();
    assert_eq!(taken_back["data"]["notes"], serde_json::json!([]), "nothing waits any more");
}

#[test]
fn a_configured_token_counts_and_reading_can_be_closed() {
    let receiver = Receiver::start();
    let setup = paging(&receiver, "auth: {token_file: secret, reading: token}").with_file("secret", "first\n");
    let agent = setup.start();
    assert_eq!(agent.get("/metrics").status, 401);
    assert_eq!(agent.get("/health/live").status, 200);
    assert_eq!(post_reload(&agent, Some("Bearer first")).status, 200);
    agent.setup.write("secret", "second\n");
    assert_eq!(post_reload(&agent, Some("Bearer first")).status, 401);
    assert_eq!(post_reload(&agent, Some("Bearer second")).status, 200);
    assert!(!agent.setup.state().join("token").exists(), "no token of its own beside the configured one");
}

#[test]
fn pages_go_to_the_receiver_that_is_configured_now() {
    let (first, second) = (Receiver::start(), Receiver::start());
    let service = HttpService::start(Answer::Status(200));
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging(&first, &targets).start();
    agent.wait_for_verdict("api", true);
    change_targets(&agent, &second, &targets);
    wait_for_reloads(&agent, "applied", 1);
    service.answer(Answer::Status(503));
    second.wait_for_page("TargetDown", SOON);
    assert!(first.attempts().is_empty(), "{}", first.dump());
}

#[test]
fn a_changed_target_that_is_down_neither_resolves_nor_pages_again() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets =
        |interval: &str| format!("targets: {{api: {{http: {{url: \"{}\"}}, interval: {interval}}}}}", service.url("/"));
    let agent = paging(&receiver, &targets("1s")).start();
    receiver.wait_for_page("TargetDown", SOON);
    for (count, interval) in [(1, "500ms"), (2, "700ms"), (3, "1s")] {
        change_targets(&agent, &receiver, &targets(interval));
        wait_for_reloads(&agent, "applied", count);
    }
    let_pass(SEVERAL_LOOKS);
    assert_eq!(receiver.attempts().len(), 1, "{}", receiver.dump());
    service.answer(Answer::Status(200));
    receiver.wait_for_resolve("TargetDown", SOON);
}

#[test]
fn a_removed_target_resolves_with_the_reason_and_is_seen_no_more() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging(&receiver, &targets).start();
    receiver.wait_for_page("TargetDown", SOON);
    change_targets(&agent, &receiver, "");
    let resolve = receiver.wait_for_resolve("TargetDown", SOON);
    assert_eq!(resolve.alert("resolved", "TargetDown").unwrap()["annotations"]["resolution"], "target removed");
    until("its series to end", SOON, || agent.metrics("watchkeeper_target_up", &[]).is_empty());
    let looked = service.requests();
    let_pass(Duration::from_secs(3));
    assert_eq!(service.requests(), looked, "nobody looks any more");
    assert_eq!(receiver.attempts().len(), 2, "{}", receiver.dump());
}

#[test]
fn a_target_that_leads_elsewhere_resolves_with_the_reason_and_is_judged_anew() {
    let (before, after) = (HttpService::start(Answer::Status(503)), HttpService::start(Answer::Status(200)));
    let receiver = Receiver::start();
    let targets = |service: &HttpService| format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging(&receiver, &targets(&before)).start();
    receiver.wait_for_page("TargetDown", SOON);
    change_targets(&agent, &receiver, &targets(&after));
    let resolve = receiver.wait_for_resolve("TargetDown", SOON);
    assert_eq!(resolve.alert("resolved", "TargetDown").unwrap()["annotations"]["resolution"], "target changed");
    agent.wait_for_verdict("api", true);
}

#[test]
fn a_secret_that_becomes_a_pipe_stops_nothing() {
    let service = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    let targets = format!(
        "targets: {{api: {{http: {{url_file: secret}}, interval: 1s}}, web: {{http: {{url: \"{}\"}}}}}}",
        service.url("/")
    );
    let agent = paging(&receiver, &targets).with_file("secret", &service.url("/")).start();
    agent.wait_for_verdict("api", true);
    let secret = agent.setup.folder().join("secret");
    std::fs::remove_file(&secret).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&secret).status().unwrap().success());
    wait_for_reloads(&agent, "applied", 1);
    agent.wait_for_verdict("web", true);
    assert_eq!(agent.get("/health/live").status, 200);
}

#[test]
fn a_rotated_secret_leads_to_the_new_server_at_once() {
    let (mut old, new) = (Redis::start(), Redis::start());
    let receiver = Receiver::start();
    let targets = "targets: {cache: {redis: {url_file: secret, reconnect: 1h}, interval: 1h, timeout: 2s}}";
    let agent = paging(&receiver, targets).with_file("secret", &old.url()).start();
    agent.wait_for_verdict("cache", true);
    std::fs::write(agent.setup.folder().join("secret"), new.url()).unwrap();
    until("a connection to the new server", SOON, || new.connections_received() > 2);
    old.stop();
    let_pass(Duration::from_secs(2));
    assert!(receiver.attempts().is_empty(), "the old server is nobody's any more: {}", receiver.dump());
    agent.wait_for_verdict("cache", true);
}

#[test]
fn an_agent_without_targets_takes_up_its_first_one() {
    let service = HttpService::start(Answer::Status(200));
    let agent = Setup::new("").start();
    agent.setup.configure(&format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/")));
    agent.wait_for_verdict("api", true);
}

#[test]
fn an_agent_that_was_started_with_a_bad_file_takes_over_the_mended_one() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let mut agent = paging(&receiver, &targets).start();
    receiver.wait_for_page("TargetDown", SOON);
    agent.kill9();
    agent.setup.configure("targets: {api: {htp: {}}}\n");
    agent.start_again();
    let wait_for_good = |agent: &Agent, good: f64| {
        until("the configuration to be judged", SOON, || {
            agent.metric("watchkeeper_config_last_reload_successful") == Some(good)
        });
    };
    wait_for_good(&agent, 0.0);
    agent.wait_for_verdict("api", false);
    let more = HttpService::start(Answer::Status(200));
    agent.setup.configure(&paging_text(
        &receiver,
        &format!("{}, web: {{http: {{url: \"{}\"}}}}}}", &targets[..targets.len() - 1], more.url("/")),
    ));
    agent.wait_for_verdict("web", true);
    wait_for_good(&agent, 1.0);
    service.answer(Answer::Status(200));
    receiver.wait_for_resolve("TargetDown", SOON);
    assert_told(&receiver, &BTreeMap::from([(("TargetDown".to_owned(), "api".to_owned()), 1)]));
}
