//! The verifier that keeps what it saw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme};

use super::TlsSettings;
use super::facts::{self, CertificateFacts, TlsFacts};
use super::problem::Problem;

/// Whom to trust: certificate authorities, and single certificates that were named as such.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    pub verifier: Arc<WebPkiServerVerifier>,
    pub pinned: Arc<[CertificateDer<'static>]>,
}

/// Verifies one handshake and keeps the chain, the verdict and the protocol version.
///
/// The verdict is given with the signature, one step after the chain was shown: that step tells TLS 1.2 from 1.3,
/// and still comes before anything of ours is sent.
#[derive(Debug)]
pub(super) struct Recorder {
    trust: Trust,
    insecure: bool,
    any_name: bool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    version: Option<&'static str>,
    verdict: Option<Result<(), Error>>,
}

impl Recorder {
    pub fn new(trust: Trust, settings: &TlsSettings) -> Self {
        let (insecure, any_name) = (settings.insecure_skip_verify, settings.any_name);
        Recorder { trust, insecure, any_name, seen: Mutex::default() }
    }

    pub fn facts(&self) -> TlsFacts {
        let seen = self.seen();
        let chain: Vec<_> = seen.chain.iter().filter_map(facts::of_certificate).collect();
        let problem = match &seen.verdict {
            Some(Err(error)) => Some(Problem::of(error, chain.first())),
            _ => None,
        };
        TlsFacts { version: seen.version, chain, verified: matches!(seen.verdict, Some(Ok(()))), problem }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the version, and ends the handshake here if the chain was bad.
    fn judge(&self, version: &'static str) -> Result<(), Error> {
        let mut seen = self.seen();
        seen.version = Some(version);
        match &seen.verdict {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) if self.insecure => Ok(()),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::General("a signature came before its certificate".to_owned())),
        }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.trust.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let verdict = match verified {
            Err(_) if self.trust.pinned.contains(end_entity) => pinned(end_entity, server_name, now),
            verified => verified.map(|_| ()),
        };
        // The name is looked at last: all else was found good.
        let verdict =
            verdict.or_else(|error| if self.any_name && is_about_the_name(&error) { Ok(()) } else { Err(error) });
        let chain = std::iter::once(end_entity).chain(intermediates);
        let mut seen = self.seen();
        seen.chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        seen.verdict = Some(verdict);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge("TLS 1.2")?;
        self.trust.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge("TLS 1.3")?;
        self.trust.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.verifier.supported_verify_schemes()
    }
}

fn is_about_the_name(error: &Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// A server whose very certificate is in `ca_file`. `openssl req -x509` makes such ones authorities, which webpki
/// refuses as a server's: being named is trust enough, if name and dates are right.
fn pinned(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let facts = facts::of_certificate(certificate).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now > facts.not_after {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    if now < facts.not_before {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

/// What went wrong, with what the server showed and what to do.
pub(super) fn explain(error: &Error, facts: &TlsFacts, host: &str) -> String {
    let leaf = facts.chain.first();
    match (error, leaf) {
        (Error::InvalidCertificate(wrong), Some(leaf)) => match wrong {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => expired(leaf, facts, host),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => not_yet(leaf, facts, host),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("the certificate is not for {host} but for {}", leaf.names())
            }
            CertificateError::UnknownIssuer => {
                let alone = facts.chain.len() == 1 && leaf.issuer != leaf.subject;
                let or = if alone { ", or have the server send what lies between it and its authority" } else { "" };
                format!(
                    "the certificate's issuer is not trusted ({}): name its authority in `ca_file`{or}",
                    leaf.issuer
                )
            }
            CertificateError::BadSignature => format!(
                "the certificate's issuer {} is trusted, but with another key: name the present one in `ca_file`",
                leaf.issuer
            ),
            CertificateError::Other(_) if leaf.issuer == leaf.subject => format!(
                "the certificate of {host} has signed itself ({}): name it in `ca_file` to trust it",
                leaf.subject
            ),
            _ => error.to_string(),
        },
        (Error::InvalidMessage(InvalidMessage::InvalidContentType), _) => "what answers does not speak TLS".to_owned(),
        _ => error.to_string(),
    }
}

/// Which certificate has ended: the server's own, or one that was sent with it.
fn expired(leaf: &CertificateFacts, facts: &TlsFacts, host: &str) -> String {
    let first = facts.chain.iter().min_by_key(|certificate| certificate.not_after).unwrap_or(leaf);
    let ended = facts::date(first.not_after);
    if first.not_after == leaf.not_after {
        return format!("the certificate of {host} has expired on {ended}");
    }
    format!("a certificate in the chain of {host} ({}) has expired on {ended}: renew the chain", first.subject)
}

fn not_yet(leaf: &CertificateFacts, facts: &TlsFacts, host: &str) -> String {
    let last = facts.chain.iter().max_by_key(|certificate| certificate.not_before).unwrap_or(leaf);
    let begins = facts::date(last.not_before);
    if last.not_before == leaf.not_before {
        return format!("the certificate of {host} is not valid before {begins}");
    }
    format!("a certificate in the chain of {host} ({}) is not valid before {begins}", last.subject)
}
