//! The region that this agent stands in: from the verdicts on its inputs to an answer that failover tooling may
//! trust, with its age and its reasons. One agent alone: it judges its own region and no other.

pub mod detector;
pub mod metrics;
pub mod snapshot;
pub mod task;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sample::Timestamp;
use crate::target::Schedule;

pub use snapshot::Snapshot;
pub use task::Region;

/// The slowest that an input may be seen down: T12 wants a failed region detected in less.
pub const BUDGET: Duration = Duration::from_secs(30);
/// How often the inputs are looked through where no verdict changes.
pub const TICK: Duration = Duration::from_secs(1);
/// How long an answer may be relied on after it was last made.
pub const VALID: Duration = Duration::from_secs(6);

/// A region as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub name: String,
    pub role: Option<Role>,
    /// Whether failover tooling may act upon the answers of this agent alone.
    pub actionable: bool,
    /// How long every input must be good before a region that was down is up again.
    pub clean: Duration,
    pub inputs: Vec<Input>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Primary,
    Secondary,
}

/// A target that the region rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub target: String,
    /// Whether it is the region's database: what `/check/db` answers for.
    pub database: bool,
    /// Looks that take longer are failures of the region.
    pub latency: Option<Duration>,
    /// Looks that take longer degrade it.
    pub soft_latency: Option<Duration>,
    /// Looks in a row that count: the target's own.
    pub rise: u32,
    pub fall: u32,
}

/// How a region is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Up,
    /// It serves, with less than all it has.
    Degraded,
    /// Not known now. Neither up nor down.
    Unknown,
    Down,
}

impl State {
    pub const ALL: [State; 4] = [State::Up, State::Degraded, State::Unknown, State::Down];

    pub fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Degraded => "degraded",
            State::Unknown => "unknown",
            State::Down => "down",
        }
    }

    /// What it decides: nothing while unknown.
    pub fn answer(self) -> Option<Answer> {
        match self {
            State::Up | State::Degraded => Some(Answer::Up),
            State::Down => Some(Answer::Down),
            State::Unknown => None,
        }
    }
}

/// What a load balancer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Up,
    Down,
}

/// The newest answer that was decided, and when that was last so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    pub answer: Answer,
    pub at: Timestamp,
}

impl Decided {
    /// How old the answer is, in milliseconds.
    pub fn age(&self, now: Timestamp) -> i64 {
        (now - self.at).max(0)
    }
}

/// The questions that a region answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// All inputs.
    Service,
    /// The database inputs.
    Database,
}

impl Question {
    pub fn name(self) -> &'static str {
        match self {
            Question::Service => "service",
            Question::Database => "db",
        }
    }
}

impl Settings {
    pub fn has_database(&self) -> bool {
        self.inputs.iter().any(|input| input.database)
    }
}

/// The longest from a fault to the verdict of down.
pub fn worst_case(schedule: &Schedule) -> Duration {
    let Schedule { interval, timeout, fall, confirm, .. } = *schedule;
    interval + timeout * fall + confirm * fall.saturating_sub(1)
}

/// The longest from when looks begin to take too long until `fall` of them have been seen. Slow looks are not
/// repeated sooner: they are no failures.
pub fn worst_case_of_latency(schedule: &Schedule) -> Duration {
    schedule.interval.max(TICK) * schedule.fall + schedule.timeout + TICK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_is_that_of_the_verdict() {
        let seconds = Duration::from_secs;
        let confirm = Duration::from_millis(250);
        let schedule = Schedule { interval: seconds(5), timeout: seconds(2), rise: 2, fall: 2, confirm };
        assert_eq!(worst_case(&schedule), Duration::from_millis(9_250));
        assert_eq!(worst_case_of_latency(&schedule), seconds(13));
        let often = Schedule { interval: Duration::from_millis(100), fall: 3, ..schedule };
        assert_eq!(worst_case_of_latency(&often), seconds(6), "no look is counted more often than once a tick");
    }
}
