//! A process that a test started: signalled and ended by its id, never by its name.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::wait::{SOON, eventually};

/// A running server whose output goes to a log file. Dropping it kills it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command in a folder, its output appended to `log` there.
    #[track_caller]
    pub fn start(command: &mut Command, folder: &Path) -> Self {
        let log = folder.join("log");
        let file = File::options().append(true).create(true).open(&log).expect("a log file in a folder of our own");
        let output = file.try_clone().expect("a second handle of the log file");
        command.current_dir(folder).stdin(Stdio::null()).stdout(output).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Process { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the state of our own child").is_none()
    }

    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Sends a signal that asks it to stop, and waits until it has.
    pub fn stop(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        wait_for_exit(&mut self.child, SOON)
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal (`TERM`, `STOP`, …) to a process.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("sh").args(["-c", r#"kill -s "$0" "$1""#, name, &id.to_string()]).status();
    assert!(status.expect("sh").success(), "signal {name} to process {id}");
}

/// `kill -9` of a child, and waits until it is gone. One that is gone already is fine.
pub fn kill(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

/// Waits until a child has ended by itself.
#[track_caller]
pub fn wait_for_exit(child: &mut Child, within: Duration) -> ExitStatus {
    let id = child.id();
    eventually(&format!("the end of process {id}"), within, || {
        child.try_wait().expect("the state of our own child").ok_or("it runs")
    })
}
