//! Go's text/template as Prometheus's alert rules use it, over the crate `gotmpl`. Where that crate prints
//! otherwise than Go does (a missing label, a float), the tree is rewritten once after it is parsed.

mod blocks;
mod functions;
mod print;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use gotmpl::{TemplateError, Value};

use crate::sample::Labels;

/// A page's text is cut after this many bytes: a template can repeat itself without an end.
const MAX_OUTPUT: usize = 16 * 1024;
const MAX_RANGE_STEPS: u64 = 10_000;
const MAIN: &str = "main";

/// A label's or an annotation's text. What never becomes active costs its text only.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    compiled: OnceLock<Arc<gotmpl::Template>>,
}

/// What is wrong with a template, and where: a byte offset in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    pub offset: usize,
    pub message: String,
}

/// What a template sees: `$labels` (the expression's labels), `$value`, `$externalLabels`, `$externalURL`.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    pub labels: &'a Labels,
    pub value: f64,
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
}

impl Template {
    /// Checks syntax, functions and variables, so that what loads can only fail on its data.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        tree::parse(text)?;
        Ok(Template { text: text.into(), compiled: OnceLock::new() })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Expands the template. A failure stands in the text, as Prometheus puts it there: a page is never lost
    /// for its wording. What is longer than 16 KiB is cut.
    pub fn expand(&self, data: &Data) -> String {
        if !self.text.contains("{{") {
            return self.text.to_string();
        }
        let compiled = self.compiled.get_or_init(|| Arc::new(compile(&self.text)));
        let mut output = Bounded { text: String::new() };
        match compiled.execute_template_fmt(&mut output, MAIN, &value_of(data)) {
            Ok(()) => output.text,
            Err(TemplateError::Write) => output.text + "…",
            Err(error) => format!("<error expanding template: {error}>"),
        }
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Only texts that [`Template::parse`] accepted come here; any other would expand to an error.
fn compile(text: &str) -> gotmpl::Template {
    let mut template = gotmpl::Template::new("").max_range_iters(MAX_RANGE_STEPS).funcs(functions::all());
    if let Ok(parsed) = tree::parse(text) {
        for (name, body) in parsed.named {
            template = template.add_parse_tree(&name, body);
        }
        template = template.add_parse_tree(MAIN, parsed.main);
    }
    template
}

fn value_of(data: &Data) -> Value {
    let labels = data.labels.iter().map(|label| (label.name.clone(), Value::String(label.value.clone())));
    let external =
        data.external_labels.iter().map(|(name, value)| (name.as_str().into(), Value::String(value.as_str().into())));
    let fields = [
        ("Labels", map(labels)),
        ("ExternalLabels", map(external)),
        ("ExternalURL", Value::String(data.external_url.into())),
        ("Value", Value::Float(data.value)),
    ];
    map(fields.into_iter().map(|(name, value)| (name.into(), value)))
}

fn map(entries: impl Iterator<Item = (Arc<str>, Value)>) -> Value {
    Value::Map(Arc::new(entries.collect()))
}

struct Bounded {
    text: String,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = MAX_OUTPUT - self.text.len();
        if part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        let end = (0..=room).rev().find(|at| part.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(&part[..end]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests;
