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

use super::ast::Expr;
use crate::matcher::Matcher;
use crate::sample::{Labels, Sample, Timestamp, is_stale};
use moment::Moment;
use plan::{Place, Plan};
pub use snapshot::{Snapshot, Taking, Wanted};
pub use stepwise::{Answer, Evaluation};
pub use vector::{Vector, share_a_name, without_name};

/// How old a sample may be and still be a series' present value, milliseconds: Prometheus's default.
pub const LOOKBACK: i64 = 300_000;

/// Where evaluation takes its samples from.
pub trait Select: Sync {
    /// Of every series that matches, its newest sample with `at - lookback < t <= at`, unless that one is stale.
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample>;

    /// Shows every series that matches and has samples with `after < t <= until` to `visit`, with these samples, oldest
    /// first. Stale markers are among them. No two have the same labels.
    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp, visit: &mut dyn FnMut(&Labels, &[Point]));
}

/// As [`Select::range`], copied, without stale markers and series that have nothing else.
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
    /// How many samples may be held at once: by a snapshot, by a range, by the answer.
    pub samples: usize,
    /// How many series a selector may find, and an answer have.
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
    /// Which series became which result, for the operations that may make two series one: no two may, not even at
    /// different steps.
    origins: HashMap<(Place, Labels), Labels>,
}

impl Ledger {
    fn begin_step(&mut self, settings: &Settings, span: &Range<usize>) -> Result<(), EvalError> {
        self.spend(1, settings, span)
    }

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

    fn annotate(&mut self, annotation: Annotation) {
        // There may be as many as series.
        const MOST: usize = 50;
        if self.annotations.len() < MOST && !self.annotations.contains(&annotation) {
            self.annotations.push(annotation);
        }
    }
}

fn error(span: &Range<usize>, message: impl Into<String>) -> EvalError {
    EvalError { message: message.into(), span: span.clone(), is_limit: false }
}

/// As [`error`], of a limit.
fn beyond(span: &Range<usize>, message: String) -> EvalError {
    EvalError { message, span: span.clone(), is_limit: true }
}

const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

#[cfg(test)]
mod tests;
