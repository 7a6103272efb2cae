//! `REDIS_URL` as people write it.

use crate::probe::dsn::Dsn;
use crate::secret::Secret;

const DEFAULT_PORT: u16 = 6379;

/// A server to connect to, and as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: u32,
    /// `rediss://`.
    pub tls: bool,
    /// `ssl_cert_reqs=none`, as redis-py and Celery write it.
    pub unverified: bool,
}

impl Server {
    /// Reads a URL. Parameters that mean something to a driver only (`protocol`, `health_check_interval`…) are
    /// dropped. The message never repeats any of the URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let dsn =
            Dsn::parse(url).map_err(|error| format!("not a Redis URL (redis://user:password@host:6379/0): {error}"))?;
        let tls = match dsn.scheme.as_str() {
            "redis" => false,
            "rediss" => true,
            "unix" | "redis-socket" => return Err("Unix sockets are not supported: write redis://host:6379".to_owned()),
            _ => return Err("not a Redis URL: it must start with redis:// or rediss://".to_owned()),
        };
        if dsn.host.is_empty() || dsn.host.starts_with('/') {
            return Err("it names no host: write redis://localhost:6379".to_owned());
        }
        let mut server = Server {
            host: dsn.host,
            port: dsn.port.unwrap_or(DEFAULT_PORT),
            user: dsn.user,
            password: dsn.password,
            database: database(&dsn.path)?,
            tls,
            unverified: false,
        };
        for (name, value) in dsn.query {
            match name.as_str() {
                "db" => server.database = database(&value)?,
                "username" => server.user = Some(value),
                "password" => server.password = Some(Secret::new(value)),
                "ssl_cert_reqs" => server.unverified = ["none", "CERT_NONE"].contains(&value.as_str()),
                _ => {}
            }
        }
        Ok(server)
    }

    pub fn instance(&self) -> String {
        Dsn::instance(&self.host, self.port)
    }
}

fn database(text: &str) -> Result<u32, String> {
    match text.trim_end_matches('/') {
        "" => Ok(0),
        digits => digits.parse().map_err(|_| "its database is not a number: write redis://host:6379/0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Server {
        Server::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_are_read_as_every_client_writes_them() {
        let plain = parse("redis://cache");
        assert_eq!((plain.host.as_str(), plain.port, plain.database, plain.tls), ("cache", 6379, 0, false));
        assert_eq!(parse("redis://cache:6379/0?protocol=3"), plain);
        assert_eq!(parse("redis://cache/"), plain);
        let secured = parse("rediss://app:s%40fe@cache:6380/2?ssl_cert_reqs=none");
        assert_eq!((secured.tls, secured.unverified, secured.database), (true, true, 2));
        assert_eq!((secured.user.as_deref(), secured.password.unwrap().expose()), (Some("app"), "s@fe"));
        assert_eq!(parse("redis://:pw@h?db=3").database, 3);
        assert_eq!(parse("redis://:pw@[::1]:7").instance(), "[::1]:7");
    }

    #[test]
    fn what_cannot_be_watched_is_refused_by_name() {
        for (url, part) in [
            ("unix:///run/redis.sock", "Unix"),
            ("redis:///run/redis.sock", "no host"),
            ("redis://a:1,b:2", "several hosts"),
            ("redis://h/cache", "not a number"),
            ("cache:6379,password=hunter2", "redis://"),
            ("http://cache", "redis://"),
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
