//! The queue against a plain model: a receiver that answers at random, an agent that is killed at random.

use std::collections::BTreeMap;

use super::*;
use crate::state::samples;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// What the receiver knows and what becomes of each delivery.
#[derive(Default)]
struct Receiving {
    /// Taken, in order, each once.
    taken: Vec<Delivery>,
    refused: BTreeSet<i64>,
}

/// The rows that a kill leaves.
#[derive(Default)]
struct Disk {
    deliveries: BTreeMap<i64, Delivery>,
    refused: BTreeMap<String, Refused>,
    abandoned: BTreeSet<i64>,
}

struct World {
    random: fastrand::Rng,
    now: Timestamp,
    queue: Queue,
    under_way: Vec<Work>,
    disk: Disk,
    receiver: Receiving,
    accepted: Vec<Delivery>,
    /// Whether the group of each key fires.
    open: BTreeMap<&'static str, bool>,
    outage: bool,
}

fn receivers() -> Vec<Receiver> {
    vec![samples::receiver("pager")]
}

impl World {
    fn new(seed: u64) -> Self {
        let mut queue = Queue::new(Limits::default(), vec![], vec![], seed);
        queue.configure(&receivers(), 0);
        World {
            random: fastrand::Rng::with_seed(seed),
            now: 1_000_000,
            queue,
            under_way: vec![],
            disk: Disk::default(),
            receiver: Receiving::default(),
            accepted: vec![],
            open: BTreeMap::new(),
            outage: false,
        }
    }

    fn accept(&mut self) {
        let key = KEYS[self.random.usize(0..KEYS.len())];
        let open = self.open.entry(key).or_default();
        let resolve = *open && self.random.bool();
        let delivery = Delivery { first: !*open, ..samples::delivery(self.queue.take_seq(), key, resolve) };
        *open = !resolve;
        self.disk.deliveries.insert(delivery.seq, delivery.clone());
        self.accepted.push(delivery.clone());
        self.queue.enqueue(vec![delivery], self.now);
    }

    fn start(&mut self) {
        self.under_way.extend(self.queue.start(self.now));
        let keys: BTreeSet<&str> = self.under_way.iter().map(|work| taken(work).key.as_str()).collect();
        assert_eq!(keys.len(), self.under_way.len(), "two of one key at once");
        assert!(self.under_way.len() <= Limits::default().parallel);
    }

    /// One piece of work ends, and is committed unless the agent is killed in between.
    fn end_one(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let work = self.under_way.swap_remove(self.random.usize(0..self.under_way.len()));
        let outcome = match &work {
            Work::Abandon(_) => Outcome::Abandoned,
            Work::Attempt(delivery) => Outcome::Judged(self.receiver_answers(delivery)),
            other => panic!("{other:?}"),
        };
        if self.random.u8(0..20) == 0 {
            return self.kill();
        }
        let delivery = taken(&work);
        for op in self.queue.settle(delivery, &outcome, self.now) {
            self.write(op, &outcome);
        }
        self.queue.finish(delivery, &outcome, self.now);
    }

    fn receiver_answers(&mut self, delivery: &Delivery) -> Judgement {
        let known = self.receiver.taken.iter().any(|taken| taken.id == delivery.id);
        let dice = self.random.u8(0..20);
        match dice {
            _ if self.outage => Judgement::Retry { after: None, reason: "status 503".into() },
            0 => Judgement::Disable { reason: "status 410".into() },
            1..=3 => Judgement::Retry { after: None, reason: "status 500".into() },
            4..=6 if !known => {
                self.receiver.refused.insert(delivery.seq);
                Judgement::GiveUp { reason: "status 400".into() }
            }
            _ => {
                if !known {
                    self.take(delivery.clone());
                }
                Judgement::Done
            }
        }
    }

    fn take(&mut self, delivery: Delivery) {
        let before = self.receiver.taken.iter().filter(|taken| taken.key == delivery.key);
        let last = before.last();
        assert!(last.is_none_or(|last| last.seq < delivery.seq), "{delivery:?} overtook {last:?}");
        if delivery.resolve {
            assert!(last.is_some_and(|last| !last.resolve), "the resolve of nothing: {delivery:?} after {last:?}");
        }
        self.receiver.taken.push(delivery);
    }

    fn write(&mut self, op: Op, outcome: &Outcome) {
        match op {
            Op::DeleteDelivery(seq) => {
                self.disk.deliveries.remove(&seq);
                if *outcome == Outcome::Abandoned {
                    self.disk.abandoned.insert(seq);
                }
            }
            Op::Attempted { seq, attempts, last_error } => {
                let Some(delivery) = self.disk.deliveries.get_mut(&seq) else { panic!("an attempt at nothing") };
                (delivery.attempts, delivery.last_error) = (attempts, Some(last_error));
            }
            Op::PutRefused(refused) => {
                self.disk.refused.insert(refused.key.clone(), refused);
            }
            Op::DeleteRefused { key, .. } => {
                self.disk.refused.remove(&key);
            }
            other => panic!("{other:?}"),
        }
    }

    /// What was under way may or may not have reached the receiver; memory is gone.
    fn kill(&mut self) {
        for work in std::mem::take(&mut self.under_way) {
            if let Work::Attempt(delivery) = work
                && !self.outage
                && self.random.bool()
                && !self.receiver.taken.iter().any(|taken| taken.id == delivery.id)
            {
                self.take(delivery);
            }
        }
        let deliveries = self.disk.deliveries.values().cloned().collect();
        let refused = self.disk.refused.values().cloned().collect();
        let next = self.queue.take_seq();
        self.queue = Queue::new(Limits::default(), deliveries, refused, next.unsigned_abs());
        self.queue.next_seq = self.queue.next_seq.max(next);
        self.queue.configure(&receivers(), 0);
    }

    fn step(&mut self) {
        match self.random.u8(0..12) {
            0..=2 => self.accept(),
            3..=4 => self.now += self.random.i64(0..5_000),
            5 => self.now += self.random.i64(0..90_000),
            6 => self.outage = self.random.u8(0..3) == 0,
            7 if self.random.u8(0..8) == 0 => self.kill(),
            8 if self.random.u8(0..8) == 0 => {
                self.queue.configure(&receivers(), 0);
            }
            _ => self.end_one(),
        }
        self.start();
        assert_eq!(self.queue.lanes_of("pager").map(Lane::depth).sum::<usize>(), self.disk.deliveries.len());
        let bytes: usize = self.disk.deliveries.values().map(|delivery| delivery.payload.len()).sum();
        assert_eq!(self.queue.lanes_of("pager").map(|lane| lane.bytes).sum::<usize>(), bytes);
    }

    /// The receiver is well again and the agent lives: everything ends.
    fn settle_all(&mut self) {
        self.outage = false;
        for _ in 0..100_000 {
            if self.disk.deliveries.is_empty() {
                return;
            }
            self.queue.configure(&receivers(), 0);
            self.now += 60_000;
            self.start();
            while !self.under_way.is_empty() {
                self.end_one();
            }
        }
        panic!("it never ends: {:?}", self.queue);
    }

    /// Every accepted delivery was taken, refused, or is the resolve of a page that the receiver never took.
    fn nothing_is_lost(&self) {
        for delivery in &self.accepted {
            let seq = delivery.seq;
            let was_taken = self.receiver.taken.iter().any(|taken| taken.seq == seq);
            let refused = self.receiver.refused.contains(&seq);
            let abandoned = self.disk.abandoned.contains(&seq);
            assert!(was_taken || refused || abandoned, "{delivery:?} is lost");
            if abandoned {
                // A resolve that the receiver itself refused has closed the key as far as we can.
                let closed = |d: &&Delivery| {
                    self.receiver.taken.iter().any(|taken| taken.seq == d.seq)
                        || d.resolve && self.receiver.refused.contains(&d.seq)
                };
                let earlier = self.accepted.iter().filter(|d| d.key == delivery.key && d.seq < seq).filter(closed);
                let last = earlier.max_by_key(|taken| taken.seq);
                assert!(delivery.resolve && last.is_none_or(|last| last.resolve), "{delivery:?} leaves {last:?} open");
            }
        }
    }
}

#[test]
fn whatever_the_receiver_answers_and_whenever_the_agent_dies_order_holds_and_nothing_is_lost() {
    for seed in 0..300 {
        let mut world = World::new(seed);
        (0..400).for_each(|_| world.step());
        world.settle_all();
        world.nothing_is_lost();
    }
}
