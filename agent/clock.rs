//! Time. The wall clock is read once and anchored to the monotonic one, so that the agent's timeline
//! never goes back and the difference of two timestamps is time that really passed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::sample::Timestamp;

/// The agent's timeline: Unix milliseconds that advance with the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    anchor_ms: Timestamp,
}

impl Clock {
    /// Anchors the timeline at the wall clock's present.
    pub fn start() -> Self {
        // Tokio's instant is the monotonic clock, which tests can pause.
        Clock { anchor: Instant::now(), anchor_ms: wall_ms() }
    }

    /// Milliseconds since the Unix epoch on the agent's timeline.
    pub fn now(&self) -> Timestamp {
        self.anchor_ms + i64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The instant at which the timeline shows `at`, for sleeping until then. The past is the anchor.
    pub fn instant(&self, at: Timestamp) -> Instant {
        let since = u64::try_from(at - self.anchor_ms).unwrap_or(0);
        self.anchor + Duration::from_millis(since)
    }
}

/// What the wall clock shows now, Unix milliseconds: for log lines and for signatures that a receiver
/// compares with its own clock. Never for ordering or for intervals.
pub fn wall_ms() -> Timestamp {
    #[cfg(test)]
    if let Some(at) = WALL.get() {
        return at;
    }
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
thread_local! {
    /// What the wall clock shows to this thread, where a test plays with time.
    pub static WALL: std::cell::Cell<Option<Timestamp>> = const { std::cell::Cell::new(None) };
}

/// RFC 3339 in UTC with milliseconds, as Prometheus and Alertmanager write times.
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at).map(|time| format!("{time:.3}")).unwrap_or_else(|_| at.to_string())
}

/// A duration in whole milliseconds, for arithmetic on timestamps.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_starts_at_the_wall_clock_and_advances() {
        let clock = Clock::start();
        let first = clock.now();
        assert!((first - wall_ms()).abs() < 1_000);
        assert!(clock.now() >= first);
    }

    #[test]
    fn times_are_written_with_milliseconds_and_z() {
        assert_eq!(rfc3339(1_700_000_000_120), "2023-11-14T22:13:20.120Z");
    }
}
