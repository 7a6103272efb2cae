//! When a group is evaluated: at multiples of its interval, shifted by an offset of its own, so that groups do not
//! all run at once and a restart changes nothing. The rule is Prometheus's (`Group.EvalTimestamp`), the hash is ours.

use std::time::Duration;

use super::Group;
use crate::clock::millis;
use crate::sample::{Labels, Timestamp};

/// The first tick after `after`. `interval` is used where the group has none of its own.
pub fn next_tick(group: &Group, interval: Duration, after: Timestamp) -> Timestamp {
    let interval = millis(group.interval.unwrap_or(interval)).max(1);
    let shifted = after - offset(group, interval);
    after - shifted.rem_euclid(interval) + interval
}

/// How far a group's ticks stand behind the multiples of its interval, milliseconds.
fn offset(group: &Group, interval: i64) -> i64 {
    let hash = Labels::new([("file", group.file.as_str()), ("name", group.name.as_str())]).fingerprint();
    i64::try_from(hash % interval.unsigned_abs()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, interval: Option<u64>) -> Group {
        let interval = interval.map(Duration::from_secs);
        let (file, name) = ("a.yml".to_owned(), name.to_owned());
        Group { file, name, interval, query_offset: None, limit: None, hold: false, sees_own: false, rules: Vec::new() }
    }

    const FIVE: Duration = Duration::from_secs(5);

    #[test]
    fn ticks_are_aligned_whenever_one_asks() {
        let group = group("g", None);
        let first = next_tick(&group, FIVE, 1_700_000_000_000);
        assert_eq!(next_tick(&group, FIVE, first), first + 5_000);
        assert_eq!(next_tick(&group, FIVE, first - 1), first);
        assert_eq!(next_tick(&group, FIVE, first + 4_999), first + 5_000);
        assert_eq!(next_tick(&group, FIVE, -first).rem_euclid(5_000), first.rem_euclid(5_000));
    }

    #[test]
    fn a_group_s_own_interval_counts() {
        let group = group("g", Some(60));
        let first = next_tick(&group, FIVE, 0);
        assert_eq!(next_tick(&group, FIVE, first), first + 60_000);
    }

    #[test]
    fn groups_do_not_all_tick_at_once() {
        let offsets = ["a", "b", "c", "d"].map(|name| next_tick(&group(name, None), FIVE, 0));
        assert!(offsets.iter().any(|offset| *offset != offsets[0]), "{offsets:?}");
    }
}
