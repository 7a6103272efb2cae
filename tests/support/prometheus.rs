//! A real Prometheus that scrapes the agent, and promtool.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::client;
use super::place::{folder, free_port};
use super::process::Process;
use super::wait::{SOON, eventually};

/// A server on a free port with a configuration of its own.
pub struct Prometheus {
    pub port: u16,
    _folder: TempDir,
    _process: Process,
}

impl Prometheus {
    /// Scrapes one address (`127.0.0.1:PORT`) every second, its labels left as they are.
    pub fn scraping(address: &str) -> Self {
        Self::start(&format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - {{job_name: watchkeeper, honor_labels: true, static_configs: [{{targets: ['{address}']}}]}}\n"
        ))
    }

    /// Debian 12's (2.42).
    pub fn start(configuration: &str) -> Self {
        Self::start_program(Path::new("prometheus"), configuration, "groups: []")
    }

    /// Another version than Debian's, with a file `rules.yml` beside its configuration.
    pub fn start_program(program: &Path, configuration: &str, rules: &str) -> Self {
        let folder = folder();
        std::fs::write(folder.path().join("rules.yml"), rules).expect("Prometheus's rules");
        std::fs::write(folder.path().join("prometheus.yml"), configuration).expect("Prometheus's configuration");
        let port = free_port();
        let mut command = Command::new(program);
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let mut process = Process::start(&mut command, folder.path());
        eventually("Prometheus to be ready", SOON, || {
            assert!(process.is_running(), "Prometheus does not start:\n{}", process.log_tail());
            match client::get(&format!("127.0.0.1:{port}"), "/-/ready") {
                Ok(answer) if answer.status == 200 => Ok(()),
                answer => Err(format!("{answer:?}")),
            }
        });
        Prometheus { port, _folder: folder, _process: process }
    }

    /// The result of an instant query: a list of `{metric, value}`.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = self.get(&format!("/api/v1/query?query={query}"));
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    pub fn get(&self, path: &str) -> Value {
        client::get(&format!("127.0.0.1:{}", self.port), path).expect("Prometheus answers").json()
    }
}

/// The server of Prometheus 3, where `PROMETHEUS3` names one; says that Debian's 2.42 is all there is where it does not.
pub fn prometheus3() -> Option<PathBuf> {
    let found = std::env::var_os("PROMETHEUS3").filter(|path| !path.is_empty()).map(PathBuf::from);
    if found.is_none() {
        println!("NOT with Prometheus 3: PROMETHEUS3 is not set");
    }
    found
}

/// The tool that checks rules and metrics: Debian 12's (2.42).
pub fn promtool() -> PathBuf {
    PathBuf::from("promtool")
}

/// The tool of Prometheus 3, where `PROMTOOL3` names one; says that the check was skipped where it does not.
pub fn promtool3() -> Option<PathBuf> {
    let found = std::env::var_os("PROMTOOL3").filter(|path| !path.is_empty()).map(PathBuf::from);
    if found.is_none() {
        println!("SKIPPED with promtool 3: PROMTOOL3 is not set");
    }
    found
}

/// Runs promtool with a text on its standard input, in a folder.
pub fn run_promtool(tool: &Path, arguments: &[&str], input: &str, folder: &Path) -> Output {
    let mut command = Command::new(tool);
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", tool.display()));
    let mut stdin = child.stdin.take().expect("asked for");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("the output of promtool");
    drop(writer.join());
    output
}
