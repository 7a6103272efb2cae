//! What is known of every target right now: read by rules (causes), the API and the agent's own metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Target;
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
    /// Since when a look on each path has succeeded: all that rules read of the target has been there since the start.
    pub seen: Option<Timestamp>,
    /// Whether it is unknown through the agent's own fault: the newest look could not be made, or none was.
    pub blind: bool,
    pub last_look: Timestamp,
    pub last_duration: Duration,
    /// The newest failure; kept after a success, because a verdict of down outlasts it.
    pub last_failure: Option<Failure>,
    /// Whether the newest look failed.
    pub failing: bool,
    /// The same of each instance, by its `instance` label, where there are several; then the target's own view follows
    /// from theirs.
    pub instances: BTreeMap<String, View>,
}

/// How many failing instances are named.
const NAMED: usize = 3;

impl View {
    /// Of a target, or of one of its instances, before anything is known of it; `instance` is the label.
    pub fn first(target: &Target, node: &str, instance: &str, now: Timestamp) -> Self {
        View {
            labels: target.verdict_labels(node).with("instance", instance),
            interval: target.schedule.interval,
            timeout: target.schedule.timeout,
            verdict: Verdict::Unknown,
            since: now,
            looked: false,
            seen: None,
            blind: false,
            last_look: now,
            last_duration: Duration::ZERO,
            last_failure: None,
            failing: false,
            instances: BTreeMap::new(),
        }
    }

    /// Why it fails, while it does or is down. Where there are several instances, those that fail are named.
    pub fn error(&self) -> Option<String> {
        if !self.instances.is_empty() {
            return self.error_of_instances();
        }
        let failing = self.failing || self.verdict == Verdict::Down;
        self.last_failure.as_ref().filter(|_| failing).map(ToString::to_string)
    }

    fn error_of_instances(&self) -> Option<String> {
        let failing = |(name, view): (&String, &View)| Some(format!("{name}: {}", view.error()?));
        let mut errors: Vec<String> = self.instances.iter().filter_map(failing).collect();
        let unnamed = errors.len().saturating_sub(NAMED);
        errors.truncate(NAMED);
        if unnamed > 0 {
            errors.push(format!("and {unnamed} more of {} instances", self.instances.len()));
        }
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    /// Whether all was known at that time that rules could read: a verdict, and each path had succeeded since the start.
    /// Of several instances one that is down is not waited for: the alerts of the others would be.
    fn is_known(&self, at: Timestamp) -> bool {
        let judged = |view: &View| view.verdict != Verdict::Unknown && view.since <= at;
        let known = |view: &View| judged(view) && view.seen.is_some_and(|since| since <= at);
        match self.instances.is_empty() {
            true => known(self),
            false => self.instances.values().all(|view| known(view) || judged(view) && view.verdict == Verdict::Down),
        }
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
    /// Verdict labels of what changed; at most one entry for each target and instance.
    changed: BTreeMap<(String, String), Labels>,
    first_pass_done: bool,
}

impl Board {
    pub fn put(&self, target: &str, view: View) {
        self.lock().views.insert(target.to_owned(), view);
    }

    /// A copy of the view of one target.
    pub fn view(&self, target: &str) -> Option<View> {
        self.lock().views.get(target).cloned()
    }

    /// The target is no longer watched.
    pub fn remove(&self, target: &str) {
        let mut inner = self.lock();
        inner.views.remove(target);
        inner.changed.retain(|(changed, _), _| changed != target);
    }

    /// Changes the view of a target, or of one of its instances.
    pub fn update(&self, target: &str, instance: Option<&str>, change: impl FnOnce(&mut View)) {
        let mut inner = self.lock();
        let view = inner.views.get_mut(target);
        let view = match instance {
            None => view,
            Some(instance) => view.and_then(|view| view.instances.get_mut(instance)),
        };
        if let Some(view) = view {
            change(view);
        }
    }

    /// Says that the verdict on a target, or on one of its instances, has changed, so that the rules that read it are
    /// evaluated soon.
    pub fn tell(&self, target: &str, instance: Option<&str>) {
        let mut inner = self.lock();
        let view = inner.views.get(target);
        let view = instance.map_or(view, |instance| view?.instances.get(instance));
        if let Some(labels) = view.map(|view| view.labels.clone()) {
            inner.changed.insert((target.to_owned(), instance.unwrap_or_default().to_owned()), labels);
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

    /// The labels of every target, and whether all was known of it at that time that rules could read: it had a verdict,
    /// and its paths had each succeeded since the start. What a restored alert rests on may be missing until then.
    pub fn known(&self, at: Timestamp) -> Vec<(Labels, bool)> {
        self.lock().views.values().map(|view| (view.labels.clone(), view.is_known(at))).collect()
    }

    /// Why the target, or the instance, that an alert's labels name fails, for the annotation `cause`. What it has
    /// recovered from causes nothing any more.
    pub fn cause(&self, alert: &Labels) -> Option<String> {
        let inner = self.lock();
        let view = inner.views.get(alert.get("target"))?;
        view.instances.get(alert.get("instance")).unwrap_or(view).error()
    }

    /// How many targets are unknown because the agent could not look.
    pub fn blind(&self) -> usize {
        self.lock().views.values().filter(|view| view.blind && view.verdict == Verdict::Unknown).count()
    }

    /// The longest timeout of a target, milliseconds.
    pub fn longest_timeout(&self) -> i64 {
        self.lock().views.values().map(|view| millis(view.timeout)).max().unwrap_or(0)
    }

    /// Whether every target has been looked at once. What is added later does not undo it.
    pub fn first_pass_done(&self) -> bool {
        let mut inner = self.lock();
        inner.first_pass_done |= inner.views.values().all(|view| view.looked);
        inner.first_pass_done
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
