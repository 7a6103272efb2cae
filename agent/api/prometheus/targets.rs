//! `/api/v1/targets`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde_json::{Value, json};

use super::form::Form;
use super::{Context, Refusal, success};
use crate::clock::rfc3339;
use crate::duration;
use crate::target::board::View;

/// The targets; of those with several instances, each instance. None is ever dropped: nothing is discovered that could
/// be. As in Prometheus, a state that does not exist has no targets.
pub async fn targets(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Json<Value>, Refusal> {
    let form = Form::read(request).await?;
    let state = form.get("state").to_lowercase();
    let pool = form.get("scrapePool");
    let views = context.board.views();
    let wanted = views.iter().filter(|(name, _)| pool.is_empty() || *name == pool);
    let wanted = wanted.filter(|_| matches!(&*state, "" | "any" | "active"));
    let active: Vec<Value> = wanted.flat_map(|(name, view)| instances(name, view)).collect();
    Ok(success(json!({"activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {}})))
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
