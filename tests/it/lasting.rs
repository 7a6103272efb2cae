//! What a kill, a restart or a lost secret must not change: alerts, their timers, and grace.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::configuration::{RULES, pages_for_everything, paging};
use crate::support::agent::{Agent, Setup, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::Receiver;
use crate::support::redis::Redis;
use crate::support::wait::{SOON, Witness, eventually};

/// A rule that is patient for longer than a start takes.
const PATIENT_RULES: &str = r#"
groups:
- name: test
  rules:
  - alert: TargetDown
    expr: watchkeeper_target_up == 0
    for: 24s
"#;

fn alert(agent: &Agent, name: &str) -> Option<Value> {
    let json = agent.get("/api/v1/alerts").json();
    json["data"]["alerts"].as_array()?.iter().find(|alert| alert["labels"]["alertname"] == name).cloned()
}

/// Waits until the alert is there and is as wanted.
#[track_caller]
fn wait_for_alert(agent: &Agent, name: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{name} to be {what}"), SOON, || {
        let seen = alert(agent, name);
        seen.clone().filter(&fits).ok_or_else(|| format!("{seen:?}\n{}", agent.lines().join("\n")))
    })
}

fn time(alert: &Value, key: &str) -> jiff::Timestamp {
    alert[key].as_str().unwrap_or_default().parse().unwrap_or_else(|_| panic!("no time {key} in {alert}"))
}

#[test]
fn an_alert_whose_target_becomes_unknown_is_held_until_it_is_seen_to_be_good() {
    let mut redis = Redis::start();
    let receiver = Receiver::start();
    let targets = "targets: {cache: {redis: {url_file: secret}}}";
    let setup = paging(&receiver, targets).with_file("secret", &redis.url());
    let secret = setup.folder().join("secret");
    let agent = setup.start();
    agent.wait_for_verdict("cache", true);
    redis.stop();
    receiver.wait_for_page("TargetDown", SOON);

    std::fs::remove_file(&secret).unwrap();
    let held = wait_for_alert(&agent, "TargetDown", "held", |alert| alert.get("blindSince").is_some());
    assert_eq!(held["state"], "firing");
    assert!(time(&held, "blindSince") > time(&held, "activeAt"));
    let blind = |number: f64| {
        eventually(&format!("{number} blind targets"), SOON, || match agent.metric("watchkeeper_blind_targets") {
            Some(seen) if seen == number => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    blind(1.0);
    assert!(agent.metrics("watchkeeper_target_up", &[]).is_empty(), "nothing is known");
    let_pass(Duration::from_secs(2)); // several evaluations
    assert!(alert(&agent, "TargetDown").is_some_and(|alert| alert["state"] == "firing"));

    // Back, and still down: it goes on as the same alert.
    std::fs::write(&secret, redis.url()).unwrap();
    let seen = wait_for_alert(&agent, "TargetDown", "seen again", |alert| alert.get("blindSince").is_none());
    assert_eq!(seen["activeAt"], held["activeAt"]);
    blind(0.0);
    assert_eq!(receiver.attempts().len(), 1, "nothing was told meanwhile:\n{}", receiver.dump());
    redis.start_again();
    receiver.wait_for_resolve("TargetDown", SOON);
}

#[test]
fn a_kill_while_pending_neither_restarts_for_nor_counts_the_time_without_the_agent() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let witness = Witness::start();
    let mut agent = paging(&receiver, &targets).with_file("rules.yml", PATIENT_RULES).start();
    let pending = wait_for_alert(&agent, "TargetDown", "pending", |alert| alert["state"] == "pending");
    let_pass(Duration::from_secs(7)); // at least one of the state's notes of the time, every five seconds
    let killed = Instant::now();
    agent.kill9();
    let_pass(Duration::from_secs(18)); // with what it has waited for already, longer than `for`
    agent.start_again();
    let resumed = wait_for_alert(&agent, "TargetDown", "pending again", |_| true);
    assert_eq!(resumed["state"], "pending", "time without the agent does not count: {resumed}");
    // From then on it lacks what it lacked when the agent was killed, not the whole of `for`.
    let moved = time(&resumed, "activeAt").duration_since(time(&pending, "activeAt")).as_secs_f64();
    // With what came after the newest note of the time.
    let unseen = (killed.elapsed() + witness.stood_still()).as_secs_f64() + 6.0;
    assert!((17.0..unseen).contains(&moved), "moved by {moved} s: by the time that nobody saw and no more");
    let firing = wait_for_alert(&agent, "TargetDown", "firing", |alert| alert["state"] == "firing");
    assert!(time(&firing, "activeAt") >= time(&resumed, "activeAt"));
}

#[test]
fn a_restored_alert_is_held_until_its_target_is_seen_and_others_do_not_keep_it() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let targets = format!(
        "targets:\n  api: {{http: {{url: \"{}\"}}}}\n  never: {{redis: {{url_file: nowhere}}}}\n",
        service.url("/")
    );
    let mut agent = paging(&receiver, &targets).start();
    receiver.wait_for_page("TargetDown", SOON);
    agent.kill9();
    service.answer(Answer::Hang); // nothing is seen of it for a while
    agent.start_again();
    wait_for_alert(&agent, "TargetDown", "restored", |alert| alert["state"] == "firing");
    service.answer(Answer::Status(200));
    receiver.wait_for_resolve("TargetDown", SOON);
    assert_eq!(receiver.notifications().len(), 2, "a page and a resolve:\n{}", receiver.dump());
}

#[test]
fn a_restart_leaves_the_cause_in_the_page_that_is_repeated() {
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let text = format!(
        "
defaults: {{interval: 300ms, confirm: 50ms}}
evaluation: {{interval: 300ms}}
rule_files: [{{path: rules.yml, hold: true}}]
alerting:
  route: {{receiver: nobody, routes: [{{receiver: people, matchers: ['test=\"yes\"'], repeat_interval: 8s}}]}}
  receivers: [{{name: nobody}}, {{name: people, webhook_configs: [{{url: \"{}\"}}]}}]
targets: {{api: {{http: {{url: \"{}\"}}}}}}
",
        receiver.url(),
        service.url("/")
    );
    let mut agent = Setup::new(&text).with_file("rules.yml", RULES).start();
    let cause = |receiver: &Receiver| {
        let page = receiver.wait_for_page("TargetDown", SOON);
        page.alert("firing", "TargetDown").unwrap()["annotations"]["cause"].clone()
    };
    let first = cause(&receiver);
    assert!(first.as_str().is_some_and(|cause| cause.contains("503")), "{first}");
    assert!(agent.terminate().success());
    agent.start_again();
    assert_eq!(cause(&receiver), first);
}

#[test]
fn grace_is_not_started_again_by_a_restart() {
    let receiver = Receiver::start();
    let service = HttpService::start(Answer::Status(503));
    let text = format!(
        "{}defaults: {{interval: 300ms, confirm: 50ms, grace: 1m}}\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        pages_for_everything(&receiver),
        service.url("/")
    );
    let mut agent = Agent::start(&text);
    let looks = |count: usize| {
        let before = service.requests();
        eventually("looks", SOON, || if service.requests() >= before + count { Ok(()) } else { Err("few") });
    };
    looks(5);
    assert!(agent.metrics("watchkeeper_target_up", &[]).is_empty(), "failures are forgiven");
    // A success ends it for good, in every later run.
    service.answer(Answer::Status(200));
    agent.wait_for_verdict("api", true);
    assert!(agent.terminate().success());
    service.answer(Answer::Status(503));
    agent.start_again();
    let before = service.requests();
    agent.wait_for_verdict("api", false);
    let needed = service.requests() - before;
    assert!(needed <= 10, "down after {needed} looks: grace would have forgiven more than twenty");
}

#[test]
fn grace_runs_on_where_a_kill_interrupted_it() {
    let service = HttpService::start(Answer::Status(503));
    let text = format!(
        "defaults: {{interval: 300ms, confirm: 50ms, grace: 12s}}\ntargets: {{api: {{http: {{url: \"{}\"}}}}}}\n",
        service.url("/")
    );
    let mut agent = Agent::start(&text);
    let before = service.requests();
    let_pass(Duration::from_secs(11)); // two of the state's notes of the time, every five seconds
    agent.kill9();
    agent.start_again();
    agent.wait_for_verdict("api", false);
    let looks = service.requests() - before;
    // 300 ms each: 12 s of grace are 40 looks; begun anew after the kill they would be 77.
    assert!(looks < 70, "{looks} looks");
}
