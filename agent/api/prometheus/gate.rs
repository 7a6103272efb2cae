//! How many queries work at once, how long each may take, and when it makes way for everything else that the agent's one
//! thread does.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{self, Id};
use tokio::time::Instant;

use super::{Metrics, Refusal};

/// How many queries are evaluated at once.
const RUNNING: usize = 4;
/// How many more may wait for their turn.
const WAITING: i64 = 32;
/// The longest that a query may take, its waiting included; a request may ask for less.
pub const LONGEST: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const ANSWER_BYTES: usize = 32 << 20;
/// How long a query works until it makes way.
const SLICE: Duration = Duration::from_millis(1);

pub struct Gate {
    slots: Semaphore,
    /// One slice at a time: between any two of them, whoever's, the thread does what else there is.
    slices: Semaphore,
    /// The tasks that are answered, or wait for it.
    askers: Mutex<HashSet<Id>>,
    metrics: Metrics,
}

/// A query's turn. It ends when this is dropped.
pub struct Turn<'a> {
    metrics: &'a Metrics,
    deadline: Instant,
    slice: Instant,
    began: Instant,
    /// How long it waited.
    pub waited: Duration,
    slices: &'a Semaphore,
    working: Option<SemaphorePermit<'a>>,
    _asker: Asker<'a>,
    _slot: SemaphorePermit<'a>,
}

impl Gate {
    pub fn new(metrics: Metrics) -> Self {
        Gate { slots: Semaphore::new(RUNNING), slices: Semaphore::new(1), askers: Mutex::default(), metrics }
    }

    /// Whether what this task asks for is worked at, or waits for that.
    pub fn is_asked_by(&self, task: Id) -> bool {
        self.askers().contains(&task)
    }

    fn askers(&self) -> MutexGuard<'_, HashSet<Id>> {
        self.askers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does as one slice what cannot be divided, and waits for nobody.
    pub async fn alone<T>(&self, work: impl Future<Output = T>) -> T {
        let _asker = Asker::new(self);
        let _slice = self.slices.acquire().await;
        let done = work.await;
        // Whoever comes next waits for what else is ready, too.
        task::yield_now().await;
        done
    }

    /// Waits for a turn that ends `within` from now.
    pub async fn enter(&self, within: Duration) -> Result<Turn<'_>, Refusal> {
        if self.metrics.waiting.get() >= WAITING {
            self.metrics.refused("busy", 1);
            let all = RUNNING as i64 + WAITING;
            return Err(Refusal::Unavailable(format!(
                "{all} queries run or wait already: ask again later, or ask for less at once"
            )));
        }
        let asker = Asker::new(self);
        let asked = Instant::now();
        let deadline = asked + within.min(LONGEST);
        let waits = Waits::new(&self.metrics);
        let slot = tokio::time::timeout_at(deadline, self.slots.acquire()).await;
        drop(waits);
        let Ok(Ok(slot)) = slot else {
            self.metrics.refused("timeout", 1);
            return Err(Refusal::Timeout("query timed out in query queue".to_owned()));
        };
        self.metrics.running.inc();
        let began = Instant::now();
        let (metrics, slices, waited) = (&self.metrics, &self.slices, began - asked);
        Ok(Turn { metrics, deadline, slice: began, began, waited, slices, working: None, _asker: asker, _slot: slot })
    }

    /// Counts a query that asks for more than one may have.
    pub fn too_much(&self, message: String) -> Refusal {
        self.metrics.too_much(message)
    }
}

impl Turn<'_> {
    /// Makes way for others where it is time to, and ends the query at its deadline. To be called between pieces of
    /// work that are each short.
    pub async fn pause(&mut self) -> Result<(), Refusal> {
        let now = Instant::now();
        if now >= self.deadline {
            self.metrics.refused("timeout", 1);
            return Err(Refusal::Timeout("query timed out in expression evaluation".to_owned()));
        }
        if self.working.is_none() || now - self.slice >= SLICE {
            // Whoever comes next waits for what else is ready, too.
            task::yield_now().await;
            self.next_slice().await;
        }
        Ok(())
    }

    async fn next_slice(&mut self) {
        self.working = None;
        self.working = self.slices.acquire().await.ok();
        self.slice = Instant::now();
    }

    /// As [`Turn::pause`], while an answer is written: ends one that grows too long.
    pub async fn pause_writing(&mut self, answer: &str) -> Result<(), Refusal> {
        if answer.len() > ANSWER_BYTES {
            let megabytes = ANSWER_BYTES >> 20;
            let message = format!("the answer has more than {megabytes} MiB: ask for fewer series or steps");
            return Err(self.metrics.too_much(message));
        }
        self.pause().await
    }

    /// How long it has worked.
    pub fn worked(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
        self.metrics.answered.inc();
        self.metrics.seconds.inc_by(self.worked().as_secs_f64());
    }
}

/// Names a task that asks, also where its client goes meanwhile.
struct Asker<'a>(&'a Gate, Option<Id>);

impl<'a> Asker<'a> {
    fn new(gate: &'a Gate) -> Self {
        let task = task::try_id();
        gate.askers().extend(task);
        Asker(gate, task)
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if let Some(task) = self.1 {
            self.0.askers().remove(&task);
        }
    }
}

/// Counts one that waits, also where its client goes meanwhile.
struct Waits<'a>(&'a Metrics);

impl<'a> Waits<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.waiting.inc();
        Waits(metrics)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_fifth_query_waits_and_what_is_too_many_is_refused() {
        let gate = Gate::new(Metrics::default());
        let mut turns = Vec::new();
        for _ in 0..RUNNING {
            turns.push(gate.enter(LONGEST).await.unwrap());
        }
        assert_eq!(gate.metrics.running.get(), 4);
        let late = gate.enter(Duration::from_secs(1)).await.err();
        assert_eq!(late, Some(Refusal::Timeout("query timed out in query queue".to_owned())));
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(gate.enter(LONGEST))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        assert!(matches!(gate.enter(LONGEST).await, Err(Refusal::Unavailable(_))));
        turns.clear();
        assert!(waiting.remove(0).await.is_ok());
        drop(waiting);
        assert_eq!((gate.metrics.running.get(), gate.metrics.waiting.get()), (0, 0), "who has gone waits no more");
    }

    #[tokio::test]
    async fn a_task_is_known_while_its_query_runs_or_waits() {
        let gate = std::sync::Arc::new(Gate::new(Metrics::default()));
        let (shared, (done, end)) = (gate.clone(), tokio::sync::oneshot::channel::<()>());
        let asking = tokio::spawn(async move {
            let _turn = shared.enter(LONGEST).await.unwrap();
            end.await.unwrap();
        });
        tokio::task::yield_now().await;
        let id = asking.id();
        assert!(gate.is_asked_by(id));
        done.send(()).unwrap();
        asking.await.unwrap();
        assert!(!gate.is_asked_by(id) && gate.askers().is_empty());
    }

    #[tokio::test]
    async fn an_answer_that_grows_too_long_is_refused_and_counted() {
        let gate = Gate::new(Metrics::default());
        let mut turn = gate.enter(LONGEST).await.unwrap();
        let answer = " ".repeat(ANSWER_BYTES + 1);
        assert_eq!(turn.pause_writing(&answer[1..]).await, Ok(()));
        let Err(Refusal::Execution(message)) = turn.pause_writing(&answer).await else { panic!("it is too long") };
        assert!(message.contains("32 MiB"), "{message}");
        assert_eq!(gate.metrics.refusals("limit"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_query_ends_at_its_deadline() {
        let gate = Gate::new(Metrics::default());
        let mut turn = gate.enter(Duration::from_secs(60)).await.unwrap();
        tokio::time::advance(LONGEST - Duration::from_millis(1)).await;
        assert_eq!(turn.pause().await, Ok(()));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(matches!(turn.pause().await, Err(Refusal::Timeout(_))));
    }
}
