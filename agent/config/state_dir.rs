//! Where the state folder is, also when the rest of the configuration is bad: environment, then the tree as parsed,
//! then its own line where the file is no YAML at all, then the default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::tree::{self, Node};
use super::{environment, expand, files};

/// The state folder for a configuration that may be bad: `path` is the configuration file, if one is given.
pub fn find(path: Option<&Path>, env: &BTreeMap<String, String>) -> PathBuf {
    let text = path.and_then(|path| files::read_text(path).ok());
    let tree = path.zip(text).and_then(|(path, text)| {
        let parse = |text: &str| tree::parse(&path.to_string_lossy(), text).ok();
        parse(&text).or_else(|| parse(text.lines().find(|line| line.starts_with("state_dir:"))?))
    });
    let mut tree = tree.unwrap_or_else(|| tree::Node::new(&tree::Position::outside("environment"), tree::Value::Null));
    expand::expand(&mut tree, env, &mut expand::Failed::default());
    environment::apply(&mut tree, env, &mut Vec::new());
    in_tree(&tree).unwrap_or_else(|| default(env))
}

/// What the tree says, if it says something.
pub(super) fn in_tree(tree: &Node) -> Option<PathBuf> {
    let node = tree.get("state_dir")?;
    let text = node.text().filter(|text| !text.is_empty() && !text.contains("${"))?;
    Some(files::beside(&node.at, text))
}

/// `$STATE_DIRECTORY` (systemd's; the first of several), else the XDG state folder, else `/var/lib/watchkeeper`.
pub(super) fn default(env: &BTreeMap<String, String>) -> PathBuf {
    let get = |name: &str| env.get(name).map(String::as_str).filter(|value| !value.is_empty());
    if let Some(folder) = get("STATE_DIRECTORY").and_then(|folders| folders.split(':').next()) {
        return folder.into();
    }
    if let Some(folder) = get("XDG_STATE_HOME").filter(|folder| folder.starts_with('/')) {
        return Path::new(folder).join("watchkeeper");
    }
    match get("HOME") {
        Some(home) => Path::new(home).join(".local/state/watchkeeper"),
        None => "/var/lib/watchkeeper".into(),
    }
}
