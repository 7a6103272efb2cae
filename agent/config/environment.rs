//! The environment as a layer above the file: `WATCHKEEPER__DEFAULTS__INTERVAL=10s` is `defaults: {interval: 10s}`.
//! Mappings only. Names are compared without case, and `_` also stands for `-`, which a variable's name cannot hold.

use std::collections::BTreeMap;

use config::{Environment, Source};

use super::tree::{Key, Node, Position, Problem, Value};

const PREFIX: &str = "WATCHKEEPER";
const SEPARATOR: &str = "__";

/// Where what a variable gives stands.
pub(super) fn position(variable: &str) -> Position {
    Position::outside(format!("environment variable {variable}"))
}

/// The variable that a position names, if it is one.
pub(super) fn variable_at(at: &Position) -> Option<&str> {
    if at.line == 0 { at.file.strip_prefix("environment variable ") } else { None }
}

/// Lays every `WATCHKEEPER__…` variable over the tree.
pub(super) fn apply(tree: &mut Node, env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    for (path, value) in overrides(env) {
        let at = position(&variable_of(&path, env));
        let written = format!("${}", variable_of(&path, env));
        let value = Node::from_variable(&at, &value, true, &written);
        let segments: Vec<&str> = path.split(SEPARATOR).collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            problems.push(Problem::new(&at, "a name between two `__` is missing: write WATCHKEEPER__SECTION__KEY"));
            continue;
        }
        set(tree, &segments, value);
    }
}

/// What the environment says for a key at the top.
pub(super) fn value(key: &str, env: &BTreeMap<String, String>) -> Option<Node> {
    let value = overrides(env).remove(key)?;
    let variable = variable_of(key, env);
    Some(Node::from_variable(&position(&variable), &value, true, &format!("${variable}")))
}

/// Path (lower case, joined by `__`) and value of each variable; an empty one counts as unset.
fn overrides(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let variables = env.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let source =
        Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).ignore_empty(true).source(Some(variables));
    let found = source.collect().unwrap_or_default();
    found.into_iter().filter_map(|(path, value)| Some((path, value.into_string().ok()?))).collect()
}

fn variable_of(path: &str, env: &BTreeMap<String, String>) -> String {
    let lower = format!("{PREFIX}{SEPARATOR}{path}").to_lowercase();
    env.keys().find(|name| name.to_lowercase() == lower).cloned().unwrap_or(lower)
}

/// Sets the value at a path, making mappings on the way.
fn set(node: &mut Node, path: &[&str], value: Node) {
    let [name, rest @ ..] = path else {
        *node = value;
        return;
    };
    if !matches!(node.value, Value::Mapping(_)) {
        *node = Node::new(&value.at, Value::Mapping(Vec::new()));
    }
    let Value::Mapping(entries) = &mut node.value else { return };
    let found = entries.iter().position(|(key, _)| same_name(&key.text, name)).unwrap_or_else(|| {
        let key = Key { text: (*name).to_owned(), at: value.at.clone() };
        entries.push((key, Node::new(&value.at, Value::Null)));
        entries.len() - 1
    });
    set(&mut entries[found].1, rest, value);
}

fn same_name(key: &str, segment: &str) -> bool {
    key.to_lowercase().replace('-', "_") == segment.replace('-', "_")
}

/// Lays `over` on `base`: mappings key by key, everything else whole. `false` over a mapping leaves it out.
pub(super) fn merge(base: Node, over: Node) -> Node {
    match (base.value, over.value) {
        (Value::Mapping(mut entries), Value::Mapping(more)) => {
            let below = entries.len();
            let mut left_out = Vec::new();
            for (key, value) in more {
                match entries[..below].iter().position(|(known, _)| known.text == key.text) {
                    Some(found) if matches!(entries[found].1.value, Value::Mapping(_)) && is_false(&value) => {
                        // Found by name, so that the places of the others do not matter.
                        entries[found].1.value = Value::Null;
                        left_out.push(key.text);
                    }
                    Some(found) => {
                        let (_, below) = entries.remove(found);
                        entries.insert(found, (key, merge(below, value)));
                    }
                    None => entries.push((key, value)),
                }
            }
            entries.retain(|(key, _)| !left_out.contains(&key.text));
            Node { value: Value::Mapping(entries), at: over.at, origin: over.origin }
        }
        (base @ Value::Mapping(_), Value::Null) => Node { value: base, at: over.at, origin: over.origin },
        (_, value) => Node { value, ..over },
    }
}

fn is_false(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar { text, plain: true } if text == "false")
}

/// `WATCHKEEPER_LISTEN` where `WATCHKEEPER__LISTEN` was meant: a hint for each.
pub(super) fn near_misses(env: &BTreeMap<String, String>, sections: &[&str]) -> Vec<String> {
    let meant = |name: &String| {
        let rest = name.to_lowercase().strip_prefix("watchkeeper_")?.to_owned();
        let section = sections.iter().find(|section| rest == **section || rest.starts_with(&format!("{section}_")))?;
        let right = format!("WATCHKEEPER__{}", section.to_uppercase());
        Some(format!("the environment variable {name} is not read: two underscores separate, as in {right}"))
    };
    env.keys().filter_map(meant).collect()
}
