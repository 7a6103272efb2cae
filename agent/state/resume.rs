//! Elapsed time, not instants, is what survives a restart.

use crate::sample::Timestamp;
use crate::state::rows::Rows;

/// Moves every timer by the time that nobody counted: after it, each has run as long at `now` as it had when the
/// agent was last alive. `starts_at`, and what people are told, stays. A wall clock that was set in between, in
/// either direction, makes no difference: only time that the agent saw counts.
/// Returns by how much it moved them, in milliseconds.
pub fn resume(rows: &mut Rows, now: Timestamp) -> i64 {
    let Some(last_alive) = rows.last_alive() else { return 0 };
    let gap = now - last_alive;
    let shift = |at: &mut Timestamp| *at += gap;
    for alert in &mut rows.alerts {
        shift(&mut alert.active_at);
        alert.keep_firing_since.iter_mut().for_each(shift);
        alert.held_since.iter_mut().for_each(shift);
    }
    for group in &mut rows.groups {
        group.due.iter_mut().for_each(shift);
        group.flushed_at.iter_mut().for_each(shift);
        group.notified_at.iter_mut().for_each(shift);
    }
    rows.graces.iter_mut().for_each(|grace| shift(&mut grace.configured_at));
    gap
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::rows::{Grace, LAST_ALIVE};
    use crate::state::samples;

    fn rows(last_alive: Timestamp) -> Rows {
        let mut alert = samples::alert("db", 1_000);
        alert.active_at = 400;
        alert.keep_firing_since = Some(1_500);
        alert.held_since = Some(1_600);
        let mut group = samples::group("pager", vec![alert.clone()]);
        (group.due, group.flushed_at, group.notified_at) = (Some(3_000), Some(1_000), Some(1_000));
        Rows {
            alerts: vec![alert],
            groups: vec![group],
            graces: vec![Grace { target: "db".into(), configured_at: 100, ended: false }],
            meta: [(LAST_ALIVE.to_owned(), last_alive.to_string())].into(),
            ..Rows::default()
        }
    }

    #[test]
    fn downtime_does_not_count() {
        let mut rows = rows(2_000);
        assert_eq!(resume(&mut rows, 12_000), 10_000);
        let alert = &rows.alerts[0];
        assert_eq!(alert.active_at, 10_400, "it has been active for 1.6 s, as when the agent stopped");
        assert_eq!((alert.keep_firing_since, alert.held_since), (Some(11_500), Some(11_600)));
        assert_eq!(alert.starts_at, Some(1_000), "what people were told stays");
        let group = &rows.groups[0];
        assert_eq!((group.due, group.flushed_at, group.notified_at), (Some(13_000), Some(11_000), Some(11_000)));
        assert_eq!(group.members[0].alert.starts_at, Some(1_000));
        assert_eq!(rows.graces[0].configured_at, 10_100);
    }

    #[test]
    fn a_wall_clock_that_went_back_makes_no_difference() {
        let mut rows = rows(2_000);
        assert_eq!(resume(&mut rows, 500), -1_500);
        assert_eq!(500 - rows.alerts[0].active_at, 1_600);
    }

    #[test]
    fn a_file_that_was_never_alive_is_left_alone() {
        let mut rows = Rows { meta: [].into(), ..rows(0) };
        assert_eq!(resume(&mut rows, 12_000), 0);
        assert_eq!(rows.alerts[0].active_at, 400);
    }
}
