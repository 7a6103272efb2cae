//! What can be wrong between two ends that speak TLS, told apart.

use rustls::{AlertDescription, CertificateError, Error};

use super::facts::CertificateFacts;
use crate::clock;

/// Why a handshake failed, or would have failed had anybody verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The server's own certificate has ended.
    Expired,
    /// The server's own certificate has not begun.
    NotYetValid,
    /// Nobody who is trusted vouches for the chain.
    UnknownIssuer,
    /// The certificate is good, but for others.
    WrongHost,
    /// Another certificate of the chain is over, or one must not be used like this.
    BadChain,
    /// The two ends have no version of TLS in common, or it is below what is wanted.
    ProtocolVersion,
    /// The server broke the handshake off with an alert.
    Refused,
    /// What answers speaks something else, or breaks TLS's own rules.
    NotTls,
}

impl Problem {
    /// The label's value.
    pub fn name(self) -> &'static str {
        match self {
            Problem::Expired => "expired",
            Problem::NotYetValid => "not_yet_valid",
            Problem::UnknownIssuer => "unknown_issuer",
            Problem::WrongHost => "wrong_host",
            Problem::BadChain => "bad_chain",
            Problem::ProtocolVersion => "protocol_version",
            Problem::Refused => "refused",
            Problem::NotTls => "not_tls",
        }
    }

    /// `own` is the certificate that the server showed as its own.
    pub(super) fn of(error: &Error, own: Option<&CertificateFacts>) -> Self {
        match error {
            Error::InvalidCertificate(wrong) => of_certificate(wrong, own),
            Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
                Problem::ProtocolVersion
            }
            Error::AlertReceived(_) => Problem::Refused,
            _ => Problem::NotTls,
        }
    }
}

fn of_certificate(wrong: &CertificateError, own: Option<&CertificateFacts>) -> Problem {
    use CertificateError::*;
    let now = clock::wall_ms() / 1000;
    match wrong {
        Expired | ExpiredContext { .. } if own.is_some_and(|own| own.not_after < now) => Problem::Expired,
        NotValidYet | NotValidYetContext { .. } if own.is_some_and(|own| own.not_before > now) => Problem::NotYetValid,
        NotValidForName | NotValidForNameContext { .. } => Problem::WrongHost,
        // An authority was renewed under its old name.
        UnknownIssuer | BadSignature => Problem::UnknownIssuer,
        // webpki's word for an authority that stands where a server's certificate should.
        Other(_) if own.is_some_and(|own| own.issuer == own.subject) => Problem::UnknownIssuer,
        _ => Problem::BadChain,
    }
}
