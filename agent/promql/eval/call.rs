//! Calls: what a function is given, and what its result is called.

use std::collections::HashMap;
use std::ops::Range;

use super::moment::{Moment, names_one_metric};
use super::plan::place;
use super::vector::{Vector, has_duplicates};
use super::{Annotation, EvalError, Intermediate, Point, SAME_LABELS, error, no_quantile};
use crate::matcher::{MatchOp, Matcher, quote};
use crate::promql::ast::{Call, Expr, ExprKind, Selector, ValueType};
use crate::promql::function::Function;
use crate::promql::functions::histogram::Results;
use crate::promql::functions::relabel::{self, Bounds, Piece};
use crate::promql::functions::window::{OfWindow, Window, of_window};
use crate::promql::functions::{OfValue, date, histogram, of_value};
use crate::promql::key::Kept;
use crate::promql::math::{nan_first, nan_last};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp, is_stale};

/// How many samples are relabelled at once, where a step is divided: about a millisecond.
const RELABELLED: usize = 1_000;

impl Moment<'_> {
    pub fn call(&mut self, call: &Call, expr: &Expr) -> Result<Intermediate, EvalError> {
        let vector = match (call.function, call.arguments.as_slice()) {
            (Function::Time, _) => return Ok(Intermediate::Scalar(self.now())),
            (Function::Pi, _) => return Ok(Intermediate::Scalar(std::f64::consts::PI)),
            (Function::Scalar, [vector]) => return Ok(Intermediate::Scalar(only(&self.vector(vector)?.samples))),
            (Function::Vector, [scalar]) => Vector::one(Labels::default(), self.scalar(scalar)?),
            (Function::Absent, [vector]) => absent(self.vector(vector)?.samples.is_empty(), vector),
            (Function::AbsentOverTime, [range]) => {
                let mut nothing = true;
                self.visit(range, &mut |_, _| nothing = false)?;
                absent(nothing, range)
            }
            (Function::Timestamp, [vector]) => self.timestamps(vector, expr)?,
            (Function::Sort | Function::SortDesc, [vector]) => self.in_order(call.function, vector, expr)?,
            (Function::HistogramQuantile | Function::HistogramFraction, [limits @ .., buckets]) => {
                self.histogram(limits, buckets, expr)?
            }
            (Function::LabelReplace | Function::LabelJoin, _) => self.relabelled(call, expr)?,
            (function, arguments) => self.computed(function, arguments, expr)?,
        };
        Ok(Intermediate::Vector(vector))
    }

    /// The functions that compute something of a value, a time, or a window.
    fn computed(&mut self, function: Function, arguments: &[Expr], expr: &Expr) -> Result<Vector, EvalError> {
        if let Some(compute) = of_window(function) {
            return self.windows(function, compute, arguments, expr);
        }
        if let Some(part) = date::part(function) {
            let (times, from) = self.times(arguments, expr)?;
            return self.without_names(times.map(|value| part(whole(value)) as f64), expr, from, false);
        }
        match (of_value(function), arguments) {
            (Some(compute), [vector, scalars @ ..]) => self.values(compute, vector, scalars, expr),
            _ => Err(error(&expr.span, format!("{} cannot be evaluated", function.name()))),
        }
    }

    fn values(&mut self, compute: OfValue, from: &Expr, scalars: &[Expr], expr: &Expr) -> Result<Vector, EvalError> {
        let vector = self.vector(from)?;
        let scalars = scalars.iter().map(|scalar| self.scalar(scalar)).collect::<Result<Vec<f64>, EvalError>>()?;
        if matches!(scalars.as_slice(), [least, most] if most < least) {
            return Ok(Vector::default());
        }
        self.without_names(vector.map(|value| compute(value, &scalars)), expr, from, false)
    }

    /// A function of the window of each series. The range and a scalar come in either order.
    fn windows(
        &mut self,
        function: Function,
        compute: OfWindow,
        arguments: &[Expr],
        expr: &Expr,
    ) -> Result<Vector, EvalError> {
        let (scalars, ranges): (Vec<&Expr>, Vec<&Expr>) = arguments.iter().partition(|argument| is_scalar(argument));
        let [range] = ranges.as_slice() else { return Err(error(&expr.span, "a range vector was expected")) };
        let parameter = scalars.first().map_or(Ok(f64::NAN), |scalar| self.scalar(scalar))?;
        let ((start, end), at) = (self.window(range)?, self.at);
        let mut samples = Vec::new();
        self.visit(range, &mut |labels, points| {
            if let Some(value) = compute(&Window { points, start, end, at, parameter }) {
                samples.push(Sample { labels: labels.clone(), value });
            }
        })?;
        if let (Function::QuantileOverTime, [quantile]) = (function, scalars.as_slice())
            && !samples.is_empty()
        {
            self.check_quantile(parameter, &quantile.span);
        }
        if matches!(function, Function::Rate | Function::Increase) {
            self.tell_of_gauges(&samples, range);
        }
        let vector = Vector::named(samples);
        if function == Function::LastOverTime { Ok(vector) } else { self.without_names(vector, expr, range, true) }
    }

    /// What Prometheus says of a rate of what is no counter by its name.
    fn tell_of_gauges(&mut self, samples: &[Sample], range: &Expr) {
        let looked_at = if names_one_metric(range) { samples.len().min(1) } else { samples.len() };
        // Of a subquery's place nothing is known there.
        let span = if is_subquery(range) { 0..0 } else { range.unwrapped().span.clone() };
        for name in samples[..looked_at].iter().map(|sample| sample.labels.metric_name()) {
            let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|ending| name.ends_with(ending));
            if !name.is_empty() && !is_counter {
                let endings = "name does not end in _total/_sum/_count/_bucket";
                let message = format!("metric might not be a counter, {endings}: {}", quote(name));
                self.annotate(false, message, &span);
            }
        }
    }

    fn check_quantile(&mut self, q: f64, span: &Range<usize>) {
        if !(0.0..=1.0).contains(&q) {
            self.ledger.annotate(no_quantile(q, span));
        }
    }

    fn annotate(&mut self, is_warning: bool, message: String, span: &Range<usize>) {
        self.ledger.annotate(Annotation { is_warning, message, span: span.clone() });
    }

    /// The times that a function of dates is given, and by what; without an argument the evaluation's.
    fn times<'e>(&mut self, arguments: &'e [Expr], expr: &'e Expr) -> Result<(Vector, &'e Expr), EvalError> {
        match arguments {
            [vector, ..] => Ok((self.vector(vector)?, vector)),
            [] => Ok((Vector::one(Labels::default(), self.now()), expr)),
        }
    }

    /// Of a selector's samples the times that they bear; of any other vector the evaluation's.
    fn timestamps(&mut self, from: &Expr, expr: &Expr) -> Result<Vector, EvalError> {
        let (mut vector, times) = match &from.unwrapped().kind {
            ExprKind::Selector(selector) if selector.at.is_some() && selector.offset != 0 => {
                self.fixed_samples(selector, &from.span)?
            }
            ExprKind::Selector(selector) => {
                let until = self.time_of(selector.at, selector.offset);
                (self.vector(from)?, self.times_of(selector, until, self.settings.lookback))
            }
            _ => (self.vector(from)?, HashMap::new()),
        };
        for sample in &mut vector.samples {
            sample.value = times.get(&sample.labels).map_or_else(|| self.now(), |at| seconds(*at));
        }
        self.without_names(vector, expr, from, false)
    }

    /// What `timestamp` is told of a selector with both `@` and `offset`. Prometheus looks without the offset there, but
    /// only at what it had selected with it.
    fn fixed_samples(
        &self,
        selector: &Selector,
        span: &Range<usize>,
    ) -> Result<(Vector, HashMap<Labels, Timestamp>), EvalError> {
        let until = self.time_of(selector.at, selector.offset.max(0));
        let lookback = self.settings.lookback.saturating_sub(selector.offset.saturating_abs());
        let samples = self.data.instant(&selector.matchers, until, lookback);
        self.settings.check_series(samples.len(), span)?;
        Ok((Vector::named(samples), self.times_of(selector, until, lookback)))
    }

    /// When the newest samples of the selector's series were taken. What has none within the lookback (a value that is
    /// held) counts as taken now.
    fn times_of(&self, selector: &Selector, until: Timestamp, lookback: i64) -> HashMap<Labels, Timestamp> {
        let after = until.saturating_sub(lookback);
        let mut times = HashMap::new();
        self.data.range(&selector.matchers, after, until, &mut |labels: &Labels, points: &[Point]| {
            if let Some(newest) = points.iter().rev().find(|point| !is_stale(point.value)) {
                times.insert(labels.clone(), newest.at);
            }
        });
        times
    }

    /// By value, NaN last either way. Of a range evaluation the order is lost.
    fn in_order(&mut self, function: Function, vector: &Expr, expr: &Expr) -> Result<Vector, EvalError> {
        if self.query.from < self.query.to {
            let message = "sort is ineffective for range queries since results are always ordered by labels";
            self.annotate(true, message.to_owned(), &expr.span);
        }
        let mut vector = self.vector(vector)?;
        vector.samples.sort_by(|a, b| match function {
            Function::Sort => nan_last(a.value, b.value),
            _ => nan_first(b.value, a.value),
        });
        Ok(vector)
    }

    /// `histogram_quantile` with one limit, `histogram_fraction` with two.
    fn histogram(&mut self, limits: &[Expr], buckets: &Expr, expr: &Expr) -> Result<Vector, EvalError> {
        let numbers = limits.iter().map(|limit| self.scalar(limit)).collect::<Result<Vec<f64>, EvalError>>()?;
        let samples = self.vector(buckets)?.settled().samples;
        if let ([q], [limit]) = (numbers.as_slice(), limits) {
            self.check_quantile(*q, &limit.span);
        }
        let Results { samples, levelled, malformed } = match numbers.as_slice() {
            [q] => histogram::quantiles(*q, &samples),
            [lower, upper] => histogram::fractions(*lower, *upper, &samples),
            _ => Results::default(),
        };
        for (name, bound) in malformed {
            let message = format!(
                "bucket label \"le\" is missing or has a malformed value of {} for metric name {}",
                quote(&bound),
                quote(&name)
            );
            self.annotate(true, message, &buckets.unwrapped().span);
        }
        // Prometheus knows the names at the first step with histograms only.
        let is_first = samples.is_empty() || *self.ledger.named.entry(place(expr)).or_insert(self.at) == self.at;
        for name in levelled {
            let name = if is_first { name } else { String::new() };
            let message = format!(
                "input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) for metric \
                 name {}",
                quote(&name)
            );
            self.annotate(false, message, &buckets.unwrapped().span);
        }
        if has_duplicates(&samples, Kept::All) {
            return Err(error(&expr.span, SAME_LABELS));
        }
        Ok(Vector::named(samples))
    }

    /// Goes on a little with `label_replace` or `label_join`, where a step is divided and its vector is ready. Whether
    /// there is more of it.
    pub fn relabel_some(&mut self, expr: &Expr) -> Result<bool, EvalError> {
        let ExprKind::Call(call @ Call { function: Function::LabelReplace | Function::LabelJoin, .. }) = &expr.kind
        else {
            return Ok(false);
        };
        let Some(vector) = call.arguments.first() else { return Ok(false) };
        let Some(Intermediate::Vector(ready)) = self.ledger.ready.remove(&place(vector)) else { return Ok(false) };
        let mut samples = ready.shown();
        let done = self.ledger.relabelled;
        let piece = self.relabel(call, expr, &mut samples[done..], RELABELLED)?;
        self.ledger.spend(piece.effort, self.settings, &expr.span)?;
        self.ledger.relabelled += piece.samples;
        let more = self.ledger.relabelled < samples.len();
        self.ledger.ready.insert(place(vector), Intermediate::Vector(Vector::named(samples)));
        Ok(more)
    }

    fn relabelled(&mut self, call: &Call, expr: &Expr) -> Result<Vector, EvalError> {
        let [vector, ..] = call.arguments.as_slice() else { return Ok(Vector::default()) };
        let mut samples = self.vector(vector)?.shown();
        let done = std::mem::take(&mut self.ledger.relabelled);
        self.relabel(call, expr, &mut samples[done..], usize::MAX)?;
        if has_duplicates(&samples, Kept::All) {
            return Err(error(&expr.span, SAME_LABELS));
        }
        Ok(Vector::named(samples))
    }

    fn relabel(&mut self, call: &Call, expr: &Expr, samples: &mut [Sample], effort: usize) -> Result<Piece, EvalError> {
        let texts: Vec<&str> = call.arguments.iter().skip(1).map(text).collect();
        let bounds = Bounds { room: self.settings.work.saturating_sub(self.ledger.work), effort };
        let piece = match (texts.as_slice(), &call.pattern) {
            ([destination, replacement, source, _], Some(pattern)) if call.function == Function::LabelReplace => {
                relabel::replace(samples, destination, replacement, source, pattern, bounds)
            }
            ([destination, separator, sources @ ..], _) => {
                relabel::join(samples, destination, separator, sources, bounds)
            }
            _ => Ok(Piece { samples: samples.len(), work: 0, effort: 0 }),
        };
        let piece = piece.map_err(|too_long| error(&expr.span, too_long.to_string()))?;
        self.ledger.spend(piece.work, self.settings, &expr.span)?;
        Ok(piece)
    }

    fn now(&self) -> f64 {
        seconds(self.at)
    }
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr.unwrapped().kind, ExprKind::Subquery(_))
}

fn is_scalar(expr: &Expr) -> bool {
    expr.value_type() == ValueType::Scalar
}

#[expect(clippy::cast_precision_loss, reason = "exact for the next 280,000 years")]
fn seconds(millis: Timestamp) -> f64 {
    millis as f64 / 1_000.0
}

/// A value as whole seconds. What is no such number is, as with Prometheus, the end of time (in the year
/// 292,277,026,596).
fn whole(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MAX }
}

/// The value of a vector's only sample.
fn only(samples: &[Sample]) -> f64 {
    match samples {
        [sample] => sample.value,
        _ => f64::NAN,
    }
}

fn text(expr: &Expr) -> &str {
    match &expr.unwrapped().kind {
        ExprKind::String(text) => text,
        _ => "",
    }
}

fn absent(nothing: bool, argument: &Expr) -> Vector {
    if nothing { Vector::one(absent_labels(argument), 1.0) } else { Vector::default() }
}

/// What is known of a missing series: the labels that a selector asks for by equality, once and without
/// another condition. Conditions that an absent label meets come last, as in Prometheus's index: after `a!="x"` nothing
/// is known of `a`, wherever it stands, but `b!="", b="x"` says `b`.
fn absent_labels(argument: &Expr) -> Labels {
    let ExprKind::Selector(selector) = &argument.unwrapped().kind else { return Labels::default() };
    let named = selector.matchers.iter().filter(|matcher| &*matcher.name != METRIC_NAME);
    let (last, first): (Vec<&Matcher>, Vec<&Matcher>) = named.partition(|matcher| excludes_only(matcher));
    let mut known: HashMap<&str, &str> = HashMap::new();
    let mut asked: Vec<&str> = Vec::new();
    for matcher in first.into_iter().chain(last) {
        if matcher.op == MatchOp::Equal && !asked.contains(&&*matcher.name) {
            known.insert(&matcher.name, &matcher.value);
            asked.push(&matcher.name);
        } else {
            known.remove(&*matcher.name);
        }
    }
    Labels::new(known)
}

fn excludes_only(matcher: &Matcher) -> bool {
    matches!(matcher.op, MatchOp::NotEqual | MatchOp::NotRegex) && matcher.matches("")
}
