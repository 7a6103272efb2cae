//! The deadline of one look: set once around it, known to everything inside it.
//!
//! A look that is dropped at its deadline can say nothing more. So what it waits for ends at the same deadline
//! from within, a moment earlier, and the look still reports what it learned: its phases, a certificate, and
//! what it was waiting for.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::probe::{Failure, Reason};

/// How long one dial may take where nobody set a deadline.
const UNSET: Duration = Duration::from_secs(10);

tokio::task_local! {
    static LOOK: Arc<Look>;
}

struct Look {
    limit: Duration,
    deadline: Instant,
    step: Mutex<(&'static str, Option<SocketAddr>)>,
}

impl Look {
    fn timed_out(&self) -> Failure {
        let (phase, address) = *self.step.lock().unwrap_or_else(PoisonError::into_inner);
        timed_out(phase, address, self.limit)
    }
}

/// Runs a look (or a delivery) for at most `limit`, then drops it. The failure says what it was waiting for:
/// a resolver that does not answer is the agent's fault, not the target's.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Failure> {
    let deadline = Instant::now() + limit;
    let look = Arc::new(Look { limit, deadline, step: Mutex::new(("probe", None)) });
    let scoped = LOOK.scope(look.clone(), work);
    timeout_at(deadline, scoped).await.map_err(|_| look.timed_out())
}

/// Does one step of a look, until the look's deadline. `phase` and `address` become those of the failure.
/// Outside of [`within`] the caller's dropping is the only limit.
pub async fn bounded<T>(
    phase: &'static str,
    address: Option<SocketAddr>,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let Ok(look) = LOOK.try_with(Arc::clone) else {
        return Ok(work.await);
    };
    enter(phase, address);
    timeout_at(look.deadline, work).await.map_err(|_| look.timed_out())
}

/// Notes what the look waits for from here on.
pub(super) fn enter(phase: &'static str, address: Option<SocketAddr>) {
    let _ = LOOK.try_with(|look| *look.step.lock().unwrap_or_else(PoisonError::into_inner) = (phase, address));
}

/// How much time the look has left; none outside of [`within`].
pub fn time_left() -> Option<Duration> {
    LOOK.try_with(|look| look.deadline.saturating_duration_since(Instant::now())).ok()
}

/// When the look must be over.
pub(super) fn end() -> Instant {
    LOOK.try_with(|look| look.deadline).unwrap_or_else(|_| Instant::now() + UNSET)
}

/// The failure of a step that got no answer in `limit`.
pub(super) fn timed_out(phase: &'static str, address: Option<SocketAddr>, limit: Duration) -> Failure {
    let within = crate::duration::format(rounded(limit));
    let (reason, error) = match phase {
        "resolve" => (Reason::ResolverTimeout, format!("the resolver did not answer within {within}")),
        _ => (Reason::Timeout, format!("no answer within {within}")),
    };
    Failure { address, ..Failure::new(reason, phase, error) }
}

/// Up to the next hundredth of a second: the same fault is to read the same each time.
fn rounded(limit: Duration) -> Duration {
    Duration::from_millis(u64::try_from(limit.as_micros().div_ceil(10_000) * 10).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_says_what_it_waited_for() {
        let address: SocketAddr = "10.0.0.5:6379".parse().unwrap();
        let failure = within(LIMIT, async {
            enter("query", Some(address));
            pending::<()>().await
        });
        let failure = failure.await.unwrap_err();
        assert_eq!(failure.reason, Reason::Timeout);
        assert_eq!(failure.to_string(), "query 10.0.0.5:6379: no answer within 2s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ends_before_its_look_so_that_the_look_can_still_report() {
        let report = within(LIMIT, async { bounded("response", None, pending::<()>()).await.unwrap_err() });
        assert_eq!(report.await.unwrap().to_string(), "response: no answer within 2s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_hangs_is_the_agent_s_fault() {
        let failure = within(LIMIT, bounded("resolve", None, pending::<()>())).await.unwrap().unwrap_err();
        assert_eq!(failure.reason, Reason::ResolverTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_a_step_waits_for_its_caller() {
        let waited = tokio::time::timeout(Duration::from_secs(3600), bounded("response", None, pending::<()>()));
        assert!(waited.await.is_err());
    }
}
