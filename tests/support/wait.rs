//! Waiting for what a real server or the agent does on its own time: look again and again, with a bound.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// A bound for things that take a moment: far beyond what they need, so that a slow machine does not fail a test.
pub const SOON: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until it gets an answer, or fails the test after `within` with the last reason why there was none.
#[track_caller]
pub fn eventually<T, E: Display>(what: &str, within: Duration, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + within;
    loop {
        let reason = match look() {
            Ok(seen) => return seen,
            Err(reason) => reason,
        };
        assert!(Instant::now() < deadline, "waited {within:?} for {what}; last seen: {reason}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// As [`eventually`], for what is true or not yet.
#[track_caller]
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    eventually(what, within, || if holds() { Ok(()) } else { Err("not yet") });
}
