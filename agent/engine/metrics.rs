//! How the evaluation itself goes, and what it cannot see.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::alert::{Alert, AlertId, AlertState};
use crate::rule::{ALERT_NAME, Group, RuleError};
use crate::sample::Timestamp;
use crate::target::board::Board;

#[derive(Default)]
pub struct Metrics {
    /// Ticks out of turn, because a verdict had changed.
    pub reactions: Counter,
    /// Regular ticks that were left out.
    pub missed: Counter,
    /// Ticks that left due groups waiting for room at their receiver.
    pub put_off: Counter,
    evaluations: Family<GroupLabels, Counter>,
    failures: Family<GroupLabels, Counter>,
    seconds: Family<GroupLabels, Gauge<f64, AtomicU64>>,
    blind: Gauge,
    clock_stepped: Gauge<f64, AtomicU64>,
    alerts: Family<StateLabels, Gauge>,
    blind_seconds: Family<NameLabels, Gauge<f64, AtomicU64>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabels {
    rule_group: String,
}

impl GroupLabels {
    /// As Prometheus names a group: file and name.
    fn of(group: &Group) -> Self {
        GroupLabels { rule_group: format!("{};{}", group.file, group.name) }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    /// Not `alertname`: a rule over it is to keep it.
    alert: String,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Evaluations out of turn, because a verdict had changed";
        registry.register("watchkeeper_rule_reactions", help, self.reactions.clone());
        let help = "Regular evaluations of a rule group that were left out because the agent was late";
        registry.register("watchkeeper_rule_group_iterations_missed", help, self.missed.clone());
        let help = "Evaluations that left due groups waiting because their receiver had no room in the outbox";
        registry.register("watchkeeper_notifications_put_off", help, self.put_off.clone());
        let help = "Evaluations of rule groups";
        registry.register("watchkeeper_rule_group_evaluations", help, self.evaluations.clone());
        let help = "Rules that failed to evaluate";
        registry.register("watchkeeper_rule_evaluation_failures", help, self.failures.clone());
        let help = "How long the newest evaluation of a rule group took";
        registry.register("watchkeeper_rule_group_last_duration_seconds", help, self.seconds.clone());
        let help = "Targets whose verdict is unknown through the agent's own fault";
        registry.register("watchkeeper_blind_targets", help, self.blind.clone());
        let help = "By how much the wall clock is ahead of the agent's own time, which never steps";
        registry.register("watchkeeper_clock_stepped_seconds", help, self.clock_stepped.clone());
        let help =
            "Alerts that are pending, firing, or blind: held as they are because their inputs are stale or unknown";
        registry.register("watchkeeper_alerts", help, self.alerts.clone());
        let help = "For how long the inputs of an alert have been unknown, of the alerts of a name the longest";
        registry.register("watchkeeper_alert_blind_seconds", help, self.blind_seconds.clone());
    }

    /// Takes what rules of this tick read about the agent itself. `stepped`: by how many milliseconds the wall clock
    /// is ahead of the agent's timeline.
    pub fn see(&self, board: &Board, alerts: &BTreeMap<AlertId, Alert>, now: Timestamp, stepped: i64) {
        self.see_blind(alerts, now);
        self.clock_stepped.set(Duration::from_millis(stepped.unsigned_abs()).as_secs_f64().copysign(stepped as f64));
        self.blind.set(i64::try_from(board.blind()).unwrap_or(i64::MAX));
        let count = |is: &dyn Fn(&Alert) -> bool| alerts.values().filter(|alert| is(alert)).count();
        let states: [(&'static str, usize); 3] = [
            ("pending", count(&|alert| alert.state == AlertState::Pending)),
            ("firing", count(&|alert| alert.state == AlertState::Firing)),
            ("blind", count(&|alert| alert.held_since.is_some())),
        ];
        for (state, number) in states {
            let gauge = self.alerts.get_or_create_owned(&StateLabels { state });
            gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    fn see_blind(&self, alerts: &BTreeMap<AlertId, Alert>, now: Timestamp) {
        let mut longest: BTreeMap<&str, i64> = BTreeMap::new();
        for alert in alerts.values() {
            if let Some(since) = alert.held_since {
                let known = longest.entry(alert.id.labels.get(ALERT_NAME)).or_default();
                *known = (*known).max(now - since);
            }
        }
        self.blind_seconds.clear();
        for (name, millis) in longest {
            let gauge = self.blind_seconds.get_or_create_owned(&NameLabels { alert: name.to_owned() });
            gauge.set(Duration::from_millis(millis.unsigned_abs()).as_secs_f64());
        }
    }

    /// A group is no longer evaluated.
    pub fn forget(&self, group: &Group) {
        let labels = GroupLabels::of(group);
        self.evaluations.remove(&labels);
        self.failures.remove(&labels);
        self.seconds.remove(&labels);
    }

    /// The evaluation of a group panicked.
    pub fn broken(&self, group: &Group) {
        self.failures.get_or_create_owned(&GroupLabels::of(group)).inc();
        tracing::error!(file = group.file, group = group.name, "the evaluation broke: its alerts stay as they are");
    }

    pub fn evaluated(&self, group: &Group, errors: &[RuleError], took: Duration) {
        let labels = GroupLabels::of(group);
        self.evaluations.get_or_create_owned(&labels).inc();
        self.seconds.get_or_create_owned(&labels).set(took.as_secs_f64());
        self.failures.get_or_create_owned(&labels).inc_by(errors.len() as u64);
    }
}
