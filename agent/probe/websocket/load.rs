//! A gateway's own count of its connections, read from the page of metrics that it exposes.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use url::Url;

use super::metrics::{CONNECTIONS, CONNECTIONS_PEAK, HARD_LIMIT, LOAD_KNOWN, SATURATION, SOFT_LIMIT};
use super::peaks::Peaks;
use crate::clock::Clock;
use crate::duration;
use crate::export::parse::{Dialect, Entry, Limits, entries};
use crate::matcher::Matcher;
use crate::net::Net;
use crate::net::http::{self, Request, Response};
use crate::net::tls::Tls;
use crate::probe::{Report, secret_url};
use crate::sample::Labels;
use crate::secret::Secret;

/// The most that is read of the page, in bytes.
const PAGE: usize = 4 * 1024 * 1024;
/// How long the page may take: the look is good without it.
const PATIENCE: Duration = Duration::from_secs(1);
const SHORTEST_WINDOW: Duration = Duration::from_secs(60);
const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// What is under `load:`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSettings {
    /// The page that the gateway exposes, on the gateway's own host; read together with every look.
    #[serde(default)]
    pub metrics: Option<Secret>,
    /// A file that holds the page's URL; read for every look.
    #[serde(default)]
    pub metrics_file: Option<PathBuf>,
    pub gauge: Gauge,
    /// From how many connections on the gateway is nearly full.
    #[serde(default = "soft")]
    pub soft: u32,
    /// How many connections the gateway takes.
    #[serde(default = "hard")]
    pub hard: u32,
    /// How long a peak is remembered.
    #[serde(default = "window", deserialize_with = "crate::duration::deserialize")]
    pub window: Duration,
}

fn soft() -> u32 {
    500
}

fn hard() -> u32 {
    1000
}

fn window() -> Duration {
    Duration::from_secs(3600)
}

impl LoadSettings {
    /// What is wrong beyond the types; `gateway` is the URL that is looked at, where it is known already.
    pub fn check(&self, gateway: Option<&Url>) -> Vec<String> {
        let mut wrong = Vec::new();
        let page = |text: &str| parse_page(text).and_then(|page| gateway.map_or(Ok(()), |url| same_host(url, &page)));
        let found = secret_url::check(self.metrics.as_ref(), self.metrics_file.as_deref(), page);
        wrong.extend(found.map(|(key, error)| match key {
            "url" if self.metrics.is_none() => "`metrics` is missing: give `metrics` or `metrics_file`".to_owned(),
            "url" => format!("`metrics`: {error}"),
            _ => "give `metrics` or `metrics_file`, not both".to_owned(),
        }));
        if self.soft == 0 || self.soft > self.hard {
            wrong.push("`soft` must be more than 0, and at most `hard`".to_owned());
        }
        if !(SHORTEST_WINDOW..=LONGEST_WINDOW).contains(&self.window) {
            let (shortest, longest) = (duration::format(SHORTEST_WINDOW), duration::format(LONGEST_WINDOW));
            wrong.push(format!("`window` must be from {shortest} to {longest}"));
        }
        wrong
    }

    /// The page's URL as it is now. Its instance is the gateway's because its host is.
    fn page(&self, gateway: &Url) -> Result<Url, String> {
        let page = secret_url::read(self.metrics.as_ref(), self.metrics_file.as_deref(), parse_page);
        let page = page.map_err(|failure| failure.error)?;
        same_host(gateway, &page).map(|()| page)
    }
}

fn parse_page(text: &str) -> Result<Url, String> {
    // The text itself is left out of the errors: it may hold a password.
    let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.port() != Some(0) => Ok(url),
        "http" | "https" => Err("port 0 cannot be connected to".to_owned()),
        other => Err(format!("the URL's scheme is {other:?}: write http:// or https://")),
    }
}

/// Behind one name there may be several instances: only under the gateway's own name is the page the same one's.
fn same_host(gateway: &Url, page: &Url) -> Result<(), String> {
    match gateway.host() == page.host() {
        true => Ok(()),
        false => {
            Err("its host must be that of the gateway's URL, so that it is read from the same instance".to_owned())
        }
    }
}

/// A metric's name and, in braces, what its labels must be: `ws_connections{state="open"}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Gauge {
    name: String,
    matchers: Vec<Matcher>,
}

impl TryFrom<String> for Gauge {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (name, labels) = text.split_at(text.find('{').unwrap_or(text.len()));
        let name = name.trim();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        if name.is_empty() || !name.bytes().all(fits) || name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(format!(
                "{text:?} names no metric: write it as ws_connections or ws_connections{{state=\"open\"}}"
            ));
        }
        let matchers = if labels.is_empty() { Vec::new() } else { Matcher::parse_list(labels)? };
        Ok(Gauge { name: name.to_owned(), matchers })
    }
}

impl Gauge {
    /// The sum of all its series in a page; none where there is no such series.
    fn read(&self, page: &str, dialect: Dialect) -> Result<Option<f64>, String> {
        let mut sum = None;
        for entry in entries(page, dialect, Limits { bytes: PAGE, ..Limits::default() }) {
            let Entry::Sample(sample) = entry.map_err(|error| error.to_string())? else { continue };
            if sample.name != self.name {
                continue;
            }
            let labels = Labels::from_labels(sample.to_labels());
            if self.matchers.iter().all(|matcher| matcher.matches_labels(&labels)) {
                sum = Some(sum.unwrap_or(0.0) + sample.value);
            }
        }
        Ok(sum)
    }
}

/// Reads the load again and again, and remembers its peaks.
pub struct Load {
    settings: LoadSettings,
    peaks: Peaks,
    clock: Clock,
    /// What the last look read.
    now: Option<f64>,
}

impl Load {
    pub fn new(settings: LoadSettings) -> Self {
        Load { peaks: Peaks::new(settings.window), settings, clock: Clock::start(), now: None }
    }

    pub fn recall(&mut self, memory: &str) {
        self.peaks.read(memory, self.clock.now());
    }

    /// Reads the load of the instance that `gateway` leads to. What hinders that is a warning, and no failure.
    pub async fn look(&mut self, net: &Net, tls: &Tls, gateway: &Url, report: &mut Report) {
        let reading = tokio::time::timeout(PATIENCE, self.read(net, tls, gateway)).await;
        match reading.unwrap_or_else(|_| Err(format!("no answer within {}", duration::format(PATIENCE)))) {
            Ok(connections) => self.known(connections, report),
            Err(error) => self.unknown(&error, report),
        }
    }

    async fn read(&self, net: &Net, tls: &Tls, gateway: &Url) -> Result<f64, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
        let url = self.settings.page(gateway)?;
        let request = Request { method: Method::GET, url, headers, body: Bytes::new(), max_body: PAGE };
        let answer = http::exchange(net, tls, request).await.map_err(|error| error.failure.to_string())?;
        self.count(&answer)
    }

    fn count(&self, answer: &Response) -> Result<f64, String> {
        if !answer.status.is_success() {
            return Err(format!("status {}, wanted 2xx", answer.status));
        }
        if answer.truncated {
            return Err(format!("the page is larger than {PAGE} bytes"));
        }
        let page = std::str::from_utf8(&answer.body).map_err(|_| "the page is not UTF-8".to_owned())?;
        match self.settings.gauge.read(page, dialect(answer))? {
            Some(value) if value.is_finite() && value >= 0.0 => Ok(value),
            Some(value) => Err(format!("the gauge {} is {value}, which is no count", self.settings.gauge.name)),
            None => Err(format!("the page has no series {} that fits: check `gauge`", self.settings.gauge.name)),
        }
    }

    /// That the gateway takes no more by its own count, where it does not.
    pub fn full(&self) -> Option<String> {
        let hard = self.settings.hard;
        let now = self.now.filter(|now| *now >= f64::from(hard))?;
        Some(format!("by its own count it has {now} of {hard} connections"))
    }

    fn known(&mut self, connections: f64, report: &mut Report) {
        if self.peaks.add(self.clock.now(), connections) {
            report.memory = Some(self.peaks.write());
        }
        self.now = Some(connections);
        report.read(LOAD_KNOWN, 1.0);
        report.read(CONNECTIONS, connections);
        report.read(SATURATION, connections / f64::from(self.settings.hard));
        self.limits(report);
    }

    /// The load could not be read: what it was is not what it is.
    pub fn unknown(&mut self, error: &str, report: &mut Report) {
        self.now = None;
        report.warnings.push(format!("the load is not known: {error}"));
        report.read(LOAD_KNOWN, 0.0);
        self.limits(report);
    }

    fn limits(&mut self, report: &mut Report) {
        if let Some(peak) = self.peaks.highest(self.clock.now()) {
            report.read(CONNECTIONS_PEAK, peak);
        }
        report.read(SOFT_LIMIT, f64::from(self.settings.soft));
        report.read(HARD_LIMIT, f64::from(self.settings.hard));
    }
}

fn dialect(answer: &Response) -> Dialect {
    let stated = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let open = stated.trim_start().to_ascii_lowercase().starts_with("application/openmetrics-text");
    if open { Dialect::OpenMetrics } else { Dialect::Prometheus }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(text: &str) -> Result<Gauge, String> {
        Gauge::try_from(text.to_owned())
    }

    fn settings(json: &str) -> LoadSettings {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_gauge_is_the_sum_of_the_series_that_fit() {
        let page = "# TYPE c gauge\nc{state=\"open\",worker=\"1\"} 3\nc{state=\"open\",worker=\"2\"} 4\n\
                    c{state=\"closing\"} 10\ncc 1\n";
        let read = |text: &str| gauge(text).unwrap().read(page, Dialect::Prometheus).unwrap();
        assert_eq!(read("c"), Some(17.0));
        assert_eq!(read("c{state=\"open\"}"), Some(7.0));
        assert_eq!(read("c {state=open, worker=~\"[2-9]\"}"), Some(4.0));
        assert_eq!((read("c{state=\"shut\"}"), read("d")), (None, None));
    }

    #[test]
    fn a_page_that_is_malformed_is_no_count() {
        let error = gauge("c").unwrap().read("c 3\nc{ 4\n", Dialect::Prometheus).unwrap_err();
        assert!(error.starts_with("line 2"), "{error}");
    }

    #[test]
    fn what_names_no_gauge_is_refused() {
        for wrong in ["", "{a=\"b\"}", "1c", "a-b", "c{", "c{}", "c{a}"] {
            assert!(gauge(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_text_names_a_gauge_or_is_refused() {
        let seeds = ["ws_connections{state=\"open\", worker=~\"1|2\"}", "a:b"];
        let tokens = ["{", "}", "=", "~", "!", "\"", ",", " ", "é", "\n"];
        crate::fuzz::texts(2_000, &seeds, &tokens, |text| {
            if let Ok(gauge) = gauge(text) {
                assert!(text.contains(&gauge.name) && gauge.read("a:b 1\n", Dialect::Prometheus).is_ok());
            }
        });
    }

    #[test]
    fn the_limits_are_those_of_the_reference_unless_configured() {
        let settings = settings(r#"{"metrics": "http://g/metrics", "gauge": "c"}"#);
        assert_eq!((settings.soft, settings.hard, settings.window), (500, 1000, Duration::from_secs(3600)));
        assert!(settings.check(Some(&Url::parse("ws://g:4001/").unwrap())).is_empty());
    }

    #[test]
    fn wrong_limits_and_pages_are_told() {
        let gateway = Url::parse("ws://g:4001/").unwrap();
        for (json, part) in [
            (r#"{"metrics": "http://g", "gauge": "c", "soft": 0}"#, "`soft`"),
            (r#"{"metrics": "http://g", "gauge": "c", "soft": 5, "hard": 4}"#, "`soft`"),
            (r#"{"metrics": "http://g", "gauge": "c", "window": "10s"}"#, "from 1m to 7d"),
            (r#"{"metrics": "http://g", "gauge": "c", "window": "8d"}"#, "from 1m to 7d"),
            (r#"{"metrics": "ws://g", "gauge": "c"}"#, "`metrics`: the URL's scheme"),
            (r#"{"metrics": "http://other:4001/", "gauge": "c"}"#, "same instance"),
            (r#"{"gauge": "c"}"#, "`metrics` is missing"),
            (r#"{"metrics": "http://g", "metrics_file": "f", "gauge": "c"}"#, "not both"),
        ] {
            let wrong = settings(json).check(Some(&gateway));
            assert!(wrong.len() == 1 && wrong[0].contains(part), "{json}: {wrong:?}");
        }
    }
}
