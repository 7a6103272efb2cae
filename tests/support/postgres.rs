//! A PostgreSQL server of a test's own. The cluster is made once and copied for each server.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::place::{as_ordinary_user, folder, free_port, give_to_ordinary_user, is_root, run};
use super::process::Process;
use super::wait::{SOON, eventually};

/// Where Debian puts the programs of PostgreSQL 15.
pub const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A server on a free port of 127.0.0.1; user and database `postgres`, no password (`trust`).
pub struct Postgres {
    pub port: u16,
    folder: TempDir,
    settings: Vec<String>,
    process: Option<Process>,
}

/// How a server is told to stop.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Ends sessions properly.
    Fast,
    /// Without a shutdown; the next start recovers.
    Immediate,
}

impl Postgres {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings of its own, as `max_connections=12`; later ones win.
    pub fn start_with(settings: &[&str]) -> Self {
        let mut server = Self::prepare(settings);
        server.start_again();
        server
    }

    /// Copies the cluster without starting it, for tests that change its files first.
    pub fn prepare(settings: &[&str]) -> Self {
        let folder = folder();
        run(Command::new("cp").args(["-a", "--reflink=auto"]).arg(template()).arg(folder.path().join("data")));
        let settings = settings.iter().map(ToString::to_string).collect();
        Postgres { port: free_port(), folder, settings, process: None }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file into the data folder, readable by the server alone (as a TLS key must be).
    pub fn write(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).expect("a file of the cluster");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod of a file of the cluster");
        give_to_ordinary_user(&path);
    }

    /// Lets the server read `pg_hba.conf` and its settings again.
    pub fn reload(&self) {
        self.running().signal("HUP");
    }

    /// Starts on the same port, after a stop or a kill.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "PostgreSQL runs already");
        self.process = Some(self.spawn());
        eventually("PostgreSQL to accept connections", SOON, || {
            let process = self.process.as_mut().expect("started above");
            if !process.is_running() {
                // After a kill, the memory of the one before may still be in use for a moment.
                let said = process.log_tail();
                self.process = Some(self.spawn());
                return Err(said);
            }
            self.connect("postgres", "postgres").map(drop).map_err(|error| error.replace("starting up", "starting"))
        });
    }

    /// Starts without waiting until it accepts connections: for tests of what it says before.
    pub fn launch(&mut self) {
        self.process = Some(self.spawn());
    }

    fn spawn(&self) -> Process {
        let mut command = as_ordinary_user(&Path::new(PROGRAMS).join("postgres"));
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        let own = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "shared_buffers=8MB"];
        for setting in own.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        Process::start(&mut command, self.folder.path())
    }

    pub fn stop(&mut self, how: Stop) {
        let signal = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        self.process.take().expect("PostgreSQL runs").stop(signal);
    }

    /// `kill -9` of the server; its sessions end by themselves.
    pub fn kill(&mut self) {
        self.process.take().expect("PostgreSQL runs").kill();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("PostgreSQL runs")
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL with psql, as the superuser: the rows, one a line, columns separated by `|`.
    #[track_caller]
    pub fn execute(&self, sql: &str) -> String {
        let mut psql = Command::new("/usr/bin/timeout");
        psql.arg("60").arg(Path::new(PROGRAMS).join("psql"));
        psql.env_clear().args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]).arg(self.url());
        run(&mut psql).trim_end().to_owned()
    }

    /// Opens a session and leaves it idle until it is dropped. The error is the server's own text.
    pub fn connect(&self, user: &str, database: &str) -> Result<TcpStream, String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(SOON)).map_err(|error| error.to_string())?;
        start_session(&mut stream, user, database).map_err(|error| error.to_string())??;
        Ok(stream)
    }

    /// Opens idle sessions of an ordinary user until the server refuses one because it is full.
    #[track_caller]
    pub fn fill(&self) -> Vec<TcpStream> {
        self.execute("DO $$ BEGIN CREATE ROLE crowd LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
        let mut sessions = Vec::new();
        loop {
            match self.connect("crowd", "postgres") {
                Ok(session) => sessions.push(session),
                Err(error) if error.contains("53300") => return sessions,
                Err(error) => panic!("filling PostgreSQL's connections: {error}"),
            }
            assert!(sessions.len() < 1_000, "PostgreSQL never becomes full: set max_connections");
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Without a proper stop its shared memory would outlive it.
        if let Some(mut process) = self.process.take()
            && process.is_running()
        {
            process.stop("QUIT");
        }
    }
}

/// The start-up packet, and answers up to the first that says ready or no.
fn start_session(stream: &mut TcpStream, user: &str, database: &str) -> std::io::Result<Result<(), String>> {
    let mut packet = 196_608_u32.to_be_bytes().to_vec();
    for word in ["user", user, "database", database, ""] {
        packet.extend_from_slice(word.as_bytes());
        packet.push(0);
    }
    stream.write_all(&u32::try_from(packet.len() + 4).expect("a small packet").to_be_bytes())?;
    stream.write_all(&packet)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut body = vec![0; length.saturating_sub(4) as usize];
        stream.read_exact(&mut body)?;
        match head[0] {
            b'Z' => return Ok(Ok(())),
            b'E' => return Ok(Err(String::from_utf8_lossy(&body).replace('\0', " "))),
            b'R' if body != [0; 4] => return Ok(Err("the server wants a password".to_owned())),
            _ => {}
        }
    }
}

/// The cluster that every server starts from: made by whoever comes first, used by all.
fn template() -> PathBuf {
    let home = std::env::temp_dir().join(if is_root() { "watchkeeper-postgres" } else { "watchkeeper-postgres-user" });
    std::fs::create_dir_all(&home).expect("a folder for PostgreSQL's template");
    give_to_ordinary_user(&home);
    let lock = File::options().write(true).create(true).truncate(false).open(home.join("lock")).expect("a lock file");
    lock.lock().expect("the lock of PostgreSQL's template");
    let (made, making) = (home.join("template"), home.join("making"));
    if !made.exists() {
        drop(std::fs::remove_dir_all(&making));
        let mut initdb = as_ordinary_user(&Path::new(PROGRAMS).join("initdb"));
        initdb.current_dir(&home).args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        run(initdb.args(["--locale=C", "-D"]).arg(&making));
        std::fs::rename(&making, &made).expect("the template's final name");
    }
    made
}
