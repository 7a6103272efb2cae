//! `url` and `url_file`, as every kind with a secret in its URL has them.

use std::path::Path;

use super::{Failure, Reason};
use crate::secret::{Secret, SecretSource};

/// What is wrong with the two keys: (key, message). `parse` says what is wrong with a URL that is given in place;
/// what a file says is known when it is read: it may come, or change, later.
pub fn check<T>(
    url: Option<&Secret>,
    file: Option<&Path>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<(&'static str, String)> {
    match (url, file) {
        (None, None) => Some(("url", "is missing: give `url` or `url_file`".to_owned())),
        (Some(_), Some(_)) => Some(("url_file", "give `url` or `url_file`, not both".to_owned())),
        (Some(url), None) => parse(url.expose()).err().map(|error| ("url", error)),
        (None, Some(_)) => None,
    }
}

/// The URL as it is now; a failure is the agent's own.
pub fn read<T>(
    url: Option<&Secret>,
    file: Option<&Path>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    let source = match (url, file) {
        (Some(url), _) => SecretSource::Value(url.clone()),
        (None, Some(file)) => SecretSource::File(file.to_owned()),
        (None, None) => return Err(wrong("neither `url` nor `url_file` is given".to_owned())),
    };
    let url = source.read().map_err(|error| wrong(error.to_string()))?;
    parse(url.expose()).map_err(wrong)
}

fn wrong(error: String) -> Failure {
    Failure::new(Reason::Secret, "secret", error)
}
