//! The loop between store and outbox: it evaluates rules on aligned ticks and when a verdict changes, and accepts
//! what comes of it. It owns the alerts and their groups; nothing else moves them.
//!
//! Accepted means committed: what a tick changes is computed aside, written in one transaction, and only then
//! becomes what memory holds. Groups whose receiver has no room left in the outbox stay due, and are told at the first
//! tick that finds some.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::alert::group::{Dispatch, Dispatcher};
use crate::alert::{Alert, AlertId, CAUSE, Event, Resolution};
use crate::api::Liveness;
use crate::clock::{Clock, millis};
use crate::export::own::OwnMetrics;
use crate::notify::{Delivery, Outbox};
use crate::rule::{self, ALERT_NAME, Change, Group, Outcome, Rule};
use crate::sample::{Labels, Sample, Timestamp};
use crate::state::{Op, State};
use crate::stop;
use crate::store::{self, SourceId, Store};
use crate::target::board::Board;

pub mod metrics;
#[cfg(test)]
mod tests;
mod ticks;

use metrics::Metrics;
use ticks::{Due, Ticks};

/// How long the loop sleeps at most, milliseconds.
const IDLE: i64 = 60_000;
/// The most series that one group's `ALERTS` may have.
const MAX_ALERT_SERIES: usize = 10_000;

/// What the engine works with; made by `app`.
pub struct Parts {
    pub clock: Clock,
    pub store: Arc<Mutex<Store>>,
    pub board: Arc<Board>,
    pub state: State,
    pub outbox: Outbox,
    pub own: OwnMetrics,
    pub metrics: Metrics,
    pub store_metrics: store::Metrics,
    pub liveness: Arc<Liveness>,
    /// The alerts as the API shows them.
    pub published: watch::Sender<Arc<Vec<Alert>>>,
    /// The default of groups that name no interval.
    pub interval: Duration,
    pub react: bool,
    /// The configuration's `labels:`, on every alert that leaves.
    pub labels: BTreeMap<String, String>,
    pub external_url: String,
}

pub struct Engine {
    parts: Parts,
    groups: Vec<Group>,
    /// Where the `ALERTS` of each group go, in the same order.
    sources: Vec<SourceId>,
    ticks: Ticks,
    /// The names of what is watched.
    watched: BTreeSet<String>,
    alerts: BTreeMap<AlertId, Alert>,
    /// Alerts of the run before that have not ended since: kept while their inputs are not known yet.
    restored: BTreeSet<AlertId>,
    started: Timestamp,
    dispatcher: Dispatcher,
}

/// What a tick would change, before it is accepted.
#[derive(Default)]
struct Tick {
    changes: Vec<Change>,
    events: Vec<Event>,
    samples: Vec<Row>,
}

/// What a group's `ALERTS` are at a time.
struct Row {
    source: SourceId,
    at: Timestamp,
    samples: Vec<Sample>,
}

impl Engine {
    /// `alerts` are those restored from the state. Those of rules and targets (`watched`) that are gone resolve at once.
    pub fn new(
        parts: Parts,
        groups: Vec<Group>,
        watched: BTreeSet<String>,
        alerts: Vec<Alert>,
        dispatcher: Dispatcher,
    ) -> Self {
        let now = parts.clock.now();
        let source = |group: &Group| {
            let name = format!("rules {} {}", group.file, group.name);
            store::lock(&parts.store).add_source(&name, MAX_ALERT_SERIES)
        };
        let alerts: BTreeMap<_, _> = alerts.into_iter().map(|alert| (alert.id.clone(), alert)).collect();
        Engine {
            sources: groups.iter().map(source).collect(),
            ticks: Ticks::new(&groups, parts.interval, now),
            restored: alerts.keys().cloned().collect(),
            started: now,
            parts,
            groups,
            watched,
            alerts,
            dispatcher,
        }
    }

    /// Evaluates until `stop` says true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let board = self.parts.board.clone();
        self.take_up().await;
        loop {
            let wake = self.parts.clock.instant(self.next_wake());
            let reaction = self.parts.clock.instant(self.ticks.react_from());
            // In this order: however many verdicts change, regular ticks and deadlines come first.
            tokio::select! {
                biased;
                () = stop::told(&mut stop) => return,
                () = tokio::time::sleep_until(wake) => self.tick(&[]).await,
                () = async { board.changed().await; tokio::time::sleep_until(reaction).await }, if self.parts.react => {
                    self.tick(&board.take_changed()).await;
                }
            }
        }
    }

    /// Takes up where the run before stopped: alerts whose rule or target is gone resolve, and every alert that fires
    /// stands in the groups of the present routes, under the labels that it has now.
    async fn take_up(&mut self) {
        let now = self.parts.clock.now();
        let removed = rule::resolve_removed(&self.groups, &self.watched, &self.alerts, now);
        let mut tick = Tick { changes: removed.changes, events: removed.events, samples: Vec::new() };
        let gone: BTreeSet<&AlertId> = tick.changes.iter().map(Change::id).collect();
        let firing = self.alerts.values().filter(|alert| alert.starts_at.is_some() && !gone.contains(&alert.id));
        let fired: Vec<Event> = firing.cloned().map(Event::Fired).collect();
        let mut known: BTreeSet<AlertId> =
            fired.iter().chain(&tick.events).map(|event| self.outward(alert_of(event)).id).collect();
        tick.events.extend(fired);
        for member in self.dispatcher.groups().flat_map(|group| &group.members) {
            if member.resolved.is_none() && known.insert(member.alert.id.clone()) {
                let reason = Resolution::RuleRemoved;
                tick.events.push(Event::Resolved { alert: member.alert.clone(), at: now, reason });
            }
        }
        self.accept(tick, now).await;
    }

    fn next_wake(&self) -> Timestamp {
        let idle = self.parts.clock.now() + IDLE;
        let flush = self.dispatcher.next_deadline(&self.parts.outbox.full());
        self.ticks.next().into_iter().chain(flush).fold(idle, Timestamp::min)
    }

    /// One tick: the groups that are due, and those that read a target whose verdict has changed.
    async fn tick(&mut self, changed: &[Labels]) {
        let now = self.parts.clock.now();
        self.parts.liveness.tick(now);
        let began = Instant::now();
        let (due, missed) = self.ticks.due(&self.groups, changed, now);
        let tick = self.evaluate(&due);
        let work = began.elapsed();
        self.parts.metrics.missed.inc_by(missed);
        self.parts.metrics.reactions.inc_by(u64::from(!changed.is_empty()));
        self.accept(tick, now).await;
        self.ticks.ended(self.parts.clock.now(), work);
    }

    fn evaluate(&mut self, due: &[Due]) -> Tick {
        let mut tick = Tick::default();
        let Some(newest) = due.iter().map(|due| due.at).max() else { return tick };
        let targets = self.parts.board.known();
        let shared = self.parts.store.clone();
        let mut store = store::lock(&shared);
        self.observe(&mut store, newest);
        for due in due {
            let group = &self.groups[due.group];
            let began = Instant::now();
            let Some(outcome) = self.guarded_evaluation(*due, &store, &targets) else { continue };
            self.parts.metrics.evaluated(group, &outcome.errors, began.elapsed());
            tick.changes.extend(outcome.changes);
            tick.events.extend(outcome.events);
            tick.samples.push(Row { source: self.sources[due.group], at: due.at, samples: outcome.samples });
        }
        tick
    }

    /// A group whose evaluation panics leaves its alerts as they are; the others go on.
    fn guarded_evaluation(&self, due: Due, store: &Store, targets: &[(Labels, bool)]) -> Option<Outcome> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.evaluate_group(due, store, targets))).ok();
        if outcome.is_none() {
            self.parts.metrics.broken(&self.groups[due.group]);
        }
        outcome
    }

    /// Brings the agent's own metrics up to date, for the rules of this tick.
    fn observe(&mut self, store: &mut Store, now: Timestamp) {
        self.parts.metrics.see(&self.parts.board, &self.alerts);
        self.parts.outbox.observe();
        self.parts.store_metrics.set(&store.counts());
        if let Err(error) = self.parts.own.collect(store, now) {
            tracing::error!(%error, "the agent's own metrics are incomplete");
        }
    }

    fn evaluate_group(&self, due: Due, store: &Store, targets: &[(Labels, bool)]) -> Outcome {
        let Due { group: index, at } = due;
        let group = &self.groups[index];
        let blind_until = self.started + 2 * millis(self.ticks.interval(index)) + self.parts.board.longest_timeout();
        let keep = |rule: &Rule, alert: &Alert| {
            let waits = || rule::waits_for(rule, &alert.id.labels, targets);
            self.restored.contains(&alert.id) && if group.hold { waits() } else { at < blind_until }
        };
        let (external_labels, external_url) = (&self.parts.labels, self.parts.external_url.as_str());
        let context = rule::Context { external_labels, external_url, keep: &keep };
        rule::evaluate(group, &self.alerts, &store.current(), &store.held(), at, &context)
    }

    /// Accepts what a tick changes: one transaction, then memory, then the deliveries.
    async fn accept(&mut self, tick: Tick, now: Timestamp) {
        let events: Vec<Event> = tick.events.into_iter().map(|event| self.complete(event)).collect();
        let full = self.parts.outbox.full();
        let dispatch = self.dispatcher.dispatch(&events, now, &full);
        if dispatch.put_off > 0 {
            self.parts.metrics.put_off.inc();
            tracing::error!(groups = dispatch.put_off, receivers = ?full, "due, and no room at the receiver: they wait");
        }
        let prepare = |notification| self.parts.outbox.prepare(notification, now);
        let deliveries: Vec<Delivery> = dispatch.notifications.iter().flat_map(prepare).collect();
        let ops = ops(&tick.changes, &dispatch, &deliveries);
        if !ops.is_empty() && self.parts.state.commit(ops).await.is_err() {
            // Whatever broke it, the watch goes on: as on a disk that takes nothing, pages leave from memory.
            tracing::error!("the state has stopped: what is accepted is not durable, restart the agent");
        }
        events.iter().filter(|event| !self.is_restored(event)).for_each(log);
        self.apply(tick.changes, tick.samples);
        self.dispatcher.apply(dispatch);
        self.parts.outbox.enqueue(deliveries);
    }

    /// Whether an event says again what the run before has said.
    fn is_restored(&self, event: &Event) -> bool {
        matches!(event, Event::Fired(alert) if alert.starts_at.is_some_and(|at| at < self.started))
    }

    fn apply(&mut self, changes: Vec<Change>, rows: Vec<Row>) {
        for change in changes {
            match change {
                Change::Put { alert, .. } => {
                    self.alerts.insert(alert.id.clone(), alert);
                }
                Change::Remove(id) => {
                    self.restored.remove(&id);
                    self.alerts.remove(&id);
                }
            }
        }
        let mut store = store::lock(&self.parts.store);
        for Row { source, at, samples } in rows {
            let series = |store: &mut Store, sample: Sample| {
                store.series(source, &sample.labels).ok().map(|series| (series, sample.value))
            };
            let row: Vec<_> = samples.into_iter().filter_map(|sample| series(&mut store, sample)).collect();
            store.append(source, at, true, &row);
        }
        drop(store);
        self.parts.published.send_replace(Arc::new(self.alerts.values().cloned().collect()));
    }

    /// An event as it leaves: the agent's labels, and for a page its cause, which only this moment knows.
    fn complete(&self, event: Event) -> Event {
        let alert = self.outward(alert_of(&event));
        match event {
            Event::Resolved { at, reason, .. } => Event::Resolved { alert, at, reason },
            // Its group knows the cause that its page told.
            Event::Fired(_) if self.is_restored(&event) => Event::Fired(alert),
            Event::Fired(_) => Event::Fired(self.with_cause(alert)),
        }
    }

    /// An alert under the labels that it leaves with. Its own labels win.
    fn outward(&self, alert: &Alert) -> Alert {
        let mut alert = alert.clone();
        let missing = self.parts.labels.iter().filter(|(name, _)| alert.id.labels.get(name).is_empty());
        alert.id.labels = alert.id.labels.with_all(missing.map(|(name, value)| (name.as_str(), value.as_str())));
        alert
    }

    fn with_cause(&self, mut alert: Alert) -> Alert {
        if let Some(cause) = self.parts.board.cause(alert.id.labels.get("target")) {
            alert.annotations.entry(CAUSE.to_owned()).or_insert(cause);
        }
        alert
    }
}

/// What the transaction writes: nothing while nothing of consequence has changed.
fn ops(changes: &[Change], dispatch: &Dispatch, deliveries: &[Delivery]) -> Vec<Op> {
    let mut ops = Vec::new();
    for change in changes {
        match change {
            Change::Put { alert, durable: true } => ops.push(Op::PutAlert(alert.clone())),
            Change::Put { durable: false, .. } => {}
            Change::Remove(id) => ops.push(Op::DeleteAlert(id.clone())),
        }
    }
    let group = |(key, group): (&String, &Option<_>)| match group {
        Some(group) => Op::PutGroup(Clone::clone(group)),
        None => Op::DeleteGroup(key.clone()),
    };
    ops.extend(dispatch.groups.iter().map(group));
    ops.extend(deliveries.iter().cloned().map(Op::PutDelivery));
    ops
}

fn alert_of(event: &Event) -> &Alert {
    let (Event::Fired(alert) | Event::Resolved { alert, .. }) = event;
    alert
}

fn log(event: &Event) {
    let alert = alert_of(event);
    let (name, labels) = (alert.id.labels.get(ALERT_NAME), alert.id.labels.to_string());
    match event {
        Event::Fired(_) => {
            let cause = alert.annotations.get(CAUSE).map(String::as_str);
            tracing::warn!(alert = name, labels, cause, value = alert.value, "alert firing");
        }
        Event::Resolved { reason, .. } => tracing::warn!(alert = name, labels, ?reason, "alert resolved"),
    }
}
