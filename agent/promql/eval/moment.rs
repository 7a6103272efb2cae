//! One step of an evaluation: the value of each node of the tree.

use std::collections::HashMap;
use std::ops::Range;

use super::plan::{Place, fixed, place};
use super::snapshot::between;
use super::vector::{Vector, have_metadata, only_names_differ, without_name};
use super::{EvalError, Intermediate, Ledger, Point, SAME_LABELS, Select, Series, Settings, Steps, Visit, error};
use crate::matcher::MatchOp;
use crate::promql::aggregate::{self, extremes, go_general};
use crate::promql::ast::{Aggregate, AggregateOp, At, Binary, Expr, ExprKind, Selector, Subquery};
use crate::promql::binary;
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp, is_stale};

pub(super) struct Moment<'a> {
    pub data: &'a dyn Select,
    /// The results of the subqueries.
    pub subqueries: &'a HashMap<Place, Vec<Series>>,
    pub at: Timestamp,
    /// The times of the whole query.
    pub query: Steps,
    pub settings: &'a Settings,
    /// Whether there are other steps, whose series must not become the same as this one's.
    pub tells_origins: bool,
    /// Whether this is within an aggregation's parameter: see [`fixed`].
    pub in_parameter: bool,
    pub ledger: &'a mut Ledger,
}

impl Moment<'_> {
    pub fn value(&mut self, expr: &Expr) -> Result<Intermediate, EvalError> {
        if self.ledger.constants.is_empty() && self.ledger.ready.is_empty() {
            return self.computed_value(expr);
        }
        let place = place(expr);
        if let Some(ready) = self.ledger.ready.remove(&place) {
            return Ok(ready);
        }
        if let Some(Some(known)) = self.ledger.constants.get(&place) {
            return Ok(known.clone());
        }
        let value = self.computed_value(expr)?;
        if let Some(unknown) = self.ledger.constants.get_mut(&place) {
            *unknown = Some(value.clone());
        }
        Ok(value)
    }

    fn computed_value(&mut self, expr: &Expr) -> Result<Intermediate, EvalError> {
        let value = match &expr.kind {
            ExprKind::Number(value) => Intermediate::Scalar(*value),
            ExprKind::String(text) => Intermediate::String(text.clone()),
            ExprKind::Selector(selector) if selector.range.is_none() => Intermediate::Vector(self.select(selector)),
            ExprKind::Selector(_) | ExprKind::Subquery(_) => Intermediate::Matrix(self.matrix(expr)?),
            ExprKind::Paren(inner) => return self.value(inner),
            ExprKind::Unary { negative, operand } => self.signed(*negative, operand)?,
            ExprKind::Binary(binary) => self.binary(binary, &expr.span)?,
            ExprKind::Aggregate(aggregate) => Intermediate::Vector(self.aggregate(aggregate)?),
            ExprKind::Call(call) => self.call(call, expr)?,
        };
        if let Intermediate::Vector(vector) = &value {
            self.settings.check_series(vector.samples.len(), &expr.span)?;
            self.ledger.spend(vector.samples.len(), self.settings, &expr.span)?;
        }
        Ok(value)
    }

    fn select(&self, selector: &Selector) -> Vector {
        let at = self.time_of(selector.at, selector.offset);
        Vector::named(self.data.instant(&selector.matchers, at, self.settings.lookback))
    }

    /// Where a selector or subquery looks.
    pub fn time_of(&self, at: Option<At>, offset: i64) -> Timestamp {
        fixed(at, &self.query, self.in_parameter).unwrap_or(self.at).saturating_sub(offset)
    }

    fn matrix(&mut self, expr: &Expr) -> Result<Vec<Series>, EvalError> {
        let mut found = Vec::new();
        let (mut samples, most) = (0, self.settings.samples);
        self.visit(expr, &mut |labels, points| {
            samples += points.len();
            if samples <= most {
                found.push(Series { labels: labels.clone(), points: points.to_vec() });
            }
        })?;
        self.settings.check_samples(samples, &expr.span)?;
        Ok(found)
    }

    /// Shows the points of each series in the window of a range selector or subquery, without stale markers, to
    /// `visit`: at least one, oldest first.
    pub fn visit(&mut self, expr: &Expr, visit: &mut Visit<'_>) -> Result<(), EvalError> {
        let (after, until) = self.window(expr)?;
        let (mut series, mut samples) = (0, 0);
        let mut seen = |labels: &Labels, points: &[Point]| {
            (series, samples) = (series + 1, samples + points.len());
            visit(labels, points);
        };
        match &expr.unwrapped().kind {
            ExprKind::Selector(selector) => {
                let mut without_stale = Vec::new();
                self.data.range(&selector.matchers, after, until, &mut |labels, points| {
                    if !points.iter().any(|point| is_stale(point.value)) {
                        return seen(labels, points);
                    }
                    without_stale.clear();
                    without_stale.extend(points.iter().filter(|point| !is_stale(point.value)));
                    if !without_stale.is_empty() {
                        seen(labels, &without_stale);
                    }
                });
            }
            ExprKind::Subquery(subquery) => {
                let results = self.subqueries.get(&place::<Subquery>(subquery));
                for Series { labels, points } in results.into_iter().flatten() {
                    let points = between(points, after, until);
                    if !points.is_empty() {
                        seen(labels, points);
                    }
                }
            }
            _ => {}
        }
        self.settings.check_series(series, &expr.span)?;
        self.ledger.spend(samples, self.settings, &expr.span)
    }

    /// The times of a range selector's or subquery's window: after the first, up to the second.
    pub fn window(&self, expr: &Expr) -> Result<(Timestamp, Timestamp), EvalError> {
        let (until, range) = match &expr.unwrapped().kind {
            ExprKind::Selector(Selector { at, offset, range: Some(range), .. }) => (self.time_of(*at, *offset), *range),
            ExprKind::Subquery(subquery) => (self.time_of(subquery.at, subquery.offset), subquery.range),
            _ => return Err(error(&expr.span, "a range vector was expected")),
        };
        Ok((until.saturating_sub(range), until))
    }

    /// The samples of an operand whose type was checked when it was parsed.
    pub fn vector(&mut self, expr: &Expr) -> Result<Vector, EvalError> {
        match self.value(expr)? {
            Intermediate::Vector(vector) => Ok(vector),
            _ => Err(error(&expr.span, "an instant vector was expected")),
        }
    }

    pub fn scalar(&mut self, expr: &Expr) -> Result<f64, EvalError> {
        match self.value(expr)? {
            Intermediate::Scalar(value) => Ok(value),
            _ => Err(error(&expr.span, "a scalar was expected")),
        }
    }

    /// Takes the metrics' names off. What only its name told apart is then the same, which Prometheus refuses; where
    /// `over_all_steps`, also if it never was there at once. `from` is what the samples were made of.
    pub fn without_names(
        &mut self,
        vector: Vector,
        expr: &Expr,
        from: &Expr,
        over_all_steps: bool,
    ) -> Result<Vector, EvalError> {
        if vector.nameless || (names_one_metric(from) && !have_metadata(&vector.samples)) {
            return Ok(Vector { nameless: true, ..vector });
        }
        if only_names_differ(&vector.samples) {
            return Err(error(&expr.span, SAME_LABELS));
        }
        if over_all_steps && self.tells_origins {
            for Sample { labels, .. } in &vector.samples {
                self.trace(expr, without_name(labels), labels)?;
            }
        }
        Ok(Vector::unnamed(vector.samples))
    }

    /// Notes that an operation made one series of another, which it may have made of no third one.
    fn trace(&mut self, expr: &Expr, made: Labels, of: &Labels) -> Result<(), EvalError> {
        let origin = self.ledger.origins.entry((place(expr), made)).or_insert_with(|| of.clone());
        if origin == of { Ok(()) } else { Err(error(&expr.span, SAME_LABELS)) }
    }

    fn signed(&mut self, negative: bool, operand: &Expr) -> Result<Intermediate, EvalError> {
        match self.value(operand)? {
            Intermediate::Scalar(value) if negative => Ok(Intermediate::Scalar(-value)),
            Intermediate::Vector(vector) if negative => {
                self.without_names(vector.map(|value| -value), operand, operand, true).map(Intermediate::Vector)
            }
            value => Ok(value),
        }
    }

    fn binary(&mut self, expr: &Binary, span: &Range<usize>) -> Result<Intermediate, EvalError> {
        let (left, right) = (self.value(&expr.left)?, self.value(&expr.right)?);
        let vector = match (left, right) {
            (Intermediate::Scalar(left), Intermediate::Scalar(right)) => {
                return Ok(Intermediate::Scalar(binary::scalars(expr.op, left, right)));
            }
            (Intermediate::Vector(left), Intermediate::Scalar(right)) => {
                self.with_scalar(expr, left, right, false, span)?
            }
            (Intermediate::Scalar(left), Intermediate::Vector(right)) => {
                self.with_scalar(expr, right, left, true, span)?
            }
            (Intermediate::Vector(left), Intermediate::Vector(right)) => {
                binary::vectors(expr, left, right).map_err(|message| error(span, message))?
            }
            _ => return Err(error(span, "binary expression must contain only scalar and instant vector types")),
        };
        Ok(Intermediate::Vector(vector))
    }

    fn with_scalar(
        &mut self,
        expr: &Binary,
        vector: Vector,
        scalar: f64,
        swapped: bool,
        span: &Range<usize>,
    ) -> Result<Vector, EvalError> {
        let vector = binary::with_scalar(expr, vector, scalar, swapped);
        let drops = !binary::filters(expr) && !vector.nameless;
        if drops && only_names_differ(&vector.samples) {
            return Err(error(span, SAME_LABELS));
        }
        Ok(if drops { Vector::unnamed(vector.samples) } else { vector })
    }

    /// The value of an aggregation's parameter.
    fn parameter(&mut self, expr: &Expr) -> Result<Intermediate, EvalError> {
        let around = std::mem::replace(&mut self.in_parameter, true);
        let value = self.value(expr);
        self.in_parameter = around;
        value
    }

    fn aggregate(&mut self, expr: &Aggregate) -> Result<Vector, EvalError> {
        let parameter = expr.parameter.as_ref().map(|parameter| self.parameter(parameter)).transpose()?;
        let vector = self.vector(&expr.operand)?;
        let grouping = expr.grouping.as_ref();
        let by_name = grouping.is_some_and(|grouping| grouping.labels.contains(METRIC_NAME));
        let looks_at_names = expr.op == AggregateOp::CountValues || by_name;
        let vector = if looks_at_names { vector.settled() } else { vector };
        let Vector { samples, nameless } = vector;
        let samples = match (expr.op, &expr.parameter, parameter) {
            (AggregateOp::CountValues, Some(place), Some(Intermediate::String(name))) => {
                if name.is_empty() {
                    return Err(error(&place.span, format!("invalid label name {name:?}")));
                }
                aggregate::count_values(&name, grouping, &samples)
            }
            (AggregateOp::Topk | AggregateOp::Bottomk, Some(place), Some(Intermediate::Scalar(count))) => {
                let samples = extremes(expr.op, how_many(count, &place.span)?, grouping, &samples);
                return Ok(Vector { samples, nameless });
            }
            (AggregateOp::Quantile, Some(parameter), Some(Intermediate::Scalar(q))) => {
                self.ledger.ask_for_quantile(place(expr), q, &parameter.unwrapped().span);
                aggregate::quantiles(q, grouping, &samples)
            }
            _ if samples.is_empty() => samples,
            (op, ..) => aggregate::fold(op, grouping, &samples),
        };
        Ok(Vector::named(samples))
    }
}

/// The parameter of `topk` and `bottomk` as a number of samples. After Prometheus 3.5 it is looked at also where there is
/// nothing to choose from.
fn how_many(count: f64, span: &Range<usize>) -> Result<usize, EvalError> {
    // The largest number that is still a 64-bit integer.
    const LIMIT: f64 = 9_223_372_036_854_774_784.0;
    if count.is_nan() {
        return Err(error(span, "Parameter value is NaN"));
    }
    if count > LIMIT {
        return Err(error(span, format!("Scalar value {} overflows int64", go_general(count))));
    }
    Ok(count.max(0.0) as usize)
}

/// Whether all that a selector finds has the same name.
pub(super) fn names_one_metric(expr: &Expr) -> bool {
    let is_name = |selector: &Selector| {
        selector.matchers.iter().any(|matcher| &*matcher.name == METRIC_NAME && matcher.op == MatchOp::Equal)
    };
    matches!(&expr.unwrapped().kind, ExprKind::Selector(selector) if is_name(selector))
}
