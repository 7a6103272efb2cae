//! What a server's certificates say.

use std::fmt::Write;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::der_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::problem::Problem;

/// The most bytes of alternative names that are kept of one certificate.
const NAMES_LIMIT: usize = 4 * 1024;
/// The most characters that are kept of a subject or issuer, and bytes of a serial number (RFC 5280 has 20): they become
/// labels, and a server may show another certificate each time.
const NAME_LIMIT: usize = 1024;
const SERIAL_LIMIT: usize = 64;

/// What a TLS handshake showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLS 1.2` or `TLS 1.3`; `None` where the handshake ended before it was agreed.
    pub version: Option<&'static str>,
    /// As the server sent them: its own certificate first.
    pub chain: Vec<CertificateFacts>,
    /// Whether the chain leads to someone trusted, for the right name, today.
    pub verified: bool,
    /// What is wrong with the chain, where it was looked at and does not.
    pub problem: Option<Problem>,
}

/// What one certificate says. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// `CN=api,O=Example`, as RFC 2253 writes it.
    pub subject: String,
    pub issuer: String,
    pub not_before: i64,
    pub not_after: i64,
    /// DNS names and IP addresses, in order.
    pub sans: Vec<String>,
    /// Lower-case hexadecimal without leading zero bytes, as the blackbox exporter writes it.
    pub serial: String,
    /// SHA-256 of the whole certificate, lower-case hexadecimal.
    pub sha256: String,
}

impl TlsFacts {
    /// When the first of all certificates that were sent ends, Unix seconds.
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.chain.iter().map(|certificate| certificate.not_after).min()
    }

    /// When the first certificate ends of the path that starts at the server's own and goes from each to its
    /// issuer. What was sent without being on that path does not count.
    pub fn path_expiry(&self) -> Option<i64> {
        let mut at = self.chain.first()?;
        let mut expiry = at.not_after;
        // The path is at most as long as the chain, also where certificates sign each other in a circle.
        for _ in 1..self.chain.len() {
            let issuer = self.chain.iter().find(|other| other.subject == at.issuer && *other != at);
            let Some(issuer) = issuer else { break };
            expiry = expiry.min(issuer.not_after);
            at = issuer;
        }
        Some(expiry)
    }
}

impl CertificateFacts {
    /// The names that it is for, for people.
    pub(super) fn names(&self) -> String {
        if self.sans.is_empty() { self.subject.clone() } else { self.sans.join(", ") }
    }
}

/// `None` where it is not a certificate.
pub(super) fn of_certificate(der: &CertificateDer<'_>) -> Option<CertificateFacts> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(CertificateFacts {
        subject: distinguished_name(parsed.subject()),
        issuer: distinguished_name(parsed.issuer()),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        sans: alternative_names(&parsed),
        serial: serial(parsed.raw_serial()),
        sha256: hex(&Sha256::digest(der)),
    })
}

/// `2026-01-31T12:00:00Z`.
pub(super) fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|at| at.to_string()).unwrap_or_else(|_| seconds.to_string())
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
    let mut left = NAMES_LIMIT;
    let fits = |name: &String| {
        left = left.saturating_sub(name.len() + 1);
        left > 0
    };
    names.iter().filter_map(alternative_name).take_while(fits).collect()
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        },
        _ => None,
    }
}

/// RFC 2253: the most specific part first, parts joined by commas, parts of one set by plus signs.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|set| set.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    let name = parts.join(",");
    match name.char_indices().nth(NAME_LIMIT) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let key = attribute_name(attribute.attr_type());
    match (key, attribute.as_str()) {
        (Some(key), Ok(value)) => format!("{key}={}", escaped(value)),
        _ => format!("{}=#{}", attribute.attr_type().to_id_string(), hex(attribute.as_slice())),
    }
}

/// The names that Go's `pkix.Name` gives, which are those in the labels of the blackbox exporter.
fn attribute_name(oid: &Oid<'_>) -> Option<&'static str> {
    Some(match oid.to_id_string().as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.5" => "SERIALNUMBER",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.17" => "POSTALCODE",
        _ => return None,
    })
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.chars().enumerate() {
        let edge = (letter == ' ' && (at == 0 || at == last)) || (letter == '#' && at == 0);
        if edge || matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

fn serial(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    hex(&bytes[zeros..bytes.len().min(zeros + SERIAL_LIMIT)])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes what is written to it.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, issuer: &str, not_after: i64) -> CertificateFacts {
        CertificateFacts {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            not_before: 0,
            not_after,
            sans: Vec::new(),
            serial: "1".to_owned(),
            sha256: String::new(),
        }
    }

    #[test]
    fn an_unused_certificate_counts_for_the_earliest_expiry_only() {
        let chain = vec![certificate("leaf", "ca", 300), certificate("ca", "root", 200), certificate("old", "root", 1)];
        let facts = TlsFacts { version: None, chain, verified: true, problem: None };
        assert_eq!((facts.earliest_expiry(), facts.path_expiry()), (Some(1), Some(200)));
    }

    #[test]
    fn a_circle_of_issuers_ends() {
        let chain = vec![certificate("a", "b", 3), certificate("b", "a", 2)];
        let facts = TlsFacts { version: None, chain, verified: false, problem: None };
        assert_eq!(facts.path_expiry(), Some(2));
    }

    #[test]
    fn serials_lose_leading_zero_bytes_only() {
        assert_eq!(serial(&[0, 0x0a, 0x1b]), "0a1b");
    }

    #[test]
    fn what_becomes_a_label_is_bounded() {
        let mut params = rcgen::CertificateParams::new(vec!["x".repeat(200) + ".example"; 400]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "é".repeat(9_000));
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[7; 5_000]));
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let facts = of_certificate(certificate.der()).unwrap();
        assert_eq!(facts.subject.chars().count(), NAME_LIMIT + 1);
        assert!(facts.subject.starts_with("CN=éé") && facts.subject == facts.issuer);
        assert_eq!(facts.serial, "07".repeat(SERIAL_LIMIT));
        assert!(facts.sans.join(",").len() <= NAMES_LIMIT && facts.sans.len() > 10);
    }

    #[test]
    fn names_are_escaped_as_rfc_2253_has_it() {
        assert_eq!(escaped(" a, b#"), "\\ a\\, b#");
        assert_eq!(escaped("#x "), "\\#x\\ ");
    }
}
