//! Whether an evaluation gives what the script expects: as it is written, with `@` at other times, and as a step of a
//! range evaluation.

use watchkeeper::promql::{
    self, Answer, At, EvalError, Evaluation, Expr, ExprKind, Series, Settings, Snapshot, Steps, Value,
};
use watchkeeper::sample::{Sample, Timestamp};

use crate::compare;
use crate::data::Data;
use crate::features;
use crate::script::{Annotation, Eval, Expected, When};

pub enum Verdict {
    Passed,
    Failed(String),
    /// It needs what Watchkeeper leaves out: that.
    Unsupported(String),
}

/// Functions whose value depends on the time of the evaluation even where `@` fixes what they read.
const OF_THE_PRESENT: [&str; 11] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "time",
    "timestamp",
    "year",
];

pub fn judge(eval: &Eval, data: &Data) -> Verdict {
    let expr = match promql::parse(&eval.expr) {
        Ok(expr) => expr,
        Err(error) => {
            let failed = || match &eval.fails {
                Some(text) if text.matches(&error.message) => Verdict::Passed,
                _ => Verdict::Failed(error.message.clone()),
            };
            let unknown = error.message.strip_prefix("unknown function with name ");
            let newer = unknown.map(|name| format!("functions newer than Prometheus 3.5: {name}"));
            return newer.or_else(|| features::named(&eval.expr)).map_or_else(failed, Verdict::Unsupported);
        }
    };
    if let Some(feature) = features::selected(eval, &expr, data) {
        return Verdict::Unsupported(feature);
    }
    match run(eval, &expr, data) {
        Ok(()) => Verdict::Passed,
        Err(why) => features::of_the_answer(eval, &expr, data).map_or(Verdict::Failed(why), Verdict::Unsupported),
    }
}

fn run(eval: &Eval, expr: &Expr, data: &Data) -> Result<(), String> {
    match eval.when {
        When::Range(steps) => range(eval, expr, data, &steps),
        When::Instant(at) => instants(eval, expr, data, at),
        When::Window(steps) => instants(eval, expr, data, steps.to),
    }
}

fn range(eval: &Eval, expr: &Expr, data: &Data, steps: &Steps) -> Result<(), String> {
    match answer(eval, at_steps(expr, data, steps))? {
        None => Ok(()),
        Some(Value::Matrix(series)) => match &eval.expected {
            Expected::Series(expected) => compare::matrix(expected, steps, &series),
            other => Err(format!("{other:?} is expected of a range evaluation")),
        },
        Some(value) => Err(format!("is {value:?}")),
    }
}

/// The value, or nothing where a failure was expected and came.
fn answer(eval: &Eval, found: Result<Answer, EvalError>) -> Result<Option<Value>, String> {
    match (found, &eval.fails) {
        (Err(error), Some(text)) if text.matches(&error.message) => Ok(None),
        (Err(error), _) => Err(format!("fails: {}", error.message)),
        (Ok(_), Some(text)) => Err(format!("does not fail: {text:?} is expected")),
        (Ok(answer), None) => {
            annotations(eval, &answer.annotations)?;
            Ok(Some(answer.value))
        }
    }
}

fn at_steps(expr: &Expr, data: &Data, steps: &Steps) -> Result<Answer, EvalError> {
    let settings = Settings::default();
    let snapshot = Snapshot::take(expr, &data.store.current(), steps, &settings)?;
    finished(Evaluation::range(expr, &snapshot, *steps, settings)?)
}

fn at_once(expr: &Expr, data: &Data, at: Timestamp) -> Result<Answer, EvalError> {
    finished(Evaluation::instant(expr, &data.store.current(), at, Settings::default()))
}

fn finished(mut evaluation: Evaluation) -> Result<Answer, EvalError> {
    evaluation.advance(usize::MAX)?;
    Ok(evaluation.finish())
}

/// The instant itself, then others from which `@` looks at the same.
fn instants(eval: &Eval, expr: &Expr, data: &Data, at: Timestamp) -> Result<(), String> {
    instant(eval, expr, data, at)?;
    if calls(expr, &OF_THE_PRESENT) {
        return Ok(());
    }
    let mut fixed = expr.clone();
    fix(&mut fixed, at);
    let others = if at == 0 { vec![-1_000, 0, 1_000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    for other in others {
        instant(eval, &fixed, data, other).map_err(|why| format!("with `@` from {other} ms: {why}"))?;
    }
    Ok(())
}

fn instant(eval: &Eval, expr: &Expr, data: &Data, at: Timestamp) -> Result<(), String> {
    let Some(value) = answer(eval, at_once(expr, data, at))? else { return Ok(()) };
    agree(eval, &value)?;
    let in_a_range = matches!(eval.when, When::Instant(_)) && !matches!(value, Value::String(_) | Value::Matrix(_));
    if in_a_range && !eval.ordered && !looks_at_the_query(expr) {
        middle(eval, expr, data, at).map_err(|why| format!("as a step of a range: {why}"))?;
    }
    Ok(())
}

/// What is wrong with the annotations: each that is expected is there, and where one of a kind is expected, no other.
fn annotations(eval: &Eval, found: &[promql::Annotation]) -> Result<(), String> {
    for (warnings, wanted, unwanted) in
        [(true, Annotation::Warn, Annotation::NoWarn), (false, Annotation::Info, Annotation::NoInfo)]
    {
        let found = found.iter().filter(|annotation| annotation.is_warning == warnings);
        let found: Vec<String> = found.map(|annotation| shown(annotation, &eval.expr)).collect();
        let of = |kind| eval.annotations.iter().filter(move |(other, _)| *other == kind).map(|(_, text)| text);
        if let Some(text) = of(wanted).find(|text| !found.iter().any(|message| text.matches(message))) {
            return Err(format!("{wanted:?} {text:?} is expected, there is {found:?}"));
        }
        let is_expected = |message: &&String| of(wanted).any(|text| text.matches(message));
        let other = found.iter().find(|message| of(wanted).next().is_some() && !is_expected(message));
        if let Some(message) = other.or(found.first().filter(|_| of(unwanted).next().is_some())) {
            return Err(format!("{message} is not expected"));
        }
    }
    Ok(())
}

/// An annotation as Prometheus writes it, with its place.
fn shown(annotation: &promql::Annotation, text: &str) -> String {
    let before = &text[..annotation.span.start.min(text.len())];
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let kind = if annotation.is_warning { "warning" } else { "info" };
    format!("PromQL {kind}: {} ({}:{column})", annotation.message, before.matches('\n').count() + 1)
}

fn agree(eval: &Eval, value: &Value) -> Result<(), String> {
    match (value, &eval.expected, eval.when) {
        (Value::Scalar(found), Expected::Scalar(wanted), _) if compare::near(*found, *wanted) => Ok(()),
        (Value::String(found), Expected::String(wanted), _) if found == wanted => Ok(()),
        (Value::Vector(found), Expected::Series(wanted), _) => compare::vector(wanted, eval.ordered, found),
        (Value::Matrix(found), Expected::Series(wanted), When::Window(steps)) => compare::matrix(wanted, &steps, found),
        (found, wanted, _) => Err(format!("is {found:?} instead of {wanted:?}")),
    }
}

/// The value at the middle one of three steps.
fn middle(eval: &Eval, expr: &Expr, data: &Data, at: Timestamp) -> Result<(), String> {
    let steps = Steps { from: at - 60_000, to: at + 60_000, step: 60_000 };
    let Value::Matrix(series) =
        at_steps(expr, data, &steps).map_err(|error| format!("fails: {}", error.message))?.value
    else {
        return Err("is no matrix".to_owned());
    };
    if let Some(pair) = series.windows(2).find(|pair| pair[0].labels >= pair[1].labels) {
        return Err(format!("{} comes before {}", pair[0].labels, pair[1].labels));
    }
    let then = |series: &Series| {
        let point = series.points.iter().find(|point| point.at == at)?;
        Some(Sample { labels: series.labels.clone(), value: point.value })
    };
    let samples: Vec<Sample> = series.iter().filter_map(then).collect();
    match (&eval.expected, samples.as_slice()) {
        (Expected::Scalar(_), [sample]) => agree(eval, &Value::Scalar(sample.value)),
        _ => agree(eval, &Value::Vector(samples)),
    }
}

/// Puts `@ at` on every selector and subquery that has none yet. What stands inside of a subquery follows its times.
fn fix(expr: &mut Expr, at: Timestamp) {
    let fixed = |before: Option<At>| match before {
        Some(At::Time(time)) => Some(At::Time(time)),
        _ => Some(At::Time(at)),
    };
    match &mut expr.kind {
        ExprKind::Selector(selector) => selector.at = fixed(selector.at),
        ExprKind::Subquery(subquery) => subquery.at = fixed(subquery.at),
        ExprKind::Number(_) | ExprKind::String(_) => {}
        ExprKind::Paren(inner) | ExprKind::Unary { operand: inner, .. } => fix(inner, at),
        ExprKind::Binary(binary) => {
            fix(&mut binary.left, at);
            fix(&mut binary.right, at);
        }
        ExprKind::Aggregate(aggregate) => {
            aggregate.parameter.iter_mut().for_each(|parameter| fix(parameter, at));
            fix(&mut aggregate.operand, at);
        }
        ExprKind::Call(call) => call.arguments.iter_mut().for_each(|argument| fix(argument, at)),
    }
}

fn calls(expr: &Expr, names: &[&str]) -> bool {
    features::any(expr, &|expr| matches!(&expr.kind, ExprKind::Call(call) if names.contains(&call.function.name())))
}

/// Whether `start()` or `end()` makes a range evaluation another question.
fn looks_at_the_query(expr: &Expr) -> bool {
    let at = |expr: &Expr| match &expr.kind {
        ExprKind::Selector(selector) => selector.at,
        ExprKind::Subquery(subquery) => subquery.at,
        _ => None,
    };
    features::any(expr, &|expr| matches!(at(expr), Some(At::Start | At::End)))
}
