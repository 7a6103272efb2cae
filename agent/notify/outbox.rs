//! The outbox: accepts, attempts, acknowledges. The order is [`Queue`]'s; this is the thin loop around it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::alert::group::Notification;
use crate::clock::{Clock, wall_ms};
use crate::notify::judge::{Answer, Judgement, judge};
use crate::notify::metrics::{self, Metrics};
use crate::notify::payload::{is_resolved, payload};
use crate::notify::queue::{Limits, Outcome, Queue, Work};
use crate::notify::webhook::{self, Send};
use crate::notify::{Delivery, Receiver, Refused};
use crate::sample::Timestamp;
use crate::state::{Op, State};

/// What the outbox stands on.
pub struct Parts {
    pub receivers: Vec<Receiver>,
    /// Where people find this agent: in every payload.
    pub external_url: String,
    pub limits: Limits,
    pub send: Send,
    pub state: State,
    pub clock: Clock,
    pub metrics: Metrics,
}

/// How one receiver is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverStatus {
    pub receiver: String,
    pub depth: usize,
    /// It has used up its share of the outbox.
    pub full: bool,
    pub oldest_accepted_at: Option<Timestamp>,
    /// The last attempt at one of its webhooks failed, or one is disabled.
    pub failing: bool,
    pub disabled: bool,
    pub refused_keys: usize,
    /// When and why an attempt last failed; it stays after a success.
    pub last_error: Option<(Timestamp, String)>,
}

/// A handle to the deliveries and the task that sends them.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Instant>>,
}

struct Shared {
    queue: Mutex<Queue>,
    receivers: Mutex<Arc<Vec<Receiver>>>,
    /// Something may be started that could not be before.
    wake: Notify,
    external_url: String,
    /// Tells the ids of this process from those of any other.
    origin: u64,
    send: Send,
    state: State,
    clock: Clock,
    metrics: Metrics,
}

impl Outbox {
    /// Starts sending what an earlier run left. The operations forget what waits for receivers that are configured
    /// no longer: commit them.
    pub fn start(parts: Parts, deliveries: Vec<Delivery>, refused: Vec<Refused>) -> (Self, Vec<Op>) {
        let queue = Queue::new(parts.limits, deliveries, refused, fastrand::u64(..));
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            receivers: Mutex::default(),
            wake: Notify::new(),
            external_url: parts.external_url,
            origin: fastrand::u64(..),
            send: parts.send,
            state: parts.state,
            clock: parts.clock,
            metrics: parts.metrics,
        });
        let (stop, stopped) = watch::channel(None);
        let outbox = Outbox { shared: Arc::clone(&shared), stop };
        let ops = outbox.reload(parts.receivers);
        tokio::spawn(drive(shared, stopped));
        (outbox, ops)
    }

    /// Takes over other receivers. As [`Outbox::start`], the operations are to be committed.
    pub fn reload(&self, receivers: Vec<Receiver>) -> Vec<Op> {
        let (ops, abandoned) = self.shared.queue().configure(&receivers);
        for delivery in &abandoned {
            self.shared.metrics.abandoned.get_or_create_owned(&metrics::of(&delivery.receiver)).inc();
            let Delivery { receiver, key, id, .. } = delivery;
            tracing::warn!(%receiver, %key, webhook_id = %id, "not delivered: its receiver is no longer configured");
        }
        *self.shared.receivers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(receivers);
        self.shared.wake.notify_one();
        ops
    }

    /// The receivers that may be told nothing more for now: their groups stay due until there is room again.
    pub fn full(&self) -> BTreeSet<String> {
        self.shared.queue().full()
    }

    /// Freezes a notification into deliveries: one for each webhook of its receiver. Commit them with
    /// [`Op::PutDelivery`], then give them to [`Outbox::enqueue`].
    pub fn prepare(&self, notification: &Notification, now: Timestamp) -> Vec<Delivery> {
        let receivers = self.shared.receivers();
        let receiver = receivers.iter().find(|receiver| receiver.name == notification.receiver);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for (webhook, settings) in (0..).zip(receiver.map_or(&[][..], |receiver| &receiver.webhooks)) {
            let url = &self.shared.external_url;
            let Some(payload) = payload(notification, settings.send_resolved, settings.max_alerts, url) else {
                continue;
            };
            let seq = self.shared.queue().take_seq();
            let first = deliveries.first().map(|first| first.id.clone());
            let id = first.unwrap_or_else(|| format!("msg_{:016x}{seq:x}", self.shared.origin));
            deliveries.push(delivery(notification, webhook, seq, id, payload, now));
        }
        deliveries
    }

    /// Takes in what is committed.
    pub fn enqueue(&self, deliveries: Vec<Delivery>) {
        if !deliveries.is_empty() {
            self.shared.queue().enqueue(deliveries, self.shared.clock.now());
            self.shared.wake.notify_one();
        }
    }

    /// How every receiver is doing, by name.
    pub fn status(&self) -> Vec<ReceiverStatus> {
        let queue = self.shared.queue();
        queue.receivers().iter().map(|receiver| status(&queue, receiver)).collect()
    }

    /// Sets the gauges to what is true now. Call it before the metrics are read.
    pub fn observe(&self) {
        self.shared.metrics.show(&self.status(), self.shared.clock.now());
    }

    /// Resolves when nothing is sent any more: it was stopped, or it broke.
    pub async fn ended(&self) {
        self.stop.closed().await;
    }

    /// Begins nothing new, waits for what is under way at most until `deadline`, and returns. What is not delivered
    /// stays in the state for the next start.
    pub async fn stop(&self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        self.stop.closed().await;
    }
}

/// A delivery that was never attempted.
pub fn delivery(
    notification: &Notification,
    webhook: u32,
    seq: i64,
    id: String,
    payload: Bytes,
    now: Timestamp,
) -> Delivery {
    Delivery {
        seq,
        receiver: notification.receiver.clone(),
        webhook,
        key: notification.key.clone(),
        id,
        first: notification.first,
        resolve: is_resolved(notification),
        accepted_at: now,
        attempts: 0,
        last_error: None,
        payload,
    }
}

fn status(queue: &Queue, receiver: &str) -> ReceiverStatus {
    let lanes = || queue.lanes_of(receiver);
    ReceiverStatus {
        receiver: receiver.to_owned(),
        depth: lanes().map(|lane| lane.depth()).sum(),
        full: queue.is_full(receiver),
        oldest_accepted_at: lanes().filter_map(|lane| lane.oldest_accepted_at()).min(),
        failing: lanes().any(|lane| lane.is_failing()),
        disabled: lanes().any(|lane| lane.disabled),
        refused_keys: lanes().map(|lane| lane.refused_keys()).sum(),
        last_error: lanes().filter_map(|lane| lane.last_error.clone()).max(),
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receivers(&self) -> Arc<Vec<Receiver>> {
        Arc::clone(&self.receivers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The task: begins what may begin, until it is told to stop.
async fn drive(shared: Arc<Shared>, mut stop: watch::Receiver<Option<Instant>>) {
    let mut running = Running::default();
    let deadline = loop {
        let now = shared.clock.now();
        let work = shared.queue().start(now);
        for work in work {
            running.begin(&shared, work);
        }
        let pause = shared.queue().next_deadline(now).map(|at| Duration::from_millis((at - now).max(1).unsigned_abs()));
        tokio::select! {
            () = shared.wake.notified() => {}
            () = running.ended(&shared) => {}
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {}
            changed = stop.changed() => match (changed, *stop.borrow()) {
                (Ok(()), Some(deadline)) => break deadline,
                (Ok(()), None) => {}
                (Err(_), _) => return,
            },
        }
    };
    let all = async {
        while !running.attempts.is_empty() {
            running.ended(&shared).await;
        }
    };
    // What is not answered by then stays accepted.
    let _ = tokio::time::timeout_at(deadline, all).await;
}

/// The attempts under way.
#[derive(Default)]
struct Running {
    attempts: JoinSet<()>,
    deliveries: HashMap<Id, Delivery>,
}

impl Running {
    fn begin(&mut self, shared: &Arc<Shared>, work: Work) {
        let delivery = match &work {
            Work::Attempt(delivery) | Work::Abandon(delivery) => delivery.clone(),
        };
        let handle = self.attempts.spawn(carry_out(Arc::clone(shared), work));
        self.deliveries.insert(handle.id(), delivery);
    }

    /// Waits until one has ended. One that panicked is a failed attempt.
    async fn ended(&mut self, shared: &Shared) {
        match self.attempts.join_next_with_id().await {
            Some(Ok((id, ()))) => {
                self.deliveries.remove(&id);
            }
            Some(Err(error)) => {
                let Some(delivery) = self.deliveries.remove(&error.id()) else { return };
                let reason = "the attempt broke: this is a defect of the agent".to_owned();
                let outcome = Outcome::Judged(Judgement::Retry { after: None, reason });
                shared.queue().finish(&delivery, &outcome, shared.clock.now());
            }
            None => std::future::pending().await,
        }
    }
}

/// One attempt, from the request to the committed outcome. When the agent is killed between the receiver's answer
/// and the commit, the same `webhook-id` is sent again: the receiver tells them apart by it.
async fn carry_out(shared: Arc<Shared>, work: Work) {
    let (delivery, outcome) = match work {
        Work::Abandon(delivery) => (delivery, Outcome::Abandoned),
        Work::Attempt(delivery) => {
            let answer = attempt(&shared, &delivery).await;
            let judgement = judge(&answer, wall_ms());
            (delivery, Outcome::Judged(judgement))
        }
    };
    note(&shared, &delivery, &outcome);
    let now = shared.clock.now();
    let ops = shared.queue().settle(&delivery, &outcome, now);
    if !ops.is_empty() {
        // Not durable is kept by the state; closed means that the next start sends it again.
        let _ = shared.state.commit(ops).await;
    }
    shared.queue().finish(&delivery, &outcome, now);
}

async fn attempt(shared: &Shared, delivery: &Delivery) -> Result<Answer, String> {
    let receivers = shared.receivers();
    let receiver = receivers.iter().find(|receiver| receiver.name == delivery.receiver);
    let place = usize::try_from(delivery.webhook).unwrap_or(usize::MAX);
    let settings = receiver.and_then(|receiver| receiver.webhooks.get(place));
    let settings = settings.ok_or("its receiver is no longer configured")?;
    let request = webhook::request(settings, delivery, wall_ms())?;
    let answer = crate::net::within(request.timeout, (shared.send)(request)).await;
    answer.unwrap_or_else(|failure| Err(failure.to_string()))
}

/// Logs and counts an outcome.
fn note(shared: &Shared, delivery: &Delivery, outcome: &Outcome) {
    let Delivery { receiver, key, id, .. } = delivery;
    let attempt = delivery.attempts.saturating_add(1);
    match outcome {
        Outcome::Judged(Judgement::Done) => {
            shared.metrics.attempted(receiver, "done");
            tracing::info!(%receiver, %key, webhook_id = %id, attempt, "delivered");
        }
        Outcome::Judged(Judgement::Retry { reason, .. }) => {
            shared.metrics.attempted(receiver, "retry");
            tracing::warn!(%receiver, %key, webhook_id = %id, attempt, error = %reason, "not delivered, tried again");
        }
        Outcome::Judged(Judgement::GiveUp { reason }) => {
            shared.metrics.attempted(receiver, "given_up");
            shared.metrics.given_up.get_or_create_owned(&metrics::of(receiver)).inc();
            tracing::error!(%receiver, %key, webhook_id = %id, attempt, error = %reason, "refused for good, given up");
        }
        Outcome::Judged(Judgement::Disable { reason }) => {
            shared.metrics.attempted(receiver, "disabled");
            tracing::error!(
                %receiver, %key, webhook_id = %id, attempt, error = %reason,
                "the receiver wants nothing any more: it is disabled until the next start"
            );
        }
        Outcome::Abandoned => {
            shared.metrics.abandoned.get_or_create_owned(&metrics::of(receiver)).inc();
            tracing::warn!(%receiver, %key, webhook_id = %id, "the resolve of a refused page is not sent");
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
