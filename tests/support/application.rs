//! A web application of a test's own: a Node program that exposes what prom-client counts, and those who use it.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::client;
use super::node::program;
use super::place::{folder, free_port};
use super::process::Process;
use super::wait::{SOON, eventually};

/// Where tests/run installs what `tests/support/node/package.json` names.
const LIBRARIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/node/node_modules");

/// An application on a free port of 127.0.0.1: `/health`, `/metrics`, and `/orders`, which fails and takes as long as
/// it is told.
pub struct Application {
    pub port: u16,
    control_port: u16,
    _process: Process,
    _folder: TempDir,
}

/// Who uses an application, evenly and without waiting for answers. Dropping it ends them.
pub struct Visitors {
    _process: Process,
    _folder: TempDir,
}

impl Application {
    #[track_caller]
    pub fn start() -> Self {
        let (port, control_port, folder) = (free_port(), free_port(), folder());
        let mut command = with_libraries("app.js");
        command.args([port, control_port].map(|port| port.to_string()));
        let mut process = Process::start(&mut command, folder.path());
        eventually("the application to answer", SOON, || match process.is_running() {
            true => client::get(&format!("127.0.0.1:{control_port}"), "/").map_err(|error| error.to_string()),
            false => Err(process.log_tail()),
        });
        Application { port, control_port, _process: process, _folder: folder }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Lets this share of the orders fail with 500, from now on.
    #[track_caller]
    pub fn fail(&self, share: f64) {
        self.set(&format!("errors={share}"));
    }

    /// Lets each order take so many seconds, from now on.
    #[track_caller]
    pub fn slow_down(&self, seconds: f64) {
        self.set(&format!("latency={seconds}"));
    }

    #[track_caller]
    fn set(&self, what: &str) {
        let answer = client::get(&format!("127.0.0.1:{}", self.control_port), &format!("/set?{what}"));
        assert_eq!(answer.expect("the application's second port").status, 200);
    }

    /// Orders so many times a second, from a process of its own.
    pub fn visit(&self, per_second: u32) -> Visitors {
        let folder = folder();
        let mut command = program("visitors.js");
        command.args([self.url("/orders"), per_second.to_string()]);
        Visitors { _process: Process::start(&mut command, folder.path()), _folder: folder }
    }
}

/// Node with a program that needs libraries from npm.
#[track_caller]
fn with_libraries(name: &str) -> Command {
    assert!(
        Path::new(LIBRARIES).join("prom-client").is_dir(),
        "this test needs prom-client in {LIBRARIES}: run tests/run, which installs it"
    );
    let mut command = program(name);
    command.env("NODE_PATH", LIBRARIES);
    command
}
