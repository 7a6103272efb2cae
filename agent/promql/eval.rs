//! Evaluation at an instant: `(expression, samples, time) → value`, with Prometheus 3's semantics.

use std::collections::HashSet;
use std::ops::Range;

use super::aggregate::aggregate;
use super::ast::{Binary, Call, Expr, ExprKind, Function, Selector};
use super::binary;
use crate::matcher::{MatchOp, Matcher};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};

/// How old a sample may be and still be a series' present value, milliseconds: Prometheus's default.
pub const LOOKBACK: i64 = 300_000;

/// How many samples one evaluation may select and make.
const SAMPLE_LIMIT: usize = 5_000_000;

/// Where evaluation takes its samples from.
pub trait Select {
    /// Of every series that matches, its newest sample with `at - lookback < t <= at`, unless that one is stale.
    fn instant(&self, matchers: &[Matcher], at: Timestamp, lookback: i64) -> Vec<Sample>;

    /// Of every series that matches, its samples with `after < t <= until`. Stale markers are left out, and series
    /// that have no sample then.
    fn range(&self, matchers: &[Matcher], after: Timestamp, until: Timestamp) -> Vec<Series>;
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
pub fn evaluate(expr: &Expr, data: &dyn Select, at: Timestamp) -> Result<Value, EvalError> {
    Evaluation { data, at, samples: 0 }.value(expr)
}

struct Evaluation<'a> {
    data: &'a dyn Select,
    at: Timestamp,
    /// Samples selected and made so far.
    samples: usize,
}

impl Evaluation<'_> {
    fn value(&mut self, expr: &Expr) -> Result<Value, EvalError> {
        let value = match &expr.kind {
            ExprKind::Number(value) => Value::Scalar(*value),
            ExprKind::String(text) => Value::String(text.clone()),
            ExprKind::Selector(selector) => Value::Vector(self.select(selector)),
            ExprKind::Paren(inner) => return self.value(inner),
            ExprKind::Unary { negative, operand } => self.signed(*negative, operand)?,
            ExprKind::Binary(binary) => self.binary(binary, &expr.span)?,
            ExprKind::Aggregate(operation) => {
                let operand = self.vector(&operation.operand)?;
                Value::Vector(aggregate(operation.op, operation.grouping.as_ref(), operand))
            }
            ExprKind::Call(call) => self.call(call)?,
        };
        self.bounded(value, &expr.span)
    }

    fn bounded(&mut self, value: Value, span: &Range<usize>) -> Result<Value, EvalError> {
        if let Value::Vector(samples) = &value {
            self.samples += samples.len();
        }
        if self.samples > SAMPLE_LIMIT {
            let message = format!("the query selects more than {SAMPLE_LIMIT} samples: narrow its selectors");
            return Err(EvalError { message, span: span.clone() });
        }
        Ok(value)
    }

    fn select(&self, selector: &Selector) -> Vec<Sample> {
        self.data.instant(&selector.matchers, self.at, LOOKBACK)
    }

    /// The samples of an operand whose type was checked when it was parsed.
    fn vector(&mut self, expr: &Expr) -> Result<Vec<Sample>, EvalError> {
        match self.value(expr)? {
            Value::Vector(samples) => Ok(samples),
            Value::Scalar(_) | Value::String(_) => {
                Err(EvalError { message: "an instant vector was expected".into(), span: expr.span.clone() })
            }
        }
    }

    fn signed(&mut self, negative: bool, operand: &Expr) -> Result<Value, EvalError> {
        match self.value(operand)? {
            value if !negative => Ok(value),
            Value::Scalar(value) => Ok(Value::Scalar(-value)),
            Value::Vector(samples) => {
                let negated = |sample: Sample| Sample { labels: drop_name(&sample.labels), value: -sample.value };
                unique(samples.into_iter().map(negated).collect(), &operand.span).map(Value::Vector)
            }
            Value::String(text) => Ok(Value::String(text)),
        }
    }

    fn binary(&mut self, expr: &Binary, span: &Range<usize>) -> Result<Value, EvalError> {
        let (left, right) = (self.value(&expr.left)?, self.value(&expr.right)?);
        let fail = |message| EvalError { message, span: span.clone() };
        let samples = match (left, right) {
            (Value::Scalar(left), Value::Scalar(right)) => {
                return Ok(Value::Scalar(binary::scalars(expr.op, left, right)));
            }
            (Value::Vector(left), Value::Scalar(right)) => binary::with_scalar(expr, left, right, false),
            (Value::Scalar(left), Value::Vector(right)) => binary::with_scalar(expr, right, left, true),
            (Value::Vector(left), Value::Vector(right)) if expr.op.is_set() => {
                binary::sets(expr.op, expr.matching.as_ref(), left, &right)
            }
            (Value::Vector(left), Value::Vector(right)) => binary::one_to_one(expr, left, right).map_err(fail)?,
            (Value::String(_), _) | (_, Value::String(_)) => {
                return Err(fail("strings cannot be operands".into()));
            }
        };
        unique(samples, span).map(Value::Vector)
    }

    fn call(&mut self, call: &Call) -> Result<Value, EvalError> {
        match (call.function, call.arguments.first()) {
            (Function::Absent, Some(argument)) => {
                let present = !self.vector(argument)?.is_empty();
                let absent = Sample { labels: absent_labels(argument), value: 1.0 };
                Ok(Value::Vector(if present { Vec::new() } else { vec![absent] }))
            }
            (Function::Absent, None) => Ok(Value::Vector(Vec::new())),
            #[expect(clippy::cast_precision_loss, reason = "exact for the next 280,000 years")]
            (Function::Time, _) => Ok(Value::Scalar(self.at as f64 / 1_000.0)),
        }
    }
}

/// What `absent` knows of the missing series: the labels that a bare selector asks for by equality, once.
fn absent_labels(argument: &Expr) -> Labels {
    let ExprKind::Selector(selector) = &argument.kind else { return Labels::default() };
    let named = |matcher: &&Matcher| &*matcher.name != METRIC_NAME;
    let once = |matcher: &&Matcher| selector.matchers.iter().filter(|other| other.name == matcher.name).count() == 1;
    let equal = selector.matchers.iter().filter(named).filter(|matcher| matcher.op == MatchOp::Equal).filter(once);
    Labels::new(equal.map(|matcher| (matcher.name.clone(), matcher.value.clone())))
}

pub fn drop_name(labels: &Labels) -> Labels {
    if labels.metric_name().is_empty() { labels.clone() } else { labels.filtered(|name| name != METRIC_NAME) }
}

/// Dropping labels may make two series one, which Prometheus refuses.
fn unique(samples: Vec<Sample>, span: &Range<usize>) -> Result<Vec<Sample>, EvalError> {
    let mut seen = HashSet::with_capacity(samples.len());
    if samples.iter().all(|sample| seen.insert(&sample.labels)) {
        return Ok(samples);
    }
    Err(EvalError { message: "vector cannot contain metrics with the same labelset".into(), span: span.clone() })
}
