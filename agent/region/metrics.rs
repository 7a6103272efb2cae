//! The region's own metrics.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::detector::{Detector, Transition};
use super::{Answer, Question, State};
use crate::sample::Timestamp;

#[derive(Debug, Clone, Default)]
pub struct Metrics {
    state: Family<StateLabels, Gauge>,
    answer: Family<CheckLabels, Gauge>,
    age: Family<CheckLabels, Gauge<f64, AtomicU64>>,
    transitions: Family<StateLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    region: String,
    check: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    region: String,
    check: &'static str,
    state: &'static str,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Which state the region is in: 1 for that, 0 for the others";
        registry.register("watchkeeper_region_state", help, self.state.clone());
        let help = "What a load balancer is told about the region: 1 up, 0 down, absent while nothing was ever decided";
        registry.register("watchkeeper_region_answer", help, self.answer.clone());
        let help = "How long ago the answer about the region was last decided";
        registry.register("watchkeeper_region_answer_age_seconds", help, self.age.clone());
        let help = "Changes of the region's state, by the state that it came to";
        registry.register("watchkeeper_region_transitions", help, self.transitions.clone());
    }

    /// Sets the gauges; without a region there are none.
    pub(super) fn show(&self, detector: Option<&Detector>, now: Timestamp) {
        self.state.clear();
        self.answer.clear();
        self.age.clear();
        let Some(detector) = detector else { return self.transitions.clear() };
        for question in [Question::Service, Question::Database] {
            let Some(check) = detector.check(question) else { continue };
            let (region, name) = (detector.settings().name.clone(), question.name());
            for state in State::ALL {
                let labels = StateLabels { region: region.clone(), check: name, state: state.name() };
                self.state.get_or_create_owned(&labels).set(i64::from(check.state == state));
                self.transitions.get_or_create_owned(&labels);
            }
            if let Some(decided) = check.decided {
                let labels = CheckLabels { region, check: name };
                self.answer.get_or_create_owned(&labels).set(i64::from(decided.answer == Answer::Up));
                let age = std::time::Duration::from_millis(decided.age(now).unsigned_abs());
                self.age.get_or_create_owned(&labels).set(age.as_secs_f64());
            }
        }
    }

    pub(super) fn count(&self, region: &str, transition: &Transition) {
        let labels =
            StateLabels { region: region.to_owned(), check: transition.question.name(), state: transition.to.name() };
        self.transitions.get_or_create_owned(&labels).inc();
    }
}
