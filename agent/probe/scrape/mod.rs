//! `scrape`: the page of metrics that an application exposes, in Prometheus's text format or OpenMetrics. The request
//! is that of the kind `http`; the samples go from the page straight to the store (see [`crate::export::ingest`]).

mod body;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use tokio::time::Instant;

pub use settings::{Protocol, Settings};

use super::{Exposition, Failure, Path, Reason, Report, http, network};
use crate::export::ingest::Page;
use crate::export::parse::{Dialect, Limits, ParseError, entries};
use crate::net::http::Response;
use crate::net::{self, Net};
use crate::sample::Metric;

/// Prometheus's own header: seconds.
const TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");

/// None: `http` and `https` belong to the kind `http`.
pub const SCHEMES: &[&str] = &[];
pub const METRICS: &[&Metric] = network::with_connection![UP, DURATION, SAMPLES, KEPT, ADDED, BYTES, INGEST];

/// What Prometheus adds to every scrape, under its names.
const UP: &Metric = &Metric::gauge("up", "Whether the newest scrape of the target succeeded.");
const DURATION: &Metric = &Metric::gauge("scrape_duration_seconds", "How long the newest scrape took.");
const SAMPLES: &Metric = &Metric::gauge("scrape_samples_scraped", "Samples in the newest page.");
const KEPT: &Metric =
    &Metric::gauge("scrape_samples_post_metric_relabeling", "Samples of the newest page that were stored.");
const ADDED: &Metric = &Metric::gauge("scrape_series_added", "Series that the page before the newest did not have.");
const BYTES: &Metric = &Metric::gauge("scrape_body_size_bytes", "Size of the newest page, unpacked.");
const INGEST: &Metric = &Metric::gauge(
    "watchkeeper_scrape_ingest_seconds",
    "How long the agent took to read and store the newest page, once it had arrived.",
);

/// Scrapes one URL.
pub struct Prober {
    /// Settings that `check` finds nothing wrong with always make a plan.
    plan: Result<Box<http::Plan>, String>,
    headers: HeaderMap,
    limits: Limits,
    net: Arc<Net>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        let request = http::Settings { max_body: settings.max_bytes, ..settings.http() };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, settings.accept());
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        Prober { plan: http::Plan::new(request).map(Box::new), headers, limits: settings.limits(), net }
    }

    /// The page, unparsed: [`conclude`] completes the report once it has been read.
    pub async fn look(&mut self, _path: Path) -> Report {
        let began = Instant::now();
        let (mut report, page) = match &self.plan {
            Ok(plan) => {
                let (report, answer) = plan.fetch(&self.net, &self.asking()).await;
                (report, answer.and_then(|answer| exposition(answer, self.limits)))
            }
            Err(error) => (Report::default(), Err(Failure::new(Reason::Protocol, "request", error))),
        };
        report.read(DURATION, began.elapsed().as_secs_f64());
        match page {
            Ok(page) => report.exposition = Some(page),
            Err(failure) => fail(&mut report, failure),
        }
        report
    }

    /// What is sent with a request, and how long the page may take: exporters that ask others first go by it.
    fn asking(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let left = net::time_left().map(|left| format!("{:.3}", left.as_secs_f64()));
        if let Some(seconds) = left.and_then(|left| HeaderValue::from_str(&left).ok()) {
            headers.insert(TIMEOUT, seconds);
        }
        headers
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    pub async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}

/// Completes the report of a look whose page has been read: `bytes` long, within `took`.
pub fn conclude(report: &mut Report, page: Result<Page, ParseError>, bytes: usize, took: Duration) {
    match page {
        Ok(page) => {
            report.read(UP, 1.0);
            report.read(SAMPLES, page.samples as f64);
            report.read(KEPT, page.stored as f64);
            report.read(ADDED, page.added as f64);
            report.read(BYTES, bytes as f64);
            report.read(INGEST, took.as_secs_f64());
        }
        Err(error) => fail(report, Failure::new(Reason::Body, "page", error.to_string())),
    }
}

/// Completes the report of a look that no store takes the page of: every sample of it is new.
pub fn read_alone(report: &mut Report) {
    let Some(page) = report.exposition.take() else { return };
    let began = Instant::now();
    let malformed = entries(&page.text, page.dialect, page.limits).find_map(Result::err);
    let samples = page.samples().count();
    let read = match malformed {
        Some(error) => Err(error),
        None => Ok(Page { samples, stored: samples, added: samples, refused: None }),
    };
    conclude(report, read, page.text.len(), began.elapsed());
    report.exposition = Some(page);
}

/// A failed look says so as Prometheus does: with zeros.
fn fail(report: &mut Report, failure: Failure) {
    [UP, SAMPLES, KEPT, ADDED].into_iter().for_each(|metric| report.read(metric, 0.0));
    report.failure = Some(failure);
}

fn exposition(answer: Response, limits: Limits) -> Result<Exposition, Failure> {
    let refuse = |reason, error: String| Failure::new(reason, "response", error).at(answer.peer);
    if answer.status != StatusCode::OK {
        return Err(refuse(Reason::Status, format!("status {}, wanted 200", answer.status)));
    }
    let dialect = dialect(header(&answer.headers, CONTENT_TYPE)).map_err(|error| refuse(Reason::Body, error))?;
    if answer.truncated {
        return Err(refuse(Reason::Body, body::too_large(limits.bytes)));
    }
    let encoding = header(&answer.headers, CONTENT_ENCODING).to_owned();
    let text = body::text(answer.body, &encoding, limits.bytes);
    let text = text.map_err(|error| Failure::new(Reason::Body, "response", error).at(answer.peer))?;
    Ok(Exposition { text, dialect, limits })
}

fn header(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The format that a content type names. A page without one is taken for Prometheus's, as by Prometheus 2.
fn dialect(content_type: &str) -> Result<Dialect, String> {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/openmetrics-text" => Ok(Dialect::OpenMetrics),
        "" | "text/plain" => Ok(Dialect::Prometheus),
        _ => Err(format!(
            "a page of metrics is text/plain or application/openmetrics-text, this is {essence:.80}: \
             does the URL lead to the metrics?"
        )),
    }
}
