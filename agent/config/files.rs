//! The files that a configuration is made of: read within bounds, found by patterns, resolved against the file that
//! names them.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::tree::{Key, MAX_BYTES, Node, Position, Problem, Value};
use crate::file;

/// How many files one pattern may find.
const MAX_FOUND: usize = 1_000;

/// The text of a file of at most [`MAX_BYTES`]; the error says why there is none.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        file::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("cannot read {}: {}", path.display(), reason(&error)))?;
    if bytes.len() > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// What went wrong, without the number that Rust appends.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Whether a key's value is the path of a file: `file`, `url_file`, `ca_file`…
fn names_file(key: &str) -> bool {
    key == "file" || key.ends_with("_file")
}

/// Below these keys stand names that the user chose.
fn holds_free_names(key: &str) -> bool {
    matches!(key, "labels" | "headers")
}

/// Makes the paths under `…_file` keys start at the folder of the file that they are written in.
pub(super) fn resolve_paths(node: &mut Node) {
    match &mut node.value {
        Value::Sequence(items) => items.iter_mut().for_each(resolve_paths),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                if names_file(&key.text) {
                    resolve_path(value);
                } else if !holds_free_names(&key.text) {
                    resolve_paths(value);
                }
            }
        }
        _ => {}
    }
}

/// One path, or a mapping of paths (`headers_file`).
fn resolve_path(node: &mut Node) {
    let at = node.at.clone();
    match &mut node.value {
        Value::Scalar { text, .. } => *text = beside(&at, text).to_string_lossy().into_owned(),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| resolve_path(value)),
        _ => {}
    }
}

/// A path as written at a place: relative ones start at the folder of that file.
pub(crate) fn beside(at: &Position, path: &str) -> PathBuf {
    match Path::new(&*at.file).parent() {
        Some(folder) if at.line > 0 && !path.is_empty() => folder.join(path),
        _ => PathBuf::from(path),
    }
}

/// The files that a mapping names under `…_file` keys.
pub(super) fn named(node: &Node) -> Vec<PathBuf> {
    let of_entry = |(key, value): &(Key, Node)| match () {
        () if names_file(&key.text) => texts(value),
        () if holds_free_names(&key.text) => Vec::new(),
        () => named(value),
    };
    match &node.value {
        Value::Sequence(items) => items.iter().flat_map(named).collect(),
        _ => node.entries().iter().flat_map(of_entry).collect(),
    }
}

/// One path, or those of a mapping.
fn texts(node: &Node) -> Vec<PathBuf> {
    let own = node.text().map(PathBuf::from);
    own.into_iter().chain(node.entries().iter().flat_map(|(_, value)| texts(value))).collect()
}

/// A problem for every `…_file` that cannot be read.
pub(super) fn unreadable(node: &Node, problems: &mut Vec<Problem>) {
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| unreadable(item, problems)),
        Value::Mapping(entries) => {
            for (key, value) in entries {
                if names_file(&key.text) {
                    unreadable_path(&key.text, value, problems);
                } else if !holds_free_names(&key.text) {
                    unreadable(value, problems);
                }
            }
        }
        _ => {}
    }
}

fn unreadable_path(key: &str, node: &Node, problems: &mut Vec<Problem>) {
    if let Some(path) = node.text()
        && let Err(why) = read_text(Path::new(path))
    {
        problems.push(Problem::new(&node.at, format!("`{key}`: {why}")));
    }
    node.entries().iter().for_each(|(_, value)| unreadable_path(key, value, problems));
}

/// Whether a mapping has a `…_file` key.
pub(super) fn names_one(node: &Node) -> bool {
    node.entries().iter().any(|(key, _)| names_file(&key.text))
}

/// Whether one of the files under `…_file` keys cannot be read.
pub(super) fn lacks_one(node: &Node) -> bool {
    let mut missing = Vec::new();
    unreadable(node, &mut missing);
    !missing.is_empty()
}

/// The files that a pattern finds, sorted. `*`, `?` and `[a-z]` stand within one part of the path, as in Prometheus;
/// a path without them is itself, whether it exists or not.
pub(crate) fn find(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    if !is_pattern(&pattern.to_string_lossy()) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = BTreeSet::from([PathBuf::new()]);
    for part in pattern.components() {
        found = found
            .into_iter()
            .map(|folder| children(&folder, part))
            .collect::<Result<Vec<_>, _>>()?
            .concat()
            .into_iter()
            .collect();
        if found.len() > MAX_FOUND {
            return Err(format!("{} finds more than {MAX_FOUND} files", pattern.display()));
        }
    }
    Ok(found.into_iter().filter(|path| path.is_file()).collect())
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What one part of a pattern finds in a folder.
fn children(folder: &Path, part: Component<'_>) -> Result<Vec<PathBuf>, String> {
    let pattern = part.as_os_str().to_string_lossy();
    if !is_pattern(&pattern) {
        return Ok(vec![folder.join(part)]);
    }
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let names = match std::fs::read_dir(place) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("cannot read the folder {}: {}", place.display(), reason(&error))),
    };
    let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pattern: Vec<char> = pattern.chars().collect();
    let fits = |name: &String| {
        let name: Vec<char> = name.chars().collect();
        (pattern[0] == '.' || name[0] != '.') && matches(&pattern, &name)
    };
    Ok(names.filter(fits).map(|name| folder.join(name)).collect())
}

/// Whether a name fits a pattern of one part. Linear in both, but for one position to come back to.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = one(&pattern[p..], name[n]);
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = step {
            (p, n) = (p + width, n + 1);
        } else if let Some((at, from)) = star {
            (p, n) = (at + 1, from + 1);
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for one character, if it fits.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => class(pattern, c),
        other => (*other == c).then_some(1),
    }
}

/// `[abc]`, `[a-z]`, `[^a-z]`.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let start = if negated { 2 } else { 1 };
    let end = start + pattern.get(start..)?.iter().position(|c| *c == ']')?;
    let members = &pattern[start..end];
    let range = |at: usize| members.get(at + 1) == Some(&'-') && at + 2 < members.len();
    let mut at = 0;
    let mut inside = false;
    while at < members.len() {
        if range(at) {
            inside |= (members[at]..=members[at + 2]).contains(&c);
            at += 3;
        } else {
            inside |= members[at] == c;
            at += 1;
        }
    }
    (inside != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&chars(pattern), &chars(name))
    }

    #[test]
    fn a_pattern_fits_as_in_a_shell() {
        for (pattern, name) in
            [("*.yml", "a.yml"), ("a*b*c", "axbbxc"), ("?[0-9].y", "x7.y"), ("[^a]*", "b"), ("*", "x")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.yml", "a.yaml"), ("[^a]*", "ab"), ("?", ""), ("a*b", "a"), ("[0-9]", "x"), ("[a", "a")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_find_files_in_order_and_paths_are_themselves() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", ".hidden.yml", "c.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        std::fs::create_dir(folder.path().join("d.yml")).unwrap();
        let found = find(&folder.path().join("*.yml")).unwrap();
        assert_eq!(found, [folder.path().join("a.yml"), folder.path().join("b.yml")]);
        assert_eq!(find(Path::new("/none/at-all.yml")).unwrap(), [Path::new("/none/at-all.yml")]);
        assert_eq!(find(Path::new("/none/*/x*.yml")).unwrap(), Vec::<PathBuf>::new());
    }
}
