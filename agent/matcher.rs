//! Label matchers, as PromQL selectors and Alertmanager routes write them.

mod list;
mod pattern;

#[cfg(test)]
mod oracle;

pub use pattern::{Compiled, anchored, anywhere};

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::sample::Labels;
use pattern::Pattern;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl MatchOp {
    pub fn symbol(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// `name="value"` and its kin. An absent label has the value "".
#[derive(Debug, Clone)]
pub struct Matcher {
    pub name: Arc<str>,
    pub op: MatchOp,
    pub value: Arc<str>,
    /// For the two regular expression operators. Equal ones share it.
    pattern: Option<Arc<Pattern>>,
}

impl Matcher {
    /// A matcher. A pattern is RE2's, anchored at both ends, and its `.` matches a line break too, as in Prometheus.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, String> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Pattern::shared(value)?),
        };
        Ok(Matcher { name: name.into(), op, value: value.into(), pattern })
    }

    /// Reads Alertmanager's form: `severity="critical", team=~"a|b"`, with or without braces and quotes.
    pub fn parse_list(text: &str) -> Result<Vec<Matcher>, String> {
        list::parse(text)
    }

    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => *self.value == *value,
            (MatchOp::NotEqual, _) => *self.value != *value,
            (MatchOp::Regex, Some(pattern)) => pattern.is_match(value),
            (MatchOp::NotRegex, Some(pattern)) => !pattern.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }

    /// About how many bytes its compiled pattern takes.
    pub fn size(&self) -> usize {
        self.pattern.as_ref().map_or(0, |pattern| pattern.size())
    }

    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

impl Hash for Matcher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.op, &self.value).hash(state);
    }
}

/// `name=~"value"`, with the value quoted as Go quotes it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.op.symbol(), quote(&self.value))
    }
}

/// A string in double quotes that PromQL reads back as it was.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(op: MatchOp, value: &str, label: &str) -> bool {
        Matcher::new("a", op, value).unwrap().matches(label)
    }

    #[test]
    fn an_absent_label_is_empty() {
        let labels = Labels::new([("b", "1")]);
        assert!(Matcher::new("a", MatchOp::Equal, "").unwrap().matches_labels(&labels));
        assert!(Matcher::new("a", MatchOp::NotEqual, "x").unwrap().matches_labels(&labels));
        assert!(!Matcher::new("a", MatchOp::Regex, ".+").unwrap().matches_labels(&labels));
    }

    #[test]
    fn patterns_are_anchored_and_a_dot_matches_a_line_break() {
        assert!(!matches(MatchOp::Regex, "b", "abc"));
        assert!(matches(MatchOp::Regex, "a.c", "a\nc"));
        assert!(matches(MatchOp::NotRegex, "a|b", "c"));
        assert!(!matches(MatchOp::Regex, "a|bc", "ac"), "the anchors enclose the whole alternation");
    }

    #[test]
    fn a_matcher_is_written_as_it_is_read() {
        let matcher = Matcher::new("a", MatchOp::Regex, "x\"\\d\n").unwrap();
        assert_eq!(matcher.to_string(), r#"a=~"x\"\\d\n""#);
    }
}
