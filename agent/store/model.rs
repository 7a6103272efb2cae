//! The store against a plain model: label sets with lists of points, staleness written out as marks, and nothing ever
//! forgotten. They are compared where the store promises to remember: within the window for what is current, at the
//! present for what is held.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{self, Select};
use crate::sample::{is_stale, stale_marker};

const WINDOW: i64 = 50;
/// What is kept of every series.
const LEAST: i64 = 20;
const LABEL_SETS: usize = 6;

/// What a source did; numbers pick among the sources and label sets that there are.
#[derive(Debug, Clone)]
enum Step {
    Add,
    Report {
        source: usize,
        after: i64,
        complete: bool,
        row: Vec<(usize, f64)>,
    },
    Remove {
        source: usize,
        after: i64,
    },
    Look {
        before: i64,
        lookback: i64,
    },
    /// What is selected from now on, and its window.
    Select(Vec<(usize, i64)>),
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
        8 => (source.clone(), after, prop::bool::weighted(0.3), row)
            .prop_map(|(source, after, complete, row)| Step::Report { source, after, complete, row }),
        1 => (source, 0..20_i64).prop_map(|(source, after)| Step::Remove { source, after }),
        4 => (-5..WINDOW, 1..WINDOW).prop_map(|(before, lookback)| Step::Look { before, lookback }),
        1 => prop::collection::vec((0..4_usize, 10..=WINDOW), 0..5).prop_map(Step::Select),
    ];
    prop::collection::vec(step, 1..200)
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
    complete_at: Timestamp,
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
        let last = |set| self.points.get(set).and_then(|points| points.last());
        let follows = row.iter().filter_map(|(set, _)| last(set)).all(|last| at >= last.at);
        stream.ended.is_none() && at >= stream.floor && in_order && follows
    }

    fn report(&mut self, source: usize, at: Timestamp, complete: bool, row: &[(usize, f64)]) {
        self.sources[source].times.push(at);
        if complete {
            self.sources[source].complete_at = at;
        }
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
    }

    /// Whether a live source may have forgotten the label set: it is over, and nothing of it is in the window.
    fn is_forgettable(&self, set: usize, oldest: Timestamp) -> bool {
        let points = &self.points[&set];
        let over = match points.last().unwrap().mark {
            Mark::Gone => true,
            Mark::Value(value) => is_stale(value),
            Mark::Unknown => matches!(points[points.len() - 2].mark, Mark::Value(value) if is_stale(value)),
        };
        over && points.iter().all(|point| !matches!(point.mark, Mark::Value(_)) || point.at < oldest)
    }

    /// The last real value that is held at the present: its source and time.
    fn held(&self, set: usize) -> Option<Point> {
        let points = self.points.get(&set)?;
        let last = match points.as_slice() {
            [.., value, Point { mark: Mark::Unknown, .. }] | [.., value] => *value,
            [] => return None,
        };
        matches!(last.mark, Mark::Value(value) if !is_stale(value)).then_some(last)
    }

    /// The points with `after < t <= until`, those of what is held moved to where its source last reported.
    fn range(&self, set: usize, after: Timestamp, until: Timestamp, held: bool) -> Vec<(Timestamp, u64)> {
        let held = self.held(set).filter(|_| held);
        let shift = held.map_or(0, |last| self.sources[last.source].times.last().unwrap() - last.at);
        let shown = |point: &Point| {
            let Mark::Value(value) = point.mark else { return None };
            let own = held.is_some_and(|last| last.source == point.source);
            let at = if own { point.at + shift } else { point.at };
            (after < at && at <= until && !is_stale(value)).then_some((at, value.to_bits()))
        };
        self.points.get(&set).into_iter().flatten().filter_map(shown).collect()
    }

    /// Whether all of what is held was last seen by a good look: of a failed one only the last value is promised.
    fn is_held_with_its_past(&self, set: usize) -> bool {
        self.held(set).is_none_or(|last| {
            let source = &self.sources[last.source];
            source.times.last() == Some(&last.at) || last.at <= source.complete_at
        })
    }

    fn look(&self, set: usize, at: Timestamp, lookback: Option<i64>) -> Option<u64> {
        let points = self.points.get(&set)?;
        let until = points.iter().rposition(|point| point.at <= at)?;
        let point = points[until];
        let value = match (point.mark, lookback) {
            (Mark::Value(value), Some(lookback)) if point.at > at - lookback => value,
            (Mark::Value(value), None) => value,
            (Mark::Unknown, None) => match points[..until].last()?.mark {
                Mark::Value(value) => value,
                _ => return None,
            },
            _ => return None,
        };
        Some(value.to_bits()).filter(|_| !is_stale(value))
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

fn seen_between(view: View<'_>, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> Ranges {
    let series = promql::series_between(&view, matchers, after, until);
    let count = series.len();
    let bits = |series: promql::Series| series.points.iter().map(|point| (point.at, point.value.to_bits())).collect();
    let seen: Ranges = series.into_iter().map(|series| (series.labels.clone(), bits(series))).collect();
    assert_eq!(seen.len(), count, "a label set stands twice");
    seen
}

type Ranges = BTreeMap<Labels, Vec<(Timestamp, u64)>>;

struct Both {
    store: Store,
    ids: Vec<SourceId>,
    model: Model,
    now: Timestamp,
    /// The smallest window of each label set so far.
    windows: [i64; LABEL_SETS],
    selections: Vec<(Vec<Matcher>, Vec<usize>)>,
}

impl Both {
    fn new() -> Self {
        let limits = StoreLimits { series: 1_000, window: Duration::from_millis(LEAST.unsigned_abs()) };
        let (store, model, windows) = (Store::new(limits), Model::default(), [WINDOW; LABEL_SETS]);
        let mut both = Both { store, ids: Vec::new(), model, now: 1_000, windows, selections: selections() };
        both.select(&[(0, WINDOW)]);
        both
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Add => self.add(),
            Step::Report { source, after, complete, row } => self.report(*source, *after, *complete, row),
            Step::Remove { source, after } => self.remove(*source, *after),
            Step::Look { before, lookback } => self.compare(self.now - before, *lookback),
            Step::Select(selected) => self.select(selected),
        }
    }

    /// What a smaller window has forgotten does not come back: only the smallest is relied upon.
    fn select(&mut self, selected: &[(usize, i64)]) {
        let selection = |(index, window): &(usize, i64)| Selection {
            matchers: self.selections[*index].0.clone(),
            window: Duration::from_millis(window.unsigned_abs()),
        };
        self.store.select(selected.iter().map(selection).collect());
        for (set, smallest) in self.windows.iter_mut().enumerate() {
            let of_set = selected.iter().filter(|(index, _)| self.selections[*index].1.contains(&set));
            let window = of_set.map(|(_, window)| *window).max().unwrap_or(LEAST).max(LEAST);
            *smallest = window.min(*smallest);
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
            let series = self.store.series(self.ids[source], &labels(*set));
            let claimed = self.model.claim(source, *set);
            let forgotten = || self.model.is_forgettable(*set, self.now.max(at) - self.windows[*set]);
            assert!(series.is_ok() == claimed || series.is_ok() && forgotten(), "{series:?}");
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

    /// What is current at `at`, over the lookback as an instant and as a range, where that is within the windows; and
    /// what is held, where `at` is the present.
    fn compare(&self, at: Timestamp, lookback: i64) {
        for (matchers, sets) in &self.selections {
            let in_window = |set: &usize| at - lookback >= self.now - self.windows[*set];
            let sets: Vec<usize> = sets.iter().copied().filter(in_window).collect();
            self.compare_current(matchers, &sets, at, lookback);
            if at >= self.now {
                self.compare_held(matchers, &sets, at, lookback);
            }
        }
    }

    fn compare_current(&self, matchers: &[Matcher], sets: &[usize], at: Timestamp, lookback: i64) {
        let of_sets = |found: &Labels| sets.iter().any(|set| labels(*set) == *found);
        let mut current = seen(self.store.current(), matchers, at, lookback);
        current.retain(|labels, _| of_sets(labels));
        assert_eq!(current, self.expected(sets, at, Some(lookback)), "current at {at}");
        let mut range = seen_between(self.store.current(), matchers, at - lookback, at);
        range.retain(|labels, _| of_sets(labels));
        let expected = sets.iter().map(|set| (labels(*set), self.model.range(*set, at - lookback, at, false)));
        assert_eq!(range, expected.filter(|(_, points)| !points.is_empty()).collect(), "current up to {at}");
    }

    fn compare_held(&self, matchers: &[Matcher], sets: &[usize], at: Timestamp, lookback: i64) {
        let of_sets = |found: &Labels| sets.iter().any(|set| labels(*set) == *found);
        let mut held = seen(self.store.held(), matchers, at, lookback);
        held.retain(|labels, _| of_sets(labels));
        assert_eq!(held, self.expected(sets, at, None), "held at {at}");
        let range = seen_between(self.store.held(), matchers, at - lookback, at);
        for set in sets {
            let mut points = range.get(&labels(*set)).cloned().unwrap_or_default();
            let mut expected = self.model.range(*set, at - lookback, at, true);
            if !self.model.is_held_with_its_past(*set) {
                points.drain(..points.len().saturating_sub(1));
                expected.drain(..expected.len().saturating_sub(1));
            }
            assert_eq!(points, expected, "held up to {at}");
        }
    }

    fn expected(&self, sets: &[usize], at: Timestamp, lookback: Option<i64>) -> BTreeMap<Labels, u64> {
        sets.iter().filter_map(|set| Some((labels(*set), self.model.look(*set, at, lookback)?))).collect()
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
        for before in -5..WINDOW {
            both.compare(both.now - before, 10);
            both.compare(both.now - before, 49);
        }
    }
}
