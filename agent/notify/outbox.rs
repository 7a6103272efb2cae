//! The outbox: accepts, attempts, acknowledges. The order is [`Queue`]'s; this is the thin loop around it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;

use crate::alert::group::{Group, Notification};
use crate::clock::{Clock, wall_ms};
use crate::notify::judge::Judgement;
use crate::notify::metrics::{self, Metrics};
use crate::notify::queue::{Destination, Limits, Outcome, Queue, Work};
use crate::notify::send::{self, Send};
use crate::notify::{Delivery, Message, Receiver, Refused, kind_of};
use crate::sample::Timestamp;
use crate::state::{Op, State};

/// The row that keeps which endpoints have been told what fires, over restarts.
const ENDPOINTS: &str = "endpoints";

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
    /// The last attempt at one of its endpoints failed, or one is disabled.
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
    /// The endpoints that know what fires; `None`: those of the first configuration do.
    informed: Mutex<Option<BTreeSet<Destination>>>,
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
            informed: Mutex::default(),
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

    /// Takes over other receivers. As [`Outbox::start`], the operations are to be committed. [`Outbox::resume`] next.
    pub fn reload(&self, receivers: Vec<Receiver>) -> Vec<Op> {
        let (ops, abandoned) = self.shared.queue().configure(&receivers, self.shared.clock.now());
        for delivery in &abandoned {
            self.shared.metrics.abandoned.get_or_create_owned(&metrics::of(&delivery.receiver)).inc();
            let Delivery { receiver, key, id, .. } = delivery;
            let kind = kind_of(&delivery.endpoint);
            tracing::warn!(%receiver, kind, %key, webhook_id = %id, "not delivered: its receiver is no longer configured");
        }
        *self.shared.receivers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(receivers);
        self.shared.wake.notify_one();
        ops
    }

    /// The receivers that may be told nothing more for now: their groups stay due until there is room again.
    pub fn full(&self) -> BTreeSet<String> {
        self.shared.queue().full()
    }

    /// Learns from the small rows that the run before left which endpoints knew then what fires.
    pub fn recall(&self, meta: &BTreeMap<String, String>) {
        let known = meta.get(ENDPOINTS).and_then(|text| serde_json::from_str(text).ok());
        *self.shared.informed() = known;
    }

    /// What endpoints that are new at their receiver must hear first: everything that fires, so that none hears a
    /// resolve without its page. Called after a start or a reload, with the groups as they were told until then;
    /// commit the operations with the deliveries, then give these to [`Outbox::enqueue`], before anything later.
    pub fn inform<'a>(&self, groups: impl Iterator<Item = &'a Group>, now: Timestamp) -> (Vec<Delivery>, Vec<Op>) {
        let receivers = self.shared.receivers();
        let present: BTreeSet<Destination> = receivers.iter().flat_map(destinations).collect();
        let known = self.shared.informed().clone();
        if present.is_empty() || known.as_ref() == Some(&present) {
            return (Vec::new(), Vec::new());
        }
        let Ok(value) = serde_json::to_string(&present) else { return (Vec::new(), Vec::new()) };
        let new: BTreeSet<Destination> = known.map_or_else(BTreeSet::new, |known| &present - &known);
        let told = groups.filter_map(Group::told).map(anew);
        let deliveries = told
            .flat_map(|told| {
                self.prepare_for(&told, now, |to, key| new.contains(to) && !self.shared.queue().will_tell(to, key))
            })
            .collect();
        *self.shared.informed() = Some(present);
        (deliveries, vec![Op::PutMeta { name: ENDPOINTS.to_owned(), value }])
    }

    /// Takes up what fires: endpoints that are reminded of it learn what they may have forgotten. Call it after a
    /// start or a reload, with every group.
    pub fn resume<'a>(&self, groups: impl Iterator<Item = &'a Group>) {
        let (receivers, now) = (self.shared.receivers(), self.shared.clock.now());
        for told in groups.filter_map(Group::told) {
            let receiver = receivers.iter().find(|receiver| receiver.name == told.receiver);
            for endpoint in receiver.map_or(&[][..], |receiver| &receiver.endpoints) {
                if endpoint.settings.manner().reminds {
                    for message in endpoint.settings.messages(&told, &self.shared.external_url) {
                        self.shared.queue().resume(&told.receiver, &endpoint.id, &message.payload, now);
                    }
                }
            }
        }
        self.shared.wake.notify_one();
    }

    /// Freezes a notification into deliveries: one for each message to each endpoint of its receiver. Commit them
    /// with [`Op::PutDelivery`], then give them to [`Outbox::enqueue`].
    pub fn prepare(&self, notification: &Notification, now: Timestamp) -> Vec<Delivery> {
        self.prepare_for(notification, now, |_, _| true)
    }

    /// The same, for destinations and deduplication keys that are `wanted`.
    fn prepare_for(
        &self,
        notification: &Notification,
        now: Timestamp,
        wanted: impl Fn(&Destination, &str) -> bool,
    ) -> Vec<Delivery> {
        let receivers = self.shared.receivers();
        let receiver = receivers.iter().find(|receiver| receiver.name == notification.receiver);
        let mut deliveries: Vec<Delivery> = Vec::new();
        for endpoint in receiver.map_or(&[][..], |receiver| &receiver.endpoints) {
            let destination = (notification.receiver.clone(), endpoint.id.clone());
            let messages = endpoint.settings.messages(notification, &self.shared.external_url);
            for message in messages.into_iter().filter(|message| wanted(&destination, &message.key)) {
                let seq = self.shared.queue().take_seq();
                let first = deliveries.first().map(|first| first.id.clone());
                let id = first.unwrap_or_else(|| format!("msg_{:016x}{seq:x}", self.shared.origin));
                deliveries.push(delivery(&notification.receiver, &endpoint.id, message, seq, id, now));
            }
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

fn destinations(receiver: &Receiver) -> impl Iterator<Item = Destination> {
    receiver.endpoints.iter().map(|endpoint| (receiver.name.clone(), endpoint.id.clone()))
}

/// As it is told to who knows nothing of it.
fn anew(mut told: Notification) -> Notification {
    (told.first, told.news) = (true, true);
    told.alerts.iter_mut().for_each(|alert| (alert.first, alert.news) = (true, true));
    told
}

/// A delivery that was never attempted.
pub fn delivery(receiver: &str, endpoint: &str, message: Message, seq: i64, id: String, now: Timestamp) -> Delivery {
    let Message { key, first, resolve, payload } = message;
    Delivery {
        seq,
        receiver: receiver.to_owned(),
        endpoint: endpoint.to_owned(),
        key,
        id,
        first,
        resolve,
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

    fn informed(&self) -> MutexGuard<'_, Option<BTreeSet<Destination>>> {
        self.informed.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (Work::Attempt(delivery) | Work::Abandon(delivery) | Work::Overtake(delivery) | Work::Remind(delivery)) =
            &work;
        let delivery = delivery.clone();
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
        Work::Overtake(delivery) => (delivery, Outcome::Overtaken),
        Work::Remind(delivery) => return remind(shared, delivery).await,
        Work::Attempt(delivery) => {
            let judgement = attempt(&shared, &delivery).await;
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

/// Nothing of a reminder is kept: the next one says it anew.
async fn remind(shared: Arc<Shared>, delivery: Delivery) {
    let judgement = attempt(&shared, &delivery).await;
    let (receiver, kind) = (&delivery.receiver, kind_of(&delivery.endpoint));
    let (outcome, error) = match &judgement {
        Judgement::Done => ("done", None),
        Judgement::Retry { reason, .. } => ("retry", Some(reason)),
        Judgement::GiveUp { reason } => ("given_up", Some(reason)),
        Judgement::Disable { reason } => ("disabled", Some(reason)),
    };
    shared.metrics.reminded(receiver, outcome);
    if let Some(error) = error {
        tracing::warn!(%receiver, kind, %error, "not reminded of what fires, tried again");
    }
    shared.queue().finish(&delivery, &Outcome::Judged(judgement), shared.clock.now());
}

async fn attempt(shared: &Shared, delivery: &Delivery) -> Judgement {
    let receivers = shared.receivers();
    let receiver = receivers.iter().find(|receiver| receiver.name == delivery.receiver);
    let mut endpoints = receiver.map_or(&[][..], |receiver| &receiver.endpoints).iter();
    let Some(endpoint) = endpoints.find(|endpoint| endpoint.id == delivery.endpoint) else {
        return Judgement::Retry { after: None, reason: "its receiver is no longer configured".to_owned() };
    };
    let answer = match endpoint.settings.request(delivery, wall_ms()) {
        Ok(request) => send::ask(&shared.send, request).await,
        Err(reason) => Err(reason),
    };
    endpoint.settings.judge(&answer, wall_ms())
}

/// Logs and counts an outcome.
fn note(shared: &Shared, delivery: &Delivery, outcome: &Outcome) {
    let Delivery { receiver, key, id, .. } = delivery;
    let kind = kind_of(&delivery.endpoint);
    let attempt = delivery.attempts.saturating_add(1);
    match outcome {
        Outcome::Judged(Judgement::Done) => {
            shared.metrics.attempted(receiver, "done");
            tracing::info!(%receiver, kind, %key, webhook_id = %id, attempt, "delivered");
        }
        Outcome::Judged(Judgement::Retry { reason, .. }) => {
            shared.metrics.attempted(receiver, "retry");
            tracing::warn!(%receiver, kind, %key, webhook_id = %id, attempt, error = %reason, "not delivered, tried again");
        }
        Outcome::Judged(Judgement::GiveUp { reason }) => {
            shared.metrics.attempted(receiver, "given_up");
            shared.metrics.given_up.get_or_create_owned(&metrics::of(receiver)).inc();
            tracing::error!(%receiver, kind, %key, webhook_id = %id, attempt, error = %reason, "refused for good, given up");
        }
        Outcome::Judged(Judgement::Disable { reason }) => {
            shared.metrics.attempted(receiver, "disabled");
            tracing::error!(
                %receiver, kind, %key, webhook_id = %id, attempt, error = %reason,
                "the receiver wants nothing any more: it is disabled until the next reload or start"
            );
        }
        Outcome::Abandoned => {
            shared.metrics.abandoned.get_or_create_owned(&metrics::of(receiver)).inc();
            tracing::warn!(%receiver, kind, %key, webhook_id = %id, "the resolve of a refused page is not sent");
        }
        Outcome::Overtaken => {
            shared.metrics.abandoned.get_or_create_owned(&metrics::of(receiver)).inc();
            tracing::warn!(%receiver, kind, %key, webhook_id = %id, "not delivered for so long that reminders say it");
        }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
