//! What the engine shows of its rules: what they are, and how their newest evaluation went.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rule::{Group, Rule, RuleError, RuleKind};
use crate::sample::Timestamp;

/// The groups that run, in order. The engine writes, the API reads.
#[derive(Debug, Default)]
pub struct Rules(Mutex<Vec<GroupStatus>>);

#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatus {
    pub file: String,
    pub name: String,
    pub interval: Duration,
    /// 0 for none.
    pub limit: usize,
    /// The time of the newest evaluation, and how long it took.
    pub evaluated_at: Option<Timestamp>,
    pub took: Duration,
    pub rules: Vec<RuleStatus>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatus {
    pub name: String,
    /// As [`Rule::id`].
    pub id: String,
    /// The expression, canonical.
    pub query: String,
    /// As written, the group's among them.
    pub labels: Vec<(String, String)>,
    /// Of an alerting rule.
    pub alerting: Option<AlertingStatus>,
    /// Why the newest evaluation failed.
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlertingStatus {
    pub pending_for: Duration,
    pub keep_firing_for: Duration,
    /// As written.
    pub annotations: Vec<(String, String)>,
}

impl Rules {
    /// Other groups run. What is known of those that are unchanged stays.
    pub fn run(&self, groups: &[Group], interval: Duration) {
        let mut known = self.lock();
        let described = groups.iter().map(|group| {
            let mut fresh = describe(group, interval);
            let before = known.iter().find(|known| (&known.file, &known.name) == (&fresh.file, &fresh.name));
            if let Some(before) = before {
                (fresh.evaluated_at, fresh.took) = (before.evaluated_at, before.took);
            }
            fresh
        });
        *known = described.collect();
    }

    /// The group with this index was evaluated. A rule that begins to fail, or to work again, is logged once.
    pub fn evaluated(&self, index: usize, group: &Group, at: Timestamp, took: Duration, errors: &[RuleError]) {
        let mut known = self.lock();
        let Some(status) = known.get_mut(index) else { return };
        (status.evaluated_at, status.took) = (Some(at), took);
        for (status, rule) in status.rules.iter_mut().zip(&group.rules) {
            let error = errors.iter().find(|error| error.rule_at == rule.at);
            match (&status.error, error) {
                (None, Some(error)) => tracing::warn!(%error, "rule fails to evaluate"),
                (Some(_), None) => tracing::warn!(rule = rule.name, at = %rule.at, "rule evaluates again"),
                _ => {}
            }
            status.error = error.map(|error| error.message.clone());
        }
    }

    /// A copy of what is known.
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<GroupStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(group: &Group, interval: Duration) -> GroupStatus {
    GroupStatus {
        file: group.file.clone(),
        name: group.name.clone(),
        interval: group.interval.unwrap_or(interval),
        limit: group.limit.unwrap_or(0),
        evaluated_at: None,
        took: Duration::ZERO,
        rules: group.rules.iter().map(describe_rule).collect(),
    }
}

fn describe_rule(rule: &Rule) -> RuleStatus {
    let (labels, alerting) = match &rule.kind {
        RuleKind::Recording { labels } => (labels.clone(), None),
        RuleKind::Alerting(alerting) => {
            let text = |(name, template): &(String, crate::rule::template::Template)| {
                (name.clone(), template.text().to_owned())
            };
            let status = AlertingStatus {
                pending_for: alerting.pending_for,
                keep_firing_for: alerting.keep_firing_for,
                annotations: alerting.annotations.iter().map(text).collect(),
            };
            (alerting.labels.iter().map(text).collect(), Some(status))
        }
    };
    let (name, id, query) = (rule.name.clone(), rule.id.clone(), rule.expr.to_string());
    RuleStatus { name, id, query, labels, alerting, error: None }
}
