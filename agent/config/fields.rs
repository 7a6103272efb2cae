//! Reads the keys of one mapping one by one, so that a wrong one hides no other.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::read::from_entry;
use super::tree::{Node, Problem, Value};
use super::words::{is_secret, unknown_key, wanted_not};
use crate::duration;
use crate::secret::{Secret, SecretSource};

pub(crate) const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A mapping whose keys are read one by one; what is wrong with each goes to `problems`.
pub(crate) struct Fields<'a, 'p> {
    pub node: &'a Node,
    pub problems: &'p mut Vec<Problem>,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// Refuses what is no mapping. Nothing at all is an empty one: `targets:` with every line commented out.
    pub fn of(node: &'a Node, what: &str, problems: &'p mut Vec<Problem>) -> Option<Self> {
        if matches!(node.value, Value::Mapping(_) | Value::Null) {
            return Some(Fields { node, problems });
        }
        problems.push(Problem::new(&node.at, format!("`{what}`: {}", wanted_not("a mapping", &node.describe()))));
        None
    }

    /// Refuses every key that is neither known nor refused by name in `later`: what other versions understand.
    pub fn only(&mut self, known: &[&str], later: &[&str]) {
        for (key, _) in self.node.entries() {
            if later.contains(&key.text.as_str()) {
                self.problems.push(Problem::new(&key.at, unsupported(&key.text)));
            } else if !known.contains(&key.text.as_str()) {
                self.problems.push(Problem::new(&key.at, unknown_key(&key.text, known)));
            }
        }
    }

    /// The value under a key, if it is there and right.
    pub fn get<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let (key, value) = self.node.entry(key)?;
        from_entry(key, value).map_err(|problem| self.problems.push(problem)).ok()
    }

    /// A duration of at least `least`.
    pub fn duration(&mut self, key: &str, least: Duration) -> Option<Duration> {
        let value = self.get::<Span>(key)?.0;
        if value < least {
            let least = if least == SHORTEST { "more than 0".to_owned() } else { duration::format(least) + " or more" };
            self.refuse(key, &format!("{} is too short: {least} is wanted", duration::format(value)));
            return None;
        }
        if value > LONGEST {
            self.refuse(key, &format!("{} is longer than a year", duration::format(value)));
            return None;
        }
        Some(value)
    }

    /// Text that is not empty.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let text = self.get::<String>(key)?;
        if text.is_empty() {
            self.refuse(key, "text is wanted, and this is empty");
            return None;
        }
        Some(text)
    }

    /// The items of a list; none where the key is absent.
    pub fn items(&mut self, key: &str) -> &'a [Node] {
        match self.node.get(key) {
            None => &[],
            Some(Node { value: Value::Sequence(items), .. }) => items,
            Some(Node { value: Value::Null, .. }) => &[],
            Some(other) => {
                let hint =
                    if other.at.line == 0 { " (the environment gives no lists: write it in the file)" } else { "" };
                let found = if is_secret(key) { "one value".to_owned() } else { other.describe() };
                self.refuse(key, &(wanted_not("a list", &found) + hint));
                &[]
            }
        }
    }

    /// Exactly one of `key` and `key_file`.
    pub fn secret(&mut self, key: &str, required: bool) -> Option<SecretSource> {
        let file_key = format!("{key}_file");
        match (self.node.get(key).is_some(), self.node.get(&file_key).is_some()) {
            (true, true) => {
                self.refuse(&file_key, &format!("`{key}` is given too: keep one of them"));
                None
            }
            (true, false) => self.text(key).map(|text| SecretSource::Value(Secret::new(text))),
            (false, true) => self.text(&file_key).map(|path| SecretSource::File(path.into())),
            (false, false) if required => {
                let message = format!("one of `{key}` and `{file_key}` is wanted");
                self.problems.push(Problem::new(&self.node.at, message));
                None
            }
            (false, false) => None,
        }
    }

    /// A problem with the value under a key, or with the mapping where the key is absent.
    pub fn refuse(&mut self, key: &str, message: &str) {
        let at = self.node.get(key).map_or(&self.node.at, |value| &value.at);
        self.problems.push(Problem::new(at, format!("`{key}`: {message}")));
    }
}

/// The refusal of what Watchkeeper's design or Alertmanager's grammar knows and this version does not.
pub(super) fn unsupported(name: &str) -> String {
    format!("`{name}` is not supported by this version: remove it")
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Span(#[serde(deserialize_with = "crate::duration::deserialize")] Duration);
