//! `websocket`: a gateway is asked to upgrade (RFC 6455), pinged, and left with a clean close. No message is ever
//! sent, so that a look opens no session behind the gateway. With `hold` a connection is kept and pinged; with `load`
//! the gateway's own count of its connections is read beside it.

mod error;
mod load;
mod metrics;
mod peaks;
mod session;
mod settings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

pub use load::{Gauge, LoadSettings};
pub use settings::Settings;

use self::load::Load;
use self::session::{Seen, Session};
use self::settings::Endpoint;
use super::held::{addresses_of, has_moved};
use super::{Failure, Path, Reason, Report};
use crate::net::tls::Tls;
use crate::net::{Net, http};
use crate::sample::Metric;

pub const SCHEMES: &[&str] = &["ws", "wss"];
pub const METRICS: &[&Metric] = metrics::ALL;

/// Looks at one gateway, and owns the connection that is held to it.
pub struct Prober {
    settings: Box<Settings>,
    net: Arc<Net>,
    tls: Box<Tls>,
    held: Option<Box<Session>>,
    /// Where the name led at the last fresh look; kept where a connection is held.
    addresses: Vec<IpAddr>,
    load: Option<Box<Load>>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        let tls = Box::new(Tls::new((*settings.tls).clone(), Some(http::ALPN)));
        let load = settings.load.as_deref().map(|load| Box::new(Load::new(load.clone())));
        Prober { settings: Box::new(settings), net, tls, held: None, addresses: Vec::new(), load }
    }

    pub async fn look(&mut self, path: Path) -> Report {
        let (mut report, mut seen) = (Report::default(), Seen::default());
        let outcome = match path {
            Path::Fresh => self.look_fresh(&mut report, &mut seen).await,
            Path::Held => self.look_held(&mut report, &mut seen).await,
        };
        if path == Path::Fresh {
            seen.report(&mut report);
        }
        if path == self.steady_path() {
            self.read_load(&mut report, outcome.as_ref().err()).await;
        }
        report.failure = outcome.err().map(|failure| self.judge(failure, seen.status));
        report
    }

    /// Gives back the peaks of before a restart.
    pub fn recall(&mut self, memory: &str) {
        if let Some(load) = &mut self.load {
            load.recall(memory);
        }
    }

    /// Resolves when the held connection ends; what the gateway says on it meanwhile is read and forgotten.
    pub async fn broken(&mut self) -> Failure {
        let Some(session) = &mut self.held else { return std::future::pending().await };
        let failure = session.end().await;
        self.held = None;
        failure
    }

    /// The path that is looked at every interval.
    fn steady_path(&self) -> Path {
        if self.settings.hold { Path::Held } else { Path::Fresh }
    }

    /// A refusal by a gateway that is full by its own count is no outage.
    fn judge(&self, failure: Failure, status: u16) -> Failure {
        match self.load.as_ref().and_then(|load| load.full()) {
            Some(count) if matches!(status, 429 | 503) => {
                Failure { reason: Reason::Full, error: format!("{}; {count}", failure.error), ..failure }
            }
            _ => failure,
        }
    }

    async fn look_fresh(&mut self, report: &mut Report, seen: &mut Seen) -> Result<(), Failure> {
        let endpoint = self.settings.endpoint()?;
        if self.settings.hold {
            self.addresses = addresses_of(&self.net, endpoint.host()).await.unwrap_or_default();
        }
        let mut session = self.open(endpoint, report, seen).await?;
        session.ping(report).await?;
        session.close(report).await;
        Ok(())
    }

    /// The session is taken out while it is used: a look that is dropped at its deadline closes it.
    async fn look_held(&mut self, report: &mut Report, seen: &mut Seen) -> Result<(), Failure> {
        let mut session = self.session(report, seen).await?;
        let took = session.ping(report).await?;
        report.read(metrics::PING_SECONDS, took.as_secs_f64());
        self.held = Some(Box::new(session));
        Ok(())
    }

    /// The held session, or a new one where there is none or it no longer goes where the settings lead.
    async fn session(&mut self, report: &mut Report, seen: &mut Seen) -> Result<Session, Failure> {
        let endpoint = self.settings.endpoint();
        let Some(session) = self.held.take() else { return self.open(endpoint?, report, seen).await };
        let moved = has_moved(&self.net, session.endpoint.host(), session.peer, &self.addresses, report).await;
        match endpoint {
            Ok(endpoint) if moved || endpoint != session.endpoint => {
                session.close(report).await;
                self.open(endpoint, report, seen).await
            }
            _ => Ok(*session),
        }
    }

    async fn open(&mut self, endpoint: Endpoint, report: &mut Report, seen: &mut Seen) -> Result<Session, Failure> {
        // On the heap while it lasts: a target that is not opening pays nothing for it.
        Box::pin(Session::open(&self.net, &self.tls, endpoint, report, seen)).await
    }

    async fn read_load(&mut self, report: &mut Report, failure: Option<&Failure>) {
        let Some(load) = &mut self.load else { return };
        match self.settings.read_url() {
            _ if failure.is_some_and(|failure| failure.reason == Reason::Timeout) => {
                load.unknown("the look had no time left for it", report);
            }
            Ok(url) => Box::pin(load.look(&self.net, &self.tls, &url, report)).await,
            Err(failure) => load.unknown(&failure.error, report),
        }
    }
}
