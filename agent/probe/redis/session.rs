//! A connection to a Redis server: dial, TLS, authentication.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisConnectionInfo, cmd};

use super::error;
use super::url::Server;
use crate::net::tls::Tls;
use crate::net::{Net, bounded};
use crate::probe::network::dial;
use crate::probe::wire::{Driver, Meter, Metered, shown, timed};
use crate::probe::{Failure, Path, Reason, Report};

/// The most that a server may say to one command, in bytes. `INFO` of Redis 7 with 16 databases has 7 KiB.
const LIMIT: usize = 256 * 1024;

/// An authenticated connection, and what it was opened with.
pub struct Session {
    connection: MultiplexedConnection,
    pub driver: Driver<()>,
    pub server: Server,
}

impl Session {
    /// Opens a connection. Every phase that was gone through is added to the report, also when a later one fails.
    /// A fresh look also reports the connection itself.
    pub async fn open(
        net: &Net,
        server: &Server,
        tls: Option<&Tls>,
        path: Path,
        report: &mut Report,
    ) -> Result<Self, Failure> {
        let dialled = dial(net, (&server.host, server.port), tls, path, report).await;
        let connection = dialled.map_err(|error| error.failure)?;
        let peer = connection.peer;
        let meter = Meter::new(LIMIT, speaks_scalars);
        let stream = Metered { stream: connection.stream, meter: meter.clone(), certificate_hash: None };
        // With nothing in it, this says nothing to the server: what is said, and judged, is said below.
        let silent = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&silent, stream, config).await;
        let (connection, driver) = made.map_err(|error| error::failure(&error, "startup", &meter).at(peer))?;
        let driver = Driver::spawn(driver, meter, peer);
        let mut session = Session { connection, driver, server: server.clone() };
        session.enter(report).await?;
        Ok(session)
    }

    /// Says who we are, and which database we are for.
    async fn enter(&mut self, report: &mut Report) -> Result<(), Failure> {
        if let Some(password) = self.server.password.clone() {
            let user = self.server.user.clone();
            let named = self.say::<()>("startup", cmd("AUTH").arg(&user).arg(password.expose()), report).await;
            match named {
                // Before Redis 6 there are no users: the name in the URL is decoration.
                Err(failure) if user.is_some() && failure.error.contains("wrong number of arguments") => {
                    self.say::<()>("startup", cmd("AUTH").arg(password.expose()), report).await?;
                }
                named => named?,
            }
        }
        if self.server.database != 0 {
            self.say::<()>("startup", cmd("SELECT").arg(self.server.database), report).await?;
        }
        Ok(())
    }

    /// One command and its answer.
    pub async fn say<T: FromRedisValue>(
        &mut self,
        phase: &'static str,
        command: &Cmd,
        report: &mut Report,
    ) -> Result<T, Failure> {
        self.driver.meter.renew();
        let peer = self.driver.peer;
        let asking = bounded(phase, Some(peer), command.query_async(&mut self.connection));
        let answered = timed(report, phase, asking).await?;
        answered.map_err(|error| error::failure(&error, phase, &self.driver.meter).at(peer))
    }

    /// `PING` and its `PONG`.
    pub async fn ping(&mut self, report: &mut Report) -> Result<(), Failure> {
        let answer: String = self.say("query", &cmd("PING"), report).await?;
        if answer == "PONG" {
            return Ok(());
        }
        let error = format!("the server answers PING with {:?}", shown(&answer));
        Err(Failure::new(Reason::Protocol, "query", error).at(self.driver.peer))
    }

    /// Resolves when the connection is over, with the reason. Cancel-safe; not to be called again then.
    pub async fn end(&mut self) -> Failure {
        self.driver.over().await;
        error::end("held", &self.driver.meter).at(self.driver.peer)
    }

    /// Takes leave of the server.
    pub async fn close(self) {
        drop(self.connection);
        self.driver.close().await;
    }
}

/// What a server may say: errors, strings and numbers, for nothing else is ever asked. An answer made of many (its
/// lines start with one of `*%~>|`, which no line of `INFO` does) would make the driver set memory aside for as
/// many as it announces, at every depth.
fn speaks_scalars(previous: Option<u8>, bytes: &[u8]) -> bool {
    if previous.is_none() && !matches!(bytes[0], b'+' | b'-' | b'$' | b':') {
        return false;
    }
    let starts_line = |at: usize| match at {
        0 => previous == Some(b'\n'),
        at => bytes[at - 1] == b'\n',
    };
    !bytes.iter().enumerate().any(|(at, byte)| b"*%~>|".contains(byte) && starts_line(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scalars_are_listened_to() {
        assert!(speaks_scalars(None, b"+PONG\r\n$4\r\n# Se\r\n"));
        assert!(speaks_scalars(Some(b'\n'), b"a:*%~>|\r\n"));
        assert!(!speaks_scalars(None, b"HTTP/1.1 400"));
        assert!(!speaks_scalars(None, b"*1\r\n"));
        assert!(!speaks_scalars(Some(b'\n'), b"*1\r\n"));
        assert!(!speaks_scalars(Some(b'x'), b"\r\n%1\r\n"));
    }
}
