//! When rule groups are evaluated: on their aligned ticks, and out of turn when a verdict has changed. Pure.

use std::time::Duration;

use crate::clock::millis;
use crate::rule::{self, Group, schedule};
use crate::sample::{Labels, Timestamp};

/// At most one tick out of turn in this time, milliseconds.
const REACTION_GAP: i64 = 50;
/// Ticks out of turn may take one part in so many of a core.
const REACTION_SHARE: i64 = 10;

/// The clocks of the groups, in their order.
pub struct Ticks {
    slots: Vec<Slot>,
    /// No tick out of turn before this.
    react_from: Timestamp,
}

#[derive(Clone, Copy)]
struct Slot {
    interval: Duration,
    next: Timestamp,
}

/// A group to evaluate, and at which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The group's index.
    pub group: usize,
    pub at: Timestamp,
}

impl Ticks {
    /// `interval` is that of groups that name none.
    pub fn new(groups: &[Group], interval: Duration, now: Timestamp) -> Self {
        let slot = |group: &Group| {
            let interval = group.interval.unwrap_or(interval);
            Slot { interval, next: schedule::next_tick(group, interval, now) }
        };
        Ticks { slots: groups.iter().map(slot).collect(), react_from: now }
    }

    /// Other groups: those that are still there, at the same interval, keep their place.
    pub fn apply(&mut self, before: &[Group], groups: &[Group], interval: Duration, now: Timestamp) {
        let same = |a: &Group, b: &Group| (&a.file, &a.name) == (&b.file, &b.name);
        let fresh = Ticks::new(groups, interval, now).slots;
        let slot = |(group, fresh): (&Group, Slot)| {
            let place = before.iter().position(|known| same(known, group));
            let known = place.map(|place| self.slots[place]);
            known.filter(|known| known.interval == fresh.interval).unwrap_or(fresh)
        };
        self.slots = groups.iter().zip(fresh).map(slot).collect();
    }

    /// The next regular tick of any group.
    pub fn next(&self) -> Option<Timestamp> {
        self.slots.iter().map(|slot| slot.next).min()
    }

    /// When the next tick out of turn may be.
    pub fn react_from(&self) -> Timestamp {
        self.react_from
    }

    pub fn interval(&self, group: usize) -> Duration {
        self.slots[group].interval
    }

    /// The groups to evaluate now, and how many regular ticks were left out. A regular tick is evaluated at its aligned
    /// time, as in Prometheus: at the time that it happens to be, `for: 10s` would often take a tick more.
    /// A group that reads a changed verdict is evaluated as of now, so that it sees the change.
    pub fn due(&mut self, groups: &[Group], changed: &[Labels], now: Timestamp) -> (Vec<Due>, u64) {
        let mut due = Vec::new();
        let mut missed = 0;
        for (index, (group, slot)) in groups.iter().zip(&mut self.slots).enumerate() {
            let regular = slot.advance(group, now);
            missed += regular.map_or(0, |(_, missed)| missed);
            // What is evaluated a while back sees nothing of a change that is just made.
            let sees =
                |labels| group.query_offset.is_none_or(|offset| offset.is_zero()) && rule::reads_target(group, labels);
            let out_of_turn = changed.iter().any(sees).then_some(now);
            let at = out_of_turn.or(regular.map(|(at, _)| at));
            due.extend(at.map(|at| Due { group: index, at }));
        }
        (due, missed)
    }

    /// A tick is over at `now`, after `work` on a core.
    pub fn ended(&mut self, now: Timestamp, work: Duration) {
        self.react_from = now + (millis(work) * (REACTION_SHARE - 1)).max(REACTION_GAP);
    }
}

impl Slot {
    /// The aligned tick that is due, and how many before it were left out.
    fn advance(&mut self, group: &Group, now: Timestamp) -> Option<(Timestamp, u64)> {
        if self.next > now {
            return None;
        }
        let interval = millis(self.interval).max(1);
        let first = self.next;
        self.next = schedule::next_tick(group, self.interval, now);
        let at = self.next - interval;
        Some((at, ((at - first) / interval).unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE: Duration = Duration::from_secs(5);
    const NOW: Timestamp = 1_700_000_000_000;

    fn group(name: &str, expr: &str) -> Group {
        let text = format!("groups: [{{name: {name}, rules: [{{alert: A, expr: '{expr}'}}]}}]");
        rule::file::load("a.yml", &text, true).unwrap_or_else(|problems| panic!("{problems:?}")).remove(0)
    }

    fn target(name: &str, kind: &str) -> Labels {
        Labels::new([("target", name), ("kind", kind)])
    }

    fn at(due: &[Due]) -> Vec<Timestamp> {
        due.iter().map(|due| due.at).collect()
    }

    #[test]
    fn a_regular_tick_is_evaluated_at_its_aligned_time_however_late_it_is() {
        let groups = [group("g", "up == 0")];
        let mut ticks = Ticks::new(&groups, FIVE, NOW);
        let first = ticks.next().unwrap();
        assert_eq!(ticks.due(&groups, &[], first - 1), (Vec::new(), 0));
        let (due, missed) = ticks.due(&groups, &[], first + 3);
        assert_eq!((at(&due), missed), (vec![first], 0));
        assert_eq!(ticks.next(), Some(first + 5_000));
    }

    #[test]
    fn ticks_that_were_slept_through_are_counted_and_not_made_up_for() {
        let groups = [group("g", "up == 0")];
        let mut ticks = Ticks::new(&groups, FIVE, NOW);
        let first = ticks.next().unwrap();
        let (due, missed) = ticks.due(&groups, &[], first + 17_000);
        assert_eq!((at(&due), missed), (vec![first + 15_000], 3));
        assert_eq!(ticks.next(), Some(first + 20_000));
    }

    #[test]
    fn a_changed_verdict_brings_the_groups_forward_that_read_it_and_no_other() {
        let groups = [group("pg", "pg_up == 0"), group("redis", "redis_up == 0"), group("all", "probe_success == 0")];
        let mut ticks = Ticks::new(&groups, Duration::from_secs(3600), NOW);
        let next = ticks.next();
        let (due, _) = ticks.due(&groups, &[target("cache", "redis")], NOW + 1);
        assert_eq!(due, [Due { group: 1, at: NOW + 1 }, Due { group: 2, at: NOW + 1 }]);
        assert_eq!(ticks.next(), next, "their regular ticks stay");
    }

    #[test]
    fn a_change_between_the_aligned_time_and_now_is_seen() {
        let groups = [group("g", "probe_success == 0")];
        let mut ticks = Ticks::new(&groups, FIVE, NOW);
        let first = ticks.next().unwrap();
        let (due, _) = ticks.due(&groups, &[target("api", "http")], first + 2);
        assert_eq!(at(&due), [first + 2]);
        assert_eq!(ticks.next(), Some(first + 5_000));
    }

    #[test]
    fn reactions_take_a_tenth_of_a_core_at_most_and_come_at_most_every_fifty_milliseconds() {
        let mut ticks = Ticks::new(&[], FIVE, NOW);
        assert_eq!(ticks.react_from(), NOW);
        ticks.ended(NOW, Duration::from_micros(200));
        assert_eq!(ticks.react_from(), NOW + 50);
        ticks.ended(NOW, Duration::from_millis(30));
        assert_eq!(ticks.react_from(), NOW + 270, "30 ms of work in 300 ms");
    }
}
