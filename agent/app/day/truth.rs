//! What really happens to the targets during the day, whoever watches.

use std::collections::BTreeMap;

use crate::probe::Path;
use crate::sample::Timestamp;
use crate::target::verdict::Outcome;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// The most instances of the target that has several.
const INSTANCES: usize = 4;
/// The target that has several.
pub const POOL: &str = "pool";

/// What one instance of a target does from some time on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Condition {
    Well,
    Bad,
    /// The held connection works, new ones are refused.
    BadFresh,
    /// The other way round.
    BadHeld,
    /// A look in so many fails.
    Flapping(u8),
    /// The resolver does not answer.
    Blind,
    Full,
    /// No look finishes.
    Silent,
}

/// The day, made from a seed.
pub struct Truth {
    conditions: BTreeMap<(String, usize), Vec<(Timestamp, Condition)>>,
    /// Which instances the pool has, from when on.
    pool: Vec<(Timestamp, Vec<usize>)>,
    random: fastrand::Rng,
}

impl Truth {
    pub fn new(targets: &[String], from: Timestamp, until: Timestamp, random: &mut fastrand::Rng) -> Self {
        let mut conditions = BTreeMap::new();
        for name in targets {
            for instance in 0..if name == POOL { INSTANCES } else { 1 } {
                conditions.insert((name.clone(), instance), timeline(from, until, random));
            }
        }
        let mut pool = vec![(from, vec![0, 1, 2])];
        let mut at = from;
        while at < until {
            at += random.i64(10 * MINUTE..90 * MINUTE);
            let mut all: Vec<usize> = (0..INSTANCES).collect();
            random.shuffle(&mut all);
            all.truncate(random.usize(2..=INSTANCES));
            pool.push((at, all));
        }
        pool.push((until, vec![0, 1]));
        Truth { conditions, pool, random: random.fork() }
    }

    /// How a look ends; `None`: it does not.
    pub fn look(&mut self, target: &str, instance: usize, path: Path, now: Timestamp) -> Option<Outcome> {
        let timeline = &self.conditions[&(target.to_owned(), instance)];
        let (_, condition) = timeline[timeline.partition_point(|(from, _)| *from <= now).max(1) - 1];
        let bad = |bad| if bad { Outcome::Bad } else { Outcome::Good };
        match condition {
            Condition::Well => Some(Outcome::Good),
            Condition::Bad => Some(Outcome::Bad),
            Condition::BadFresh => Some(bad(path == Path::Fresh)),
            Condition::BadHeld => Some(bad(path == Path::Held)),
            Condition::Flapping(one_in) => Some(bad(self.random.u8(..one_in) == 0)),
            Condition::Blind => Some(Outcome::Blind),
            Condition::Full => Some(Outcome::Full),
            Condition::Silent => None,
        }
    }

    /// The instances of the pool.
    pub fn instances(&self, now: Timestamp) -> &[usize] {
        &self.pool[self.pool.partition_point(|(from, _)| *from <= now).max(1) - 1].1
    }
}

/// Well for hours, with episodes of everything that happens; well at the end.
fn timeline(from: Timestamp, until: Timestamp, random: &mut fastrand::Rng) -> Vec<(Timestamp, Condition)> {
    let mut timeline = vec![(from, Condition::Well)];
    let mut at = from;
    while at < until {
        at += random.i64(20 * MINUTE..240 * MINUTE);
        for _ in 0..random.usize(1..5) {
            let condition = match random.u8(0..12) {
                0..4 => Condition::Bad,
                4 => Condition::BadFresh,
                5 => Condition::BadHeld,
                6..8 => Condition::Flapping(random.u8(2..5)),
                8..10 => Condition::Blind,
                10 => Condition::Full,
                _ => Condition::Silent,
            };
            timeline.push((at, condition));
            at += match random.u8(0..4) {
                0 => random.i64(SECOND..MINUTE),
                1 | 2 => random.i64(MINUTE..10 * MINUTE),
                _ => random.i64(10 * MINUTE..40 * MINUTE),
            };
        }
        timeline.push((at, Condition::Well));
    }
    timeline.retain(|(at, _)| *at < until);
    timeline.push((until, Condition::Well));
    timeline
}
