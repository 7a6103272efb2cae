//! Two agents must not use one state folder: both would page, and each would undo the other.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const FILE: &str = "watchkeeper.lock";

/// Why the folder is not ours.
pub enum NotLocked {
    /// Another process has it; its id as far as it could be read.
    Held { pid: String },
    /// The folder takes no lock file.
    Disk(io::Error),
}

/// Takes the folder for this process. The lock ends with the returned file, however the process ends. A folder on
/// a read-only disk is locked through the lock file that stands there; without one there is nothing to protect.
pub fn take(dir: &Path) -> Result<File, NotLocked> {
    let path = dir.join(FILE);
    let writable = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = match writable {
        Ok(file) => file,
        Err(error) => File::open(&path).map_err(|_| NotLocked::Disk(error))?,
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(NotLocked::Held { pid: owner(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(NotLocked::Disk(error)),
    }
    // The id is for people who meet the lock: a full or read-only disk may leave it out.
    let _ = note_owner(&mut file);
    Ok(file)
}

fn note_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match text.trim() {
        pid if read.is_ok() && !pid.is_empty() => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}
