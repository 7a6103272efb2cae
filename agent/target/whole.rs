//! A target of several instances as a whole: its verdict from theirs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Target;
use super::board::View;
use super::record::Recorder;
use super::task::{Shared, TARGET_UP};
use super::verdict::{Standing, Verdict, of_all};
use crate::clock::millis;
use crate::probe::Reading;
use crate::sample::{Labels, Metric, Timestamp};

pub static INSTANCES: Metric = Metric::gauge(
    "watchkeeper_target_instances",
    "How many addresses the target's name has, where it has several: 16 of them are watched.",
);

pub struct Whole {
    target: Arc<Target>,
    shared: Arc<Shared>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once they are somebody else's.
    facts: Option<Recorder>,
    standings: BTreeMap<String, Standing>,
    verdict: Verdict,
    /// How many addresses the name has.
    found: usize,
    recorded_at: Timestamp,
}

impl Whole {
    /// `facts` are those of the target before it had several instances, `verdict` what was held of it until now.
    pub fn new(target: Arc<Target>, shared: Arc<Shared>, facts: Recorder, verdict: Verdict) -> Self {
        let standings = BTreeMap::new();
        let inner = Inner { facts: Some(facts), standings, verdict, found: 0, recorded_at: Timestamp::MIN };
        Whole { target, shared, inner: Mutex::new(inner) }
    }

    /// The same whole with other settings of its target.
    pub fn succeed(&self, target: Arc<Target>) -> Option<Self> {
        let mut before = self.lock();
        let inner = Inner { facts: Some(before.facts.take()?), standings: before.standings.clone(), ..*before };
        Some(Whole { target, shared: self.shared.clone(), inner: Mutex::new(inner) })
    }

    /// What is said of an instance now.
    pub fn report(&self, instance: &str, standing: Standing, now: Timestamp) {
        self.lock().standings.insert(instance.to_owned(), standing);
        self.settle(now);
    }

    /// An instance is no longer one: it says nothing any more.
    pub fn leave(&self, instance: &str) {
        self.lock().standings.remove(instance);
        self.shared.board.update(&self.target.name, None, |view| drop(view.instances.remove(instance)));
    }

    pub fn count(&self, found: usize) {
        self.lock().found = found;
    }

    /// Hands over the target's own series.
    pub fn take_facts(&self) -> Option<Recorder> {
        self.lock().facts.take()
    }

    /// Makes the verdict, records it, and tells of a change. No target goes down while an instance of it has not been
    /// looked at once: a deadline later it has been.
    pub fn settle(&self, now: Timestamp) {
        let mut inner = self.lock();
        let before = inner.verdict;
        let verdict = match of_all(inner.standings.values().copied()) {
            Verdict::Down if before == Verdict::Up && self.waits_for_first_look() => before,
            verdict => verdict,
        };
        inner.verdict = verdict;
        // With every look of every instance the column would have sixteen times the rows that it needs.
        if verdict != before || now.saturating_sub(inner.recorded_at) >= millis(self.target.schedule.interval) / 2 {
            inner.record(&self.target, now);
        }
        drop(inner);
        self.shared.board.update(&self.target.name, None, |view| show(view, verdict, now));
        if verdict != before {
            self.tell(before, verdict);
        }
    }

    fn waits_for_first_look(&self) -> bool {
        let view = self.shared.board.view(&self.target.name);
        view.is_some_and(|view| view.instances.values().any(|instance| !instance.looked))
    }

    fn tell(&self, from: Verdict, to: Verdict) {
        let name = self.target.name.as_str();
        let cause = self.shared.board.cause(&Labels::new([("target", name)]));
        match &cause {
            Some(cause) => {
                tracing::warn!(target = name, from = from.name(), to = to.name(), error = %cause, "verdict changed");
            }
            None => tracing::info!(target = name, from = from.name(), to = to.name(), "verdict changed"),
        }
        self.shared.board.tell(name, None);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, target: &Target, now: Timestamp) {
        self.recorded_at = now;
        let Some(facts) = &mut self.facts else { return };
        let mut readings = Vec::with_capacity(2);
        if self.verdict != Verdict::Unknown {
            let labels = target.classes().map(|(name, value)| (name, value.to_owned())).to_vec();
            let value = if self.verdict == Verdict::Up { 1.0 } else { 0.0 };
            readings.push(Reading { metric: &TARGET_UP, labels, value });
        }
        readings.push(Reading { metric: &INSTANCES, labels: Vec::new(), value: self.found as f64 });
        facts.record(now, self.verdict != Verdict::Unknown, &readings);
    }
}

/// The target's view follows from its instances'.
fn show(view: &mut View, verdict: Verdict, now: Timestamp) {
    if view.verdict != verdict {
        (view.verdict, view.since) = (verdict, now);
    }
    view.looked |= view.instances.values().any(|instance| instance.looked);
    view.blind = view.instances.values().any(|instance| instance.blind);
    view.failing = view.instances.values().any(|instance| instance.failing);
    let newest = view.instances.values().max_by_key(|instance| instance.last_look);
    if let Some((at, took)) = newest.map(|newest| (newest.last_look, newest.last_duration)) {
        (view.last_look, view.last_duration) = (at, took);
    }
}
