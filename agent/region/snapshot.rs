//! The region as readers see it: a copy of what was decided, and of what it rests on.

use super::detector::{Check, Detector, Look, Seen};
use super::{Question, Settings, State};
use crate::sample::Timestamp;

/// One moment of a region.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub settings: Settings,
    /// Who has seen it: the node that the agent runs on.
    pub observer: String,
    pub service: Check,
    /// `None` where no input is a database.
    pub database: Option<Check>,
    /// In the order of the settings' inputs.
    pub inputs: Vec<Evidence>,
    /// The 99th percentile of the newest looks at the slowest input, in milliseconds.
    pub latency_p99: Option<f64>,
}

/// What an input says.
#[derive(Debug, Clone)]
pub struct Evidence {
    pub target: String,
    pub database: bool,
    pub state: State,
    pub reason: Option<String>,
    /// `None` where it is not watched.
    pub seen: Option<Seen>,
}

impl Snapshot {
    /// `seen` is in the order of the settings' inputs, as [`Detector::step`] took it.
    pub fn new(detector: &Detector, observer: &str, seen: Vec<Option<Seen>>) -> Option<Self> {
        let settings = detector.settings().clone();
        let of_each = settings.inputs.iter().zip(detector.inputs()).zip(seen);
        let evidence = of_each.map(|((input, watched), seen)| Evidence {
            target: input.target.clone(),
            database: input.database,
            state: watched.state,
            reason: watched.reason.clone(),
            seen,
        });
        Some(Snapshot {
            inputs: evidence.collect(),
            observer: observer.to_owned(),
            service: detector.check(Question::Service)?.clone(),
            database: detector.check(Question::Database).cloned(),
            latency_p99: detector.latency_p99(),
            settings,
        })
    }

    pub fn check(&self, question: Question) -> Option<&Check> {
        match question {
            Question::Service => Some(&self.service),
            Question::Database => self.database.as_ref(),
        }
    }

    /// Whether an older answer stands because nothing is known now.
    pub fn is_frozen(&self) -> bool {
        self.service.state == State::Unknown && self.service.decided.is_some()
    }

    /// Why this observer sees less than it should; empty while it sees everything.
    pub fn blindness(&self) -> Vec<String> {
        let blind = |input: &&Evidence| input.seen.as_ref().is_some_and(|seen| seen.blind);
        self.inputs.iter().filter(blind).map(|input| format!("cannot look at {}", input.target)).collect()
    }

    /// When the newest look at any input ended.
    pub fn newest_look(&self) -> Option<Timestamp> {
        self.inputs.iter().flat_map(Evidence::looks).filter_map(|look| look.at).max()
    }
}

impl Evidence {
    /// The newest look at each instance.
    pub fn looks(&self) -> &[Look] {
        self.seen.as_ref().map_or(&[], |seen| &seen.instances)
    }
}
