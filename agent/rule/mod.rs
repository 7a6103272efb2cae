//! Alert rules: Prometheus's rule files, evaluated over whatever answers selectors.
//!
//! Pure: `(group, active alerts, data, time) → outcome`. What an outcome says happens only when the state has
//! committed it; until then a tick may be evaluated again.

pub mod file;
pub mod machine;
mod overlay;
mod reader;
pub mod reads;
pub mod schedule;
pub mod template;
pub mod unit_test;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alert::{Alert, AlertId, Event, Resolution};
use crate::config::tree::Position;
use crate::promql::{self, Expr, Select, Value};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};
use machine::{Look, Step};
use overlay::Overlay;
pub use reads::{reads_target, waits_for};
use template::{Data, Template};

/// The label that names an alert's rule.
pub const ALERT_NAME: &str = "alertname";

/// Rules that are evaluated together, in order.
#[derive(Debug, Clone)]
pub struct Group {
    /// As the configuration names it; shipped files are `shipped:NAME`.
    pub file: String,
    pub name: String,
    /// Its own interval, where it has one.
    pub interval: Option<Duration>,
    /// Whether its alerts are held while their inputs are stale or unknown.
    pub hold: bool,
    pub rules: Vec<Rule>,
}

/// An alerting rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `alertname`.
    pub alert: String,
    /// What tells it from the other rules of its group: the name and, as written, the labels
    /// (`ServiceDown{severity="critical"}`). Prometheus, too, knows a rule by these after a reload.
    pub id: String,
    pub at: Position,
    pub expr: Expr,
    /// `for`: how long the expression must hold before the alert fires.
    pub pending_for: Duration,
    pub keep_firing_for: Duration,
    /// Sorted by name.
    pub labels: Vec<(String, Template)>,
    /// Sorted by name.
    pub annotations: Vec<(String, Template)>,
}

/// What an evaluation needs besides rules and data.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration's `labels:`, for templates only.
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// Whether an alert that its expression does not show is to be kept as it is all the same: it was restored, and
    /// what its rule reads has no verdict yet (see [`waits_for`]).
    pub keep: &'a dyn Fn(&Rule, &Alert) -> bool,
}

/// What one evaluation of a group asks for.
#[derive(Debug, Default)]
pub struct Outcome {
    pub changes: Vec<Change>,
    pub events: Vec<Event>,
    /// `ALERTS` and `ALERTS_FOR_STATE` of every alert that is active afterwards.
    pub samples: Vec<Sample>,
    pub errors: Vec<RuleError>,
}

/// A change of the set of active alerts.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// `durable` is false where only the value and the annotations moved.
    Put {
        alert: Alert,
        durable: bool,
    },
    Remove(AlertId),
}

impl Change {
    /// The alert that changes.
    pub fn id(&self) -> &AlertId {
        match self {
            Change::Put { alert, .. } => &alert.id,
            Change::Remove(id) => id,
        }
    }
}

/// Why a rule could not be evaluated. Its alerts stay as they were.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{at}: {rule}: {message}")]
pub struct RuleError {
    pub at: Position,
    pub rule: String,
    pub message: String,
}

/// The rules that come with the agent. Their alerts are held.
pub fn shipped() -> Vec<Group> {
    const FILES: [(&str, &str); 4] = [
        ("shipped:targets.yml", include_str!("../../rules/targets.yml")),
        ("shipped:postgres.yml", include_str!("../../rules/postgres.yml")),
        ("shipped:redis.yml", include_str!("../../rules/redis.yml")),
        ("shipped:self.yml", include_str!("../../rules/self.yml")),
    ];
    // A test loads each of them: there is nothing to report here.
    FILES.into_iter().flat_map(|(name, text)| file::load(name, text, true).unwrap_or_default()).collect()
}

/// The names of every rule in these groups.
pub fn names(groups: &[Group]) -> Vec<&str> {
    groups.iter().flat_map(|group| &group.rules).map(|rule| rule.alert.as_str()).collect()
}

/// Evaluates a group at a tick. `active` may hold other groups' alerts too. `current` is what Prometheus would see;
/// `held` shows stale and unknown inputs at their last value, and is looked at only where an alert of a group that
/// holds would go. Each rule sees the `ALERTS` of the rules before it; those of other groups are in the data.
pub fn evaluate(
    group: &Group,
    active: &BTreeMap<AlertId, Alert>,
    current: &dyn Select,
    held: &dyn Select,
    at: Timestamp,
    context: &Context,
) -> Outcome {
    let mut outcome = Outcome::default();
    let sees_alerts = reads::reads_alerts(group);
    let (mut current, mut held) = (Overlay::over(current), Overlay::over(held));
    for rule in &group.rules {
        let before = alerts_of(group, rule, active);
        let step = match evaluate_rule(group, rule, &before, &current, &held, at, context) {
            Ok(step) => step,
            Err(error) => {
                outcome.errors.push(error);
                Step::unchanged(&before)
            }
        };
        let samples: Vec<Sample> = step.after.iter().flat_map(samples_of).collect();
        if sees_alerts {
            let ended: Vec<Sample> = before.iter().flat_map(|alert| samples_of(alert)).collect();
            current.replace(&ended, &samples);
            held.replace(&ended, &samples);
        }
        outcome.samples.extend(samples);
        outcome.changes.extend(step.changes);
        outcome.events.extend(step.events);
    }
    outcome
}

/// The active alerts of one rule.
fn alerts_of<'a>(group: &Group, rule: &Rule, active: &'a BTreeMap<AlertId, Alert>) -> Vec<&'a Alert> {
    let first = AlertId {
        file: group.file.clone(),
        group: group.name.clone(),
        rule: rule.id.clone(),
        labels: Labels::default(),
    };
    let same = |id: &AlertId| (&id.file, &id.group, &id.rule) == (&first.file, &first.group, &first.rule);
    active.range(&first..).take_while(|(id, _)| same(id)).map(|(_, alert)| alert).collect()
}

fn evaluate_rule(
    group: &Group,
    rule: &Rule,
    before: &[&Alert],
    current: &dyn Select,
    held: &dyn Select,
    at: Timestamp,
    context: &Context,
) -> Result<Step, RuleError> {
    let mut now = seen(group, rule, current, at, context)?;
    let vanished = |alert: &&&Alert| !now.contains_key(&alert.id) && !(context.keep)(rule, alert);
    let blind = match group.hold && before.iter().any(|alert| vanished(&alert)) {
        true => seen(group, rule, held, at, context)?.into_keys().collect(),
        false => BTreeSet::new(),
    };
    let mut step = Step::default();
    for alert in before {
        let look = match now.remove(&alert.id) {
            Some(there) => there,
            None if blind.contains(&alert.id) || (context.keep)(rule, alert) => Look::Blind,
            None => Look::Gone,
        };
        step.add(rule, &alert.id, Some(alert), look, at);
    }
    for (id, look) in now {
        step.add(rule, &id, None, look, at);
    }
    Ok(step)
}

/// The alerts that the expression shows in `data`, with labels and annotations as templated.
fn seen(
    group: &Group,
    rule: &Rule,
    data: &dyn Select,
    at: Timestamp,
    context: &Context,
) -> Result<BTreeMap<AlertId, Look>, RuleError> {
    let mut seen = BTreeMap::new();
    for sample in vector(rule, data, at)? {
        let template = Data {
            labels: &sample.labels,
            value: sample.value,
            external_labels: context.external_labels,
            external_url: context.external_url,
        };
        let id = AlertId {
            file: group.file.clone(),
            group: group.name.clone(),
            rule: rule.id.clone(),
            labels: labels_of(rule, &template),
        };
        let annotations = rule.annotations.iter().map(|(name, text)| (name.clone(), text.expand(&template))).collect();
        if let Some(Look::There { .. }) = seen.insert(id, Look::There { value: sample.value, annotations }) {
            let message = "two of its alerts have the same labels after its own are applied: tell them apart, \
                           or aggregate in the expression";
            return Err(error_of(rule, message.to_owned()));
        }
    }
    Ok(seen)
}

/// The expression's value as a vector; a scalar is one sample without labels, as in Prometheus.
fn vector(rule: &Rule, data: &dyn Select, at: Timestamp) -> Result<Vec<Sample>, RuleError> {
    match promql::evaluate(&rule.expr, data, at) {
        Ok(Value::Vector(samples)) => Ok(samples),
        Ok(Value::Scalar(value)) => Ok(vec![Sample { labels: Labels::default(), value }]),
        Ok(Value::String(_) | Value::Matrix(_)) => {
            Err(error_of(rule, "the expression is a string or a range, not a vector or a number".to_owned()))
        }
        Err(error) => Err(error_of(rule, error.message)),
    }
}

fn error_of(rule: &Rule, message: String) -> RuleError {
    RuleError { at: rule.at.clone(), rule: rule.alert.clone(), message }
}

/// The expression's labels without the metric's name, then the rule's, then `alertname`.
fn labels_of(rule: &Rule, data: &Data) -> Labels {
    let own: Vec<(&str, String)> = rule.labels.iter().map(|(name, text)| (name.as_str(), text.expand(data))).collect();
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    data.labels.with_all([(METRIC_NAME, "")].into_iter().chain(own).chain([(ALERT_NAME, rule.alert.as_str())]))
}

/// `ALERTS` and `ALERTS_FOR_STATE`, as Prometheus writes them for an active alert.
fn samples_of(alert: &Alert) -> [Sample; 2] {
    let state = if alert.starts_at.is_some() { "firing" } else { "pending" };
    let labels = &alert.id.labels;
    [
        Sample { labels: labels.with_all([(METRIC_NAME, "ALERTS"), ("alertstate", state)]), value: 1.0 },
        Sample { labels: labels.with(METRIC_NAME, "ALERTS_FOR_STATE"), value: alert.active_at.div_euclid(1000) as f64 },
    ]
}

/// What ends with a reload or a start: alerts whose rule is gone, and alerts of a target that is no longer watched
/// (its name is the alert's `target` label, unless the rule set that itself). Firing ones resolve, with the reason.
pub fn resolve_removed(
    groups: &[Group],
    watched: &BTreeSet<String>,
    active: &BTreeMap<AlertId, Alert>,
    at: Timestamp,
) -> Outcome {
    let rules: BTreeMap<(&str, &str, &str), &Rule> = groups
        .iter()
        .flat_map(|group| group.rules.iter().map(move |rule| ((&*group.file, &*group.name, &*rule.id), rule)))
        .collect();
    let mut outcome = Outcome::default();
    for alert in active.values() {
        let id = &alert.id;
        let target = id.labels.get("target");
        let reason = match rules.get(&(id.file.as_str(), id.group.as_str(), id.rule.as_str())) {
            None => Resolution::RuleRemoved,
            Some(rule) if rule.labels.iter().any(|(name, _)| name == "target") => continue,
            Some(_) if target.is_empty() || watched.contains(target) => continue,
            Some(_) => Resolution::TargetRemoved,
        };
        outcome.changes.push(Change::Remove(id.clone()));
        if alert.starts_at.is_some() {
            outcome.events.push(Event::Resolved { alert: alert.clone(), at, reason });
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
