//! Talks to a running agent over its API, and shows people what it says.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use serde_json::Value;
use url::{Host, Url};

use crate::api::auth;
use crate::config::{OWN_TOKEN, state_dir};
use crate::duration;
use crate::net::http::{self, Request};
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{self, Net, NetSettings};
use crate::sample::Timestamp;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most of an answer that is read, in bytes.
const ANSWER_LIMIT: usize = 32 << 20;
/// The longest text in a table, in characters: what a target answers may stand there.
const LONGEST_CELL: usize = 300;

/// Which agent is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Connection {
    /// Where the agent listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7799", value_parser = agent_url)]
    url: Url,
    /// The file with the agent's token, where reading needs one. Unset: $WATCHKEEPER_TOKEN_FILE; else, of an agent on
    /// this machine that asks for it, the token in its state folder.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Names the token file where `--token-file` does not.
const TOKEN_FILE: &str = "WATCHKEEPER_TOKEN_FILE";
const UNAUTHORIZED: u16 = 401;

fn agent_url(text: &str) -> Result<Url, String> {
    let wanted = "an address as http://127.0.0.1:7799 is wanted";
    let url = Url::parse(text).map_err(|error| format!("{wanted}: {error}"))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wanted.to_owned()) }
}

/// Why the agent's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "cannot reach the agent at {url}: {error}. `watchkeeper run` starts one; `--url` says where it listens, which \
         the agent itself prints when it starts"
    )]
    Unreachable { url: String, error: String },
    #[error(
        "the token in {} cannot be used: {error}. `--token-file` or ${TOKEN_FILE} names the file of the agent's token",
        path.display()
    )]
    Token { path: PathBuf, error: String },
    #[error(
        "{url} does not take the token in {}, or it was given none: `--token-file` or ${TOKEN_FILE} names the file that \
         the agent has under `auth`, or `token` in its state folder",
        path.display()
    )]
    Denied { url: String, path: PathBuf },
    #[error("{url} answered {status}: {error}")]
    Refused { url: String, status: u16, error: String },
    #[error("{url} does not answer as a watchkeeper agent does ({error}): see to `--url`, and to what listens there")]
    Foreign { url: String, error: String },
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub struct Client {
    base: Url,
    net: Net,
    tls: Tls,
    token: Token,
}

/// The file of the token, and when it is read.
struct Token {
    path: PathBuf,
    /// Named by whoever asks: it goes wherever they send it. Else it is the agent's own: it never leaves the machine, and
    /// is shown to nobody who does not ask for it.
    named: bool,
    /// Whether the agent has asked for it.
    asked: Cell<bool>,
}

impl Client {
    pub fn new(connection: &Connection) -> Self {
        let tls = Tls::new(TlsSettings::default(), Some(http::ALPN));
        let token = Token::find(connection.token_file.as_deref());
        Client { base: connection.url.clone(), net: Net::new(NetSettings::default()), tls, token }
    }

    /// Where the agent is, without credentials.
    pub fn shown(&self) -> String {
        shown(&self.base)
    }

    /// GET of a path, given by its segments, with the token where it is needed.
    pub async fn get(&self, path: &[&str]) -> Result<Answer, ClientError> {
        self.get_or_post(path, None).await
    }

    async fn get_or_post(&self, path: &[&str], form: Option<Bytes>) -> Result<Answer, ClientError> {
        let answer = self.ask(path, form.clone(), self.token.header()?).await?;
        if answer.status != UNAUTHORIZED {
            return Ok(answer);
        }
        if !self.token.named && !self.token.asked.get() && is_loopback(&self.base) {
            self.token.asked.set(true);
            let answer = self.ask(path, form, self.token.header()?).await?;
            if answer.status != UNAUTHORIZED {
                return Ok(answer);
            }
        }
        Err(ClientError::Denied { url: shown(&self.address(path)), path: self.token.path.clone() })
    }

    /// POST of a form to a path, which is answered as JSON whatever the status: what Prometheus's API answers.
    pub async fn post(&self, path: &[&str], form: &[(&str, &str)]) -> Result<(u16, Value), ClientError> {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let answer = self.get_or_post(path, Some(Bytes::from(body))).await?;
        let foreign = |error: serde_json::Error| ClientError::Foreign {
            url: shown(&self.address(path)),
            error: error.to_string(),
        };
        Ok((answer.status, serde_json::from_str(&answer.body).map_err(foreign)?))
    }

    async fn ask(&self, path: &[&str], form: Option<Bytes>, mut headers: HeaderMap) -> Result<Answer, ClientError> {
        let url = self.address(path);
        let unreachable = |error: String| ClientError::Unreachable { url: self.shown(), error };
        let method = if form.is_some() { Method::POST } else { Method::GET };
        if form.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        let body = form.unwrap_or_default();
        let request = Request { method, url: url.clone(), headers, body, max_body: ANSWER_LIMIT };
        let answer = net::within(TIMEOUT, http::exchange(&self.net, &self.tls, request)).await;
        let answer = answer.map_err(|failure| unreachable(failure.to_string()))?;
        let answer = answer.map_err(|error| unreachable(error.failure.to_string()))?;
        if answer.truncated {
            let error = format!("its answer is longer than {ANSWER_LIMIT} bytes");
            return Err(ClientError::Foreign { url: shown(&url), error });
        }
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(Answer { status: answer.status.as_u16(), body })
    }

    /// The JSON at a path; any status but 200 is an error.
    pub async fn json(&self, path: &[&str]) -> Result<Value, ClientError> {
        let answer = self.get(path).await?;
        let url = shown(&self.address(path));
        let value = serde_json::from_str(&answer.body);
        match (answer.status, value) {
            (200, Ok(value)) => Ok(value),
            (200, Err(error)) => Err(ClientError::Foreign { url, error: error.to_string() }),
            (status, value) => Err(ClientError::Refused { url, status, error: said(value.ok(), &answer.body) }),
        }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }
}

impl Token {
    fn find(argument: Option<&Path>) -> Self {
        let variable = std::env::var_os(TOKEN_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let named = argument.map(Path::to_owned).or(variable);
        let own = || state_dir::find(None, &super::environment()).join(OWN_TOKEN);
        Token { named: named.is_some(), path: named.unwrap_or_else(own), asked: Cell::new(false) }
    }

    /// What a request bears: nothing where the token was neither named nor asked for.
    fn header(&self) -> Result<HeaderMap, ClientError> {
        if !self.named && !self.asked.get() {
            return Ok(HeaderMap::new());
        }
        let unusable = |error: String| ClientError::Token { path: self.path.clone(), error };
        let token = auth::read(&self.path).map_err(|error| unusable(error.to_string()))?;
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| unusable("a token is one line of visible characters".to_owned()))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail: the URL has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// What an error answer says.
fn said(value: Option<Value>, body: &str) -> String {
    let error = value.as_ref().and_then(|value| value["error"].as_str()).map(str::to_owned);
    cell(&error.unwrap_or_else(|| body.lines().next().unwrap_or_default().to_owned()))
}

/// Runs a command's conversation to its end.
pub fn converse<T>(conversation: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ClientError::Runtime)?.block_on(conversation)
}

/// Text from elsewhere, fit for one line of a terminal: no control characters, not endless.
pub fn cell(text: &str) -> String {
    match text.char_indices().nth(LONGEST_CELL) {
        None => line(text),
        Some((end, _)) => line(&text[..end]) + "…",
    }
}

/// Text from elsewhere, whole, fit for a line of a terminal of its own.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Writes columns side by side, the headings above them.
pub fn table(out: &mut dyn Write, headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let heading: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain([&heading]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in [&heading].into_iter().chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// The text under a key, fit for a table; `-` where there is none.
pub fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) if !text.is_empty() => cell(text),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    }
}

/// How long ago the time under a key was: `3m12s`; `-` where there is none.
pub fn age(value: &Value, key: &str, now: Timestamp) -> String {
    value[key].as_str().and_then(time).map_or_else(|| "-".to_owned(), |at| span(now - at))
}

/// RFC 3339 as milliseconds since the epoch.
pub fn time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|at| at.as_millisecond())
}

/// A span as people say it: its two largest units.
pub fn span(millis: i64) -> String {
    let seconds = u64::try_from(millis / 1_000).unwrap_or(0);
    let unit = match seconds {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    duration::format(Duration::from_secs(seconds / unit * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_never_negative() {
        for (millis, text) in [(-5, "0s"), (999, "0s"), (192_000, "3m12s"), (3_661_000, "1h1m"), (90_061_000, "1d1h")] {
            assert_eq!(span(millis), text);
        }
    }

    #[test]
    fn what_comes_from_elsewhere_does_not_reach_the_terminal_as_commands() {
        assert_eq!(cell("a\x1b[2J\nb"), "a [2J b");
        assert_eq!(cell(&"é".repeat(400)).chars().count(), LONGEST_CELL + 1);
    }

    #[test]
    fn an_address_may_have_a_path_and_never_shows_credentials() {
        let connection = Connection { url: agent_url("http://me:hidden@h:1/watch/?x=1").unwrap(), token_file: None };
        let client = Client::new(&connection);
        assert_eq!(
            client.address(&["v1", "regions", "a b"]).as_str(),
            "http://me:hidden@h:1/watch/v1/regions/a%20b?x=1"
        );
        assert_eq!(client.shown(), "http://h:1/watch");
        for wrong in ["127.0.0.1:7799", "ftp://h", "agent", ""] {
            assert!(agent_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_agent_s_own_token_stays_on_this_machine_and_a_named_one_goes_where_it_is_sent() {
        for (url, local) in [
            ("http://127.0.0.1:7799", true),
            ("http://[::1]:7799", true),
            ("http://localhost", true),
            ("http://10.0.0.7:7799", false),
            ("https://localhost.example", false),
        ] {
            assert_eq!(is_loopback(&agent_url(url).unwrap()), local, "{url}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "abc\n").unwrap();
        let named = Token::find(Some(&file));
        assert_eq!(named.header().unwrap()[AUTHORIZATION], "Bearer abc");
        let own = Token { path: file.clone(), named: false, asked: Cell::new(false) };
        assert!(own.header().unwrap().is_empty(), "not before the agent asks for it");
        std::fs::write(&file, "two\nlines\n").unwrap();
        let error = named.header().unwrap_err().to_string();
        assert!(error.contains("cannot be used") && !error.contains("lines\n"), "{error}");
    }

    #[test]
    fn columns_stand_below_their_headings() {
        let mut out = Vec::new();
        table(&mut out, &["A", "LONG"], &[vec!["wide".to_owned(), "x".to_owned()]]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     LONG\nwide  x\n");
    }
}
