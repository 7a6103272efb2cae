//! From RE2's syntax to that of Rust's engine, one pass over the pattern.

use super::repeat;

pub struct Translation<'a> {
    pattern: &'a str,
    pub rest: std::str::Chars<'a>,
    pub out: String,
    /// The item before is a repetition, which must not be repeated again.
    repeated: bool,
    counted: usize,
    names: Vec<&'a str>,
}

impl<'a> Translation<'a> {
    pub fn of(pattern: &'a str) -> Result<String, String> {
        let rest = pattern.chars();
        let mut this =
            Translation { pattern, rest, out: String::new(), repeated: false, counted: 0, names: Vec::new() };
        while let Some(c) = this.rest.next() {
            let repeats = this.item(c)?;
            this.repeated = repeats;
        }
        if this.counted > 1 && repeat::is_too_large(&this.out) {
            return Err(this.refusal("repetitions of repetitions that make more than 1000"));
        }
        Ok(this.out)
    }

    /// Translates one item; says whether it was a repetition.
    fn item(&mut self, c: char) -> Result<bool, String> {
        match c {
            '\\' => self.escape()?,
            '[' => self.class()?,
            '(' if self.rest.as_str().starts_with('?') => self.group()?,
            '*' | '+' | '?' => return self.repetition(c).map(|()| true),
            '{' => match repeat::braces(self.rest.as_str()) {
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
        let text = self.take(length);
        if repeat::is_more_than_allowed(text) {
            return Err(self.refusal("a repetition of more than 1000"));
        }
        self.counted += 1;
        self.out.push('{');
        self.out.push_str(text);
        self.lazy();
        Ok(())
    }

    fn lazy(&mut self) {
        if self.rest.as_str().starts_with('?') {
            self.copy(1);
        }
    }

    /// `(?…`: flags are RE2's `imsU`; a name is of letters, digits and underscores.
    fn group(&mut self) -> Result<(), String> {
        let inside = &self.rest.as_str()[1..];
        if let Some(named) = inside.strip_prefix("P<").or_else(|| inside.strip_prefix('<'))
            && !named.starts_with(['=', '!'])
        {
            return self.named(named);
        }
        let length = inside.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').count();
        let (flags, after) = inside.split_at(length);
        let Some(end) = after.chars().next().filter(|c| matches!(c, ':' | ')')) else {
            self.out.push('(');
            return Ok(());
        };
        let flags = self.flags(flags)?;
        self.take(2 + length);
        match (flags.as_str(), end) {
            ("", ')') => self.out.push_str("(?:)"),
            (flags, end) => self.out.push_str(&format!("(?{flags}{end}")),
        }
        Ok(())
    }

    fn named(&mut self, named: &'a str) -> Result<(), String> {
        let name = named.split_once('>').map(|(name, _)| name).unwrap_or_default();
        let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.is_empty() || !is_word {
            return Err(self.refusal("a group of that name: letters, digits and underscores"));
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) || self.names.contains(&name) {
            let pattern = self.pattern;
            return Err(format!(
                "invalid regular expression {pattern:?}: a group's name that stands twice or begins with a digit is not \
                 supported by this version"
            ));
        }
        self.names.push(name);
        self.rest = named[name.len() + 1..].chars();
        self.out.push_str(&format!("(?P<{name}>"));
        Ok(())
    }

    /// The flags, each once: Rust's engine refuses to be told twice.
    fn flags(&self, flags: &str) -> Result<String, String> {
        let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
        if let Some(flag) = flags.chars().find(|flag| !"imsU-".contains(*flag)) {
            return Err(self.refusal(&format!("the flag {flag:?}")));
        }
        if off.contains('-') || (flags.contains('-') && off.is_empty()) {
            return Err(self.refusal("a minus without a flag after it"));
        }
        let each = |wanted: &dyn Fn(char) -> bool| "imsU".chars().filter(|flag| wanted(*flag)).collect::<String>();
        let on = each(&|flag| on.contains(flag) && !off.contains(flag));
        let off = each(&|flag| off.contains(flag));
        Ok(if off.is_empty() { on } else { format!("{on}-{off}") })
    }

    /// What follows a backslash, outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let text = match self.rest.clone().next() {
            Some('b') => r"(?-u:\b)".to_owned(),
            Some('A') => r"\A".to_owned(),
            Some('z') => r"\z".to_owned(),
            Some('Q') => {
                self.take(1);
                let literal = self.quoted()?;
                self.out.push_str(&literal);
                return Ok(());
            }
            _ => match self.set()? {
                Some(set) => {
                    self.out.push_str(&format!("[{set}]"));
                    return Ok(());
                }
                None => {
                    let c = self.escaped()?;
                    self.out.push_str(&format!("\\x{{{:x}}}", u32::from(c)));
                    return Ok(());
                }
            },
        };
        self.take(1);
        self.out.push_str(&text);
        Ok(())
    }

    /// `\Q…\E`: everything in between as it stands. Without its end it would take the anchor that Prometheus adds.
    fn quoted(&mut self) -> Result<String, String> {
        let Some((literal, after)) = self.rest.as_str().split_once("\\E") else {
            return Err(self.refusal("a \\Q without its \\E"));
        };
        self.rest = after.chars();
        Ok(regex::escape(literal))
    }

    /// Takes so many bytes.
    pub fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.as_str().split_at(length);
        self.rest = rest.chars();
        taken
    }

    /// As [`Self::take`], and writes them.
    pub fn copy(&mut self, length: usize) {
        let taken = self.take(length);
        self.out.push_str(taken);
    }

    pub fn refusal(&self, what: &str) -> String {
        format!("invalid regular expression {:?}: RE2 does not have {what}", self.pattern)
    }
}
