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

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::alert::group::{self, Dispatch, Dispatcher};
use crate::alert::{Alert, AlertId, BLIND, CAUSE, Event, Resolution};
use crate::api::Liveness;
use crate::clock::{Clock, millis, wall_ms};
use crate::config::Alerting;
use crate::export::own::OwnMetrics;
use crate::notify::{Delivery, Outbox};
use crate::rule::{self, ALERT_NAME, Change, Group, Outcome, Recorded, Rule};
use crate::sample::{Labels, Sample, Timestamp};
use crate::state::{Op, State};
use crate::stop;
use crate::store::{self, SourceId, Store};
use crate::target::board::Board;

pub mod metrics;
pub mod status;
#[cfg(test)]
mod tests;
mod ticks;

use metrics::Metrics;
use ticks::{Due, Ticks};

/// How old the agent's own metrics may be when rules read them, milliseconds: groups have their ticks at different times.
const OWN_METRICS_AGE: i64 = 2_000;
/// How long the loop sleeps at most, milliseconds.
const IDLE: i64 = 60_000;
/// The longest that the first evaluation waits for the first look at every target, milliseconds.
const FIRST_LOOKS: i64 = 5_000;
/// How often it is seen whether they are done.
const BETWEEN: Duration = Duration::from_millis(20);
/// The most series that one group may write.
const MAX_GROUP_SERIES: usize = 10_000;

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
    /// The rules as the API shows them.
    pub rules: Arc<status::Rules>,
    pub external_url: String,
}

/// What the configuration says about rules and pages; replaced as a whole by a reload.
pub struct Setup {
    pub groups: Vec<Group>,
    pub watched: rule::Watched,
    pub alerting: Option<Alerting>,
    /// The default of groups that name no interval.
    pub interval: Duration,
    pub react: bool,
    /// The configuration's `labels:`, on every alert that leaves.
    pub labels: BTreeMap<String, String>,
}

/// Asks the engine to work by another setup from now on; answered when what follows from it is accepted.
pub struct Apply {
    pub setup: Setup,
    pub done: oneshot::Sender<()>,
}

/// What the run before left.
#[derive(Default)]
pub struct Kept {
    /// The names of the targets that it watched.
    pub targets: BTreeSet<String>,
    pub alerts: Vec<Alert>,
    pub groups: Vec<group::Group>,
}

pub struct Engine {
    parts: Parts,
    setup: Setup,
    /// Where what each group writes goes, in the same order.
    sources: Vec<SourceId>,
    /// What each group recorded when it was last evaluated, in the same order.
    recorded: Vec<Recorded>,
    ticks: Ticks,
    alerts: BTreeMap<AlertId, Alert>,
    /// Alerts of the run before that have not ended since: kept while their inputs are not known yet.
    restored: BTreeSet<AlertId>,
    /// Targets that were watched, and are no more.
    removed: BTreeSet<String>,
    started: Timestamp,
    /// When the agent's own metrics were last taken.
    observed_at: Option<Timestamp>,
    dispatcher: Dispatcher,
}

/// What a tick would change, before it is accepted.
#[derive(Default)]
struct Tick {
    changes: Vec<Change>,
    news: Vec<Event>,
    /// What was said before: the groups of other routes, or of another run, are to know it.
    restated: Vec<Event>,
    samples: Vec<Row>,
    /// What is sent before what the tick tells.
    deliveries: Vec<Delivery>,
    /// What else the transaction writes.
    ops: Vec<Op>,
}

/// What a group writes at a time: what it recorded, and its `ALERTS`.
struct Row {
    group: usize,
    at: Timestamp,
    samples: Vec<Sample>,
    partial: bool,
    recorded: Recorded,
}

impl Engine {
    /// Alerts and groups of the run before that rest on what is not configured any more end when the engine runs.
    pub fn new(parts: Parts, setup: Setup, kept: Kept) -> Self {
        let now = parts.clock.now();
        let alerts: BTreeMap<_, _> = kept.alerts.into_iter().map(|alert| (alert.id.clone(), alert)).collect();
        let mut store = store::lock(&parts.store);
        let sources = setup.groups.iter().map(|group| add_source(&mut store, group)).collect();
        drop(store);
        parts.rules.run(&setup.groups, setup.interval);
        Engine {
            sources,
            recorded: vec![Recorded::new(); setup.groups.len()],
            ticks: Ticks::new(&setup.groups, setup.interval, now),
            restored: alerts.keys().cloned().collect(),
            removed: kept.targets.difference(&setup.watched.names).cloned().collect(),
            started: now,
            observed_at: None,
            // Until `take_up` gives it the present routes, it only knows the groups.
            dispatcher: Dispatcher::new(None, kept.groups).0,
            parts,
            setup,
            alerts,
        }
    }

    /// Evaluates until `stop` says true.
    pub async fn run(mut self, mut reloads: mpsc::Receiver<Apply>, mut stop: watch::Receiver<bool>) {
        let board = self.parts.board.clone();
        self.take_up(Vec::new()).await;
        let mut first_looks = std::pin::pin!(first_looks(board.clone(), self.parts.clock));
        let mut begun = false;
        loop {
            let wake = self.parts.clock.instant(self.next_wake());
            let reaction = self.parts.clock.instant(self.ticks.react_from());
            // In this order: a tick after a reload sees nothing of what was removed by it, and however many verdicts
            // change, regular ticks and deadlines come first.
            tokio::select! {
                biased;
                () = stop::told(&mut stop) => return,
                Some(reload) = reloads.recv() => self.apply(reload).await,
                () = &mut first_looks, if !begun => {
                    begun = true;
                    self.ticks = Ticks::new(&self.setup.groups, self.setup.interval, self.parts.clock.now());
                }
                () = tokio::time::sleep_until(wake), if begun => self.tick(&[]).await,
                () = async { board.changed().await; tokio::time::sleep_until(reaction).await },
                    if begun && self.setup.react =>
                {
                    self.tick(&board.take_changed()).await;
                }
            }
        }
    }

    /// Works by another setup. Groups that are still there keep their results and their place in time, alerts of
    /// rules that are still there their state.
    async fn apply(&mut self, reload: Apply) {
        let now = self.parts.clock.now();
        let before = std::mem::replace(&mut self.setup, reload.setup);
        self.ticks.apply(&before.groups, &self.setup.groups, self.setup.interval, now);
        self.move_sources(&before.groups, now);
        self.parts.rules.run(&self.setup.groups, self.setup.interval);
        self.removed.extend(before.watched.names);
        self.removed.retain(|name| !self.setup.watched.names.contains(name));
        let runs: BTreeSet<_> = self.setup.groups.iter().map(group_name).collect();
        let gone = before.groups.iter().filter(|group| !runs.contains(&group_name(group)));
        gone.for_each(|group| self.parts.metrics.forget(group));
        // Here, where deliveries are prepared: none is on its way to an endpoint that has another id meanwhile.
        let receivers = self.setup.alerting.as_ref().map(|alerting| alerting.receivers.clone());
        let ops = self.parts.outbox.reload(receivers.unwrap_or_default());
        self.take_up(ops).await;
        // Whoever asked may have gone.
        let _ = reload.done.send(());
    }

    /// What groups that are gone wrote ends; new groups get a place for theirs.
    fn move_sources(&mut self, before: &[Group], now: Timestamp) {
        let mut store = store::lock(&self.parts.store);
        let places = self.sources.drain(..).zip(before.iter().zip(self.recorded.drain(..)));
        let mut known: BTreeMap<_, _> = before.iter().map(group_name).zip(places).collect();
        let place = |group| match known.remove(&group_name(group)) {
            Some((source, (before, recorded))) => (source, moved(before, group, recorded)),
            None => (add_source(&mut store, group), Recorded::new()),
        };
        (self.sources, self.recorded) = self.setup.groups.iter().map(place).unzip();
        known.into_values().for_each(|(source, _)| store.remove_source(source, now));
    }

    /// Takes up where the setup or the run before stopped: alerts whose rule or target is gone resolve, and every
    /// alert that fires stands in the groups of the present routes, under the labels that it has now. `ops` are written
    /// with it.
    async fn take_up(&mut self, mut ops: Vec<Op>) {
        let now = self.parts.clock.now();
        let groups = self.dispatcher.groups().cloned().collect();
        let (dispatcher, gone) = Dispatcher::new(self.setup.alerting.as_ref(), groups);
        self.dispatcher = dispatcher;
        for group in &gone {
            tracing::warn!(
                group,
                "its receiver is configured no longer: what is open there stays open, close it there"
            );
        }
        let (deliveries, informed) = self.parts.outbox.inform(self.dispatcher.groups(), now);
        ops.extend(informed);
        let renewed = &self.setup.watched.renewed;
        let removed = rule::resolve_removed(&self.setup.groups, &self.removed, renewed, &self.alerts, now);
        let ended: BTreeSet<&AlertId> = removed.changes.iter().map(Change::id).collect();
        let firing = self.alerts.values().filter(|alert| alert.starts_at.is_some() && !ended.contains(&alert.id));
        let restated: Vec<Event> = firing.cloned().map(Event::Fired).collect();
        let mut news = removed.events;
        let mut known: BTreeSet<AlertId> =
            restated.iter().chain(&news).map(|event| self.outward(alert_of(event)).id).collect();
        for member in self.dispatcher.groups().flat_map(|group| &group.members) {
            if member.resolved.is_none() && known.insert(member.alert.id.clone()) {
                let reason = Resolution::RuleRemoved;
                news.push(Event::Resolved { alert: member.alert.clone(), at: now, reason });
            }
        }
        ops.extend(gone.into_iter().map(Op::DeleteGroup));
        let changes = removed.changes;
        self.accept(Tick { changes, news, restated, deliveries, ops, ..Tick::default() }, now).await;
        self.parts.outbox.resume(self.dispatcher.groups());
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
        let (due, missed) = self.ticks.due(&self.setup.groups, changed, now);
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
        let shared = self.parts.store.clone();
        let mut store = store::lock(&shared);
        self.observe(&mut store, newest);
        for due in due {
            let group = &self.setup.groups[due.group];
            let began = Instant::now();
            let Some(outcome) = self.guarded_evaluation(*due, &store) else { continue };
            let took = began.elapsed();
            self.parts.metrics.evaluated(group, &outcome.errors, took);
            self.parts.rules.evaluated(due.group, group, due.at, took, &outcome.errors);
            tick.changes.extend(outcome.changes);
            tick.news.extend(outcome.events);
            let Outcome { samples, partial, recorded, .. } = outcome;
            let at = due.at - millis(self.setup.groups[due.group].query_offset.unwrap_or_default());
            tick.samples.push(Row { group: due.group, at, samples, partial, recorded });
        }
        tick
    }

    /// A group whose evaluation panics leaves its alerts as they are; the others go on.
    fn guarded_evaluation(&self, due: Due, store: &Store) -> Option<Outcome> {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.evaluate_group(due, store))).ok();
        if outcome.is_none() {
            self.parts.metrics.broken(&self.setup.groups[due.group]);
        }
        outcome
    }

    /// Brings the agent's own metrics up to date, for the rules of this tick.
    fn observe(&mut self, store: &mut Store, now: Timestamp) {
        if self.observed_at.is_some_and(|at| now - at < OWN_METRICS_AGE) {
            return;
        }
        self.observed_at = Some(now);
        let stepped = wall_ms() - self.parts.clock.now();
        self.parts.metrics.see(&self.parts.board, &self.alerts, now, stepped);
        self.parts.outbox.observe();
        self.parts.store_metrics.set(&store.counts());
        if let Err(error) = self.parts.own.collect(store, now) {
            tracing::error!(%error, "the agent's own metrics are incomplete");
        }
    }

    fn evaluate_group(&self, due: Due, store: &Store) -> Outcome {
        let Due { group: index, at } = due;
        let group = &self.setup.groups[index];
        // A tick that is late sees nothing of what has come to be known since.
        let seen_at = at - millis(group.query_offset.unwrap_or_default());
        let targets = if self.restored.is_empty() { Vec::new() } else { self.parts.board.known(seen_at) };
        let blind_until = self.started + 2 * millis(self.ticks.interval(index)) + self.parts.board.longest_timeout();
        let keep = |rule: &Rule, alert: &Alert| {
            let waits = || rule::waits_for(rule, &alert.id.labels, &targets);
            self.restored.contains(&alert.id) && if group.hold { waits() } else { at < blind_until }
        };
        let (external_labels, external_url) = (&self.setup.labels, self.parts.external_url.as_str());
        let recorded = &self.recorded[index];
        let context = rule::Context {
            external_labels,
            external_url,
            query_offset: group.query_offset.unwrap_or_default(),
            subquery_step: self.setup.interval,
            recorded,
            keep: &keep,
            removed: &self.removed,
        };
        rule::evaluate(group, &self.alerts, &store.current(), &store.held(), at, &context)
    }

    /// Accepts what a tick changes: one transaction, then memory, then the deliveries.
    async fn accept(&mut self, tick: Tick, now: Timestamp) {
        let news = tick.news.into_iter().map(|event| self.complete(event));
        let mut events: Vec<Event> = news.collect();
        let told = events.len();
        // Their groups know the cause that their page told.
        events.extend(tick.restated.iter().map(|event| with_alert(event, self.outward(alert_of(event)))));
        let full = self.parts.outbox.full();
        let mut dispatch = self.dispatcher.dispatch(&events, now, &full);
        self.tell_blindness(&mut dispatch, &tick.changes);
        if dispatch.put_off > 0 {
            self.parts.metrics.put_off.inc();
            tracing::error!(groups = dispatch.put_off, receivers = ?full, "due, and no room at the receiver: they wait");
        }
        let prepare = |notification| self.parts.outbox.prepare(notification, now);
        let mut deliveries = tick.deliveries;
        deliveries.extend(dispatch.notifications.iter().flat_map(prepare));
        let mut ops = ops(&tick.changes, &dispatch, &deliveries);
        // First: where a group that goes comes back in the same step, the later operation wins.
        ops.splice(0..0, tick.ops);
        if !ops.is_empty() && self.parts.state.commit(ops).await.is_err() {
            // Whatever broke it, the watch goes on: as on a disk that takes nothing, pages leave from memory.
            tracing::error!("the state has stopped: what is accepted is not durable, restart the agent");
        }
        events[..told].iter().for_each(log);
        self.remember(tick.changes, tick.samples);
        self.dispatcher.apply(dispatch);
        self.parts.outbox.enqueue(deliveries);
    }

    /// What is repeated of an alert says so while nobody can see whether it is over. It makes no page of its own.
    fn tell_blindness(&self, dispatch: &mut Dispatch, changes: &[Change]) {
        if dispatch.notifications.is_empty() {
            return;
        }
        let mut alerts: BTreeMap<&AlertId, &Alert> =
            self.alerts.iter().filter(|(_, alert)| alert.held_since.is_some()).collect();
        for change in changes {
            match change {
                Change::Put { alert, .. } => alerts.insert(&alert.id, alert),
                Change::Remove(id) => alerts.remove(id),
            };
        }
        let text = |alert: &&Alert| Some((self.outward(alert).id, alert.blindness()?));
        let blind: BTreeMap<AlertId, String> = alerts.values().filter_map(text).collect();
        let told = dispatch.notifications.iter_mut().flat_map(|notification| &mut notification.alerts);
        for told in told.filter(|told| told.resolved.is_none()) {
            if let Some(text) = blind.get(&told.alert.id) {
                told.alert.annotations.insert(BLIND.to_owned(), text.clone());
            }
        }
    }

    fn remember(&mut self, changes: Vec<Change>, rows: Vec<Row>) {
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
        for Row { group, at, samples, partial, recorded } in rows {
            let source = self.sources[group];
            self.recorded[group] = recorded;
            let series = |store: &mut Store, sample: Sample| {
                store.series(source, &sample.labels).ok().map(|series| (series, sample.value))
            };
            let row: Vec<_> = samples.into_iter().filter_map(|sample| series(&mut store, sample)).collect();
            store.append(source, at, !partial, &row);
        }
        drop(store);
        self.parts.published.send_replace(Arc::new(self.alerts.values().cloned().collect()));
    }

    /// An event as it leaves: the agent's labels, and for a page its cause, which only this moment knows.
    fn complete(&self, event: Event) -> Event {
        let alert = self.outward(alert_of(&event));
        match event {
            Event::Resolved { .. } => with_alert(&event, alert),
            Event::Fired(_) => Event::Fired(self.with_cause(alert)),
        }
    }

    /// An alert under the labels that it leaves with. Its own labels win.
    fn outward(&self, alert: &Alert) -> Alert {
        let mut alert = alert.clone();
        let missing = self.setup.labels.iter().filter(|(name, _)| alert.id.labels.get(name).is_empty());
        alert.id.labels = alert.id.labels.with_all(missing.map(|(name, value)| (name.as_str(), value.as_str())));
        alert
    }

    fn with_cause(&self, mut alert: Alert) -> Alert {
        if let Some(cause) = self.parts.board.cause(&alert.id.labels) {
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

fn with_alert(event: &Event, alert: Alert) -> Event {
    match event {
        Event::Fired(_) => Event::Fired(alert),
        Event::Resolved { at, reason, .. } => Event::Resolved { alert, at: *at, reason: *reason },
    }
}

/// Waits until every target has been looked at, for a while at most: until then all is absent, and what fires by
/// absence would.
async fn first_looks(board: Arc<Board>, clock: Clock) {
    let longest = FIRST_LOOKS.min(board.longest_timeout() + 1_000);
    let until = clock.instant(clock.now() + longest);
    let mut verdicts = board.subscribe();
    let done = async {
        while !board.first_pass_done() {
            // A look that changes no verdict is not told.
            drop(tokio::time::timeout(BETWEEN, verdicts.changed()).await);
        }
    };
    drop(tokio::time::timeout_at(until, done).await);
}

fn add_source(store: &mut Store, group: &Group) -> SourceId {
    store.add_source(&format!("rules {} {}", group.file, group.name), MAX_GROUP_SERIES)
}

/// What the rules of a group recorded, for the rules that it has now: they may have come, gone or changed places.
fn moved(before: &Group, group: &Group, recorded: Recorded) -> Recorded {
    let mut known: BTreeMap<&str, _> = before.rules.iter().map(|rule| &*rule.id).zip(recorded).collect();
    group.rules.iter().map(|rule| known.remove(&*rule.id).unwrap_or_default()).collect()
}

fn group_name(group: &Group) -> (&str, &str) {
    (&group.file, &group.name)
}

fn log(event: &Event) {
    let alert = alert_of(event);
    let (name, labels) = (alert.id.labels.get(ALERT_NAME), alert.id.labels.to_string());
    match event {
        Event::Fired(_) => {
            let cause = alert.annotations.get(CAUSE).map(String::as_str);
            tracing::warn!(alert = name, labels, cause, value = alert.value, "alert firing");
        }
        Event::Resolved { reason, .. } => {
            tracing::warn!(alert = name, labels, reason = reason.name(), "alert resolved");
        }
    }
}
