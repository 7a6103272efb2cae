//! Redis: a connection that is held and asked `PING` and `INFO`, and a fresh one every `reconnect` that proves
//! that one can still get in.

mod error;
mod info;
mod metrics;
mod session;
mod url;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use serde::Deserialize;

use self::session::Session;
use self::url::Server;
use super::held::{self, addresses_of, check_reconnect, has_moved};
use super::wire::{TlsCache, sum};
use super::{Failure, Path, Reason, Report};
use crate::net::Net;
use crate::net::tls::TlsSettings;
use crate::probe::secret_url;
use crate::sample::Metric;
use crate::secret::Secret;

pub const SCHEMES: &[&str] = &["redis", "rediss"];
pub const METRICS: &[&Metric] = metrics::ALL;

/// What is configured under `redis:`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `redis://user:password@host:6379/0`; `rediss://` speaks TLS.
    pub url: Option<Secret>,
    /// A file that holds the URL; read again for each look.
    pub url_file: Option<PathBuf>,
    /// What the server is used for: decides which eviction policy is right.
    pub role: Option<Role>,
    /// How often a fresh connection is made beside the held one.
    #[serde(default = "held::default_reconnect", deserialize_with = "crate::duration::deserialize")]
    pub reconnect: Duration,
    /// Speaks TLS, also where the URL says `redis://`.
    pub tls: Option<TlsSettings>,
}

/// What a Redis server is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May forget: `allkeys-lru` (or another `allkeys-*`).
    Cache,
    /// Must not: `noeviction`.
    Queue,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Cache => "cache",
            Role::Queue => "queue",
        }
    }
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        Server::parse(url)?;
        let url = Some(Secret::new(url));
        Ok(Settings { url, url_file: None, role: None, reconnect: held::default_reconnect(), tls: None })
    }

    pub fn instance(&self) -> Result<String, String> {
        self.server().map(|server| server.instance()).map_err(|failure| failure.error)
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        wrong.extend(secret_url::check(self.url.as_ref(), self.url_file.as_deref(), Server::parse));
        wrong.extend(check_reconnect(self.reconnect, "server").map(|error| ("reconnect", error)));
        if let Some(tls) = &self.tls {
            wrong.extend(tls.check().into_iter().map(|error| ("tls", error)));
        }
        wrong
    }

    /// Addresses of the name are tried in turn.
    pub fn instances(&self) -> Option<String> {
        None
    }

    pub fn reconnect(&self) -> Option<Duration> {
        Some(self.reconnect)
    }

    /// The server as the settings name it now.
    fn server(&self) -> Result<Server, Failure> {
        secret_url::read(self.url.as_ref(), self.url_file.as_deref(), Server::parse)
    }

    /// How TLS is to be spoken with a server; `None` where not at all.
    fn tls(&self, server: &Server) -> Option<TlsSettings> {
        let mut tls = self.tls.clone().or_else(|| server.tls.then(TlsSettings::default))?;
        tls.insecure_skip_verify |= server.unverified;
        Some(tls)
    }
}

pub struct Prober {
    settings: Settings,
    net: Arc<Net>,
    tls: TlsCache,
    held: Option<Box<Session>>,
    /// Where the name led at the last fresh look.
    addresses: Vec<IpAddr>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        Prober { settings, net, tls: TlsCache::default(), held: None, addresses: Vec::new() }
    }

    pub async fn look(&mut self, path: Path) -> Report {
        let mut report = Report::default();
        let outcome = match path {
            Path::Fresh => self.look_fresh(&mut report).await,
            Path::Held => self.look_held(&mut report).await,
        };
        held::conclude(&mut report, path, outcome, &metrics::UP, &metrics::POOL_EXHAUSTED);
        report
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    /// Resolves when the held connection ends.
    pub async fn broken(&mut self) -> Failure {
        let Some(session) = &mut self.held else { return std::future::pending().await };
        let failure = session.end().await;
        self.held = None;
        failure
    }

    async fn look_fresh(&mut self, report: &mut Report) -> Result<(), Failure> {
        let server = self.settings.server()?;
        self.addresses = addresses_of(&self.net, &server.host).await.unwrap_or_default();
        let mut session = self.open(&server, Path::Fresh, report).await?;
        report.read(&metrics::CONNECT_SECONDS, sum(&report.phases));
        session.ping(report).await?;
        session.close().await;
        Ok(())
    }

    /// The session is taken out while it is used: a look that is dropped at its deadline closes it. A server that
    /// says that it cannot serve is still asked why: `INFO` tells of loading, of a failed save, of a lost master.
    async fn look_held(&mut self, report: &mut Report) -> Result<(), Failure> {
        let mut session = self.session(report).await?;
        let before = sum(&report.phases);
        let pong = session.ping(report).await;
        if pong.as_ref().is_err_and(|failure| failure.reason != Reason::NotServing) {
            return pong;
        }
        match session.say::<String>("query", &cmd("INFO"), report).await {
            Ok(text) => {
                let foreign = |error| Failure::new(Reason::Protocol, "query", error).at(session.driver.peer);
                info::read(&text, self.settings.role, report).map_err(foreign)?;
            }
            // That it tells us nothing of itself is not an outage.
            Err(failure) if failure.reason == Reason::Auth => report.warnings.push(failure.error),
            Err(failure) => return Err(failure),
        }
        report.read(&metrics::QUERY_SECONDS, sum(&report.phases) - before);
        self.held = Some(Box::new(session));
        pong
    }

    /// The held session, or a new one where there is none or it no longer goes where the settings lead.
    async fn session(&mut self, report: &mut Report) -> Result<Session, Failure> {
        let server = self.settings.server();
        let Some(mut session) = self.held.take() else { return self.open(&server?, Path::Held, report).await };
        if session.driver.is_over() {
            return Err(session.end().await);
        }
        let (host, peer) = (&session.server.host, session.driver.peer);
        let moved = has_moved(&self.net, host, peer, &self.addresses, report).await;
        match server {
            Ok(server) if moved || server != session.server => {
                session.close().await;
                self.open(&server, Path::Held, report).await
            }
            _ => Ok(*session),
        }
    }

    async fn open(&mut self, server: &Server, path: Path, report: &mut Report) -> Result<Session, Failure> {
        let tls = self.settings.tls(server).map(|settings| self.tls.get(settings));
        // On the heap while it lasts: a target that is not opening pays nothing for it.
        Box::pin(Session::open(&self.net, server, tls.as_deref(), path, report)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str) -> Settings {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn the_defaults_are_those_of_the_reference() {
        let settings = settings("url: redis://:hunter2@cache");
        assert_eq!((settings.reconnect(), settings.role), (Some(Duration::from_secs(30)), None));
        assert_eq!(settings.instance().unwrap(), "cache:6379");
        assert!(settings.check().is_empty());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn wrong_settings_are_named_by_their_key() {
        let keys = |yaml: &str| settings(yaml).check().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys("role: cache"), ["url"]);
        assert_eq!(keys("{url: 'redis://h', url_file: /x}"), ["url_file"]);
        assert_eq!(keys("{url: 'h:6379', reconnect: 10ms}"), ["url", "reconnect"]);
        assert!(serde_saphyr::from_str::<Settings>("{url: 'redis://h', role: broker}").is_err());
    }

    #[test]
    fn tls_comes_from_the_scheme_or_the_settings() {
        let unverified = |yaml: &str| {
            let settings = settings(yaml);
            settings.tls(&settings.server().unwrap()).map(|tls| tls.insecure_skip_verify)
        };
        assert_eq!(unverified("url: redis://h"), None);
        assert_eq!(unverified("url: rediss://h"), Some(false));
        assert_eq!(unverified("url: rediss://h?ssl_cert_reqs=none"), Some(true));
        assert_eq!(unverified("{url: 'redis://h', tls: {}}"), Some(false));
    }
}
