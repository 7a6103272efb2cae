//! What the kinds that open a connection report of it, under the blackbox exporter's names.

use std::net::{IpAddr, SocketAddr};

use url::Url;

use super::{Path, Report};
use crate::clock;
use crate::net::tls::{Tls, TlsFacts};
use crate::net::{Connection, DialError, Net};
use crate::sample::Metric;

pub const DNS_LOOKUP: &Metric =
    &Metric::gauge("probe_dns_lookup_time_seconds", "How long the name's addresses took to find, in seconds.");
pub const IP_PROTOCOL: &Metric =
    &Metric::gauge("probe_ip_protocol", "The IP version that was connected over: 4, 6, or 0 without a connection.");
pub const EARLIEST_EXPIRY: &Metric = &Metric::gauge(
    "probe_ssl_earliest_cert_expiry",
    "When the first of the certificates that the server sent ends, in Unix seconds, verified or not.",
);
pub const CHAIN_EXPIRY: &Metric = &Metric::gauge(
    "probe_ssl_last_chain_expiry_timestamp_seconds",
    "When the server's certificate or one of its issuers' ends first, in Unix seconds, verified or not.",
);
pub const CHAIN_INFO: &Metric =
    &Metric::gauge("probe_ssl_last_chain_info", "Always 1; the labels describe the server's own certificate.")
        .labelled(&["fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"]);
pub const TLS_VERSION: &Metric =
    &Metric::gauge("probe_tls_version_info", "Always 1; the label is the TLS version that was agreed on.")
        .labelled(&["version"]);

/// A kind's own metrics, and those that [`read_connection`] gives.
macro_rules! with_connection {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            $crate::probe::network::DNS_LOOKUP,
            $crate::probe::network::IP_PROTOCOL,
            $crate::probe::network::EARLIEST_EXPIRY,
            $crate::probe::network::CHAIN_EXPIRY,
            $crate::probe::network::CHAIN_INFO,
            $crate::probe::network::TLS_VERSION,
        ]
    };
}
pub(super) use with_connection;

/// How long before its end a certificate is worth a warning.
const WARN_SECONDS: i64 = 14 * 86_400;

/// Host (IPv6 in brackets) and port of `host:port`, which may be written as a URL of that scheme.
pub fn endpoint(scheme: &str, address: &str) -> Result<(String, u16), String> {
    let refuse = || format!("{address:?} is not an address: write it as host:port, or [::1]:port for IPv6");
    let rest = address.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")).unwrap_or(address);
    let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| refuse())?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let ends = matches!(url.path(), "" | "/") && url.fragment().is_none();
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) if bare && ends && !host.is_empty() && port != 0 => Ok((host.to_owned(), port)),
        _ => Err(refuse()),
    }
}

/// Opens a connection. What is known of the way is added to the report, however it ends; what is known of the
/// connection, by a fresh look.
pub async fn dial(
    net: &Net,
    (host, port): (&str, u16),
    tls: Option<&Tls>,
    path: Path,
    report: &mut Report,
) -> Result<Connection, Box<DialError>> {
    let dialled = net.dial(host, port, tls).await;
    let (peer, phases, facts) = match &dialled {
        Ok(connection) => (Some(connection.peer), &connection.phases, connection.tls.as_ref()),
        Err(error) => (error.failure.address, &error.phases, error.tls.as_ref()),
    };
    report.phases.extend(phases);
    if path == Path::Fresh {
        read_connection(report, peer, facts);
    }
    dialled
}

/// Adds what is known of the connection. The phases must be in the report already.
pub fn read_connection(report: &mut Report, peer: Option<SocketAddr>, tls: Option<&TlsFacts>) {
    let resolving = report.phases.iter().filter(|(phase, _)| *phase == "resolve");
    let resolving = resolving.map(|(_, took)| took.as_secs_f64()).sum();
    report.read(DNS_LOOKUP, resolving);
    let version = peer.map_or(0.0, |peer| if peer.is_ipv4() { 4.0 } else { 6.0 });
    report.read(IP_PROTOCOL, version);
    if let Some(tls) = tls {
        read_tls(report, tls);
    }
}

fn read_tls(report: &mut Report, tls: &TlsFacts) {
    if let Some(version) = tls.version {
        report.read_with(TLS_VERSION, vec![("version", version.to_owned())], 1.0);
    }
    let (Some(own), Some(earliest), Some(path)) = (tls.chain.first(), tls.earliest_expiry(), tls.path_expiry()) else {
        return;
    };
    report.read(EARLIEST_EXPIRY, earliest as f64);
    report.read(CHAIN_EXPIRY, path as f64);
    let labels = vec![
        ("fingerprint_sha256", own.sha256.clone()),
        ("subject", own.subject.clone()),
        ("issuer", own.issuer.clone()),
        ("subjectalternative", dns_names(&own.sans)),
        ("serialnumber", own.serial.clone()),
    ];
    report.read_with(CHAIN_INFO, labels, 1.0);
    report.warnings.extend(ending_soon(earliest, clock::wall_ms() / 1000));
}

/// As the blackbox exporter has it: without the addresses.
fn dns_names(sans: &[String]) -> String {
    let names: Vec<&str> = sans.iter().map(String::as_str).filter(|name| name.parse::<IpAddr>().is_err()).collect();
    names.join(",")
}

/// Both in Unix seconds.
fn ending_soon(expiry: i64, now: i64) -> Option<String> {
    let left = expiry - now;
    let days = left.div_euclid(86_400);
    (0..WARN_SECONDS).contains(&left).then(|| match days {
        0 => "the certificate ends within a day".to_owned(),
        1 => "the certificate ends in 1 day".to_owned(),
        _ => format!("the certificate ends in {days} days"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_in_its_last_two_weeks_and_not_after_its_end() {
        let day = 86_400;
        assert_eq!(ending_soon(20 * day, 0), None);
        assert_eq!(ending_soon(14 * day, 0), None);
        assert_eq!(ending_soon(13 * day, 0).unwrap(), "the certificate ends in 13 days");
        assert_eq!(ending_soon(day / 2, 0).unwrap(), "the certificate ends within a day");
        assert_eq!(ending_soon(0, day), None);
    }
}
