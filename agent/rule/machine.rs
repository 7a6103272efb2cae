//! The state of one alert from tick to tick, as in Prometheus (rules/alerting.go), and what Prometheus does not
//! have: an alert whose inputs are stale or unknown is held, neither progressing nor ending.

use std::collections::BTreeMap;

use super::{AlertingRule, Change};
use crate::alert::{Alert, AlertId, AlertState, Event, Resolution};
use crate::clock::millis;
use crate::sample::Timestamp;

/// What a tick shows of an alert.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// The expression holds.
    There { value: f64, annotations: BTreeMap<String, String> },
    /// It cannot be known: its inputs are stale or unknown, and held when they were last seen. Which they are, in words.
    Blind { unknown: Vec<String> },
    /// The expression does not hold.
    Gone,
}

/// What one rule asks for at one tick.
#[derive(Debug, Default)]
pub struct Step {
    pub changes: Vec<Change>,
    pub events: Vec<Event>,
    /// The rule's alerts that are active afterwards.
    pub after: Vec<Alert>,
}

impl Step {
    pub fn unchanged(before: &[&Alert]) -> Self {
        Step { after: before.iter().map(|alert| (*alert).clone()).collect(), ..Step::default() }
    }

    /// The rule has more alerts than its limit: none is left.
    pub fn dropped(before: &[&Alert], at: Timestamp) -> Self {
        let firing = before.iter().filter(|alert| alert.state == AlertState::Firing);
        let resolved =
            |alert: &&Alert| Event::Resolved { alert: (*alert).clone(), at, reason: Resolution::LimitExceeded };
        Step {
            changes: before.iter().map(|alert| Change::Remove(alert.id.clone())).collect(),
            events: firing.map(resolved).collect(),
            after: Vec::new(),
        }
    }

    /// Adds what becomes of one alert.
    pub fn add(&mut self, rule: &AlertingRule, id: &AlertId, before: Option<&Alert>, look: Look, at: Timestamp) {
        let after = next(rule, id, before, look, at);
        self.events.extend(event(before, after.as_ref(), at));
        self.changes.extend(change(before, after.as_ref()));
        self.after.extend(after);
    }
}

/// The alert after a tick; `None` when it is not active.
pub fn next(rule: &AlertingRule, id: &AlertId, before: Option<&Alert>, look: Look, at: Timestamp) -> Option<Alert> {
    match (before.cloned(), look) {
        (None, Look::There { value, annotations }) => Some(fire_when_due(rule, begin(id, value, annotations, at), at)),
        (None, Look::Blind { .. } | Look::Gone) => None,
        (Some(alert), Look::There { value, annotations }) => {
            Some(fire_when_due(rule, again(Alert { value, annotations, ..alert }, at), at))
        }
        (Some(alert), Look::Blind { unknown }) => Some(hold(alert, unknown, at)),
        (Some(alert), Look::Gone) => keep_firing(rule, alert, at),
    }
}

fn begin(id: &AlertId, value: f64, annotations: BTreeMap<String, String>, at: Timestamp) -> Alert {
    Alert {
        id: id.clone(),
        annotations,
        value,
        state: AlertState::Pending,
        active_at: at,
        starts_at: None,
        keep_firing_since: None,
        held_since: None,
        unknown_inputs: Vec::new(),
    }
}

/// The expression holds again, or still. Time for which a pending alert was held does not count towards `for`.
fn again(mut alert: Alert, at: Timestamp) -> Alert {
    if let Some(since) = alert.held_since.take()
        && alert.state == AlertState::Pending
    {
        alert.active_at += at - since;
    }
    alert.keep_firing_since = None;
    alert.unknown_inputs.clear();
    alert
}

fn fire_when_due(rule: &AlertingRule, mut alert: Alert, at: Timestamp) -> Alert {
    if alert.state == AlertState::Pending && at - alert.active_at >= millis(rule.pending_for) {
        alert.state = AlertState::Firing;
        alert.starts_at = Some(at);
    }
    alert
}

/// Frozen as it is: value and annotations stay, no timer runs.
fn hold(mut alert: Alert, unknown: Vec<String>, at: Timestamp) -> Alert {
    alert.held_since.get_or_insert(at);
    alert.unknown_inputs = unknown;
    alert.keep_firing_since = None;
    alert
}

/// The expression no longer holds: a pending alert goes at once, a firing one after `keep_firing_for`.
fn keep_firing(rule: &AlertingRule, mut alert: Alert, at: Timestamp) -> Option<Alert> {
    if alert.state == AlertState::Pending {
        return None;
    }
    alert.held_since = None;
    alert.unknown_inputs.clear();
    let since = *alert.keep_firing_since.get_or_insert(at);
    (at - since < millis(rule.keep_firing_for)).then_some(alert)
}

fn event(before: Option<&Alert>, after: Option<&Alert>, at: Timestamp) -> Option<Event> {
    let firing = |alert: &Alert| alert.state == AlertState::Firing;
    match (before.filter(|alert| firing(alert)), after.filter(|alert| firing(alert))) {
        (None, Some(fired)) => Some(Event::Fired(fired.clone())),
        (Some(gone), None) => Some(Event::Resolved { alert: gone.clone(), at, reason: Resolution::Recovered }),
        _ => None,
    }
}

fn change(before: Option<&Alert>, after: Option<&Alert>) -> Option<Change> {
    match (before, after) {
        (Some(gone), None) => Some(Change::Remove(gone.id.clone())),
        (None, None) => None,
        (None, Some(new)) => Some(Change::Put { alert: new.clone(), durable: true }),
        (Some(old), Some(new)) => {
            let state = |alert: &Alert| {
                (alert.state, alert.active_at, alert.starts_at, alert.keep_firing_since, alert.held_since)
            };
            let durable = state(old) != state(new);
            let moved = old.value.to_bits() != new.value.to_bits()
                || old.annotations != new.annotations
                || old.unknown_inputs != new.unknown_inputs;
            (durable || moved).then(|| Change::Put { alert: new.clone(), durable })
        }
    }
}

#[cfg(test)]
mod tests;
