//! What fires, and whether the receiver was told exactly that.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::receiver::{Delivery, Receiver};

fn alerts(agent: &Agent) -> Vec<Value> {
    let json = agent.get("/api/v1/alerts").json();
    let all = json["data"]["alerts"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|alert| alert["labels"]["test"] == "yes").collect()
}

/// Rule and target of each alert of the tests that fires.
pub fn firing(agent: &Agent) -> BTreeSet<(String, String)> {
    let all = alerts(agent);
    let firing = all.iter().filter(|alert| alert["state"] == "firing");
    firing.map(|alert| (label(alert, "alertname"), label(alert, "target"))).collect()
}

fn label(alert: &Value, name: &str) -> String {
    alert["labels"][name].as_str().unwrap_or_default().to_owned()
}

/// By deduplication key: page, resolve, page, resolve…, one after the other, as often as it was down. Attempts of one
/// notification are alike, and the next one's come after one of them was taken.
#[track_caller]
pub fn assert_told(receiver: &Receiver, incidents: &BTreeMap<(String, String), usize>) {
    let mut keys: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
    for attempt in receiver.attempts() {
        keys.entry(attempt.group_key().to_owned()).or_default().push(attempt);
    }
    let mut told = BTreeMap::new();
    for (key, attempts) in &keys {
        let notifications: Vec<&[Delivery]> = attempts.chunk_by(|one, next| one.id() == next.id()).collect();
        let ids: BTreeSet<_> = notifications.iter().map(|same| same[0].id()).collect();
        assert_eq!(ids.len(), notifications.len(), "{key}: one overtook another\n{}", receiver.dump());
        for same in &notifications {
            let alike = |one: &Delivery| one.request.body == same[0].request.body;
            assert!(same.iter().all(alike), "{key}: attempts differ\n{}", receiver.dump());
            assert!(same.iter().any(Delivery::accepted), "{key}: {} was not taken\n{}", same[0].id(), receiver.dump());
        }
        let pairs: Vec<_> =
            notifications.chunks(2).map(|pair| (&pair[0][0], pair.get(1).map(|resolve| &resolve[0]))).collect();
        for (page, resolve) in &pairs {
            let resolve = resolve.unwrap_or_else(|| panic!("{key}: a page without its resolve\n{}", receiver.dump()));
            assert_pair(page, resolve, receiver);
        }
        let starts: BTreeSet<_> = pairs.iter().map(|(page, _)| page.alerts()[0]["startsAt"].to_string()).collect();
        assert_eq!(starts.len(), pairs.len(), "{key}: one incident twice\n{}", receiver.dump());
        let alert = &attempts[0].alerts()[0];
        told.insert((label(alert, "alertname"), label(alert, "target")), pairs.len());
    }
    assert_eq!(told, *incidents, "{}", receiver.dump());
}

#[track_caller]
fn assert_pair(page: &Delivery, resolve: &Delivery, receiver: &Receiver) {
    assert_eq!((page.status(), resolve.status()), ("firing", "resolved"), "{}", receiver.dump());
    assert_eq!((page.alerts().len(), resolve.alerts().len()), (1, 1));
    let (fired, resolved) = (&page.alerts()[0], &resolve.alerts()[0]);
    for key in ["labels", "fingerprint", "startsAt"] {
        assert_eq!(fired[key], resolved[key], "{key}");
    }
    let time = |key: &str| resolved[key].as_str().unwrap_or_default().parse::<jiff::Timestamp>().unwrap();
    assert!(time("endsAt") >= time("startsAt"), "{resolved}");
}
