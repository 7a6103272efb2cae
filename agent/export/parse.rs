//! Reads the text that exposes metrics: Prometheus's text format 0.0.4, and OpenMetrics 1.0.
//!
//! Entries borrow from the text. [`Sample::series`] is the text that names the series, as it stands: a reader that
//! keeps a map from it to series ids reads a steady exposition without allocating anything per series.

use std::borrow::Cow;

use thiserror::Error;

use crate::sample::{Label, METRIC_NAME, Timestamp};

use super::catalogue::FamilyKind;
use label::{Item, RawLabel, item};

pub mod bound;
mod label;

/// Which of the two formats a text claims to be: by its content type, `application/openmetrics-text` or another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus's text format 0.0.4: free comments, timestamps in milliseconds, no exemplars.
    Prometheus,
    /// OpenMetrics: ends with `# EOF`, timestamps in seconds, exemplars (which are skipped).
    OpenMetrics,
}

/// How much is read before the text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub samples: usize,
    /// Labels of one sample, its name apart.
    pub labels: usize,
    /// Bytes of one label's name or value, or of a metric's name, as written.
    pub label_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 16 << 20, samples: 100_000, labels: 64, label_bytes: 4_096 }
    }
}

/// What is wrong, and in which line (from 1).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    pub line: usize,
    pub message: String,
}

/// One line that says something.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    Help { name: &'a str, help: Cow<'a, str> },
    Type { name: &'a str, kind: FamilyKind },
    Unit { name: &'a str, unit: &'a str },
    Sample(Sample<'a>),
}

/// One sample line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<'a> {
    /// Name and labels as written. Equal texts are equal series; the converse does not hold.
    pub series: &'a str,
    /// As written: between its quotes, where it has some.
    pub name: &'a str,
    /// What follows the opening brace, up to the closing one; known to be well-formed.
    labels: &'a str,
    /// The label whose values are numbers, by the type that was declared last.
    bound: Option<&'static str>,
    pub value: f64,
    /// Milliseconds since the Unix epoch, where the line has a timestamp.
    pub timestamp: Option<Timestamp>,
}

impl<'a> Sample<'a> {
    /// The labels in the order of the text, the metric's name apart. Names are unique; values may be empty. The bounds
    /// of histograms and summaries are as Prometheus 3 keeps them (see [`bound`]).
    pub fn labels(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        let (mut rest, bound) = (self.labels, self.bound);
        std::iter::from_fn(move || {
            loop {
                let (item, after) = item(rest).ok()??;
                rest = after;
                let Item::Label(label) = item else { continue };
                let value = unescape(label.value, true);
                let value = if bound == Some(label.name) { bound::canonical(value) } else { value };
                return Some((unescape(label.name, true), value));
            }
        })
    }

    /// The labels and the name as a label set is made of them.
    pub fn to_labels(&self) -> Vec<Label> {
        let name = Label { name: METRIC_NAME.into(), value: unescape(self.name, true).into() };
        let others = self.labels().map(|(name, value)| Label { name: name.into(), value: value.into() });
        std::iter::once(name).chain(others).collect()
    }
}

/// The entries of a text, in order. After an error there are none.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a str,
    dialect: Dialect,
    limits: Limits,
    line: usize,
    samples: usize,
    seen_eof: bool,
    /// [`Sample::bound`] of what comes next.
    bound: Option<&'static str>,
    /// The label names of the sample that is being read.
    names: Vec<&'a str>,
}

/// Reads a text. Everything in it must be well-formed; the first error ends the iteration.
pub fn entries(text: &str, dialect: Dialect, limits: Limits) -> Entries<'_> {
    Entries { rest: text, dialect, limits, line: 0, samples: 0, seen_eof: false, bound: None, names: Vec::new() }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.next_entry().map_err(|message| ParseError { line: self.line.max(1), message });
        if found.is_err() {
            self.rest = "";
            self.seen_eof = true;
        }
        found.transpose()
    }
}

impl<'a> Entries<'a> {
    fn next_entry(&mut self) -> Result<Option<Entry<'a>>, String> {
        if self.line == 0 && self.rest.len() > self.limits.bytes {
            let (bytes, limit) = (self.rest.len(), self.limits.bytes);
            return Err(format!("{bytes} bytes, more than {limit}: expose less, or raise max_bytes"));
        }
        while !self.rest.is_empty() {
            let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            self.rest = rest;
            self.line += 1;
            if let Some(entry) = self.entry(line)? {
                return Ok(Some(entry));
            }
        }
        match self.dialect {
            Dialect::OpenMetrics if !self.seen_eof => Err("the text ends without \"# EOF\": it was cut off".into()),
            _ => Ok(None),
        }
    }

    fn entry(&mut self, line: &'a str) -> Result<Option<Entry<'a>>, String> {
        if self.seen_eof {
            return Err(format!("{} after \"# EOF\"", shown(line)));
        }
        let line = match self.dialect {
            Dialect::Prometheus => line.trim_matches(BLANK),
            Dialect::OpenMetrics => line,
        };
        match (line.strip_prefix('#'), self.dialect) {
            (Some(comment), Dialect::Prometheus) => self.comment(comment),
            (Some(" EOF"), Dialect::OpenMetrics) => {
                self.seen_eof = true;
                Ok(None)
            }
            (Some(comment), Dialect::OpenMetrics) => {
                let entry = self.comment(comment)?;
                entry.map(Some).ok_or_else(|| format!("expected HELP, TYPE, UNIT or EOF, found {}", shown(line)))
            }
            (None, Dialect::Prometheus) if line.is_empty() => Ok(None),
            (None, _) => self.sample(line).map(|sample| Some(Entry::Sample(sample))),
        }
    }

    /// What follows `#`. Anything but the known words is a free comment.
    fn comment(&mut self, text: &'a str) -> Result<Option<Entry<'a>>, String> {
        let (keyword, rest) = word(text.trim_start_matches(BLANK));
        let known = matches!(keyword, "HELP" | "TYPE") || keyword == "UNIT" && self.dialect == Dialect::OpenMetrics;
        // `#TYPE` and a `# TYPE` of nothing are free comments, for Prometheus too.
        let is_free = self.dialect == Dialect::Prometheus && (!text.starts_with(BLANK) || rest.is_empty());
        if !known || is_free {
            return Ok(None);
        }
        let (name, about) = self.family_name(rest)?;
        Ok(Some(match keyword {
            "HELP" => Entry::Help { name, help: unescape(about, self.dialect == Dialect::OpenMetrics) },
            "TYPE" => {
                let kind = FamilyKind::named(about.trim_end_matches(BLANK));
                let kind = kind.ok_or_else(|| format!("unknown type {} of {name}", shown(about)))?;
                self.bound = bound::label_of(kind);
                Entry::Type { name, kind }
            }
            _ => Entry::Unit { name, unit: about },
        }))
    }

    /// The name of a family, in quotes or not, and what follows it.
    fn family_name(&self, text: &'a str) -> Result<(&'a str, &'a str), String> {
        let refuse = |text| format!("expected a metric name, found {}", shown(text));
        let (name, rest) = match text.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted).filter(|end| *end > 0).ok_or_else(|| refuse(text))?;
                (&quoted[..end], quoted[end + 1..].trim_start_matches(BLANK))
            }
            None => match word(text) {
                (name, _) if name.is_empty() || metric_name(name) != name => return Err(refuse(name)),
                split => split,
            },
        };
        self.check_length("metric name", name)?;
        Ok((name, rest))
    }

    fn check_length(&self, what: &str, text: &str) -> Result<(), String> {
        match text.len() > self.limits.label_bytes {
            true => {
                let (bytes, limit) = (text.len(), self.limits.label_bytes);
                Err(format!("a {what} of {bytes} bytes, more than {limit}: expose less, or raise max_label_bytes"))
            }
            false => Ok(()),
        }
    }

    fn sample(&mut self, line: &'a str) -> Result<Sample<'a>, String> {
        self.samples += 1;
        if self.samples > self.limits.samples {
            return Err(format!("more than {} samples: expose less, or raise max_series", self.limits.samples));
        }
        let bare = metric_name(line);
        if bare.is_empty() && !line.starts_with('{') {
            return Err(format!("expected a metric name, found {}", shown(line)));
        }
        let (labels, quoted, rest) = match line[bare.len()..].trim_start_matches(BLANK).strip_prefix('{') {
            Some(braced) => self.labels(braced)?,
            None => ("", None, &line[bare.len()..]),
        };
        let name = match (bare, quoted) {
            ("", None | Some("")) => return Err(format!("expected a metric name, found {}", shown(line))),
            ("", Some(quoted)) => quoted,
            (_, Some(second)) => return Err(format!("{bare} has a second name, {}", shown(second))),
            (_, None) => bare,
        };
        self.check_length("metric name", name)?;
        let series = &line[..line.len() - rest.len()];
        let (value, timestamp) = self.value(name, rest)?;
        Ok(Sample { series, name, labels, bound: self.bound, value, timestamp })
    }

    /// The labels and the closing brace, a name in quotes among them, and what follows.
    fn labels(&mut self, text: &'a str) -> Result<(&'a str, Option<&'a str>, &'a str), String> {
        self.names.clear();
        let (mut rest, mut name) = (text, None);
        while let Some((item, after)) = item(rest)? {
            let has_comma = rest[..rest.len() - after.len()].ends_with(',');
            match item {
                Item::Label(label) => self.check_label(&label)?,
                Item::Name(second) if name.is_some() => return Err(format!("a second name, {}", shown(second))),
                Item::Name(first) => name = Some(first),
            }
            // Prometheus's format may leave commas out.
            if self.dialect == Dialect::OpenMetrics && !has_comma && !after.starts_with('}') {
                return Err(format!("expected , or }} after a label, found {}", shown(after)));
            }
            rest = after;
        }
        let after = rest.trim_start_matches(BLANK).strip_prefix('}');
        let after = after.ok_or("the braces of the labels are not closed")?;
        Ok((&text[..text.len() - after.len()], name, after))
    }

    fn check_label(&mut self, label: &RawLabel<'a>) -> Result<(), String> {
        self.check_length("label name", label.name)?;
        self.check_length("label value", label.value)?;
        if label.name == METRIC_NAME {
            return Err("the label __name__ stands before the braces".into());
        }
        if self.names.contains(&label.name) {
            return Err(format!("the label {} stands twice", label.name));
        }
        self.names.push(label.name);
        match self.names.len() > self.limits.labels {
            true => Err(format!("more than {} labels: expose less, or raise max_labels", self.limits.labels)),
            false => Ok(()),
        }
    }

    /// The value, the timestamp and, in OpenMetrics, an exemplar, which is skipped.
    fn value(&self, name: &str, rest: &str) -> Result<(f64, Option<Timestamp>), String> {
        let (value, rest) = word(rest.trim_start_matches(BLANK));
        if value.is_empty() {
            return Err(format!("expected a value after {name}, found the end of the line"));
        }
        let value = number(value)?;
        let (timestamp, rest) = match rest {
            "" => ("", ""),
            _ if self.is_exemplar(rest) => ("", rest),
            _ => word(rest),
        };
        if !rest.is_empty() && !self.is_exemplar(rest) {
            return Err(format!("expected the end of the line, found {}", shown(rest)));
        }
        let timestamp = (!timestamp.is_empty()).then(|| self.timestamp(timestamp)).transpose()?;
        Ok((value, timestamp))
    }

    fn is_exemplar(&self, rest: &str) -> bool {
        self.dialect == Dialect::OpenMetrics && rest.starts_with("# {")
    }

    fn timestamp(&self, text: &str) -> Result<Timestamp, String> {
        let wrong = || format!("expected a timestamp, found {}", shown(text));
        match self.dialect {
            Dialect::Prometheus => text.parse().map_err(|_| wrong()),
            Dialect::OpenMetrics => {
                let ms = number(text).map_err(|_| wrong())? * 1_000.0;
                // Beyond this a float does not tell milliseconds apart.
                if ms.abs() < 9e15 { Ok(ms.round() as Timestamp) } else { Err(wrong()) }
            }
        }
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Where the quote that ends a label value is.
fn closing_quote(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(index),
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    None
}

/// `\\`, `\n` and, where quotes are escaped, `\"`; any other backslash stands for itself, as in Prometheus's parser.
fn unescape(text: &str, quotes: bool) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        let (character, length) = match rest[at + 1..].chars().next() {
            Some('n') => ('\n', 2),
            Some('\\') => ('\\', 2),
            Some('"') if quotes => ('"', 2),
            _ => ('\\', 1),
        };
        plain.push(character);
        rest = &rest[at + length..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// A float as Prometheus reads one: Go's `strconv.ParseFloat` without its hexadecimal and underscored forms.
/// It takes inf, infinity and nan in any case, a sign on all but nan, and refuses what a float cannot hold.
fn number(text: &str) -> Result<f64, String> {
    let wrong = || format!("expected a number, found {}", shown(text));
    let value: f64 = text.parse().map_err(|_| wrong())?;
    let digits = text.trim_start_matches(['+', '-']);
    let spelled = digits.starts_with(|first: char| first.is_ascii_alphabetic());
    match value {
        _ if value.is_nan() && digits.len() != text.len() => Err(wrong()),
        _ if value.is_infinite() && !spelled => Err(format!("{} is out of range", shown(text))),
        _ => Ok(value),
    }
}

/// The text up to the first blank, and what follows the blanks.
fn word(text: &str) -> (&str, &str) {
    match text.find(BLANK) {
        Some(end) => (&text[..end], text[end..].trim_start_matches(BLANK)),
        None => (text, ""),
    }
}

/// The metric name at the start: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
fn metric_name(text: &str) -> &str {
    leading_name(text, |byte| byte == b':')
}

/// The label name at the start: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(text: &str) -> &str {
    leading_name(text, |_| false)
}

fn leading_name(text: &str, also: impl Fn(u8) -> bool) -> &str {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || also(byte);
    let length = text.bytes().position(|byte| !fits(byte)).unwrap_or(text.len());
    match text.starts_with(|first: char| first.is_ascii_digit()) {
        true => "",
        false => &text[..length],
    }
}

/// The start of a text, for an error message.
fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        _ if text.is_empty() => "the end of the line".into(),
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests;
