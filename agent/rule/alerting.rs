//! One alerting rule at one tick: what its expression shows, what becomes of its alerts, and their series.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Look, Step};
use super::overlay::Written;
use super::template::Data;
use super::{ALERT_NAME, AlertingRule, Outcome, RuleError, Turn, basis, sets_target};
use crate::alert::{Alert, AlertId};
use crate::promql::Select;
use crate::sample::{Labels, METRIC_NAME, Sample};

impl Turn<'_> {
    /// An error changes nothing: the rule's alerts, and their series, stay as they are.
    pub(super) fn alert(
        &self,
        alerting: &AlertingRule,
        active: &BTreeMap<AlertId, Alert>,
        outcome: &mut Outcome,
    ) -> Written {
        let before = self.alerts_of(active);
        let step = self.step(alerting, &before).unwrap_or_else(|error| {
            outcome.errors.push(error);
            Step::unchanged(&before)
        });
        outcome.recorded.push(Vec::new());
        outcome.changes.extend(step.changes);
        outcome.events.extend(step.events);
        let ended = before.iter().flat_map(|alert| samples_of(alert)).map(|sample| sample.labels);
        Written { before: ended.collect(), now: step.after.iter().flat_map(samples_of).collect() }
    }

    /// The active alerts of the rule.
    fn alerts_of<'a>(&self, active: &'a BTreeMap<AlertId, Alert>) -> Vec<&'a Alert> {
        let first = self.id(Labels::default());
        let same = |id: &AlertId| (&id.file, &id.group, &id.rule) == (&first.file, &first.group, &first.rule);
        active.range(&first..).take_while(|(id, _)| same(id)).map(|(_, alert)| alert).collect()
    }

    fn step(&self, alerting: &AlertingRule, before: &[&Alert]) -> Result<Step, RuleError> {
        let mut now = self.seen(alerting, self.current)?;
        let blind = self.blind(alerting, before, &now)?;
        let mut step = Step::default();
        for alert in before {
            let look = match now.remove(&alert.id) {
                Some(there) => there,
                None if blind.contains(&alert.id) => Look::Blind,
                None => Look::Gone,
            };
            step.add(alerting, &alert.id, Some(alert), look, self.at);
        }
        for (id, look) in now.into_iter().filter(|(id, _)| !self.is_removed(id)) {
            step.add(alerting, &id, None, look, self.at);
        }
        self.within_limit(step.after.len(), "alerts")?;
        Ok(step)
    }

    /// Whether the alert is about a target that is not watched any more.
    fn is_removed(&self, id: &AlertId) -> bool {
        self.context.removed.contains(id.labels.get("target")) && !sets_target(self.rule)
    }

    /// The alerts that have vanished from the expression, and of which it cannot be known whether they hold.
    fn blind(
        &self,
        alerting: &AlertingRule,
        before: &[&Alert],
        now: &BTreeMap<AlertId, Look>,
    ) -> Result<BTreeSet<AlertId>, RuleError> {
        let vanished = before.iter().filter(|alert| !now.contains_key(&alert.id));
        let (kept, vanished): (Vec<&Alert>, Vec<&Alert>) =
            vanished.copied().partition(|alert| (self.context.keep)(self.rule, alert));
        let mut blind: BTreeSet<AlertId> = kept.into_iter().map(|alert| alert.id.clone()).collect();
        if self.group.hold && !vanished.is_empty() {
            let held = self.seen(alerting, self.held)?;
            let rests_on_unknown =
                |alert: &Alert| basis::is_unknown(self.rule, &alert.id.labels, self.current, self.held, self.at);
            let is_blind = |alert: &&&Alert| held.contains_key(&alert.id) || rests_on_unknown(alert);
            blind.extend(vanished.iter().filter(is_blind).map(|alert| alert.id.clone()));
        }
        Ok(blind)
    }

    /// The alerts that the expression shows in `data`, with labels and annotations as templated.
    fn seen(&self, alerting: &AlertingRule, data: &dyn Select) -> Result<BTreeMap<AlertId, Look>, RuleError> {
        let mut seen = BTreeMap::new();
        for sample in self.vector(data)? {
            let template = Data {
                labels: &sample.labels,
                value: sample.value,
                external_labels: self.context.external_labels,
                external_url: self.context.external_url,
            };
            let id = self.id(self.labels_of(alerting, &template));
            let annotations = alerting.annotations.iter();
            let annotations = annotations.map(|(name, text)| (name.clone(), text.expand(&template))).collect();
            if let Some(Look::There { .. }) = seen.insert(id, Look::There { value: sample.value, annotations }) {
                let message = "two of its alerts have the same labels after its own are applied: tell them apart, \
                               or aggregate in the expression";
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

/// `ALERTS` and `ALERTS_FOR_STATE`, as Prometheus writes them for an active alert.
fn samples_of(alert: &Alert) -> [Sample; 2] {
    let state = if alert.starts_at.is_some() { "firing" } else { "pending" };
    let labels = &alert.id.labels;
    [
        Sample { labels: labels.with_all([(METRIC_NAME, "ALERTS"), ("alertstate", state)]), value: 1.0 },
        Sample { labels: labels.with(METRIC_NAME, "ALERTS_FOR_STATE"), value: alert.active_at.div_euclid(1000) as f64 },
    ]
}
