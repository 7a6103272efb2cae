//! `tls`: the handshake, and what the server's certificates say, whether they are good or not.
//!
//! Nothing is sent and nothing is read besides the handshake, which is a full one at every look.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::{Failure, Path, Reason, Report, network};
use crate::net::tls::{Problem, Tls, TlsFacts, TlsSettings};
use crate::net::{Connection, Net};
use crate::sample::Metric;

pub const SCHEMES: &[&str] = &["tls"];
pub const METRICS: &[&Metric] = network::with_connection![VERIFICATION];

const VERIFICATION: &Metric = &Metric::gauge(
    "watchkeeper_tls_verification",
    "Always 1; the label is what came of the handshake: ok, or what is wrong.",
)
.labelled(&["result"]);

/// What is under `tls:` of a target.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `host:port` or `tls://host:port`; IPv6 addresses in brackets.
    pub address: String,
    /// The oldest version that is good.
    pub min_version: Option<Version>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub server_name: Option<String>,
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// A version of TLS. Older ones are not spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Version {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

impl Version {
    /// As [`TlsFacts::version`] has it.
    fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        }
    }
}

impl Settings {
    pub fn from_url(url: &str) -> Result<Self, String> {
        network::endpoint("tls", url)?;
        Ok(Settings {
            address: url.to_owned(),
            min_version: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            server_name: None,
            insecure_skip_verify: false,
        })
    }

    pub fn instance(&self) -> Result<String, String> {
        network::endpoint("tls", &self.address).map(|(host, port)| format!("{host}:{port}"))
    }

    pub fn check(&self) -> Vec<(&'static str, String)> {
        let address = network::endpoint("tls", &self.address).err().map(|error| ("address", error));
        address.into_iter().chain(self.tls().check().into_iter().map(|error| self.placed(error))).collect()
    }

    /// What is wrong with the name or with our own certificate, at its key.
    fn placed(&self, error: String) -> (&'static str, String) {
        match error.strip_prefix("`server_name` ") {
            Some(error) => ("server_name", error.to_owned()),
            None if self.cert_file.is_some() => ("cert_file", error),
            None => ("key_file", error),
        }
    }

    /// The host of the address: behind one name, each server has a certificate of its own.
    pub fn instances(&self) -> Option<String> {
        let (host, _) = network::endpoint("tls", &self.address).ok()?;
        let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
        (!is_address).then_some(host)
    }

    /// Nothing is held.
    pub fn reconnect(&self) -> Option<Duration> {
        None
    }

    fn tls(&self) -> TlsSettings {
        TlsSettings {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            server_name: self.server_name.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
            any_name: false,
        }
    }
}

/// Looks at one server's certificates.
pub struct Prober {
    endpoint: Result<(String, u16), String>,
    tls: Tls,
    min_version: Option<Version>,
    net: Arc<Net>,
}

impl Prober {
    pub fn new(settings: Settings, net: Arc<Net>) -> Self {
        let endpoint = network::endpoint("tls", &settings.address);
        Prober { endpoint, tls: Tls::new(settings.tls(), None), min_version: settings.min_version, net }
    }

    pub async fn look(&mut self, path: Path) -> Report {
        let (host, port) = match &self.endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => return Report::failed(Failure::new(Reason::Protocol, "connect", error)),
        };
        let mut report = Report::default();
        match network::dial(&self.net, (host, *port), Some(&self.tls), path, &mut report).await {
            Ok(connection) => self.judge(&connection, &mut report),
            Err(error) => {
                if error.problem.is_some() {
                    read_verification(&mut report, error.problem);
                }
                report.failure = Some(error.failure);
            }
        }
        report
    }

    /// The handshake was made, which says nothing yet of the version.
    fn judge(&self, connection: &Connection, report: &mut Report) {
        let Some(facts) = &connection.tls else { return };
        match self.min_version.filter(|least| is_older(facts, *least)) {
            None => read_verification(report, facts.problem),
            Some(least) => {
                let (spoken, least) = (facts.version.unwrap_or("none"), least.name());
                let error = format!("the server speaks {spoken} at most, and {least} is the least that is good");
                read_verification(report, Some(Problem::ProtocolVersion));
                report.failure = Some(Failure::new(Reason::Tls, "tls", error).at(connection.peer));
            }
        }
    }

    /// Nothing is kept over restarts.
    pub fn recall(&mut self, _memory: &str) {}

    pub async fn broken(&mut self) -> Failure {
        std::future::pending().await
    }
}

fn is_older(facts: &TlsFacts, least: Version) -> bool {
    // Of the versions that both speak, the newest is agreed on.
    facts.version.is_some_and(|version| version < least.name())
}

fn read_verification(report: &mut Report, problem: Option<Problem>) {
    let result = problem.map_or("ok", Problem::name);
    report.read_with(VERIFICATION, vec![("result", result.to_owned())], 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str) -> Settings {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(Settings::from_url("tls://api.example:443").unwrap().instance().unwrap(), "api.example:443");
        assert_eq!(settings("address: '[::1]:443'").instance().unwrap(), "[::1]:443");
        assert!(Settings::from_url("tls://api.example").is_err(), "the port is not guessed");
    }

    #[test]
    fn each_address_of_a_name_is_an_instance() {
        assert_eq!(settings("address: api.example:443").instances().as_deref(), Some("api.example"));
        assert_eq!(settings("address: 10.0.0.1:443").instances(), None);
        assert_eq!(settings("address: '[::1]:443'").instances(), None);
    }

    #[test]
    fn problems_name_their_key() {
        let keys = |yaml: &str| settings(yaml).check().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys("{address: 'h:443', ca_file: /x, min_version: '1.3'}"), Vec::<&str>::new());
        assert_eq!(keys("{address: h, key_file: /x, server_name: 'a b'}"), ["address", "key_file", "server_name"]);
        assert!(serde_saphyr::from_str::<Settings>("{address: 'h:443', min_version: '1.1'}").is_err());
    }
}
