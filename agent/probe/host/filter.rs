//! What is left out by name.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

/// The largest compiled pattern, in bytes.
const SIZE_LIMIT: usize = 1024 * 1024;
/// The most names that are remembered: those of containers come and go.
const MOST: usize = 1_000;

/// A pattern that may match anywhere in a name; an empty one leaves out nothing. What it said of a name is kept, and
/// the compiled pattern, which is a hundred times as large, is let go after the look: the same names come every time.
pub struct Filter {
    pattern: String,
    compiled: Option<Regex>,
    known: HashMap<String, bool>,
}

impl Filter {
    pub fn new(pattern: &str) -> Result<Self, String> {
        compile(pattern)?;
        Ok(Filter { pattern: pattern.to_owned(), compiled: None, known: HashMap::new() })
    }

    pub fn excludes(&mut self, name: &str) -> bool {
        if self.pattern.is_empty() {
            return false;
        }
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        if self.compiled.is_none() {
            // It compiled before.
            self.compiled = compile(&self.pattern).ok();
        }
        let excluded = self.compiled.as_ref().is_some_and(|pattern| pattern.is_match(name.as_bytes()));
        self.known.insert(name.to_owned(), excluded);
        excluded
    }

    /// Lets go of what the next look is unlikely to need.
    pub fn rest(&mut self) {
        self.compiled = None;
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    // Bytes: names of devices are hardly more, and classes of Unicode take long to compile.
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(SIZE_LIMIT).build();
    built.map_err(|error| format!("the pattern {pattern:?} is not valid: {error}"))
}
