//! What the agent shows over HTTP. It reads, and sends commands to their owners; whoever wants something changed needs
//! the token ([`auth`]). No caller names an address.

pub mod auth;
mod health;
mod metrics;
pub mod prometheus;
mod regions;
pub mod reload;
pub mod status;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::alert::Alert;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine;
use crate::export::catalogue::Catalogue;
use crate::notify::Outbox;
use crate::region::Region;
use crate::sample::Timestamp;
use crate::state;
use crate::stop;
use crate::store::Store;
use crate::target::board::Board;

/// The most connections at once: for one more, the oldest is closed.
const CONNECTIONS: usize = 64;
/// The most bytes of a request's head.
const HEAD_LIMIT: usize = 16 * 1024;
/// How long a client may take to send a request's head, and to be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// The longest that one connection is served.
const CONNECTION_TIME: Duration = Duration::from_secs(300);

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

pub fn router(context: Arc<Context>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/-/reload", post(reload::reload).put(reload::reload))
        .route("/v1/status", get(status::status))
        .route("/v1/regions", get(regions::list))
        .route("/v1/regions/{region}", get(regions::one))
        .route("/v1/regions/{region}/check", get(regions::check))
        .route("/v1/regions/{region}/check/db", get(regions::check_database))
        .merge(prometheus::routes())
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(context.clone(), auth::reading))
        .with_state(context)
}

async fn not_found() -> Response {
    let error = "there is nothing at this address: see /health, /metrics, /v1/status and /v1/regions, and of Prometheus's API \
                 /api/v1/query, query_range, format_query, series, labels, label/NAME/values, rules, alerts, targets, metadata and \
                 status/buildinfo";
    prometheus::error(StatusCode::NOT_FOUND, "not_found", error).into_response()
}

/// Serves until `stop` says true. A connection that misbehaves is closed; the others go on. However many stay open
/// and say nothing, a new one is served: an answer takes far less time than others need to push it out.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = stop::told(&mut stop) => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                by_age.retain(|connection| !connection.is_finished());
                if by_age.len() >= CONNECTIONS {
                    by_age.pop_front().inspect(AbortHandle::abort);
                }
                let served = tokio::time::timeout(CONNECTION_TIME, converse(stream, peer, router.clone()));
                by_age.push_back(connections.spawn(async move { drop(served.await) }));
            }
            Err(error) => {
                // Out of descriptors, most likely: without a pause this loop would take a whole core.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
