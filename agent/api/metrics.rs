//! `/metrics`: everything that the store holds now, as Prometheus text or OpenMetrics, whichever is asked for.

use std::sync::{Arc, PoisonError};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};

use super::Context;
use crate::export::text;
use crate::store;

/// What rules need and Prometheus makes by itself.
const INTERNAL: &[&str] = &["up", "ALERTS", "ALERTS_FOR_STATE"];

pub async fn metrics(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = text::preferred(accept);
    let mut body = String::new();
    let config = context.config.borrow().clone();
    let store = store::lock(&context.store);
    let newest = store.newest(context.clock.now()).map(|(labels, value, _)| (labels, value));
    let catalogue = context.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
    text::write(&mut body, format, newest, &catalogue, &config.labels, INTERNAL);
    drop((store, catalogue));
    ([(CONTENT_TYPE, text::content_type(format)), (VARY, "accept")], body).into_response()
}
