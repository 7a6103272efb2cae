//! The gate: from a real fault to a delivered page and its resolve, across a kill of the agent.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::{paging, paging_everything};
use crate::support::agent::{Agent, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::postgres::{Postgres, Stop};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::redis::Redis;
use crate::support::wait::SOON;

/// For the resolves of shipped rules, which keep firing for 30 s so that what flaps is one page.
const PATIENT: Duration = Duration::from_secs(90);

#[test]
fn an_outage_of_redis_pages_and_resolves_across_a_kill() {
    let mut redis = Redis::start();
    let receiver = Receiver::start();
    let targets = format!("targets: {{cache: {{redis: {{url: \"{}\"}}}}}}", redis.url());
    let mut agent = paging(&receiver, &targets).start();
    let port = redis.port;
    two_outages(&mut agent, &receiver, "cache", &format!("127.0.0.1:{port}"), |up| {
        if up { redis.start_again() } else { redis.stop() }
    });
}

#[test]
fn an_outage_of_postgresql_pages_and_resolves_across_a_kill() {
    let mut server = Postgres::start();
    let receiver = Receiver::start();
    let targets = format!("targets: {{db: {{postgres: {{url: \"{}\"}}}}}}", server.url());
    let mut agent = paging(&receiver, &targets).start();
    let port = server.port;
    two_outages(&mut agent, &receiver, "db", &format!("127.0.0.1:{port}"), |up| {
        if up { server.start_again() } else { server.stop(Stop::Fast) }
    });
}

#[test]
fn readiness_503_pages_and_resolves_across_a_kill() {
    let service = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/health/ready"));
    let mut agent = paging(&receiver, &targets).start();
    two_outages(&mut agent, &receiver, "api", "503", |up| {
        service.answer(Answer::Status(if up { 200 } else { 503 }));
    });
}

/// An outage with a kill of the agent in its middle, and another one after that.
fn two_outages(agent: &mut Agent, receiver: &Receiver, target: &str, cause: &str, mut serve: impl FnMut(bool)) {
    agent.wait_for_verdict(target, true);
    serve(false);
    let page = receiver.wait_for_page("TargetDown", SOON);
    assert_page(&page, target, cause);
    agent.kill9();
    agent.start_again();
    agent.wait_for_verdict(target, false);
    serve(true);
    let resolve = receiver.wait_for_resolve("TargetDown", SOON);
    assert_same_incident(&page, &resolve);

    serve(false);
    let second_page = receiver.wait_for_page("TargetDown", SOON);
    assert_ne!(alert(&second_page)["startsAt"], alert(&page)["startsAt"], "a second outage is another one");
    assert_eq!(second_page.group_key(), page.group_key());
    serve(true);
    let second_resolve = receiver.wait_for_resolve("TargetDown", SOON);
    assert_same_incident(&second_page, &second_resolve);

    // An attempt may be repeated when the agent was killed before it noted the answer; a notification may not.
    let sent = receiver.notifications();
    let wanted = [&page, &resolve, &second_page, &second_resolve].map(|delivery| delivery.id().to_owned());
    assert_eq!(sent, BTreeSet::from(wanted), "nothing else was sent:\n{}", receiver.dump());
}

fn alert(delivery: &Delivery) -> &Value {
    &delivery.alerts()[0]
}

fn assert_page(page: &Delivery, target: &str, cause: &str) {
    assert_eq!((page.status(), page.alerts().len()), ("firing", 1));
    assert_eq!(page.payload["version"], "4");
    assert_eq!(page.payload["receiver"], "people");
    assert_eq!(alert(page)["labels"]["target"], target);
    assert_eq!(alert(page)["annotations"]["summary"], format!("{target} is down"));
    let told = alert(page)["annotations"]["cause"].as_str().unwrap_or_default();
    assert!(told.contains(cause), "the page tells its cause ({cause}): {told}");
    assert!(alert(page)["labels"].get("cause").is_none(), "a cause is no label");
}

#[track_caller]
fn assert_same_incident(page: &Delivery, resolve: &Delivery) {
    assert_eq!(resolve.status(), "resolved");
    assert_eq!(resolve.group_key(), page.group_key());
    for key in ["fingerprint", "labels", "startsAt"] {
        assert_eq!(alert(resolve)[key], alert(page)[key], "{key}");
    }
    let time = |key: &str| alert(resolve)[key].as_str().unwrap_or_default().parse::<jiff::Timestamp>().unwrap();
    assert!(time("endsAt") > time("startsAt"), "{}", alert(resolve));
    assert_ne!(resolve.id(), page.id(), "each notification has an id of its own");
    assert!(resolve.index > page.index);
}

/// A server with room for seven ordinary sessions, and a target whose own user is an ordinary one.
fn small_postgresql() -> (Postgres, String) {
    let server = Postgres::start_with(&["max_connections=10"]);
    server.execute("CREATE ROLE watch LOGIN");
    server.execute("GRANT pg_monitor TO watch");
    let url = server.url().replace("//postgres@", "//watch@");
    (server, format!("targets: {{db: {{postgres: {{url: \"{url}\", reconnect: 1s}}}}}}"))
}

#[test]
fn a_full_postgresql_is_exhausted_and_not_down() {
    let (server, targets) = small_postgresql();
    let receiver = Receiver::start();
    let agent = paging_everything(&receiver, &targets).start();
    agent.wait_for_verdict("db", true);
    let sessions = server.fill();
    let page = receiver.wait_for_page("PoolExhausted", SOON);
    assert_eq!(alert(&page)["labels"]["target"], "db");
    let_pass(Duration::from_secs(4)); // several fresh connections, each refused
    agent.wait_for_verdict("db", true); // it answers, so it is up
    drop(sessions);
    let resolve = receiver.wait_for_resolve("PoolExhausted", PATIENT);
    assert_same_incident(&page, &resolve);
    assert_only(&receiver, "PoolExhausted");
}

#[test]
fn a_postgresql_that_is_full_from_the_start_is_up_and_exhausted() {
    let (server, targets) = small_postgresql();
    let receiver = Receiver::start();
    let sessions = server.fill();
    let agent = paging_everything(&receiver, &targets).start();
    agent.wait_for_verdict("db", true);
    receiver.wait_for_page("PoolExhausted", SOON);
    drop(sessions);
    receiver.wait_for_resolve("PoolExhausted", PATIENT);
    assert_only(&receiver, "PoolExhausted");
}

#[test]
fn a_full_redis_is_not_down() {
    let redis = Redis::start_with(&["--maxclients", "4"]);
    let receiver = Receiver::start();
    let targets = format!("targets: {{cache: {{redis: {{url: \"{}\", reconnect: 1s}}}}}}", redis.url());
    let agent = paging_everything(&receiver, &targets).start();
    agent.wait_for_verdict("cache", true);
    let _crowd: Vec<_> = (0..4).map(|_| redis.connect()).collect();
    receiver.wait_for_page("PoolExhausted", SOON);
    let_pass(Duration::from_secs(3)); // several fresh connections, each refused
    agent.wait_for_verdict("cache", true); // it answers, so it is up
    assert_only(&receiver, "PoolExhausted");
}

#[track_caller]
fn assert_only(receiver: &Receiver, name: &str) {
    let names: BTreeSet<_> = receiver.attempts().iter().flat_map(alert_names).collect();
    assert_eq!(names, BTreeSet::from([name.to_owned()]), "{}", receiver.dump());
}

fn alert_names(delivery: &Delivery) -> Vec<String> {
    delivery.alerts().iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_shipped_rule_pages_for_an_outage_and_resolves_it() {
    let mut redis = Redis::start();
    let receiver = Receiver::start();
    let targets = format!("targets: {{cache: {{redis: {{url: \"{}\"}}, priority: P0}}}}", redis.url());
    let agent = paging_everything(&receiver, &targets).start();
    agent.wait_for_verdict("cache", true);
    redis.stop();
    let page = receiver.wait_for_page("ServiceDown", SOON);
    assert_eq!(page.alert("firing", "ServiceDown").unwrap()["labels"]["severity"], "critical");
    assert_eq!(page.alert("firing", "ServiceDown").unwrap()["labels"]["priority"], "P0");
    redis.start_again();
    let resolve = receiver.wait_for_resolve("ServiceDown", PATIENT);
    assert_same_incident(&page, &resolve);
}

#[test]
fn a_page_is_repeated_until_it_is_taken_and_its_resolve_waits_behind_it() {
    let service = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let agent = paging(&receiver, &targets).start();
    agent.wait_for_verdict("api", true);
    receiver.script([Answer::Status(503), Answer::with_header(429, "Retry-After", "1"), Answer::Cut]);
    service.answer(Answer::Status(500));
    agent.wait_for_verdict("api", false);
    service.answer(Answer::Status(200));
    let resolve = receiver.wait_for_resolve("TargetDown", SOON);
    let attempts = receiver.attempts();
    let pages = &attempts[..4];
    assert!(pages.iter().all(|attempt| attempt.status() == "firing" && attempt.id() == pages[0].id()));
    assert!(pages[3].accepted());
    assert_eq!(resolve.index, 4, "the resolve comes after its page:\n{}", receiver.dump());
    assert_same_incident(&pages[3], &resolve);
}

#[test]
fn pages_are_signed_with_every_key() {
    const OLD: &str = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xk";
    const NEW: &str = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3";
    let service = HttpService::start(Answer::Status(503));
    let receiver = Receiver::start();
    let url = receiver.url();
    let text = format!(
        "
alerting:
  route: {{receiver: people}}
  receivers: [{{name: people, webhook_configs: [{{url: \"{url}\", signing_secrets: [{NEW}, {OLD}]}}]}}]
defaults: {{interval: 300ms, confirm: 50ms}}
rule_files: [rules.yml]
targets: {{api: {{http: {{url: \"{}\"}}}}}}
",
        service.url("/")
    );
    let setup = crate::support::agent::Setup::new(&text).with_file("rules.yml", crate::configuration::RULES);
    let _agent = setup.start();
    let page = receiver.wait_for_page("TargetDown", SOON);
    assert!(page.is_signed_with(NEW) && page.is_signed_with(OLD), "{:?}", page.request.headers);
    assert!(!page.is_signed_with("whsec_c29tZS1vdGhlci1rZXktc29tZS1vdGhlci1r"));
}
