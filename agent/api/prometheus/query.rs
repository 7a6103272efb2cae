//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/format_query` and `/api/v1/query_exemplars`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value as Json_, json};

use super::form::Form;
use super::gate::{LONGEST, Turn};
use super::notes::Notes;
use super::number::{write_sample, write_time, write_value};
use super::{Context, Refusal, evaluate, success};
use crate::promql::{Answer, Expr, LOOKBACK, Series, Steps, Value, ValueType};
use crate::sample::{Labels, Timestamp};

/// The most steps of a range, less one: Prometheus's.
const MOST_STEPS: i64 = 11_000;
/// How many points are written until it may be time to make way.
const POINTS: usize = 1_024;

/// The value of an expression at an instant.
pub async fn instant(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Response, Refusal> {
    let form = Form::read(request).await?;
    let limit = form.limit()?;
    let at = form.time_or("time", context.clock.now())?;
    let within = timeout(&form)?;
    let settings = evaluate::settings(lookback(&form)?);
    let expr = context.queries.alone(async { form.expression("query") }).await?;
    let mut turn = context.queries.enter(within).await?;
    turn.pause().await?;
    let mut found = evaluate::instant(&context, &expr, at, settings, &mut turn).await?;
    let truncated = truncate(&mut found.value, limit);
    answer(&found, at, truncated, &form, &mut turn).await
}

/// The values of an expression at each step of a range.
pub async fn range(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Response, Refusal> {
    let form = Form::read(request).await?;
    let limit = form.limit()?;
    let steps = steps(&form)?;
    let within = timeout(&form)?;
    let settings = evaluate::settings(lookback(&form)?);
    let expr = context.queries.alone(async { form.expression("query") }).await?;
    has_steps(&expr)?;
    let mut turn = context.queries.enter(within).await?;
    turn.pause().await?;
    let mut found = evaluate::range(&context, &expr, &steps, settings, &mut turn).await?;
    let truncated = truncate(&mut found.value, limit);
    answer(&found, steps.to, truncated, &form, &mut turn).await
}

/// An expression as it is written back: on one line, however long it is.
pub async fn format(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Json<Json_>, Refusal> {
    let form = Form::read(request).await?;
    let written = async { form.expression("query").map(|expr| expr.to_string()) };
    Ok(success(context.queries.alone(written).await?.into()))
}

/// No exemplars are kept: none, where Grafana asks for them.
pub async fn exemplars(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Json<Json_>, Refusal> {
    let form = Form::read(request).await?;
    context.queries.alone(async { form.expression("query") }).await?;
    Ok(success(json!([])))
}

fn steps(form: &Form) -> Result<Steps, Refusal> {
    let (from, to) = (form.time("start")?, form.time("end")?);
    if to < from {
        return Err(Refusal::parameter("end", "end timestamp must not be before start time"));
    }
    let missing = || Refusal::parameter("step", "cannot parse \"\" to a valid duration");
    let step = form.duration("step")?.ok_or_else(missing)?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Refusal::parameter("step", why));
    }
    if to.saturating_sub(from) / step > MOST_STEPS {
        let why = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution \
                   (?step=XX)";
        return Err(Refusal::BadData(why.to_owned()));
    }
    Ok(Steps { from, to, step })
}

fn has_steps(expr: &Expr) -> Result<(), Refusal> {
    match expr.value_type() {
        ValueType::Scalar | ValueType::Vector => Ok(()),
        other => {
            let kind = other.name();
            let why = format!("invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector");
            Err(Refusal::parameter("query", why))
        }
    }
}

fn timeout(form: &Form) -> Result<Duration, Refusal> {
    let millis = form.duration("timeout")?;
    Ok(millis.map_or(LONGEST, |millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
}

fn lookback(form: &Form) -> Result<i64, Refusal> {
    let refuse = |_| {
        let text = form.get("lookback_delta");
        Refusal::BadData(format!("error parsing lookback delta duration: cannot parse {text:?} to a valid duration"))
    };
    let given = form.duration("lookback_delta").map_err(refuse)?;
    Ok(given.filter(|lookback| *lookback > 0).unwrap_or(LOOKBACK))
}

/// Whether more than the limit was there.
fn truncate(value: &mut Value, limit: Option<usize>) -> bool {
    let Some(limit) = limit else { return false };
    match value {
        Value::Vector(samples) if samples.len() > limit => samples.truncate(limit),
        Value::Matrix(series) if series.len() > limit => series.truncate(limit),
        _ => return false,
    }
    true
}

/// Writes an answer, in slices too.
async fn answer(
    found: &Answer,
    at: Timestamp,
    truncated: bool,
    form: &Form,
    turn: &mut Turn<'_>,
) -> Result<Response, Refusal> {
    let value = &found.value;
    let mut body = format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{}\",\"result\":", kind(value));
    write(&mut body, value, at, turn).await?;
    if !form.get("stats").is_empty() {
        body += &format!(",\"stats\":{}", stats(turn, value));
    }
    body.push('}');
    Notes::of(form.get("query"), &found.annotations).truncated(truncated).write(&mut body);
    body.push('}');
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Scalar(_) => "scalar",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
        Value::String(_) => "string",
    }
}

async fn write(out: &mut String, value: &Value, at: Timestamp, turn: &mut Turn<'_>) -> Result<(), Refusal> {
    match value {
        Value::Scalar(value) => write_point(out, at, *value, write_value),
        Value::String(text) => {
            out.push('[');
            write_time(out, at);
            *out += &format!(",{}]", Json_::from(text.as_str()));
        }
        Value::Vector(samples) => {
            out.push('[');
            for (index, sample) in samples.iter().enumerate() {
                write_metric(out, index, &sample.labels);
                *out += "\"value\":";
                write_point(out, at, sample.value, write_sample);
                out.push('}');
                turn.pause_writing(out).await?;
            }
            out.push(']');
        }
        Value::Matrix(series) => write_matrix(out, series, turn).await?,
    }
    Ok(())
}

async fn write_matrix(out: &mut String, all: &[Series], turn: &mut Turn<'_>) -> Result<(), Refusal> {
    out.push('[');
    for (index, series) in all.iter().enumerate() {
        write_metric(out, index, &series.labels);
        *out += "\"values\":[";
        for (index, point) in series.points.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_point(out, point.at, point.value, write_sample);
            if index % POINTS == POINTS - 1 {
                turn.pause_writing(out).await?;
            }
        }
        *out += "]}";
        turn.pause_writing(out).await?;
    }
    out.push(']');
    Ok(())
}

fn write_metric(out: &mut String, index: usize, labels: &Labels) {
    let comma = if index > 0 { "," } else { "" };
    *out += &format!("{comma}{{\"metric\":{},", serde_json::to_string(labels).unwrap_or_default());
}

fn write_point(out: &mut String, at: Timestamp, value: f64, write: fn(&mut String, f64)) {
    out.push('[');
    write_time(out, at);
    out.push_str(",\"");
    write(out, value);
    out.push_str("\"]");
}

/// Prometheus's figures, of those that are known here: what it times apart is one here, and samples are those of the
/// answer.
fn stats(turn: &Turn, value: &Value) -> Json_ {
    let samples = match value {
        Value::Vector(samples) => samples.len(),
        Value::Matrix(series) => series.iter().map(|series| series.points.len()).sum(),
        Value::Scalar(_) | Value::String(_) => 1,
    };
    let (waited, worked) = (turn.waited.as_secs_f64(), turn.worked().as_secs_f64());
    json!({
        "timings": {
            "evalTotalTime": worked,
            "resultSortTime": 0.0,
            "queryPreparationTime": 0.0,
            "innerEvalTime": worked,
            "execQueueTime": waited,
            "execTotalTime": waited + worked,
        },
        "samples": {"totalQueryableSamples": samples, "peakSamples": samples},
    })
}
