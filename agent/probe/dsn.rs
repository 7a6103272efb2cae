//! The URLs of databases, as people write them in `DATABASE_URL` and `REDIS_URL`.
//!
//! Split by hand, with libpq's rules: a URL library would read `#` in a password as a fragment, and would
//! put the piece that it cannot read (it may be a password) into its error.

use crate::secret::Secret;

/// The parts of `scheme://user:password@host:port/path?name=value&…`, percent-decoded.
#[derive(Debug, PartialEq)]
pub struct Dsn {
    /// Without what follows a `+` (`postgresql+asyncpg` is `postgresql`), in lower case.
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// A name or an address; IPv6 without its brackets.
    pub host: String,
    pub port: Option<u16>,
    /// Without its slash.
    pub path: String,
    pub query: Vec<(String, String)>,
}

const ENCODE: &str = "a / ? @ or % in a user name or password must be percent-encoded (%2F %3F %40 %25)";

impl Dsn {
    /// Splits a URL. The message never repeats any of it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (scheme, rest) =
            url.trim().split_once("://").ok_or("it is not a URL: scheme://user:password@host:port/…")?;
        let scheme = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        if path.contains('@') || (query.contains('@') && !authority.contains('@')) {
            return Err(format!("it has an @ after its host: {ENCODE}"));
        }
        let (user, password, address) = split_user(authority);
        if address.contains(',') {
            return Err("it names several hosts: watch each of them as a target of its own".to_owned());
        }
        let (host, port) = split_port(address)?;
        Ok(Dsn {
            scheme,
            user,
            password,
            host,
            port,
            path: decode(path.trim_start_matches('/')),
            query: query.split('&').filter(|pair| !pair.is_empty()).map(split_pair).collect(),
        })
    }

    /// `host:port`, with brackets around an IPv6 address.
    pub fn instance(host: &str, port: u16) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn split_user(authority: &str) -> (Option<String>, Option<Secret>, &str) {
    let Some((login, address)) = authority.rsplit_once('@') else { return (None, None, authority) };
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(Secret::new(decode(password)))),
        None => (login, None),
    };
    ((!user.is_empty()).then(|| decode(user)), password.filter(|password| !password.expose().is_empty()), address)
}

fn split_port(address: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let port = match port {
        "" => None,
        digits => Some(parse_port(digits)?),
    };
    Ok((decode(host), port))
}

/// A TCP port. The message does not repeat the text, which may be a piece of a password.
pub fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("its port is not a number from 1 to 65535; {ENCODE}"))
}

fn split_pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (decode(name), decode(value))
}

/// Percent-decoding; a `%` that starts no escape stays. What is not UTF-8 afterwards is replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|hex| byte == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            None => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The fuzz loop of everything that reads such a URL: no message repeats any of it. `read` gives the instance.
#[cfg(test)]
pub fn fuzz(read: impl Fn(&str) -> Result<String, String>) {
    let seeds = [
        "postgresql+asyncpg://me:hunter2@db.example:5432/app?sslmode=verify-full&schema=public",
        "postgres://:hunter2@[::1]:6379/0?hunter2=hunter2",
        "rediss://:hunter2@[::1]:6379/0?hunter2=hunter2",
        "redis://me:hunter2@cache",
    ];
    let tokens =
        ["@", ":", "/", "?", "&", "=", "%", "%40", "%zz", "[", "]", ",", "#", "+", "://", "65536", "pgbouncer=true"];
    crate::fuzz::texts(2_000, &seeds, &tokens, |url| match read(url) {
        Ok(instance) => assert!(instance.contains(':')),
        Err(error) => assert!(!error.contains("hunter2"), "{error}"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(url: &str) -> (Option<String>, Option<String>, String, Option<u16>) {
        let dsn = Dsn::parse(url).unwrap();
        (dsn.user, dsn.password.map(|password| password.expose().to_owned()), dsn.host, dsn.port)
    }

    #[test]
    fn all_parts_are_split_and_decoded() {
        let dsn = Dsn::parse("PostgreSQL+asyncpg://us%40er:p%2Fw%3a%25@db.example:65004/my%20db?a=1&b=%26&c").unwrap();
        assert_eq!(dsn.scheme, "postgresql");
        assert_eq!(dsn.user.as_deref(), Some("us@er"));
        assert_eq!(dsn.password.unwrap().expose(), "p/w:%");
        assert_eq!((dsn.host.as_str(), dsn.port, dsn.path.as_str()), ("db.example", Some(65004), "my db"));
        let query: Vec<_> = dsn.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(query, [("a", "1"), ("b", "&"), ("c", "")]);
    }

    #[test]
    fn logins_are_read_as_they_are_written() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(login("redis://h"), (None, None, "h".to_owned(), None));
        assert_eq!(login("redis://:pw@h:1"), (None, some("pw"), "h".to_owned(), Some(1)));
        assert_eq!(login("redis://u@h/0"), (some("u"), None, "h".to_owned(), None));
        assert_eq!(login("redis://u:p@ss#100%@[::1]:7"), (some("u"), some("p@ss#100%"), "::1".to_owned(), Some(7)));
        assert_eq!(login("redis://u:a:b@h?x=y@z"), (some("u"), some("a:b"), "h".to_owned(), None));
    }

    #[test]
    fn an_error_never_repeats_a_piece_of_the_password() {
        for url in ["db://u:hunter/2@h/db", "db://u:hunter?2@h", "db://u:hunter2", "hunter2", "db://h:0/hunter2"] {
            let error = Dsn::parse(url).unwrap_err();
            assert!(!error.contains("hunter"), "{error}");
        }
    }

    #[test]
    fn several_hosts_are_refused_by_name() {
        assert!(Dsn::parse("postgres://a:1,b:2/db").unwrap_err().contains("several hosts"));
    }

    #[test]
    fn an_instance_is_host_and_port() {
        assert_eq!(Dsn::instance("db", 5432), "db:5432");
        assert_eq!(Dsn::instance("::1", 5432), "[::1]:5432");
    }
}
