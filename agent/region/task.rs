//! The task of the region: it takes what the board shows to the detector, keeps what was decided, and publishes it.
//! A thin loop around [`super::detector`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::detector::{Detector, Effects, Look, Seen};
use super::metrics::Metrics;
use super::{Answer, Decided, Input, Question, Settings, Snapshot, TICK};
use crate::clock::{Clock, millis};
use crate::sample::Timestamp;
use crate::state::rows::LAST_ALIVE;
use crate::state::{Op, State};
use crate::stop;
use crate::target::board::{Board, View};
use crate::target::verdict::Verdict;

/// Before the region's name, in the names of the rows that keep its answers.
const ROW: &str = "region ";
/// How long the disk may take before an answer is given that it does not hold yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the task stands on.
pub struct Parts {
    pub clock: Clock,
    pub board: Arc<Board>,
    pub state: State,
    pub metrics: Metrics,
    /// Who observes: the node's name.
    pub node: String,
}

/// A handle to the region that the agent stands in: read by the API, configured by a reload.
#[derive(Debug, Clone)]
pub struct Region {
    settings: watch::Sender<Option<Settings>>,
    published: watch::Receiver<Option<Arc<Snapshot>>>,
}

impl Region {
    /// `kept` are the small rows that the run before left ([`crate::state::rows::Rows::meta`]).
    pub fn new(settings: Option<Settings>, kept: &BTreeMap<String, String>, parts: Parts) -> (Self, Task) {
        let now = parts.clock.now();
        let answers = |settings: Settings| {
            let decided = kept_answers(kept, &settings.name, now);
            Detector::new(settings, decided, now)
        };
        let detector = settings.clone().map(answers);
        let (settings, configured) = watch::channel(settings);
        let (publish, published) = watch::channel(None);
        let rows = kept.keys().filter(|name| name.starts_with(ROW)).cloned().collect();
        let task = Task { parts, detector, configured, publish, rows };
        task.show(Vec::new(), now);
        (Region { settings, published }, task)
    }

    /// Takes over other settings. Under the same name the answers stay, and so does what is known of inputs that are
    /// as before; a region of another name begins without an answer, and that of the old name is forgotten.
    pub fn apply(&self, settings: Option<Settings>) {
        self.settings.send_if_modified(|known| std::mem::replace(known, settings.clone()) != settings);
    }

    /// The region as it is now; `None` where none is configured.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.published.borrow().clone()
    }
}

/// Watches the inputs; see [`Region::new`].
pub struct Task {
    parts: Parts,
    detector: Option<Detector>,
    configured: watch::Receiver<Option<Settings>>,
    publish: watch::Sender<Option<Arc<Snapshot>>>,
    /// The rows that the state holds of regions.
    rows: Vec<String>,
}

impl Task {
    /// Watches until `stop` says true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut verdicts = self.parts.board.subscribe();
        self.forget_others().await;
        loop {
            self.step().await;
            tokio::select! {
                biased;
                () = stop::told(&mut stop) => return,
                Ok(()) = self.configured.changed() => self.configure().await,
                Ok(()) = verdicts.changed(), if self.detector.is_some() => {}
                () = tokio::time::sleep(TICK), if self.detector.is_some() => {}
            }
        }
    }

    async fn configure(&mut self) {
        let settings = self.configured.borrow_and_update().clone();
        self.detector = match (self.detector.take(), settings) {
            (Some(mut detector), Some(settings)) if detector.settings().name == settings.name => {
                detector.apply(settings);
                Some(detector)
            }
            (_, Some(settings)) => Some(Detector::new(settings, [None, None], self.parts.clock.now())),
            (_, None) => None,
        };
        self.forget_others().await;
    }

    async fn step(&mut self) {
        let now = self.parts.clock.now();
        let Some(detector) = &mut self.detector else { return self.show(Vec::new(), now) };
        let seen = seen(&self.parts.board, detector.settings(), now);
        let effects = detector.step(&seen, now);
        self.tell(&effects);
        if effects.keep {
            self.keep().await;
        }
        self.show(seen, now);
    }

    fn tell(&self, effects: &Effects) {
        let Some(detector) = &self.detector else { return };
        let region = detector.settings().name.as_str();
        for transition in &effects.transitions {
            self.parts.metrics.count(region, transition);
            let (check, from, to) = (transition.question.name(), transition.from.name(), transition.to.name());
            let reasons = transition.reasons.join("; ");
            tracing::warn!(region, check, from, to, reasons, "the region's state changed");
        }
    }

    fn show(&self, seen: Vec<Option<Seen>>, now: Timestamp) {
        self.parts.metrics.show(self.detector.as_ref(), now);
        let snapshot = self.detector.as_ref().and_then(|detector| Snapshot::new(detector, &self.parts.node, seen));
        self.publish.send_replace(snapshot.map(Arc::new));
    }

    /// What is answered from now on outlives a restart before anybody is told, unless the disk takes too long.
    async fn keep(&mut self) {
        let Some(detector) = &self.detector else { return };
        let kept = |question| {
            let check = detector.check(question)?;
            let Decided { answer, at } = check.decided?;
            Some(Kept { answer, at, standing: check.state.answer().is_some() })
        };
        let answers = Answers { service: kept(Question::Service), db: kept(Question::Database) };
        // Plain data: it always has a text.
        let Ok(value) = serde_json::to_string(&answers) else { return };
        let name = row(&detector.settings().name);
        if !self.rows.contains(&name) {
            self.rows.push(name.clone());
        }
        self.commit(vec![Op::PutMeta { name, value }]).await;
    }

    /// Forgets the answers of regions that are not configured any more.
    async fn forget_others(&mut self) {
        let own = self.detector.as_ref().map(|detector| row(&detector.settings().name));
        let (own, others) = self.rows.drain(..).partition(|name| Some(name) == own.as_ref());
        self.rows = own;
        let others: Vec<String> = others;
        if !others.is_empty() {
            self.commit(others.into_iter().map(Op::DeleteMeta).collect()).await;
        }
    }

    /// Waits for the disk, but not for long: it goes on without us.
    async fn commit(&self, ops: Vec<Op>) {
        let state = self.parts.state.clone();
        let commit = tokio::spawn(async move { state.commit(ops).await });
        if tokio::time::timeout(PATIENCE, commit).await.is_err() {
            tracing::warn!("the disk is slow: the region's answer is given before it is kept");
        }
    }
}

/// What the board shows of each input, in order.
fn seen(board: &Board, settings: &Settings, now: Timestamp) -> Vec<Option<Seen>> {
    let seen = |input: &Input| board.view(&input.target).map(|view| seen_of(&view, now));
    settings.inputs.iter().map(seen).collect()
}

fn seen_of(view: &View, now: Timestamp) -> Seen {
    let instances = match view.instances.is_empty() {
        true => vec![look(view, now)],
        false => view.instances.values().map(|instance| look(instance, now)).collect(),
    };
    let blind = view.blind || (view.looked && is_stale(view, now));
    Seen { verdict: verdict(view, now), blind, instances }
}

fn look(view: &View, now: Timestamp) -> Look {
    Look {
        instance: view.labels.get("instance").to_owned(),
        verdict: verdict(view, now),
        since: view.since,
        failing: view.failing,
        at: view.looked.then_some(view.last_look),
        took: view.last_duration,
        error: view.error(),
    }
}

fn verdict(view: &View, now: Timestamp) -> Verdict {
    if is_stale(view, now) { Verdict::Unknown } else { view.verdict }
}

/// Whether nothing has been seen for too long to be known. The target's task says so too, as soon as it comes round;
/// when the agent was stopped and goes on, that may be later than here.
fn is_stale(view: &View, now: Timestamp) -> bool {
    now - view.last_look > 2 * millis(view.interval) + millis(view.timeout)
}

fn row(region: &str) -> String {
    format!("{ROW}{region}")
}

/// The answers as they are kept over restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Answers {
    service: Option<Kept>,
    db: Option<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    answer: Answer,
    at: Timestamp,
    /// Whether it was being decided still when this was written.
    standing: bool,
}

/// The answers that the run before gave last: service, database. One that cannot be read is none.
fn kept_answers(kept: &BTreeMap<String, String>, region: &str, now: Timestamp) -> [Option<Decided>; 2] {
    let text = kept.get(&row(region)).map_or("{}", String::as_str);
    let answers: Answers = serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(region, %error, "the kept answer of the region cannot be read: it has none until the first verdict");
        Answers::default()
    });
    let last_alive: Timestamp = kept.get(LAST_ALIVE).and_then(|at| at.parse().ok()).unwrap_or(0);
    let decided = |Kept { answer, at, standing }: Kept| {
        let at = if standing { at.max(last_alive) } else { at };
        Decided { answer, at: at.min(now) }
    };
    [answers.service.map(decided), answers.db.map(decided)]
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
