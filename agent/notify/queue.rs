//! The order of deliveries, pure: what may be attempted now, and what an answer changes.
//!
//! Each webhook has a lane. In it, deliveries of one key go out one after the other in the order of acceptance,
//! several keys side by side. While the webhook fails, one attempt is made at a time, after a growing pause, and
//! each time with another delivery, so that one that can never be sent does not stand before all others.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::millis;
use crate::notify::judge::Judgement;
use crate::notify::{Delivery, Receiver, Refused};
use crate::sample::Timestamp;
use crate::state::Op;

/// The pause after a first failure, in milliseconds; doubled with each further one.
const FIRST_PAUSE: i64 = 1_000;
/// The longest pause, in milliseconds.
const LONGEST_PAUSE: i64 = 60_000;
/// A delivery that was never tried waits at most this long for a webhook that fails, in milliseconds.
const FRESH_PAUSE: i64 = 5_000;

/// What the outbox may hold, and do at once. Every receiver has an equal share of it, so that one that is down takes
/// nothing from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub deliveries: usize,
    /// Of payloads.
    pub bytes: usize,
    /// Attempts under way at one webhook that does not fail.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { deliveries: 10_000, bytes: 64 * 1024 * 1024, parallel: 4 }
    }
}

/// A webhook: its receiver's name and its place there.
pub type Destination = (String, u32);

/// What to do now. Each is answered by [`Queue::settle`] and [`Queue::finish`].
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Attempt(Delivery),
    /// The resolve of a page that was refused for good: not to be sent.
    Abandon(Delivery),
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Judged(Judgement),
    Abandoned,
}

/// Every delivery that is accepted and not yet settled.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    lanes: BTreeMap<Destination, Lane>,
    next_seq: i64,
    random: fastrand::Rng,
}

/// One webhook's deliveries.
#[derive(Debug, Default)]
pub struct Lane {
    waiting: BTreeMap<i64, Entry>,
    /// Of their payloads.
    bytes: usize,
    /// The deliveries of each key.
    keys: BTreeMap<String, BTreeSet<i64>>,
    /// The first of each key, unless it is under way.
    heads: BTreeSet<i64>,
    under_way: BTreeSet<i64>,
    /// Keys whose first page was refused for good.
    refused: BTreeMap<String, Refused>,
    /// Whether it is told of resolves: only then is a refused key of consequence.
    hears_resolves: bool,
    failing: Option<Failing>,
    pub last_error: Option<(Timestamp, String)>,
    /// It answered 410, and wants nothing until the next reload or start.
    pub disabled: bool,
    /// Nobody is paged at present: everything waits.
    parked: bool,
}

#[derive(Debug)]
struct Entry {
    delivery: Delivery,
    not_before: Timestamp,
    /// When it was last tried, for turns; `None`: never since the start.
    tried_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Failing {
    /// In a row.
    failures: u32,
    tried_at: Timestamp,
    retry_at: Timestamp,
    /// The receiver itself named `retry_at`.
    asked: bool,
}

impl Queue {
    /// As it was left. Call [`Queue::configure`] next.
    pub fn new(limits: Limits, deliveries: Vec<Delivery>, refused: Vec<Refused>, seed: u64) -> Self {
        let mut queue = Queue {
            limits,
            lanes: BTreeMap::new(),
            next_seq: deliveries.iter().map(|delivery| delivery.seq + 1).max().unwrap_or(1),
            random: fastrand::Rng::with_seed(seed),
        };
        for refused in refused {
            let lane = queue.lanes.entry((refused.receiver.clone(), refused.webhook)).or_default();
            lane.refused.insert(refused.key.clone(), refused);
        }
        queue.enqueue(deliveries, 0);
        queue
    }

    /// Takes over the receivers of a start or a reload. What waits for one that was removed is abandoned, and the
    /// operations that forget it are returned; without any receiver, everything waits. Disabled ones get a new try.
    pub fn configure(&mut self, receivers: &[Receiver]) -> (Vec<Op>, Vec<Delivery>) {
        let webhooks =
            receivers.iter().flat_map(|receiver| (0..).zip(&receiver.webhooks).map(move |at| (receiver, at)));
        let destinations: BTreeMap<Destination, bool> = webhooks
            .map(|(receiver, (index, webhook))| ((receiver.name.clone(), index), webhook.send_resolved))
            .collect();
        let (mut ops, mut abandoned) = (Vec::new(), Vec::new());
        let gone = |destination: &Destination| !destinations.is_empty() && !destinations.contains_key(destination);
        let lanes = std::mem::take(&mut self.lanes);
        for (destination, mut lane) in lanes {
            if gone(&destination) {
                ops.extend(lane.forget());
                abandoned.extend(lane.waiting.into_values().map(|entry| entry.delivery));
            } else {
                (lane.disabled, lane.failing) = (false, None);
                lane.parked = destinations.is_empty();
                self.lanes.insert(destination, lane);
            }
        }
        for (destination, hears_resolves) in destinations {
            let lane = self.lanes.entry(destination).or_default();
            lane.hears_resolves = hears_resolves;
            if !hears_resolves {
                ops.extend(lane.forget_refused());
            }
        }
        (ops, abandoned)
    }

    /// Whether a receiver has used up its share. One acceptance may pass it; the next then waits.
    pub fn is_full(&self, receiver: &str) -> bool {
        self.is_over(receiver, self.receivers().len())
    }

    /// The receivers that have used up their share.
    pub fn full(&self) -> BTreeSet<String> {
        let mut receivers = self.receivers();
        let count = receivers.len();
        receivers.retain(|receiver| self.is_over(receiver, count));
        receivers
    }

    fn is_over(&self, receiver: &str, receivers: usize) -> bool {
        let deliveries: usize = self.lanes_of(receiver).map(Lane::depth).sum();
        let bytes: usize = self.lanes_of(receiver).map(|lane| lane.bytes).sum();
        deliveries >= (self.limits.deliveries / receivers.max(1)).max(1)
            || bytes >= self.limits.bytes / receivers.max(1)
    }

    /// A sequence number that no delivery has.
    pub fn take_seq(&mut self) -> i64 {
        self.next_seq += 1;
        self.next_seq - 1
    }

    /// Takes in what has been committed, in the order of `seq`.
    pub fn enqueue(&mut self, deliveries: Vec<Delivery>, now: Timestamp) {
        for delivery in deliveries {
            let lane = self.lanes.entry((delivery.receiver.clone(), delivery.webhook)).or_default();
            lane.push(delivery, now);
        }
    }

    /// What may begin at `now`. It counts as under way until [`Queue::finish`].
    pub fn start(&mut self, now: Timestamp) -> Vec<Work> {
        let parallel = self.limits.parallel;
        self.lanes.values_mut().flat_map(|lane| lane.start(now, parallel)).collect()
    }

    /// When [`Queue::start`] will have something that it does not have at `now`, answers aside.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.lanes.values().filter_map(|lane| lane.next_deadline(now, self.limits.parallel)).min()
    }

    /// What an outcome writes. Nothing where the delivery is gone meanwhile.
    pub fn settle(&self, delivery: &Delivery, outcome: &Outcome, now: Timestamp) -> Vec<Op> {
        let lane = self.lanes.get(&(delivery.receiver.clone(), delivery.webhook));
        let Some(lane) = lane.filter(|lane| lane.waiting.contains_key(&delivery.seq)) else { return Vec::new() };
        let gone = Op::DeleteDelivery(delivery.seq);
        let forgiven = Op::DeleteRefused {
            receiver: delivery.receiver.clone(),
            webhook: delivery.webhook,
            key: delivery.key.clone(),
        };
        match outcome {
            Outcome::Abandoned => vec![gone, forgiven],
            Outcome::Judged(Judgement::Done) if lane.refused.contains_key(&delivery.key) => vec![gone, forgiven],
            Outcome::Judged(Judgement::Done) => vec![gone],
            Outcome::Judged(Judgement::GiveUp { reason }) if delivery.first && lane.hears_resolves => {
                vec![gone, Op::PutRefused(refused(delivery, now, reason))]
            }
            Outcome::Judged(Judgement::GiveUp { .. }) => vec![gone],
            Outcome::Judged(Judgement::Retry { reason, .. } | Judgement::Disable { reason }) => {
                let attempts = delivery.attempts.saturating_add(1);
                vec![Op::Attempted { seq: delivery.seq, attempts, last_error: reason.clone() }]
            }
        }
    }

    /// Takes over an outcome whose operations are committed.
    pub fn finish(&mut self, delivery: &Delivery, outcome: &Outcome, now: Timestamp) {
        let destination = (delivery.receiver.clone(), delivery.webhook);
        let Some(lane) = self.lanes.get_mut(&destination) else { return };
        lane.under_way.remove(&delivery.seq);
        if !lane.waiting.contains_key(&delivery.seq) {
            return;
        }
        match outcome {
            Outcome::Judged(Judgement::Retry { after, reason }) => {
                let after = after.map_or(0, millis);
                lane.failed(delivery.seq, after, reason, now, &mut self.random);
            }
            Outcome::Judged(Judgement::Disable { reason }) => {
                lane.disabled = true;
                lane.failed(delivery.seq, 0, reason, now, &mut self.random);
            }
            Outcome::Judged(Judgement::Done) => {
                lane.refused.remove(&delivery.key);
                lane.answered(now);
                self.remove(delivery);
            }
            Outcome::Judged(Judgement::GiveUp { reason }) => {
                if delivery.first && lane.hears_resolves {
                    lane.refused.insert(delivery.key.clone(), refused(delivery, now, reason));
                }
                lane.last_error = Some((now, reason.clone()));
                lane.answered(now);
                self.remove(delivery);
            }
            Outcome::Abandoned => {
                lane.refused.remove(&delivery.key);
                self.remove(delivery);
            }
        }
    }

    /// The lanes of one receiver.
    pub fn lanes_of(&self, receiver: &str) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().filter(move |((name, _), _)| name == receiver).map(|(_, lane)| lane)
    }

    /// The names of those who have a lane.
    pub fn receivers(&self) -> BTreeSet<String> {
        self.lanes.keys().map(|(name, _)| name.clone()).collect()
    }

    fn remove(&mut self, delivery: &Delivery) {
        let destination = (delivery.receiver.clone(), delivery.webhook);
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.pop(delivery.seq);
        }
    }
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

    fn push(&mut self, delivery: Delivery, now: Timestamp) {
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

    fn pop(&mut self, seq: i64) {
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

    fn start(&mut self, now: Timestamp, parallel: usize) -> Vec<Work> {
        let begin: Vec<i64> = self.candidates(now, parallel);
        begin.into_iter().filter_map(|seq| self.begin(seq, now)).collect()
    }

    fn candidates(&self, now: Timestamp, parallel: usize) -> Vec<i64> {
        if self.disabled || self.parked {
            return Vec::new();
        }
        match &self.failing {
            Some(failing) if !self.under_way.is_empty() || failing.retry_at > now => Vec::new(),
            Some(_) => self.least_tried().into_iter().collect(),
            None => {
                let places = parallel.saturating_sub(self.under_way.len());
                self.heads.iter().copied().filter(|seq| self.not_before(*seq) <= now).take(places).collect()
            }
        }
    }

    /// Those that were never tried first, in their order; then the one whose last try is longest ago.
    fn least_tried(&self) -> Option<i64> {
        self.heads.iter().copied().min_by_key(|seq| (self.waiting.get(seq).and_then(|entry| entry.tried_at), *seq))
    }

    fn not_before(&self, seq: i64) -> Timestamp {
        self.waiting.get(&seq).map_or(0, |entry| entry.not_before)
    }

    fn begin(&mut self, seq: i64, now: Timestamp) -> Option<Work> {
        let entry = self.waiting.get_mut(&seq)?;
        entry.tried_at = Some(now);
        self.heads.remove(&seq);
        self.under_way.insert(seq);
        let delivery = entry.delivery.clone();
        let useless = delivery.resolve && self.refused.contains_key(&delivery.key);
        Some(if useless { Work::Abandon(delivery) } else { Work::Attempt(delivery) })
    }

    fn next_deadline(&self, now: Timestamp, parallel: usize) -> Option<Timestamp> {
        if self.disabled || self.parked || self.heads.is_empty() {
            return None;
        }
        match &self.failing {
            Some(failing) => self.under_way.is_empty().then_some(failing.retry_at),
            None if self.under_way.len() >= parallel => None,
            None => self.heads.iter().map(|seq| self.not_before(*seq).max(now)).min(),
        }
    }

    fn failed(&mut self, seq: i64, after: i64, reason: &str, now: Timestamp, random: &mut fastrand::Rng) {
        self.last_error = Some((now, reason.to_owned()));
        self.heads.insert(seq);
        let Some(entry) = self.waiting.get_mut(&seq) else { return };
        entry.delivery.attempts = entry.delivery.attempts.saturating_add(1);
        entry.delivery.last_error = Some(reason.to_owned());
        entry.not_before = now + pause(entry.delivery.attempts, random).max(after);
        let begun = entry.tried_at.unwrap_or(now);
        // Attempts that were under way side by side when the first of them failed are one failure, not several.
        let failures = match &self.failing {
            Some(failing) if begun < failing.tried_at => failing.failures,
            Some(failing) => failing.failures.saturating_add(1),
            None => 1,
        };
        let retry_at = now + pause(failures, random).max(after);
        self.failing = Some(Failing { failures, tried_at: now, retry_at, asked: after > 0 });
    }

    /// The webhook has answered. After an outage, all that waited for it may go.
    fn answered(&mut self, now: Timestamp) {
        if self.failing.take().is_some_and(|failing| failing.failures > 1) {
            self.waiting.values_mut().for_each(|entry| entry.not_before = now);
        }
    }

    /// The operations that forget everything of a lane whose receiver is gone.
    fn forget(&mut self) -> Vec<Op> {
        let deliveries = self.waiting.keys().map(|seq| Op::DeleteDelivery(*seq)).collect();
        [deliveries, self.forget_refused()].concat()
    }

    fn forget_refused(&mut self) -> Vec<Op> {
        let op = |Refused { receiver, webhook, key, .. }| Op::DeleteRefused { receiver, webhook, key };
        std::mem::take(&mut self.refused).into_values().map(op).collect()
    }
}

fn refused(delivery: &Delivery, at: Timestamp, reason: &str) -> Refused {
    Refused {
        receiver: delivery.receiver.clone(),
        webhook: delivery.webhook,
        key: delivery.key.clone(),
        at,
        reason: reason.to_owned(),
    }
}

/// The pause after so many failures: doubled each time, between half of it and all of it.
fn pause(failures: u32, random: &mut fastrand::Rng) -> i64 {
    let full =
        FIRST_PAUSE.checked_shl(failures.saturating_sub(1).min(16)).map_or(LONGEST_PAUSE, |ms| ms.min(LONGEST_PAUSE));
    random.i64(full / 2..=full)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
