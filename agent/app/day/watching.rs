//! The targets' tasks without their looks: judges, series and views as [`crate::target::task`] keeps them, fed by
//! [`Truth`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::truth::{POOL, Truth};
use crate::clock::millis;
use crate::probe::{Failure, Path, Reading, Reason};
use crate::sample::{Metric, Timestamp};
use crate::state::{Grace, Op};
use crate::target::Target;
use crate::target::board::View;
use crate::target::record::Recorder;
use crate::target::task::{METRICS, Shared, TARGET_UP};
use crate::target::verdict::{Judge, Outcome, Verdict};
use crate::target::whole::Whole;

const PATHS: [Path; 2] = [Path::Fresh, Path::Held];

pub struct Watching {
    shared: Arc<Shared>,
    targets: BTreeMap<String, Watched>,
    pub looks: usize,
    pub verdicts: usize,
}

struct Watched {
    target: Arc<Target>,
    grace: Option<Grace>,
    whole: Option<Arc<Whole>>,
    /// By the number of the instance.
    lookers: BTreeMap<usize, Looker>,
}

/// One instance's task.
struct Looker {
    judge: Judge,
    facts: Recorder,
    label: String,
    due: [Timestamp; 2],
    succeeded: [bool; 2],
    failing: [Option<Failure>; 2],
}

impl Watching {
    pub fn new(shared: Arc<Shared>) -> Self {
        Watching { shared, targets: BTreeMap::new(), looks: 0, verdicts: 0 }
    }

    /// As [`crate::target::watch::Watch::apply`].
    pub fn apply(&mut self, targets: &[Target], graces: &BTreeMap<String, Grace>, truth: &Truth, now: Timestamp) {
        let mut before = std::mem::take(&mut self.targets);
        for target in targets {
            let grace = graces.get(&target.name).cloned();
            let watched = match before.remove(&target.name) {
                Some(same) if *same.target == *target => same,
                Some(other) => other.succeed(Arc::new(target.clone()), grace, &self.shared, truth, now),
                None => Watched::new(Arc::new(target.clone()), grace, &self.shared, truth, now),
            };
            self.targets.insert(target.name.clone(), watched);
        }
        before.keys().for_each(|name| self.shared.board.remove(name));
    }

    /// Makes the looks that are due.
    pub fn look(&mut self, truth: &mut Truth, now: Timestamp) {
        for watched in self.targets.values_mut() {
            watched.reform(&self.shared, truth, now);
            for (instance, looker) in &mut watched.lookers {
                let (looks, changes) =
                    looker.look(&watched.target, watched.whole.as_ref(), &self.shared, now, |path| {
                        truth.look(&watched.target.name, *instance, path, now)
                    });
                self.looks += looks;
                self.verdicts += changes;
                if looker.succeeded.contains(&true) {
                    end_grace(&mut watched.grace, &self.shared);
                }
            }
        }
    }

    /// Whether failures of the target make no verdict yet.
    pub fn in_grace(&self, target: &str, now: Timestamp) -> bool {
        let judges = self.targets.get(target).into_iter().flat_map(|watched| watched.lookers.values());
        let mut judges = judges.map(|looker| &looker.judge).peekable();
        judges.peek().is_some() && judges.all(|judge| judge.in_grace(now))
    }
}

fn end_grace(grace: &mut Option<Grace>, shared: &Shared) {
    if let Some(grace) = grace.take() {
        let state = shared.state.clone();
        tokio::spawn(async move { state.commit(vec![Op::PutGrace(Grace { ended: true, ..grace })]).await });
    }
}

impl Watched {
    fn new(target: Arc<Target>, grace: Option<Grace>, shared: &Arc<Shared>, truth: &Truth, now: Timestamp) -> Self {
        shared.board.put(&target.name, View::first(&target, &shared.node, &target.instance, now));
        let mut watched = Watched { target, grace, whole: None, lookers: BTreeMap::new() };
        let until = watched.grace_until();
        if watched.target.name == POOL {
            let facts = recorder(&watched.target, shared, &watched.target.instance);
            let whole = Whole::new(watched.target.clone(), shared.clone(), facts, Verdict::Unknown);
            watched.whole = Some(Arc::new(whole));
            truth.instances(now).iter().for_each(|instance| watched.add(*instance, until, shared, now));
        } else {
            let looker = Looker::new(&watched.target, shared, watched.target.instance.clone(), until, now);
            watched.lookers.insert(0, looker);
        }
        watched
    }

    /// Other settings: verdicts stand where the series go on.
    fn succeed(
        self,
        target: Arc<Target>,
        grace: Option<Grace>,
        shared: &Arc<Shared>,
        truth: &Truth,
        now: Timestamp,
    ) -> Self {
        let grace = grace.filter(|_| self.grace.is_some());
        if target.series_labels(&shared.node) != self.target.series_labels(&shared.node) {
            drop((self.lookers, self.whole));
            return Watched::new(target, grace, shared, truth, now);
        }
        let whole = self.whole.map(|whole| Arc::new(whole.succeed(target.clone()).unwrap()));
        let mut watched = Watched { target, grace, whole, lookers: BTreeMap::new() };
        for (instance, looker) in self.lookers {
            let (until, target) = (watched.grace_until(), &watched.target);
            let judge = looker.judge.take_over(target.schedule, holds(target), until, now);
            watched.lookers.insert(instance, Looker { judge, due: [now; 2], ..looker });
        }
        shared.board.update(&watched.target.name, None, |view| {
            view.labels = watched.target.verdict_labels(&shared.node).with("instance", &watched.target.instance);
        });
        watched
    }

    fn grace_until(&self) -> Option<Timestamp> {
        self.grace.as_ref().map(|grace| grace.configured_at + millis(self.target.grace))
    }

    /// Takes up the pool's instances as they are now.
    fn reform(&mut self, shared: &Arc<Shared>, truth: &Truth, now: Timestamp) {
        let Some(whole) = self.whole.clone() else { return };
        let wanted = truth.instances(now);
        let known: Vec<usize> = self.lookers.keys().copied().collect();
        if known.len() == wanted.len() && known.iter().all(|instance| wanted.contains(instance)) {
            return;
        }
        for instance in known.iter().filter(|instance| !wanted.contains(instance)) {
            self.lookers.remove(instance).into_iter().for_each(|looker| whole.leave(&looker.label));
        }
        let later = (!self.target.grace.is_zero()).then(|| now + millis(self.target.grace));
        wanted.iter().filter(|instance| !known.contains(instance)).for_each(|instance| {
            self.add(*instance, later, shared, now);
        });
        whole.count(wanted.len());
        whole.settle(now);
    }

    fn add(&mut self, instance: usize, grace_until: Option<Timestamp>, shared: &Arc<Shared>, now: Timestamp) {
        let label = format!("10.0.0.{instance}:1");
        let looker = Looker::new(&self.target, shared, label.clone(), grace_until, now);
        let view = View::first(&self.target, &shared.node, &label, now);
        shared.board.update(&self.target.name, None, |target| drop(target.instances.insert(label.clone(), view)));
        if let Some(whole) = &self.whole {
            whole.report(&label, looker.judge.standing(), now);
        }
        self.lookers.insert(instance, looker);
    }
}

fn holds(target: &Target) -> bool {
    target.settings.reconnect().is_some()
}

fn recorder(target: &Target, shared: &Shared, label: &str) -> Recorder {
    let labels = target.series_labels(&shared.node).with("instance", label);
    Recorder::new(shared.store.clone(), shared.clock, &format!("{} {label}", target.name), labels)
}

impl Looker {
    fn new(target: &Target, shared: &Shared, label: String, grace_until: Option<Timestamp>, now: Timestamp) -> Self {
        Looker {
            judge: Judge::new(target.schedule, grace_until, now),
            facts: recorder(target, shared, &label),
            label,
            due: [now; 2],
            succeeded: [false, !holds(target)],
            failing: [None, None],
        }
    }

    /// How many looks it made, and how often the verdict changed.
    fn look(
        &mut self,
        target: &Target,
        whole: Option<&Arc<Whole>>,
        shared: &Shared,
        now: Timestamp,
        mut look: impl FnMut(Path) -> Option<Outcome>,
    ) -> (usize, usize) {
        let (mut looks, mut changes) = (0, 0);
        let paths = if holds(target) { 2 } else { 1 };
        for (index, path) in
            PATHS.into_iter().enumerate().take(paths).filter(|(index, _)| self.due[*index] <= now).collect::<Vec<_>>()
        {
            let interval = millis(target.schedule.interval);
            self.due[index] = now - (now - self.due[index]) % interval + interval;
            let before = self.judge.verdict();
            match look(path) {
                Some(outcome) => {
                    looks += 1;
                    let step = self.judge.finish(path, outcome, now);
                    self.failing[index] = failure(outcome);
                    self.succeeded[index] |= outcome == Outcome::Good;
                    if step.confirm {
                        self.due[index] = now + millis(target.schedule.confirm);
                    }
                }
                None if self.judge.is_expired(now) => drop(self.judge.expire()),
                None => continue,
            }
            self.record(target, whole.is_some(), now);
            self.show(target, whole.is_some(), shared, now, before);
            changes += usize::from(before != self.judge.verdict());
            if let Some(whole) = whole {
                whole.report(&self.label, self.judge.standing(), now);
            }
        }
        (looks, changes)
    }

    fn record(&mut self, target: &Target, part: bool, now: Timestamp) {
        let (verdict, success) = (self.judge.verdict(), metric("probe_success"));
        let known = verdict != Verdict::Unknown;
        let up = if part { metric("watchkeeper_instance_up") } else { &TARGET_UP };
        let labels = [
            ("kind", target.settings.kind().to_owned()),
            ("priority", target.priority.name().to_owned()),
            ("scope", target.scope.name().to_owned()),
        ];
        let value = |good| if good { 1.0 } else { 0.0 };
        let up = Reading { metric: up, labels: labels.to_vec(), value: value(verdict == Verdict::Up) };
        let mut readings: Vec<Reading> = known.then_some(up).into_iter().collect();
        let succeeds = value(self.failing.iter().all(Option::is_none));
        readings.push(Reading { metric: success, labels: Vec::new(), value: succeeds });
        self.facts.record(now, known, &readings);
    }

    fn show(&self, target: &Target, part: bool, shared: &Shared, now: Timestamp, before: Verdict) {
        let part = part.then_some(self.label.as_str());
        let blind = |failure: &Failure| Outcome::of(Some(failure)) == Outcome::Blind;
        let verdict = self.judge.verdict();
        shared.board.update(&target.name, part, |view| {
            (view.looked, view.last_look) = (true, now);
            view.failing = self.failing.iter().any(Option::is_some);
            view.blind = self.failing.iter().flatten().any(blind);
            view.seen = (self.succeeded == [true; 2]).then(|| view.seen.unwrap_or(now));
            view.last_failure = self.failing.iter().flatten().next().cloned().or(view.last_failure.take());
            if verdict != before {
                (view.verdict, view.since) = (verdict, now);
            }
        });
        if verdict != before {
            shared.board.tell(&target.name, part);
        }
    }
}

fn failure(outcome: Outcome) -> Option<Failure> {
    let (reason, phase) = match outcome {
        Outcome::Good => return None,
        Outcome::Bad => (Reason::Refused, "connect"),
        Outcome::Full => (Reason::Full, "startup"),
        Outcome::Blind => (Reason::ResolverTimeout, "resolve"),
    };
    Some(Failure::new(reason, phase, "as the day has it"))
}

fn metric(name: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.name == name).unwrap()
}
