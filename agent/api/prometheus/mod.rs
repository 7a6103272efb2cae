//! Prometheus's HTTP API over what the store shows now, in its envelopes: for Grafana's data source, for `promtool
//! query`, and for `watchkeeper query`. Measured against Prometheus 3.5.

mod evaluate;
mod form;
mod gate;
mod metadata;
mod metrics;
mod notes;
mod number;
mod query;
mod rules;
mod series;
mod targets;

use std::sync::Arc;

use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Context;
#[cfg(test)]
pub use form::placed;
pub use gate::Gate;
pub use metrics::Metrics;
#[cfg(test)]
pub use notes::Notes;

/// What is answered in slices.
pub fn divided() -> Router<Arc<Context>> {
    Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route("/api/v1/format_query", get(query::format).post(query::format))
        .route("/api/v1/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/api/v1/series", get(series::series).post(series::series))
        .route("/api/v1/labels", get(series::labels).post(series::labels))
        .route("/api/v1/label/{name}/values", get(series::values))
}

/// What is answered at once. It waits for nothing that a client sends.
pub fn undivided() -> Router<Arc<Context>> {
    Router::new()
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/metadata", get(metadata::metadata))
        .route("/api/v1/status/buildinfo", get(metadata::build))
}

/// Why a request has no answer, by Prometheus's types of errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    BadData(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Execution(String),
    #[error("{0}")]
    Timeout(String),
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    /// A parameter that cannot be used.
    fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Refusal::BadData(format!("invalid parameter {name:?}: {why}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind) = match self {
            Refusal::BadData(_) => (StatusCode::BAD_REQUEST, "bad_data"),
            Refusal::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "bad_data"),
            Refusal::Execution(_) => (StatusCode::UNPROCESSABLE_ENTITY, "execution"),
            Refusal::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            Refusal::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let mut response = error(status, kind, &self.to_string()).into_response();
        if matches!(self, Refusal::TooLarge(_) | Refusal::Unavailable(_)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Prometheus's error envelope.
pub fn error(status: StatusCode, kind: &str, message: &str) -> (StatusCode, Json<Value>) {
    (status, Json(json!({"status": "error", "errorType": kind, "error": message})))
}

fn success(data: Value) -> Json<Value> {
    Json(json!({"status": "success", "data": data}))
}
