//! A real Alertmanager, and amtool.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::client;
use super::place::{folder, free_port};
use super::process::Process;
use super::wait::{SOON, eventually};

/// Its `resolve_timeout` is 5 minutes, its default: what it is not reminded of stays for the time of a test.
const CONFIGURATION: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// A server on a free port, with no peers of its own.
pub struct Alertmanager {
    pub port: u16,
    folder: TempDir,
    process: Process,
}

impl Alertmanager {
    pub fn start() -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("alertmanager.yml"), CONFIGURATION).expect("Alertmanager's configuration");
        let port = free_port();
        let process = start(&folder, port);
        let mut alertmanager = Alertmanager { port, folder, process };
        alertmanager.wait_until_ready();
        alertmanager
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, with no memory of any alert: they are never on its disk.
    pub fn start_again(&mut self) {
        self.process = start(&self.folder, self.port);
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        eventually("Alertmanager to be ready", SOON, || {
            assert!(self.process.is_running(), "Alertmanager does not start:\n{}", self.process.log_tail());
            match client::get(&format!("127.0.0.1:{}", self.port), "/-/ready") {
                Ok(answer) if answer.status == 200 => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        });
    }

    /// The alerts that fire there.
    pub fn alerts(&self) -> Vec<Value> {
        let answer = client::get(&format!("127.0.0.1:{}", self.port), "/api/v2/alerts").expect("Alertmanager answers");
        answer.json().as_array().cloned().unwrap_or_default()
    }

    /// What `amtool alert query` prints.
    pub fn amtool_alerts(&self) -> String {
        let mut command = Command::new(tool("AMTOOL", "amtool"));
        command.args(["alert", "query", "--output=extended", "--alertmanager.url", &self.url()]);
        let output = command.env("HOME", self.folder.path()).output().expect("amtool");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn start(folder: &TempDir, port: u16) -> Process {
    let mut command = Command::new(tool("ALERTMANAGER", "prometheus-alertmanager"));
    command.args(["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]);
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Process::start(&mut command, folder.path())
}

/// The program that a variable names, else Debian 12's.
fn tool(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).filter(|path| !path.is_empty()).map_or_else(|| default.into(), PathBuf::from)
}
