//! PostgreSQL: a connection that is held and asked what the server knows of itself, and a fresh one every
//! `reconnect` that proves that one can still get in.

mod activity;
mod error;
mod metrics;
mod session;
mod url;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use self::session::{Opening, Session};
use self::url::{Server, SslMode};
use super::held::{self, addresses_of, check_reconnect, has_moved};
use super::wire::{TlsCache, sum};
use super::{Failure, Path, Reason, Report};
use crate::net::Net;
use crate::net::tls::TlsSettings;
use crate::probe::secret_url;
use crate::sample::Metric;
use crate::secret::Secret;

pub const SCHEMES: &[&str] = &["postgres", "postgresql"];
pub const METRICS: &[&Metric] = metrics::ALL;

/// What is configured under `postgres:`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `postgres://user:password@host:5432/database`, in any of the forms of the drivers and ORMs.
    pub url: Option<Secret>,
    /// A file that holds the URL; read again for each look.
    pub url_file: Option<PathBuf>,
    /// How often a fresh connection is made beside the held one.
    #[serde(default = "held::default_reconnect", deserialize_with = "crate::duration::deserialize")]
    pub reconnect: Duration,
    /// Asks for TLS and verifies it, unless the URL's `sslmode` says less.
    pub tls: Option<TlsSettings>,
    /// The name under which the connections are seen in `pg_stat_activity`.
    #[serde(default = "default_application_name")]
    pub application_name: String,
}

fn default_application_name() -> String {
    "watchkeeper".to_owned()
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        Server::parse(url)?;
        Ok(Settings {
            url: Some(Secret::new(url)),
            url_file: None,
            reconnect: held::default_reconnect(),
            tls: None,
            application_name: default_application_name(),
        })
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
            if self.server().is_ok_and(|server| server.sslmode == Some(SslMode::Disable)) {
                wrong.push(("tls", "the URL says sslmode=disable: leave out one of the two".to_owned()));
            }
        }
        if self.application_name.len() > 63 || !self.application_name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            wrong.push(("application_name", "must be at most 63 printable ASCII characters".to_owned()));
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
        let mut server = secret_url::read(self.url.as_ref(), self.url_file.as_deref(), Server::parse)?;
        if self.tls.is_some() && server.sslmode.is_none() {
            server.sslmode = Some(SslMode::VerifyFull);
        }
        Ok(server)
    }

    /// How TLS is to be spoken with a server; `None` where not at all. The files of `tls:` win over those of the URL.
    fn tls(&self, server: &Server) -> Option<TlsSettings> {
        let mode = server.sslmode.unwrap_or(SslMode::Prefer);
        let given = self.tls.clone().unwrap_or_default();
        (mode != SslMode::Disable).then(|| TlsSettings {
            ca_file: given.ca_file.or_else(|| server.ca_file.clone()),
            cert_file: given.cert_file.or_else(|| server.cert_file.clone()),
            key_file: given.key_file.or_else(|| server.key_file.clone()),
            insecure_skip_verify: given.insecure_skip_verify || matches!(mode, SslMode::Prefer | SslMode::Require),
            any_name: mode == SslMode::VerifyCa,
            server_name: given.server_name,
        })
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

    /// Resolves when the held connection ends, with what the server said last.
    pub async fn broken(&mut self) -> Failure {
        let Some(session) = &mut self.held else { return std::future::pending().await };
        let failure = error::end(&mut session.driver, "held").await;
        self.held = None;
        failure
    }

    async fn look_fresh(&mut self, report: &mut Report) -> Result<(), Failure> {
        let server = self.settings.server()?;
        self.addresses = addresses_of(&self.net, &server.host).await.unwrap_or_default();
        let mut session = self.open(&server, Path::Fresh, report).await?;
        report.read(&metrics::CONNECT_SECONDS, sum(&report.phases));
        session.ask(activity::PING, report).await?;
        session.close().await;
        Ok(())
    }

    /// The session is taken out while it is used: a look that is dropped at its deadline closes it.
    async fn look_held(&mut self, report: &mut Report) -> Result<(), Failure> {
        let mut session = self.session(report).await?;
        let before = sum(&report.phases);
        let answer = session.ask(activity::LOOK, report).await?;
        report.read(&metrics::QUERY_SECONDS, sum(&report.phases) - before);
        let foreign = |error| Failure::new(Reason::Protocol, "query", error).at(session.driver.peer);
        activity::read(&answer, report).map_err(foreign)?;
        self.held = Some(Box::new(session));
        Ok(())
    }

    /// The held session, or a new one where there is none or it no longer goes where the settings lead.
    async fn session(&mut self, report: &mut Report) -> Result<Session, Failure> {
        let server = self.settings.server();
        let Some(mut session) = self.held.take() else { return self.open(&server?, Path::Held, report).await };
        if session.driver.is_over() {
            return Err(error::end(&mut session.driver, "held").await);
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
        let how = Opening { server, tls: tls.as_deref(), application: &self.settings.application_name, path };
        // On the heap while it lasts: a target that is not opening pays nothing for it.
        Box::pin(Session::open(&self.net, how, report)).await
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
        let settings = settings("url: postgres://u:hunter2@db/app");
        assert_eq!(settings.reconnect(), Some(Duration::from_secs(30)));
        assert_eq!(settings.application_name, "watchkeeper");
        assert_eq!(settings.instance().unwrap(), "db:5432");
        assert!(settings.check().is_empty());
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn wrong_settings_are_named_by_their_key() {
        let keys = |yaml: &str| settings(yaml).check().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys("reconnect: 30s"), ["url"]);
        assert_eq!(keys("{url: 'postgres://h', url_file: /x}"), ["url_file"]);
        assert_eq!(keys("{url: 'mysql://h', reconnect: 10ms}"), ["url", "reconnect"]);
        assert_eq!(keys("{url: 'postgres://h/d?sslmode=disable', tls: {}}"), ["tls"]);
        assert_eq!(keys("{url: 'postgres://h', tls: {cert_file: c.pem}}"), ["tls"]);
    }

    #[test]
    fn tls_is_as_strict_as_the_url_or_the_settings_ask() {
        let tls = |yaml: &str| {
            let settings = settings(yaml);
            let tls = settings.tls(&settings.server().unwrap());
            tls.map(|tls| (tls.insecure_skip_verify, tls.any_name))
        };
        assert_eq!(tls("url: postgres://h/d"), Some((true, false)));
        assert_eq!(tls("url: postgres://h/d?sslmode=disable"), None);
        assert_eq!(tls("url: postgres://h/d?sslmode=require"), Some((true, false)));
        assert_eq!(tls("url: postgres://h/d?sslmode=verify-ca"), Some((false, true)));
        assert_eq!(tls("url: postgres://h/d?sslmode=verify-full"), Some((false, false)));
        assert_eq!(tls("{url: 'postgres://h/d', tls: {ca_file: ca.pem}}"), Some((false, false)));
    }

    #[test]
    fn an_unreadable_url_file_is_the_agent_s_fault() {
        let failure = settings("url_file: /nowhere/at/all").server().unwrap_err();
        assert_eq!(failure.reason, Reason::Secret);
        assert!(failure.error.contains("/nowhere/at/all"));
    }
}
