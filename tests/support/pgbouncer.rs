//! PgBouncer in front of a PostgreSQL of the test's own.

use std::net::TcpStream;
use std::path::Path;

use super::place::{as_ordinary_user, folder, free_port, give_to_ordinary_user, run};
use super::postgres::{PROGRAMS, Postgres};
use super::process::Process;
use super::wait::{SOON, until};

/// A PgBouncer of a test's own, in transaction mode. Dropping it ends it.
pub struct PgBouncer {
    pub port: u16,
    folder: tempfile::TempDir,
    _process: Process,
}

impl PgBouncer {
    /// In front of a server; `settings` are lines of its `[pgbouncer]` section.
    #[track_caller]
    pub fn before(server: &Postgres, settings: &str) -> Self {
        let (port, folder) = (free_port(), folder());
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = users\npool_mode = transaction\n{settings}\n",
            server.port
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), text).expect("a file in a folder of our own");
        std::fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").expect("a file in a folder of our own");
        give_to_ordinary_user(folder.path());
        let mut command = as_ordinary_user(Path::new("/usr/sbin/pgbouncer"));
        let process = Process::start(command.arg("pgbouncer.ini"), folder.path());
        until("PgBouncer to listen", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        PgBouncer { port, folder, _process: process }
    }

    /// As an application writes it.
    pub fn url(&self) -> String {
        format!("postgresql+asyncpg://postgres@127.0.0.1:{}/postgres?pgbouncer=true&schema=public", self.port)
    }

    /// Runs SQL through it: the rows, one a line.
    #[track_caller]
    pub fn execute(&self, sql: &str) -> String {
        let mut psql = std::process::Command::new(Path::new(PROGRAMS).join("psql"));
        psql.args(["-XAtq", "-c", sql, &format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)]);
        run(psql.current_dir(self.folder.path())).trim().to_owned()
    }
}
