//! Where in a template a function is called, so that what fails says so in Go's words: each call has a name of its
//! own, under which it is known to the template, and checks its arguments before the function sees them.

use std::sync::Arc;

use gotmpl::{TemplateError, Value, ValueFunc};

use super::print::{self, type_name};
use super::tree::{FAIL, FIELD, ITERATE, METHOD, PRINT};

/// Stands for the template's name in a message: the alert's, which a template does not know.
pub const NAME: &str = "\0name";

/// A place: `1:115`, and the text of the node that stands there.
#[derive(Clone)]
pub struct Place {
    pub at: String,
    pub text: String,
}

/// One call of a function.
#[derive(Clone)]
pub struct Site {
    pub function: String,
    /// The template in which it stands.
    pub template: String,
    pub call: Place,
    /// What is evaluated last before the call: blamed for a piped argument.
    pub last: Place,
    /// The arguments that are written out: their places, and whether each is a constant.
    pub args: Vec<(Place, bool)>,
}

impl Site {
    /// The function with its arguments checked and its errors placed.
    pub fn wrap(self, function: ValueFunc) -> ValueFunc {
        Arc::new(move |args: &[Value]| {
            self.check(args)?;
            function(args).map_err(|error| match error {
                TemplateError::Exec(message) if self.is_ours() => self.error(&self.call, &message),
                TemplateError::Exec(message) => {
                    self.error(&self.call, &format!("error calling {}: {message}", self.function))
                }
                other => other,
            })
        })
    }

    fn is_ours(&self) -> bool {
        [FAIL, FIELD, ITERATE, METHOD, PRINT].contains(&&*self.function)
    }

    fn error(&self, place: &Place, message: &str) -> TemplateError {
        let Place { at, text } = place;
        let template = &self.template;
        TemplateError::Exec(format!("template: {NAME}:{at}: executing \"{template}\" at <{text}>: {message}"))
    }

    fn check(&self, args: &[Value]) -> Result<(), TemplateError> {
        let Some((kinds, more)) = signature(&self.function) else { return Ok(()) };
        if args.len() < kinds.len() || (args.len() > kinds.len() && !more) {
            let least = if more { "at least " } else { "" };
            let (name, want, got) = (&self.function, kinds.len(), args.len());
            let name_only = Place { at: self.call.at.clone(), text: name.clone() };
            let message = format!("wrong number of args for {name}: want {least}{want} got {got}");
            return Err(self.error(&name_only, &message));
        }
        for (index, (kind, value)) in kinds.iter().zip(args).enumerate() {
            let written = self.args.get(index);
            if let Some(message) = kind.mismatch(value, written) {
                return Err(self.error(written.map_or(&self.last, |(place, _)| place), &message));
            }
        }
        Ok(())
    }
}

/// What an argument must be.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Any,
    Text,
    Sample,
    Vector,
}

impl Kind {
    fn mismatch(self, value: &Value, written: Option<&(Place, bool)>) -> Option<String> {
        let name = match self {
            Kind::Any => return None,
            Kind::Text => "string",
            Kind::Sample => "*template.sample",
            Kind::Vector => "template.queryResult",
        };
        let got = type_name(value);
        if got == name {
            return None;
        }
        Some(match written {
            // Go gives nil to the function, which fails on it.
            Some((_, true)) if matches!(value, Value::Nil) && self != Kind::Text => return None,
            Some((_, true)) if matches!(value, Value::Nil) => format!("cannot assign nil to {name}"),
            Some((place, true)) if self == Kind::Text => format!("expected string; found {}", place.text),
            Some((place, true)) => format!("can't handle {} for arg of type {name}", place.text),
            _ => format!("wrong type for value; expected {name}; got {got}"),
        })
    }
}

/// What a function takes, and whether more of anything.
fn signature(function: &str) -> Option<(&'static [Kind], bool)> {
    use Kind::{Any, Sample, Text, Vector};
    Some(match function {
        "print" | "println" | "html" | "js" | "urlquery" | "args" => (&[], true),
        "printf" => (&[Text], true),
        "index" | "slice" | "call" => (&[Any], true),
        "eq" => (&[Any], true),
        "ne" | "lt" | "le" | "gt" | "ge" => (&[Any, Any], false),
        "not" | "len" | "humanize" | "humanize1024" | "humanizeDuration" | "humanizePercentage"
        | "humanizeTimestamp" | "toTime" => (&[Any], false),
        "title" | "toUpper" | "toLower" | "stripPort" | "stripDomain" | "parseDuration" | "query" | "safeHtml"
        | "graphLink" | "tableLink" => (&[Text], false),
        "match" => (&[Text, Text], false),
        "reReplaceAll" => (&[Text, Text, Text], false),
        "first" => (&[Vector], false),
        "value" | "strvalue" => (&[Sample], false),
        "label" => (&[Text, Sample], false),
        "sortByLabel" => (&[Text, Vector], false),
        "pathPrefix" | "externalURL" => (&[], false),
        _ => return None,
    })
}

/// What `range` may go through: `value`, with the number of variables that it has last.
pub fn iterate(args: &[Value]) -> Result<Value, TemplateError> {
    let [variables, value] = args else { return Ok(Value::Nil) };
    let text = print::value(value);
    match value {
        Value::Int(_) if variables.as_int() > Some(1) => {
            Err(TemplateError::Exec(format!("can't use {text} to iterate over more than one variable")))
        }
        Value::Int(_) | Value::List(_) => Ok(value.clone()),
        Value::Map(_) if type_name(value).starts_with("map[") => Ok(value.clone()),
        _ => Err(TemplateError::Exec(format!("range can't iterate over {text}"))),
    }
}
