//! PostgreSQL behind PgBouncer in transaction mode.

use std::net::TcpStream;
use std::path::Path as FilePath;

use watchkeeper::probe::{Path, Reason};

use super::{failed, good, look, prober, value};
use crate::support::place::{as_ordinary_user, folder, free_port, give_to_ordinary_user};
use crate::support::postgres::{PROGRAMS, Postgres, Stop};
use crate::support::process::Process;
use crate::support::wait::{SOON, until};

struct PgBouncer {
    port: u16,
    folder: tempfile::TempDir,
    _process: Process,
}

impl PgBouncer {
    fn before(server: &Postgres, settings: &str) -> Self {
        let (port, folder) = (free_port(), folder());
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = users\npool_mode = transaction\n{settings}\n",
            server.port
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), text).unwrap();
        std::fs::write(folder.path().join("users"), "\"postgres\" \"\"\n").unwrap();
        give_to_ordinary_user(folder.path());
        let mut command = as_ordinary_user(FilePath::new("/usr/sbin/pgbouncer"));
        let process = Process::start(command.arg("pgbouncer.ini"), folder.path());
        until("PgBouncer to listen", SOON, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        PgBouncer { port, folder, _process: process }
    }

    fn url(&self) -> String {
        format!("postgresql+asyncpg://postgres@127.0.0.1:{}/postgres?pgbouncer=true&schema=public", self.port)
    }

    fn execute(&self, sql: &str) -> String {
        let mut psql = std::process::Command::new(FilePath::new(PROGRAMS).join("psql"));
        psql.args(["-XAtq", "-c", sql, &format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)]);
        crate::support::place::run(psql.current_dir(self.folder.path())).trim().to_owned()
    }
}

#[tokio::test]
async fn both_looks_go_through_and_leave_nothing_behind() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server, "default_pool_size = 1");
    let mut prober = prober(&pooler.url());
    for _ in 0..5 {
        good(look(&mut prober, Path::Fresh).await);
        let held = good(look(&mut prober, Path::Held).await);
        assert_eq!(value(&held, "pg_up", &[]), 1.0);
        // The one connection of the pool is the one that the looks have used.
        assert_eq!(pooler.execute("SHOW statement_timeout"), "0");
    }
}

#[tokio::test]
async fn a_pooler_that_is_full_is_full_and_not_down() {
    let server = Postgres::start();
    let pooler = PgBouncer::before(&server, "max_client_conn = 1");
    let (mut first, mut second) = (prober(&pooler.url()), prober(&pooler.url()));
    good(look(&mut first, Path::Held).await);
    let refused = look(&mut second, Path::Fresh).await;
    assert!(failed(&refused, Reason::Full).contains("no more connections allowed"));
    good(look(&mut first, Path::Held).await);
}

#[tokio::test]
async fn a_server_that_is_gone_behind_its_pooler_is_not_serving() {
    let mut server = Postgres::start();
    let pooler = PgBouncer::before(&server, "server_login_retry = 1\nquery_wait_timeout = 2");
    let mut prober = prober(&pooler.url());
    good(look(&mut prober, Path::Held).await);
    server.stop(Stop::Fast);
    failed(&look(&mut prober, Path::Held).await, Reason::NotServing);
    failed(&look(&mut prober, Path::Fresh).await, Reason::NotServing);
    server.start_again();
    super::until_good(&mut prober, Path::Fresh).await;
}
