//! From a host and a port to a stream, with every phase timed.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::resolve::Resolved;
use super::tls::{Problem, Tls, TlsFacts};
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
    /// What was wrong with the TLS handshake.
    pub problem: Option<Problem>,
    /// Set as soon as the server showed a certificate, also where that was refused.
    pub tls: Option<TlsFacts>,
}

/// What was learned on the way to a connection.
#[derive(Default)]
struct Way {
    phases: Vec<(&'static str, Duration)>,
    problem: Option<Problem>,
    tls: Option<TlsFacts>,
}

impl Way {
    /// The same phase at several addresses is one.
    fn took(&mut self, phase: &'static str, since: Instant) {
        match self.phases.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, total)) => *total += since.elapsed(),
            None => self.phases.push((phase, since.elapsed())),
        }
    }
}

type Opened = (Box<dyn Stream>, SocketAddr);

impl Net {
    /// Connects to the first address of `host` that accepts and, where `tls` is given, agrees on TLS.
    ///
    /// A refused address costs nothing; one that hangs costs its share of the time left (see
    /// [`super::within`]). Where the resolver does not answer, the name's last addresses are used. Where the
    /// name is gone, they are tried for the record: the dial fails, and its error says whether they answered.
    pub async fn dial(&self, host: &str, port: u16, tls: Option<&Tls>) -> Result<Connection, Box<DialError>> {
        let mut way = Way::default();
        let opened = self.open(host, port, tls, &mut way).await;
        let Way { phases, problem, tls } = way;
        match opened {
            Ok((stream, peer)) => Ok(Connection { stream, peer, phases, tls }),
            Err(failure) => Err(Box::new(DialError { failure, phases, problem, tls })),
        }
    }

    async fn open(&self, host: &str, port: u16, tls: Option<&Tls>, way: &mut Way) -> Result<Opened, Failure> {
        let start = Instant::now();
        let resolved = self.resolve_or_last(host).await;
        way.took("resolve", start);
        let Resolved { addresses, doubt } = resolved?;
        // An address of a name that is gone is not spoken to: whose it is now, nobody knows.
        let tls = tls.filter(|_| doubt.as_ref().is_none_or(|doubt| doubt.reason == Reason::ResolverTimeout));
        let opened = open_any(&addresses, port, tls.map(|tls| (tls, host)), way).await;
        match (doubt, opened) {
            (None, opened) => opened,
            // It answered: whatever is wrong is the target's.
            (Some(_), Err(failure)) if failure.phase == "tls" => Err(failure),
            (Some(doubt), opened) => judge_last(doubt, opened),
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
async fn open_any(
    addresses: &[IpAddr],
    port: u16,
    tls: Option<(&Tls, &str)>,
    way: &mut Way,
) -> Result<Opened, Failure> {
    let end = deadline::end();
    let mut failures = Vec::new();
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(Instant::now()) / left;
        // The last one has all that is left: the look's own deadline ends it, and it reports what it saw.
        let until = (left > 1).then(|| Instant::now() + share);
        match open_one(SocketAddr::new(*address, port), tls, share, until, way).await {
            Ok(opened) => return Ok(opened),
            // The next address would fare no better.
            Err(failure) if matches!(failure.reason, Reason::OutOfResources | Reason::Secret) => return Err(failure),
            Err(failure) => failures.push(failure),
        }
    }
    Err(worst(failures))
}

async fn open_one(
    address: SocketAddr,
    tls: Option<(&Tls, &str)>,
    limit: Duration,
    until: Option<Instant>,
    way: &mut Way,
) -> Result<Opened, Failure> {
    let start = Instant::now();
    let connected = connect(address, limit).await;
    way.took("connect", start);
    let stream = connected?;
    let Some((tls, host)) = tls else { return Ok((Box::new(stream), address)) };
    let start = Instant::now();
    let handshake = Box::pin(tls.handshake(host, stream, address));
    let secured = match until {
        None => Ok(handshake.await),
        Some(until) => timeout_at(until, handshake).await,
    };
    way.took("tls", start);
    match secured {
        Ok(Ok((stream, facts))) => {
            way.tls = Some(facts);
            Ok((Box::new(stream), address))
        }
        Ok(Err(error)) => {
            way.problem = error.problem.or(way.problem);
            way.tls = error.facts.or(way.tls.take());
            Err(error.failure)
        }
        Err(_) => Err(deadline::timed_out("tls", Some(address), limit)),
    }
}

async fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    deadline::enter("connect", Some(address));
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            // Requests are small and answers awaited: nothing to gather. Where it cannot be set, it is only slower.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(failure_of_io("connect", &error).at(address)),
        Err(_) => Err(deadline::timed_out("connect", Some(address), limit)),
    }
}

/// The failure that says most: of something that answered; then one that is the target's, before one that is this
/// machine's (IPv6 without a route says nothing about a service that refuses on IPv4). The others are named.
fn worst(mut failures: Vec<Failure>) -> Failure {
    let of_target = || failures.iter().position(|failure| failure.reason.blame() == Blame::Target);
    let at = failures.iter().position(|failure| failure.phase == "tls").or_else(of_target).unwrap_or(0);
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
