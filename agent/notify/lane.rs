//! One endpoint's deliveries: which may be attempted now, and what an answer changes for the others.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::millis;
use crate::notify::judge::Judgement;
use crate::notify::queue::{Outcome, Work};
use crate::notify::reminders::{AFTER_RESOLVE, Reminders};
use crate::notify::{Delivery, Manner, Refused};
use crate::sample::Timestamp;
use crate::state::Op;

/// The pause after a first failure, in milliseconds; doubled with each further one.
const FIRST_PAUSE: i64 = 1_000;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE: i64 = 60_000;
/// A delivery that was never tried waits at most this long for an endpoint that fails, in milliseconds.
pub(super) const FRESH_PAUSE: i64 = 5_000;

/// One endpoint's deliveries.
#[derive(Debug, Default)]
pub struct Lane {
    pub(super) waiting: BTreeMap<i64, Entry>,
    /// Of their payloads.
    pub(super) bytes: usize,
    /// The deliveries of each key.
    keys: BTreeMap<String, BTreeSet<i64>>,
    /// The first of each key, unless it is under way.
    pub(super) heads: BTreeSet<i64>,
    pub(super) under_way: BTreeSet<i64>,
    /// Keys whose first page was refused for good.
    pub(super) refused: BTreeMap<String, Refused>,
    pub(super) manner: Manner,
    /// Its place among the receiver's endpoints.
    pub(super) place: usize,
    /// No attempt begins before this.
    paced_until: Timestamp,
    /// Where its endpoint is reminded of what fires.
    pub(super) reminders: Option<Reminders>,
    /// The reminder under way. Nothing else begins meanwhile: it could undo a resolve.
    pub(super) reminding: Option<i64>,
    pub(super) failing: Option<Failing>,
    pub last_error: Option<(Timestamp, String)>,
    /// It wants nothing any more, until the next reload or start.
    pub disabled: bool,
    /// Nobody is paged at present: everything waits.
    pub(super) parked: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) delivery: Delivery,
    not_before: Timestamp,
    /// When it was last tried, for turns; `None`: never since the start.
    tried_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Failing {
    /// In a row.
    failures: u32,
    tried_at: Timestamp,
    retry_at: Timestamp,
    /// The receiver itself named `retry_at`.
    asked: bool,
}

impl Lane {
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }

    pub fn oldest_accepted_at(&self) -> Option<Timestamp> {
        self.waiting.values().next().map(|entry| entry.delivery.accepted_at)
    }

    pub fn is_failing(&self) -> bool {
        self.failing.is_some() || self.disabled
    }

    pub fn refused_keys(&self) -> usize {
        self.refused.len()
    }

    /// Takes over how its endpoint is told from now on.
    pub(super) fn take_over(&mut self, place: usize, manner: Manner, now: Timestamp) -> Vec<Op> {
        (self.place, self.manner) = (place, manner);
        if !manner.reminds {
            self.reminders = None;
        } else if self.reminders.is_none() {
            let mut reminders = Reminders::default();
            self.waiting.values().for_each(|entry| reminders.learn(&entry.delivery.payload, now));
            self.reminders = Some(reminders);
        }
        if manner.pairs { Vec::new() } else { self.forget_refused() }
    }

    /// Takes over another id.
    pub(super) fn rename(&mut self, endpoint: &str) -> Vec<Op> {
        let mut ops = Vec::new();
        for (seq, entry) in &mut self.waiting {
            endpoint.clone_into(&mut entry.delivery.endpoint);
            // One that was answered a moment ago is deleted already: it is not written anew.
            ops.push(Op::MoveDelivery { seq: *seq, endpoint: endpoint.to_owned() });
        }
        for refused in self.refused.values_mut() {
            ops.push(forget(refused));
            endpoint.clone_into(&mut refused.endpoint);
            ops.push(Op::PutRefused(refused.clone()));
        }
        ops
    }

    pub(super) fn push(&mut self, delivery: Delivery, now: Timestamp) {
        if let Some(reminders) = &mut self.reminders {
            reminders.learn(&delivery.payload, now);
        }
        let (seq, key) = (delivery.seq, delivery.key.clone());
        self.bytes += delivery.payload.len();
        self.waiting.insert(seq, Entry { delivery, not_before: now, tried_at: None });
        let of_key = self.keys.entry(key).or_default();
        of_key.insert(seq);
        if of_key.first() == Some(&seq) {
            self.heads.insert(seq);
        }
        if let Some(failing) = self.failing.as_mut().filter(|failing| !failing.asked) {
            failing.retry_at = failing.retry_at.min(now.max(failing.tried_at + FRESH_PAUSE));
        }
    }

    /// Whether what waits under a key, and has not begun to go anywhere, ends with something that fires.
    pub(super) fn will_tell(&self, key: &str) -> bool {
        let last = self.keys.get(key).and_then(|of_key| of_key.last());
        let last = last.filter(|seq| !self.under_way.contains(seq)).and_then(|seq| self.waiting.get(seq));
        last.is_some_and(|entry| !entry.delivery.resolve)
    }

    pub(super) fn pop(&mut self, seq: i64) {
        let Some(entry) = self.waiting.remove(&seq) else { return };
        self.bytes -= entry.delivery.payload.len();
        self.heads.remove(&seq);
        if let Some(of_key) = self.keys.get_mut(&entry.delivery.key) {
            of_key.remove(&seq);
            match of_key.first() {
                Some(next) => {
                    self.heads.insert(*next);
                }
                None => {
                    self.keys.remove(&entry.delivery.key);
                }
            }
        }
    }

    pub(super) fn start(&mut self, now: Timestamp, parallel: usize) -> Vec<Work> {
        let overtaken = self.overtaken(now);
        let mut work: Vec<Work> =
            overtaken.into_iter().filter_map(|seq| self.take(seq, now).map(Work::Overtake)).collect();
        let begin: Vec<i64> = self.candidates(now, parallel);
        work.extend(begin.into_iter().filter_map(|seq| self.begin(seq, now)));
        work
    }

    /// What has waited for longer than reminders look back.
    fn overtaken(&self, now: Timestamp) -> Vec<i64> {
        if self.reminders.is_none() || self.parked {
            return Vec::new();
        }
        let accepted_at = |seq: &i64| self.waiting.get(seq).map_or(now, |entry| entry.delivery.accepted_at);
        self.heads.iter().copied().filter(|seq| accepted_at(seq) + AFTER_RESOLVE <= now).collect()
    }

    fn candidates(&self, now: Timestamp, parallel: usize) -> Vec<i64> {
        if self.disabled || self.parked || self.reminding.is_some() || self.paced_until > now {
            return Vec::new();
        }
        let parallel = self.parallel(parallel);
        match &self.failing {
            Some(failing) if !self.under_way.is_empty() || failing.retry_at > now => Vec::new(),
            Some(_) => self.least_tried().into_iter().collect(),
            None => {
                let places = parallel.saturating_sub(self.under_way.len());
                self.heads.iter().copied().filter(|seq| self.not_before(*seq) <= now).take(places).collect()
            }
        }
    }

    /// Where the order or the pace of all matters, one attempt at a time.
    fn parallel(&self, parallel: usize) -> usize {
        if self.reminders.is_some() || !self.manner.pace.is_zero() { 1 } else { parallel }
    }

    /// Those that were never tried first, in their order; then the one whose last try is longest ago.
    fn least_tried(&self) -> Option<i64> {
        self.heads.iter().copied().min_by_key(|seq| (self.waiting.get(seq).and_then(|entry| entry.tried_at), *seq))
    }

    fn not_before(&self, seq: i64) -> Timestamp {
        self.waiting.get(&seq).map_or(0, |entry| entry.not_before)
    }

    fn begin(&mut self, seq: i64, now: Timestamp) -> Option<Work> {
        let delivery = self.take(seq, now)?;
        if delivery.resolve && self.refused.contains_key(&delivery.key) {
            return Some(Work::Abandon(delivery));
        }
        self.paced_until = now + millis(self.manner.pace);
        Some(Work::Attempt(delivery))
    }

    /// Marks a delivery as under way.
    fn take(&mut self, seq: i64, now: Timestamp) -> Option<Delivery> {
        let entry = self.waiting.get_mut(&seq)?;
        entry.tried_at = Some(now);
        self.heads.remove(&seq);
        self.under_way.insert(seq);
        Some(entry.delivery.clone())
    }

    /// The reminder that is due, while nothing else is to be told.
    pub(super) fn remind(&mut self, seq: i64, now: Timestamp) -> Option<Bytes> {
        if self.reminder_due(now)? > now {
            return None;
        }
        let payload = self.reminders.as_mut()?.take(now)?;
        self.reminding = Some(seq);
        self.under_way.insert(seq);
        Some(payload)
    }

    fn reminder_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.disabled || self.parked || !self.waiting.is_empty() || !self.under_way.is_empty() {
            return None;
        }
        let due = self.reminders.as_ref()?.due()?.max(now);
        Some(self.failing.as_ref().map_or(due, |failing| due.max(failing.retry_at)))
    }

    pub(super) fn reminded(&mut self, outcome: &Outcome, now: Timestamp, random: &mut fastrand::Rng) {
        self.reminding = None;
        match outcome {
            Outcome::Judged(Judgement::Retry { after, reason }) => {
                self.stumbled(now, after.map_or(0, millis), reason, now, random);
            }
            Outcome::Judged(Judgement::Disable { reason }) => {
                self.disabled = true;
                self.last_error = Some((now, reason.clone()));
            }
            _ => self.answered(now),
        }
    }

    pub(super) fn next_deadline(&self, now: Timestamp, parallel: usize) -> Option<Timestamp> {
        if self.disabled || self.parked || self.heads.is_empty() {
            return self.reminder_due(now);
        }
        let due = match &self.failing {
            Some(failing) => self.under_way.is_empty().then_some(failing.retry_at),
            None if self.under_way.len() >= self.parallel(parallel) => None,
            None => self.heads.iter().map(|seq| self.not_before(*seq).max(now)).min(),
        };
        due.map(|due| due.max(self.paced_until))
    }

    pub(super) fn failed(&mut self, seq: i64, after: i64, reason: &str, now: Timestamp, random: &mut fastrand::Rng) {
        self.heads.insert(seq);
        let Some(entry) = self.waiting.get_mut(&seq) else { return };
        entry.delivery.attempts = entry.delivery.attempts.saturating_add(1);
        entry.delivery.last_error = Some(reason.to_owned());
        entry.not_before = now + pause(entry.delivery.attempts, random).max(after);
        let begun = entry.tried_at.unwrap_or(now);
        self.stumbled(begun, after, reason, now, random);
    }

    /// An attempt that began at `begun` has failed.
    fn stumbled(&mut self, begun: Timestamp, after: i64, reason: &str, now: Timestamp, random: &mut fastrand::Rng) {
        self.last_error = Some((now, reason.to_owned()));
        // Attempts that were under way side by side when the first of them failed are one failure, not several.
        let failures = match &self.failing {
            Some(failing) if begun < failing.tried_at => failing.failures,
            Some(failing) => failing.failures.saturating_add(1),
            None => 1,
        };
        let retry_at = now + pause(failures, random).max(after);
        self.failing = Some(Failing { failures, tried_at: now, retry_at, asked: after > 0 });
    }

    /// The endpoint has answered. After an outage, all that waited for it may go.
    pub(super) fn answered(&mut self, now: Timestamp) {
        if self.failing.take().is_some_and(|failing| failing.failures > 1) {
            self.waiting.values_mut().for_each(|entry| entry.not_before = now);
        }
    }

    /// The operations that forget everything of a lane whose receiver is gone.
    pub(super) fn forget(&mut self) -> Vec<Op> {
        let deliveries = self.waiting.keys().map(|seq| Op::DeleteDelivery(*seq)).collect();
        [deliveries, self.forget_refused()].concat()
    }

    fn forget_refused(&mut self) -> Vec<Op> {
        std::mem::take(&mut self.refused).values().map(forget).collect()
    }
}

fn forget(Refused { receiver, endpoint, key, .. }: &Refused) -> Op {
    Op::DeleteRefused { receiver: receiver.clone(), endpoint: endpoint.clone(), key: key.clone() }
}

/// The pause after so many failures: doubled each time, between half of it and all of it.
fn pause(failures: u32, random: &mut fastrand::Rng) -> i64 {
    let full =
        FIRST_PAUSE.checked_shl(failures.saturating_sub(1).min(16)).map_or(LONGEST_PAUSE, |ms| ms.min(LONGEST_PAUSE));
    random.i64(full / 2..=full)
}
