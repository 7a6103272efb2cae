//! A control group of a test's own, to press memory in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::place::{is_root, run};

/// Removed when dropped, after what ran in it.
pub struct Group {
    folder: PathBuf,
    limit: &'static str,
}

impl Group {
    /// Below version 2, or the memory controller of version 1; `Err` says why there can be none.
    pub fn new(name: &str) -> Result<Self, String> {
        if !is_root() {
            return Err("only root may make control groups".to_owned());
        }
        let top = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
        let (parent, limit) = if controllers.split_whitespace().any(|name| name == "memory") {
            // Where it is on already, this changes nothing.
            fs::write(top.join("cgroup.subtree_control"), "+memory").map_err(|error| error.to_string())?;
            (top.to_owned(), "memory.max")
        } else {
            (top.join("memory"), "memory.limit_in_bytes")
        };
        let folder = parent.join(format!("watchkeeper-{name}-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Group { folder, limit })
    }

    pub fn allow(&self, bytes: u64) {
        fs::write(self.folder.join(self.limit), bytes.to_string()).expect("the group's limit");
    }

    pub fn take(&self, process: u32) {
        fs::write(self.folder.join("cgroup.procs"), process.to_string()).expect("the group's processes");
    }

    /// Writes so many MiB to a file, charged to the group for as long as the file is there.
    pub fn write(&self, mib: u32, file: &Path) {
        let script = "echo $$ > \"$1/cgroup.procs\" && exec dd if=/dev/zero of=\"$3\" bs=1M count=\"$2\" status=none";
        run(Command::new("sh").args(["-c", script, "sh"]).arg(&self.folder).arg(mib.to_string()).arg(file));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel lets a group go a moment after its last process.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
