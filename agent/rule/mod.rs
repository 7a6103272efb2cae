//! Alerting and recording rules: Prometheus's rule files, evaluated over whatever answers selectors.
//!
//! Pure: `(group, active alerts, data, time) → outcome`. What an outcome says happens only when the state has
//! committed it; until then a tick may be evaluated again.

mod alerting;
mod basis;
pub mod file;
pub mod machine;
mod overlay;
mod reader;
pub mod reads;
mod recording;
pub mod schedule;
pub mod template;
pub mod unit_test;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::alert::{Alert, AlertId, Event, Resolution};
use crate::config::tree::Position;
use crate::promql::{self, Expr, Select, Settings, Value};
use crate::sample::{Labels, Sample, Timestamp};
pub use basis::{Basis, link};
use overlay::Overlay;
pub use reads::{reads_target, waits_for};
use template::Template;

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
    /// The most series that one of its recording rules, and alerts that one of its alerting rules, may have.
    pub limit: Option<usize>,
    /// Whether its alerts are held while their inputs are stale or unknown.
    pub hold: bool,
    pub rules: Vec<Rule>,
}

/// A rule; its group's labels are among its own.
#[derive(Debug, Clone)]
pub struct Rule {
    /// `alertname`, or the metric that it records.
    pub name: String,
    /// What tells an alerting rule from the others of its group: the name and, as written, the labels
    /// (`ServiceDown{severity="critical"}`). Prometheus, too, knows a rule by these after a reload.
    pub id: String,
    pub at: Position,
    pub expr: Expr,
    /// What the expression rests on in the end; [`link`] fills it in.
    pub basis: Basis,
    pub kind: RuleKind,
}

#[derive(Debug, Clone)]
pub enum RuleKind {
    Alerting(AlertingRule),
    Recording {
        /// Set on every series, sorted by name; an empty value removes a label.
        labels: Vec<(String, String)>,
    },
}

/// What an alerting rule has besides its name and expression.
#[derive(Debug, Clone)]
pub struct AlertingRule {
    /// `for`: how long the expression must hold before the alert fires.
    pub pending_for: Duration,
    pub keep_firing_for: Duration,
    /// Sorted by name.
    pub labels: Vec<(String, Template)>,
    /// Sorted by name.
    pub annotations: Vec<(String, Template)>,
}

/// What each rule of a group recorded when it was last evaluated, in the order of the rules.
pub type Recorded = Vec<Vec<Labels>>;

/// What an evaluation needs besides rules and data.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration's `labels:`, for templates only.
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// The [`Outcome::recorded`] of the group's evaluation before; empty where there was none.
    pub recorded: &'a [Vec<Labels>],
    /// Whether an alert that its expression does not show is to be kept as it is all the same: it was restored, and
    /// what its rule reads has no verdict yet (see [`waits_for`]).
    pub keep: &'a dyn Fn(&Rule, &Alert) -> bool,
    /// Targets that a reload has removed. What windows still show of them begins no alert.
    pub removed: &'a BTreeSet<String>,
}

/// What one evaluation of a group asks for.
#[derive(Debug, Default)]
pub struct Outcome {
    pub changes: Vec<Change>,
    pub events: Vec<Event>,
    /// What its recording rules recorded, and `ALERTS` and `ALERTS_FOR_STATE` of every alert that is active
    /// afterwards. No two have the same labels.
    pub samples: Vec<Sample>,
    /// Whether a recording rule failed: the series that it has had are unknown then, not gone, and the row that the
    /// store gets is not complete.
    pub partial: bool,
    /// For the next evaluation's [`Context::recorded`].
    pub recorded: Recorded,
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

/// Why a rule could not be evaluated. Its alerts stay as they were, what it recorded is unknown.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{at}: {rule}: {message}")]
pub struct RuleError {
    pub at: Position,
    pub rule: String,
    pub message: String,
}

/// The rules that come with the agent. Their alerts are held.
pub fn shipped() -> Vec<Group> {
    const FILES: [(&str, &str); 9] = [
        ("shipped:targets.yml", include_str!("../../rules/targets.yml")),
        ("shipped:services.yml", include_str!("../../rules/services.yml")),
        ("shipped:gateway.yml", include_str!("../../rules/gateway.yml")),
        ("shipped:certificates.yml", include_str!("../../rules/certificates.yml")),
        ("shipped:postgres.yml", include_str!("../../rules/postgres.yml")),
        ("shipped:redis.yml", include_str!("../../rules/redis.yml")),
        ("shipped:host.yml", include_str!("../../rules/host.yml")),
        ("shipped:region.yml", include_str!("../../rules/region.yml")),
        ("shipped:self.yml", include_str!("../../rules/self.yml")),
    ];
    // A test loads each of them: there is nothing to report here.
    let load = |(name, text): (&str, &str)| file::load(name, text, true).unwrap_or_default();
    let mut groups: Vec<Group> = FILES.into_iter().flat_map(load).collect();
    link(&mut groups);
    groups
}

/// The names of every rule in these groups.
pub fn names(groups: &[Group]) -> Vec<&str> {
    groups.iter().flat_map(|group| &group.rules).map(|rule| rule.name.as_str()).collect()
}

/// How far back the rules look, and the lookback at least: what the store must keep, and a tick more.
pub fn reach(groups: &[Group]) -> Duration {
    let reach = |rule: &Rule| rule.basis.window.max(Duration::from_millis(rule.expr.reach().unsigned_abs()));
    let all = groups.iter().flat_map(|group| &group.rules).map(reach);
    all.fold(Duration::from_millis(promql::LOOKBACK.unsigned_abs()), Duration::max)
}

/// One rule's turn at a tick.
struct Turn<'a> {
    group: &'a Group,
    rule: &'a Rule,
    current: &'a dyn Select,
    held: &'a dyn Select,
    at: Timestamp,
    context: &'a Context<'a>,
}

/// Evaluates a group at a tick. `active` may hold other groups' alerts too. `current` is what Prometheus would see;
/// `held` shows stale and unknown inputs at their last value, and is looked at only where an alert of a group that
/// holds would go. Each rule sees what the rules before it wrote; what other groups wrote is in the data.
pub fn evaluate(
    group: &Group,
    active: &BTreeMap<AlertId, Alert>,
    current: &dyn Select,
    held: &dyn Select,
    at: Timestamp,
    context: &Context,
) -> Outcome {
    let mut outcome = Outcome::default();
    let sees_own = reads::sees_own(group);
    let (mut current, mut held) = (Overlay::over(current, at), Overlay::over(held, at));
    for (index, rule) in group.rules.iter().enumerate() {
        let turn = Turn { group, rule, current: &current, held: &held, at, context };
        let recorded = context.recorded.get(index).map_or(&[][..], Vec::as_slice);
        let written = match &rule.kind {
            RuleKind::Alerting(alerting) => turn.alert(alerting, active, &mut outcome),
            RuleKind::Recording { labels } => turn.record(labels, recorded, &mut outcome),
        };
        if sees_own {
            current.replace(&written);
            held.replace(&written);
        }
        outcome.samples.extend(written.now);
    }
    outcome
}

impl Turn<'_> {
    /// The expression's value as a vector; a scalar is one sample without labels, as in Prometheus.
    fn vector(&self, data: &dyn Select) -> Result<Vec<Sample>, RuleError> {
        match promql::evaluate(&self.rule.expr, data, self.at, &Settings::default()) {
            Ok(Value::Vector(samples)) => Ok(samples),
            Ok(Value::Scalar(value)) => Ok(vec![Sample { labels: Labels::default(), value }]),
            Ok(Value::String(_) | Value::Matrix(_)) => {
                Err(self.error("the expression is a string or a range, not a vector or a number".to_owned()))
            }
            Err(error) => Err(self.error(error.message)),
        }
    }

    /// Refuses more than the group's limit.
    fn within_limit(&self, count: usize, what: &str) -> Result<(), RuleError> {
        match self.group.limit.filter(|limit| count > *limit) {
            Some(limit) => Err(self.error(format!("{count} {what}, and its group's `limit` is {limit}"))),
            None => Ok(()),
        }
    }

    fn error(&self, message: String) -> RuleError {
        RuleError { at: self.rule.at.clone(), rule: self.rule.name.clone(), message }
    }
}

/// What is watched, for [`resolve_removed`].
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// The targets' names.
    pub names: BTreeSet<String>,
    /// Those whose labels a reload has changed: they are new targets under their old names.
    pub renewed: BTreeSet<String>,
}

/// What ends with a reload or a start: alerts whose rule is gone, and alerts of a target that was watched and is no
/// more (`removed`), or is so under other labels (`renewed`; its name is the alert's `target` label, unless the rule set that
/// itself). Firing ones resolve, with the reason.
pub fn resolve_removed(
    groups: &[Group],
    removed: &BTreeSet<String>,
    renewed: &BTreeSet<String>,
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
            Some(rule) if sets_target(rule) => continue,
            // What a window shows of the target before is gone when the window has passed.
            Some(rule) if renewed.contains(target) && !rule.basis.derived => Resolution::TargetChanged,
            Some(_) if removed.contains(target) => Resolution::TargetRemoved,
            Some(_) => continue,
        };
        outcome.changes.push(Change::Remove(id.clone()));
        if alert.starts_at.is_some() {
            outcome.events.push(Event::Resolved { alert: alert.clone(), at, reason });
        }
    }
    outcome
}

/// Whether the rule itself, and not what it reads, says what its alerts are about.
fn sets_target(rule: &Rule) -> bool {
    matches!(&rule.kind, RuleKind::Alerting(alerting) if alerting.labels.iter().any(|(name, _)| name == "target"))
}

#[cfg(test)]
mod recording_tests;
#[cfg(test)]
mod tests;
