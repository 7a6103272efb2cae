//! The agent's own health. It depends on nothing that is watched, and on no receiver.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Context;

/// The evaluation loop wakes at least once a minute; twice that and some is not alive.
const LONGEST_SILENCE: i64 = 150_000;

/// `/health`: alive and ready, in one answer for a load balancer.
pub async fn health(State(context): State<Arc<Context>>) -> Response {
    let (live, ready) = (is_live(&context), is_ready(&context));
    let body = json!({
        "status": if live && ready { "ok" } else { "unavailable" },
        "live": live,
        "ready": ready,
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status(live && ready), Json(body)).into_response()
}

/// `/health/live`: the loops tick.
pub async fn live(State(context): State<Arc<Context>>) -> Response {
    let live = is_live(&context);
    (status(live), Json(json!({"live": live}))).into_response()
}

/// `/health/ready`: the configuration is loaded and every target has been looked at once.
pub async fn ready(State(context): State<Arc<Context>>) -> Response {
    let ready = is_ready(&context);
    (status(ready), Json(json!({"ready": ready}))).into_response()
}

pub(super) fn is_live(context: &Context) -> bool {
    context.liveness.is_ticking(context.clock.now(), LONGEST_SILENCE)
}

pub(super) fn is_ready(context: &Context) -> bool {
    context.board.first_pass_done()
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
