//! Header fields that settings name: with their values in place, or each in a file that is read for every look.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use crate::secret::{Secret, SecretSource};

/// Headers that frame the message or ask for an encoding that is not undone.
const REFUSED: [&str; 6] = ["connection", "content-length", "transfer-encoding", "upgrade", "te", "accept-encoding"];

/// Which names a kind takes, and why not: [`name`] and what else the kind refuses.
pub type Name = fn(&str) -> Result<HeaderName, String>;

pub fn name(name: &str) -> Result<HeaderName, String> {
    let parsed: HeaderName = name.parse().map_err(|_| format!("the header {name:?} has no valid name"))?;
    if REFUSED.contains(&parsed.as_str()) {
        return Err(format!("the header {name:?} cannot be set: it follows from the request"));
    }
    Ok(parsed)
}

/// The headers of `headers:`.
pub fn in_place(headers: &BTreeMap<String, Secret>, name: Name) -> Result<HeaderMap, String> {
    let mut parsed = HeaderMap::new();
    for (given, text) in headers {
        parsed.insert(name(given)?, value(given, text)?);
    }
    Ok(parsed)
}

/// The headers of `headers_file:`, which must not stand under `headers:` too.
pub fn in_files(
    files: &BTreeMap<String, PathBuf>,
    headers: &BTreeMap<String, Secret>,
    name: Name,
) -> Result<Vec<(HeaderName, SecretSource)>, String> {
    let mut parsed = Vec::new();
    for (given, path) in files {
        if headers.keys().any(|other| other.eq_ignore_ascii_case(given)) {
            return Err(format!("the header {given:?} is under `headers` too: keep one of them"));
        }
        parsed.push((name(given)?, SecretSource::File(path.clone())));
    }
    Ok(parsed)
}

/// Sets the headers whose values are in files, as the files are now.
pub fn read(files: &[(HeaderName, SecretSource)], headers: &mut HeaderMap) -> Result<(), String> {
    for (name, file) in files {
        let text = file.read().map_err(|error| error.to_string())?;
        headers.insert(name, value(name.as_str(), &text)?);
    }
    Ok(())
}

fn value(name: &str, text: &Secret) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(text.expose());
    let mut value = value.map_err(|_| format!("the header {name:?} has a value that cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}
