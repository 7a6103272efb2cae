//! The kind `tls` against real handshakes: what is wrong is told apart, and the certificate is known all the same.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use serde_json::Value;

use crate::support::agent::Setup;
use crate::support::tcp::TcpService;
use crate::support::wait::{SOON, until};

const END_OF_2020: i64 = 1_609_372_800;
const START_OF_2099: i64 = 4_070_908_800;

/// Who signs, and its own certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: Certificate,
}

impl Authority {
    pub fn root() -> Self {
        Self::named("Root")
    }

    fn named(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    pub fn issue(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        Identity { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }
}

/// What a server shows, its own certificate first.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn with(mut self, authority: &Authority) -> Self {
        self.chain.push(authority.certificate.der().clone());
        self
    }

    pub fn config(&self, versions: &[&'static SupportedProtocolVersion], clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        builder.with_single_cert(self.chain.clone(), self.key.clone_key()).unwrap()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

pub fn server(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = named(name);
    params.not_after = date_time_ymd(2099, 1, 1);
    params
}

pub fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 12, 31));
    params
}

fn not_yet(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2098, 1, 1);
    params
}

fn ends_soon(mut params: CertificateParams) -> CertificateParams {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(10 * 24);
    let end = end.to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = |part: i8| u8::try_from(part).unwrap();
    params.not_after = date_time_ymd(end.year().into(), day(end.month()), day(end.day()));
    params
}

/// Shakes hands as configured at that moment, then waits for the other side to close.
fn listen(config: Arc<Mutex<Arc<ServerConfig>>>) -> TcpService {
    TcpService::start(move |stream: &mut TcpStream| {
        let config = config.lock().unwrap().clone();
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.complete_io(stream).is_ok_and(|(read, written)| read + written > 0) {}
    })
}

fn serving(config: ServerConfig) -> TcpService {
    listen(Arc::new(Mutex::new(Arc::new(config))))
}

pub const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];
const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

/// What `watchkeeper probe --json` said of one server.
struct Seen {
    code: Option<i32>,
    said: Value,
}

impl Seen {
    fn sample(&self, name: &str) -> Option<&Value> {
        self.said["samples"].as_array().unwrap().iter().find(|sample| sample["name"] == name)
    }

    fn expiry(&self) -> Option<i64> {
        self.sample("probe_ssl_earliest_cert_expiry").and_then(|sample| sample["value"].as_f64()).map(|at| at as i64)
    }

    fn result(&self) -> &str {
        self.sample("watchkeeper_tls_verification")
            .map_or("none", |sample| sample["labels"]["result"].as_str().unwrap())
    }

    fn error(&self) -> &str {
        self.said["failure"]["error"].as_str().unwrap_or_default()
    }
}

/// One look at `localhost`, trusting the root; `more` are further settings.
fn look(root: &Authority, service: &TcpService, more: &str) -> Seen {
    let setup = Setup::without_configuration();
    setup.write("ca.pem", &root.certificate.pem());
    let text = format!(
        "targets: {{c: {{tls: {{address: 'localhost:{}', ca_file: ca.pem{more}}}, interval: 20s, timeout: 20s}}}}",
        service.port
    );
    let path = setup.configure(&text).display().to_string();
    let ended =
        setup.argument("probe").argument("--json").argument("--config").argument(&path).argument("c").run_to_end();
    let said = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    Seen { code: ended.code, said }
}

#[test]
fn a_good_certificate_is_known_with_its_end_and_its_version() {
    let root = Authority::root();
    let between = root.below(authority("Between"));
    let service = serving(between.issue(server("localhost")).with(&between).config(BOTH, None));
    let seen = look(&root, &service, ", min_version: 1.3");
    assert_eq!((seen.code, seen.result(), seen.expiry()), (Some(0), "ok", Some(START_OF_2099)), "{}", seen.said);
    assert_eq!(seen.sample("probe_tls_version_info").unwrap()["labels"]["version"], "TLS 1.3");
    let own = &seen.sample("probe_ssl_last_chain_info").unwrap()["labels"];
    assert_eq!((own["subject"].as_str(), own["issuer"].as_str()), (Some("CN=localhost"), Some("CN=Between")));
    assert_eq!(own["subjectalternative"], "localhost");
}

#[test]
fn a_certificate_in_its_last_two_weeks_is_a_warning() {
    let root = Authority::root();
    let service = serving(root.issue(ends_soon(server("localhost"))).config(BOTH, None));
    let seen = look(&root, &service, "");
    assert_eq!((seen.code, seen.result()), (Some(1), "ok"), "{}", seen.said);
    assert!(seen.said["warnings"][0].as_str().unwrap().starts_with("the certificate ends in "), "{}", seen.said);
}

/// Each is critical, with its own result, words that say what to do, and the certificate's end.
#[test]
fn what_is_wrong_is_told_apart_and_the_certificate_is_known() {
    let root = Authority::root();
    let (between, over) = (root.below(authority("Between")), root.below(expired(authority("Over"))));
    let (stranger, renewed) = (Authority::named("Stranger"), Authority::root());
    let cases = [
        (root.issue(expired(server("localhost"))), "expired", END_OF_2020, "has expired on 2020-12-31T00:00:00Z"),
        (root.issue(not_yet(server("localhost"))), "not_yet_valid", START_OF_2099, "is not valid before 2098-01-01"),
        (root.issue(server("other.example")), "wrong_host", START_OF_2099, "not for localhost but for other.example"),
        (
            renewed.issue(server("localhost")),
            "unknown_issuer",
            START_OF_2099,
            "CN=Root is trusted, but with another key",
        ),
        (stranger.issue(server("localhost")), "unknown_issuer", START_OF_2099, "name its authority in `ca_file`"),
        (
            between.issue(server("localhost")),
            "unknown_issuer",
            START_OF_2099,
            "or have the server send what lies between",
        ),
        (
            over.issue(server("localhost")).with(&over),
            "bad_chain",
            END_OF_2020,
            "a certificate in the chain of localhost (CN=Over) has expired on 2020-12-31T00:00:00Z",
        ),
    ];
    for (identity, result, expiry, words) in cases {
        for versions in [BOTH, OLD] {
            let seen = look(&root, &serving(identity.config(versions, None)), "");
            assert_eq!((seen.code, seen.result(), seen.expiry()), (Some(2), result, Some(expiry)), "{}", seen.said);
            assert_eq!(seen.said["failure"]["reason"], "tls");
            assert!(seen.error().contains(words), "{result}: {}", seen.error());
        }
        let seen = look(&root, &serving(identity.config(BOTH, None)), ", insecure_skip_verify: true");
        assert_eq!(
            (seen.code == Some(2), seen.result()),
            (false, result),
            "it goes on and still says so: {}",
            seen.said
        );
    }
}

#[test]
fn a_server_that_speaks_only_an_older_version_than_wanted_is_refused_and_known() {
    let root = Authority::root();
    let service = serving(root.issue(server("localhost")).config(OLD, None));
    let seen = look(&root, &service, ", min_version: 1.3");
    assert_eq!((seen.code, seen.result(), seen.expiry()), (Some(2), "protocol_version", Some(START_OF_2099)));
    assert!(seen.error().contains("speaks TLS 1.2 at most, and TLS 1.3 is the least"), "{}", seen.error());
    assert_eq!(look(&root, &service, ", min_version: 1.2").code, Some(0));
}

#[test]
fn a_server_that_wants_to_know_who_we_are_refuses() {
    let root = Authority::root();
    let service = serving(root.issue(server("localhost")).config(OLD, Some(&root)));
    let seen = look(&root, &service, "");
    assert_eq!((seen.code, seen.result()), (Some(2), "refused"), "{}", seen.said);
    assert_eq!(seen.expiry(), Some(START_OF_2099));
}

#[test]
fn what_does_not_speak_tls_is_told_apart() {
    let root = Authority::root();
    let seen = look(&root, &TcpService::say(b"220 mail ESMTP\r\n"), "");
    assert_eq!((seen.code, seen.result(), seen.expiry()), (Some(2), "not_tls", None), "{}", seen.said);
    let mut gone = TcpService::silent();
    gone.stop();
    assert_eq!(look(&root, &gone, "").result(), "none", "it did not come to a handshake");
}

#[test]
fn a_certificate_that_expires_takes_its_target_down_until_it_is_renewed() {
    let root = Authority::root();
    let config = |params| Arc::new(root.issue(params).config(BOTH, None));
    let current = Arc::new(Mutex::new(config(expired(server("localhost")))));
    let service = listen(current.clone());
    let text = format!(
        "defaults: {{interval: 200ms, confirm: 50ms}}\n\
         targets: {{c: {{tls: {{address: 'localhost:{}', ca_file: ca.pem}}}}}}",
        service.port
    );
    let agent = Setup::new(&text).with_file("ca.pem", &root.certificate.pem()).start();
    agent.wait_for_verdict("c", false);
    let results = |result: &str| agent.metrics("watchkeeper_tls_verification", &[&format!("result=\"{result}\"")]);
    assert_eq!(results("expired"), [1.0]);
    assert_eq!(agent.metric("probe_ssl_earliest_cert_expiry"), Some(END_OF_2020 as f64));
    assert_eq!(agent.metrics("watchkeeper_target_failure", &["target=\"c\"", "reason=\"tls\""]), [1.0]);
    *current.lock().unwrap() = config(server("localhost"));
    agent.wait_for_verdict("c", true);
    until("the new certificate", SOON, || results("ok") == [1.0] && results("expired").is_empty());
    assert_eq!(agent.metric("probe_ssl_earliest_cert_expiry"), Some(START_OF_2099 as f64));
}
