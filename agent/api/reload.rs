//! `POST /-/reload`, as in Prometheus, with the token.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::oneshot;

use super::{Context, auth, prometheus};
use crate::config::Problem;

/// Asks for a reload. The answer: what waits for the next start, or everything that is wrong with the configuration.
pub type Reload = oneshot::Sender<Result<Vec<String>, Vec<Problem>>>;

pub async fn reload(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let token_file = context.config.borrow().auth.token_file.clone();
    if let Err(denied) = auth::check(&headers, &token_file) {
        return auth::refuse(&denied);
    }
    let (done, answer) = oneshot::channel();
    if context.reloads.try_send(done).is_err() {
        return prometheus::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "a reload is under way")
            .into_response();
    }
    match answer.await {
        Ok(Ok(notes)) => axum::Json(json!({"status": "success", "data": {"notes": notes}})).into_response(),
        Ok(Err(problems)) => {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            let message = format!("the configuration is bad, the one before goes on: {}", lines.join("; "));
            prometheus::error(StatusCode::INTERNAL_SERVER_ERROR, "bad_config", &message).into_response()
        }
        Err(_) => prometheus::error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the agent stops").into_response(),
    }
}
