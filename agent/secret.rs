//! Secrets: values that cannot be printed, and where they are read from.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file;

/// The most that a secret file may hold, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;

/// A value that shows itself to nobody: neither `Debug` nor `Display` print it, and it does not serialize.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The value itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Why a secret could not be read. Names the file, never the value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("the secret file {} is larger than {FILE_LIMIT} bytes", path.display())]
    TooLarge { path: PathBuf },
}

/// Where a secret comes from: written in place, or a file that is read anew for each use,
/// so that a rotated secret is taken without a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Value(Secret),
    File(PathBuf),
}

impl SecretSource {
    /// The secret as it is now. A file loses its trailing line break.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Value(secret) => Ok(secret.clone()),
            SecretSource::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error| SecretError::Unreadable { path: path.to_owned(), error };
    let mut text = String::new();
    file::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text)).map_err(unreadable)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(SecretError::TooLarge { path: path.to_owned() });
    }
    Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(format!("{:?}", SecretSource::Value(Secret::new("hunter2"))), "Value(<secret>)");
    }

    #[test]
    fn a_file_is_read_anew_and_loses_its_line_break() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = SecretSource::File(file.path().to_owned());
        std::fs::write(file.path(), "one\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "one");
        std::fs::write(file.path(), "two\r\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "two");
        assert!(
            SecretSource::File("/nowhere/at/all".into()).read().unwrap_err().to_string().contains("/nowhere/at/all")
        );
    }
}
