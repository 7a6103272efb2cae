//! The store against a plain model: label sets with lists of points, staleness written out as marks.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::Select;
use crate::sample::{is_stale, stale_marker};

const WINDOW: i64 = 50;
const LABEL_SETS: usize = 6;

/// What a source did; numbers pick among the sources and label sets that there are.
#[derive(Debug, Clone)]
enum Step {
    Add,
    Report { source: usize, after: i64, complete: bool, row: Vec<(usize, f64)> },
    Remove { source: usize, after: i64 },
    Look { before: i64, lookback: i64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let source = 0..4_usize;
    let value = prop_oneof![
        6 => (0..4_u8).prop_map(f64::from),
        1 => Just(-0.0),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(f64::NAN)],
        1 => Just(f64::from_bits(0x7ff8_0000_0000_0123)),
        1 => Just(stale_marker()),
    ];
    let picked = subsequence((0..LABEL_SETS).collect::<Vec<_>>(), 0..=LABEL_SETS);
    let row = (picked, prop::collection::vec(value, LABEL_SETS))
        .prop_map(|(sets, values)| sets.into_iter().zip(values).collect());
    let after = prop_oneof![8 => 1..12_i64, 1 => -3..=0_i64, 1 => 40..120_i64];
    let step = prop_oneof![
        1 => Just(Step::Add),
        8 => (source.clone(), after, prop::bool::weighted(0.6), row)
            .prop_map(|(source, after, complete, row)| Step::Report { source, after, complete, row }),
        1 => (source, 0..20_i64).prop_map(|(source, after)| Step::Remove { source, after }),
        4 => (-5..80_i64, 1..60_i64).prop_map(|(before, lookback)| Step::Look { before, lookback }),
    ];
    prop::collection::vec(step, 1..80)
}

#[derive(Debug, Clone, Copy)]
enum Mark {
    Value(f64),
    Gone,
    Unknown,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at: Timestamp,
    source: usize,
    mark: Mark,
}

#[derive(Debug, Default)]
struct ModelSource {
    times: Vec<Timestamp>,
    ended: Option<Timestamp>,
    floor: Timestamp,
}

#[derive(Debug, Default)]
struct Model {
    points: BTreeMap<usize, Vec<Point>>,
    sources: Vec<ModelSource>,
}

impl Model {
    fn owner(&self, set: usize) -> Option<usize> {
        self.points.get(&set).and_then(|points| points.last()).map(|point| point.source)
    }

    /// Whether the source gets the label set.
    fn claim(&mut self, source: usize, set: usize) -> bool {
        let Some(owner) = self.owner(set).filter(|owner| *owner != source) else { return true };
        let Some(ended) = self.sources[owner].ended else { return false };
        self.sources[source].floor = self.sources[source].floor.max(ended);
        true
    }

    /// Whether a report of this time follows everything that the source and the label sets have seen.
    fn accepts(&self, source: usize, at: Timestamp, row: &[(usize, f64)]) -> bool {
        let stream = &self.sources[source];
        let in_order = stream.times.last().is_none_or(|newest| at > *newest);
        let ended = |set| self.owner(set).and_then(|owner| self.sources[owner].ended);
        let follows = row.iter().filter_map(|(set, _)| ended(*set)).all(|ended| at >= ended);
        stream.ended.is_none() && at >= stream.floor && in_order && follows
    }

    fn report(&mut self, source: usize, at: Timestamp, complete: bool, row: &[(usize, f64)]) {
        self.sources[source].times.push(at);
        let missing = if complete { Mark::Gone } else { Mark::Unknown };
        for (set, points) in &mut self.points {
            let Some(last) = points.last().filter(|last| last.source == source) else { continue };
            let says_less = matches!((last.mark, missing), (Mark::Value(_), _) | (Mark::Unknown, Mark::Gone));
            if says_less && row.iter().all(|(present, _)| present != set) {
                points.push(Point { at, source, mark: missing });
            }
        }
        for (set, value) in row {
            self.points.entry(*set).or_default().push(Point { at, source, mark: Mark::Value(*value) });
        }
        self.forget_old(source, at - WINDOW);
    }

    fn remove(&mut self, source: usize, at: Timestamp) {
        let stream = &mut self.sources[source];
        if stream.ended.is_some() {
            return;
        }
        let ended = stream.times.last().map_or(at, |newest| at.max(*newest));
        stream.ended = Some(ended);
        for points in self.points.values_mut() {
            if points.last().is_some_and(|last| last.source == source) {
                points.push(Point { at: ended, source, mark: Mark::Gone });
            }
        }
        self.forget_ended(at - WINDOW);
    }

    fn forget_old(&mut self, source: usize, oldest: Timestamp) {
        self.sources[source].times.retain(|at| *at >= oldest);
        for points in self.points.values_mut() {
            let kept = held_from(points);
            let mut index = 0;
            points.retain(|point| {
                index += 1;
                point.source != source || point.at >= oldest || index > kept
            });
            let holds = points.iter().any(|point| point.source == source && matches!(point.mark, Mark::Value(_)));
            points.retain(|point| point.source != source || holds);
        }
        self.points.retain(|_, points| !points.is_empty());
        self.forget_ended(oldest);
    }

    fn forget_ended(&mut self, oldest: Timestamp) {
        let sources = &self.sources;
        let gone = |source: usize| sources[source].ended.is_some_and(|ended| ended < oldest);
        self.points.values_mut().for_each(|points| points.retain(|point| !gone(point.source)));
        self.points.retain(|_, points| !points.is_empty());
    }

    fn look(&self, set: usize, at: Timestamp, lookback: Option<i64>) -> Option<u64> {
        let points = self.points.get(&set)?;
        let until = points.iter().rposition(|point| point.at <= at)?;
        let point = points[until];
        let seen = self.sources[point.source].times.iter().any(|time| *time <= at);
        let value = match (point.mark, lookback) {
            (Mark::Value(value), Some(lookback)) if point.at > at - lookback => value,
            (Mark::Value(value), None) => value,
            (Mark::Unknown, None) => match points[..until].last()?.mark {
                Mark::Value(value) => value,
                _ => return None,
            },
            _ => return None,
        };
        Some(value.to_bits()).filter(|_| seen && !is_stale(value))
    }
}

/// How many points at the front are of no use to a series whose present state is unknown: all before its last value.
fn held_from(points: &[Point]) -> usize {
    match points {
        [.., Point { mark: Mark::Value(value), .. }, Point { mark: Mark::Unknown, .. }] if !is_stale(*value) => {
            points.len() - 2
        }
        _ => points.len(),
    }
}

fn labels(set: usize) -> Labels {
    let name = ["up", "up", "up", "lag", "lag", ""][set];
    Labels::new([("__name__", name), ("set", &set.to_string())])
}

fn selections() -> Vec<(Vec<Matcher>, Vec<usize>)> {
    let matcher = |op, value| Matcher::new("__name__", op, value).unwrap();
    vec![
        (vec![], vec![0, 1, 2, 3, 4, 5]),
        (vec![matcher(MatchOp::Equal, "up")], vec![0, 1, 2]),
        (vec![matcher(MatchOp::NotEqual, "up")], vec![3, 4, 5]),
        (vec![matcher(MatchOp::Regex, "l.*"), Matcher::new("set", MatchOp::NotEqual, "4").unwrap()], vec![3]),
    ]
}

fn seen(view: View<'_>, matchers: &[Matcher], at: Timestamp, lookback: i64) -> BTreeMap<Labels, u64> {
    let samples = view.instant(matchers, at, lookback);
    let count = samples.len();
    let seen: BTreeMap<_, _> = samples.into_iter().map(|sample| (sample.labels, sample.value.to_bits())).collect();
    assert_eq!(seen.len(), count, "a label set stands twice");
    seen
}

struct Both {
    store: Store,
    ids: Vec<SourceId>,
    model: Model,
    now: Timestamp,
    selections: Vec<(Vec<Matcher>, Vec<usize>)>,
}

impl Both {
    fn new() -> Self {
        let limits = StoreLimits { series: 1_000, window: Duration::from_millis(WINDOW.unsigned_abs()) };
        let (store, model) = (Store::new(limits), Model::default());
        Both { store, ids: Vec::new(), model, now: 1_000, selections: selections() }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add => self.add(),
            Step::Report { source, after, complete, row } => self.report(*source, *after, *complete, row),
            Step::Remove { source, after } => self.remove(*source, *after),
            Step::Look { before, lookback } => self.compare(self.now - before, *lookback),
        }
    }

    fn add(&mut self) {
        self.ids.push(self.store.add_source("source", 100));
        self.model.sources.push(ModelSource::default());
    }

    fn report(&mut self, source: usize, after: i64, complete: bool, row: &[(usize, f64)]) {
        let Some(source) = source.checked_rem(self.ids.len()) else { return };
        let at = self.now + after;
        if !self.model.accepts(source, at, row) {
            return;
        }
        let mut stored = Vec::new();
        let mut modelled = Vec::new();
        for (set, value) in row {
            let claimed = self.model.claim(source, *set);
            let series = self.store.series(self.ids[source], &labels(*set));
            assert_eq!(series.is_ok(), claimed, "{series:?}");
            if let Ok(series) = series {
                stored.push((series, *value));
                modelled.push((*set, *value));
            }
        }
        self.store.append(self.ids[source], at, complete, &stored);
        self.model.report(source, at, complete, &modelled);
        self.now = self.now.max(at);
    }

    fn remove(&mut self, source: usize, after: i64) {
        let Some(source) = source.checked_rem(self.ids.len()) else { return };
        self.store.remove_source(self.ids[source], self.now + after);
        self.model.remove(source, self.now + after);
        self.now = self.now.max(self.now + after);
    }

    fn compare(&self, at: Timestamp, lookback: i64) {
        let expected = |sets: &[usize], lookback| -> BTreeMap<Labels, u64> {
            sets.iter().filter_map(|set| Some((labels(*set), self.model.look(*set, at, lookback)?))).collect()
        };
        for (matchers, sets) in &self.selections {
            let current = seen(self.store.current(), matchers, at, lookback);
            assert_eq!(current, expected(sets, Some(lookback)), "current at {at}");
            let held = seen(self.store.held(), matchers, at, lookback);
            assert_eq!(held, expected(sets, None), "held at {at}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_shows_what_a_plain_model_shows(steps in steps()) {
        let mut both = Both::new();
        both.add();
        for step in &steps {
            both.step(step);
        }
        for before in -5..80 {
            both.compare(both.now - before, 10);
        }
    }
}
