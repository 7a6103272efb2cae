//! Alerting and recording rules: Prometheus's rule files, evaluated over whatever answers selectors.
//!
//! Pure: `(group, active alerts, data, time) → outcome`. What an outcome says happens only when the state has
//! committed it; until then a tick may be evaluated again.

mod alerting;
mod basis;
pub mod file;
pub mod lint;
pub mod machine;
mod overlay;
mod reader;
pub mod reads;
mod recording;
pub mod replay;
pub mod schedule;
pub mod template;
pub mod unit_test;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::alert::{Alert, AlertId, Event, Resolution};
use crate::clock::millis;
use crate::config::tree::{Node, Position};
use crate::matcher::Matcher;
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
    /// How far before its tick it is evaluated, where it says so itself.
    pub query_offset: Option<Duration>,
    /// The most series that one of its recording rules, and alerts that one of its alerting rules, may have.
    pub limit: Option<usize>,
    /// Whether its alerts are held while their inputs are stale or unknown.
    pub hold: bool,
    /// Whether a rule could see what the group writes itself (see [`reads::sees_own`]).
    pub sees_own: bool,
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
    /// The expression as it stands in the file.
    pub written: Node,
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

/// How many samples one rule may look at: about a second of the agent's only thread.
const WORK: usize = 10_000_000;

/// What an evaluation needs besides rules and data.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The configuration's `labels:`, for templates only.
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// How far before the tick expressions are evaluated and what comes of them is written.
    pub query_offset: Duration,
    /// The step of subqueries that name none: the default interval of groups.
    pub subquery_step: Duration,
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
    /// The part of the expression that has no value, or else the rule.
    pub at: Position,
    /// [`Rule::at`].
    pub rule_at: Position,
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

/// Whether a group is of the shipped file that the configuration calls so: `redis` is `rules/redis.yml`.
pub fn is_shipped_as(group: &Group, name: &str) -> bool {
    group.file.strip_prefix("shipped:").and_then(|file| file.strip_suffix(".yml")) == Some(name)
}

/// The names of every rule in these groups.
pub fn names(groups: &[Group]) -> Vec<&str> {
    groups.iter().flat_map(|group| &group.rules).map(|rule| rule.name.as_str()).collect()
}

/// What the rules select, and how far back: their own selectors and, where alerts are held, what their recorded series
/// rest on in the end.
pub fn selections(groups: &[Group]) -> Vec<(Vec<Matcher>, Duration)> {
    let of_group = |group: &Group| {
        let offset = group.query_offset.unwrap_or_default();
        let all = group.rules.iter().flat_map(|rule| selections_of(rule, group.hold));
        all.map(|(matchers, window)| (matchers, window + offset)).collect::<Vec<_>>()
    };
    groups.iter().flat_map(of_group).collect()
}

fn selections_of(rule: &Rule, hold: bool) -> Vec<(Vec<Matcher>, Duration)> {
    let own = rule.expr.reads().into_iter().map(|read| (read.selector.matchers.clone(), read.reach));
    let own = own.map(|(matchers, reach)| (matchers, Duration::from_millis(reach.unsigned_abs())));
    let basis = rule.basis.selectors.iter().filter(|_| hold);
    own.chain(basis.map(|matchers| (matchers.clone(), rule.basis.window))).collect()
}

/// One rule's turn at a tick.
struct Turn<'a> {
    group: &'a Group,
    rule: &'a Rule,
    current: &'a dyn Select,
    held: &'a dyn Select,
    /// The tick: alerts begin, fire and end at it.
    at: Timestamp,
    /// When expressions are evaluated, and what they write is written: the tick, or a query offset before it.
    data_at: Timestamp,
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
    let alerts = alerts_of(group, active);
    let data_at = at - millis(context.query_offset);
    let (mut current, mut held) = (Overlay::over(current, data_at), Overlay::over(held, data_at));
    let mut written_by_alerts = BTreeSet::new();
    for (index, rule) in group.rules.iter().enumerate() {
        let turn = Turn { group, rule, current: &current, held: &held, at, data_at, context };
        let recorded = context.recorded.get(index).map_or(&[][..], Vec::as_slice);
        let before = alerts.get(&*rule.id).map_or(&[][..], Vec::as_slice);
        let mut written = match &rule.kind {
            RuleKind::Alerting(alerting) => turn.alert(alerting, before, &mut outcome),
            RuleKind::Recording { labels } => turn.record(labels, recorded, &mut outcome),
        };
        // Of two rules whose alerts have the same labels, the first one's series count.
        if matches!(rule.kind, RuleKind::Alerting(_)) {
            written.now.retain(|sample| written_by_alerts.insert(sample.labels.clone()));
        }
        if group.sees_own {
            current.replace(&written);
            held.replace(&written);
        }
        outcome.samples.extend(written.now);
    }
    outcome
}

/// The active alerts of the group, by rule.
fn alerts_of<'a>(group: &Group, active: &'a BTreeMap<AlertId, Alert>) -> HashMap<&'a str, Vec<&'a Alert>> {
    let first =
        AlertId { file: group.file.clone(), group: group.name.clone(), rule: String::new(), labels: Labels::default() };
    let same = |id: &AlertId| (&id.file, &id.group) == (&first.file, &first.group);
    let mut alerts: HashMap<&str, Vec<&Alert>> = HashMap::new();
    for (id, alert) in active.range(&first..).take_while(|(id, _)| same(id)) {
        alerts.entry(&id.rule).or_default().push(alert);
    }
    alerts
}

impl Turn<'_> {
    /// The expression's value as a vector; a scalar is one sample without labels, as in Prometheus.
    fn vector(&self, data: &dyn Select) -> Result<Vec<Sample>, RuleError> {
        let subquery_step = millis(self.context.subquery_step).max(1);
        let settings = Settings { subquery_step, work: WORK, ..Settings::default() };
        match promql::evaluate(&self.rule.expr, data, self.data_at, &settings) {
            Ok(Value::Vector(samples)) => Ok(samples),
            Ok(Value::Scalar(value)) => Ok(vec![Sample { labels: Labels::default(), value }]),
            Ok(Value::String(_) | Value::Matrix(_)) => {
                Err(self.error("rule result is not a vector or scalar".to_owned()))
            }
            Err(error) => {
                let at = self.rule.written.position_of(error.span.start);
                Err(RuleError { at, ..self.error(error.message) })
            }
        }
    }

    /// Refuses more than the group's limit.
    fn within_limit(&self, count: usize, what: &str) -> Result<(), RuleError> {
        match self.group.limit.filter(|limit| count > *limit) {
            Some(limit) => Err(self.error(format!("exceeded limit of {limit} with {count} {what}"))),
            None => Ok(()),
        }
    }

    fn error(&self, message: String) -> RuleError {
        let at = self.rule.at.clone();
        RuleError { rule_at: at.clone(), at, rule: self.rule.name.clone(), message }
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
