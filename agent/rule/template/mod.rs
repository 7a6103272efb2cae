//! Go's text/template as Prometheus's alert rules use it, over the crate `gotmpl`. Where that crate prints
//! otherwise than Go does (a missing label, a float), the tree is rewritten once after it is parsed.

mod blocks;
mod builtins;
mod format;
mod functions;
mod literals;
mod print;
mod site;
mod time;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gotmpl::{TemplateError, Value};

use crate::sample::{Labels, Sample};

/// A page's text is cut after this many bytes: a template can repeat itself without an end.
const MAX_OUTPUT: usize = 16 * 1024;
/// The most different expressions that one template may ask for.
const MAX_QUERIES: usize = 32;
const MAX_RANGE_STEPS: u64 = 10_000;
const MAIN: &str = "main";

/// A label's or an annotation's text. What never becomes active costs its text only.
#[derive(Clone)]
pub struct Template {
    text: Arc<str>,
    compiled: OnceLock<Result<Compiled, String>>,
}

#[derive(Clone)]
enum Compiled {
    Plain(Arc<gotmpl::Template>),
    /// It calls what depends on where it is expanded, and is put together for each expansion.
    Placed(Arc<tree::Parsed>),
}

/// What is wrong with a template, and where: a byte offset in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    pub offset: usize,
    pub message: String,
}

/// What a template sees: `$labels` (the expression's labels), `$value`, `$externalLabels`, `$externalURL`.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// The alert's name, for what is said about errors.
    pub name: &'a str,
    pub labels: &'a Labels,
    pub value: f64,
    pub external_labels: &'a BTreeMap<String, String>,
    pub external_url: &'a str,
    /// What `query` asks: an expression to its value as a vector, now.
    pub query: &'a Query<'a>,
}

pub type Query<'a> = dyn Fn(&str) -> Result<Vec<Sample>, String> + 'a;

impl Template {
    /// Checks syntax, functions and variables, so that what loads can only fail on its data.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        tree::parse(text)?;
        Ok(Template { text: text.into(), compiled: OnceLock::new() })
    }

    /// A text that may be no template: then what expands is what is wrong with it.
    pub fn unchecked(text: &str) -> Self {
        Template { text: text.into(), compiled: OnceLock::new() }
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
        match self.compiled.get_or_init(|| self.compiled()) {
            Ok(Compiled::Plain(template)) => execute(template, &value_of(data)).into_text(data.name),
            Ok(Compiled::Placed(parsed)) => expand(parsed, data),
            Err(message) => {
                let name = data.name;
                format!("<error expanding template: error parsing template __alert_{name}: {message}>")
            }
        }
    }

    fn compiled(&self) -> Result<Compiled, String> {
        let parsed = tree::parse(&self.text).map_err(|mistakes| mistakes[0].message.clone())?;
        let placed = functions::PLACED.iter().any(|name| self.text.contains(name));
        let template = || Compiled::Plain(Arc::new(compile(&parsed, &functions::all())));
        Ok(if placed { Compiled::Placed(Arc::new(parsed)) } else { template() })
    }
}

/// What an execution wrote, and how it ended.
struct Execution {
    text: String,
    outcome: Result<(), TemplateError>,
}

impl Execution {
    fn into_text(self, name: &str) -> String {
        let message = match self.outcome {
            Ok(()) => return self.text,
            Err(TemplateError::Write) => return self.text + "…",
            Err(TemplateError::Exec(message)) if message.contains(site::NAME) => {
                message.replace(site::NAME, &alert(name))
            }
            Err(error) => format!("template: {}: {error}", alert(name)),
        };
        format!("<error expanding template: error executing template {}: {message}>", alert(name))
    }
}

/// What Prometheus calls the template of an alert.
fn alert(name: &str) -> String {
    format!("__alert_{name}")
}

fn execute(template: &gotmpl::Template, value: &Value) -> Execution {
    let mut output = Bounded { text: String::new() };
    let outcome = template.execute_template_fmt(&mut output, MAIN, value);
    Execution { text: output.text, outcome }
}

/// Expands as often as a `query` asks for what is not known yet.
fn expand(parsed: &tree::Parsed, data: &Data) -> String {
    let answers = Arc::new(Mutex::new(functions::Answers::default()));
    let mut functions = functions::all();
    functions.extend(functions::placed(data.external_url, &answers));
    let template = compile(parsed, &functions);
    let value = value_of(data);
    for _ in 0..MAX_QUERIES {
        let execution = execute(&template, &value);
        let asked = answers.lock().unwrap_or_else(PoisonError::into_inner).asked.take();
        let Some(asked) = asked else { return execution.into_text(data.name) };
        let answer = (data.query)(&asked).map(|samples| functions::vector(&samples));
        answers.lock().unwrap_or_else(PoisonError::into_inner).known.insert(asked, answer);
    }
    let name = alert(data.name);
    format!("<error expanding template: error executing template {name}: more than {MAX_QUERIES} queries>")
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

fn compile(parsed: &tree::Parsed, functions: &gotmpl::FuncMap) -> gotmpl::Template {
    let sites = parsed.sites.iter().enumerate().filter_map(|(index, site)| {
        let function = Arc::clone(functions.get(&site.function)?);
        Some((tree::name_of(index), site.clone().wrap(function)))
    });
    let mut template = gotmpl::Template::new("").max_range_iters(MAX_RANGE_STEPS).funcs(sites.collect());
    for (name, body) in &parsed.named {
        template = template.add_parse_tree(name, body.clone());
    }
    template.add_parse_tree(MAIN, parsed.main.clone())
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
mod recorded;
#[cfg(test)]
mod tests;
