//! A connection to a PostgreSQL server: dial, TLS as the server offers it, start-up and authentication.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_postgres::config::{ChannelBinding, SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::{Client, Config, Error, SimpleQueryMessage, tls};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error;
use super::url::{Server, SslMode};
use crate::net::tls::{Tls, TlsFacts};
use crate::net::{Net, Stream, bounded, failure_of_io};
use crate::probe::network::read_connection;
use crate::probe::wire::{Driver, Meter, Metered, timed};
use crate::probe::{Failure, Path, Reason, Report};

/// The most that a server may say in one look, in bytes. An answer with 64 groups of the longest names has 32 KiB.
const LIMIT: usize = 256 * 1024;
/// The SSLRequest message: its length, and the code 1234.5679 (PostgreSQL documentation, 55.7 Message Formats).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// An authenticated connection, and what it was opened with.
pub struct Session {
    client: Client,
    pub driver: Driver<Result<(), Error>>,
    pub server: Server,
}

/// What a connection is opened with.
pub struct Opening<'a> {
    pub server: &'a Server,
    /// `None` where TLS is not to be asked for.
    pub tls: Option<&'a Tls>,
    pub application: &'a str,
    pub path: Path,
}

impl Session {
    /// Opens a connection. Every phase that was gone through is added to the report, also when a later one fails.
    /// A fresh look also reports the connection itself.
    pub async fn open(net: &Net, how: Opening<'_>, report: &mut Report) -> Result<Self, Failure> {
        let server = how.server;
        let (opened, facts) = dial(net, server, how.tls, report).await;
        if how.path == Path::Fresh {
            let peer = opened.as_ref().map_or_else(|failure| failure.address, |opened| Some(opened.peer));
            read_connection(report, peer, facts.as_ref());
        }
        let Opened { stream, peer, certificate_hash } = opened?;
        let meter = Meter::new(LIMIT, speaks_postgres);
        let stream = Metered { stream, meter: meter.clone(), certificate_hash };
        let config = config(server, how.application);
        let starting = bounded("startup", Some(peer), config.connect_raw(stream, Secured));
        let started = timed(report, "startup", starting).await?;
        let (client, connection) = started.map_err(|error| error::failure(&error, "startup", &meter).at(peer))?;
        Ok(Session { client, driver: Driver::spawn(connection, meter, peer), server: server.clone() })
    }

    /// One round trip of the simple protocol.
    pub async fn ask(&mut self, sql: &str, report: &mut Report) -> Result<Vec<SimpleQueryMessage>, Failure> {
        self.driver.meter.renew();
        let peer = self.driver.peer;
        let answered = timed(report, "query", bounded("query", Some(peer), self.client.simple_query(sql))).await?;
        match answered {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_closed() => Err(error::end(&mut self.driver, "query").await),
            Err(error) => Err(error::failure(&error, "query", &self.driver.meter).at(peer)),
        }
    }

    /// Takes leave of the server.
    pub async fn close(self) {
        drop(self.client);
        self.driver.close().await;
    }
}

/// What a server may say first: authentication, an error, a notice, or a protocol version. Anything else is known
/// for foreign at once, where the driver would take it for the length of a message and wait for its end.
fn speaks_postgres(previous: Option<u8>, bytes: &[u8]) -> bool {
    previous.is_some() || matches!(bytes[0], b'R' | b'E' | b'N' | b'v')
}

fn config(server: &Server, application: &str) -> Config {
    let mut config = Config::new();
    // TLS is there already where it is wanted: the driver is to ask for nothing, and to look at what it got.
    config.ssl_mode(DriverSslMode::Require).ssl_negotiation(SslNegotiation::Direct).application_name(application);
    if let Some(user) = &server.user {
        config.user(user);
    }
    if let Some(password) = &server.password {
        config.password(password.expose());
    }
    if let Some(database) = &server.database {
        config.dbname(database);
    }
    if let Some(options) = &server.options {
        config.options(options);
    }
    if server.channel_binding {
        config.channel_binding(ChannelBinding::Require);
    }
    config
}

/// A stream over which the protocol can be started.
struct Opened {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    certificate_hash: Option<Vec<u8>>,
}

async fn dial(
    net: &Net,
    server: &Server,
    tls: Option<&Tls>,
    report: &mut Report,
) -> (Result<Opened, Failure>, Option<TlsFacts>) {
    let connection = match net.dial(&server.host, server.port, None).await {
        Ok(connection) => connection,
        Err(error) => {
            report.phases.extend(error.phases);
            return (Err(error.failure), None);
        }
    };
    report.phases.extend(connection.phases);
    let (stream, peer) = (connection.stream, connection.peer);
    match tls {
        Some(tls) => timed(report, "tls", secure(stream, server, tls, peer)).await,
        None => (Ok(Opened { stream, peer, certificate_hash: None }), None),
    }
}

/// Asks the server for TLS, and does what `sslmode` wants with the answer.
async fn secure(
    mut stream: Box<dyn Stream>,
    server: &Server,
    tls: &Tls,
    peer: SocketAddr,
) -> (Result<Opened, Failure>, Option<TlsFacts>) {
    match ask_for_tls(&mut stream, server, peer).await {
        Ok(true) => {}
        Ok(false) => return (Ok(Opened { stream, peer, certificate_hash: None }), None),
        Err(failure) => return (Err(failure), None),
    }
    match tls.handshake(&server.host, stream, peer).await {
        Ok((stream, facts)) => {
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate_hash = leaf.and_then(certificate_hash);
            (Ok(Opened { stream: Box::new(stream), peer, certificate_hash }), Some(facts))
        }
        Err(error) => (Err(error.failure), error.facts),
    }
}

/// Whether to go on with TLS: the server offers it, or does not and need not.
async fn ask_for_tls(stream: &mut Box<dyn Stream>, server: &Server, peer: SocketAddr) -> Result<bool, Failure> {
    let answer = bounded("tls", Some(peer), exchange_request(stream)).await?;
    let may_go_without = server.sslmode.is_none_or(|mode| mode == SslMode::Prefer);
    let (reason, error) = match answer.map_err(|error| failure_of_io("tls", &error).at(peer))? {
        b'S' => return Ok(true),
        b'N' if may_go_without => return Ok(false),
        b'N' => (Reason::Tls, "the server does not offer TLS, which the settings ask for"),
        b'E' => (Reason::NotServing, "the server refused the connection before TLS"),
        _ => (Reason::Protocol, "the server answers in another protocol"),
    };
    Err(Failure::new(reason, "tls", error).at(peer))
}

/// One byte is read, so that nothing sent in the clear is taken for something said over TLS.
async fn exchange_request(stream: &mut Box<dyn Stream>) -> io::Result<u8> {
    stream.write_all(&SSL_REQUEST).await?;
    stream.flush().await?;
    stream.read_u8().await
}

/// The hash of a certificate that `tls-server-end-point` binds to (RFC 5929, section 4.1): that of its signature,
/// SHA-256 where that is older. `None` for signatures without one (Ed25519).
fn certificate_hash(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // RSA with MD5, SHA-1, SHA-256; ECDSA with SHA-1, SHA-256
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.113549.1.1.11" => {
            Sha256::digest(certificate).to_vec()
        }
        "1.2.840.10045.4.1" | "1.2.840.10045.4.3.2" => Sha256::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Sha384::digest(certificate).to_vec(),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Sha512::digest(certificate).to_vec(),
        _ => return None,
    })
}

/// Tells the driver that its stream is as secure as it will be.
struct Secured;

impl tls::TlsConnect<Metered> for Secured {
    type Stream = Metered;
    type Error = io::Error;
    type Future = Ready<io::Result<Metered>>;

    fn connect(self, stream: Metered) -> Self::Future {
        ready(Ok(stream))
    }
}

impl tls::TlsStream for Metered {
    fn channel_binding(&self) -> tls::ChannelBinding {
        match &self.certificate_hash {
            Some(hash) => tls::ChannelBinding::tls_server_end_point(hash.clone()),
            None => tls::ChannelBinding::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_postgresql_is_known_by_its_first_byte() {
        assert!(speaks_postgres(None, b"R\0\0\0\x08\0\0\0\0"));
        assert!(speaks_postgres(Some(0), b"HTTP"));
        assert!(!speaks_postgres(None, b"HTTP/1.1 400 Bad Request"));
        assert!(!speaks_postgres(None, b"-ERR unknown command"));
    }

    #[test]
    fn channel_binding_takes_the_hash_of_the_certificate_s_signature() {
        for (algorithm, bytes) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let signed = rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap().self_signed(&key).unwrap();
            assert_eq!(certificate_hash(signed.der()).map(|hash| hash.len()), bytes);
        }
    }
}
