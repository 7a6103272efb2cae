//! `DATABASE_URL` as people write it, for every driver and ORM there is, reduced to what libpq would make of it.

use std::path::PathBuf;

use crate::probe::dsn::{self, Dsn};
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 5432;

/// A server to connect to, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    /// `None`: the name of the operating system's user, as with libpq.
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// `None`: the user's name, as with libpq.
    pub database: Option<String>,
    /// What `options=` asks of the server at the start (`-c search_path=…`, a Neon endpoint).
    pub options: Option<String>,
    /// `None`: the URL does not say.
    pub sslmode: Option<SslMode>,
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// `channel_binding=require`: the server must prove that it ends this TLS connection.
    pub channel_binding: bool,
}

/// libpq's `sslmode`. `allow` is read as `prefer`: both end up with or without TLS as the server wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    /// TLS where the server offers it, unverified.
    Prefer,
    /// TLS, unverified; with `sslrootcert`, the chain is verified.
    Require,
    /// The chain is verified, the name is not.
    VerifyCa,
    VerifyFull,
}

impl Server {
    /// Reads a URL. Parameters that mean something to a driver only (`schema`, `pgbouncer`,
    /// `connection_limit`…) are dropped. The message never repeats any of the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let dsn = Dsn::parse(url)
            .map_err(|error| format!("not a PostgreSQL URL (postgres://user:password@host:5432/database): {error}"))?;
        if !["postgres", "postgresql"].contains(&dsn.scheme.as_str()) {
            return Err("not a PostgreSQL URL: it must start with postgres:// or postgresql://".to_owned());
        }
        let mut server = Server {
            host: dsn.host,
            port: dsn.port.unwrap_or(DEFAULT_PORT),
            user: dsn.user,
            password: dsn.password,
            database: Some(dsn.path).filter(|path| !path.is_empty()),
            options: None,
            sslmode: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            channel_binding: false,
        };
        for (name, value) in dsn.query {
            server.set(&name, value)?;
        }
        server.finish()
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "host" => self.host = value,
            "port" => self.port = dsn::parse_port(&value)?,
            "user" => self.user = Some(value),
            "password" => self.password = Some(Secret::new(value)),
            "dbname" => self.database = Some(value),
            "options" => self.options = Some(value),
            "sslmode" | "ssl" => self.sslmode = Some(sslmode(&value)?),
            "sslrootcert" if value == "system" => self.sslmode = Some(SslMode::VerifyFull),
            "sslrootcert" => self.ca_file = Some(value.into()),
            "sslcert" => self.cert_file = Some(value.into()),
            "sslkey" => self.key_file = Some(value.into()),
            "channel_binding" => self.channel_binding = value == "require",
            "sslnegotiation" if value == "direct" => {
                return Err("sslnegotiation=direct is not supported: leave it out, servers take both".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Self, String> {
        if self.host.is_empty() || self.host.starts_with(['/', '@']) {
            return Err("it names a Unix socket or no host: name a host, as in postgres://user@localhost/db".to_owned());
        }
        if self.host.contains(',') {
            return Err("it names several hosts: watch each of them as a target of its own".to_owned());
        }
        if self.sslmode == Some(SslMode::Require) && self.ca_file.is_some() {
            self.sslmode = Some(SslMode::VerifyCa);
        }
        Ok(self)
    }

    pub fn instance(&self) -> String {
        Dsn::instance(&self.host, self.port)
    }
}

/// `sslmode=` in libpq's words, `ssl=` in those of asyncpg, node-postgres and JDBC.
fn sslmode(text: &str) -> Result<SslMode, String> {
    Ok(match text {
        "disable" | "false" | "0" => SslMode::Disable,
        "allow" | "prefer" => SslMode::Prefer,
        "require" | "no-verify" | "true" | "1" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => return Err("its sslmode is none of disable, allow, prefer, require, verify-ca, verify-full".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Server {
        Server::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn every_driver_s_url_leads_to_the_same_server() {
        let plain = parse("postgres://app:secret@db:5433/shop");
        for url in [
            "postgresql://app:secret@db:5433/shop",
            "postgresql+asyncpg://app:secret@db:5433/shop",
            "postgresql+psycopg2://app:secret@db:5433/shop?prepared_statement_cache_size=0",
            "postgres://app:secret@db:5433/shop?schema=public&pgbouncer=true&connection_limit=1",
            "postgresql://db/?user=app&password=secret&port=5433&dbname=shop",
            "postgres://app:secret@db:5433/shop?connect_timeout=10&application_name=x&target_session_attrs=any",
        ] {
            assert_eq!(parse(url), plain, "{url}");
        }
        assert_eq!(plain.instance(), "db:5433");
        assert_eq!(plain.password.unwrap().expose(), "secret");
    }

    #[test]
    fn what_is_left_out_is_libpq_s_default() {
        let server = parse("postgres://localhost");
        assert_eq!((server.port, server.user, server.database, server.sslmode), (5432, None, None, None));
    }

    #[test]
    fn sslmode_means_what_libpq_means() {
        let mode = |query: &str| parse(&format!("postgres://h/d?{query}")).sslmode;
        assert_eq!(mode("sslmode=disable"), Some(SslMode::Disable));
        assert_eq!(mode("sslmode=allow"), Some(SslMode::Prefer));
        assert_eq!(mode("sslmode=require"), Some(SslMode::Require));
        assert_eq!(mode("sslmode=require&sslrootcert=ca.pem"), Some(SslMode::VerifyCa));
        assert_eq!(mode("sslmode=verify-full"), Some(SslMode::VerifyFull));
        assert_eq!(mode("sslrootcert=system"), Some(SslMode::VerifyFull));
        assert_eq!(mode("ssl=true"), Some(SslMode::Require));
        assert!(Server::parse("postgres://h/d?sslmode=yes").unwrap_err().contains("verify-full"));
    }

    #[test]
    fn what_cannot_be_watched_is_refused_by_name() {
        for (url, part) in [
            ("postgres:///db", "Unix socket"),
            ("postgres://u:p@localhost/db?host=/var/run/postgresql", "Unix socket"),
            ("postgres://%2Fvar%2Frun/db", "Unix socket"),
            ("postgres://a,b/db", "several hosts"),
            ("postgres://u@a/db?host=a,b", "several hosts"),
            ("host=db user=app password=hunter2", "not a PostgreSQL URL"),
            ("mysql://db", "postgres://"),
            ("postgres://db/x?sslnegotiation=direct", "sslnegotiation"),
        ] {
            let error = Server::parse(url).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn any_text_is_a_url_or_refused() {
        crate::probe::dsn::fuzz(|url| Server::parse(url).map(|server| server.instance()));
    }
}
