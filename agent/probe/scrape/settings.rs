//! What is under `scrape:`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderValue;
use serde::Deserialize;

use crate::export::parse::Limits;
use crate::net::tls::TlsSettings;
use crate::probe::http;
use crate::secret::Secret;

/// How large a page may be unless configured, in bytes, and at most.
const BYTES: usize = 16 << 20;
const MAX_BYTES: usize = 256 << 20;
/// How many samples a page may have unless configured, and at most: what the store holds of all targets.
const SERIES: usize = 20_000;
const MAX_SERIES: usize = 200_000;
const MAX_LABELS: usize = 256;
const MAX_LABEL_BYTES: usize = 1 << 20;

/// One page of metrics: where it is, how to ask for it, and how much of it is taken.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `http://…` or `https://…`; a name and password in it are sent as `Authorization: Basic`.
    #[serde(default)]
    pub url: Option<Secret>,
    /// A file that holds the URL; read for every look.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// Sent to the URL's own scheme, host and port only, never along a redirect elsewhere.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The same, each value in a file that is read for every look.
    #[serde(default)]
    pub headers_file: BTreeMap<String, PathBuf>,
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// Read for every look.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    pub basic_auth: Option<http::BasicAuth>,
    /// How many redirects are followed, 0 to 10.
    #[serde(default)]
    pub redirects: Option<u32>,
    /// What is asked for, best first.
    #[serde(default = "protocols")]
    pub protocols: Vec<Protocol>,
    /// Bytes of a page, as sent and unpacked.
    #[serde(default = "max_bytes")]
    pub max_bytes: usize,
    /// Samples of a page.
    #[serde(default = "max_series")]
    pub max_series: usize,
    /// Labels of a sample.
    #[serde(default = "max_labels")]
    pub max_labels: usize,
    /// Bytes of a label's name or value, or of a metric's name.
    #[serde(default = "max_label_bytes")]
    pub max_label_bytes: usize,
    #[serde(default)]
    pub tls: Box<TlsSettings>,
}

/// A format of the page, by its name in Prometheus's `scrape_protocols`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Protocol {
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics,
    #[serde(rename = "PrometheusText1.0.0")]
    Prometheus1,
    #[serde(rename = "PrometheusText0.0.4")]
    Prometheus,
}

impl Protocol {
    /// Where a format has names in quotes, they are asked for: else an exporter may escape `my.metric` to another name.
    fn media_type(self) -> &'static str {
        match self {
            Protocol::OpenMetrics => "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
            Protocol::Prometheus1 => "text/plain;version=1.0.0;escaping=allow-utf-8",
            Protocol::Prometheus => "text/plain;version=0.0.4",
        }
    }
}

fn protocols() -> Vec<Protocol> {
    vec![Protocol::OpenMetrics, Protocol::Prometheus1, Protocol::Prometheus]
}

fn max_bytes() -> usize {
    BYTES
}

fn max_series() -> usize {
    SERIES
}

fn max_labels() -> usize {
    Limits::default().labels
}

fn max_label_bytes() -> usize {
    Limits::default().label_bytes
}

impl Settings {
    /// No URL scheme leads here: `http` and `https` are those of the kind `http`.
    pub fn from_url(_url: &str) -> Result<Self, String> {
        Err("a page of metrics is scraped as a target of a configuration: give --config FILE and its name".to_owned())
    }

    /// The URL without credentials and query.
    pub fn instance(&self) -> Result<String, String> {
        self.http().instance()
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = self.http().check();
        if self.protocols.is_empty() {
            let known = "OpenMetricsText1.0.0, PrometheusText1.0.0, PrometheusText0.0.4 or several";
            wrong.push(("protocols", format!("nothing would be asked for: list {known}")));
        }
        let bounds = [
            ("max_bytes", self.max_bytes, MAX_BYTES),
            ("max_series", self.max_series, MAX_SERIES),
            ("max_labels", self.max_labels, MAX_LABELS),
            ("max_label_bytes", self.max_label_bytes, MAX_LABEL_BYTES),
        ];
        let out = bounds.into_iter().filter(|(_, given, most)| !(1..=*most).contains(given));
        wrong.extend(out.map(|(key, _, most)| (key, format!("is to be from 1 to {most}"))));
        wrong
    }

    /// Nothing is held.
    pub fn reconnect(&self) -> Option<Duration> {
        None
    }

    /// Every address behind the URL's name exposes its own page.
    pub fn instances(&self) -> Option<String> {
        self.http().read_url().ok().and_then(|url| url.domain().map(str::to_owned))
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            bytes: self.max_bytes,
            samples: self.max_series,
            labels: self.max_labels,
            label_bytes: self.max_label_bytes,
        }
    }

    /// `Accept`: the formats in their order of preference, and last whatever there is.
    pub(super) fn accept(&self) -> HeaderValue {
        let formats = self.protocols.iter().zip((3..10).rev());
        let formats: String =
            formats.map(|(format, weight)| format!("{};q=0.{weight},", format.media_type())).collect();
        HeaderValue::try_from(format!("{formats}*/*;q=0.1")).unwrap_or(HeaderValue::from_static("*/*"))
    }

    /// The request, as the kind `http` makes it.
    pub(super) fn http(&self) -> http::Settings {
        let mut settings = http::Settings::default();
        settings.url.clone_from(&self.url);
        settings.url_file.clone_from(&self.url_file);
        settings.headers.clone_from(&self.headers);
        settings.headers_file.clone_from(&self.headers_file);
        settings.bearer_token.clone_from(&self.bearer_token);
        settings.bearer_token_file.clone_from(&self.bearer_token_file);
        settings.basic_auth.clone_from(&self.basic_auth);
        settings.redirects = self.redirects.unwrap_or(settings.redirects);
        settings.tls.clone_from(&self.tls);
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> Settings {
        serde_json::from_str(json).unwrap()
    }

    fn wrong_keys(json: &str) -> Vec<&'static str> {
        settings(json).check().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_url_is_enough() {
        let settings = settings(r#"{"url": "http://u:p@app:8000/metrics?token=x"}"#);
        assert_eq!(settings.check(), []);
        assert_eq!(settings.instance().unwrap(), "http://app:8000/metrics");
        assert_eq!(settings.instances().as_deref(), Some("app"));
        let expected = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.9,\
                        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.8,text/plain;version=0.0.4;q=0.7,*/*;q=0.1";
        assert_eq!(settings.accept(), expected);
    }

    #[test]
    fn an_address_has_no_other_instances() {
        assert_eq!(settings(r#"{"url": "http://10.0.0.7/metrics"}"#).instances(), None);
        assert_eq!(settings(r#"{"url": "http://[::1]/metrics"}"#).instances(), None);
    }

    #[test]
    fn every_problem_is_told_at_its_key() {
        let many = r#"{"url": "ftp://app/", "headers": {"te": "x"}, "redirects": 11, "tls": {"key_file": "k"},
            "protocols": [], "max_bytes": 0, "max_series": 200001, "max_labels": 0, "max_label_bytes": 0}"#;
        let keys = ["url", "headers", "redirects", "tls"];
        let own = ["protocols", "max_bytes", "max_series", "max_labels", "max_label_bytes"];
        assert_eq!(wrong_keys(many), [&keys[..], &own[..]].concat());
        assert_eq!(wrong_keys("{}"), ["url"]);
        assert!(
            serde_json::from_str::<Settings>(r#"{"url": "http://app/", "protocols": ["PrometheusProto"]}"#).is_err()
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        let text = format!("{:?}", settings(r#"{"url": "http://u:hunter2@app/", "bearer_token": "hunter3"}"#));
        assert!(!text.contains("hunter"), "{text}");
    }
}
