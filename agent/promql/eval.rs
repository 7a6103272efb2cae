//! Evaluation: `(expression, samples, time) → value`, with Prometheus 3's semantics.

mod call;
mod collected;
mod moment;
mod plan;
mod snapshot;
mod stepwise;
mod vector;

use std::collections::HashMap;
use std::ops::Range;

use super::aggregate::go_general;
use super::ast::Expr;
use super::math::{larger, smaller};
use crate::matcher::Matcher;
#[cfg(test)]
use crate::sample::is_stale;
use crate::sample::{Labels, Sample, Timestamp};
use moment::Moment;
use plan::{Place, Plan};
pub use snapshot::{Snapshot, Taking, Wanted};
pub use stepwise::{Answer, Evaluation};
pub use vector::{Vector, have_metadata, only_names_differ, share_a_name, without_name};

/// How old a sample may be and still be a series' present value, milliseconds: Prometheus's default.
pub const LOOKBACK: i64 = 300_000;

/// What is shown of each series: its labels, and some of its samples.
pub type Visit<'a> = dyn FnMut(&Labels, &[Point]) + 'a;

/// Where evaluation takes its samples from.
pub trait Select: Sync {
    /// Of every series that matches, its newest sample with `at - lookback < t <= at`, unless that one is stale.
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample>;

    /// Shows every series that matches and has samples with `after < t <= until` to `visit`, with these samples, oldest
    /// first. Stale markers are among them. No two have the same labels.
    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut Visit<'_>);
}

/// As [`Select::range`], copied, without stale markers and series that have nothing else.
#[cfg(test)]
pub fn series_between(data: &dyn Select, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> Vec<Series> {
    let mut found = Vec::new();
    data.range(matchers, after, until, &mut |labels, points| {
        let points: Vec<Point> = points.iter().filter(|point| !is_stale(point.value)).copied().collect();
        if !points.is_empty() {
            found.push(Series { labels: labels.clone(), points });
        }
    });
    found
}

/// What an evaluation needs besides expression, samples and time.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// See [`LOOKBACK`].
    pub lookback: i64,
    /// The step of subqueries that name none, milliseconds: the default interval of rule groups.
    pub subquery_step: i64,
    /// How many samples may be held at once: by a snapshot, by a range, by the operands of what is still to be evaluated,
    /// by the answer.
    pub samples: usize,
    /// How many series a selector may find, an operation make, and an answer have.
    pub series: usize,
    /// How many samples an evaluation may look at and make in all, over all its steps. It stands for time, so that
    /// evaluation stays pure and its bound repeatable: ten million take about a second.
    pub work: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { lookback: LOOKBACK, subquery_step: 60_000, samples: 5_000_000, series: 500_000, work: 50_000_000 }
    }
}

/// The times of a range evaluation: `from`, `from + step`, … up to `to`, Unix milliseconds. The step is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub from: Timestamp,
    pub to: Timestamp,
    pub step: i64,
}

impl Steps {
    /// One instant.
    pub fn once(at: Timestamp) -> Self {
        Steps { from: at, to: at, step: 1 }
    }
}

/// The samples of one series over a time, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    pub points: Vec<Point>,
}

/// One sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    pub at: Timestamp,
    pub value: f64,
}

/// What an expression is worth at an instant.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(f64),
    /// No two samples have the same labels.
    Vector(Vec<Sample>),
    /// In order of their labels, no two series have the same.
    Matrix(Vec<Series>),
    String(String),
}

/// Why an expression has no value. `span` is a byte range of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    pub message: String,
    pub span: Range<usize>,
    /// Whether it has one only beyond a limit of the [`Settings`].
    pub is_limit: bool,
}

/// What is to be said of a value that the expression has all the same. `span` is a byte range of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// A warning: the value may be wrong. Else an information.
    pub is_warning: bool,
    pub message: String,
    pub span: Range<usize>,
}

/// Evaluates an expression at an instant (Unix milliseconds). What subqueries read is selected once for all their steps.
pub fn evaluate(expr: &Expr, data: &dyn Select, at: Timestamp, settings: &Settings) -> Result<Value, EvalError> {
    let steps = Steps::once(at);
    let plan = Plan::new(expr, &steps, settings);
    let snapshot = Snapshot::of_repeated(&plan, data, settings)?;
    let mut evaluation = Evaluation::planned(expr, plan, data, &snapshot, steps, *settings, true);
    evaluation.advance(usize::MAX)?;
    Ok(evaluation.finish().value)
}

/// Evaluates an expression at each of the steps: series in order of their labels, a scalar as one without labels.
pub fn evaluate_range(
    expr: &Expr,
    data: &dyn Select,
    steps: &Steps,
    settings: &Settings,
) -> Result<Vec<Series>, EvalError> {
    let snapshot = Snapshot::take(expr, data, steps, settings)?;
    let mut evaluation = Evaluation::range(expr, &snapshot, *steps, *settings)?;
    evaluation.advance(usize::MAX)?;
    match evaluation.finish().value {
        Value::Matrix(series) => Ok(series),
        _ => Ok(Vec::new()),
    }
}

/// A value on the way.
#[derive(Debug, Clone)]
enum Intermediate {
    Scalar(f64),
    Vector(Vector),
    Matrix(Vec<Series>),
    String(String),
}

impl Intermediate {
    fn samples(&self) -> usize {
        match self {
            Intermediate::Vector(vector) => vector.samples.len(),
            Intermediate::Matrix(series) => series.iter().map(|series| series.points.len()).sum(),
            Intermediate::Scalar(_) | Intermediate::String(_) => 1,
        }
    }

    fn shown(self) -> Value {
        match self {
            Intermediate::Scalar(value) => Value::Scalar(value),
            Intermediate::Vector(vector) => Value::Vector(vector.shown()),
            Intermediate::Matrix(series) => Value::Matrix(sorted(series)),
            Intermediate::String(text) => Value::String(text),
        }
    }
}

fn sorted(mut series: Vec<Series>) -> Vec<Series> {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// What an evaluation keeps from step to step.
#[derive(Debug, Default)]
struct Ledger {
    /// Samples looked at and made so far.
    work: usize,
    annotations: Vec<Annotation>,
    /// The values of the parts that are worth the same at every step.
    constants: HashMap<Place, Option<Intermediate>>,
    /// Where a step is divided: the values that its next operations are made of.
    ready: HashMap<Place, Intermediate>,
    /// Of the next one, where it is a `label_replace` or `label_join`: how many of the samples have their labels.
    relabelled: usize,
    /// Which series became which result, for the operations that may make two series one: no two may, not even at
    /// different steps.
    origins: HashMap<(Place, Labels), Labels>,
    /// Of each `quantile` what it was asked for at all steps.
    quantiles: HashMap<Place, Asked>,
    /// When each function of histograms first had any.
    named: HashMap<Place, Timestamp>,
}

/// The quantiles that an aggregation was asked for.
#[derive(Debug)]
struct Asked {
    /// How many annotations there were when it was first asked.
    after: usize,
    span: Range<usize>,
    least: f64,
    most: f64,
    not_a_number: bool,
}

impl Asked {
    /// Those that are none, as Prometheus says it: only the farthest ones.
    fn wrong(&self) -> impl Iterator<Item = f64> {
        let of = |is_wrong: bool, q: f64| is_wrong.then_some(q);
        let wrong = [of(self.not_a_number, f64::NAN), of(self.least < 0.0, self.least), of(self.most > 1.0, self.most)];
        wrong.into_iter().flatten()
    }
}

impl Ledger {
    fn spend(&mut self, samples: usize, settings: &Settings, span: &Range<usize>) -> Result<(), EvalError> {
        self.work = self.work.saturating_add(samples);
        let limit = settings.work;
        let message = || {
            format!(
                "the query looks at more than {limit} samples in all its steps: take fewer series, shorter ranges, or \
                 longer steps"
            )
        };
        if self.work > limit { Err(beyond(span, message())) } else { Ok(()) }
    }

    /// Notes what quantile an aggregation is asked for at a step.
    fn ask_for_quantile(&mut self, place: Place, q: f64, span: &Range<usize>) {
        let after = self.annotations.len();
        let none = || Asked { after, span: span.clone(), least: f64::MAX, most: -f64::MAX, not_a_number: false };
        let asked = self.quantiles.entry(place).or_insert_with(none);
        (asked.least, asked.most) = (smaller(asked.least, q), larger(asked.most, q));
        asked.not_a_number |= q.is_nan();
    }

    /// What is to be said at the end.
    fn annotations(mut self) -> Vec<Annotation> {
        let mut quantiles: Vec<Asked> = self.quantiles.into_values().collect();
        quantiles.sort_by_key(|asked| std::cmp::Reverse((asked.after, asked.span.start)));
        for asked in quantiles {
            let wrong = asked.wrong().map(|q| no_quantile(q, &asked.span));
            self.annotations.splice(asked.after..asked.after, wrong.collect::<Vec<_>>());
        }
        self.annotations
    }

    /// Keeps the value of an operation for that which is made of it.
    fn hold(&mut self, operation: &Expr, value: Intermediate, settings: &Settings) -> Result<(), EvalError> {
        self.ready.insert(plan::place(operation), value);
        let samples = self.ready.values().map(Intermediate::samples).sum();
        settings.check_samples(samples, &operation.span)
    }

    /// Whether a part is worth the same at every step, and was evaluated.
    fn knows(&self, expr: &Expr) -> bool {
        matches!(self.constants.get(&plan::place(expr)), Some(Some(_)))
    }

    fn annotate(&mut self, annotation: Annotation) {
        // There may be as many as series.
        const MOST: usize = 50;
        if self.annotations.len() < MOST && !self.annotations.contains(&annotation) {
            self.annotations.push(annotation);
        }
    }
}

/// What Prometheus says of a quantile that is none.
fn no_quantile(q: f64, span: &Range<usize>) -> Annotation {
    let message = format!("quantile value should be between 0 and 1, got {}", go_general(q));
    Annotation { is_warning: true, message, span: span.clone() }
}

fn error(span: &Range<usize>, message: impl Into<String>) -> EvalError {
    EvalError { message: message.into(), span: span.clone(), is_limit: false }
}

/// As [`error`], of a limit.
fn beyond(span: &Range<usize>, message: String) -> EvalError {
    EvalError { message, span: span.clone(), is_limit: true }
}

pub const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

#[cfg(test)]
mod tests;
