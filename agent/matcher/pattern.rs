//! Regular expressions as RE2 (Go's `regexp`) reads them, on Rust's engine. What the two read differently is
//! translated; what cannot be is refused by name. A plain alternation of words needs no engine at all.

mod class;
mod repeat;
mod translation;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak};

use regex::{Regex, RegexBuilder};

use translation::Translation;

/// The largest compiled pattern, bytes.
const SIZE_LIMIT: usize = 2 * 1024 * 1024;
/// What a compiled pattern takes at least, bytes; a larger one is told as a power of two of it.
const SMALLEST: usize = 4 * 1024;
/// The longest pattern, bytes.
const LENGTH_LIMIT: usize = 16 * 1024;
/// The longest pattern, bytes, that cannot come near [`SIZE_LIMIT`] where nothing in it is counted.
const SHORT: usize = 64;
/// The longest pattern, bytes, that is shared: what is longer is hardly written twice.
const SHARED: usize = 1024;

/// The patterns that are in use, so that equal ones of many rules are one.
static IN_USE: LazyLock<Mutex<HashMap<Box<str>, Weak<Pattern>>>> = LazyLock::new(Mutex::default);

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub regex: Regex,
    /// About how many bytes it takes, which says how long it takes to compile, and at worst to match a character.
    pub size: usize,
}

/// A pattern that matches whole values.
#[derive(Debug)]
pub enum Pattern {
    /// `a|b|c`: sorted.
    Words(Vec<Box<str>>),
    Regex(Compiled),
    /// Small, and compiled when it is first asked: most of what rules select is exposed by nobody.
    Lazy {
        /// For Rust's engine; it can be compiled.
        source: String,
        regex: OnceLock<Option<Regex>>,
    },
}

impl Pattern {
    /// The equal pattern that is in use already, or else a new one.
    pub fn shared(pattern: &str) -> Result<Arc<Self>, String> {
        if pattern.len() > SHARED {
            return Pattern::new(pattern).map(Arc::new);
        }
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = in_use.get(pattern).and_then(Weak::upgrade) {
            return Ok(found);
        }
        let made = Arc::new(Pattern::new(pattern)?);
        // Before the table grows, what nobody uses any more leaves it.
        if in_use.len() == in_use.capacity() {
            in_use.retain(|_, pattern| pattern.strong_count() > 0);
        }
        in_use.insert(pattern.into(), Arc::downgrade(&made));
        Ok(made)
    }

    fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() <= LENGTH_LIMIT
            && let Some(words) = words(pattern)
        {
            return Ok(Pattern::Words(words));
        }
        if pattern.len() > SHORT || pattern.contains('{') || pattern.contains("\\p") || pattern.contains("\\P") {
            return anchored(pattern).map(Pattern::Regex);
        }
        let source = source(pattern)?;
        // Compiling says better what is wrong.
        match regex_syntax::parse(&source) {
            Ok(_) => Ok(Pattern::Lazy { source, regex: OnceLock::new() }),
            Err(_) => anchored(pattern).map(Pattern::Regex),
        }
    }

    /// As [`Compiled::size`]; none of words.
    pub fn size(&self) -> usize {
        match self {
            Pattern::Words(_) => 0,
            Pattern::Regex(compiled) => compiled.size,
            Pattern::Lazy { .. } => SMALLEST,
        }
    }

    pub fn is_match(&self, value: &str) -> bool {
        match self {
            Pattern::Words(words) => words.binary_search_by(|word| (**word).cmp(value)).is_ok(),
            Pattern::Regex(compiled) => compiled.regex.is_match(value),
            Pattern::Lazy { source, regex } => {
                let regex = regex.get_or_init(|| RegexBuilder::new(source).size_limit(SIZE_LIMIT).build().ok());
                regex.as_ref().is_some_and(|regex| regex.is_match(value))
            }
        }
    }
}

/// RE2's pattern on Rust's engine, for whole texts; its groups keep their numbers and names.
pub fn anchored(pattern: &str) -> Result<Compiled, String> {
    built(pattern, source)
}

/// The same for what stands anywhere in a text; `.` matches no line break.
pub fn anywhere(pattern: &str) -> Result<Regex, String> {
    built(pattern, |pattern| Translation::of(pattern)).map(|compiled| compiled.regex)
}

fn built(pattern: &str, source: impl Fn(&str) -> Result<String, String>) -> Result<Compiled, String> {
    if pattern.len() > LENGTH_LIMIT {
        return Err(format!("the regular expression is longer than {LENGTH_LIMIT} bytes"));
    }
    let (source, mut size) = (source(pattern)?, SMALLEST);
    loop {
        match RegexBuilder::new(&source).size_limit(size).build() {
            Ok(regex) => return Ok(Compiled { regex, size }),
            Err(regex::Error::CompiledTooBig(_)) if size < SIZE_LIMIT => size *= 2,
            Err(error) => return Err(format!("invalid regular expression {pattern:?}: {}", reason(&error))),
        }
    }
}

fn source(pattern: &str) -> Result<String, String> {
    Ok(format!("^(?s:{})$", Translation::of(pattern)?))
}

/// The last line of the engine's message: the lines before it draw the translated pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

/// The words of an alternation of literals, with or without one group around it.
fn words(pattern: &str) -> Option<Vec<Box<str>>> {
    let inner = pattern.strip_prefix("(?:").or_else(|| pattern.strip_prefix('('));
    let inner = inner.and_then(|rest| rest.strip_suffix(')')).unwrap_or(pattern);
    if inner.contains(|c: char| r"\.+*?()[]{}^$".contains(c)) {
        return None;
    }
    let mut words: Vec<Box<str>> = inner.split('|').map(Box::from).collect();
    words.sort_unstable();
    words.dedup();
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_match(pattern: &str, value: &str) -> bool {
        Pattern::new(pattern).unwrap().is_match(value)
    }

    #[test]
    fn an_alternation_of_words_is_a_set() {
        for pattern in ["a|b|cd", "(a|b|cd)", "(?:a|b|cd)", "cd|b|a|a"] {
            assert!(matches!(Pattern::new(pattern).unwrap(), Pattern::Words(_)), "{pattern}");
            assert!(is_match(pattern, "cd") && !is_match(pattern, "c"), "{pattern}");
        }
        assert!(is_match("a|", ""), "an empty alternative matches the empty value");
        assert!(matches!(Pattern::new("(a)|(b)").unwrap(), Pattern::Lazy { .. }));
    }

    #[test]
    fn a_pattern_tells_about_how_large_it_is() {
        let size = |pattern| Pattern::new(pattern).unwrap().size();
        assert_eq!((size("a|b"), size("a.*")), (0, SMALLEST));
        assert!(SMALLEST < size(r"\pL") && size(r"\pL") < size(r"\pL{5}") && size(r"\pL{5}") < size(r"\pL{20}"));
    }

    #[test]
    fn equal_patterns_are_one_while_they_are_in_use() {
        let (one, other) = (Pattern::shared("sh.+red").unwrap(), Pattern::shared("sh.+red").unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        let (one, watch) = (Arc::downgrade(&one), drop((one, other)));
        assert_eq!((one.strong_count(), watch), (0, ()), "the table keeps nothing");
        for index in 0..10_000 {
            drop(Pattern::shared(&format!("p{index}.*")).unwrap());
        }
        assert!(IN_USE.lock().unwrap().len() < 5_000, "what is over leaves");
    }

    #[test]
    fn re2_s_forms_are_translated() {
        for (pattern, value) in [
            (r"\Qa.b\E+", "a.bbb"),
            (r"\d+\w", "12x"),
            (r"[[a]", "["),
            (r"[]a]", "]"),
            (r"[^]a]", "b"),
            (r"[&&a]", "&"),
            (r"[[:alpha:]_]+", "a_b"),
            (r"[\w-]+", "a-b"),
            (r"a{,2}", "a{,2}"),
            (r"\p{Greek}\pL[\p{Lu}]", "πaB"),
            (r"\x{41}\101[\x41-\x43]", "AAC"),
            (r"[--a]", "0"),
            (r"a{2}", "aa"),
            (r"\<b\>", "<b>"),
            (r"(?i)ABC", "abc"),
            (r"(?P<name>x)", "x"),
            (r"(?<name>x)", "x"),
            (r"x.*?", "xyz"),
        ] {
            assert!(is_match(pattern, value), "{pattern} matches {value}");
        }
        assert!(!is_match(r"\d", "٣"), "classes are ASCII's");
        assert!(!is_match(r"[^\d]", "3"));
    }

    #[test]
    fn what_re2_does_not_have_is_refused_by_name() {
        for (pattern, what) in [
            ("a**", "a repetition of a repetition"),
            ("(?x)a", "the flag 'x'"),
            (r"\C", r"\C"),
            (r"\Z", r"\Z"),
            ("a{1001}", "more than 1000"),
            ("[a--b]", "a range that runs backwards"),
            (r"\p{Alphabetic}", "the Unicode class"),
            (r"\u0061", r"\u"),
            ("(a{100}){11}", "more than 1000"),
            ("[[:foo:]]", "[:foo:]"),
            ("a\\", "a backslash at the end"),
            ("[a", "a class without its ]"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(a", "unclosed group"),
        ] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(error.contains(what), "{pattern}: {error}");
        }
    }

    #[test]
    fn a_pattern_s_size_is_bounded() {
        assert!(Pattern::new(&"[a-z]".repeat(4_000)).is_err());
        assert!(Pattern::new("(((a{1000}){1000}){1000})").is_err());
    }
}
