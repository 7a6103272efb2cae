//! What is known of every target right now: read by rules (causes), the API and the agent's own metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::verdict::Verdict;
use crate::clock::millis;
use crate::probe::Failure;
use crate::sample::{Labels, Timestamp};

/// The latest of one target.
#[derive(Debug, Clone)]
pub struct View {
    /// The labels of its `watchkeeper_target_up`.
    pub labels: Labels,
    pub interval: Duration,
    pub timeout: Duration,
    pub verdict: Verdict,
    /// Since when the verdict stands.
    pub since: Timestamp,
    /// Whether a first look has finished.
    pub looked: bool,
    /// Whether a look on each path has succeeded: all that rules read of the target has been there since the start.
    pub seen: bool,
    /// Whether it is unknown through the agent's own fault: the newest look could not be made, or none was.
    pub blind: bool,
    pub last_look: Timestamp,
    pub last_duration: Duration,
    /// The newest failure; kept after a success, because a verdict of down outlasts it.
    pub last_failure: Option<Failure>,
    /// Whether the newest look failed.
    pub failing: bool,
}

impl View {
    /// Why it fails, while it does or is down.
    pub fn error(&self) -> Option<String> {
        let failing = self.failing || self.verdict == Verdict::Down;
        self.last_failure.as_ref().filter(|_| failing).map(ToString::to_string)
    }
}

/// Every target's view, and the targets whose verdict has changed since somebody last asked.
#[derive(Debug, Default)]
pub struct Board {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Counts the changes of verdicts.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    views: BTreeMap<String, View>,
    /// Verdict labels of what changed; at most one entry a target.
    changed: BTreeMap<String, Labels>,
}

impl Board {
    pub fn put(&self, target: &str, view: View) {
        self.lock().views.insert(target.to_owned(), view);
    }

    pub fn update(&self, target: &str, change: impl FnOnce(&mut View)) {
        if let Some(view) = self.lock().views.get_mut(target) {
            change(view);
        }
    }

    /// Says that a target's verdict has changed, so that the rules that read it are evaluated soon.
    pub fn tell(&self, target: &str) {
        let mut inner = self.lock();
        if let Some(labels) = inner.views.get(target).map(|view| view.labels.clone()) {
            inner.changed.insert(target.to_owned(), labels);
        }
        drop(inner);
        self.changed.notify_one();
        self.version.send_modify(|version| *version += 1);
    }

    /// Sees every change of a verdict, however many others do.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Resolves when a verdict has changed since [`Board::take_changed`] was last called.
    pub async fn changed(&self) {
        loop {
            let told = self.changed.notified();
            if !self.lock().changed.is_empty() {
                return;
            }
            told.await;
        }
    }

    pub fn take_changed(&self) -> Vec<Labels> {
        std::mem::take(&mut self.lock().changed).into_values().collect()
    }

    /// A copy of every view, by target.
    pub fn views(&self) -> BTreeMap<String, View> {
        self.lock().views.clone()
    }

    /// The labels of every target, and whether all is known of it that rules could read: it has a verdict, and its
    /// paths have each succeeded since the start. What a restored alert rests on may be missing until then.
    pub fn known(&self) -> Vec<(Labels, bool)> {
        let known = |view: &View| (view.labels.clone(), view.seen && view.verdict != Verdict::Unknown);
        self.lock().views.values().map(known).collect()
    }

    /// Why a target fails, for the annotation `cause`. What it has recovered from causes nothing any more.
    pub fn cause(&self, target: &str) -> Option<String> {
        self.lock().views.get(target)?.error()
    }

    /// How many targets are unknown because the agent could not look.
    pub fn blind(&self) -> usize {
        self.lock().views.values().filter(|view| view.blind && view.verdict == Verdict::Unknown).count()
    }

    /// The longest timeout of a target, milliseconds.
    pub fn longest_timeout(&self) -> i64 {
        self.lock().views.values().map(|view| millis(view.timeout)).max().unwrap_or(0)
    }

    /// Whether every target has been looked at once.
    pub fn first_pass_done(&self) -> bool {
        self.lock().views.values().all(|view| view.looked)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
