use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::fake::{Seen, Server, read_to_end};
use crate::net::{Connection, DialError, Net, NetSettings, within};

/// A certificate authority, and what it made.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    /// A file that holds the authority's certificate.
    pub fn file(&self) -> tempfile::NamedTempFile {
        pem_file(&self.pem)
    }
}

fn pem_file(pem: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    file
}

/// A certificate for one name, good until 2099.
pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

/// As [`params`], but over since 2020.
pub(crate) fn expired(name: &str) -> CertificateParams {
    let mut params = params(name);
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    params
}

pub(crate) fn acceptor(identity: &Identity) -> TlsAcceptor {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    acceptor_with(builder.with_no_client_auth(), identity)
}

fn acceptor_with(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    identity: &Identity,
) -> TlsAcceptor {
    let key = PrivatePkcs8KeyDer::from(identity.key.serialize_der());
    let chain = vec![identity.certificate.der().clone()];
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key.into()).unwrap()))
}

/// Shakes hands, then waits for the client to close. A completed handshake counts as one byte written.
async fn server(acceptor: TlsAcceptor) -> Server {
    Server::start(move |stream: TcpStream, seen: Arc<Seen>| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                seen.written.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                read_to_end(&mut stream).await;
            }
        }
    })
    .await
}

fn completed(server: &Server) -> u64 {
    server.seen.written.load(std::sync::atomic::Ordering::SeqCst)
}

fn trusting(ca: &Path) -> TlsSettings {
    TlsSettings { ca_file: Some(ca.to_owned()), ..TlsSettings::default() }
}

async fn dial(address: SocketAddr, settings: TlsSettings) -> Result<Connection, Box<DialError>> {
    let net = Net::new(NetSettings::default());
    let tls = Tls::new(settings, None);
    within(Duration::from_secs(5), net.dial("localhost", address.port(), Some(&tls))).await.unwrap()
}

#[tokio::test]
async fn a_trusted_server_is_spoken_to_and_its_certificate_is_known() {
    let authority = Authority::new();
    let (ca, server) = (authority.file(), server(acceptor(&authority.issue(params("localhost")))).await);
    let connection = dial(server.address, trusting(ca.path())).await.ok().unwrap();
    let facts = connection.tls.unwrap();
    assert!(facts.verified);
    assert_eq!(facts.version, Some("TLS 1.3"));
    let own = &facts.chain[0];
    assert_eq!((own.subject.as_str(), own.issuer.as_str()), ("CN=localhost", "CN=Test Authority"));
    assert_eq!(own.sans, ["localhost"]);
    assert_eq!(facts.earliest_expiry(), Some(4_070_908_800));
    assert_eq!(own.sha256.len(), 64);
    let phases: Vec<&str> = connection.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, ["resolve", "connect", "tls"]);
}

/// Refused, with the certificate known all the same, and without completing the handshake.
async fn assert_refused(identity: Identity, settings: TlsSettings, not_after: i64, words: &str) {
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
        let server = server(acceptor_with(builder.with_no_client_auth(), &identity)).await;
        let error = dial(server.address, settings.clone()).await.err().unwrap();
        assert_eq!(error.failure.reason, Reason::Tls);
        assert!(error.failure.error.contains(words), "{}", error.failure);
        let facts = error.tls.unwrap();
        assert!(!facts.verified);
        assert_eq!(facts.earliest_expiry(), Some(not_after));
        let version = if versions[0].version == rustls::ProtocolVersion::TLSv1_2 { "TLS 1.2" } else { "TLS 1.3" };
        assert_eq!(facts.version, Some(version));
        assert!(server.is_left_alone_after(1).await);
        assert_eq!(completed(&server), 0);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_its_end_is_known() {
    let authority = Authority::new();
    let ca = authority.file();
    let identity = authority.issue(expired("localhost"));
    let words = "the certificate of localhost has expired on 2020-01-01T00:00:00Z";
    assert_refused(identity, trusting(ca.path()), 1_577_836_800, words).await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused_and_known() {
    let authority = Authority::new();
    let ca = authority.file();
    let identity = authority.issue(params("other.example"));
    let words = "the certificate is not for localhost but for other.example";
    assert_refused(identity, trusting(ca.path()), 4_070_908_800, words).await;
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_and_known() {
    let key = KeyPair::generate().unwrap();
    let identity = Identity { certificate: params("localhost").self_signed(&key).unwrap(), key };
    let ca = Authority::new().file();
    let words = "the certificate's issuer is not trusted (CN=localhost): name its authority in `ca_file`";
    assert_refused(identity, trusting(ca.path()), 4_070_908_800, words).await;
}

#[tokio::test]
async fn a_certificate_that_calls_itself_an_authority_is_refused_in_words() {
    let key = KeyPair::generate().unwrap();
    let mut params = params("localhost");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let identity = Identity { certificate: params.self_signed(&key).unwrap(), key };
    let ca = Authority::new().file();
    let words = "the certificate of localhost has signed itself (CN=localhost): name it in `ca_file` to trust it";
    assert_refused(identity, trusting(ca.path()), 4_070_908_800, words).await;
}

#[tokio::test]
async fn without_verification_the_verdict_is_still_known() {
    let identity = Authority::new().issue(expired("other.example"));
    let server = server(acceptor(&identity)).await;
    let settings = TlsSettings { insecure_skip_verify: true, ..TlsSettings::default() };
    let facts = dial(server.address, settings).await.ok().unwrap().tls.unwrap();
    assert!(!facts.verified);
    assert_eq!(facts.version, Some("TLS 1.3"));
    assert_eq!(facts.earliest_expiry(), Some(1_577_836_800));
}

/// `openssl req -x509` makes authorities of its self-signed certificates.
#[tokio::test]
async fn a_server_s_own_certificate_in_the_ca_file_is_trusted_for_its_name_and_time() {
    let mut cases =
        [(params("localhost"), None), (expired("localhost"), Some("expired")), (params("x"), Some("not for"))];
    for (params, words) in &mut cases {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let identity = Identity { certificate: params.self_signed(&key).unwrap(), key };
        let ca = pem_file(&identity.certificate.pem());
        let server = server(acceptor(&identity)).await;
        let dialled = dial(server.address, trusting(ca.path())).await;
        match words {
            None => assert!(dialled.is_ok()),
            Some(words) => {
                let failure = dialled.err().unwrap().failure;
                assert!(failure.error.contains(*words), "{failure}");
            }
        }
    }
}

#[tokio::test]
async fn the_name_to_verify_can_be_set() {
    let authority = Authority::new();
    let ca = authority.file();
    let server = server(acceptor(&authority.issue(params("db.internal")))).await;
    let settings = TlsSettings { server_name: Some("db.internal".to_owned()), ..trusting(ca.path()) };
    assert!(dial(server.address, settings).await.is_ok());
}

#[tokio::test]
async fn a_server_that_asks_for_our_certificate_gets_it() {
    let authority = Authority::new();
    let ca = authority.file();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(ca.path()).unwrap());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(verifier);
    let server = server(acceptor_with(builder, &authority.issue(params("localhost")))).await;
    let us = authority.issue(params("watchkeeper"));
    let (cert, key) = (pem_file(&us.certificate.pem()), pem_file(&us.key.serialize_pem()));
    let settings = TlsSettings {
        cert_file: Some(cert.path().to_owned()),
        key_file: Some(key.path().to_owned()),
        ..trusting(ca.path())
    };
    let connection = dial(server.address, settings).await.ok().unwrap();
    drop(connection);
    assert!(server.is_left_alone_after(1).await);
    assert_eq!(completed(&server), 1);
}

#[tokio::test]
async fn a_changed_ca_file_is_read_again() {
    let (before, after) = (Authority::new(), Authority::new());
    let ca = before.file();
    let server = server(acceptor(&after.issue(params("localhost")))).await;
    let net = Net::new(NetSettings::default());
    let tls = Tls::new(trusting(ca.path()), None);
    let port = server.address.port();
    assert!(net.dial("localhost", port, Some(&tls)).await.is_err());
    std::fs::write(ca.path(), format!("\n{}", after.pem)).unwrap();
    assert!(net.dial("localhost", port, Some(&tls)).await.is_ok());
}

#[tokio::test]
async fn files_of_ours_that_cannot_be_used_are_our_fault() {
    let server = Server::answering("").await;
    let empty = pem_file("");
    let authority = Authority::new();
    let (ca, us) = (authority.file(), authority.issue(params("us")));
    let cert = pem_file(&us.certificate.pem());
    let no_key = TlsSettings {
        cert_file: Some(cert.path().to_owned()),
        key_file: Some(empty.path().to_owned()),
        ..trusting(ca.path())
    };
    for settings in [trusting(Path::new("/nowhere/ca.pem")), trusting(empty.path()), no_key] {
        let failure = dial(server.address, settings).await.err().unwrap().failure;
        assert_eq!(failure.reason, Reason::Secret, "{failure}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_told_apart() {
    let server = Server::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        read_to_end(&mut stream).await;
    })
    .await;
    let failure = dial(server.address, TlsSettings::default()).await.err().unwrap().failure;
    assert_eq!(failure.reason, Reason::Tls);
    assert!(failure.to_string().contains("what answers does not speak TLS"), "{failure}");
}

#[tokio::test]
async fn a_handshake_that_hangs_ends_at_the_deadline() {
    let server = Server::start(|mut stream, _| async move { read_to_end(&mut stream).await }).await;
    let net = Net::new(NetSettings::default());
    let tls = Tls::new(TlsSettings::default(), None);
    let dialled = within(Duration::from_secs(2), net.dial("localhost", server.address.port(), Some(&tls))).await;
    let error = dialled.unwrap().err().unwrap();
    assert_eq!((error.failure.reason, error.failure.phase), (Reason::Timeout, "tls"));
    assert!(server.is_left_alone_after(1).await);
}
