//! Evaluation at an instant: `(expression, samples, time) → value`, with Prometheus 3's semantics.

mod call;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::aggregate::{self, extremes};
use super::ast::{Aggregate, AggregateOp, At, Binary, Expr, ExprKind, Selector};
use super::binary;
use crate::matcher::Matcher;
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp, is_stale};

/// How old a sample may be and still be a series' present value, milliseconds: Prometheus's default.
pub const LOOKBACK: i64 = 300_000;

/// Where evaluation takes its samples from.
pub trait Select {
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
    /// How many samples one evaluation may select and make.
    pub samples: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { lookback: LOOKBACK, subquery_step: 60_000, samples: 5_000_000 }
    }
}

/// The times of a range evaluation: `from`, `from + step`, … up to `to`, Unix milliseconds. The step is at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub from: Timestamp,
    pub to: Timestamp,
    pub step: i64,
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
    /// No two series have the same labels.
    Matrix(Vec<Series>),
    String(String),
}

/// Why an expression has no value. `span` is a byte range of its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    pub message: String,
    pub span: Range<usize>,
}

/// Evaluates an expression at an instant (Unix milliseconds).
pub fn evaluate(expr: &Expr, data: &dyn Select, at: Timestamp, settings: &Settings) -> Result<Value, EvalError> {
    Evaluation { data, at, start: at, end: at, settings, samples: 0 }.value(expr)
}

/// Evaluates an expression at each of the steps: series in order of their labels, a scalar as one without labels.
pub fn evaluate_range(
    expr: &Expr,
    data: &dyn Select,
    steps: &Steps,
    settings: &Settings,
) -> Result<Vec<Series>, EvalError> {
    let mut found: BTreeMap<Labels, Vec<Point>> = BTreeMap::new();
    let mut evaluation = Evaluation { data, at: steps.from, start: steps.from, end: steps.to, settings, samples: 0 };
    while evaluation.at <= steps.to {
        let at = evaluation.at;
        let samples = match evaluation.value(expr)? {
            Value::Vector(samples) => samples,
            Value::Scalar(value) => vec![Sample { labels: Labels::default(), value }],
            Value::Matrix(_) | Value::String(_) => {
                let kind = expr.value_type().name();
                return Err(error(&expr.span, format!("a range evaluation of a {kind}: it takes scalars and vectors")));
            }
        };
        for Sample { labels, value } in samples {
            found.entry(labels).or_default().push(Point { at, value });
        }
        evaluation.at += steps.step.max(1);
    }
    Ok(found.into_iter().map(|(labels, points)| Series { labels, points }).collect())
}

struct Evaluation<'a> {
    data: &'a dyn Select,
    at: Timestamp,
    /// The first and the last time of the whole query.
    start: Timestamp,
    end: Timestamp,
    settings: &'a Settings,
    /// Samples selected and made so far.
    samples: usize,
}

impl Evaluation<'_> {
    fn value(&mut self, expr: &Expr) -> Result<Value, EvalError> {
        let value = match &expr.kind {
            ExprKind::Number(value) => Value::Scalar(*value),
            ExprKind::String(text) => Value::String(text.clone()),
            ExprKind::Selector(selector) => self.select(selector),
            ExprKind::Subquery(_) => return Err(error(&expr.span, "subqueries are not evaluated yet")),
            ExprKind::Paren(inner) => return self.value(inner),
            ExprKind::Unary { negative, operand } => self.signed(*negative, operand)?,
            ExprKind::Binary(binary) => self.binary(binary, &expr.span)?,
            ExprKind::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate)?),
            ExprKind::Call(call) => self.call(call, &expr.span)?,
        };
        self.bounded(value, &expr.span)
    }

    fn bounded(&mut self, value: Value, span: &Range<usize>) -> Result<Value, EvalError> {
        self.samples += match &value {
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.iter().map(|series| series.points.len()).sum(),
            Value::Scalar(_) | Value::String(_) => 0,
        };
        let limit = self.settings.samples;
        if self.samples > limit {
            let message = format!("the query selects more than {limit} samples: narrow its selectors and ranges");
            return Err(error(span, message));
        }
        Ok(value)
    }

    fn select(&self, selector: &Selector) -> Value {
        let at = self.time_of(selector.at, selector.offset);
        match selector.range {
            None => Value::Vector(self.data.instant(&selector.matchers, at, self.settings.lookback)),
            Some(range) => Value::Matrix(series_between(self.data, &selector.matchers, at.saturating_sub(range), at)),
        }
    }

    /// Where a selector or subquery looks.
    fn time_of(&self, at: Option<At>, offset: i64) -> Timestamp {
        let at = match at {
            None => self.at,
            Some(At::Time(at)) => at,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        at.saturating_sub(offset)
    }

    /// The samples of an operand whose type was checked when it was parsed.
    fn vector(&mut self, expr: &Expr) -> Result<Vec<Sample>, EvalError> {
        match self.value(expr)? {
            Value::Vector(samples) => Ok(samples),
            _ => Err(error(&expr.span, "an instant vector was expected")),
        }
    }

    fn scalar(&mut self, expr: &Expr) -> Result<f64, EvalError> {
        match self.value(expr)? {
            Value::Scalar(value) => Ok(value),
            _ => Err(error(&expr.span, "a scalar was expected")),
        }
    }

    fn signed(&mut self, negative: bool, operand: &Expr) -> Result<Value, EvalError> {
        match self.value(operand)? {
            Value::Scalar(value) if negative => Ok(Value::Scalar(-value)),
            Value::Vector(mut samples) if negative => {
                samples.iter_mut().for_each(|sample| sample.value = -sample.value);
                without_names(samples, &operand.span).map(Value::Vector)
            }
            value => Ok(value),
        }
    }

    fn binary(&mut self, expr: &Binary, span: &Range<usize>) -> Result<Value, EvalError> {
        let (left, right) = (self.value(&expr.left)?, self.value(&expr.right)?);
        let samples = match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                return Ok(Value::Scalar(binary::scalars(expr.op, left, right)));
            }
            (Value::Vector(left), Value::Scalar(right)) => with_scalar(expr, left, right, false, span)?,
            (Value::Scalar(left), Value::Vector(right)) => with_scalar(expr, right, left, true, span)?,
            (Value::Vector(left), Value::Vector(right)) if expr.op.is_set() => {
                binary::sets(expr.op, expr.matching.as_ref(), left, right)
            }
            (Value::Vector(left), Value::Vector(right)) => {
                binary::vectors(expr, &left, &right).map_err(|message| error(span, message))?
            }
            _ => return Err(error(span, "binary expression must contain only scalar and instant vector types")),
        };
        Ok(Value::Vector(samples))
    }

    fn aggregate(&mut self, expr: &Aggregate) -> Result<Vec<Sample>, EvalError> {
        let parameter = expr.parameter.as_ref().map(|parameter| self.value(parameter)).transpose()?;
        let samples = self.vector(&expr.operand)?;
        let grouping = expr.grouping.as_ref();
        match (expr.op, &expr.parameter, parameter) {
            _ if samples.is_empty() => Ok(samples),
            (AggregateOp::Topk | AggregateOp::Bottomk, Some(place), Some(Value::Scalar(count))) => {
                Ok(extremes(expr.op, how_many(count, &place.span)?, grouping, &samples))
            }
            (AggregateOp::Quantile, _, Some(Value::Scalar(q))) => Ok(aggregate::quantiles(q, grouping, &samples)),
            (AggregateOp::CountValues, _, Some(Value::String(name))) => {
                Ok(aggregate::count_values(&name, grouping, &samples))
            }
            (op, ..) => Ok(aggregate::fold(op, grouping, &samples)),
        }
    }
}

fn with_scalar(
    expr: &Binary,
    vector: Vec<Sample>,
    scalar: f64,
    swapped: bool,
    span: &Range<usize>,
) -> Result<Vec<Sample>, EvalError> {
    let samples = binary::with_scalar(expr, vector, scalar, swapped);
    if binary::filters(expr) { Ok(samples) } else { without_names(samples, span) }
}

/// The parameter of `topk` and `bottomk` as a number of samples.
fn how_many(count: f64, span: &Range<usize>) -> Result<usize, EvalError> {
    if count.is_nan() {
        return Err(error(span, "Parameter value is NaN"));
    }
    // The largest number that is still a 64-bit integer.
    const LIMIT: f64 = 9_223_372_036_854_774_784.0;
    if count > LIMIT {
        return Err(error(span, format!("Scalar value {count} overflows int64")));
    }
    Ok(count.max(0.0) as usize)
}

fn error(span: &Range<usize>, message: impl Into<String>) -> EvalError {
    EvalError { message: message.into(), span: span.clone() }
}

/// Takes the metrics' names off. What only its name told apart is then the same, which Prometheus refuses.
fn without_names(mut samples: Vec<Sample>, span: &Range<usize>) -> Result<Vec<Sample>, EvalError> {
    let mut names = samples.iter().map(|sample| sample.labels.metric_name());
    let first = names.next().unwrap_or_default();
    let one_name = names.all(|name| name == first);
    let unnamed = first.is_empty() && one_name;
    if !unnamed {
        samples.iter_mut().for_each(|sample| sample.labels = drop_name(&sample.labels));
    }
    if one_name { Ok(samples) } else { unique(samples, span) }
}

fn drop_name(labels: &Labels) -> Labels {
    if labels.metric_name().is_empty() { labels.clone() } else { labels.filtered(|name| name != METRIC_NAME) }
}

fn unique(samples: Vec<Sample>, span: &Range<usize>) -> Result<Vec<Sample>, EvalError> {
    let mut seen = HashSet::with_capacity(samples.len());
    if samples.iter().all(|sample| seen.insert(&sample.labels)) {
        return Ok(samples);
    }
    Err(error(span, "vector cannot contain metrics with the same labelset"))
}

#[cfg(test)]
mod tests;
