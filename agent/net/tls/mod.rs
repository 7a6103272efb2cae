//! TLS as a client: whom to trust, who we are, and what the server showed, whether trusted or not.

mod facts;
mod problem;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use facts::{CertificateFacts, TlsFacts};
pub use problem::Problem;

use super::dial::Stream;
use super::{bounded, failure_of_io};
use crate::file;
use crate::probe::{Failure, Reason};
use crate::stamp::Stamp;

/// The most that is read of a certificate or key file, in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// How to speak TLS, as configured under `tls:`. All of it may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM certificates that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM certificate chain that we show to a server that asks.
    pub cert_file: Option<PathBuf>,
    /// PEM private key of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// The name that is asked for and must be in the certificate, where it is not the host's.
    pub server_name: Option<String>,
    /// Go on whatever the certificate says. It is still looked at, and reported as not verified.
    pub insecure_skip_verify: bool,
    /// Verify the chain but not the name, as libpq's `sslmode=verify-ca` asks. Not a key of `tls:`.
    #[serde(skip)]
    pub any_name: bool,
}

impl TlsSettings {
    /// What is wrong with them beyond their types.
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.cert_file.is_some() != self.key_file.is_some() {
            wrong.push("`cert_file` and `key_file` belong together: give both or neither".to_owned());
        }
        if let Some(name) = &self.server_name
            && ServerName::try_from(name.as_str()).is_err()
        {
            wrong.push(format!("`server_name` {name:?} is neither a host name nor an address"));
        }
        wrong
    }
}

/// The client side of TLS with one target. Its files are read at the first handshake, and again when they change.
pub struct Tls {
    settings: TlsSettings,
    alpn: Option<&'static str>,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Clone)]
struct Loaded {
    stamps: [Option<Stamp>; 3],
    config: Arc<ClientConfig>,
    trust: verify::Trust,
}

/// Why a handshake failed. `facts` are there as soon as the server showed a certificate.
#[derive(Debug)]
pub struct TlsError {
    pub failure: Failure,
    /// `None` where the fault is not TLS's own: the time was over, the connection broke, a file of ours is unusable.
    pub problem: Option<Problem>,
    pub facts: Option<TlsFacts>,
}

impl Tls {
    /// `alpn` is the protocol to agree on (RFC 7301), such as `http/1.1`.
    pub fn new(settings: TlsSettings, alpn: Option<&'static str>) -> Self {
        Tls { settings, alpn, loaded: Mutex::new(None) }
    }

    /// Makes a stream to `host` a TLS stream. Every handshake is a full one, so that each look sees the
    /// certificate; nothing of ours is sent to a server whose certificate is refused.
    pub async fn handshake<S: Stream>(
        &self,
        host: &str,
        stream: S,
        peer: SocketAddr,
    ) -> Result<(TlsStream<S>, TlsFacts), Box<TlsError>> {
        let prepared = self.load().and_then(|loaded| Ok((loaded, self.server_name(host)?)));
        let (loaded, name) = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => return Err(Box::new(TlsError { failure: failure.at(peer), problem: None, facts: None })),
        };
        let recorder = Arc::new(verify::Recorder::new(loaded.trust, &self.settings));
        let mut config = (*loaded.config).clone();
        config.dangerous().set_certificate_verifier(recorder.clone());
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let outcome = bounded("tls", Some(peer), connecting).await;
        let facts = recorder.facts();
        let (failure, problem) = match outcome {
            Ok(Ok(stream)) if facts.verified || self.settings.insecure_skip_verify => return Ok((stream, facts)),
            Ok(Ok(_)) => (Failure::new(Reason::Tls, "tls", "the certificate was not verified"), facts.problem),
            Ok(Err(error)) => failure_of_handshake(&error, &facts, host),
            Err(failure) => (failure, None),
        };
        let facts = Some(facts).filter(|facts| !facts.chain.is_empty());
        Err(Box::new(TlsError { failure: failure.at(peer), problem, facts }))
    }

    fn server_name(&self, host: &str) -> Result<ServerName<'static>, Failure> {
        let name = self.settings.server_name.as_deref().unwrap_or(host);
        let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        ServerName::try_from(name.to_owned())
            .map_err(|_| Failure::new(Reason::Tls, "tls", format!("{name:?} cannot be a name in a certificate")))
    }

    /// The configuration as the files say now.
    fn load(&self) -> Result<Loaded, Failure> {
        let files = [&self.settings.ca_file, &self.settings.cert_file, &self.settings.key_file];
        let stamps = files.map(|file| file.as_deref().and_then(Stamp::of));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.stamps == stamps) {
            return Ok(loaded.clone());
        }
        let (config, trust) = configure(&self.settings, self.alpn)
            .map_err(|error| Failure::new(Reason::Secret, "tls", error.to_string()))?;
        Ok(loaded.insert(Loaded { stamps, config: Arc::new(config), trust }).clone())
    }
}

/// Why the agent's own side of TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} holds no PEM {what}", path.display())]
    Empty { path: PathBuf, what: &'static str },
    #[error("{} is not usable: {error}", path.display())]
    Unusable { path: PathBuf, error: String },
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("TLS cannot be set up: {0}")]
    Roots(#[from] rustls::client::VerifierBuilderError),
}

fn configure(settings: &TlsSettings, alpn: Option<&'static str>) -> Result<(ClientConfig, verify::Trust), SetupError> {
    let trust = trust(settings.ca_file.as_deref())?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(trust.verifier.clone());
    let mut config = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => {
            let unusable = |error: rustls::Error| SetupError::Unusable { path: cert.clone(), error: error.to_string() };
            builder.with_client_auth_cert(certificates(cert)?, private_key(key)?).map_err(unusable)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok((config, trust))
}

fn trust(ca_file: Option<&Path>) -> Result<verify::Trust, SetupError> {
    let (roots, pinned) = match ca_file {
        None => (system_roots(), Vec::new()),
        Some(path) => {
            let pinned = certificates(path)?;
            let mut roots = RootCertStore::empty();
            let (_, refused) = roots.add_parsable_certificates(pinned.iter().cloned());
            if roots.is_empty() {
                let error = format!("{refused} certificates, none of which can be read");
                return Err(SetupError::Unusable { path: path.to_owned(), error });
            }
            (Arc::new(roots), pinned)
        }
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
    Ok(verify::Trust { verifier, pinned: pinned.into() })
}

/// ring, made once.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

/// The system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), or Mozilla's as built in where the system
/// has none: read once, because every target shares them.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| Arc::new(read_system_roots())).clone()
}

fn read_system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let error = found.errors.first().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(error, "this system has no certificate authorities: trusting those built in");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    let unreadable = |error| SetupError::Unreadable { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    file::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(unreadable(io::Error::other(format!("larger than {FILE_LIMIT} bytes"))));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let unusable =
        |error: rustls::pki_types::pem::Error| SetupError::Unusable { path: path.to_owned(), error: error.to_string() };
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&read(path)?).collect::<Result<_, _>>().map_err(unusable)?;
    if certificates.is_empty() {
        return Err(SetupError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SetupError> {
    // The parser's own error is left out: it may quote the file.
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| SetupError::Empty { path: path.to_owned(), what: "private key" })
}

fn failure_of_handshake(error: &io::Error, facts: &TlsFacts, host: &str) -> (Failure, Option<Problem>) {
    let failure = failure_of_io("tls", error);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(inner) => {
            let problem = Problem::of(inner, facts.chain.first());
            (Failure { error: verify::explain(inner, facts, host), ..failure }, Some(problem))
        }
        None => (failure, None),
    }
}
