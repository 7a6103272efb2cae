//! Small files of the kernel, read within bounds into one buffer.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The most that is read of one file, in bytes: `/proc/1/mountinfo` of a crowded node stays far below.
const LIMIT: usize = 4 * 1024 * 1024;
/// What one read asks for, in bytes.
const CHUNK: usize = 16 * 1024;

/// Reads one file after the other; path and content share their memory.
#[derive(Default)]
pub struct Files {
    path: PathBuf,
    buffer: Vec<u8>,
}

impl Files {
    /// What `folder/name` holds.
    pub fn read(&mut self, folder: &Path, name: &str) -> io::Result<&[u8]> {
        self.load(folder, name).map(|length| &self.buffer[..length])
    }

    /// What the first of the two holds, or where that cannot be read, the second.
    pub fn either(&mut self, folder: &Path, [first, second]: [&str; 2]) -> io::Result<&[u8]> {
        let loaded = self.load(folder, first).or_else(|_| self.load(folder, second));
        loaded.map(|length| &self.buffer[..length])
    }

    fn load(&mut self, folder: &Path, name: &str) -> io::Result<usize> {
        self.path.as_mut_os_string().clear();
        self.path.push(folder);
        self.path.push(name);
        let mut file = File::open(&self.path)?;
        let mut length = 0;
        loop {
            if self.buffer.len() < length + CHUNK {
                self.buffer.resize(length + CHUNK, 0);
            }
            match file.read(&mut self.buffer[length..])? {
                0 => return Ok(length),
                read => length += read,
            }
            if length > LIMIT {
                return Err(io::Error::other(format!("larger than {LIMIT} bytes")));
            }
        }
    }

    /// As text; `None` where the file is not there or cannot be read.
    pub fn text(&mut self, folder: &Path, name: &str) -> Option<Cow<'_, str>> {
        self.read(folder, name).ok().map(String::from_utf8_lossy)
    }

    /// The one number that a file holds.
    pub fn number(&mut self, folder: &Path, name: &str) -> Option<f64> {
        number(&self.text(folder, name)?)
    }
}

/// A number that is finite and not negative: the kernel shows no others here.
pub fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// The numbers of lines such as `oom_kill 3`, by their key.
pub fn keyed(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| number(line.strip_prefix(key)?.strip_prefix(' ')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_left() {
        let mut files = Files::default();
        let error = files.read(Path::new("/dev"), "zero").unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
        assert_eq!(files.text(Path::new("/dev"), "null").unwrap(), "");
    }

    #[test]
    fn keys_are_whole_words() {
        assert_eq!(keyed("oom 1\noom_kill 3\n", "oom_kill"), Some(3.0));
        assert_eq!(keyed("oom_kill_all 3\n", "oom_kill"), None);
        assert_eq!(keyed("oom_kill -3\n", "oom_kill"), None);
    }
}
