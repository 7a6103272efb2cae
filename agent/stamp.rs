//! Whether a file is still the one that was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells one version of a file from the next: a Kubernetes ConfigMap swaps the inode, an editor the rest. The time
/// of the last change counts too: it moves where a file becomes readable, and where somebody sets `modified` back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// `None` while there is no such file.
    pub fn of(path: &Path) -> Option<Self> {
        let file = std::fs::metadata(path).ok()?;
        let (modified, changed) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
        Some(Stamp { inode: file.ino(), length: file.len(), modified, changed })
    }
}
