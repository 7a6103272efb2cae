//! Classes, and the escapes that stand for characters and sets of them. Every character goes to Rust's engine by its
//! number, since it reads `[`, `&&`, `--` and `~~` in a class in its own way.

use super::translation::Translation;

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

impl<'a> Translation<'a> {
    /// A class whose `[` has been read.
    pub fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.as_str().starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            match self.rest.clone().next() {
                None => return Err(self.refusal("a class without its ]")),
                Some(']') if !first => {
                    self.copy(1);
                    return Ok(());
                }
                Some(_) => self.class_item()?,
            }
            first = false;
        }
    }

    fn class_item(&mut self) -> Result<(), String> {
        if let Some(set) = self.posix()? {
            self.out.push_str(set);
            return Ok(());
        }
        if self.rest.as_str().starts_with('\\') {
            let before = self.rest.clone();
            self.take(1);
            if let Some(set) = self.set()? {
                self.out.push_str(&set);
                return Ok(());
            }
            self.rest = before;
        }
        let low = self.class_char()?;
        let rest = self.rest.as_str();
        let high = if rest.starts_with('-') && rest.len() > 1 && !rest.starts_with("-]") {
            self.take(1);
            self.class_char()?
        } else {
            low
        };
        if high < low {
            return Err(self.refusal("a range that runs backwards"));
        }
        self.out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high)));
        Ok(())
    }

    /// `[:alpha:]`; a bracket without its `:]` is itself.
    fn posix(&mut self) -> Result<Option<&'a str>, String> {
        let rest = self.rest.as_str();
        let Some((name, _)) = rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else { return Ok(None) };
        if !POSIX.contains(&name.trim_start_matches('^')) || name.starts_with("^^") {
            return Err(self.refusal(&format!("the class [:{name}:]")));
        }
        Ok(Some(self.take(name.len() + 4)))
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.rest.next() {
            Some('\\') => self.escaped(),
            Some(c) => Ok(c),
            None => Err(self.refusal("a class without its ]")),
        }
    }

    /// A set after a backslash, as it may stand within a class; `None`, and nothing taken, where there is none.
    pub fn set(&mut self) -> Result<Option<String>, String> {
        let set = match self.rest.clone().next() {
            Some('d') => "0-9",
            Some('D') => "[^0-9]",
            Some('s') => r"\t\n\x0c\r ",
            Some('S') => r"[^\t\n\x0c\r ]",
            Some('w') => "0-9A-Za-z_",
            Some('W') => "[^0-9A-Za-z_]",
            Some('p' | 'P') => return self.unicode().map(Some),
            _ => return Ok(None),
        };
        self.take(1);
        Ok(Some(set.to_owned()))
    }

    /// `\pL`, `\p{Greek}`, `\p{^L}`: categories and scripts, none of the other properties that Rust's engine knows.
    fn unicode(&mut self) -> Result<String, String> {
        let mut negated = self.take(1) == "P";
        let rest = self.rest.as_str();
        let (name, length) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').map_or(("", 0), |(name, _)| (name, name.len() + 2)),
            None => rest.chars().next().map_or(("", 0), |c| (&rest[..c.len_utf8()], c.len_utf8())),
        };
        let plain = name.strip_prefix('^').unwrap_or(name);
        negated ^= plain.len() < name.len();
        let is_name = !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let letter = if negated { 'P' } else { 'p' };
        let forms = [format!("\\{letter}{{gc={plain}}}"), format!("\\{letter}{{sc={plain}}}")];
        match forms.into_iter().find(|form| is_name && regex_syntax::parse(form).is_ok()) {
            Some(form) => {
                self.take(length);
                Ok(form)
            }
            None => Err(self.refusal(&format!("the Unicode class {name:?}"))),
        }
    }

    /// The one character that an escape after its backslash stands for.
    pub fn escaped(&mut self) -> Result<char, String> {
        let Some(c) = self.rest.next() else { return Err(self.refusal("a backslash at the end")) };
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hex(),
            '0'..='7' => return self.octal(c),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
            c => return Err(self.refusal(&format!("\\{c}"))),
        })
    }

    /// `\x41` or `\x{10FFFF}`.
    fn hex(&mut self) -> Result<char, String> {
        let rest = self.rest.as_str();
        let (digits, length) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').map_or(("", 0), |(digits, _)| (digits, digits.len() + 2)),
            None => rest.get(..2).map_or(("", 0), |digits| (digits, 2)),
        };
        let only_digits = digits.chars().all(|c| c.is_ascii_hexdigit());
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| only_digits);
        match number.and_then(char::from_u32) {
            Some(c) => {
                self.take(length);
                Ok(c)
            }
            None => Err(self.refusal("such a \\x")),
        }
    }

    /// `\101` or `\0`; one digit that is not 0 would refer back.
    fn octal(&mut self, first: char) -> Result<char, String> {
        let more = self.rest.as_str().bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
        if more == 0 && first != '0' {
            return Err(self.refusal("backreferences"));
        }
        let digits = format!("{first}{}", self.take(more));
        let number = u32::from_str_radix(&digits, 8).ok();
        number.and_then(char::from_u32).ok_or_else(|| self.refusal("such an octal escape"))
    }
}
