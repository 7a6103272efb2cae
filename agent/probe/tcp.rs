//! `tcp`: the port accepts a connection and, with `tls`, proves who it is.
//!
//! Nothing is sent and nothing is read besides the handshakes.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Failure, Path, Report, network};
use crate::net::Net;
use crate::net::tls::{Tls, TlsSettings};
use crate::sample::Metric;

pub const SCHEMES: &[&str] = &["tcp"];
pub const METRICS: &[&Metric] = network::with_connection![];

/// What is under `tcp:`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `host:port` or `tcp://host:port`; IPv6 addresses in brackets.
    pub address: String,
    /// Speaks TLS after connecting; `{}` is enough.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        network::endpoint("tcp", url)?;
        Ok(Settings { address: url.to_owned(), tls: None })
    }

    pub fn instance(&self) -> Result<String, String> {
        network::endpoint("tcp", &self.address).map(|(host, port)| format!("{host}:{port}"))
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let address = network::endpoint("tcp", &self.address).err().map(|error| ("address", error));
        let tls = self.tls.iter().flat_map(TlsSettings::check).map(|error| ("tls", error));
        address.into_iter().chain(tls).collect()
    }

    /// Addresses of the name are tried in turn.
    pub fn instances(&self) -> Option<String> {
        None
    }

    /// Nothing is held.
    pub fn reconnect(&self) -> Option<Duration> {
        None
    }
}

/// Looks at one port.
pub struct Prober {
    endpoint: Result<(String, u16), String>,
    tls: Option<Tls>,
    net: Arc<Net>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        let tls = settings.tls.map(|tls| Tls::new(tls, None));
        Prober { endpoint: network::endpoint("tcp", &settings.address), tls, net }
    }

    pub async fn look(&mut self, path: Path) -> Report {
        let (host, port) = match &self.endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => return Report::failed(Failure::new(super::Reason::Protocol, "connect", error)),
        };
        let mut report = Report::default();
        let dialled = network::dial(&self.net, (host, *port), self.tls.as_ref(), path, &mut report).await;
        report.failure = dialled.err().map(|error| error.failure);
        report
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    pub async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let instance = |address: &str| Settings { address: address.to_owned(), tls: None }.instance();
        assert_eq!(instance("db:5432").unwrap(), "db:5432");
        assert_eq!(instance("tcp://10.0.0.1:80/").unwrap(), "10.0.0.1:80");
        assert_eq!(instance("[::1]:80").unwrap(), "[::1]:80");
        for wrong in ["db", "db:", ":80", "db:70000", "db:0", "http://db:80", "u:p@db:80", "db:80/x", "db:80?x"] {
            assert!(instance(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn problems_name_their_key() {
        let tls = TlsSettings { cert_file: Some("c.pem".into()), ..TlsSettings::default() };
        let wrong = Settings { address: "db".to_owned(), tls: Some(tls) }.check();
        assert_eq!(wrong.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["address", "tls"]);
    }
}
