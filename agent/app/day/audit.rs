//! What must hold after every step of the day.

use std::collections::{BTreeMap, BTreeSet};

use super::process::Process;
use super::receivers::Receivers;
use super::{MINUTE, SECOND};
use crate::alert::Alert;
use crate::clock::rfc3339;
use crate::notify::Receiver;
use crate::rule::{ALERT_NAME, names};
use crate::sample::{Labels, Timestamp};
use crate::target::verdict::Verdict;

/// What has not changed for so long is known to all whom it concerns.
const KNOWN: i64 = 5 * MINUTE;
/// How soon a target that is down is paged, and how long one that was up may have been so.
const SOON: i64 = MINUTE;

pub struct Audit {
    /// When a setup was last taken over.
    changed_at: Timestamp,
    /// What fires, as it leaves, with its `startsAt`.
    firing: BTreeMap<String, Firing>,
    /// When what fired ended.
    ended: BTreeMap<(String, String), Timestamp>,
    up_at: BTreeMap<String, Timestamp>,
    down_since: BTreeMap<String, Timestamp>,
}

#[derive(Clone)]
struct Firing {
    labels: Labels,
    starts_at: Timestamp,
}

impl Audit {
    pub fn new(now: Timestamp) -> Self {
        Audit {
            changed_at: now,
            firing: BTreeMap::new(),
            ended: BTreeMap::new(),
            up_at: BTreeMap::new(),
            down_since: BTreeMap::new(),
        }
    }

    /// A start or a reload: what was removed by it ends without more ado.
    pub fn took_over(&mut self, process: &Process, receivers: &Receivers, now: Timestamp) {
        self.changed_at = now;
        self.down_since.clear();
        if let Some(alerting) = &process.config.alerting {
            let exists = |name: &str| alerting.receivers.iter().any(|receiver| receiver.name == name);
            let gone = |endpoint: &String| !exists(name_of(endpoint));
            let gone: BTreeSet<String> = receivers.book(|book| book.endpoints()).into_iter().filter(gone).collect();
            receivers.book(|book| gone.iter().for_each(|endpoint| book.forget(name_of(endpoint))));
        }
        self.follow(process, receivers, now);
    }

    pub fn step(&mut self, process: &Process, receivers: &Receivers, now: Timestamp) {
        let before = self.firing.clone();
        self.look_at_targets(process, now);
        self.follow(process, receivers, now);
        self.held_while_blind(&before, process, now);
        self.nothing_in_grace(&before, process, now);
        self.outages_are_paged(process, now);
        if now - self.changed_at > KNOWN && (now / SECOND) % 10 == 0 {
            self.receivers_know(process, receivers, now);
        }
    }

    /// Nothing fires but the watchdog, and everybody knows.
    pub fn end(&mut self, process: &Process, receivers: &Receivers, now: Timestamp) {
        self.follow(process, receivers, now);
        let firing: Vec<&String> = self.firing.keys().filter(|labels| !labels.contains("Watchdog")).collect();
        assert_eq!(firing, [""; 0], "what fires at the end");
        for endpoint in receivers.book(|book| book.endpoints()) {
            let open = receivers.book(|book| book.open(&endpoint, now));
            let open: Vec<&String> = open.keys().filter(|labels| !labels.contains("Watchdog")).collect();
            assert_eq!(open, [""; 0], "what {endpoint} still believes");
        }
    }

    fn look_at_targets(&mut self, process: &Process, now: Timestamp) {
        for (name, view) in process.shared.board.views() {
            match view.verdict {
                Verdict::Up => drop(self.up_at.insert(name.clone(), now)),
                Verdict::Down => drop(self.down_since.entry(name.clone()).or_insert(now)),
                Verdict::Unknown => {}
            }
            if view.verdict != Verdict::Down {
                self.down_since.remove(&name);
            }
        }
    }

    fn follow(&mut self, process: &Process, receivers: &Receivers, now: Timestamp) {
        let alerts = process.alerts.borrow().clone();
        let firing: BTreeMap<String, Firing> = alerts.iter().filter_map(|alert| firing(alert, process)).collect();
        for (labels, before) in &self.firing {
            let goes_on = firing.get(labels).is_some_and(|now| now.starts_at == before.starts_at);
            if !goes_on {
                self.ended.insert((labels.clone(), rfc3339(before.starts_at)), now);
            }
        }
        self.firing = firing;
        receivers.book(|book| assert_eq!(book.wrong, [""; 0], "at {}", rfc3339(now)));
    }

    /// A page for a target ends because it was seen to be up.
    fn held_while_blind(&self, before: &BTreeMap<String, Firing>, process: &Process, now: Timestamp) {
        if now - self.changed_at < 2 * MINUTE {
            return;
        }
        let ended = before.iter().filter(|(labels, _)| !self.firing.contains_key(*labels));
        for (labels, ended) in ended.filter(|(_, ended)| ended.labels.get(ALERT_NAME) == "ServiceDown") {
            let target = ended.labels.get("target");
            let up_at = self.up_at.get(target).copied().unwrap_or(0);
            let view = process.shared.board.view(target);
            assert!(now - up_at < SOON, "at {}: resolved unseen: {labels}: {view:#?}", rfc3339(now));
        }
    }

    fn nothing_in_grace(&self, before: &BTreeMap<String, Firing>, process: &Process, now: Timestamp) {
        for (labels, fired) in self.firing.iter().filter(|(labels, _)| !before.contains_key(*labels)) {
            let target = fired.labels.get("target");
            let about_verdict = matches!(fired.labels.get(ALERT_NAME), "ServiceDown" | "HeldAtOnce" | "OpenAtOnce");
            let in_grace = about_verdict && process.watching.in_grace(target, now);
            assert!(!in_grace, "at {}: paged within its grace: {labels}", rfc3339(now));
        }
    }

    fn outages_are_paged(&self, process: &Process, now: Timestamp) {
        if !names(&process.groups).contains(&"ServiceDown") {
            return;
        }
        for (target, since) in self.down_since.iter().filter(|(_, since)| now - **since > SOON) {
            let pages = |firing: &Firing| {
                firing.labels.get(ALERT_NAME) == "ServiceDown" && firing.labels.get("target") == *target
            };
            let paged = self.firing.values().any(pages);
            assert!(paged, "at {}: {target} is down since {} and not paged", rfc3339(now), rfc3339(*since));
        }
    }

    /// What fires is open at those whom the routes lead to, and nothing else is.
    fn receivers_know(&self, process: &Process, receivers: &Receivers, now: Timestamp) {
        let Some(alerting) = &process.config.alerting else { return };
        for receiver in alerting.receivers.iter().filter(|one| !receivers.was_down(&one.name, now - KNOWN)) {
            let leads =
                |firing: &Firing| alerting.route.find(&firing.labels).iter().any(|at| at.receiver == receiver.name);
            for endpoint in endpoints(receiver) {
                let open = receivers.book(|book| book.open(&endpoint, now));
                self.knows_all(&endpoint, &open, &leads, now);
                self.knows_no_more(&endpoint, &open, &leads, now);
            }
        }
    }

    fn knows_all(
        &self,
        endpoint: &str,
        open: &BTreeMap<String, String>,
        leads: &dyn Fn(&Firing) -> bool,
        now: Timestamp,
    ) {
        for (labels, firing) in self.firing.iter().filter(|(_, firing)| now - firing.starts_at > KNOWN && leads(firing))
        {
            let told = open.get(labels);
            let starts = rfc3339(firing.starts_at);
            assert_eq!(told, Some(&starts), "at {}: {endpoint} knows nothing of {labels}", rfc3339(now));
        }
    }

    fn knows_no_more(
        &self,
        endpoint: &str,
        open: &BTreeMap<String, String>,
        leads: &dyn Fn(&Firing) -> bool,
        now: Timestamp,
    ) {
        for (labels, starts) in open {
            let fires = self.firing.get(labels).is_some_and(leads);
            let ended = self.ended.get(&(labels.clone(), starts.clone()));
            let just_ended = ended.is_some_and(|at| now - at < KNOWN);
            assert!(fires || just_ended, "at {}: {endpoint} believes {labels} since {starts}", rfc3339(now));
        }
    }
}

/// An alert that fires, as it leaves.
fn firing(alert: &Alert, process: &Process) -> Option<(String, Firing)> {
    let own = &alert.id.labels;
    let missing = process.config.labels.iter().filter(|(name, _)| own.get(name).is_empty());
    let labels = own.with_all(missing.map(|(name, value)| (name.as_str(), value.as_str())));
    Some((labels.to_string(), Firing { labels, starts_at: alert.starts_at? }))
}

/// As the receivers call them: `receiver/kind/place`.
fn endpoints(receiver: &Receiver) -> Vec<String> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut name = |kind: &'static str| {
        let place = places.entry(kind).or_default();
        *place += 1;
        format!("{}/{kind}/{}", receiver.name, *place - 1)
    };
    receiver.endpoints.iter().map(|endpoint| name(endpoint.settings.kind())).collect()
}

fn name_of(endpoint: &str) -> &str {
    endpoint.split('/').next().unwrap_or_default()
}
