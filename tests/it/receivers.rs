//! Every kind of receiver against an imitation that fails in every way and then checks what it was sent against its
//! provider's published limits; Alertmanager also against the real one.

use std::time::Duration;

use serde_json::Value;

use crate::configuration::RULES;
use crate::support::agent::{Agent, Setup};
use crate::support::alertmanager::Alertmanager;
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::wait::{SOON, eventually, until};

const ROUTING_KEY: &str = "0123456789abcdef0123456789ABCDEF";

/// An agent that watches a service which answers 503, and pages one receiver with these endpoints.
fn paging(service: &HttpService, endpoints: &str) -> Setup {
    let text = format!(
        "
alerting:
  route: {{receiver: people, group_by: [target], routes: [{{matchers: ['alertname!=\"TargetDown\"'], receiver: nobody}}]}}
  receivers: [{{name: nobody}}, {{name: people, {endpoints}}}]
defaults: {{interval: 300ms, timeout: 300ms, confirm: 50ms, fall: 3}}
evaluation: {{interval: 300ms}}
rule_files: [{{path: rules.yml, hold: true}}]
targets: {{api: {{http: {{url: \"{}\"}}}}}}
",
        service.url("/")
    );
    Setup::new(&text).with_file("rules.yml", RULES)
}

/// A metric of the receiver that is paged.
fn of_people(agent: &Agent, name: &str) -> f64 {
    agent.metrics(name, &[r#"receiver="people""#]).first().copied().unwrap_or(-1.0)
}

/// A kind of receiver: how it is configured, how it says yes, and how it ends an alert.
pub struct Imitation {
    pub endpoints: fn(&str) -> String,
    pub yes: fn() -> Answer,
    pub check: fn(&Delivery),
    resolves: fn(&Value) -> bool,
}

const WEBHOOK: Imitation = Imitation {
    endpoints: |url| format!("webhook_configs: [{{url: \"{url}\", timeout: 4s}}]"),
    yes: || Answer::Status(200),
    check: |delivery| assert_eq!(delivery.payload["version"], "4"),
    resolves: |payload| payload["status"] == "resolved",
};

pub const PAGERDUTY: Imitation = Imitation {
    endpoints: |url| format!("pagerduty_configs: [{{url: \"{url}\", routing_key: {ROUTING_KEY}, timeout: 4s}}]"),
    yes: || Answer::text(202, r#"{"status":"success"}"#),
    check: check_event,
    resolves: |payload| payload["event_action"] == "resolve",
};

pub const SLACK: Imitation = Imitation {
    endpoints: |url| format!("slack_configs: [{{api_url: \"{url}\", timeout: 4s}}]"),
    yes: || Answer::text(200, "ok"),
    check: check_message,
    resolves: |payload| payload["text"].as_str().unwrap_or_default().starts_with("[RESOLVED]"),
};

const ALERTMANAGER: Imitation = Imitation {
    endpoints: |url| format!("alertmanager_configs: [{{urls: [\"{url}\"], timeout: 4s}}]"),
    yes: || Answer::Status(200),
    check: check_alerts,
    resolves: |payload| payload[0].get("endsAt").is_some(),
};

/// PagerDuty's limits and required fields.
fn check_event(delivery: &Delivery) {
    let event = &delivery.payload;
    assert!(delivery.request.body.len() <= 512_000);
    assert_eq!(event["routing_key"], ROUTING_KEY);
    assert!(["trigger", "resolve"].contains(&event["event_action"].as_str().unwrap()), "{event}");
    let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
    assert!((1..=255).contains(&length(&event["dedup_key"])), "{event}");
    assert!((1..=1_024).contains(&length(&event["payload"]["summary"])), "{event}");
    assert!(length(&event["payload"]["source"]) > 0, "{event}");
    let severity = event["payload"]["severity"].as_str().unwrap();
    assert!(["critical", "error", "warning", "info"].contains(&severity), "{event}");
    assert!(event["payload"]["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{event}");
}

/// Slack's limits.
fn check_message(delivery: &Delivery) {
    let message = &delivery.payload;
    let length = |value: &Value| value.as_str().unwrap_or_default().chars().count();
    assert!((1..=40_000).contains(&length(&message["text"])), "{message}");
    let blocks = message["blocks"].as_array().unwrap();
    assert!((1..=50).contains(&blocks.len()));
    for block in blocks {
        let text = if block["type"] == "section" { &block["text"] } else { &block["elements"][0] };
        assert!(text["type"] == "mrkdwn" && (1..=3_000).contains(&length(&text["text"])), "{block}");
    }
}

/// What Alertmanager's API takes.
fn check_alerts(delivery: &Delivery) {
    assert_eq!(delivery.request.path, "/page/api/v2/alerts");
    for alert in delivery.payload.as_array().unwrap() {
        assert!(alert["labels"]["alertname"].is_string(), "{alert}");
        assert!(alert["startsAt"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{alert}");
        assert!(alert["generatorURL"].as_str().unwrap().starts_with("http://"), "{alert}");
    }
}

/// What a receiver that is too busy asks for: longer than the first back-off, which is about a second.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// The page fails in every way that may pass, then is taken as it was; the resolve comes after it.
fn every_failure_that_may_pass(kind: &Imitation) {
    let (service, receiver) = (HttpService::start(Answer::Status(503)), Receiver::start());
    let yes = kind.yes;
    receiver.decide(yes);
    receiver.script([Answer::with_header(429, "Retry-After", "3"), Answer::Status(500), Answer::Hang, Answer::Cut]);
    let _agent = paging(&service, &(kind.endpoints)(&receiver.url())).start();
    let page = eventually("the page", SOON * 2, || receiver.attempts().get(4).cloned().ok_or("not yet"));
    assert!(page.accepted());
    let waited = receiver.attempts()[1].at - receiver.attempts()[0].at;
    assert!(waited >= RETRY_AFTER, "tried again {waited:?} after a Retry-After of {RETRY_AFTER:?}");
    service.answer(Answer::Status(200));
    let ended = |delivery: &&Delivery| (kind.resolves)(&delivery.payload);
    let resolve = eventually("the resolve", SOON, || receiver.attempts().iter().find(ended).cloned().ok_or("not yet"));
    assert!(resolve.index > page.index, "{}", receiver.dump());
    for attempt in receiver.attempts() {
        (kind.check)(&attempt);
        if attempt.index <= 4 {
            assert_eq!(attempt.payload, page.payload, "what is tried again is what was accepted");
        }
    }
}

#[test]
fn a_webhook_that_fails_in_every_way_gets_page_and_resolve() {
    every_failure_that_may_pass(&WEBHOOK);
}

#[test]
fn pagerduty_that_fails_in_every_way_gets_page_and_resolve() {
    every_failure_that_may_pass(&PAGERDUTY);
}

#[test]
fn slack_that_fails_in_every_way_gets_page_and_resolve() {
    every_failure_that_may_pass(&SLACK);
}

#[test]
fn an_alertmanager_that_fails_in_every_way_gets_page_and_resolve() {
    every_failure_that_may_pass(&ALERTMANAGER);
}

#[test]
fn a_page_and_its_resolve_carry_one_deduplication_key_across_a_kill_and_the_key_is_not_kept() {
    let (service, receiver) = (HttpService::start(Answer::Status(503)), Receiver::start());
    receiver.decide(PAGERDUTY.yes);
    let mut agent = paging(&service, &(PAGERDUTY.endpoints)(&receiver.url())).start();
    until("the page", SOON, || !receiver.accepted().is_empty());
    agent.kill9();
    agent.start_again();
    agent.wait_for_verdict("api", false);
    service.answer(Answer::Status(200));
    let ended = |delivery: &&Delivery| delivery.payload["event_action"] == "resolve";
    let resolve = eventually("the resolve", SOON, || receiver.accepted().iter().find(ended).cloned().ok_or("not yet"));
    let page = &receiver.accepted()[0].payload;
    assert_eq!(page["dedup_key"], resolve.payload["dedup_key"]);
    let key = page["dedup_key"].as_str().unwrap();
    assert!(key.starts_with("people:{") && key.contains(r#"target="api""#), "{key}");
    assert!(!agent.errors().contains(ROUTING_KEY), "nothing is printed");
}

#[test]
fn a_slack_channel_that_is_gone_disables_its_webhook_loudly_and_the_page_is_kept() {
    let (service, receiver) = (HttpService::start(Answer::Status(503)), Receiver::start());
    receiver.decide(|| Answer::text(410, "channel_is_archived"));
    let mut agent = paging(&service, &(SLACK.endpoints)(&receiver.url())).start();
    agent.wait_for_line("that it is disabled", |line| line.to_string().contains("channel_is_archived"));
    until("the metrics", SOON, || of_people(&agent, "watchkeeper_receiver_disabled") == 1.0);
    assert!(of_people(&agent, "watchkeeper_outbox_depth") > 0.0);
    assert_eq!(receiver.attempts().len(), 1);
    receiver.decide(SLACK.yes);
    assert!(agent.terminate().success());
    agent.start_again();
    until("the page", SOON, || !receiver.accepted().is_empty());
}

#[test]
fn pagerduty_s_refusal_is_final_and_takes_the_resolve_with_it() {
    let (service, receiver) = (HttpService::start(Answer::Status(503)), Receiver::start());
    receiver.script([Answer::text(400, r#"{"status":"invalid event"}"#)]);
    receiver.decide(PAGERDUTY.yes);
    let agent = paging(&service, &(PAGERDUTY.endpoints)(&receiver.url())).start();
    until("the refusal", SOON, || of_people(&agent, "watchkeeper_deliveries_given_up_total") == 1.0);
    service.answer(Answer::Status(200));
    let left_out = || of_people(&agent, "watchkeeper_deliveries_abandoned_total") == 1.0;
    until("the resolve to be left out", SOON, left_out);
    assert_eq!(receiver.attempts().len(), 1);
}

#[test]
fn every_peer_of_a_real_alertmanager_is_told_reminded_and_told_of_the_end() {
    let service = HttpService::start(Answer::Status(503));
    let (one, mut other) = (Alertmanager::start(), Alertmanager::start());
    other.kill();
    let urls = format!("alertmanager_configs: [{{urls: [\"{}\", \"{}\"], timeout: 2s}}]", one.url(), other.url());
    let mut agent = paging(&service, &urls).start();
    let fires = |at: &Alertmanager| at.alerts().iter().any(|alert| alert["labels"]["alertname"] == "TargetDown");
    until("the first peer to be told", SOON, || fires(&one));
    assert!(one.amtool_alerts().contains("TargetDown"), "{}", one.amtool_alerts());
    let told = one.alerts().remove(0);
    assert!(told["annotations"]["cause"].as_str().unwrap().contains("503"), "{told}");
    other.start_again();
    until("the other peer to be told, now that it is there", SOON * 2, || fires(&other));

    // It forgets, and the agent starts anew: what fires is said again without a change.
    other.kill();
    other.start_again();
    assert!(!fires(&other));
    agent.kill9();
    agent.start_again();
    until("the other peer to be reminded", SOON, || fires(&other));

    service.answer(Answer::Status(200));
    until("both peers to be told of the end", SOON, || !fires(&one) && !fires(&other));
}

/// Runs `test-notify` to its end.
fn test_notify(endpoints: &str, receiver: &str) -> crate::support::agent::Ended {
    let text = format!("alerting:\n  route: {{receiver: people}}\n  receivers: [{{name: people, {endpoints}}}]\n");
    let setup = Setup::without_configuration();
    let path = setup.configure(&text).display().to_string();
    ["test-notify", receiver, "--config", &path].iter().fold(setup, |setup, word| setup.argument(word)).run_to_end()
}

#[test]
fn a_test_page_goes_to_every_endpoint_and_shows_no_secret() {
    let receivers: Vec<Receiver> = (0..4).map(|_| Receiver::start()).collect();
    let kinds = [&WEBHOOK, &PAGERDUTY, &SLACK, &ALERTMANAGER];
    let endpoints: Vec<String> = kinds.iter().zip(&receivers).map(|(kind, at)| (kind.endpoints)(&at.url())).collect();
    kinds.iter().zip(&receivers).for_each(|(kind, receiver)| receiver.decide(kind.yes));
    let ended = test_notify(&endpoints.join(", "), "people");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for (kind, receiver) in kinds.iter().zip(&receivers) {
        let seen = receiver.accepted();
        seen.iter().for_each(kind.check);
        assert_eq!(seen.iter().map(|delivery| (kind.resolves)(&delivery.payload)).collect::<Vec<_>>(), [false, true]);
        assert!(seen[0].payload.to_string().contains("TEST: this is a test page"), "{}", seen[0].payload);
    }
    assert_eq!(ended.output.lines().count(), 8, "{}", ended.output);
    assert!(ended.output.contains("taken (status 202)"), "{}", ended.output);
    assert!(!ended.output.contains(ROUTING_KEY) && !ended.output.contains("/page"), "{}", ended.output);
}

#[test]
fn a_test_page_that_is_not_taken_or_goes_to_nobody_we_know_says_so() {
    let receiver = Receiver::start();
    receiver.decide(|| Answer::text(404, "no_service"));
    let ended = test_notify(&(SLACK.endpoints)(&receiver.url()), "people");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("GONE, an agent would disable it: status 404: no_service"), "{}", ended.output);
    let ended = test_notify(&(SLACK.endpoints)(&receiver.url()), "poeple");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.errors.contains("there are people"), "{}", ended.errors);
}
