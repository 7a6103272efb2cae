//! What the selectors of an expression find, taken out of the data once.

use std::collections::HashMap;
use std::ops::Range;

use super::plan::{Plan, Reading};
use super::{EvalError, Point, Select, Series, Settings, Steps, Visit, beyond};
use crate::matcher::Matcher;
use crate::promql::ast::Expr;
use crate::sample::{Labels, Sample, Timestamp, is_stale};

/// The samples that an evaluation of an expression needs at all its steps, copied: the evaluation can then go on
/// without the data, for instance without the store's lock. Answers the questions of that evaluation only.
#[derive(Debug, Default)]
pub struct Snapshot {
    taken: Vec<Taken>,
}

/// One selection over a time, stale markers included.
#[derive(Debug)]
struct Taken {
    matchers: Vec<Matcher>,
    after: Timestamp,
    until: Timestamp,
    /// Whether only the last sample of each series is kept.
    newest: bool,
    series: Vec<Series>,
}

/// A snapshot in the making, for who cannot read all of it at once: as long as something is wanted, it is to be added,
/// then said to be complete.
#[derive(Debug)]
pub struct Taking {
    /// The next one last, with the place of a selector that wants it.
    waiting: Vec<(Taken, Range<usize>)>,
    /// Where the series of the next one are.
    places: HashMap<Labels, usize>,
    /// Whether some came in several parts.
    mixed: bool,
    taken: Vec<Taken>,
    samples: usize,
    settings: Settings,
}

/// What is to be read of the series that the matchers pass: the samples with `after < t <= until`, stale markers
/// included.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub matchers: Vec<Matcher>,
    pub after: Timestamp,
    pub until: Timestamp,
}

impl Snapshot {
    /// One selection for each selector; selectors of the same series share one where their times touch.
    pub fn take(expr: &Expr, data: &dyn Select, steps: &Steps, settings: &Settings) -> Result<Self, EvalError> {
        Self::of(&Plan::new(expr, steps, settings).readings, data, settings)
    }

    /// As [`Snapshot::take`], a little at a time.
    pub fn begin(expr: &Expr, steps: &Steps, settings: &Settings) -> Taking {
        let plan = Plan::new(expr, steps, settings);
        let waiting = merged(&plan.readings).into_iter().rev().map(|(taken, expr)| (taken, expr.span.clone()));
        Taking {
            waiting: waiting.collect(),
            places: HashMap::new(),
            mixed: false,
            taken: Vec::new(),
            samples: 0,
            settings: *settings,
        }
    }

    /// Of the readings within subqueries.
    pub(super) fn of_repeated(plan: &Plan<'_>, data: &dyn Select, settings: &Settings) -> Result<Self, EvalError> {
        Self::of(plan.readings.iter().filter(|reading| reading.repeated), data, settings)
    }

    fn of<'a>(
        readings: impl IntoIterator<Item = &'a Reading<'a>>,
        data: &dyn Select,
        settings: &Settings,
    ) -> Result<Self, EvalError> {
        let mut samples = 0;
        let mut taken = Vec::new();
        for (merged, expr) in merged(readings) {
            taken.push(merged.filled(expr, data, &mut samples, settings)?);
        }
        Ok(Snapshot { taken })
    }

    fn covering(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> &[Series] {
        let covers = |taken: &&Taken| taken.after <= after && until <= taken.until && taken.matchers == matchers;
        self.taken.iter().find(covers).map_or(&[], |taken| &taken.series)
    }
}

fn merged<'a>(readings: impl IntoIterator<Item = &'a Reading<'a>>) -> Vec<(Taken, &'a Expr)> {
    let mut merged: Vec<(Taken, &Expr)> = Vec::new();
    for Reading { expr, selector, after, until, newest, .. } in readings {
        let (mut after, mut until, mut newest) = (*after, *until, *newest);
        // What it touches becomes one with it, and may then touch what it did not before.
        while let Some(found) = merged.iter().position(|(taken, _)| taken.touches(&selector.matchers, after, until)) {
            let (taken, _) = merged.swap_remove(found);
            newest &= taken.newest && (taken.after, taken.until) == (after, until);
            (after, until) = (after.min(taken.after), until.max(taken.until));
        }
        merged.push((Taken { matchers: selector.matchers.clone(), after, until, newest, series: Vec::new() }, expr));
    }
    merged
}

impl Taking {
    pub fn wanted(&self) -> Option<Wanted> {
        let (Taken { matchers, after, until, .. }, _) = self.waiting.last()?;
        Some(Wanted { matchers: matchers.clone(), after: *after, until: *until })
    }

    /// A series of what is wanted, oldest point first. It may come in several parts.
    pub fn add(&mut self, labels: &Labels, points: &[Point]) -> Result<(), EvalError> {
        let Some((taken, span)) = self.waiting.last_mut() else { return Ok(()) };
        let points = taken.kept(points);
        let series = &mut taken.series;
        self.samples += points.len();
        self.settings.check_samples(self.samples, span)?;
        match self.places.get(labels) {
            Some(place) => {
                series[*place].points.extend_from_slice(points);
                self.mixed = true;
            }
            None => {
                self.settings.check_series(series.len() + 1, span)?;
                self.places.insert(labels.clone(), series.len());
                series.push(Series { labels: labels.clone(), points: points.to_vec() });
            }
        }
        Ok(())
    }

    /// All that is wanted was added: on to the next.
    pub fn complete(&mut self) {
        self.places.clear();
        let mixed = std::mem::take(&mut self.mixed);
        let Some((mut taken, _)) = self.waiting.pop() else { return };
        for series in taken.series.iter_mut().filter(|_| mixed) {
            series.points.sort_by_key(|point| point.at);
        }
        self.taken.push(taken);
    }

    pub fn finish(self) -> Snapshot {
        Snapshot { taken: self.taken }
    }
}

impl Taken {
    fn kept<'p>(&self, points: &'p [Point]) -> &'p [Point] {
        if self.newest { &points[points.len().saturating_sub(1)..] } else { points }
    }

    fn touches(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> bool {
        self.after <= until && after <= self.until && self.matchers == matchers
    }

    fn filled(
        mut self,
        expr: &Expr,
        data: &dyn Select,
        samples: &mut usize,
        settings: &Settings,
    ) -> Result<Self, EvalError> {
        let (mut series, mut found) = (Vec::new(), 0);
        data.range(&self.matchers, self.after, self.until, &mut |labels, points| {
            let points = self.kept(points);
            found += 1;
            *samples += points.len();
            if found <= settings.series && *samples <= settings.samples {
                series.push(Series { labels: labels.clone(), points: points.to_vec() });
            }
        });
        settings.check_series(found, &expr.span)?;
        settings.check_samples(*samples, &expr.span)?;
        self.series = series;
        Ok(self)
    }
}

impl Select for Snapshot {
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample> {
        let after = at.saturating_sub(lookback);
        let newest = |series: &Series| {
            let end = series.points.partition_point(|point| point.at <= at);
            let point = series.points[..end].last()?;
            let shown = point.at > after && !is_stale(point.value);
            shown.then(|| Sample { labels: series.labels.clone(), value: point.value })
        };
        self.covering(matchers, after, at).iter().filter_map(newest).collect()
    }

    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>) {
        for series in self.covering(matchers, after, until) {
            let points = between(&series.points, after, until);
            if !points.is_empty() {
                visit(&series.labels, points);
            }
        }
    }
}

/// The points with `after < t <= until`.
pub(super) fn between(points: &[Point], after: Timestamp, until: Timestamp) -> &[Point] {
    let from = points.partition_point(|point| point.at <= after);
    let to = points.partition_point(|point| point.at <= until);
    &points[from..to.max(from)]
}

/// Only to name the errors of an evaluation that has more than it may.
impl Settings {
    pub(super) fn check_series(&self, found: usize, span: &Range<usize>) -> Result<(), EvalError> {
        let limit = self.series;
        let message = || format!("more than {limit} series are selected or made: narrow the selectors by their labels");
        if found > limit { Err(beyond(span, message())) } else { Ok(()) }
    }

    pub(super) fn check_samples(&self, samples: usize, span: &Range<usize>) -> Result<(), EvalError> {
        let limit = self.samples;
        let message = || format!("the query selects more than {limit} samples: narrow its selectors and ranges");
        if samples > limit { Err(beyond(span, message())) } else { Ok(()) }
    }
}
