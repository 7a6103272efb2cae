//! Folders and ports of a test's own.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

/// A new folder that a server under another user can read; it goes when the value is dropped.
pub fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("watchkeeper-").tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod of a new folder");
    folder
}

/// A port of 127.0.0.1 that nothing listens on. It is taken from below the range that the kernel hands out to
/// clients, so that no connection takes it while its server is stopped.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT)).expect("within the range");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT);
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// The user that servers run as which refuse root.
pub const SERVER_USER: &str = "postgres";

/// A command that runs as an ordinary user: as [`SERVER_USER`] where the tests run as root, else as who runs them.
pub fn as_ordinary_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups", "--"]).arg(program);
    command
}

/// Gives a path, and all below it, to the user of [`as_ordinary_user`].
pub fn give_to_ordinary_user(path: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", &format!("{SERVER_USER}:{SERVER_USER}")]).arg(path));
    }
}

/// Runs a command to its end and fails the test, with all it said, unless it succeeds. Returns its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    said
}
