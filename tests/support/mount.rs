//! A small file system of a test's own, to fill and to make read-only.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::place::{folder, is_root};

/// A mounted tmpfs; unmounted when it is dropped.
pub struct Tmpfs {
    folder: TempDir,
}

impl Tmpfs {
    /// Mounts one of so many KiB. Fails the test where the right to mount is missing: what it shows must be shown.
    pub fn mount(kib: u32) -> Self {
        let folder = folder();
        mount(&["-t", "tmpfs", "-o", &format!("size={kib}k,mode=0777"), "tmpfs"], folder.path());
        Tmpfs { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn make_read_only(&self) {
        mount(&["-o", "remount,ro"], self.path());
    }

    pub fn make_writable(&self) {
        mount(&["-o", "remount,rw"], self.path());
    }

    /// Takes all the space that is left; returns the file to delete to have it back.
    pub fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).expect("a file on the tmpfs");
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a killed agent may hold it for a moment more.
        drop(privileged("umount").arg("-l").arg(self.path()).status());
    }
}

fn mount(options: &[&str], at: &Path) {
    let failure = match privileged("mount").args(options).arg(at).output() {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => format!("{error}: is sudo installed?"),
    };
    panic!(
        "this test mounts a tmpfs and may not: run tests/run as root, or as a user whose `sudo -n mount` works \
         (in a container: with CAP_SYS_ADMIN)\n{failure}"
    );
}

fn privileged(program: &str) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}
