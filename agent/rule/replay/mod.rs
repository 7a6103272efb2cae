//! What rules would have said of a recorded history of pages: the same parser, store and evaluation as the agent's, on
//! the same aligned ticks. Pages are read one at a time, in the order of their times; the store keeps what the rules look
//! back to, so that a long history takes no more memory than a short one.

pub mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Change, Context, Group, Outcome, Recorded, evaluate, schedule, selections};
use crate::alert::{Alert, AlertId, AlertState, Event};
use crate::clock::millis;
use crate::export::ingest::{Pages, Precedence};
use crate::export::parse::Limits;
use crate::promql::LOOKBACK;
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};
use crate::store::{Selection, SourceId, Store, StoreLimits};
use history::{History, PageFile};

/// Series of all targets together.
const MAX_SERIES: usize = 1_000_000;
/// Evaluations of all groups together.
const MAX_EVALUATIONS: i64 = 20_000_000;
const LIMITS: Limits = Limits { bytes: 64 << 20, samples: 500_000, labels: 64, label_bytes: 4_096 };

/// What is replayed, and how.
pub struct Settings {
    pub groups: Vec<Group>,
    /// Of groups that name none.
    pub interval: Duration,
    /// For templates.
    pub external_labels: BTreeMap<String, String>,
}

/// Something that became of an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    pub at: Timestamp,
    pub kind: Kind,
    pub alert: Alert,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pending,
    Fired,
    Resolved,
    /// It was pending and never fired.
    Dropped,
}

/// What came of a replay.
#[derive(Debug, Default)]
pub struct Summary {
    pub targets: usize,
    pub pages: usize,
    /// Empty pages: looks that failed.
    pub failed_looks: usize,
    /// The times of the first and the last page.
    pub span: Option<(Timestamp, Timestamp)>,
    pub evaluations: u64,
    pub fired: usize,
    /// What fires at the end of the history.
    pub firing: Vec<Alert>,
}

/// What is told, as it happens.
pub enum Told {
    Transition(Transition),
    /// A page that cannot be read (`path:line: why`), or the first failure of a rule.
    Problem(String),
}

/// Replays a history. The error says why it cannot be.
pub fn replay(history: &History, settings: &Settings, tell: &mut dyn FnMut(Told)) -> Result<Summary, String> {
    let (Some(first), Some(last)) = (history.pages.first(), history.pages.last()) else {
        return Ok(Summary::default());
    };
    let (first, last) = (first.at, last.at);
    let evaluations = |group: &Group| (last - first) / millis(group.interval.unwrap_or(settings.interval)).max(1);
    if settings.groups.iter().map(evaluations).sum::<i64>() > MAX_EVALUATIONS {
        return Err(format!(
            "more than {MAX_EVALUATIONS} evaluations: replay a part of the history, or raise --interval"
        ));
    }
    let mut run = Run::new(history, settings, tell);
    for page in &history.pages {
        // A tick at the time of a page sees it.
        run.evaluate_until(page.at - 1);
        run.take(page);
    }
    run.evaluate_until(last);
    let mut summary = run.summary;
    summary.span = Some((first, last));
    summary.targets = history.targets.len();
    summary.pages = history.pages.len();
    summary.firing = run.active.into_values().filter(|alert| alert.state == AlertState::Firing).collect();
    Ok(summary)
}

struct Run<'a> {
    settings: &'a Settings,
    tell: &'a mut dyn FnMut(Told),
    store: Store,
    targets: Vec<Target>,
    groups: Vec<Place>,
    active: BTreeMap<AlertId, Alert>,
    /// Rules whose failure has been told.
    failed: BTreeSet<String>,
    summary: Summary,
}

/// Where a target's pages go, and whether each was read.
struct Target {
    pages: Pages,
    up: SourceId,
    up_labels: Labels,
    last_at: Timestamp,
}

/// A group's place in time, and where what it writes goes.
struct Place {
    next: Timestamp,
    source: SourceId,
    recorded: Recorded,
}

impl<'a> Run<'a> {
    fn new(history: &History, settings: &'a Settings, tell: &'a mut dyn FnMut(Told)) -> Self {
        let longest = settings.groups.iter().filter_map(|group| group.interval).fold(settings.interval, Duration::max);
        let window = Duration::from_millis(LOOKBACK.unsigned_abs()).saturating_add(longest);
        let mut store = Store::new(StoreLimits { series: MAX_SERIES, window });
        let kept = |(matchers, window): (_, Duration)| Selection { matchers, window: window.saturating_add(longest) };
        store.select(selections(&settings.groups).into_iter().map(kept).collect());
        let targets = history.targets.iter().map(|labels| Target::new(&mut store, labels)).collect();
        let before = history.pages.first().map_or(0, |page| page.at - 1);
        let place = |group: &Group| Place {
            next: schedule::next_tick(group, settings.interval, before),
            source: store.add_source(&group.name, MAX_SERIES),
            recorded: Recorded::new(),
        };
        let groups = settings.groups.iter().map(place).collect();
        let (active, failed, summary) = (BTreeMap::new(), BTreeSet::new(), Summary::default());
        Run { settings, tell, store, targets, groups, active, failed, summary }
    }

    /// Reads a page into the store. One that is empty, or cannot be read, is a look that failed: the target's series
    /// are unknown then, and `up` is 0.
    fn take(&mut self, page: &PageFile) {
        let target = &mut self.targets[page.target];
        if page.at <= target.last_at {
            let text = format!("{}: another page of its target has the same time: left out", page.path.display());
            (self.tell)(Told::Problem(text));
            return;
        }
        target.last_at = page.at;
        let path = page.path.display();
        let read = history::read(&page.path, LIMITS).map_err(|why| format!("{path}: {why}"));
        let (text, dialect) = read.unwrap_or_else(|problem| {
            (self.tell)(Told::Problem(problem));
            (String::new(), crate::export::parse::Dialect::Prometheus)
        });
        let mut good = !text.trim().is_empty();
        if good {
            match target.pages.read(&mut self.store, &text, dialect, LIMITS) {
                Ok(read) => {
                    let refused = read.refused.map(|refused| format!("{path}: series are left out: {refused}"));
                    refused.into_iter().for_each(|text| (self.tell)(Told::Problem(text)));
                }
                Err(error) => {
                    good = false;
                    (self.tell)(Told::Problem(format!("{path}:{}: {}", error.line, error.message)));
                }
            }
        }
        self.summary.failed_looks += usize::from(!good);
        target.pages.append(&mut self.store, page.at, good);
        let up = self.store.series(target.up, &target.up_labels).ok();
        let row = up.map(|series| (series, f64::from(u8::from(good))));
        self.store.append(target.up, page.at, true, row.as_slice());
    }

    /// Evaluates every tick up to a time, in order.
    fn evaluate_until(&mut self, until: Timestamp) {
        loop {
            let next = self.groups.iter().enumerate().min_by_key(|(index, place)| (place.next, *index));
            let Some((index, at)) = next.map(|(index, place)| (index, place.next)).filter(|(_, at)| *at <= until)
            else {
                return;
            };
            self.evaluate(index, at);
            self.groups[index].next = schedule::next_tick(&self.settings.groups[index], self.settings.interval, at);
        }
    }

    fn evaluate(&mut self, index: usize, at: Timestamp) {
        let group = &self.settings.groups[index];
        let context = Context {
            external_labels: &self.settings.external_labels,
            external_url: "",
            query_offset: group.query_offset.unwrap_or_default(),
            subquery_step: self.settings.interval,
            recorded: &self.groups[index].recorded,
            keep: &|_, _| false,
            removed: &BTreeSet::new(),
        };
        let outcome = evaluate(group, &self.active, &self.store.current(), &self.store.held(), at, &context);
        self.summary.evaluations += 1;
        for error in &outcome.errors {
            if self.failed.insert(error.at.to_string()) {
                (self.tell)(Told::Problem(format!("{error}, first at {}", crate::clock::rfc3339(at))));
            }
        }
        self.apply(index, outcome, at);
    }

    fn apply(&mut self, index: usize, outcome: Outcome, at: Timestamp) {
        let mut told: Vec<Transition> = Vec::new();
        for event in outcome.events {
            let (kind, alert) = match event {
                Event::Fired(alert) => (Kind::Fired, alert),
                Event::Resolved { alert, .. } => (Kind::Resolved, alert),
            };
            self.summary.fired += usize::from(kind == Kind::Fired);
            told.push(Transition { at, kind, alert });
        }
        for change in outcome.changes {
            match change {
                Change::Put { alert, .. } => {
                    if alert.state == AlertState::Pending && !self.active.contains_key(&alert.id) {
                        told.push(Transition { at, kind: Kind::Pending, alert: alert.clone() });
                    }
                    self.active.insert(alert.id.clone(), alert);
                }
                Change::Remove(id) => {
                    let gone = self.active.remove(&id).filter(|alert| alert.state == AlertState::Pending);
                    told.extend(gone.map(|alert| Transition { at, kind: Kind::Dropped, alert }));
                }
            }
        }
        told.into_iter().for_each(|transition| (self.tell)(Told::Transition(transition)));
        let written_at = at - millis(self.settings.groups[index].query_offset.unwrap_or_default());
        self.write(index, &outcome.samples, !outcome.partial, written_at);
        self.groups[index].recorded = outcome.recorded;
    }

    fn write(&mut self, index: usize, samples: &[Sample], complete: bool, at: Timestamp) {
        let source = self.groups[index].source;
        let series = |sample: &Sample| Some((self.store.series(source, &sample.labels).ok()?, sample.value));
        let row: Vec<_> = samples.iter().filter_map(series).collect();
        self.store.append(source, at, complete, &row);
    }
}

impl Target {
    /// Labels that a page gives itself win over its folder's: a page of Watchkeeper's own keeps its verdicts.
    fn new(store: &mut Store, labels: &Labels) -> Self {
        let source = store.add_source("history", MAX_SERIES);
        Target {
            pages: Pages::new(source, labels.clone(), Precedence::Page),
            up: store.add_source("up", 1),
            up_labels: labels.with(METRIC_NAME, "up"),
            last_at: Timestamp::MIN,
        }
    }
}

#[cfg(test)]
mod tests;
