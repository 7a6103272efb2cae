//! From a host and a port to a stream, with every phase timed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::resolve::Resolved;
use super::tls::{Tls, TlsFacts};
use super::{Net, deadline, failure_of_io};
use crate::probe::{Blame, Failure, Reason};

/// What a protocol is spoken over: TCP, or TLS over it. Dropping it closes the socket.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection, and how it came about.
pub struct Connection {
    pub stream: Box<dyn Stream>,
    pub peer: SocketAddr,
    /// `resolve`, `connect` and, over TLS, `tls`: how long each took.
    pub phases: Vec<(&'static str, Duration)>,
    pub tls: Option<TlsFacts>,
}

/// Why there is no connection, and what was learned on the way.
#[derive(Debug)]
pub struct DialError {
    pub failure: Failure,
    pub phases: Vec<(&'static str, Duration)>,
    /// Set as soon as the server showed a certificate, also where that was refused.
    pub tls: Option<TlsFacts>,
}

impl Net {
    /// Connects to the first address of `host` that accepts, and speaks TLS over it where `tls` is given.
    ///
    /// A refused address costs nothing; one that hangs costs its share of the time left (see
    /// [`super::within`]). Where the resolver does not answer, the name's last addresses are used. Where the
    /// name is gone, they are tried for the record: the dial fails, and its error says whether they answered.
    pub async fn dial(&self, host: &str, port: u16, tls: Option<&Tls>) -> Result<Connection, Box<DialError>> {
        let mut phases = Vec::with_capacity(3);
        let opened = self.open(host, port, &mut phases).await;
        let (stream, peer) = match opened {
            Ok(opened) => opened,
            Err(failure) => return Err(Box::new(DialError { failure, phases, tls: None })),
        };
        let Some(tls) = tls else {
            return Ok(Connection { stream: Box::new(stream), peer, phases, tls: None });
        };
        let start = Instant::now();
        let secured = tls.handshake(host, stream, peer).await;
        phases.push(("tls", start.elapsed()));
        match secured {
            Ok((stream, facts)) => Ok(Connection { stream: Box::new(stream), peer, phases, tls: Some(facts) }),
            Err(error) => Err(Box::new(DialError { failure: error.failure, phases, tls: error.facts })),
        }
    }

    async fn open(
        &self,
        host: &str,
        port: u16,
        phases: &mut Vec<(&'static str, Duration)>,
    ) -> Result<(TcpStream, SocketAddr), Failure> {
        let start = Instant::now();
        let resolved = self.resolve_or_last(host).await;
        phases.push(("resolve", start.elapsed()));
        let Resolved { addresses, doubt } = resolved?;
        let start = Instant::now();
        let connected = connect_any(&addresses, port).await;
        phases.push(("connect", start.elapsed()));
        match doubt {
            None => connected,
            Some(doubt) => judge_last(doubt, connected),
        }
    }
}

/// What the last known addresses are worth: all, where the resolver is silent; a remark, where the name is gone.
fn judge_last<T>(doubt: Failure, connected: Result<(T, SocketAddr), Failure>) -> Result<(T, SocketAddr), Failure> {
    let remark = match connected {
        Ok(connected) if doubt.reason == Reason::ResolverTimeout => return Ok(connected),
        Ok((_, peer)) => format!("its last address {peer} still answers"),
        Err(failure) => format!("its last address does not answer either ({failure})"),
    };
    Err(Failure { error: format!("{}; {remark}", doubt.error), ..doubt })
}

/// Tries one address after the other; each may take an equal part of the time that is left.
async fn connect_any(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, SocketAddr), Failure> {
    let end = deadline::end();
    let mut failures = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(Instant::now()) / left;
        match connect(SocketAddr::new(*address, port), share).await {
            Ok(connected) => return Ok(connected),
            // The next address would fare no better.
            Err(failure) if failure.reason == Reason::OutOfResources => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Err(worst(failures))
}

async fn connect(address: SocketAddr, limit: Duration) -> Result<(TcpStream, SocketAddr), Failure> {
    deadline::enter("connect", Some(address));
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Requests are small and answers awaited: nothing to gather. Where it cannot be set, it is only slower.
            let _ = stream.set_nodelay(true);
            Ok((stream, address))
        }
        Ok(Err(error)) => Err(failure_of_io("connect", &error).at(address)),
        Err(_) => Err(deadline::timed_out("connect", Some(address), limit)),
    }
}

/// The failure that says most: one that is the target's, before one that is this machine's (IPv6 without a
/// route says nothing about a service that refuses on IPv4). The others are named.
fn worst(mut failures: Vec<Failure>) -> Failure {
    let at = failures.iter().position(|failure| failure.reason.blame() == Blame::Target).unwrap_or(0);
    if failures.is_empty() {
        return Failure::new(Reason::Dns, "resolve", "the name has no address");
    }
    let mut failure = failures.remove(at);
    let others: Vec<String> = failures.iter().map(|other| other.to_string()).collect();
    if !others.is_empty() {
        failure.error = format!("{} (also {})", failure.error, others.join(", "));
    }
    failure
}
