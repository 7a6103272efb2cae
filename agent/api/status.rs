//! `/v1/status`: the agent at a glance, for `watchkeeper status`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Context;
use super::health::{is_live, is_ready};
use crate::alert::{Alert, AlertState};
use crate::clock::rfc3339;
use crate::config::Problem;
use crate::notify::outbox::ReceiverStatus;
use crate::region::Snapshot;
use crate::sample::Timestamp;
use crate::target::board::View;

/// How many blind alerts are named.
const MAX_BLIND: usize = 100;

/// Which configuration runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigStatus {
    /// When the configuration that runs was taken over.
    pub loaded_at: Timestamp,
    /// What is wrong with the present one, when an earlier one runs instead.
    pub problems: Vec<String>,
}

impl ConfigStatus {
    pub fn new(problems: &[Problem], loaded_at: Timestamp) -> Self {
        ConfigStatus { loaded_at, problems: problems.iter().map(ToString::to_string).collect() }
    }
}

pub async fn status(State(context): State<Arc<Context>>) -> Json<Value> {
    let now = context.clock.now();
    let state = context.state.borrow().clone();
    let config = context.config_status.borrow().clone();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "startedAt": rfc3339(context.started_at),
        "now": rfc3339(now),
        "live": is_live(&context),
        "ready": is_ready(&context),
        "config": {
            "good": config.problems.is_empty(),
            "loadedAt": rfc3339(config.loaded_at),
            "problems": config.problems,
        },
        "state": {
            "durable": state.durable,
            "backlogRows": state.backlog,
            "error": state.error,
            "lost": state.lost,
        },
        "targets": context.board.views().values().map(target).collect::<Vec<_>>(),
        "region": context.region.snapshot().map(|snapshot| region(&snapshot)),
        "alerts": alerts(&context),
        "blindAlerts": blind_alerts(&context),
        "receivers": context.outbox.status().iter().map(receiver).collect::<Vec<_>>(),
    }))
}

fn target(view: &View) -> Value {
    json!({
        "target": view.labels.get("target"),
        "instance": view.labels.get("instance"),
        "kind": view.labels.get("kind"),
        "priority": view.labels.get("priority"),
        "verdict": view.verdict,
        "since": rfc3339(view.since),
        "lastLook": view.looked.then(|| rfc3339(view.last_look)),
        "lastDurationSeconds": view.looked.then_some(view.last_duration.as_secs_f64()),
        "cause": view.error(),
    })
}

fn region(snapshot: &Snapshot) -> Value {
    let service = &snapshot.service;
    json!({"region": snapshot.settings.name, "state": service.state, "since": rfc3339(service.since)})
}

/// How many there are of each state.
fn alerts(context: &Context) -> Value {
    let alerts = context.alerts.borrow().clone();
    let firing = alerts.iter().filter(|alert| alert.state == AlertState::Firing).count();
    let blind = alerts.iter().filter(|alert| alert.held_since.is_some()).count();
    json!({"firing": firing, "pending": alerts.len() - firing, "blind": blind})
}

/// The alerts that nobody can see the end of, the longest blind first.
fn blind_alerts(context: &Context) -> Vec<Value> {
    let alerts = context.alerts.borrow().clone();
    let mut blind: Vec<_> = alerts.iter().filter_map(|alert| Some((alert.held_since?, alert))).collect();
    blind.sort_by_key(|(since, _)| *since);
    let shown = |(since, alert): &(Timestamp, &Alert)| json!({"labels": alert.id.labels, "since": rfc3339(*since), "inputs": alert.unknown_inputs});
    blind.iter().take(MAX_BLIND).map(shown).collect()
}

fn receiver(status: &ReceiverStatus) -> Value {
    json!({
        "receiver": status.receiver,
        "depth": status.depth,
        "full": status.full,
        "oldestAcceptedAt": status.oldest_accepted_at.map(rfc3339),
        "failing": status.failing,
        "disabled": status.disabled,
        "refusedKeys": status.refused_keys,
        "lastErrorAt": status.last_error.as_ref().map(|(at, _)| rfc3339(*at)),
        "lastError": status.last_error.as_ref().map(|(_, error)| error),
    })
}
