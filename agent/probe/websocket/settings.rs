//! What is under `websocket:`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use serde::Deserialize;
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_key};
use url::{Host, Position, Url};

use super::load::LoadSettings;
use crate::net::http;
use crate::net::tls::TlsSettings;
use crate::probe::{Failure, Reason, headers, held, secret_url};
use crate::secret::{Secret, SecretSource};

/// Headers that make the upgrade; subprotocols have a key of their own.
const REFUSED: [&str; 5] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
];

/// One gateway, and how to ask it. URL and header values may hold credentials: they are kept as secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `ws://…` or `wss://…`; a name and password in it are sent as `Authorization: Basic`.
    #[serde(default)]
    pub url: Option<Secret>,
    /// A file that holds the URL; read for every look.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// Sent with the upgrade. `Host` replaces the URL's host.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// The same, each value in a file that is read for every look.
    #[serde(default)]
    pub headers_file: BTreeMap<String, PathBuf>,
    /// Offered with the upgrade; where there are some, the server must choose one of them.
    #[serde(default)]
    pub subprotocols: Vec<String>,
    #[serde(default)]
    pub tls: Box<TlsSettings>,
    /// Keeps a connection open and pings it at every interval; it takes one place of the gateway's capacity.
    #[serde(default)]
    pub hold: bool,
    /// With `hold`: how often a fresh connection is made beside the held one.
    #[serde(default, deserialize_with = "crate::duration::deserialize_option")]
    pub reconnect: Option<Duration>,
    /// Where the gateway's own count of its connections is read, and how many it takes.
    #[serde(default)]
    pub load: Option<Box<LoadSettings>>,
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        parse_url(url)?;
        Ok(Settings {
            url: Some(Secret::new(url)),
            url_file: None,
            headers: BTreeMap::new(),
            headers_file: BTreeMap::new(),
            subprotocols: Vec::new(),
            tls: Box::default(),
            hold: false,
            reconnect: None,
            load: None,
        })
    }

    pub fn instance(&self) -> Result<String, String> {
        let url = self.read_url().map_err(|failure| failure.error)?;
        Ok(format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default()))
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        wrong.extend(secret_url::check(self.url.as_ref(), self.url_file.as_deref(), parse_url));
        wrong.extend(self.parsed_headers().err().map(|error| ("headers", error)));
        wrong.extend(self.header_files().err().map(|error| ("headers_file", error)));
        wrong.extend(self.check_credentials());
        wrong.extend(self.subprotocols.iter().filter_map(|name| check_token(name).err()).map(|e| ("subprotocols", e)));
        wrong.extend(self.tls.check().into_iter().map(|error| ("tls", error)));
        wrong.extend(self.check_reconnect().map(|error| ("reconnect", error)));
        // A URL in a file is compared with the load's when it is read.
        let url = self.url.as_ref().and_then(|url| parse_url(url.expose()).ok());
        let load = self.load.iter().flat_map(|load| load.check(url.as_ref()));
        wrong.extend(load.map(|error| ("load", error)));
        wrong
    }

    /// Every instance behind the name is looked at by itself; an address is no name.
    pub fn instances(&self) -> Option<String> {
        match self.read_url().ok()?.host()? {
            Host::Domain(name) => Some(name.to_owned()),
            _ => None,
        }
    }

    /// `None` without `hold`.
    pub fn reconnect(&self) -> Option<Duration> {
        self.hold.then(|| self.reconnect.unwrap_or_else(held::default_reconnect))
    }

    fn check_reconnect(&self) -> Option<String> {
        let reconnect = self.reconnect?;
        if !self.hold {
            return Some("means nothing without `hold: true`: every look is a new connection already".to_owned());
        }
        held::check_reconnect(reconnect, "gateway")
    }

    fn check_credentials(&self) -> Option<(&'static str, String)> {
        let in_url = self.url.as_ref().and_then(|url| parse_url(url.expose()).ok()).is_some_and(|url| has_login(&url));
        let mut names = self.headers.keys().chain(self.headers_file.keys());
        let in_header = names.any(|name| name.eq_ignore_ascii_case("authorization"));
        let both = "it has credentials, and `headers` has Authorization: choose one of them";
        (in_url && in_header).then(|| ("url", both.to_owned()))
    }

    /// The URL as it is now.
    pub(super) fn read_url(&self) -> Result<Url, Failure> {
        secret_url::read(self.url.as_ref(), self.url_file.as_deref(), parse_url)
    }

    /// Where to connect and what to say there, as the settings and their files say now.
    pub(super) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let url = self.read_url()?;
        let headers = self.own_headers(&url).map_err(|error| Failure::new(Reason::Secret, "secret", error))?;
        Ok(Endpoint { url, headers })
    }

    fn own_headers(&self, url: &Url) -> Result<HeaderMap, String> {
        let mut headers = self.parsed_headers()?;
        headers::read(&self.header_files()?, &mut headers)?;
        if let Some(login) = http::login(url) {
            headers.entry(AUTHORIZATION).or_insert(login);
        }
        if !self.subprotocols.is_empty() {
            let offered = HeaderValue::from_str(&self.subprotocols.join(", "));
            headers.insert(SEC_WEBSOCKET_PROTOCOL, offered.map_err(|_| "`subprotocols` cannot be sent".to_owned())?);
        }
        Ok(headers)
    }

    fn parsed_headers(&self) -> Result<HeaderMap, String> {
        headers::in_place(&self.headers, own_name)
    }

    /// The headers whose values are in files.
    fn header_files(&self) -> Result<Vec<(HeaderName, SecretSource)>, String> {
        headers::in_files(&self.headers_file, &self.headers, own_name)
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    // The text itself is left out of the errors: it may hold a password.
    let url = Url::parse(text).map_err(|error| format!("this is not a URL: {error}"))?;
    match url.scheme() {
        "ws" | "wss" if url.port() != Some(0) => Ok(url),
        "ws" | "wss" => Err("port 0 cannot be connected to".to_owned()),
        other => Err(format!("the URL's scheme is {other:?}: write ws:// or wss://")),
    }
}

fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn own_name(name: &str) -> Result<HeaderName, String> {
    let parsed = headers::name(name)?;
    match parsed.as_str() {
        "sec-websocket-protocol" => Err("write subprotocols under `subprotocols`, not as a header".to_owned()),
        refused if REFUSED.contains(&refused) => {
            Err(format!("the header {name:?} cannot be set: it follows from the upgrade"))
        }
        _ => Ok(parsed),
    }
}

/// RFC 9110, section 5.6.2.
fn check_token(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !name.is_empty() && name.bytes().all(fits) {
        true => Ok(()),
        false => Err(format!("{name:?} is no name of a subprotocol: letters, digits and - . _ are")),
    }
}

/// A gateway as it is asked in one look.
#[derive(Clone, PartialEq)]
pub struct Endpoint {
    url: Url,
    headers: HeaderMap,
}

impl Endpoint {
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or_default()
    }

    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }

    /// The upgrade, with a key of its own.
    pub fn request(&self) -> Result<Request, Failure> {
        let wrong =
            |what: &str| Failure::new(Reason::Protocol, "upgrade", format!("the URL's {what} cannot be requested"));
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let path = &self.url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::new(());
        *request.uri_mut() = format!("{}://{authority}{path}", self.url.scheme()).parse().map_err(|_| wrong("path"))?;
        let headers = request.headers_mut();
        *headers = self.headers.clone();
        headers.entry(HOST).or_insert(HeaderValue::from_str(authority).map_err(|_| wrong("host"))?);
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(http::AGENT));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(&generate_key()).map_err(|_| wrong("key"))?);
        Ok(request)
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
    fn the_instance_is_host_and_port_and_the_instances_are_behind_the_name() {
        let of = |url: &str| {
            let settings = Settings::from_url(url).unwrap();
            (settings.instance().unwrap(), settings.instances())
        };
        assert_eq!(
            of("ws://u:hunter2@gateway:4001/x?token=y"),
            ("gateway:4001".to_owned(), Some("gateway".to_owned()))
        );
        assert_eq!(of("wss://gateway"), ("gateway:443".to_owned(), Some("gateway".to_owned())));
        assert_eq!(of("ws://[::1]/"), ("[::1]:80".to_owned(), None));
        assert_eq!(of("ws://127.0.0.1:1"), ("127.0.0.1:1".to_owned(), None));
    }

    #[test]
    fn nothing_is_held_unless_asked_for() {
        assert_eq!(settings(r#"{"url": "ws://g"}"#).reconnect(), None);
        assert_eq!(settings(r#"{"url": "ws://g", "hold": true}"#).reconnect(), Some(Duration::from_secs(30)));
        assert_eq!(wrong_keys(r#"{"url": "ws://g", "hold": true, "reconnect": "10ms"}"#), ["reconnect"]);
        assert_eq!(wrong_keys(r#"{"url": "ws://g", "reconnect": "10s"}"#), ["reconnect"]);
    }

    #[test]
    fn every_problem_is_told_at_its_key() {
        let good = r#"{"url": "ws://g:1/", "headers": {"Origin": "https://app"}, "subprotocols": ["graphql-ws"],
            "load": {"metrics": "http://g:2/metrics", "gauge": "ws_connections"}}"#;
        assert_eq!(wrong_keys(good), [""; 0]);
        let many = r#"{"url": "http://g/", "headers": {"Upgrade": "x"}, "headers_file": {"Sec-WebSocket-Key": "f"},
            "subprotocols": ["a b"], "tls": {"key_file": "k"}, "reconnect": "1s",
            "load": {"metrics": "http://g/", "gauge": "c", "soft": 5, "hard": 4}}"#;
        let keys = ["url", "headers", "headers_file", "subprotocols", "tls", "reconnect", "load"];
        assert_eq!(wrong_keys(many), keys);
        assert_eq!(wrong_keys(r#"{"url": "ws://u:p@g", "headers": {"authorization": "x"}}"#), ["url"]);
        assert_eq!(wrong_keys(r#"{"url": "ws://g", "headers": {"Sec-WebSocket-Protocol": "x"}}"#), ["headers"]);
        assert_eq!(wrong_keys("{}"), ["url"]);
        assert!(serde_json::from_str::<Settings>(r#"{"url": "ws://g", "holds": true}"#).is_err());
    }

    #[test]
    fn the_upgrade_says_what_was_configured_and_a_new_key_each_time() {
        let settings = settings(
            r#"{"url": "ws://me:s%40fe@g:4001/chat?x=1#y", "subprotocols": ["a", "b"], "headers": {"X-Probe": "1"}}"#,
        );
        let endpoint = settings.endpoint().unwrap();
        let (one, two) = (endpoint.request().unwrap(), endpoint.request().unwrap());
        assert_eq!(one.uri().to_string(), "ws://g:4001/chat?x=1");
        let header = |name: &str| one.headers()[name].to_str().unwrap();
        assert_eq!(header("host"), "g:4001");
        assert_eq!(header("sec-websocket-protocol"), "a, b");
        assert_eq!(header("x-probe"), "1");
        assert_eq!(header("authorization"), "Basic bWU6c0BmZQ==");
        assert_ne!(one.headers()["sec-websocket-key"], two.headers()["sec-websocket-key"]);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let text = format!("{:?}", Settings::from_url("ws://u:hunter2@g/?key=hunter3").unwrap());
        assert!(!text.contains("hunter"), "{text}");
        assert!(!Settings::from_url("ws://u:hunter2@:80x/").unwrap_err().contains("hunter"));
    }
}
