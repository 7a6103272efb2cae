//! Kills at seeded points, with a receiver that fails now and then: nothing is lost, nothing is out of order.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::configuration::paging;
use crate::support::agent::{Agent, let_pass};
use crate::support::http::{Answer, HttpService};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::wait::{SOON, until};

const SEED: u64 = 20_261_120;
const KILLS: usize = 10;

#[test]
fn ten_kills_lose_no_page_and_no_resolve() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let service = HttpService::start(Answer::Status(200));
    let receiver = Receiver::start();
    receiver.decide(sometimes_failing(random.fork()));
    let targets = format!("targets: {{api: {{http: {{url: \"{}\"}}}}}}", service.url("/"));
    let mut agent = paging(&receiver, &targets).start();
    for round in 0..KILLS {
        agent.wait_for_verdict("api", true);
        let in_outage = random.bool();
        let delay = Duration::from_millis(random.u64(0..900));
        println!("round {round}: killed {delay:?} into the {}", if in_outage { "outage" } else { "recovery" });
        service.answer(Answer::Status(503));
        if in_outage {
            kill_after(&mut agent, delay);
        }
        until("the outage to be accepted", SOON, || alerts(&agent).iter().any(|alert| alert["state"] == "firing"));
        service.answer(Answer::Status(200));
        if !in_outage {
            kill_after(&mut agent, delay);
        }
        until("the alert to be gone", SOON, || alerts(&agent).is_empty());
    }
    until("the last resolve", SOON, || {
        receiver.accepted().iter().filter(|one| one.status() == "resolved").count() >= KILLS
    });
    assert_in_order(&receiver);
}

/// Two of five attempts fail: refused for now, cut before the answer, or cut off in its middle.
fn sometimes_failing(random: fastrand::Rng) -> impl Fn() -> Answer + Send + Sync {
    let random = Mutex::new(random);
    move || match random.lock().unwrap().u32(0..5) {
        0 => Answer::Status(503),
        1 => Answer::Cut,
        _ => Answer::Status(200),
    }
}

fn kill_after(agent: &mut Agent, delay: Duration) {
    let_pass(delay);
    agent.kill9();
    agent.start_again();
}

fn alerts(agent: &Agent) -> Vec<Value> {
    let all = agent.get("/api/v1/alerts").json();
    let all = all["data"]["alerts"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|alert| alert["labels"]["alertname"] == "TargetDown").collect()
}

/// Page, resolve, page, resolve…: repeats of one notification aside, which a kill before its answer was noted makes.
fn assert_in_order(receiver: &Receiver) {
    let mut seen = BTreeSet::new();
    let mut told = receiver.attempts();
    told.retain(|delivery| seen.insert(delivery.id().to_owned()));
    let told: Vec<_> = told.iter().map(Delivery::status).collect();
    assert_eq!(told, ["firing", "resolved"].repeat(KILLS), "{}", receiver.dump());
    let (taken, sent): (BTreeSet<_>, _) = (receiver.accepted().iter().map(|one| one.id().to_owned()).collect(), seen);
    assert_eq!(taken, sent, "every notification was taken in the end");
}
