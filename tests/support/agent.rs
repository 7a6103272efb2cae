//! The agent under test: the real binary, with a configuration and a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::client::{self, Response};
use super::place::{folder, is_root};
use super::process::{kill, signal, wait_for_exit};
use super::wait::{SOON, eventually};

/// What an agent is started with. It sees no environment but what is given here.
pub struct Setup {
    folder: TempDir,
    state: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// What it sees as /etc/hosts.
    hosts: Option<PathBuf>,
}

impl Setup {
    /// With a configuration file that holds `text`; where it listens and keeps its state is added where left out.
    pub fn new(text: &str) -> Self {
        let setup = Self::without_configuration();
        let path = setup.configure(text);
        setup.argument("--config").argument(&path.display().to_string())
    }

    /// Without a configuration file: what it does is said by its environment alone.
    pub fn without_configuration() -> Self {
        let folder = folder();
        let state = folder.path().join("state");
        let environment = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            ("HOME".to_owned(), folder.path().display().to_string()),
        ];
        Setup { folder, state, arguments: Vec::new(), environment, hosts: None }
    }

    /// Replaces the configuration file; a running agent is not told.
    pub fn configure(&self, text: &str) -> PathBuf {
        let mut text = text.to_owned();
        if !text.lines().any(|line| line.starts_with("listen:")) {
            text += "\nlisten: 127.0.0.1:0\n";
        }
        if !text.lines().any(|line| line.starts_with("state_dir:")) {
            text += &format!("\nstate_dir: {}\n", self.state.display());
        }
        self.write("watchkeeper.yml", &text)
    }

    /// Writes a file beside the configuration, so that it can be named there by its name alone.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("a file in the agent's folder");
        path
    }

    pub fn with_file(self, name: &str, text: &str) -> Self {
        self.write(name, text);
        self
    }

    /// Names that the agent alone sees: the text of a hosts file, which takes the place of /etc/hosts in a mount
    /// namespace of its own. Written again with [`Setup::write`], as `hosts`, it is seen at the next look.
    pub fn with_hosts(mut self, text: &str) -> Self {
        self.hosts = Some(self.write("hosts", text));
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder, unless the configuration names another.
    pub fn state(&self) -> &Path {
        &self.state
    }

    pub fn command(&self) -> Command {
        let mut command = match &self.hosts {
            None => Command::new(AGENT),
            Some(hosts) => with_hosts(hosts),
        };
        command.env_clear().envs(self.environment.iter().cloned()).args(&self.arguments);
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it and waits until it says where it listens.
    #[track_caller]
    pub fn start(self) -> Agent {
        let mut running = Running::start(&self);
        let address = running.wait_for_address();
        Agent { setup: self, running, address }
    }

    /// Starts it where it is expected to end by itself.
    #[track_caller]
    pub fn run_to_end(&self) -> Ended {
        let mut running = Running::start(self);
        let status = wait_for_exit(&mut running.child, SOON);
        running.join();
        Ended { code: status.code(), output: running.output.text(), errors: running.errors.text() }
    }
}

const AGENT: &str = env!("CARGO_BIN_EXE_watchkeeper");

/// The agent's own process: neither `unshare` nor the shell forks.
fn with_hosts(hosts: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg(if is_root() { "--mount" } else { "-rm" });
    command.args(["sh", "-c", r#"mount --bind "$0" /etc/hosts && exec "$@""#]).arg(hosts).arg(AGENT);
    command
}

/// How a run ended that ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

/// A running agent. Dropping it kills it and deletes its folder.
pub struct Agent {
    pub setup: Setup,
    running: Running,
    address: String,
}

impl Agent {
    /// With a configuration, as [`Setup::new`].
    #[track_caller]
    pub fn start(configuration: &str) -> Self {
        Setup::new(configuration).start()
    }

    /// `127.0.0.1:PORT`, of the present run.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn id(&self) -> u32 {
        self.running.child.id()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        match client::get(&self.address, path) {
            Ok(response) => response,
            Err(error) => panic!("GET {path}: {error}; the agent's last lines:\n{}", self.running.output.tail()),
        }
    }

    /// The value of a metric in `/metrics` that has one series.
    pub fn metric(&self, name: &str) -> Option<f64> {
        match self.metrics(name, &[]).as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The values of all series of one metric whose labels contain all of `parts` (as `target="db"`).
    pub fn metrics(&self, name: &str, parts: &[&str]) -> Vec<f64> {
        let text = self.get("/metrics").body;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = text.lines().filter(of_name).filter(|line| parts.iter().all(|part| line.contains(part)));
        lines
            .filter_map(|line| line.rsplit_once("} ").or(line.split_once(' '))?.1.split(' ').next()?.parse().ok())
            .collect()
    }

    /// Waits until the verdict on a target is up (1) or down (0).
    #[track_caller]
    pub fn wait_for_verdict(&self, target: &str, up: bool) {
        let part = format!("target=\"{target}\"");
        let wanted = f64::from(u8::from(up));
        eventually(&format!("watchkeeper_target_up of {target} to be {wanted}"), SOON, || {
            match self.metrics("watchkeeper_target_up", &[&part]).as_slice() {
                [value] if *value == wanted => Ok(()),
                other => Err(format!("{other:?}; the agent's last lines:\n{}", self.running.output.tail())),
            }
        });
    }

    /// What it has written to standard output since this run began.
    pub fn lines(&self) -> Vec<String> {
        self.running.output.lines()
    }

    /// Its log lines, read as JSON.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let parse = |line: &String| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON line: {line}"));
        self.lines().iter().map(parse).collect()
    }

    /// Waits for a log line that fits.
    #[track_caller]
    pub fn wait_for_line(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a log line with {what}"), SOON, || {
            self.log().into_iter().find(&fits).ok_or_else(|| format!("these lines:\n{}", self.running.output.tail()))
        })
    }

    /// What it has written to standard error since this run began.
    pub fn errors(&self) -> String {
        self.running.errors.text()
    }

    pub fn is_running(&mut self) -> bool {
        self.running.child.try_wait().expect("the state of our own child").is_none()
    }

    pub fn kill9(&mut self) {
        self.running.kill();
    }

    /// Sends a signal (`TERM`, `HUP`, `STOP`, …).
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// SIGTERM, and waits until it has ended.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let status = wait_for_exit(&mut self.running.child, SOON);
        self.running.join();
        status
    }

    /// Starts it again with the same files; it listens on another port than before.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(!self.is_running(), "the agent runs already");
        self.running = Running::start(&self.setup);
        self.address = self.running.wait_for_address();
    }

    /// Resident memory in KiB (`VmRSS`), or its peak (`VmHWM`).
    pub fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the agent runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a size in KiB")
    }
}

struct Running {
    child: Child,
    output: Lines,
    errors: Lines,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    #[track_caller]
    fn start(setup: &Setup) -> Self {
        let mut child = setup.command().spawn().expect("the agent's binary");
        let (output, reader) = Lines::read(child.stdout.take().expect("piped"));
        let (errors, error_reader) = Lines::read(child.stderr.take().expect("piped"));
        Running { child, output, errors, readers: vec![reader, error_reader] }
    }

    #[track_caller]
    fn wait_for_address(&mut self) -> String {
        eventually("the agent to say where it listens", SOON, || {
            if let Some(status) = self.child.try_wait().expect("the state of our own child") {
                self.join();
                panic!("the agent ended ({status}):\n{}{}", self.output.tail(), self.errors.tail());
            }
            let said = self.output.lines();
            let address = said.iter().find_map(|line| address_in(line));
            address.ok_or_else(|| format!("{}{}", self.output.tail(), self.errors.tail()))
        })
    }

    fn kill(&mut self) {
        kill(&mut self.child);
        self.join();
    }

    /// Waits until everything that it wrote has been read.
    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn address_in(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = &line["attributes"]["address"];
    (line["message"] == "listening").then(|| address.as_str().map(str::to_owned))?
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn read(from: impl Read + Send + 'static) -> (Self, std::thread::JoinHandle<()>) {
        let lines = Lines::default();
        let kept = lines.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                kept.0.lock().expect("no panic").push(line);
            }
        });
        (lines, reader)
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    fn tail(&self) -> String {
        let lines = self.lines();
        lines[lines.len().saturating_sub(30)..].iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Waits a while in which nothing is expected to happen, for tests that show that something does not.
/// The length is the test's claim: at least several of the agent's own intervals.
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
