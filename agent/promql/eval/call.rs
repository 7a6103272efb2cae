//! Calls: what a function is given, and what its result is called.

use std::collections::HashMap;
use std::ops::Range;

use super::{EvalError, Evaluation, Series, Value, error, series_between, unique, without_names};
use crate::matcher::{MatchOp, Matcher};
use crate::promql::ast::{Call, Expr, ExprKind, Selector};
use crate::promql::function::Function;
use crate::promql::functions::window::{OfWindow, Window, of_window};
use crate::promql::functions::{OfValue, date, histogram, of_value, relabel};
use crate::sample::{Labels, METRIC_NAME, Sample, Timestamp};

impl Evaluation<'_> {
    pub(super) fn call(&mut self, call: &Call, span: &Range<usize>) -> Result<Value, EvalError> {
        match (call.function, call.arguments.as_slice()) {
            (Function::Time, _) => return Ok(Value::Scalar(self.now())),
            (Function::Scalar, [vector]) => return Ok(Value::Scalar(only(&self.vector(vector)?))),
            _ => {}
        }
        let samples = match (call.function, call.arguments.as_slice()) {
            (Function::Vector, [scalar]) => vec![Sample { labels: Labels::default(), value: self.scalar(scalar)? }],
            (Function::Absent, [vector]) => absent(self.vector(vector)?.is_empty(), vector),
            (Function::AbsentOverTime, [range]) => absent(self.matrix(range)?.is_empty(), range),
            (Function::Timestamp, [vector]) => self.timestamps(vector, span)?,
            (Function::HistogramQuantile, [q, buckets]) => {
                let q = self.scalar(q)?;
                unique(histogram::quantiles(q, &self.vector(buckets)?), span)?
            }
            (Function::LabelReplace | Function::LabelJoin, _) => self.relabelled(call, span)?,
            (function, arguments) => self.computed(function, arguments, span)?,
        };
        Ok(Value::Vector(samples))
    }

    /// The functions that compute something of a value, a time, or a window.
    fn computed(
        &mut self,
        function: Function,
        arguments: &[Expr],
        span: &Range<usize>,
    ) -> Result<Vec<Sample>, EvalError> {
        if let Some(compute) = of_window(function) {
            return self.windows(function, compute, arguments, span);
        }
        if let Some(part) = date::part(function) {
            let mut samples = self.times(arguments)?;
            samples.iter_mut().for_each(|sample| sample.value = part(whole(sample.value)) as f64);
            return without_names(samples, span);
        }
        match (of_value(function), arguments) {
            (Some(compute), [vector, scalars @ ..]) => self.values(compute, vector, scalars, span),
            _ => Err(error(span, format!("{} cannot be evaluated", function.name()))),
        }
    }

    fn values(
        &mut self,
        compute: OfValue,
        vector: &Expr,
        scalars: &[Expr],
        span: &Range<usize>,
    ) -> Result<Vec<Sample>, EvalError> {
        let mut samples = self.vector(vector)?;
        let scalars = scalars.iter().map(|scalar| self.scalar(scalar)).collect::<Result<Vec<f64>, EvalError>>()?;
        if matches!(scalars.as_slice(), [least, most] if most < least) {
            return Ok(Vec::new());
        }
        samples.iter_mut().for_each(|sample| sample.value = compute(sample.value, &scalars));
        without_names(samples, span)
    }

    /// A function of the window of each series. The range and a scalar come in either order.
    fn windows(
        &mut self,
        function: Function,
        compute: OfWindow,
        arguments: &[Expr],
        span: &Range<usize>,
    ) -> Result<Vec<Sample>, EvalError> {
        let (mut parameter, mut selected) = (f64::NAN, None);
        for argument in arguments {
            match (self.value(argument)?, &argument.unwrapped().kind) {
                (Value::Scalar(value), _) => parameter = value,
                (Value::Matrix(series), ExprKind::Selector(selector)) => selected = Some((series, selector)),
                _ => {}
            }
        }
        let Some((series, selector)) = selected else { return Err(error(span, "a range vector was expected")) };
        let end = self.time_of(selector.at, selector.offset);
        let start = end.saturating_sub(selector.range.unwrap_or_default());
        let value = |Series { labels, points }: Series| {
            let value = compute(&Window { points: &points, start, end, at: self.at, parameter })?;
            Some(Sample { labels, value })
        };
        let samples = series.into_iter().filter_map(value).collect();
        if function == Function::LastOverTime { Ok(samples) } else { without_names(samples, span) }
    }

    fn matrix(&mut self, expr: &Expr) -> Result<Vec<Series>, EvalError> {
        match self.value(expr)? {
            Value::Matrix(series) => Ok(series),
            _ => Err(error(&expr.span, "a range vector was expected")),
        }
    }

    /// The times that a function of dates is given; without an argument the evaluation's.
    fn times(&mut self, arguments: &[Expr]) -> Result<Vec<Sample>, EvalError> {
        match arguments {
            [vector, ..] => self.vector(vector),
            [] => Ok(vec![Sample { labels: Labels::default(), value: self.now() }]),
        }
    }

    /// Of a selector's samples the times that they bear; of any other vector the evaluation's.
    fn timestamps(&mut self, vector: &Expr, span: &Range<usize>) -> Result<Vec<Sample>, EvalError> {
        let mut samples = self.vector(vector)?;
        let times = match &vector.unwrapped().kind {
            ExprKind::Selector(selector) => self.times_of(selector),
            _ => HashMap::new(),
        };
        for sample in &mut samples {
            sample.value = times.get(&sample.labels).map_or_else(|| self.now(), |at| seconds(*at));
        }
        without_names(samples, span)
    }

    /// When the newest samples of the selector's series were taken. What has none within the lookback (a value that is
    /// held) counts as taken now.
    fn times_of(&self, selector: &Selector) -> HashMap<Labels, Timestamp> {
        let until = self.time_of(selector.at, selector.offset);
        let after = until.saturating_sub(self.settings.lookback);
        let series = series_between(self.data, &selector.matchers, after, until);
        series.into_iter().filter_map(|series| Some((series.labels, series.points.last()?.at))).collect()
    }

    fn relabelled(&mut self, call: &Call, span: &Range<usize>) -> Result<Vec<Sample>, EvalError> {
        let [vector, texts @ ..] = call.arguments.as_slice() else { return Ok(Vec::new()) };
        let mut samples = self.vector(vector)?;
        let texts: Vec<&str> = texts.iter().map(text).collect();
        match (texts.as_slice(), &call.pattern) {
            ([destination, replacement, source, _], Some(pattern)) if call.function == Function::LabelReplace => {
                relabel::replace(&mut samples, destination, replacement, source, pattern);
            }
            ([destination, separator, sources @ ..], _) => relabel::join(&mut samples, destination, separator, sources),
            _ => {}
        }
        unique(samples, span)
    }

    fn now(&self) -> f64 {
        seconds(self.at)
    }
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

fn absent(nothing: bool, argument: &Expr) -> Vec<Sample> {
    if nothing { vec![Sample { labels: absent_labels(argument), value: 1.0 }] } else { Vec::new() }
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
