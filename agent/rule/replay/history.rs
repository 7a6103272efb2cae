//! A folder of recorded pages: whose they are, of when, and what they say.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::export::parse::{Dialect, Limits};
use crate::file;
use crate::sample::{Labels, Timestamp};

/// The most pages that a history may have.
const MAX_PAGES: usize = 1_000_000;
/// Folders below the history: `JOB/INSTANCE`.
const MAX_DEPTH: usize = 2;
/// What may stand behind the time in a file's name.
const ENDINGS: [&str; 4] = [".txt", ".prom", ".metrics", ".om"];

/// The pages of a folder, oldest first.
#[derive(Debug, Default)]
pub struct History {
    /// `job` and `instance` of each folder that holds pages.
    pub targets: Vec<Labels>,
    pub pages: Vec<PageFile>,
}

/// A page that has not been read yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageFile {
    pub at: Timestamp,
    /// The index of its target.
    pub target: usize,
    pub path: PathBuf,
}

/// Finds every page: `DIR/PAGE`, `DIR/JOB/PAGE`, `DIR/JOB/INSTANCE/PAGE`. Hidden files are passed over.
pub fn find(folder: &Path) -> Result<History, String> {
    let mut history = History::default();
    walk(folder, &mut Vec::new(), &mut history)?;
    history.pages.sort();
    Ok(history)
}

fn walk(folder: &Path, names: &mut Vec<String>, history: &mut History) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read the folder {}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(cannot)?;
    let paths: BTreeSet<PathBuf> =
        entries.map(|entry| Ok(entry.map_err(cannot)?.path())).collect::<Result<_, String>>()?;
    let mut target = None;
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            if names.len() == MAX_DEPTH {
                return Err(format!("{}: folders are DIR/JOB/INSTANCE, not deeper", path.display()));
            }
            names.push(name);
            walk(&path, names, history)?;
            names.pop();
            continue;
        }
        let at = time_of_name(&name).map_or_else(|| modified(&path), Ok)?;
        let target = *target.get_or_insert_with(|| {
            history.targets.push(labels(names));
            history.targets.len() - 1
        });
        history.pages.push(PageFile { at, target, path });
        if history.pages.len() > MAX_PAGES {
            return Err(format!("more than {MAX_PAGES} pages: replay a part of the history"));
        }
    }
    Ok(())
}

fn labels(names: &[String]) -> Labels {
    Labels::new(["job", "instance"].into_iter().zip(names.iter().map(String::as_str)))
}

/// The time that a file's name gives: `2026-11-21T10:00:00Z.prom`, with `-` for `:` or without both, Unix seconds (ten
/// digits, a fraction after a point) or milliseconds (thirteen), and `.gz` behind it.
pub fn time_of_name(name: &str) -> Option<Timestamp> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let name = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    unix(name).or_else(|| rfc3339(name))
}

fn unix(name: &str) -> Option<Timestamp> {
    let (whole, fraction) = name.split_once('.').unwrap_or((name, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    match whole.len() {
        10 => Some(whole.parse::<i64>().ok()? * 1_000 + format!("{fraction:0<3}")[..3].parse::<i64>().ok()?),
        13 if !name.contains('.') => whole.parse().ok(),
        _ => None,
    }
}

fn rfc3339(name: &str) -> Option<Timestamp> {
    let (date, time) = name.split_once(['T', '_'])?;
    let zoned = if time.ends_with('Z') || time.contains('+') { time.to_owned() } else { format!("{time}Z") };
    let zone = zoned.find(['Z', '+'])?;
    let time = format!("{}{}", zoned[..zone].replace('-', ":"), &zoned[zone..]);
    format!("{date}T{time}").parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

fn modified(path: &Path) -> Result<Timestamp, String> {
    let time = fs::metadata(path).and_then(|file| file.modified());
    let time = time.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The text of a page, unpacked where it is gzip, and how it is to be read. Empty where the look failed.
pub fn read(path: &Path, limits: Limits) -> Result<(String, Dialect), String> {
    let bytes = unpacked(path, limits.bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > limits.bytes {
        return Err(format!("is larger than {} bytes", limits.bytes));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    let last = text.trim_end().rsplit('\n').next();
    let dialect = if last == Some("# EOF") { Dialect::OpenMetrics } else { Dialect::Prometheus };
    Ok((text, dialect))
}

fn unpacked(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let most = limit as u64 + 1;
    let mut packed = Vec::new();
    file::open(path)?.take(most).read_to_end(&mut packed)?;
    if !packed.starts_with(&[0x1f, 0x8b]) {
        return Ok(packed);
    }
    let mut bytes = Vec::new();
    MultiGzDecoder::new(packed.as_slice()).take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_gives_its_time() {
        let ten = 1_795_255_200_000;
        for name in [
            "2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00Z.prom",
            "2026-11-21T10-00-00Z.txt.gz",
            "2026-11-21T10:00:00.000Z.om",
            "20261121T100000Z.prom",
            "2026-11-21T11:00:00+01:00",
            "2026-11-21_10-00-00",
            "1795255200",
            "1795255200.000.prom",
            "1795255200000.metrics",
        ] {
            assert_eq!(time_of_name(name), Some(ten), "{name}");
        }
        assert_eq!(time_of_name("1795255200.25.prom"), Some(ten + 250));
        for name in ["metrics.txt", "12", "2026-11-21.txt", "page_1", "", ".gz", "T", "_"] {
            assert_eq!(time_of_name(name), None, "{name}");
        }
    }
}
