//! One HTTP/1.1 exchange over one connection, every phase of it timed. Follows no redirect, keeps no cookie,
//! and asks for no compression: what is measured is what was sent.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, Method, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use url::Url;

use super::dial::{Connection, Stream};
use super::tls::{Tls, TlsFacts};
use super::{Net, bounded, failure_of_io};
use crate::probe::{Failure, Reason};

/// The protocol that [`Tls`] is to agree on for HTTP.
pub const ALPN: &str = "http/1.1";
/// The most that an answer's status line and headers may take, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;
/// The most headers that an answer may have.
pub const MAX_HEADERS: usize = 100;

/// Who we say that we are.
pub const AGENT: &str = concat!("watchkeeper/", env!("CARGO_PKG_VERSION"));

/// What to send.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    /// http or https. Its credentials are sent as `Authorization: Basic` unless `headers` say otherwise.
    pub url: Url,
    /// Sent besides `Host`, `User-Agent`, `Accept` and `Connection: close`, or instead of them.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How much of the answer's body is read, in bytes. The rest stays unread.
    pub max_body: usize,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body is longer than what was read.
    pub truncated: bool,
    pub peer: SocketAddr,
    /// `resolve`, `connect`, `tls` (over TLS), `processing` (until the head), `transfer` (the body).
    pub phases: Vec<(&'static str, Duration)>,
    pub tls: Option<TlsFacts>,
}

/// Why there is no complete answer, and what was learned.
#[derive(Debug)]
pub struct HttpError {
    pub failure: Failure,
    pub peer: Option<SocketAddr>,
    pub phases: Vec<(&'static str, Duration)>,
    pub tls: Option<TlsFacts>,
    /// Set where the answer broke after its head.
    pub status: Option<StatusCode>,
}

/// Sends a request over a connection of its own and reads the answer. `tls` is used where the URL is https's.
pub async fn exchange(net: &Net, tls: &Tls, request: Request) -> Result<Response, Box<HttpError>> {
    let connection = dial(net, tls, &request.url).await?;
    let Connection { stream, peer, mut phases, tls } = connection;
    match converse(stream, peer, request, &mut phases).await {
        Ok((head, body, truncated)) => {
            let Head { status, version, headers } = head;
            Ok(Response { status, version, headers, body, truncated, peer, phases, tls })
        }
        Err((failure, status)) => {
            Err(Box::new(HttpError { failure: failure.at(peer), peer: Some(peer), phases, tls, status }))
        }
    }
}

struct Head {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
}

async fn dial(net: &Net, tls: &Tls, url: &Url) -> Result<Connection, Box<HttpError>> {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        let failure = Failure::new(Reason::Protocol, "request", "the URL names no host");
        return Err(Box::new(HttpError { failure, peer: None, phases: Vec::new(), tls: None, status: None }));
    };
    let tls = (url.scheme() == "https").then_some(tls);
    net.dial(host, port, tls).await.map_err(|error| {
        let peer = error.failure.address;
        Box::new(HttpError { failure: error.failure, peer, phases: error.phases, tls: error.tls, status: None })
    })
}

type Broken = (Failure, Option<StatusCode>);

async fn converse(
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    request: Request,
    phases: &mut Vec<(&'static str, Duration)>,
) -> Result<(Head, Vec<u8>, bool), Broken> {
    let max_body = request.max_body;
    let message = message(request).map_err(|failure| (failure, None))?;
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_HEADERS).max_header_size(MAX_HEAD).max_buf_size(MAX_HEAD);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| (failure_of_hyper("request", &error), None))?;
    let mut driver = Driver { connection: Box::pin(connection), finished: false };

    let start = Instant::now();
    let answer = bounded("request", Some(peer), driver.run(sender.send_request(message))).await;
    phases.push(("processing", start.elapsed()));
    let answer = answer.map_err(|failure| (failure, None))?;
    let (parts, body) = answer.map_err(|error| (failure_of_hyper("request", &error), None))?.into_parts();

    let start = Instant::now();
    let read = bounded("response", Some(peer), driver.run(read_body(body, max_body))).await;
    phases.push(("transfer", start.elapsed()));
    let (body, truncated) = read.and_then(|read| read).map_err(|failure| (failure, Some(parts.status)))?;
    Ok((Head { status: parts.status, version: parts.version, headers: parts.headers }, body, truncated))
}

type Wire = http1::Connection<TokioIo<Box<dyn Stream>>, Full<Bytes>>;

/// Hyper's connection, driven by whoever waits for its answer: no task that could outlive the look.
struct Driver {
    connection: Pin<Box<Wire>>,
    finished: bool,
}

impl Driver {
    async fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            // Its error reaches `work` as well.
            if !self.finished && self.connection.as_mut().poll(context).is_ready() {
                self.finished = true;
            }
            work.as_mut().poll(context)
        })
        .await
    }
}

async fn read_body(mut body: Incoming, limit: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failure_of_hyper("response", &error))?;
        let Ok(data) = frame.into_data() else { continue };
        let room = limit - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            return Ok((read, true));
        }
    }
    Ok((read, false))
}

fn message(request: Request) -> Result<hyper::Request<Full<Bytes>>, Failure> {
    let wrong = |error: String| Failure::new(Reason::Protocol, "request", error);
    let defaults = default_headers(&request.url).map_err(wrong)?;
    let mut message = hyper::Request::new(Full::new(request.body));
    *message.method_mut() = request.method;
    let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
    *message.uri_mut() = target.parse().map_err(|_| wrong("the URL's path cannot be requested".to_owned()))?;
    *message.headers_mut() = request.headers;
    for (name, value) in defaults {
        message.headers_mut().entry(name).or_insert(value);
    }
    Ok(message)
}

fn default_headers(url: &Url) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let host = HeaderValue::from_str(host).map_err(|_| "the URL's host cannot be requested".to_owned())?;
    let mut headers = vec![
        (HOST, host),
        (USER_AGENT, HeaderValue::from_static(AGENT)),
        (ACCEPT, HeaderValue::from_static("*/*")),
        (CONNECTION, HeaderValue::from_static("close")),
    ];
    headers.extend(login(url).map(|login| (AUTHORIZATION, login)));
    Ok(headers)
}

/// The credentials in a URL, as they are sent.
pub fn login(url: &Url) -> Option<HeaderValue> {
    let given = !url.username().is_empty() || url.password().is_some();
    given.then(|| basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default())))
}

/// `Authorization: Basic` (RFC 7617), marked so that it is not printed.
pub fn basic(name: &str, password: &str) -> HeaderValue {
    let encoded = BASE64_STANDARD.encode(format!("{name}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn decoded(part: &str) -> String {
    let pair = format!("={}", part.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn failure_of_hyper(phase: &'static str, error: &hyper::Error) -> Failure {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        match inner.downcast_ref::<std::io::Error>() {
            Some(io) if io.kind() == std::io::ErrorKind::UnexpectedEof => return cut_off(phase),
            Some(io) => return failure_of_io(phase, io),
            None => source = inner.source(),
        }
    }
    let protocol = |text: String| Failure::new(Reason::Protocol, phase, text);
    if error.is_parse_too_large() {
        return protocol(format!("the answer's head is larger than {MAX_HEAD} bytes or {MAX_HEADERS} headers"));
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || error.is_body_write_aborted() {
        return cut_off(phase);
    }
    protocol(format!("the answer is not HTTP/1.1: {error}"))
}

fn cut_off(phase: &'static str) -> Failure {
    Failure::new(Reason::Reset, phase, "the connection was closed before the answer was complete")
}
