//! What the agent shows over HTTP. It reads, and sends commands to their owners; whoever wants something changed needs
//! the token ([`auth`]). No caller names an address.

pub mod auth;
mod connections;
mod health;
mod metrics;
pub mod prometheus;
mod regions;
pub mod reload;
pub mod status;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{mpsc, watch};

use crate::alert::Alert;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine;
use crate::export::catalogue::Catalogue;
use crate::notify::Outbox;
use crate::region::Region;
use crate::sample::Timestamp;
use crate::state;
use crate::store::Store;
use crate::target::board::Board;
pub use connections::serve;

/// What the answers are made from.
pub struct Context {
    pub clock: Clock,
    pub board: Arc<Board>,
    pub store: Arc<Mutex<Store>>,
    pub alerts: watch::Receiver<Arc<Vec<Alert>>>,
    pub liveness: Arc<Liveness>,
    /// The configuration that runs.
    pub config: watch::Receiver<Arc<Config>>,
    /// To the owner of the configuration.
    pub reloads: mpsc::Sender<reload::Reload>,
    /// HELP and TYPE of what the store may hold.
    pub catalogue: Arc<Mutex<Catalogue>>,
    pub region: Region,
    pub outbox: Outbox,
    pub state: watch::Receiver<state::Status>,
    /// How many queries may run, and what they cost.
    pub queries: prometheus::Gate,
    /// The rules that run.
    pub rules: Arc<engine::status::Rules>,
    pub config_status: watch::Receiver<status::ConfigStatus>,
    pub started_at: Timestamp,
}

/// When the evaluation loop last came round.
#[derive(Default)]
pub struct Liveness(AtomicI64);

impl Liveness {
    pub fn tick(&self, now: Timestamp) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// Whether the loop has come round within `limit` milliseconds.
    pub fn is_ticking(&self, now: Timestamp, limit: i64) -> bool {
        now - self.0.load(Ordering::Relaxed) <= limit
    }
}

fn router(context: Arc<Context>) -> Router {
    let at_once = Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/v1/status", get(status::status))
        .merge(prometheus::undivided())
        .route_layer(from_fn_with_state(context.clone(), in_turn));
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/-/reload", post(reload::reload).put(reload::reload))
        .route("/v1/regions", get(regions::list))
        .route("/v1/regions/{region}", get(regions::one))
        .route("/v1/regions/{region}/check", get(regions::check))
        .route("/v1/regions/{region}/check/db", get(regions::check_database))
        .merge(prometheus::divided())
        .merge(at_once)
        .fallback(not_found)
        .layer(from_fn_with_state(context.clone(), auth::reading))
        .with_state(context)
}

/// Answers that are made at once, and may be long: one after the other, and after a slice of a query.
async fn in_turn(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    context.queries.alone(next.run(request)).await
}

async fn not_found() -> Response {
    let error = "there is nothing at this address: see /health, /metrics, /v1/status and /v1/regions, and of Prometheus's API \
                 /api/v1/query, query_range, format_query, series, labels, label/NAME/values, rules, alerts, targets, metadata and \
                 status/buildinfo";
    prometheus::error(StatusCode::NOT_FOUND, "not_found", error).into_response()
}
