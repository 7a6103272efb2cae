//! `/v1/regions`: what this agent alone holds to be true of the region that it stands in. Whoever moves traffic by it
//! finds the evidence, its age and who saw it; a load balancer finds 200 or 503.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Context;
use crate::clock::{millis, rfc3339};
use crate::region::detector::{Check, Look};
use crate::region::snapshot::Evidence;
use crate::region::{Answer, Question, Snapshot, State, VALID};
use crate::sample::Timestamp;

const SCHEMA: &str = "region-health/1";
/// How old the answer is, in seconds.
const AGE: &str = "region-answer-age";
const STATE: &str = "region-state";
const NONE_CONFIGURED: &str = "no region is configured: add `region: {name: …, inputs: […]}` to the configuration";

/// `/v1/regions`: the one region, in a list.
pub async fn list(Shared(context): Shared<Arc<Context>>) -> Response {
    let now = context.clock.now();
    let Some(snapshot) = context.region.snapshot() else { return missing(NONE_CONFIGURED.to_owned()) };
    let mut answer = envelope(&snapshot, now);
    answer.insert("regions".to_owned(), json!([region(&snapshot, now)]));
    fresh(StatusCode::OK, Json(answer))
}

/// `/v1/regions/{region}`: with what it rests on.
pub async fn one(Shared(context): Shared<Arc<Context>>, Path(name): Path<String>) -> Response {
    let snapshot = match asked(&context, &name) {
        Ok(snapshot) => snapshot,
        Err(response) => return *response,
    };
    let now = context.clock.now();
    let mut answer = envelope(&snapshot, now);
    answer.extend(region(&snapshot, now));
    answer.insert("reasons".to_owned(), json!(snapshot.service.reasons));
    answer.insert("evidence".to_owned(), json!([evidence(&snapshot, now)]));
    answer.insert("checks".to_owned(), checks(&snapshot));
    answer.insert("inputs".to_owned(), snapshot.inputs.iter().map(|input_of| input(input_of, now)).collect());
    fresh(StatusCode::OK, Json(answer))
}

#[derive(Debug, Deserialize)]
pub struct CheckQuery {
    profile: Option<String>,
}

/// `/v1/regions/{region}/check`: 200 or 503, for a load balancer.
pub async fn check(context: Shared<Arc<Context>>, name: Path<String>, query: Query<CheckQuery>) -> Response {
    answer(context, name, query, Question::Service)
}

/// `/v1/regions/{region}/check/db`: the same of the database inputs alone.
pub async fn check_database(context: Shared<Arc<Context>>, name: Path<String>, query: Query<CheckQuery>) -> Response {
    answer(context, name, query, Question::Database)
}

fn answer(
    Shared(context): Shared<Arc<Context>>,
    Path(name): Path<String>,
    Query(query): Query<CheckQuery>,
    question: Question,
) -> Response {
    let snapshot = match asked(&context, &name) {
        Ok(snapshot) => snapshot,
        Err(response) => return *response,
    };
    let Some(check) = snapshot.check(question) else {
        return missing(format!("the region {name} has no database among its inputs: name them under `database`"));
    };
    let warns = match query.profile.as_deref() {
        None => false,
        Some("consul") => true,
        Some(_) => return fresh(StatusCode::BAD_REQUEST, "the only profile is `consul`: 429 while degraded\n"),
    };
    plain(&name, question, check, warns, context.clock.now())
}

/// The answer that a check gives. The first line is what a load balancer may look for: of `REGION-STATE=UP` and
/// `REGION-STATE=DOWN` exactly one stands in the body, whatever targets are called.
fn plain(region: &str, question: Question, check: &Check, warns: bool, now: Timestamp) -> Response {
    let (status, word) = match check.decided.map(|decided| decided.answer) {
        Some(Answer::Up) if warns && check.state == State::Degraded => (StatusCode::TOO_MANY_REQUESTS, "UP"),
        Some(Answer::Up) => (StatusCode::OK, "UP"),
        Some(Answer::Down) => (StatusCode::SERVICE_UNAVAILABLE, "DOWN"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "NONE"),
    };
    let mut body = format!("REGION-STATE={word}\nregion: {region}\ncheck: {}\n", question.name());
    body += &format!("state: {}\nsince: {}\n", check.state.name(), rfc3339(check.since));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(STATE, HeaderValue::from_static(check.state.name()));
    if let Some(decided) = check.decided {
        let age = decided.age(now) / 1_000;
        body += &format!("answer-age-seconds: {age}\n");
        headers.insert(AGE, HeaderValue::from(age));
    }
    fresh(status, (headers, body))
}

/// What no cache may keep.
fn fresh(status: StatusCode, body: impl IntoResponse) -> Response {
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn missing(error: String) -> Response {
    fresh(StatusCode::NOT_FOUND, Json(json!({"schema": SCHEMA, "error": error})))
}

fn asked(context: &Context, name: &str) -> Result<Arc<Snapshot>, Box<Response>> {
    match context.region.snapshot() {
        None => Err(Box::new(missing(NONE_CONFIGURED.to_owned()))),
        Some(snapshot) if snapshot.settings.name == name => Ok(snapshot),
        Some(snapshot) => {
            let own = &snapshot.settings.name;
            Err(Box::new(missing(format!("this agent judges the region {own} and no other"))))
        }
    }
}

/// What stands around every answer: who says it, by what right, and until when it holds.
fn envelope(snapshot: &Snapshot, now: Timestamp) -> Map<String, Value> {
    let blindness = snapshot.blindness();
    let valid_until = snapshot.service.decided.map(|decided| rfc3339(decided.at + millis(VALID)));
    let is_fresh = snapshot.service.state != State::Unknown;
    let value = json!({
        "schema": SCHEMA,
        "generated_at": rfc3339(now),
        "valid_until": valid_until,
        "frozen": snapshot.is_frozen(),
        "observer": {
            "id": snapshot.observer,
            "region": snapshot.settings.name,
            "state": if blindness.is_empty() { "ok" } else { "degraded" },
            "reasons": blindness,
        },
        "authority": {
            "mode": "single",
            "engine": "embedded",
            "need": 1,
            "fresh": u8::from(is_fresh),
            "configured": 1,
        },
    });
    object(value)
}

fn region(snapshot: &Snapshot, now: Timestamp) -> Map<String, Value> {
    let (settings, service) = (&snapshot.settings, &snapshot.service);
    let mut value = object(json!({
        "region": settings.name,
        "role": settings.role,
        "state": service.state,
        "since": rfc3339(service.since),
        "answer": service.decided.map(|decided| decided.answer),
        "answer_age_ms": service.decided.map(|decided| decided.age(now)),
        "actionable": settings.actionable && service.state != State::Unknown,
    }));
    value.retain(|_, value| !value.is_null());
    value
}

/// What the one observer says.
fn evidence(snapshot: &Snapshot, now: Timestamp) -> Value {
    let mut value = object(json!({
        "observer": snapshot.observer,
        "state": snapshot.service.state,
        "age_ms": snapshot.newest_look().map(|at| (now - at).max(0)),
        "observer_ok": snapshot.blindness().is_empty(),
    }));
    value.retain(|_, value| !value.is_null());
    Value::Object(value)
}

/// The states of the questions, and how slow the slowest input is.
fn checks(snapshot: &Snapshot) -> Value {
    let mut value = object(json!({
        "service": snapshot.service.state,
        "db_connect": snapshot.database.as_ref().map(|check| check.state),
        "latency_p99_ms": snapshot.latency_p99.map(|p99| (p99 * 100.0).round() / 100.0),
    }));
    value.retain(|_, value| !value.is_null());
    Value::Object(value)
}

fn input(input: &Evidence, now: Timestamp) -> Value {
    let mut value = object(json!({
        "target": input.target,
        "database": input.database,
        "state": input.state,
        "reason": input.reason,
        "instances": input.looks().iter().map(|look| instance(look, now)).collect::<Vec<_>>(),
    }));
    value.retain(|_, value| !value.is_null());
    Value::Object(value)
}

fn instance(look: &Look, now: Timestamp) -> Value {
    let mut value = object(json!({
        "instance": look.instance,
        "state": look.verdict,
        "since": rfc3339(look.since),
        "age_ms": look.at.map(|at| (now - at).max(0)),
        "latency_ms": look.at.map(|_| look.took.as_secs_f64() * 1_000.0),
        "error": look.error,
    }));
    value.retain(|_, value| !value.is_null());
    Value::Object(value)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
