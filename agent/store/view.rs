//! What the store shows at an instant.

use crate::matcher::{MatchOp, Matcher};
use crate::promql::{self, Point, Select};
use crate::sample::{METRIC_NAME, Sample, Timestamp};

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

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> Vec<promql::Series> {
        let points = |(series, source): (&Series, &Source)| {
            let rows = source.rows_between(after, until);
            let points: Vec<Point> =
                rows.filter_map(|(row, at)| Some(Point { at, value: series.value(row)? })).collect();
            (!points.is_empty()).then(|| promql::Series { labels: series.labels.clone(), points })
        };
        self.store.matching(matchers).filter_map(points).collect()
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

/// The last real value, however old, unless a complete row without it followed.
fn held_value(series: &Series, source: &Source, at: Timestamp) -> Option<f64> {
    let (newest, _) = source.row_at(at)?;
    let row = series.last_written(newest)?;
    // Of the rows that the window has left behind, only a series' last value counts.
    let kept = row >= source.base() || row + 1 == series.end();
    series.value(row).filter(|_| kept && !source.complete_between(row + 1, newest))
}
