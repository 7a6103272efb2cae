//! The order of deliveries, pure: what may be attempted now, and what an answer changes.
//!
//! Each endpoint has a lane. In it, deliveries of one key go out one after the other in the order of acceptance,
//! several keys side by side. While the endpoint fails, one attempt is made at a time, after a growing pause, and
//! each time with another delivery, so that one that can never be sent does not stand before all others.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::millis;
use crate::notify::judge::Judgement;
use crate::notify::lane::Lane;
use crate::notify::{Delivery, Manner, Receiver, Refused, kind_of};
use crate::sample::Timestamp;
use crate::state::Op;

/// What the outbox may hold, and do at once. Every receiver has an equal share of it, so that one that is down takes
/// nothing from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub deliveries: usize,
    /// Of payloads.
    pub bytes: usize,
    /// Attempts under way at one endpoint that does not fail.
    pub parallel: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { deliveries: 10_000, bytes: 64 * 1024 * 1024, parallel: 4 }
    }
}

/// What the ids of endpoints began with before they were told apart by what they are: then comes their place.
const PLACED: &str = "webhook/#";

/// An endpoint: its receiver's name and its id there.
pub type Destination = (String, String);

/// What to do now. Each is answered by [`Queue::settle`] and [`Queue::finish`].
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    Attempt(Delivery),
    /// The resolve of a page that was refused for good: not to be sent.
    Abandon(Delivery),
    /// What waited for longer than its endpoint's reminders look back: they have said it, or the opposite.
    Overtake(Delivery),
    /// A reminder: nothing of it is kept.
    Remind(Delivery),
}

/// How a piece of work ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Judged(Judgement),
    Abandoned,
    Overtaken,
}

/// Every delivery that is accepted and not yet settled.
#[derive(Debug)]
pub struct Queue {
    limits: Limits,
    lanes: BTreeMap<Destination, Lane>,
    next_seq: i64,
    random: fastrand::Rng,
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
            let lane = queue.lanes.entry((refused.receiver.clone(), refused.endpoint.clone())).or_default();
            lane.refused.insert(refused.key.clone(), refused);
        }
        queue.enqueue(deliveries, 0);
        queue
    }

    /// Takes over the receivers of a start or a reload. Deliveries follow their endpoint wherever it stands now, and
    /// one whose address has changed. What waits for one that was removed is abandoned; without any endpoint,
    /// everything waits. Disabled ones get a new try. The operations keep the state in step.
    pub fn configure(&mut self, receivers: &[Receiver], now: Timestamp) -> (Vec<Op>, Vec<Delivery>) {
        let mut ops: Vec<Op> = receivers.iter().flat_map(|receiver| self.follow(receiver)).collect();
        let endpoints =
            receivers.iter().flat_map(|receiver| receiver.endpoints.iter().enumerate().map(move |at| (receiver, at)));
        let endpoints: BTreeMap<Destination, (usize, Manner)> = endpoints
            .map(|(receiver, (place, endpoint))| {
                ((receiver.name.clone(), endpoint.id.clone()), (place, endpoint.settings.manner()))
            })
            .collect();
        let mut abandoned = Vec::new();
        for (destination, mut lane) in std::mem::take(&mut self.lanes) {
            if !endpoints.is_empty() && !endpoints.contains_key(&destination) {
                ops.extend(lane.forget());
                abandoned.extend(lane.waiting.into_values().map(|entry| entry.delivery));
            } else {
                (lane.disabled, lane.failing) = (false, None);
                lane.parked = endpoints.is_empty();
                self.lanes.insert(destination, lane);
            }
        }
        for (destination, (place, manner)) in endpoints {
            ops.extend(self.lanes.entry(destination).or_default().take_over(place, manner, now));
        }
        (ops, abandoned)
    }

    /// Gives the lanes of endpoints that a receiver no longer has to those that took their place: of the same kind,
    /// in their order.
    fn follow(&mut self, receiver: &Receiver) -> Vec<Op> {
        let has = |id: &String| receiver.endpoints.iter().any(|endpoint| endpoint.id == *id);
        let left = self.lanes.iter().filter(|((name, id), _)| *name == receiver.name && !has(id));
        let mut left: Vec<(usize, String)> =
            left.map(|((_, id), lane)| (placed(id).unwrap_or(lane.place), id.clone())).collect();
        left.sort();
        let mut ops = Vec::new();
        for (_, old) in left {
            let new = placed(&old).and_then(|place| self.heir(receiver, "webhook", place));
            if let Some(new) = new.or_else(|| self.heir(receiver, kind_of(&old), 0))
                && let Some(mut lane) = self.lanes.remove(&(receiver.name.clone(), old))
            {
                ops.extend(lane.rename(&new));
                self.lanes.insert((receiver.name.clone(), new), lane);
            }
        }
        ops
    }

    /// The first endpoint of a kind, from a place among them on, that has no lane yet.
    fn heir(&self, receiver: &Receiver, kind: &str, from: usize) -> Option<String> {
        let of_kind = receiver.endpoints.iter().filter(|endpoint| endpoint.settings.kind() == kind);
        let free = |id: &&String| !self.lanes.contains_key(&(receiver.name.clone(), (*id).clone()));
        of_kind.skip(from).map(|endpoint| &endpoint.id).find(free).cloned()
    }

    /// Whether an endpoint will hear under this key that something fires, without being told again.
    pub fn will_tell(&self, destination: &Destination, key: &str) -> bool {
        self.lanes.get(destination).is_some_and(|lane| lane.will_tell(key))
    }

    /// Reminds an endpoint of what fires since before the start. Nothing where it needs no reminders.
    pub fn resume(&mut self, receiver: &str, endpoint: &str, payload: &[u8], now: Timestamp) {
        let lane = self.lanes.get_mut(&(receiver.to_owned(), endpoint.to_owned()));
        if let Some(reminders) = lane.and_then(|lane| lane.reminders.as_mut()) {
            reminders.resume(payload, now);
        }
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
            let lane = self.lanes.entry((delivery.receiver.clone(), delivery.endpoint.clone())).or_default();
            lane.push(delivery, now);
        }
    }

    /// What may begin at `now`. It counts as under way until [`Queue::finish`].
    pub fn start(&mut self, now: Timestamp) -> Vec<Work> {
        let parallel = self.limits.parallel;
        let mut work: Vec<Work> = self.lanes.values_mut().flat_map(|lane| lane.start(now, parallel)).collect();
        for ((receiver, endpoint), lane) in &mut self.lanes {
            if let Some(payload) = lane.remind(self.next_seq, now) {
                work.push(Work::Remind(reminder(self.next_seq, receiver, endpoint, payload, now)));
                self.next_seq += 1;
            }
        }
        work
    }

    /// When [`Queue::start`] will have something that it does not have at `now`, answers aside.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.lanes.values().filter_map(|lane| lane.next_deadline(now, self.limits.parallel)).min()
    }

    /// What an outcome writes. Nothing where the delivery is gone meanwhile, and for a reminder.
    pub fn settle(&self, delivery: &Delivery, outcome: &Outcome, now: Timestamp) -> Vec<Op> {
        let lanes = self.lanes.iter().filter(|((receiver, _), _)| *receiver == delivery.receiver);
        let found = lanes.into_iter().find(|(_, lane)| lane.waiting.contains_key(&delivery.seq));
        let Some(((receiver, endpoint), lane)) = found else { return Vec::new() };
        let gone = Op::DeleteDelivery(delivery.seq);
        let forgiven =
            Op::DeleteRefused { receiver: receiver.clone(), endpoint: endpoint.clone(), key: delivery.key.clone() };
        match outcome {
            Outcome::Abandoned => vec![gone, forgiven],
            Outcome::Overtaken => vec![gone],
            Outcome::Judged(Judgement::Done) if lane.refused.contains_key(&delivery.key) => vec![gone, forgiven],
            Outcome::Judged(Judgement::Done) => vec![gone],
            Outcome::Judged(Judgement::GiveUp { reason }) if delivery.first && lane.manner.pairs => {
                vec![gone, Op::PutRefused(refused(delivery, endpoint, now, reason))]
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
        // Its endpoint may have another id since it began.
        let lanes = self.lanes.iter_mut().filter(|((receiver, _), _)| *receiver == delivery.receiver);
        let found = lanes.into_iter().find(|(_, lane)| lane.under_way.contains(&delivery.seq));
        let Some(((_, endpoint), lane)) = found else { return };
        lane.under_way.remove(&delivery.seq);
        if lane.reminding == Some(delivery.seq) {
            lane.reminded(outcome, now, &mut self.random);
            return;
        }
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
                lane.pop(delivery.seq);
            }
            Outcome::Judged(Judgement::GiveUp { reason }) => {
                if delivery.first && lane.manner.pairs {
                    lane.refused.insert(delivery.key.clone(), refused(delivery, endpoint, now, reason));
                }
                lane.last_error = Some((now, reason.clone()));
                lane.answered(now);
                lane.pop(delivery.seq);
            }
            Outcome::Abandoned => {
                lane.refused.remove(&delivery.key);
                lane.pop(delivery.seq);
            }
            Outcome::Overtaken => lane.pop(delivery.seq),
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
}

/// The place of an endpoint whose id is its place.
fn placed(id: &str) -> Option<usize> {
    id.strip_prefix(PLACED)?.parse().ok()
}

/// What no table knows of: it has a number so that it can be told from what is under way beside it.
fn reminder(seq: i64, receiver: &str, endpoint: &str, payload: Bytes, now: Timestamp) -> Delivery {
    Delivery {
        seq,
        receiver: receiver.to_owned(),
        endpoint: endpoint.to_owned(),
        key: String::new(),
        id: String::new(),
        first: false,
        resolve: false,
        accepted_at: now,
        attempts: 0,
        last_error: None,
        payload,
    }
}

fn refused(delivery: &Delivery, endpoint: &str, at: Timestamp, reason: &str) -> Refused {
    Refused {
        receiver: delivery.receiver.clone(),
        endpoint: endpoint.to_owned(),
        key: delivery.key.clone(),
        at,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
