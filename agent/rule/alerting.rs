//! One alerting rule at one tick: what its expression shows, what becomes of its alerts, and their series.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Look, Step};
use super::overlay::Written;
use super::template::Data;
use super::{ALERT_NAME, AlertingRule, Outcome, RuleError, Turn, basis, sets_target};
use crate::alert::{Alert, AlertId};
use crate::promql::{self, Select, Settings, Value};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};

impl Turn<'_> {
    /// `before` are the rule's active alerts. An error changes nothing: they, and their series, stay as they are. More
    /// than the limit is an error that drops them all, as in Prometheus, and they resolve; held ones stay.
    pub(super) fn alert(&self, alerting: &AlertingRule, before: &[&Alert], outcome: &mut Outcome) -> Written {
        let step = self.step(alerting, before).unwrap_or_else(|error| {
            outcome.errors.push(error);
            Step::unchanged(before)
        });
        let step = match self.within_limit(step.after.len(), "alerts") {
            Ok(()) => step,
            Err(error) => {
                outcome.errors.push(error);
                if self.group.hold { Step::unchanged(before) } else { Step::dropped(before, self.at) }
            }
        };
        outcome.recorded.push(Vec::new());
        outcome.changes.extend(step.changes);
        outcome.events.extend(step.events);
        let seen_again = before.iter().filter(|_| self.group.sees_own);
        let ended = seen_again.flat_map(|alert| samples_of(alerting, alert)).map(|sample| sample.labels);
        let now = step.after.iter().flat_map(|alert| samples_of(alerting, alert));
        Written { before: ended.collect(), now: now.collect() }
    }

    fn step(&self, alerting: &AlertingRule, before: &[&Alert]) -> Result<Step, RuleError> {
        let mut now = self.seen(alerting, self.current)?;
        let mut blind = self.blind(alerting, before, &now)?;
        let mut step = Step::default();
        for alert in before {
            let look = match now.remove(&alert.id) {
                Some(there) => there,
                None => match blind.remove(&alert.id) {
                    Some(unknown) => Look::Blind { unknown },
                    None => Look::Gone,
                },
            };
            step.add(alerting, &alert.id, Some(alert), look, self.at);
        }
        for (id, look) in now.into_iter().filter(|(id, _)| !self.is_removed(id)) {
            step.add(alerting, &id, None, look, self.at);
        }
        Ok(step)
    }

    /// Whether the alert is about a target that is not watched any more.
    fn is_removed(&self, id: &AlertId) -> bool {
        self.context.removed.contains(id.labels.get("target")) && !sets_target(self.rule)
    }

    /// The alerts that have vanished from the expression, and of which it cannot be known whether they hold, with the
    /// inputs that are unknown.
    fn blind(
        &self,
        alerting: &AlertingRule,
        before: &[&Alert],
        now: &BTreeMap<AlertId, Look>,
    ) -> Result<BTreeMap<AlertId, Vec<String>>, RuleError> {
        let vanished = before.iter().filter(|alert| !now.contains_key(&alert.id));
        let (kept, vanished): (Vec<&Alert>, Vec<&Alert>) =
            vanished.copied().partition(|alert| (self.context.keep)(self.rule, alert));
        let mut blind: BTreeSet<AlertId> = kept.into_iter().map(|alert| alert.id.clone()).collect();
        if self.group.hold && !vanished.is_empty() {
            let held = self.seen(alerting, self.held)?;
            let rests_on_unknown =
                |alert: &Alert| basis::is_unknown(self.rule, &alert.id.labels, self.current, self.held, self.data_at);
            let is_blind = |alert: &&&Alert| held.contains_key(&alert.id) || rests_on_unknown(alert);
            blind.extend(vanished.iter().filter(is_blind).map(|alert| alert.id.clone()));
        }
        if blind.is_empty() {
            return Ok(BTreeMap::new());
        }
        let inputs = basis::Inputs::of(self.rule, self.current, self.held, self.at);
        Ok(blind.into_iter().map(|id| (id.clone(), inputs.unknown_to(&id.labels))).collect())
    }

    /// The alerts that the expression shows in `data`, with labels and annotations as templated.
    fn seen(&self, alerting: &AlertingRule, data: &dyn Select) -> Result<BTreeMap<AlertId, Look>, RuleError> {
        let mut seen = BTreeMap::new();
        for sample in self.vector(data)? {
            let template = Data {
                name: &self.rule.name,
                labels: &sample.labels,
                value: sample.value,
                external_labels: self.context.external_labels,
                external_url: self.context.external_url,
                query: &|text| query(text, data, self.at),
            };
            let id = self.id(self.labels_of(alerting, &template));
            let annotations = alerting.annotations.iter();
            let annotations = annotations.map(|(name, text)| (name.clone(), text.expand(&template))).collect();
            if let Some(Look::There { .. }) = seen.insert(id, Look::There { value: sample.value, annotations }) {
                let message = "vector contains metrics with the same labelset after applying alert labels: tell its \
                               alerts apart, or aggregate in the expression";
                return Err(self.error(message.to_owned()));
            }
        }
        Ok(seen)
    }

    fn id(&self, labels: Labels) -> AlertId {
        let (file, group) = (self.group.file.clone(), self.group.name.clone());
        AlertId { file, group, rule: self.rule.id.clone(), labels }
    }

    /// The expression's labels without the metric's name, then the rule's, then `alertname`.
    fn labels_of(&self, alerting: &AlertingRule, data: &Data) -> Labels {
        let own = alerting.labels.iter();
        let own: Vec<(&str, String)> = own.map(|(name, text)| (name.as_str(), text.expand(data))).collect();
        let own = own.iter().map(|(name, value)| (*name, value.as_str()));
        data.labels.with_all([(METRIC_NAME, "")].into_iter().chain(own).chain([(ALERT_NAME, self.rule.name.as_str())]))
    }
}

/// What a template's `query` gives: at the tick, without the query offset, as in Prometheus.
fn query(text: &str, data: &dyn Select, at: Timestamp) -> Result<Vec<Sample>, String> {
    let expr = promql::parse(text).map_err(|error| error.message)?;
    match promql::evaluate(&expr, data, at, &Settings::default()) {
        Ok(Value::Vector(samples)) => Ok(samples),
        Ok(Value::Scalar(value)) => Ok(vec![Sample { labels: Labels::default(), value }]),
        Ok(Value::String(_) | Value::Matrix(_)) => Err("rule result is not a vector or scalar".to_owned()),
        Err(error) => Err(error.message),
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE`, as Prometheus writes them for an active alert: a label whose template expanded to
/// nothing, which the alert does not have, stands there as it is written in the rule.
fn samples_of(rule: &AlertingRule, alert: &Alert) -> [Sample; 2] {
    let state = if alert.starts_at.is_some() { "firing" } else { "pending" };
    let labels = &alert.id.labels;
    let empty = rule.labels.iter().filter(|(name, _)| labels.get(name).is_empty());
    let labels = &labels.with_all(empty.map(|(name, written)| (name.as_str(), written.text())));
    [
        Sample { labels: labels.with_all([(METRIC_NAME, "ALERTS"), ("alertstate", state)]), value: 1.0 },
        Sample { labels: labels.with(METRIC_NAME, "ALERTS_FOR_STATE"), value: alert.active_at.div_euclid(1000) as f64 },
    ]
}
