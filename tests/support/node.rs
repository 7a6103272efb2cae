//! A WebSocket gateway of a test's own: a Node program on the `ws` library, as the platforms have them.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::client;
use super::place::{folder, free_port};
use super::process::Process;
use super::wait::{SOON, eventually};

/// Where Debian's package `node-ws` puts the library; Node of other origin does not look there by itself.
pub const LIBRARIES: &str = "/usr/share/nodejs";

/// A gateway on a free port of 127.0.0.1, with its page of metrics at `/metrics`. A first message from a client would
/// open a session upstream.
pub struct Gateway {
    pub port: u16,
    counts_port: u16,
    hard: u32,
    /// Files with certificate and key, where it speaks TLS.
    tls: Option<(PathBuf, PathBuf)>,
    folder: TempDir,
    process: Option<Process>,
}

/// Clients that are connected to a gateway and say nothing. Dropping it ends them.
pub struct Crowd {
    _process: Process,
    _folder: TempDir,
}

impl Gateway {
    /// Takes any number of connections.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(0)
    }

    /// Takes so many connections and answers 503 to the others; 0 is any number.
    #[track_caller]
    pub fn start_with(hard: u32) -> Self {
        Self::new(hard, None)
    }

    /// Speaks TLS, with certificate and key as PEM.
    #[track_caller]
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        Self::new(0, Some((certificate, key)))
    }

    #[track_caller]
    fn new(hard: u32, tls: Option<(&str, &str)>) -> Self {
        let folder = folder();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file in a folder of our own");
            path
        };
        let tls = tls.map(|(certificate, key)| (write("certificate.pem", certificate), write("key.pem", key)));
        let mut gateway = Gateway { port: free_port(), counts_port: free_port(), hard, tls, folder, process: None };
        gateway.start_again();
        gateway
    }

    /// Starts on the same ports, after a stop or a kill. What it has counted begins anew.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the gateway runs already");
        let mut command = program("gateway.js");
        command.args([self.port, self.counts_port].map(|port| port.to_string())).arg(self.hard.to_string());
        command.args(self.tls.iter().flat_map(|(certificate, key)| [certificate, key]));
        let mut process = Process::start(&mut command, self.folder.path());
        eventually("the gateway to answer", SOON, || match process.is_running() {
            true => self.try_counts().map_err(|error| error.to_string()),
            false => Err(process.log_tail()),
        });
        self.process = Some(process);
    }

    /// A proper stop; connections break.
    pub fn stop(&mut self) {
        self.process.take().expect("the gateway runs").stop("TERM");
    }

    pub fn kill(&mut self) {
        self.process.take().expect("the gateway runs").kill();
    }

    /// Stops it from running without ending it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the gateway runs").signal("STOP");
    }

    pub fn thaw(&self) {
        self.process.as_ref().expect("the gateway runs").signal("CONT");
    }

    /// Where clients connect; over TLS the name is `localhost`.
    pub fn url(&self) -> String {
        match self.tls {
            Some(_) => format!("wss://localhost:{}/", self.port),
            None => format!("ws://127.0.0.1:{}/", self.port),
        }
    }

    /// Its page of metrics, with `ws_connections{state="open"}`.
    pub fn metrics_url(&self) -> String {
        self.url().replacen("ws", "http", 1) + "metrics"
    }

    /// What has happened since it started: `connections` (now), `opened`, `refused`, `pings`, `messages`, `sessions`,
    /// `closes` (by code).
    #[track_caller]
    pub fn counts(&self) -> Value {
        self.try_counts().unwrap_or_else(|error| panic!("the gateway's counts: {error}"))
    }

    fn try_counts(&self) -> std::io::Result<Value> {
        let answer = client::get(&format!("127.0.0.1:{}", self.counts_port), "/")?;
        serde_json::from_str(&answer.body).map_err(Into::into)
    }

    /// Waits until it has so many connections.
    #[track_caller]
    pub fn wait_for_connections(&self, count: u32) {
        eventually(&format!("{count} connections at the gateway"), SOON, || {
            let counts = self.counts();
            if counts["connections"] == count { Ok(()) } else { Err(counts.to_string()) }
        });
    }

    /// Connects so many clients, from a process of their own, and waits until the gateway has them.
    #[track_caller]
    pub fn fill(&self, count: u32) -> Crowd {
        let wanted = self.counts()["connections"].as_u64().unwrap_or_default() + u64::from(count);
        let folder = folder();
        let mut command = program("crowd.js");
        command.arg(self.url()).arg(count.to_string());
        let mut process = Process::start(&mut command, folder.path());
        eventually(&format!("{count} clients to be connected"), SOON, || {
            let connections = self.counts()["connections"].as_u64();
            match process.is_running() {
                true if connections >= Some(wanted) => Ok(()),
                true => Err(format!("{connections:?} connections")),
                false => Err(process.log_tail()),
            }
        });
        Crowd { _process: process, _folder: folder }
    }
}

/// Node with one of the programs beside this file.
pub fn program(name: &str) -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", LIBRARIES).arg(format!("{}/tests/support/node/{name}", env!("CARGO_MANIFEST_DIR")));
    command
}
