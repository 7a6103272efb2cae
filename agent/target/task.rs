//! The task of one instance of a target: it decides when to look, runs one look at a time under its deadline, and turns
//! what comes back into a verdict and samples. A thin loop around [`super::verdict`].

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::board::{Board, View};
use super::memory::Memories;
use super::record::Recorder;
use super::verdict::{Judge, Outcome, Step, Verdict};
use super::whole::{INSTANCES, Whole};
use super::{Schedule, Target};
use crate::clock::{Clock, millis};
use crate::export::catalogue::Catalogue;
use crate::export::ingest::Ingest;
use crate::net::{self, Net};
use crate::probe::{Failure, Path, Prober, Reading, Reason, Report, scrape};
use crate::sample::{Labels, Metric, Timestamp};
use crate::state::{Grace, Op, State};
use crate::store::Store;

pub static TARGET_UP: Metric =
    Metric::gauge("watchkeeper_target_up", "The verdict on a target: 1 up, 0 down, absent while unknown.")
        .labelled(&["kind", "priority", "scope"]);
static INSTANCE_UP: Metric = Metric::gauge(
    "watchkeeper_instance_up",
    "The verdict on one of a target's several instances: 1 up, 0 down, absent while unknown.",
)
.labelled(&["kind", "priority", "scope"]);
static TARGET_FAILURE: Metric =
    Metric::gauge("watchkeeper_target_failure", "1 while the newest look on a path failed, with the reason.")
        .labelled(&["path", "reason"]);
static PROBE_SUCCESS: Metric = Metric::gauge("probe_success", "Whether the newest look at the target succeeded.");
static PROBE_DURATION: Metric = Metric::gauge("probe_duration_seconds", "How long the newest look took.");
static PROBE_TIMEOUT: Metric = Metric::gauge("probe_timeout_seconds", "The deadline of a look.");

/// The facts that every target has, whatever its kind.
pub const METRICS: &[&Metric] =
    &[&TARGET_UP, &INSTANCE_UP, &INSTANCES, &TARGET_FAILURE, &PROBE_SUCCESS, &PROBE_DURATION, &PROBE_TIMEOUT];

/// How soon a held connection that broke is looked at again.
const AFTER_BREAK: i64 = 50;

/// What the tasks of all targets share.
pub struct Shared {
    pub clock: Clock,
    pub store: Arc<Mutex<Store>>,
    pub catalogue: Arc<Mutex<Catalogue>>,
    pub board: Arc<Board>,
    pub net: Arc<Net>,
    pub state: State,
    /// Caps how many looks are under way at once, over all targets.
    pub slots: Semaphore,
    pub metrics: Metrics,
    pub memories: Memories,
    pub node: String,
}

/// How the looking itself goes.
#[derive(Default)]
pub struct Metrics {
    looks: Family<LookLabels, Counter>,
    late: Counter,
    missed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    kind: &'static str,
    path: &'static str,
    outcome: &'static str,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Looks at targets, by how they ended";
        registry.register("watchkeeper_probes", help, self.looks.clone());
        let help = "Looks that began more than a tenth of their interval after they were due";
        registry.register("watchkeeper_probes_late", help, self.late.clone());
        let help = "Looks that were left out because the one before took longer than the interval";
        registry.register("watchkeeper_probes_missed", help, self.missed.clone());
    }
}

/// When each path is looked at next.
struct Plan {
    due: Timestamp,
    /// This look confirms a failure: it goes before the other path's.
    confirms: bool,
}

/// Which of the target's instances a task looks at.
pub struct Place {
    /// Its `instance` label.
    pub label: String,
    /// The network as it sees it: where the target has several instances, one address of its name.
    pub net: Arc<Net>,
    /// One of several: its address, and the target as a whole.
    pub part: Option<(IpAddr, Arc<Whole>)>,
}

/// What a task leaves to the one that takes its place: what is known, and the series that go on.
#[derive(Default)]
pub struct Left {
    pub judge: Option<Judge>,
    pub facts: Option<Recorder>,
    pub fresh: Option<Recorder>,
    pub held: Option<Recorder>,
    pub pages: Option<Ingest>,
    succeeded: [bool; 2],
    failing: [Option<Failure>; 2],
    last_failure: Option<Failure>,
    /// As it was shown.
    view: Option<View>,
}

impl Left {
    /// What is known, for a task whose labels are others: its series, but for these facts, begin anew.
    pub fn relabelled(self, facts: Option<Recorder>) -> Self {
        Left { facts, fresh: None, held: None, pages: None, ..self }
    }
}

pub struct Task {
    target: Arc<Target>,
    shared: Arc<Shared>,
    place: Place,
    prober: Prober,
    judge: Judge,
    facts: Recorder,
    fresh: Recorder,
    held: Option<Recorder>,
    /// The pages of metrics, from the first one on.
    pages: Option<Ingest>,
    plan_fresh: Plan,
    plan_held: Option<Plan>,
    /// When the held connection last broke.
    broke_at: Option<Timestamp>,
    /// Whether a look on each path has succeeded.
    succeeded: [bool; 2],
    /// Why the newest look on each path failed, if it did.
    failing: [Option<Failure>; 2],
    /// The newest failure of all.
    last_failure: Option<Failure>,
    /// Whether a look said nothing, because the agent stood still, and none has succeeded since.
    void: bool,
    grace: Option<Grace>,
}

impl Task {
    /// Looks at once. `grace_until`: until when failures make no verdict (see [`super::verdict`]); `grace` is what a
    /// first success then ends. `left` is what there is to take over; its recorders have the labels of this place.
    pub fn new(
        target: Arc<Target>,
        shared: Arc<Shared>,
        place: Place,
        grace: (Option<Timestamp>, Option<Grace>),
        left: Left,
    ) -> Self {
        let now = shared.clock.now();
        let labels = target.series_labels(&shared.node).with("instance", &place.label);
        let recorder = |stream: &str| {
            let name = format!("{} {} {stream}", target.name, place.label);
            Recorder::new(shared.store.clone(), shared.clock, &name, labels.clone())
        };
        let holds = target.settings.reconnect().is_some();
        let plan = || Plan { due: now, confirms: false };
        let (grace_until, grace) = grace;
        let judge = match left.judge {
            Some(judge) => judge.take_over(target.schedule, holds, grace_until, now),
            None => Judge::new(target.schedule, grace_until, now),
        };
        let task = Task {
            prober: prober(&target, &shared, &place),
            facts: left.facts.unwrap_or_else(|| recorder("facts")),
            fresh: left.fresh.unwrap_or_else(|| recorder("fresh")),
            held: holds.then(|| left.held.unwrap_or_else(|| recorder("held"))),
            pages: left.pages,
            plan_fresh: plan(),
            plan_held: holds.then(plan),
            broke_at: None,
            succeeded: [left.succeeded[0], left.succeeded[1] || !holds],
            failing: left.failing,
            last_failure: left.last_failure,
            void: false,
            judge,
            grace,
            place,
            target,
            shared,
        };
        task.appear(left.view, now);
        task
    }

    /// Puts its view onto the board.
    fn appear(&self, before: Option<View>, now: Timestamp) {
        let verdict = self.judge.verdict();
        let first = View::first(&self.target, &self.shared.node, &self.place.label, now);
        let view = match before {
            Some(before) => View { labels: first.labels, interval: first.interval, timeout: first.timeout, ..before },
            None => first,
        };
        let since = if view.verdict == verdict { view.since } else { now };
        let view = View { verdict, since, ..view };
        let name = self.target.name.as_str();
        match &self.place.part {
            None => self.shared.board.put(name, view),
            Some((_, whole)) => {
                let label = self.place.label.clone();
                self.shared.board.update(name, None, |target| drop(target.instances.insert(label, view)));
                whole.report(&self.place.label, self.judge.standing(), now);
            }
        }
    }

    /// The address, where the target has several instances.
    pub fn address(&self) -> Option<IpAddr> {
        self.place.part.as_ref().map(|(address, _)| *address)
    }

    pub fn label(&self) -> &str {
        &self.place.label
    }

    /// Whether the target's grace still waits to be ended.
    pub fn waits_for_first_success(&self) -> bool {
        self.grace.is_some()
    }

    /// A grace that is not the target's own, because the instance came later.
    pub fn own_grace(&self) -> Option<Timestamp> {
        self.judge.grace_until().filter(|_| self.grace.is_none())
    }

    /// Ends, and leaves everything to a task with the same labels.
    pub fn leave(self) -> Left {
        let mut view = self.shared.board.view(&self.target.name);
        if self.place.part.is_some() {
            view = view.and_then(|mut view| view.instances.remove(&self.place.label));
        }
        Left {
            judge: Some(self.judge),
            facts: Some(self.facts),
            fresh: Some(self.fresh),
            held: self.held,
            pages: self.pages,
            succeeded: self.succeeded,
            failing: self.failing,
            last_failure: self.last_failure,
            view,
        }
    }

    /// Looks until it is told to stop.
    pub async fn run(mut self, stop: Arc<Notify>) -> Self {
        loop {
            let (path, due) = self.next();
            tokio::select! {
                biased;
                () = stop.notified() => return self,
                broken = AssertUnwindSafe(self.prober.broken()).catch_unwind() => {
                    self.broke(broken.unwrap_or_else(|_| panicked()));
                }
                () = tokio::time::sleep_until(self.shared.clock.instant(due)) => tokio::select! {
                    biased;
                    () = stop.notified() => return self,
                    () = self.look(path, due) => {}
                },
            }
        }
    }

    fn next(&self) -> (Path, Timestamp) {
        let fresh = (!self.plan_fresh.confirms, self.plan_fresh.due, Path::Fresh);
        let held = self.plan_held.as_ref().map(|plan| (!plan.confirms, plan.due, Path::Held));
        let first = held.filter(|held| (held.0, held.1) < (fresh.0, fresh.1)).unwrap_or(fresh);
        (first.2, first.1)
    }

    async fn look(&mut self, path: Path, due: Timestamp) {
        let shared = self.shared.clone();
        let Some(_slot) = self.slot(&shared.slots).await else { return };
        let late = shared.clock.now() - due;
        if late * 10 > millis(self.target.schedule.interval) {
            shared.metrics.late.inc();
        }
        let started = Instant::now();
        // On the heap while it lasts: what a look needs is a hundred times what waiting for the next one does.
        let look = Box::pin(self.prober.look(path));
        let report = guarded(self.target.schedule.timeout, look).await;
        let took = started.elapsed();
        if self.is_void(&report, took) {
            // It stays due, and so is made again at once.
            return self.count(path, Outcome::Blind);
        }
        let missed = (shared.clock.now() - due) / millis(self.target.schedule.interval).max(1);
        shared.metrics.missed.inc_by(missed.unsigned_abs());
        self.finish(path, report, took);
    }

    /// Whether a look is made again because the agent itself stood still. Once until one succeeds: an agent that is
    /// always late must not be blind to what hangs.
    fn is_void(&mut self, report: &Report, took: Duration) -> bool {
        let is_void = !self.void && report.is_void(self.target.schedule.timeout, took);
        self.void = report.failure.is_some() && (self.void || is_void);
        is_void
    }

    /// Waits for a free slot. A wait that outlasts what is known makes the verdict unknown.
    async fn slot<'a>(&mut self, slots: &'a Semaphore) -> Option<SemaphorePermit<'a>> {
        loop {
            self.expire(self.shared.clock.now());
            match tokio::time::timeout(self.target.schedule.interval, slots.acquire()).await {
                Ok(permit) => return permit.ok(),
                Err(_) => continue,
            }
        }
    }

    /// Forgets what is too old to be known any more: that nobody has looked is the agent's own fault.
    fn expire(&mut self, now: Timestamp) {
        if !self.judge.is_expired(now) {
            return;
        }
        let changed = self.judge.expire();
        self.record_facts(now, None);
        self.update(|view| view.blind = true);
        if let Some((from, to)) = changed {
            self.changed(from, to);
        }
        self.report(now);
    }

    fn finish(&mut self, path: Path, mut report: Report, took: Duration) {
        self.take_page(&mut report);
        let now = self.shared.clock.now();
        let outcome = Outcome::of(report.failure.as_ref());
        let step = self.judge.finish(path, outcome, now);
        self.count(path, outcome);
        let stream = match (path, &mut self.held) {
            (Path::Held, Some(held)) => held,
            _ => &mut self.fresh,
        };
        stream.record(now, report.failure.is_none(), &report.readings);
        if let Some(pages) = &mut self.pages {
            pages.record(now, report.failure.is_none());
        }
        if report.addresses_changed {
            self.plan_fresh.due = self.plan_fresh.due.min(now);
        }
        if path == Path::Held && outcome == Outcome::Blind {
            // What the fresh path said up to `reconnect` ago is no evidence for now.
            self.plan_fresh.due = self.plan_fresh.due.min(next_tick(self, now));
        }
        if let Some(memory) = report.memory.take() {
            self.shared.memories.keep(&self.target.name, &self.place.label, memory, &self.shared.state);
        }
        self.succeeded[index(path)] |= report.failure.is_none();
        self.note(path, report.failure);
        self.record_facts(now, Some(took));
        self.show(now, took);
        self.follow(path, step, now, millis(self.target.schedule.confirm));
        self.report(now);
        if matches!(outcome, Outcome::Good | Outcome::Full) {
            self.end_grace();
        }
    }

    /// Reads the page of metrics that a look has brought. One that cannot be read is a failed look.
    fn take_page(&mut self, report: &mut Report) {
        let Some(page) = report.exposition.take() else { return };
        let began = Instant::now();
        let shared = &self.shared;
        let pages = self.pages.get_or_insert_with(|| {
            let name = format!("{} {} page", self.target.name, self.place.label);
            let labels = self.target.series_labels(&shared.node).with("instance", &self.place.label);
            let (store, catalogue) = (shared.store.clone(), shared.catalogue.clone());
            Ingest::new(store, shared.clock, &name, labels, catalogue, page.limits.samples)
        });
        let read = pages.read(&page);
        scrape::conclude(report, read, page.text.len(), began.elapsed());
    }

    fn broke(&mut self, failure: Failure) {
        let now = self.shared.clock.now();
        tracing::warn!(target = self.target.name, error = %failure, "held connection broke");
        // A server that closes every connection soon costs one an interval, not twenty a second.
        let interval = millis(self.target.schedule.interval);
        let again = self.broke_at.replace(now).is_some_and(|at| now - at < interval);
        let look_after = if again { interval } else { AFTER_BREAK };
        self.note(Path::Held, Some(failure));
        let step = self.judge.broke(now);
        self.record_facts(now, None);
        self.show(now, Duration::ZERO);
        self.follow(Path::Held, step, now, look_after);
        self.report(now);
    }

    /// Says how it stands, where the target has other instances too.
    fn report(&self, now: Timestamp) {
        if let Some((_, whole)) = &self.place.part {
            whole.report(&self.place.label, self.judge.standing(), now);
        }
    }

    /// What it is called on the board, beside its target's name.
    fn part(&self) -> Option<&str> {
        self.place.part.as_ref().map(|_| self.place.label.as_str())
    }

    fn update(&self, change: impl FnOnce(&mut View)) {
        self.shared.board.update(&self.target.name, self.part(), change);
    }

    /// Acts on a step: tells of a changed verdict, plans the next look of the path.
    fn follow(&mut self, path: Path, step: Step, now: Timestamp, confirm_after: i64) {
        if let Some((from, to)) = step.changed {
            self.changed(from, to);
        }
        let due = if step.confirm { now + confirm_after } else { self.due_after(path, now) };
        let plan = Plan { due, confirms: step.confirm };
        match (path, &mut self.plan_held) {
            (Path::Held, Some(held)) => *held = plan,
            _ => self.plan_fresh = plan,
        }
    }

    fn due_after(&self, path: Path, now: Timestamp) -> Timestamp {
        let tick = next_tick(self, now);
        match self.target.settings.reconnect() {
            Some(reconnect) if path == Path::Fresh && self.judge.is_settled(Path::Fresh) => {
                tick.max(now + millis(reconnect))
            }
            _ => tick,
        }
    }

    fn changed(&mut self, from: Verdict, to: Verdict) {
        let name = self.target.name.as_str();
        let cause = self.last_failure.as_ref().filter(|_| self.is_failing()).map(ToString::to_string);
        let now = self.shared.clock.now();
        self.update(|view| (view.verdict, view.since) = (to, now));
        let (from, to, instance) = (from.name(), to.name(), self.part());
        match &cause {
            Some(cause) => tracing::warn!(target = name, instance, from, to, error = %cause, "verdict changed"),
            None => tracing::info!(target = name, instance, from, to, "verdict changed"),
        }
        self.shared.board.tell(name, instance);
    }

    fn note(&mut self, path: Path, failure: Option<Failure>) {
        if failure.as_ref().is_some_and(|failure| failure.reason == Reason::Panic) {
            self.prober = prober(&self.target, &self.shared, &self.place);
        }
        self.failing[index(path)].clone_from(&failure);
        // The newest of what still fails; what is over is kept only while nothing else is wrong.
        if let Some(failure) = failure.or_else(|| self.failing.iter().flatten().next().cloned()) {
            self.last_failure = Some(failure);
        }
    }

    fn is_failing(&self) -> bool {
        self.failing.iter().any(Option::is_some)
    }

    /// The uniform facts, written before the verdict's change is told, so that rules read them.
    fn record_facts(&mut self, now: Timestamp, took: Option<Duration>) {
        let verdict = self.judge.verdict();
        let metric = if self.place.part.is_some() { &INSTANCE_UP } else { &TARGET_UP };
        let plain = |metric, value| Reading { metric, labels: Vec::new(), value };
        let mut readings = Vec::with_capacity(6);
        if verdict != Verdict::Unknown {
            let labels = self.target.classes().map(|(name, value)| (name, value.to_owned())).to_vec();
            let value = if verdict == Verdict::Up { 1.0 } else { 0.0 };
            readings.push(Reading { metric, labels, value });
        }
        readings.push(plain(&PROBE_SUCCESS, if self.is_failing() { 0.0 } else { 1.0 }));
        readings.push(plain(&PROBE_TIMEOUT, self.target.schedule.timeout.as_secs_f64()));
        readings.extend(took.map(|took| plain(&PROBE_DURATION, took.as_secs_f64())));
        for (path, failure) in [Path::Fresh, Path::Held].into_iter().zip(&self.failing) {
            let labels = |failure: &Failure| {
                vec![("path", path.name().to_owned()), ("reason", failure.reason.name().to_owned())]
            };
            let reading = |failure| Reading { metric: &TARGET_FAILURE, labels: labels(failure), value: 1.0 };
            readings.extend(failure.as_ref().map(reading));
        }
        self.facts.record(now, verdict != Verdict::Unknown, &readings);
    }

    fn show(&self, now: Timestamp, took: Duration) {
        let is_blind = |failure: &Failure| Outcome::of(Some(failure)) == Outcome::Blind;
        let blind = self.failing.iter().flatten().any(is_blind);
        self.update(|view| {
            (view.looked, view.last_look, view.last_duration) = (true, now, took);
            (view.failing, view.blind) = (self.is_failing(), blind);
            view.seen = (self.succeeded == [true; 2]).then(|| view.seen.unwrap_or(now));
            view.last_failure.clone_from(&self.last_failure);
        });
    }

    fn count(&self, path: Path, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Good => "good",
            Outcome::Bad => "bad",
            Outcome::Full => "full",
            Outcome::Blind => "blind",
        };
        let labels = LookLabels { kind: self.target.settings.kind(), path: path.name(), outcome };
        self.shared.metrics.looks.get_or_create_owned(&labels).inc();
    }

    /// A first success ends the grace for good, over restarts too. The looks do not wait for the disk.
    fn end_grace(&mut self) {
        if let Some(grace) = self.grace.take() {
            let state = self.shared.state.clone();
            let ended = vec![Op::PutGrace(Grace { ended: true, ..grace })];
            tokio::spawn(async move { state.commit(ended).await });
        }
    }
}

/// A prober that knows what the one before it wanted kept.
fn prober(target: &Target, shared: &Shared, place: &Place) -> Prober {
    let mut prober = target.settings.prober(place.net.clone());
    if let Some(memory) = shared.memories.of(&target.name, &place.label) {
        prober.recall(&memory);
    }
    prober
}

/// One look under its deadline. A probe that panics is a failed probe.
async fn guarded(limit: Duration, look: impl Future<Output = Report>) -> Report {
    match net::within(limit, AssertUnwindSafe(look).catch_unwind()).await {
        Ok(Ok(report)) => report,
        Ok(Err(_)) => Report::failed(panicked()),
        Err(failure) => Report::failed(failure),
    }
}

fn panicked() -> Failure {
    Failure::new(Reason::Panic, "probe", "the probe itself broke: please report this")
}

fn index(path: Path) -> usize {
    match path {
        Path::Fresh => 0,
        Path::Held => 1,
    }
}

/// The first tick after `now`. Ticks stand at a phase taken from the target's name and, where it has several, the
/// instance's: spread over the interval, and the same after a restart.
fn next_tick(task: &Task, now: Timestamp) -> Timestamp {
    let Schedule { interval, .. } = task.target.schedule;
    let interval = millis(interval).max(1);
    let name = Labels::new([("target", task.target.name.as_str()), ("instance", task.part().unwrap_or_default())]);
    let phase = i64::try_from(name.fingerprint() % interval.unsigned_abs()).unwrap_or(0);
    let since = (now - phase).rem_euclid(interval);
    now - since + interval
}

#[cfg(test)]
#[path = "task_tests.rs"]
pub(super) mod tests;
