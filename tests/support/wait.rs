//! Waiting for what a real server or the agent does on its own time: look again and again, with a bound.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A bound for things that take a moment: far beyond what they need, so that a machine that is slow, or stands still
/// for seconds now and then, does not fail a test.
pub const SOON: Duration = Duration::from_secs(60);

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

/// Sees whether the machine, and with it every process of a test, stands still: its clock goes on, and nothing runs.
/// For the tests that have to show that something took no time.
pub struct Witness(Arc<AtomicU64>);

impl Witness {
    /// What a busy machine takes from a process now and then.
    const BUSY: Duration = Duration::from_millis(250);

    /// Watches until it is dropped.
    pub fn start() -> Self {
        let stood_still = Arc::new(AtomicU64::new(0));
        let seen = Arc::downgrade(&stood_still);
        std::thread::spawn(move || {
            while let Some(stood_still) = seen.upgrade() {
                let began = Instant::now();
                std::thread::sleep(BETWEEN_LOOKS);
                let took = began.elapsed();
                if took > Self::BUSY {
                    stood_still.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
                }
            }
        });
        Witness(stood_still)
    }

    /// How long, in all.
    pub fn stood_still(&self) -> Duration {
        std::thread::sleep(2 * BETWEEN_LOOKS);
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
