//! What the store shows at an instant.

use std::collections::BTreeMap;

use crate::matcher::{MatchOp, Matcher};
use crate::promql::{LOOKBACK, Point, Select, Visit};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp, is_stale, stale_marker};

use super::series::Series;
use super::source::Source;
use super::values::is_absent;
use super::{SeriesId, Store};

/// The store as seen by rules: see [`Store::current`] and [`Store::held`].
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    store: &'a Store,
    held: bool,
}

/// The points of one series, and the values that they are made of: room that the next one uses again.
#[derive(Default)]
pub(super) struct Found {
    values: Vec<f64>,
    pub points: Vec<Point>,
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a Store, held: bool) -> Self {
        View { store, held }
    }

    /// The points of a series with `after < t <= until`, and a stale marker where it went missing: in the first row
    /// without it (of what is held, in the first complete one), and at the end of its source.
    pub(super) fn points(
        &self,
        series: &Series,
        source: &Source,
        after: Timestamp,
        until: Timestamp,
        found: &mut Found,
    ) {
        let Found { values, points } = found;
        values.clear();
        points.clear();
        let shift = if self.held { held_shift(series, source, until) } else { 0 };
        let rows = source.rows_between(after.saturating_sub(shift), until.saturating_sub(shift));
        let before = rows.start.checked_sub(1).filter(|before| *before >= source.base());
        let mut stood = before.is_some_and(|before| self.stands(series, source, before));
        series.copy(&rows, values);
        points.reserve(values.len() + 1);
        for (value, (at, complete)) in values.iter().copied().zip(source.rows(series.spanned(&rows))) {
            let is_value = !is_absent(value) && !is_stale(value);
            let ends = stood && (complete || !self.held || is_stale(value));
            if is_value || ends {
                points.push(Point { at: at + shift, value: if is_value { value } else { stale_marker() } });
                stood = is_value;
            }
        }
        let missing = series.end().clamp(rows.start, rows.end)..rows.end;
        let end = source.rows(missing).find(|(_, complete)| *complete || !self.held).filter(|_| stood);
        stood &= end.is_none();
        let ended = source.ended.filter(|ended| after < *ended && *ended <= until && stood);
        let ends = end.map(|(at, _)| at + shift).or(ended);
        points.extend(ends.map(|at| Point { at, value: stale_marker() }));
    }

    /// Whether the series is there as of a row.
    fn stands(&self, series: &Series, source: &Source, row: u64) -> bool {
        let written = if self.held { series.last_written(row) } else { Some(row) };
        let stands = |written| series.value(written).is_some() && !source.complete_between(written + 1, row);
        written.is_some_and(stands)
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

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
        let mut found = Found::default();
        let mut shared: BTreeMap<&Labels, Vec<Point>> = BTreeMap::new();
        for (series, source) in self.store.matching(matchers) {
            self.points(series, source, after, until, &mut found);
            let points = &mut found.points;
            // A removed source may have had the same series as the one that followed it.
            if !self.store.ended.is_empty() {
                shared.entry(&series.labels).or_default().append(points);
            } else if !points.is_empty() {
                visit(&series.labels, points);
            }
        }
        for (labels, mut points) in shared.into_iter().filter(|(_, points)| !points.is_empty()) {
            points.sort_by_key(|point| point.at);
            visit(labels, &points);
        }
    }
}

impl Store {
    /// Every series that the matchers pass, by metric name. What rules select is remembered; for others, names are
    /// looked up or filtered in the index, so that only series of matching names are looked at.
    pub(super) fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (&Series, &Source)> {
        let remembered = self.selections.find(matchers);
        let (lists, others) = match remembered {
            Some(_) => (Vec::new(), Vec::new()),
            None => self.unremembered(matchers),
        };
        let series = remembered.into_iter().chain(lists).flatten().filter_map(|id| self.series_and_source(*id));
        series.filter(move |(series, _)| others.iter().all(|matcher| matcher.matches_labels(&series.labels)))
    }

    /// The series of matching names, and the matchers on other labels.
    pub(super) fn unremembered<'a>(&self, matchers: &'a [Matcher]) -> (Vec<&[SeriesId]>, Vec<&'a Matcher>) {
        let (on_name, others): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| &*matcher.name == METRIC_NAME);
        (self.named(&on_name).into_iter().map(Vec::as_slice).collect(), others)
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
