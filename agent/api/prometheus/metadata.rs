//! `/api/v1/metadata` and `/api/v1/status/buildinfo`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::{Context, Refusal, success};
use crate::store;

/// Whose API and language this is: clients decide by it what they may ask for.
const SPEAKS: &str = "3.5.0";

/// Type and help of the metrics that the store holds.
pub async fn metadata(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Json<Value>, Refusal> {
    let form = Form::read(request).await?;
    let limit = form.number("limit")?.unwrap_or(usize::MAX);
    let per_metric = form.number("limit_per_metric")?.unwrap_or(usize::MAX);
    let wanted = form.get("metric");
    let store = store::lock(&context.store);
    let catalogue = context.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
    let families = store.metric_names().filter_map(|name| catalogue.family_of(name));
    let families: BTreeMap<&str, _> = families.map(|family| (&*family.name, family)).collect();
    let wanted = families.into_iter().filter(|(name, _)| wanted.is_empty() || *name == wanted);
    let entry = |family: &crate::export::catalogue::Family| {
        let all = [json!({"type": family.kind.name(), "unit": "", "help": family.help})];
        Value::from(all.into_iter().take(per_metric.max(1)).collect::<Vec<_>>())
    };
    let data: Map<String, Value> = wanted.take(limit).map(|(name, family)| (name.to_owned(), entry(family))).collect();
    Ok(success(Value::Object(data)))
}

pub async fn build() -> Json<Value> {
    success(json!({
        "version": SPEAKS,
        "revision": concat!("watchkeeper-", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}
