//! A client library's connection, bounded and watched: what the server may say in one look, how the
//! connection ended, and the task that drives it. Used by the kinds that hold a connection.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Failure, Reason, Report};
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{Stream, failure_of_io};

/// How long a graceful goodbye may take before the connection is dropped.
const GOODBYE: Duration = Duration::from_millis(50);
/// How much of a connection's first words is kept.
const FIRST_WORDS: usize = 256;
/// The longest text of a server that is passed on, in characters.
const TEXT_LIMIT: usize = 300;

/// Says whether a server may say these bytes; `previous` is the byte before them, `None` at the very start.
pub type Check = fn(previous: Option<u8>, bytes: &[u8]) -> bool;

/// What a connection has heard, shared between the stream and its owner.
pub struct Meter {
    limit: usize,
    check: Check,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    left: usize,
    last: Option<u8>,
    first_words: Vec<u8>,
    end: Option<End>,
}

/// How a stream ended.
enum End {
    Closed,
    Broken(io::Error),
    TooMuch,
    Foreign,
}

impl Meter {
    /// At most `limit` bytes may arrive between two calls of [`Meter::renew`].
    pub fn new(limit: usize, check: Check) -> Arc<Self> {
        let heard = Heard { left: limit, ..Heard::default() };
        Arc::new(Meter { limit, check, heard: Mutex::new(heard) })
    }

    /// A new look begins: the server may say `limit` bytes again.
    pub fn renew(&self) {
        self.heard().left = self.limit;
    }

    /// The first line that the server said, if it said one. A server that refuses a connection says so before
    /// it is asked, and a client library may drop what nobody waits for.
    pub fn first_line(&self) -> String {
        let heard = self.heard();
        let line = heard.first_words.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
        String::from_utf8_lossy(line).into_owned()
    }

    /// Why the stream ended, as a failure; `None` while it has not, or was closed by us.
    pub fn failure(&self, phase: &'static str) -> Option<Failure> {
        Some(match self.heard().end.as_ref()? {
            End::Closed => Failure::new(Reason::Reset, phase, "the server closed the connection"),
            End::Broken(error) => failure_of_io(phase, error),
            End::TooMuch => {
                Failure::new(Reason::Protocol, phase, format!("the server said more than {} bytes at once", self.limit))
            }
            End::Foreign => Failure::new(Reason::Protocol, phase, "the server answers in another protocol"),
        })
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, bytes: &[u8]) -> io::Result<()> {
        let mut heard = self.heard();
        let Some(&last) = bytes.last() else {
            heard.end = Some(End::Closed);
            return Ok(());
        };
        let room = FIRST_WORDS.saturating_sub(heard.first_words.len()).min(bytes.len());
        heard.first_words.extend_from_slice(&bytes[..room]);
        if !(self.check)(heard.last, bytes) {
            heard.end = Some(End::Foreign);
            return Err(io::ErrorKind::InvalidData.into());
        }
        if bytes.len() > heard.left {
            heard.end = Some(End::TooMuch);
            return Err(io::ErrorKind::InvalidData.into());
        }
        heard.left -= bytes.len();
        heard.last = Some(last);
        Ok(())
    }

    fn broke(&self, error: &io::Error) {
        let copy = match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        self.heard().end.get_or_insert(End::Broken(copy));
    }
}

/// A stream whose reads go through a [`Meter`].
pub struct Metered {
    pub stream: Box<dyn Stream>,
    pub meter: Arc<Meter>,
    /// What channel binding binds to; `None` without TLS.
    pub certificate_hash: Option<Vec<u8>>,
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.remaining() == 0 && buf.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        std::task::ready!(self.note(Poll::Ready(result)))?;
        Poll::Ready(self.meter.hear(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Metered {
    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.meter.broke(error);
        }
        result
    }
}

/// The task that drives a connection. Dropping it closes the connection.
pub struct Driver<T> {
    task: JoinHandle<T>,
    pub meter: Arc<Meter>,
    pub peer: SocketAddr,
}

impl<T: Send + 'static> Driver<T> {
    pub fn spawn(driver: impl Future<Output = T> + Send + 'static, meter: Arc<Meter>, peer: SocketAddr) -> Self {
        Driver { task: tokio::spawn(driver), meter, peer }
    }

    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Resolves when the connection has ended, with what its driver says of it; `None` when the driver panicked.
    /// Cancel-safe; not to be called again once it has resolved.
    pub async fn over(&mut self) -> Option<T> {
        (&mut self.task).await.ok()
    }

    /// Lets the driver say goodbye to the server, for a moment. Its client must have been dropped before.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(GOODBYE, self.over()).await;
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The client side of TLS that a server's URL and the settings ask for, made anew only when they change.
#[derive(Default)]
pub struct TlsCache(Option<(TlsSettings, Arc<Tls>)>);

impl TlsCache {
    pub fn get(&mut self, settings: TlsSettings) -> Arc<Tls> {
        match &self.0 {
            Some((known, tls)) if *known == settings => tls.clone(),
            _ => {
                let tls = Arc::new(Tls::new(settings.clone(), None));
                self.0 = Some((settings, tls.clone()));
                tls
            }
        }
    }
}

/// Does one phase of a look. One that was gone through before is lengthened.
pub async fn timed<T>(report: &mut Report, phase: &'static str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    let took = start.elapsed();
    match report.phases.iter_mut().find(|(name, _)| *name == phase) {
        Some((_, total)) => *total += took,
        None => report.phases.push((phase, took)),
    }
    done
}

/// How long all phases took together, in seconds.
pub fn sum(phases: &[(&'static str, Duration)]) -> f64 {
    phases.iter().map(|(_, took)| took.as_secs_f64()).sum()
}

/// A server's text as it may be shown: one line, no control characters, bounded.
pub fn shown(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = clean.clone().take(TEXT_LIMIT).collect();
    if clean.count() > TEXT_LIMIT {
        shown.push('…');
    }
    shown.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn anything(_: Option<u8>, _: &[u8]) -> bool {
        true
    }

    #[tokio::test]
    async fn a_server_may_say_so_much_in_one_look_and_no_more() {
        let (mut server, client) = tokio::io::duplex(64);
        let meter = Meter::new(4, anything);
        let mut stream = Metered { stream: Box::new(client), meter: meter.clone(), certificate_hash: None };
        let mut buf = [0; 8];
        for _ in 0..3 {
            meter.renew();
            server.write_all(b"four").await.unwrap();
            assert_eq!(stream.read(&mut buf).await.unwrap(), 4);
        }
        assert!(meter.failure("query").is_none());
        server.write_all(b"5").await.unwrap();
        assert!(stream.read(&mut buf).await.is_err());
        let failure = meter.failure("query").unwrap();
        assert_eq!((failure.reason, failure.phase), (Reason::Protocol, "query"));
        assert!(failure.error.contains("more than 4 bytes"), "{failure}");
    }

    #[tokio::test]
    async fn the_first_line_and_the_end_are_remembered() {
        let (mut server, client) = tokio::io::duplex(1024);
        let meter = Meter::new(1024, anything);
        let mut stream = Metered { stream: Box::new(client), meter: meter.clone(), certificate_hash: None };
        server.write_all(b"-ERR full\r\nmore").await.unwrap();
        drop(server);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(meter.first_line(), "-ERR full");
        assert_eq!(meter.failure("connect").unwrap().reason, Reason::Reset);
    }

    #[test]
    fn a_server_s_text_is_shown_in_one_bounded_line() {
        assert_eq!(shown("a\r\nb\u{7}"), "a  b");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), TEXT_LIMIT + 1);
    }
}
