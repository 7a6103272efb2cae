//! One look: ask, follow, judge, report.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH as LENGTH_HEADER, HeaderName, HeaderValue, LOCATION};
use hyper::{HeaderMap, Method, StatusCode, Version};
use url::Url;

use super::expect::{BodyCheck, Statuses};
use super::json::JsonCheck;
use super::settings::Settings;
use super::{BODY_LENGTH, CONTENT_LENGTH, DURATION, FAILED_REGEX, REDIRECTS, SSL, STATUS_CODE, VERSION};
use crate::net::Net;
use crate::net::http::{self, Request, Response};
use crate::net::tls::{Tls, TlsFacts, TlsSettings};
use crate::probe::{Failure, Reason, Report, headers, network};
use crate::secret::SecretSource;

const PHASES: [&str; 5] = ["resolve", "connect", "tls", "processing", "transfer"];

/// The settings, made ready to be used again and again.
pub struct Plan {
    settings: Settings,
    method: Method,
    headers: HeaderMap,
    header_files: Vec<(HeaderName, SecretSource)>,
    credentials: Option<Credentials>,
    status: Statuses,
    expect: BodyCheck,
    json: Vec<JsonCheck>,
    redirects: u32,
    max_body: usize,
    tls: Tls,
    /// For where a redirect leads: without the name and the certificate that are meant for the URL's own host.
    tls_elsewhere: Tls,
}

enum Credentials {
    Bearer(SecretSource),
    Basic(String, Option<SecretSource>),
}

/// What is asked for at home: the URL's own scheme, host and port. Its secrets are read once for each look.
struct Home {
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

impl Home {
    /// Keeps credentials at home: a URL elsewhere loses its own, one at home gets those that were configured.
    /// Returns whether it is at home.
    fn guard(&self, url: &mut Url) -> bool {
        let at_home = url.origin() == self.url.origin();
        let (name, password) = if at_home { (self.url.username(), self.url.password()) } else { ("", None) };
        // Both fail only for URLs without a host, which http and https URLs have.
        let _ = url.set_username(name);
        let _ = url.set_password(password);
        at_home
    }
}

/// One request of a look.
struct Step {
    url: Url,
    method: Method,
    body: Bytes,
}

/// What a look learned so far, whatever its end.
#[derive(Default)]
struct Seen {
    phases: Vec<(&'static str, Duration)>,
    peer: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    status: u16,
    version: f64,
    content_length: f64,
    body_length: usize,
    redirects: u32,
    body_unmet: bool,
}

impl Plan {
    pub fn new(settings: Settings) -> Result<Self, String> {
        let elsewhere = TlsSettings { server_name: None, cert_file: None, key_file: None, ..(*settings.tls).clone() };
        Ok(Plan {
            method: settings.parsed_method()?,
            headers: settings.parsed_headers()?,
            header_files: settings.header_files()?,
            expect: settings.expect_body.compile().map_err(|errors| errors.join("; "))?,
            json: settings.json.iter().map(|expect| expect.compile()).collect::<Result<_, _>>()?,
            credentials: credentials(&settings),
            status: settings.status.clone(),
            redirects: settings.redirects,
            max_body: settings.max_body,
            tls: Tls::new((*settings.tls).clone(), Some(http::ALPN)),
            tls_elsewhere: Tls::new(elsewhere, Some(http::ALPN)),
            settings,
        })
    }

    /// `found` is which of the candidate paths was there at the look before.
    pub async fn look(&self, net: &Net, found: &mut Option<usize>) -> Report {
        let mut seen = Seen::default();
        let outcome = self.run(net, found, &mut seen).await;
        seen.report(outcome.err())
    }

    async fn run(&self, net: &Net, found: &mut Option<usize>, seen: &mut Seen) -> Result<(), Failure> {
        let home = self.home()?;
        if self.settings.paths.is_empty() {
            let answer = self.follow(net, &home, home.url.clone(), seen).await?;
            return self.judge(&answer, seen);
        }
        let mut tried = Vec::new();
        // The one that was there last, then the others in their order.
        let others = (0..self.settings.paths.len()).filter(|at| Some(*at) != *found);
        for at in found.iter().copied().chain(others).collect::<Vec<_>>() {
            let path = &self.settings.paths[at];
            let url = home.url.join(path);
            let url = url.map_err(|error| Failure::new(Reason::Protocol, "request", format!("{path}: {error}")))?;
            let named = |failure: Failure| Failure { error: format!("{path}: {}", failure.error), ..failure };
            let answer = self.follow(net, &home, url, seen).await.map_err(named)?;
            if !self.is_missing(answer.status) {
                *found = Some(at);
                return self.judge(&answer, seen).map_err(named);
            }
            tried.push(format!("{path} ({})", answer.status.as_u16()));
        }
        *found = None;
        let error = format!("none of the paths is there: tried {}", tried.join(", "));
        Err(Failure { address: seen.peer, ..Failure::new(Reason::Status, "response", error) })
    }

    /// Whether an answer says that there is no such endpoint, rather than how it is.
    fn is_missing(&self, status: StatusCode) -> bool {
        matches!(status.as_u16(), 404 | 405 | 501) && !self.status.contains(status.as_u16())
    }

    /// The answer where the redirects end, for a kind that judges it by itself, and a report of the phases and the
    /// connection. `more` headers are sent besides the configured ones.
    pub async fn fetch(&self, net: &Net, more: &HeaderMap) -> (Report, Result<Response, Failure>) {
        let mut seen = Seen::default();
        let answer = self.fetch_home(net, more, &mut seen).await;
        let mut report = Report { phases: seen.phases, ..Report::default() };
        network::read_connection(&mut report, seen.peer, seen.tls.as_ref());
        (report, answer)
    }

    async fn fetch_home(&self, net: &Net, more: &HeaderMap, seen: &mut Seen) -> Result<Response, Failure> {
        let mut home = self.home()?;
        for (name, value) in more {
            home.headers.entry(name).or_insert_with(|| value.clone());
        }
        self.follow(net, &home, home.url.clone(), seen).await
    }

    /// Asks for a URL, and for what its answers redirect to, until one is to be judged.
    async fn follow(&self, net: &Net, home: &Home, url: Url, seen: &mut Seen) -> Result<Response, Failure> {
        let mut step = Step { url, method: self.method.clone(), body: home.body.clone() };
        seen.redirects = 0;
        loop {
            let answer = self.ask(net, home, &step, seen).await?;
            match self.next(home, &step, &answer, seen.redirects)? {
                Some(next) => step = next,
                None => return Ok(answer),
            }
            seen.redirects += 1;
        }
    }

    async fn ask(&self, net: &Net, home: &Home, step: &Step, seen: &mut Seen) -> Result<Response, Failure> {
        let at_home = step.url.origin() == home.url.origin();
        let headers = if at_home { home.headers.clone() } else { HeaderMap::new() };
        let request = Request {
            method: step.method.clone(),
            url: step.url.clone(),
            headers,
            body: step.body.clone(),
            max_body: self.max_body,
        };
        let tls = if at_home { &self.tls } else { &self.tls_elsewhere };
        match http::exchange(net, tls, request).await {
            Ok(answer) => {
                seen.answered(&answer);
                Ok(answer)
            }
            Err(error) => {
                seen.add(&error.phases);
                seen.connected(error.peer, error.tls);
                seen.status = error.status.map_or(0, |status| status.as_u16());
                Err(error.failure)
            }
        }
    }

    fn home(&self) -> Result<Home, Failure> {
        let url = self.settings.read_url()?;
        let headers = self.own_headers().map_err(|error| Failure::new(Reason::Secret, "secret", error))?;
        let body = source(self.settings.body.clone(), self.settings.body_file.clone());
        let body = body.map(|body| body.read()).transpose();
        let body = body.map_err(|error| Failure::new(Reason::Secret, "secret", error.to_string()))?;
        let body = body.map(|body| Bytes::copy_from_slice(body.expose().as_bytes())).unwrap_or_default();
        Ok(Home { url, headers, body })
    }

    fn own_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = self.headers.clone();
        headers::read(&self.header_files, &mut headers)?;
        if let Some(credentials) = &self.credentials {
            headers.insert(AUTHORIZATION, credentials.header()?);
        }
        Ok(headers)
    }

    /// Where a redirect leads; `None` where the answer is to be judged as it is.
    fn next(&self, home: &Home, step: &Step, answer: &Response, followed: u32) -> Result<Option<Step>, Failure> {
        let status = answer.status;
        let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location.filter(|_| is_redirect(status) && !self.status.contains(status.as_u16())) else {
            return Ok(None);
        };
        if followed >= self.redirects {
            return Ok(None);
        }
        let refuse = |why: &str| {
            let error = format!("{} is not followed: {why}", status.as_u16());
            Err(Failure::new(Reason::Status, "redirect", error).at(answer.peer))
        };
        let Ok(url) = step.url.join(location) else { return refuse("its Location is not a URL") };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("its Location is neither http nor https");
        }
        let mut next = Step { url, method: step.method.clone(), body: step.body.clone() };
        if becomes_get(status, &step.method) {
            (next.method, next.body) = (Method::GET, Bytes::new());
        }
        if !home.guard(&mut next.url) && !next.body.is_empty() {
            return refuse("it would take the request's body to another host");
        }
        Ok(Some(next))
    }

    fn judge(&self, answer: &Response, seen: &mut Seen) -> Result<(), Failure> {
        if !self.status.contains(answer.status.as_u16()) {
            let error = format!("status {}, wanted {}{}", answer.status, self.status, self.remark(answer));
            return Err(Failure::new(Reason::Status, "response", error).at(answer.peer));
        }
        let unmet = self.expect.unmet(&answer.body, answer.truncated);
        match unmet.or_else(|| super::json::unmet(&self.json, &answer.body, answer.truncated)) {
            None => Ok(()),
            Some(error) => {
                seen.body_unmet = true;
                Err(Failure::new(Reason::Body, "response", error).at(answer.peer))
            }
        }
    }

    fn remark(&self, answer: &Response) -> String {
        match self.redirects {
            _ if !is_redirect(answer.status) => String::new(),
            0 => ", and redirects are not followed".to_owned(),
            most => format!(", after {most} redirects"),
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// RFC 9110, section 15.4: what browsers do with 301 and 302 after a POST, and everyone with 303.
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

fn credentials(settings: &Settings) -> Option<Credentials> {
    if let Some(auth) = &settings.basic_auth {
        let password = source(auth.password.clone(), auth.password_file.clone());
        return Some(Credentials::Basic(auth.username.clone(), password));
    }
    source(settings.bearer_token.clone(), settings.bearer_token_file.clone()).map(Credentials::Bearer)
}

fn source(value: Option<crate::secret::Secret>, file: Option<std::path::PathBuf>) -> Option<SecretSource> {
    value.map(SecretSource::Value).or_else(|| file.map(SecretSource::File))
}

impl Credentials {
    fn header(&self) -> Result<HeaderValue, String> {
        match self {
            Credentials::Basic(name, None) => Ok(http::basic(name, "")),
            Credentials::Basic(name, Some(password)) => {
                let password = password.read().map_err(|error| error.to_string())?;
                Ok(http::basic(name, password.expose()))
            }
            Credentials::Bearer(token) => {
                let token = token.read().map_err(|error| error.to_string())?;
                let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
                let mut value = value.map_err(|_| "the bearer token cannot be sent: it is not one line of text")?;
                value.set_sensitive(true);
                Ok(value)
            }
        }
    }
}

impl Seen {
    fn answered(&mut self, answer: &Response) {
        self.add(&answer.phases);
        self.connected(Some(answer.peer), answer.tls.clone());
        self.status = answer.status.as_u16();
        self.version = if answer.version == Version::HTTP_10 { 1.0 } else { 1.1 };
        let length = answer.headers.get(LENGTH_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        self.content_length = length.unwrap_or(-1.0);
        self.body_length = answer.body.len();
    }

    fn connected(&mut self, peer: Option<SocketAddr>, tls: Option<TlsFacts>) {
        self.peer = peer;
        self.tls = tls;
    }

    /// The same phase of several requests is one.
    fn add(&mut self, phases: &[(&'static str, Duration)]) {
        for (phase, took) in phases {
            match self.phases.iter_mut().find(|(known, _)| known == phase) {
                Some((_, total)) => *total += *took,
                None => self.phases.push((phase, *took)),
            }
        }
    }

    fn report(self, failure: Option<Failure>) -> Report {
        let mut report = Report { failure, phases: self.phases, ..Report::default() };
        for phase in PHASES {
            let took =
                report.phases.iter().find(|(known, _)| *known == phase).map_or(0.0, |(_, took)| took.as_secs_f64());
            report.read_with(DURATION, vec![("phase", phase.to_owned())], took);
        }
        report.read(STATUS_CODE, f64::from(self.status));
        report.read(CONTENT_LENGTH, self.content_length);
        report.read(BODY_LENGTH, self.body_length as f64);
        report.read(REDIRECTS, f64::from(self.redirects));
        report.read(SSL, f64::from(u8::from(self.tls.is_some())));
        report.read(VERSION, self.version);
        report.read(FAILED_REGEX, f64::from(u8::from(self.body_unmet)));
        network::read_connection(&mut report, self.peer, self.tls.as_ref());
        report
    }
}
