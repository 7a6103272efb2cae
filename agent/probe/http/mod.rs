//! `http`: one request, what came back, and how long each part took. HTTP/1.1, each look over a connection of its
//! own, metrics under the blackbox exporter's names and with its zeros where nothing was learned.

mod expect;
mod json;
mod look;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use expect::{ExpectBody, Statuses};
pub use json::ExpectJson;
pub(super) use look::Plan;
pub use settings::{BasicAuth, Settings};

use super::{Failure, Path, Reason, Report, network};
use crate::net::Net;
use crate::sample::Metric;

pub const SCHEMES: &[&str] = &["http", "https"];
pub const METRICS: &[&Metric] = network::with_connection![
    STATUS_CODE,
    DURATION,
    CONTENT_LENGTH,
    BODY_LENGTH,
    REDIRECTS,
    SSL,
    VERSION,
    FAILED_REGEX,
];

const STATUS_CODE: &Metric = &Metric::gauge("probe_http_status_code", "The answer's status; 0 without an answer.");
const DURATION: &Metric = &Metric::gauge(
    "probe_http_duration_seconds",
    "How long each phase took, in seconds, redirects included: resolve, connect, tls, processing, transfer.",
)
.labelled(&["phase"]);
const CONTENT_LENGTH: &Metric =
    &Metric::gauge("probe_http_content_length", "The answer's Content-Length in bytes; -1 where it names none.");
const BODY_LENGTH: &Metric =
    &Metric::gauge("probe_http_uncompressed_body_length", "How many bytes of the body were read.");
const REDIRECTS: &Metric = &Metric::gauge("probe_http_redirects", "How many redirects were followed.");
const SSL: &Metric = &Metric::gauge("probe_http_ssl", "Whether the last answer came over TLS.");
const VERSION: &Metric = &Metric::gauge("probe_http_version", "The answer's HTTP version, such as 1.1.");
const FAILED_REGEX: &Metric =
    &Metric::gauge("probe_failed_due_to_regex", "Whether the look failed because of what the body holds.");

/// Looks at one URL.
pub struct Prober {
    /// Settings that `check` finds nothing wrong with always make a plan.
    plan: Result<Box<look::Plan>, String>,
    net: Arc<Net>,
    /// Which of the candidate paths was there last.
    found: Option<usize>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        Prober { plan: look::Plan::new(settings).map(Box::new), net, found: None }
    }

    pub async fn look(&mut self, _path: Path) -> Report {
        match &self.plan {
            Ok(plan) => plan.look(&self.net, &mut self.found).await,
            Err(error) => Report::failed(Failure::new(Reason::Protocol, "request", error)),
        }
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    pub async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}
