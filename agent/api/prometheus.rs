//! Prometheus's HTTP API: `/api/v1/alerts` and `/api/v1/targets`, in its envelope.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Context;
use crate::alert::{Alert, AlertState, CAUSE};
use crate::clock::rfc3339;
use crate::duration;
use crate::target::board::View;

/// Prometheus's error envelope.
pub fn error(status: StatusCode, kind: &str, message: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({"status": "error", "errorType": kind, "error": message})))
}

fn success(data: Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}

/// Every pending and firing alert. Ours are `heldSince`, since when its inputs are stale or unknown, and the annotation
/// `cause`, why its target fails now.
pub async fn alerts(State(context): State<Arc<Context>>) -> Json<Value> {
    let alerts = context.alerts.borrow().clone();
    let alerts: Vec<Value> = alerts.iter().map(|of| alert(of, context.board.cause(&of.id.labels))).collect();
    success(json!({"alerts": alerts}))
}

fn alert(alert: &Alert, cause: Option<String>) -> Value {
    let mut value = json!({
        "labels": alert.id.labels,
        "annotations": alert.annotations,
        "state": match alert.state { AlertState::Pending => "pending", AlertState::Firing => "firing" },
        "activeAt": rfc3339(alert.active_at),
        "value": go_exponent(alert.value),
    });
    if let Some(cause) = cause.filter(|_| !alert.annotations.contains_key(CAUSE)) {
        value["annotations"][CAUSE] = cause.into();
    }
    for (name, since) in [("keepFiringSince", alert.keep_firing_since), ("heldSince", alert.held_since)] {
        if let Some(since) = since {
            value[name] = rfc3339(since).into();
        }
    }
    value
}

#[derive(Debug, Deserialize)]
pub struct TargetsQuery {
    state: Option<String>,
}

/// The targets; of those with several instances, each instance. `state=dropped` has none: nothing is discovered that
/// could be dropped.
pub async fn targets(State(context): State<Arc<Context>>, Query(query): Query<TargetsQuery>) -> Response {
    let active: Vec<Value> = match query.state.as_deref().unwrap_or("any") {
        "any" | "active" => context.board.views().iter().flat_map(|(name, view)| instances(name, view)).collect(),
        "dropped" => Vec::new(),
        other => {
            let message = format!("state {other:?} is none of any, active, dropped");
            return error(StatusCode::BAD_REQUEST, "bad_data", &message).into_response();
        }
    };
    success(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}})).into_response()
}

fn instances(name: &str, view: &View) -> Vec<Value> {
    if view.instances.is_empty() {
        return vec![target(name, view)];
    }
    view.instances.values().map(|instance| target(name, instance)).collect()
}

fn target(name: &str, view: &View) -> Value {
    let health = view.verdict.name();
    json!({
        "discoveredLabels": {},
        "labels": view.labels,
        "scrapePool": name,
        "scrapeUrl": view.labels.get("instance"),
        "globalUrl": view.labels.get("instance"),
        "lastError": view.error().unwrap_or_default(),
        "lastScrape": rfc3339(view.last_look),
        "lastScrapeDuration": view.last_duration.as_secs_f64(),
        "health": health,
        "scrapeInterval": duration::format(view.interval),
        "scrapeTimeout": duration::format(view.timeout),
    })
}

/// Go's `strconv.FormatFloat(value, 'e', -1, 64)`, as Prometheus writes an alert's value: `1e+00`.
fn go_exponent(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_go_writes_them() {
        for (value, text) in
            [(1.0, "1e+00"), (0.0, "0e+00"), (1234.5, "1.2345e+03"), (-1e-7, "-1e-07"), (1e100, "1e+100")]
        {
            assert_eq!(go_exponent(value), text);
        }
        assert_eq!(go_exponent(f64::NEG_INFINITY), "-Inf");
    }
}
