//! Regular expressions as RE2 (Go's `regexp`) reads them, on Rust's engine. What the two read differently is
//! translated; what cannot be is refused by name. A plain alternation of words needs no engine at all.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// The largest compiled pattern, bytes.
const SIZE_LIMIT: usize = 2 * 1024 * 1024;
/// The longest pattern, bytes.
const LENGTH_LIMIT: usize = 16 * 1024;
/// The longest pattern, bytes, that cannot come near [`SIZE_LIMIT`] where nothing in it is counted.
const SHORT: usize = 64;
/// RE2's largest repetition count.
const REPEAT_LIMIT: u32 = 1_000;

/// A pattern that matches whole values.
#[derive(Debug)]
pub enum Pattern {
    /// `a|b|c`: sorted.
    Words(Vec<Box<str>>),
    Regex(Regex),
    /// Compiled when it is first asked: most of what rules select is exposed by nobody.
    Lazy {
        /// For Rust's engine; it can be compiled.
        source: String,
        regex: OnceLock<Option<Regex>>,
    },
}

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, String> {
        if pattern.len() <= LENGTH_LIMIT
            && let Some(words) = words(pattern)
        {
            return Ok(Pattern::Words(words));
        }
        if pattern.len() > SHORT || pattern.contains('{') {
            return anchored(pattern).map(Pattern::Regex);
        }
        let source = source(pattern)?;
        // Compiling says better what is wrong.
        match regex_syntax::parse(&source) {
            Ok(_) => Ok(Pattern::Lazy { source, regex: OnceLock::new() }),
            Err(_) => anchored(pattern).map(Pattern::Regex),
        }
    }

    pub fn is_match(&self, value: &str) -> bool {
        match self {
            Pattern::Words(words) => words.binary_search_by(|word| (**word).cmp(value)).is_ok(),
            Pattern::Regex(regex) => regex.is_match(value),
            Pattern::Lazy { source, regex } => {
                let regex = regex.get_or_init(|| RegexBuilder::new(source).size_limit(SIZE_LIMIT).build().ok());
                regex.as_ref().is_some_and(|regex| regex.is_match(value))
            }
        }
    }
}

/// RE2's pattern on Rust's engine, for whole texts; its groups keep their numbers and names.
pub fn anchored(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LENGTH_LIMIT {
        return Err(format!("the regular expression is longer than {LENGTH_LIMIT} bytes"));
    }
    let built = RegexBuilder::new(&source(pattern)?).size_limit(SIZE_LIMIT).build();
    built.map_err(|error| format!("invalid regular expression {pattern:?}: {}", reason(&error)))
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

/// From RE2's syntax to that of Rust's engine, one pass over the pattern.
struct Translation<'a> {
    pattern: &'a str,
    rest: std::str::Chars<'a>,
    out: String,
    /// The item before is a repetition, which must not be repeated again.
    repeated: bool,
}

impl<'a> Translation<'a> {
    fn of(pattern: &'a str) -> Result<String, String> {
        let mut this = Translation { pattern, rest: pattern.chars(), out: String::new(), repeated: false };
        while let Some(c) = this.rest.next() {
            let repeats = this.item(c)?;
            this.repeated = repeats;
        }
        Ok(this.out)
    }

    /// Translates one item; says whether it was a repetition.
    fn item(&mut self, c: char) -> Result<bool, String> {
        match c {
            '\\' => self.escape(false)?,
            '[' => self.class()?,
            '(' if self.rest.as_str().starts_with('?') => self.group()?,
            '*' | '+' | '?' => return self.repetition(c).map(|()| true),
            '{' => match braces(self.rest.as_str()) {
                Some(length) => return self.counted(length).map(|()| true),
                None => self.out.push_str("\\{"),
            },
            '}' => self.out.push_str("\\}"),
            c => self.out.push(c),
        }
        Ok(false)
    }

    fn repetition(&mut self, c: char) -> Result<(), String> {
        if self.repeated {
            return Err(self.refusal("a repetition of a repetition"));
        }
        self.out.push(c);
        self.lazy();
        Ok(())
    }

    fn counted(&mut self, length: usize) -> Result<(), String> {
        if self.repeated {
            return Err(self.refusal("a repetition of a repetition"));
        }
        let text = &self.rest.as_str()[..length];
        let too_many = |number: &str| number.parse::<u32>().is_ok_and(|number| number > REPEAT_LIMIT);
        if text.trim_end_matches('}').split(',').any(too_many) {
            return Err(self.refusal("a repetition of more than 1000"));
        }
        self.out.push('{');
        self.out.push_str(text);
        self.rest = self.rest.as_str()[length..].chars();
        self.lazy();
        Ok(())
    }

    fn lazy(&mut self) {
        if let Some(rest) = self.rest.as_str().strip_prefix('?') {
            self.out.push('?');
            self.rest = rest.chars();
        }
    }

    /// `(?…`: flags are RE2's `imsU`; named groups and `(?:` pass as they are.
    fn group(&mut self) -> Result<(), String> {
        let flags = self.rest.as_str()[1..].chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-');
        let flags: String = flags.collect();
        let after = self.rest.as_str()[1 + flags.len()..].chars().next();
        let are_flags = matches!(after, Some(':' | ')'));
        if let Some(flag) = flags.chars().find(|flag| are_flags && !"imsU-".contains(*flag)) {
            return Err(self.refusal(&format!("the flag {flag:?}")));
        }
        self.out.push('(');
        Ok(())
    }

    /// What follows a backslash, outside or inside a class.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err(self.refusal("a backslash at the end")) };
        let set = |inside: &str, outside: &str| if in_class { inside.to_owned() } else { outside.to_owned() };
        let text = match c {
            'd' => set("0-9", "[0-9]"),
            's' => set(r"\t\n\x0c\r ", r"[\t\n\x0c\r ]"),
            'w' => set("0-9A-Za-z_", "[0-9A-Za-z_]"),
            'D' => "[^0-9]".to_owned(),
            'S' => r"[^\t\n\x0c\r ]".to_owned(),
            'W' => "[^0-9A-Za-z_]".to_owned(),
            'b' if !in_class => r"(?-u:\b)".to_owned(),
            'Q' if !in_class => self.quoted(),
            'B' | 'C' | 'G' | 'K' | 'R' | 'X' | 'Z' => return Err(self.refusal(&format!("\\{c}"))),
            '<' | '>' => c.to_string(),
            c => format!("\\{c}"),
        };
        self.out.push_str(&text);
        Ok(())
    }

    /// `\Q…\E`: everything up to `\E`, or to the end, as it stands.
    fn quoted(&mut self) -> String {
        let rest = self.rest.as_str();
        let (literal, after) = rest.split_once("\\E").unwrap_or((rest, ""));
        self.rest = after.chars();
        regex::escape(literal)
    }

    /// A class: Rust reads `[`, `&&`, `--` and `~~` in it in its own way.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        let mut first = true;
        if let Some(rest) = self.rest.as_str().strip_prefix('^') {
            self.out.push('^');
            self.rest = rest.chars();
        }
        while let Some(c) = self.rest.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                ']' => self.out.push_str("\\]"),
                '\\' => self.escape(true)?,
                '[' => self.named_class(),
                '&' | '~' => self.out.extend(['\\', c]),
                '-' if self.rest.as_str().starts_with('-') => return Err(self.refusal("-- in a class")),
                c => self.out.push(c),
            }
            first = false;
        }
        Err(self.refusal("a class without its ]"))
    }

    /// `[:alpha:]` passes; any other bracket in a class is itself.
    fn named_class(&mut self) {
        let rest = self.rest.as_str();
        let end = rest.find(":]").filter(|_| rest.starts_with(':')).map(|end| end + 2);
        match end {
            Some(end) => {
                self.out.push('[');
                self.out.push_str(&rest[..end]);
                self.rest = rest[end..].chars();
            }
            None => self.out.push_str("\\["),
        }
    }

    fn refusal(&self, what: &str) -> String {
        format!("invalid regular expression {:?}: RE2 does not have {what}", self.pattern)
    }
}

/// The length of `n}`, `n,}` or `n,m}` at the start of a text; `None`: the brace before it is itself.
fn braces(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let (low, high) = rest[..end].split_once(',').unwrap_or((&rest[..end], "0"));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    (!low.is_empty() && digits(low) && digits(high)).then_some(end + 1)
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
            ("[a--b]", "-- in a class"),
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
