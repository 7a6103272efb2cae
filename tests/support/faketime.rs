//! A wall clock that a test sets while the agent runs, by libfaketime. The monotonic clock goes on as it is, and so
//! do the times of files.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::agent::Setup;
use super::place::folder;

/// How far a process' wall clock is from the real one. Keep it for longer than the agent: what a killed process
/// leaves in shared memory goes when this is dropped.
pub struct FakeTime {
    folder: TempDir,
}

impl FakeTime {
    /// The real time, for now.
    pub fn new() -> Self {
        let time = FakeTime { folder: folder() };
        time.step_to(0);
        time
    }

    /// The agent of this setup reads its wall clock from here, also after it was started again.
    pub fn over(&self, setup: Setup) -> Setup {
        setup
            .environment("LD_PRELOAD", &library().display().to_string())
            .environment("FAKETIME_TIMESTAMP_FILE", &self.file().display().to_string())
            .environment("FAKETIME_NO_CACHE", "1")
            .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .environment("NO_FAKE_STAT", "1")
    }

    /// From now on, the wall clock shows the real time and so many seconds more.
    pub fn step_to(&self, seconds: i64) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).expect("a file in a folder of our own");
        std::fs::rename(next, self.file()).expect("a file in a folder of our own");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }
}

impl Drop for FakeTime {
    fn drop(&mut self) {
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().and_then(process)
                && !Path::new(&format!("/proc/{id}")).exists()
            {
                drop(std::fs::remove_file(entry.path()));
            }
        }
    }
}

/// The process that libfaketime made this shared memory for.
fn process(name: &str) -> Option<u32> {
    name.strip_prefix("faketime_shm_").or(name.strip_prefix("sem.faketime_sem_"))?.parse().ok()
}

/// Debian has it in the folder of the machine's architecture.
fn library() -> PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").expect("/usr/lib").flatten();
    let candidates = libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    candidates.into_iter().find(|path| path.exists()).expect("libfaketime: tests/run installs the package `faketime`")
}
