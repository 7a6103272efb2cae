//! What is under `http:`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;
use hyper::{HeaderMap, Method};
use serde::Deserialize;
use url::Url;

use super::expect::{ExpectBody, Statuses};
use super::json::{self, ExpectJson};
use crate::net::tls::TlsSettings;
use crate::probe::{Failure, headers, secret_url};
use crate::secret::{Secret, SecretSource};

/// How many redirects are followed unless configured, and at most: the blackbox exporter's figure.
pub const MAX_REDIRECTS: u32 = 10;
/// How many paths may be tried.
const MAX_PATHS: usize = 8;
/// How much of a body is read unless configured, in bytes.
const BODY: usize = 1024 * 1024;
/// How much of a body may be configured to be read, in bytes.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// One URL, how to ask for it, and what the answer must be.
///
/// URL, header values and body may hold credentials: they are kept as secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `http://…` or `https://…`; a name and password in it are sent as `Authorization: Basic`.
    #[serde(default)]
    pub url: Option<Secret>,
    /// A file that holds the URL; read for every look.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    #[serde(default = "get")]
    pub method: String,
    /// Sent to the URL's own scheme, host and port only, never along a redirect elsewhere.
    /// `Host` replaces the URL's host in the request.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The same, each value in a file that is read for every look.
    #[serde(default)]
    pub headers_file: BTreeMap<String, PathBuf>,
    /// Sent with the request.
    #[serde(default)]
    pub body: Option<Secret>,
    /// Read for every look.
    #[serde(default)]
    pub body_file: Option<PathBuf>,
    #[serde(default)]
    pub bearer_token: Option<Secret>,
    /// Read for every look.
    #[serde(default)]
    pub bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    pub basic_auth: Option<BasicAuth>,
    /// Statuses that are good: codes and classes such as `2xx`; without it `2xx`. A redirect that is listed here
    /// is an answer, and not followed.
    #[serde(default)]
    pub status: Statuses,
    /// What the body must and must not hold.
    #[serde(default)]
    pub expect_body: Box<ExpectBody>,
    /// What the body, as JSON, must say: every value that a path selects, and at least one.
    #[serde(default, deserialize_with = "json::one_or_many")]
    pub json: Vec<ExpectJson>,
    /// Where the health endpoint may be: the first that is there (not 404, 405 or 501) decides, and is remembered.
    #[serde(default)]
    pub paths: Vec<String>,
    /// How many redirects are followed, 0 to 10. With 0, or one more than this, the redirect is the answer.
    #[serde(default = "redirects")]
    pub redirects: u32,
    /// How much of the body is read, in bytes. A longer one is no failure.
    #[serde(default = "max_body")]
    pub max_body: usize,
    #[serde(default)]
    pub tls: Box<TlsSettings>,
}

/// `Authorization: Basic`, as in Prometheus's HTTP client configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    #[serde(default)]
    pub password: Option<Secret>,
    /// Read for every look.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

fn get() -> String {
    "GET".to_owned()
}

fn redirects() -> u32 {
    MAX_REDIRECTS
}

fn max_body() -> usize {
    BODY
}

/// What is meant where nothing is given.
impl Default for Settings {
    fn default() -> Self {
        Settings {
            url: None,
            url_file: None,
            method: get(),
            headers: BTreeMap::new(),
            headers_file: BTreeMap::new(),
            body: None,
            body_file: None,
            bearer_token: None,
            bearer_token_file: None,
            basic_auth: None,
            status: Statuses::default(),
            expect_body: Box::default(),
            json: Vec::new(),
            paths: Vec::new(),
            redirects: redirects(),
            max_body: max_body(),
            tls: Box::default(),
        }
    }
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        parse_url(url)?;
        Ok(Settings { url: Some(Secret::new(url)), ..Settings::default() })
    }

    pub fn instance(&self) -> Result<String, String> {
        self.read_url().map(|url| shown(&url)).map_err(|failure| failure.error)
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        wrong.extend(secret_url::check(self.url.as_ref(), self.url_file.as_deref(), parse_url));
        wrong.extend(self.parsed_method().err().map(|error| ("method", error)));
        wrong.extend(self.parsed_headers().err().map(|error| ("headers", error)));
        wrong.extend(self.header_files().err().map(|error| ("headers_file", error)));
        let patterns = self.expect_body.compile().err().unwrap_or_default();
        wrong.extend(patterns.into_iter().map(|error| ("expect_body", error)));
        wrong.extend(self.json.iter().filter_map(|expect| Some(("json", expect.compile().err()?))));
        wrong.extend(self.check_paths().map(|error| ("paths", error)));
        if self.redirects > MAX_REDIRECTS {
            wrong.push(("redirects", format!("at most {MAX_REDIRECTS} redirects are followed")));
        }
        if self.max_body > MAX_BODY {
            wrong.push(("max_body", format!("at most {MAX_BODY} bytes of a body are read")));
        }
        wrong.extend(self.tls.check().into_iter().map(|error| ("tls", error)));
        wrong.extend(self.check_credentials());
        wrong
    }

    /// Each address of the URL's name is looked at by itself.
    pub fn instances(&self) -> Option<String> {
        match self.read_url().ok()?.host()? {
            url::Host::Domain(name) => Some(name.to_owned()),
            _ => None,
        }
    }

    /// Nothing is held.
    pub fn reconnect(&self) -> Option<Duration> {
        None
    }

    fn check_paths(&self) -> Option<String> {
        if let Some(path) = self.paths.iter().find(|path| !path.starts_with('/') || path.starts_with("//")) {
            return Some(format!("{path:?} is not a path: begin it with one slash, as in /health"));
        }
        if self.paths.len() > MAX_PATHS {
            return Some(format!("at most {MAX_PATHS} paths are tried: each may cost a request of one look's time"));
        }
        let own = self.url.as_ref().and_then(|url| parse_url(url.expose()).ok());
        let has_path = own.is_some_and(|url| url.path() != "/" || url.query().is_some());
        (!self.paths.is_empty() && has_path)
            .then(|| "the URL has a path of its own: end it after the port, or leave `paths` out".to_owned())
    }

    fn check_credentials(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let in_url = self.read_url().is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
        let header =
            self.headers.keys().chain(self.headers_file.keys()).any(|name| name.eq_ignore_ascii_case("authorization"));
        let bearer = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        let given = [in_url, header, bearer, self.basic_auth.is_some()];
        if given.iter().filter(|given| **given).count() > 1 {
            let ways = "the URL's own credentials, an Authorization header, `bearer_token` and `basic_auth`";
            wrong.push(("url", format!("several credentials are given: choose one of {ways}")));
        }
        if self.bearer_token.is_some() && self.bearer_token_file.is_some() {
            wrong.push(("bearer_token_file", "give `bearer_token` or `bearer_token_file`, not both".to_owned()));
        }
        if self.body.is_some() && self.body_file.is_some() {
            wrong.push(("body_file", "give `body` or `body_file`, not both".to_owned()));
        }
        if self.basic_auth.as_ref().is_some_and(|auth| auth.password.is_some() && auth.password_file.is_some()) {
            wrong.push(("basic_auth", "give `password` or `password_file`, not both".to_owned()));
        }
        wrong
    }

    /// The URL as it is now.
    pub(in crate::probe) fn read_url(&self) -> Result<Url, Failure> {
        secret_url::read(self.url.as_ref(), self.url_file.as_deref(), parse_url)
    }

    pub(super) fn parsed_method(&self) -> Result<Method, String> {
        let known = Method::from_bytes(self.method.as_bytes()).ok();
        let known = known.filter(|method| METHODS.contains(method));
        known.ok_or_else(|| {
            format!("{:?} is not a method: use GET, HEAD, OPTIONS, POST, PUT, PATCH or DELETE", self.method)
        })
    }

    pub(super) fn parsed_headers(&self) -> Result<HeaderMap, String> {
        headers::in_place(&self.headers, headers::name)
    }

    /// The headers whose values are in files.
    pub(super) fn header_files(&self) -> Result<Vec<(HeaderName, SecretSource)>, String> {
        headers::in_files(&self.headers_file, &self.headers, headers::name)
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    // The text itself is left out of the errors: it may hold a password.
    let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" if url.port() != Some(0) => Ok(url),
        "http" | "https" => Err("port 0 cannot be connected to".to_owned()),
        other => Err(format!("the URL's scheme is {other:?}: write http:// or https://")),
    }
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// A URL without what may be secret in it: credentials, query and fragment.
fn shown(url: &Url) -> String {
    url[..url::Position::BeforeUsername].to_owned() + &url[url::Position::BeforeHost..url::Position::AfterPath]
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
    fn the_instance_is_the_url_without_credentials_and_query() {
        let instance = |url: &str| Settings::from_url(url).unwrap().instance().unwrap();
        assert_eq!(instance("https://u:hunter2@api.example:8443/health?token=x#y"), "https://api.example:8443/health");
        assert_eq!(instance("http://api"), "http://api/");
        assert_eq!(instance("http://[::1]:80/x"), "http://[::1]/x");
    }

    #[test]
    fn nothing_secret_is_printed() {
        let url = "http://u:hunter2@api/?key=hunter3";
        let text = format!("{:?}", Settings::from_url(url).unwrap());
        assert!(!text.contains("hunter"), "{text}");
        let error = Settings::from_url("http://u:hunter2@:80x/").unwrap_err();
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn every_problem_is_told_at_its_key() {
        assert_eq!(wrong_keys(r#"{"url": "http://api/"}"#), [""; 0]);
        let many = r#"{"url": "ftp://api/", "method": "FETCH", "headers": {"Content-Length": "1"}, "redirects": 11,
            "expect_body": {"matches": "("}, "max_body": 99999999999, "tls": {"key_file": "k"}}"#;
        assert_eq!(wrong_keys(many), ["url", "method", "headers", "expect_body", "redirects", "max_body", "tls"]);
    }

    #[test]
    fn one_way_to_give_credentials_is_enough() {
        assert_eq!(wrong_keys(r#"{"url": "http://u:p@api/", "bearer_token": "x"}"#), ["url"]);
        let both = r#"{"url": "http://api/", "bearer_token": "x", "bearer_token_file": "f"}"#;
        assert_eq!(wrong_keys(both), ["bearer_token_file"]);
        let both = r#"{"url": "http://api/", "basic_auth": {"username": "u", "password": "p", "password_file": "f"}}"#;
        assert_eq!(wrong_keys(both), ["basic_auth"]);
    }

    #[test]
    fn a_secret_is_given_in_place_or_in_a_file() {
        assert_eq!(wrong_keys("{}"), ["url"]);
        assert_eq!(wrong_keys(r#"{"url": "http://api/", "url_file": "f"}"#), ["url_file"]);
        assert_eq!(wrong_keys(r#"{"url_file": "f", "body": "x", "body_file": "f"}"#), ["body_file"]);
        let twice = r#"{"url_file": "f", "headers": {"x-key": "x"}, "headers_file": {"X-Key": "f"}}"#;
        assert_eq!(wrong_keys(twice), ["headers_file"]);
        assert_eq!(wrong_keys(r#"{"url_file": "f", "headers_file": {"te": "f"}}"#), ["headers_file"]);
        let twice = r#"{"url_file": "f", "headers_file": {"Authorization": "f"}, "bearer_token": "x"}"#;
        assert_eq!(wrong_keys(twice), ["url"]);
    }

    #[test]
    fn paths_and_json_are_checked_when_they_are_read() {
        assert_eq!(wrong_keys(r#"{"url": "http://api", "paths": ["/health"], "json": {"path": "$.a"}}"#), [""; 0]);
        assert_eq!(wrong_keys(r#"{"url": "http://api/x", "paths": ["/health"]}"#), ["paths"]);
        for bad in ["health", "//other/health", ""] {
            assert_eq!(wrong_keys(&format!(r#"{{"url": "http://api", "paths": ["/ok", "{bad}"]}}"#)), ["paths"]);
        }
        let wrong = settings(r#"{"url": "http://api", "json": [{"path": "$.ok"}, {"path": "$.a["}]}"#).check();
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].1.contains(r#""$.a[""#), "{wrong:?}");
        let misspelt = r#"{"url": "http://api", "json": [{"path": "$.ok", "equal": 1}]}"#;
        assert!(serde_json::from_str::<Settings>(misspelt).unwrap_err().to_string().contains("equal"));
    }

    #[test]
    fn addresses_of_a_name_are_instances_and_an_address_is_one() {
        let instances = |url: &str| Settings::from_url(url).unwrap().instances();
        assert_eq!(instances("http://u:p@API.example:80/x").as_deref(), Some("api.example"));
        assert_eq!(instances("http://10.0.0.1/"), None);
        assert_eq!(instances("http://[::1]/"), None);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Settings>(r#"{"url": "http://api/", "methd": "GET"}"#).is_err());
    }
}
