//! `/metrics`: everything that the store holds now, as Prometheus text.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::Context;
use crate::export::text;
use crate::store;

/// What rules need and Prometheus makes by itself.
const INTERNAL: &[&str] = &["up", "ALERTS", "ALERTS_FOR_STATE"];

pub async fn metrics(State(context): State<Arc<Context>>) -> Response {
    let mut body = String::new();
    let store = store::lock(&context.store);
    let newest = store.newest(context.clock.now()).map(|(labels, value, _)| (labels, value));
    let catalogue = context.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
    text::write(&mut body, newest, &catalogue, &context.labels, INTERNAL);
    drop((store, catalogue));
    ([(CONTENT_TYPE, text::CONTENT_TYPE)], body).into_response()
}
