//! Walks a YAML tree by hand, so that every problem of a file is found in one pass.

use std::time::Duration;

use crate::config::tree::{self, Key, Node, Problem, Value};
use crate::duration;

/// Collects what is wrong. Each method gives what it can and goes on.
#[derive(Debug, Default)]
pub struct Reader {
    pub problems: Vec<Problem>,
    /// The refusal of an unknown key, where there is a better one than the nearest known key: (what, key).
    pub unsupported: Option<fn(&str, &str) -> Option<String>>,
    /// Whether keys that are not known are passed over.
    pub lenient: bool,
}

impl Reader {
    /// The problems in the order of the file, or what was read.
    pub fn finish<T>(mut self, read: T) -> Result<T, Vec<Problem>> {
        self.problems.sort_by(|a, b| a.at.cmp(&b.at));
        if self.problems.is_empty() { Ok(read) } else { Err(self.problems) }
    }

    /// Refuses keys that do not belong here.
    pub fn keys(&mut self, node: &Node, known: &[&str], what: &str) {
        if !matches!(node.value, Value::Mapping(_)) {
            self.refuse(node, format!("{what} is a mapping with {}, not {}", known.join(", "), node.describe()));
        }
        for (key, _) in node.entries().iter().filter(|_| !self.lenient) {
            if !known.contains(&key.text.as_str()) {
                let better = self.unsupported.and_then(|refusal| refusal(what, &key.text));
                let message = better.unwrap_or_else(|| tree::unknown_key(&key.text, known));
                self.problems.push(Problem::new(&key.at, message));
            }
        }
    }

    /// The text under a key that must be there and say something; empty where it does not.
    pub fn required(&mut self, node: &Node, key: &str, what: &str) -> String {
        let text = node.get(key).map(|found| self.scalar(found));
        match text {
            Some(None) => String::new(),
            Some(Some(text)) if !text.is_empty() => text,
            _ => {
                if matches!(node.value, Value::Mapping(_)) {
                    self.refuse(node.get(key).unwrap_or(node), format!("{what} needs `{key}`"));
                }
                String::new()
            }
        }
    }

    pub fn duration(&mut self, node: &Node, key: &str) -> Option<Duration> {
        let found = node.get(key).filter(|found| found.value != Value::Null)?;
        let text = self.scalar(found)?;
        let parsed = duration::parse(&text).and_then(|parsed| match i64::try_from(parsed.as_nanos()) {
            Ok(_) => Ok(parsed),
            Err(_) => Err(format!("\"{text}\" is longer than 292 years")),
        });
        parsed.map_err(|message| self.refuse(found, format!("`{key}`: {message}"))).ok()
    }

    /// A scalar's text; `null` is empty, as Prometheus reads it.
    pub fn scalar(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Null => Some(String::new()),
            Value::Scalar { text, .. } => Some(text.clone()),
            Value::Sequence(_) | Value::Mapping(_) => {
                self.refuse(node, format!("a text is wanted here, not {}", node.describe()));
                None
            }
        }
    }

    pub fn list<'a>(&mut self, node: &'a Node, key: &str) -> &'a [Node] {
        match node.get(key).map(|found| (found, &found.value)) {
            Some((_, Value::Sequence(items))) => items,
            None | Some((_, Value::Null)) => &[],
            Some((found, _)) => {
                self.refuse(found, format!("`{key}` is a list, not {}", found.describe()));
                &[]
            }
        }
    }

    pub fn mapping<'a>(&mut self, node: &'a Node, key: &str) -> &'a [(Key, Node)] {
        match node.get(key).map(|found| (found, &found.value)) {
            Some((_, Value::Mapping(entries))) => entries,
            None | Some((_, Value::Null)) => &[],
            Some((found, _)) => {
                self.refuse(found, format!("`{key}` is a mapping of names to texts, not {}", found.describe()));
                &[]
            }
        }
    }

    pub fn refuse(&mut self, node: &Node, message: String) {
        self.problems.push(Problem::new(&node.at, message));
    }
}
