//! What the store shows at an instant.

use std::collections::BTreeMap;

use crate::matcher::{MatchOp, Matcher};
use crate::promql::{LOOKBACK, Point, Select};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp, stale_marker};

use super::series::Series;
use super::source::Source;
use super::{SeriesId, Store};

/// The store as seen by rules: see [`Store::current`] and [`Store::held`].
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    store: &'a Store,
    held: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a Store, held: bool) -> Self {
        View { store, held }
    }

    /// The points of a series with `after < t <= until`, and a stale marker where a row is without it.
    fn points(&self, series: &Series, source: &Source, after: Timestamp, until: Timestamp, points: &mut Vec<Point>) {
        let shift = if self.held { held_shift(series, source, until) } else { 0 };
        let mut stood = true;
        for (row, at) in source.rows_between(after.saturating_sub(shift), until.saturating_sub(shift)) {
            let value = series.value(row);
            if value.is_some() || (stood && series.has_begun(row)) {
                points.push(Point { at: at + shift, value: value.unwrap_or_else(stale_marker) });
            }
            stood = value.is_some();
        }
        let ended = source.ended.filter(|ended| after < *ended && *ended <= until && stood && !self.held);
        points.extend(ended.map(|at| Point { at, value: stale_marker() }));
    }

    fn value(&self, series: &Series, source: &Source, at: Timestamp, lookback: i64) -> Option<f64> {
        match self.held {
            true => held_value(series, source, at),
            false => current_value(series, source, at, lookback).map(|(value, _)| value),
        }
    }
}

/// Samples come in order of metric names. The held view shows values that are older than the lookback, too.
impl Select for View<'_> {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let sample = |(series, source): (&Series, &Source)| {
            let value = self.value(series, source, at, lookback)?;
            Some(Sample { labels: series.labels.clone(), value })
        };
        self.store.matching(matchers).filter_map(sample).collect()
    }

    fn range(
        &self,
        matchers: &[Matcher],
        after: Timestamp,
        until: Timestamp,
        visit: &mut dyn FnMut(&Labels, &[Point]),
    ) {
        let mut points = Vec::new();
        let mut shared: BTreeMap<&Labels, Vec<Point>> = BTreeMap::new();
        for (series, source) in self.store.matching(matchers) {
            points.clear();
            self.points(series, source, after, until, &mut points);
            // A removed source may have had the same series as the one that followed it.
            if !self.store.ended.is_empty() {
                shared.entry(&series.labels).or_default().append(&mut points);
            } else if !points.is_empty() {
                visit(&series.labels, &points);
            }
        }
        for (labels, mut points) in shared.into_iter().filter(|(_, points)| !points.is_empty()) {
            points.sort_by_key(|point| point.at);
            visit(labels, &points);
        }
    }
}

impl Store {
    /// Every series that the matchers pass, by metric name. Names are looked up or filtered in the index, so that only
    /// series of matching names are looked at.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (&Series, &Source)> {
        let (on_name, others): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| &*matcher.name == METRIC_NAME);
        let named = self.named(&on_name);
        let series = named.into_iter().flatten().filter_map(|id| self.series_and_source(*id));
        series.filter(move |(series, _)| others.iter().all(|matcher| matcher.matches_labels(&series.labels)))
    }

    fn named(&self, on_name: &[&Matcher]) -> Vec<&Vec<SeriesId>> {
        let passes = |name: &str| on_name.iter().all(|matcher| matcher.matches(name));
        match on_name.iter().find(|matcher| matcher.op == MatchOp::Equal) {
            Some(equal) => self.names.get(&equal.value).into_iter().filter(|_| passes(&equal.value)).collect(),
            None => self.names.iter().filter(|(name, _)| passes(name)).map(|(_, series)| series).collect(),
        }
    }

    pub(super) fn series_and_source(&self, id: SeriesId) -> Option<(&Series, &Source)> {
        let series = self.series.get(id.0)?;
        Some((series, self.sources.get(series.source)?))
    }
}

/// The value that stands in the newest row, with its time, unless that is older than `lookback`.
pub(super) fn current_value(
    series: &Series,
    source: &Source,
    at: Timestamp,
    lookback: i64,
) -> Option<(f64, Timestamp)> {
    let (row, written) = source.row_at(at)?;
    let fresh = written > at.saturating_sub(lookback);
    series.value(row).filter(|_| fresh).map(|value| (value, written))
}

/// How far the points of a series are moved so that the last one stands where the source last reported, or where the
/// range ends if that is too long ago; 0 for what is not held.
fn held_shift(series: &Series, source: &Source, until: Timestamp) -> i64 {
    let Some((newest, reported)) = source.row_at(until) else { return 0 };
    let end = if reported > until.saturating_sub(LOOKBACK) { reported } else { until };
    let row = series.last_written(newest).filter(|_| held_value(series, source, until).is_some());
    row.and_then(|row| source.time_of(row)).map_or(0, |written| end - written)
}

/// The last real value, however old, unless a complete row without it followed.
fn held_value(series: &Series, source: &Source, at: Timestamp) -> Option<f64> {
    let (newest, _) = source.row_at(at)?;
    let row = series.last_written(newest)?;
    // Of the rows that the window has left behind, only a series' last value counts.
    let kept = row >= source.base() || row + 1 == series.end();
    series.value(row).filter(|_| kept && !source.complete_between(row + 1, newest))
}
