//! Aggregations.

use std::collections::HashMap;

use super::ast::{AggregateOp, Grouping};
use super::key::{Kept, Key};
use super::math::{Mean, Sum, nan_first, quantile};
use super::names::Names;
use crate::float;
use crate::sample::Sample;

/// Which group every sample belongs to, and the key of every group, in the order in which they first appear.
struct Groups<'a> {
    of_sample: Vec<usize>,
    keys: Vec<Key<'a>>,
}

impl<'a> Groups<'a> {
    fn new(grouping: Option<&'a Grouping>, samples: &'a [Sample]) -> Self {
        let kept = Kept::by_grouping(grouping);
        if let (Kept::Named(names), Some(first)) = (kept, samples.first())
            && names.is_empty()
        {
            return Groups { of_sample: vec![0; samples.len()], keys: vec![Key { labels: &first.labels, kept }] };
        }
        let mut places: HashMap<Key<'a>, usize> = HashMap::new();
        let mut keys = Vec::new();
        let mut place = |sample: &'a Sample| {
            let key = Key { labels: &sample.labels, kept };
            *places.entry(key).or_insert_with(|| {
                keys.push(key);
                keys.len() - 1
            })
        };
        let of_sample = samples.iter().map(&mut place).collect();
        Groups { of_sample, keys }
    }

    /// One sample per group.
    fn results(self, values: impl Iterator<Item = f64>) -> Vec<Sample> {
        self.keys.iter().zip(values).map(|(key, value)| Sample { labels: key.to_labels(), value }).collect()
    }
}

/// The aggregations that fold one value after the other. One sample per group.
pub fn fold(op: AggregateOp, grouping: Option<&Grouping>, samples: &[Sample]) -> Vec<Sample> {
    let groups = Groups::new(grouping, samples);
    let mut states: Vec<State> = Vec::with_capacity(groups.keys.len());
    for (sample, place) in samples.iter().zip(&groups.of_sample) {
        match states.get_mut(*place) {
            Some(state) => state.add(sample.value),
            None => states.push(State::new(op, sample.value)),
        }
    }
    groups.results(states.into_iter().map(State::result))
}

enum State {
    Sum(Sum),
    Mean(Mean),
    Least(f64),
    Most(f64),
    Count(f64),
    One,
    Spread(Spread),
}

impl State {
    fn new(op: AggregateOp, first: f64) -> Self {
        match op {
            AggregateOp::Sum => State::Sum(Sum { value: first, lost: 0.0 }),
            AggregateOp::Avg => State::Mean(Mean::new(first)),
            AggregateOp::Min => State::Least(first),
            AggregateOp::Max => State::Most(first),
            AggregateOp::Count => State::Count(1.0),
            AggregateOp::Stddev => State::Spread(Spread::new(first, true)),
            AggregateOp::Stdvar => State::Spread(Spread::new(first, false)),
            _ => State::One,
        }
    }

    fn add(&mut self, value: f64) {
        match self {
            State::Sum(sum) => *sum = sum.plus(value),
            State::Mean(mean) => mean.add(value),
            State::Least(least) if value < *least || least.is_nan() => *least = value,
            State::Most(most) if value > *most || most.is_nan() => *most = value,
            State::Count(count) => *count += 1.0,
            State::Spread(spread) => spread.add(value),
            State::Least(_) | State::Most(_) | State::One => {}
        }
    }

    fn result(self) -> f64 {
        match self {
            State::Sum(sum) => sum.total(),
            State::Mean(mean) => mean.result(),
            State::Least(value) | State::Most(value) | State::Count(value) => value,
            State::One => 1.0,
            State::Spread(spread) => spread.result(),
        }
    }
}

/// Standard deviation or variance: Welford's method, not compensated (unlike `stddev_over_time`).
struct Spread {
    root: bool,
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn new(first: f64, root: bool) -> Self {
        let squares = if first.is_finite() { 0.0 } else { f64::NAN };
        Spread { root, count: 1.0, mean: first, squares }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn result(self) -> f64 {
        let variance = self.squares / self.count;
        if self.root { variance.sqrt() } else { variance }
    }
}

/// `quantile`: one sample per group.
pub fn quantiles(q: f64, grouping: Option<&Grouping>, samples: &[Sample]) -> Vec<Sample> {
    let groups = Groups::new(grouping, samples);
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); groups.keys.len()];
    for (sample, place) in samples.iter().zip(&groups.of_sample) {
        values[*place].push(sample.value);
    }
    groups.results(values.into_iter().map(|values| quantile(q, values)))
}

/// `count_values`: one sample per group and value, which the label `name` tells.
pub fn count_values(name: &str, grouping: Option<&Grouping>, samples: &[Sample]) -> Vec<Sample> {
    let labelled = |sample: &Sample| Sample { labels: sample.labels.with(name, &go_number(sample.value)), value: 1.0 };
    let labelled: Vec<Sample> = samples.iter().map(labelled).collect();
    let mut grouping = grouping.cloned().unwrap_or(Grouping { without: false, labels: Names::default() });
    if !grouping.without {
        grouping.labels = grouping.labels.with(name);
    }
    fold(AggregateOp::Count, Some(&grouping), &labelled)
}

/// A number as Go writes it: the shortest text that is read back, without an exponent.
pub fn go_number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        value => float::plain(value),
    }
}

/// A number as Go writes it for people (`%g`): large and small ones with an exponent.
pub fn go_general(value: f64) -> String {
    if value.is_finite() { float::general(value) } else { go_number(value) }
}

/// `topk` or `bottomk`: the `count` largest (smallest) samples of each group as they are, the first one first. Of equal
/// ones those stay that Prometheus keeps.
pub fn extremes(op: AggregateOp, count: usize, grouping: Option<&Grouping>, samples: &[Sample]) -> Vec<Sample> {
    let sign = if op == AggregateOp::Topk { 1.0 } else { -1.0 };
    let groups = Groups::new(grouping, samples);
    let mut heaps: Vec<Heap> = groups.keys.iter().map(|_| Heap(Vec::new())).collect();
    for (index, (sample, place)) in samples.iter().zip(&groups.of_sample).enumerate() {
        heaps[*place].offer(Entry { rank: sign * sample.value, index }, count);
    }
    let mut best: Vec<Entry> = Vec::new();
    for mut heap in heaps {
        heap.0.sort_by(|a, b| nan_first(b.rank, a.rank));
        best.extend(heap.0);
    }
    best.iter().map(|entry| samples[entry.index].clone()).collect()
}

#[derive(Clone, Copy)]
struct Entry {
    rank: f64,
    index: usize,
}

/// A binary heap with the least on top and NaN below everything. It moves its entries as Go's `container/heap` does:
/// that decides which of several equal ones goes.
struct Heap(Vec<Entry>);

impl Heap {
    fn offer(&mut self, entry: Entry, limit: usize) {
        if self.0.len() < limit {
            self.0.push(entry);
            self.up(self.0.len() - 1);
        } else if let Some(least) = self.0.first_mut()
            && (least.rank < entry.rank || (least.rank.is_nan() && !entry.rank.is_nan()))
        {
            *least = entry;
            self.down();
        }
    }

    fn less(&self, a: usize, b: usize) -> bool {
        self.0[a].rank.is_nan() || self.0[a].rank < self.0[b].rank
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(at, parent) {
                return;
            }
            self.0.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self) {
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.0.len() {
                return;
            }
            let child = if right < self.0.len() && self.less(right, left) { right } else { left };
            if !self.less(child, at) {
                return;
            }
            self.0.swap(at, child);
            at = child;
        }
    }
}
