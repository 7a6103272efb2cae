//! A WebSocket to a gateway: dial, TLS, upgrade, ping, close.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use hyper::header::SEC_WEBSOCKET_EXTENSIONS;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, http::StatusCode};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::error;
use super::metrics::{DURATION, STATUS_CODE, UPGRADED};
use super::settings::Endpoint;
use crate::net::tls::{Tls, TlsFacts};
use crate::net::{Connection, Net, bounded};
use crate::probe::network::read_connection;
use crate::probe::wire::{Meter, Metered, timed};
use crate::probe::{Failure, Reason, Report};

/// The most that a server may say from one look to the next, in bytes; what it says is skipped, not kept.
const LIMIT: usize = 256 * 1024;
/// The largest message and frame that is taken, in bytes.
const MESSAGE: usize = 64 * 1024;
/// What is read and written at once, in bytes: pings and pongs.
const BUFFER: usize = 4 * 1024;
/// How long the answer to our close is waited for.
const GOODBYE: Duration = Duration::from_millis(500);
const PHASES: [&str; 6] = ["resolve", "connect", "tls", "upgrade", "ping", "close"];

/// An upgraded connection, and what it was opened with.
pub struct Session {
    socket: WebSocketStream<Metered>,
    meter: std::sync::Arc<Meter>,
    pub peer: SocketAddr,
    pub endpoint: Endpoint,
}

/// What a look learned of a connection that it opened, whatever its end.
#[derive(Default)]
pub struct Seen {
    peer: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    /// 0 without an answer.
    pub status: u16,
    upgraded: bool,
}

impl Session {
    /// Opens a connection and upgrades it. Every phase that was gone through is added to the report, also when a
    /// later one fails.
    pub async fn open(
        net: &Net,
        tls: &Tls,
        endpoint: Endpoint,
        report: &mut Report,
        seen: &mut Seen,
    ) -> Result<Self, Failure> {
        let request = endpoint.request()?;
        let connection = dial(net, tls, &endpoint, report, seen).await?;
        let peer = connection.peer;
        let meter = Meter::new(LIMIT, |_, _| true);
        let stream = Metered { stream: connection.stream, meter: meter.clone(), certificate_hash: None };
        let upgrading = client_async_with_config(request, stream, Some(config()));
        let upgraded = timed(report, "upgrade", bounded("upgrade", Some(peer), upgrading)).await?;
        let (socket, answer) = upgraded.map_err(|error| {
            seen.status = error::status(&error);
            error::failure("upgrade", &error, &meter).at(peer)
        })?;
        seen.status = answer.status().as_u16();
        // None was offered (RFC 6455, section 4.1): the library leaves this to us.
        if answer.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Err(Failure::new(Reason::Protocol, "upgrade", error::EXTENSION).at(peer));
        }
        seen.upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        Ok(Session { socket, meter, peer, endpoint })
    }

    /// A ping and its pong: how long that took. Whatever else the server says before it is skipped.
    pub async fn ping(&mut self, report: &mut Report) -> Result<Duration, Failure> {
        self.meter.renew();
        let (start, peer, mut skipped) = (Instant::now(), self.peer, 0);
        let outcome = timed(report, "ping", bounded("ping", Some(peer), self.until_pong(&mut skipped))).await;
        match outcome.and_then(|ponged| ponged) {
            Ok(()) => Ok(start.elapsed()),
            Err(mut failure) => {
                if failure.reason == Reason::Timeout && skipped > 0 {
                    failure.error += &format!("; {skipped} frames came, none of them the pong to our ping");
                }
                Err(failure.at(peer))
            }
        }
    }

    async fn until_pong(&mut self, skipped: &mut usize) -> Result<(), Failure> {
        let payload = Bytes::copy_from_slice(&fastrand::u64(..).to_be_bytes());
        let sent = self.socket.send(Message::Ping(payload.clone())).await;
        sent.map_err(|error| self.failure("ping", &error))?;
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Pong(answer))) if answer == payload => return Ok(()),
                Some(Ok(Message::Close(frame))) => return Err(self.closed("ping", frame)),
                Some(Ok(_)) => *skipped += 1,
                Some(Err(error)) => return Err(self.failure("ping", &error)),
                None => return Err(error::ended("ping", &self.meter)),
            }
        }
    }

    /// Resolves when the connection is over, with the reason. Cancel-safe; not to be called again then.
    pub async fn end(&mut self) -> Failure {
        let failure = loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(frame))) => break self.closed("held", frame),
                Some(Ok(_)) => {}
                Some(Err(error)) => break self.failure("held", &error),
                None => break error::ended("held", &self.meter),
            }
        };
        failure.at(self.peer)
    }

    /// Takes leave with code 1000 and waits for the answer. A server without manners is a warning: it has served.
    pub async fn close(mut self, report: &mut Report) {
        let peer = self.peer;
        let leaving = tokio::time::timeout(GOODBYE, self.leave());
        let left = timed(report, "close", bounded("close", Some(peer), leaving)).await;
        let warning = match left {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(failure))) => format!("the server does not close cleanly: {failure}"),
            Ok(Err(_)) | Err(_) => {
                "the server does not answer the close: is a proxy between that holds it back?".to_owned()
            }
        };
        report.warnings.push(warning);
    }

    async fn leave(&mut self) -> Result<(), Failure> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let sent = self.socket.close(Some(frame)).await;
        sent.map_err(|error| self.failure("close", &error))?;
        let mut answered = false;
        loop {
            match self.socket.next().await {
                Some(Ok(message)) => answered |= message.is_close(),
                None => return Ok(()),
                Some(Err(_)) if answered => return Ok(()),
                Some(Err(error)) => return Err(self.failure("close", &error)),
            }
        }
    }

    /// The answer to the server's close is sent where that needs no waiting.
    fn closed(&mut self, phase: &'static str, frame: Option<CloseFrame>) -> Failure {
        let _ = self.socket.flush().now_or_never();
        error::closed(phase, frame.as_ref())
    }

    fn failure(&self, phase: &'static str, error: &Error) -> Failure {
        error::failure(phase, error, &self.meter)
    }
}

async fn dial(
    net: &Net,
    tls: &Tls,
    endpoint: &Endpoint,
    report: &mut Report,
    seen: &mut Seen,
) -> Result<Connection, Failure> {
    let tls = endpoint.is_secure().then_some(tls);
    match net.dial(endpoint.host(), endpoint.port(), tls).await {
        Ok(connection) => {
            report.phases.extend(&connection.phases);
            (seen.peer, seen.tls) = (Some(connection.peer), connection.tls.clone());
            Ok(connection)
        }
        Err(error) => {
            report.phases.extend(&error.phases);
            (seen.peer, seen.tls) = (error.failure.address, error.tls);
            Err(error.failure)
        }
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(BUFFER)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE))
}

impl Seen {
    /// With 0 where nothing was learned, as the blackbox exporter has it.
    pub fn report(&self, report: &mut Report) {
        for phase in PHASES {
            let took = report.phases.iter().find(|(known, _)| *known == phase);
            let took = took.map_or(0.0, |(_, took)| took.as_secs_f64());
            report.read_with(DURATION, vec![("phase", phase.to_owned())], took);
        }
        report.read(STATUS_CODE, f64::from(self.status));
        report.read(UPGRADED, f64::from(u8::from(self.upgraded)));
        read_connection(report, self.peer, self.tls.as_ref());
    }
}
