//! The functions that a template may call: Go's own, and Prometheus's (template/template.go, version 3).

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value};

use super::print;
use super::tree::{FIELD, PRINT};
use crate::duration;

/// Every function that exists here.
pub const NAMES: &[&str] = &[
    "and",
    "or",
    "not",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "len",
    "index",
    "slice",
    "call",
    "print",
    "printf",
    "println",
    "html",
    "js",
    "urlquery",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "title",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
    "stripPort",
    "parseDuration",
];

/// What Prometheus knows besides: refused by name.
pub const UNSUPPORTED: &[&str] = &[
    "query",
    "first",
    "value",
    "label",
    "strvalue",
    "args",
    "safeHtml",
    "stripDomain",
    "graphLink",
    "tableLink",
    "sortByLabel",
    "toTime",
    "toDuration",
    "now",
    "pathPrefix",
    "externalURL",
    "urlQueryEscape",
];

const MAX_REGEX: usize = 1 << 20;

type Answer = Result<Value, TemplateError>;

/// What replaces the crate's functions, or stands beside them.
pub fn all() -> FuncMap {
    let mut all = FuncMap::new();
    let mut add = |name: &str, function: fn(&[Value]) -> Answer| {
        all.insert(name.to_owned(), Arc::new(function));
    };
    add(FIELD, field);
    add(PRINT, |args| one(PRINT, args).map(|value| string(shown(value))));
    add("index", index);
    add("print", |args| Ok(string(print::sprint(args))));
    add("println", |args| Ok(string(print::sprintln(args))));
    add("printf", printf);
    add("html", |args| one("html", args).map(|value| string(gotmpl::html_escape(&shown(value)))));
    add("js", |args| one("js", args).map(|value| string(gotmpl::js_escape(&shown(value)))));
    add("urlquery", |args| one("urlquery", args).map(|value| string(gotmpl::url_encode(&shown(value)))));
    add("humanize", |args| number("humanize", args).map(|v| string(humanize(v))));
    add("humanize1024", |args| number("humanize1024", args).map(|v| string(humanize_1024(v))));
    add("humanizeDuration", |args| number("humanizeDuration", args).map(|v| string(humanize_duration(v))));
    add("humanizePercentage", |args| {
        number("humanizePercentage", args).map(|v| string(print::general(v * 100.0, 4) + "%"))
    });
    add("humanizeTimestamp", |args| humanize_timestamp(number("humanizeTimestamp", args)?).map(string));
    add("title", |args| text("title", args).map(|text| string(title(text))));
    add("toUpper", |args| text("toUpper", args).map(|text| string(text.to_uppercase())));
    add("toLower", |args| text("toLower", args).map(|text| string(text.to_lowercase())));
    add("match", matches);
    add("reReplaceAll", replace_all);
    add("stripPort", |args| text("stripPort", args).map(|text| string(strip_port(text).to_owned())));
    add("parseDuration", parse_duration);
    all
}

fn string(text: String) -> Value {
    Value::String(text.into())
}

fn wrong(message: String) -> TemplateError {
    TemplateError::Exec(message)
}

fn one<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, TemplateError> {
    match args {
        [value] => Ok(value),
        _ => Err(wrong(format!("{name} takes one argument, not {}", args.len()))),
    }
}

fn text<'a>(name: &str, args: &'a [Value]) -> Result<&'a str, TemplateError> {
    let value = one(name, args)?;
    value.as_str().ok_or_else(|| wrong(format!("{name} takes a string, not {}", value.type_name())))
}

/// Prometheus's `ConvertToFloat`: numbers, and strings that hold one.
fn number(name: &str, args: &[Value]) -> Result<f64, TemplateError> {
    match one(name, args)? {
        Value::String(text) => text.parse().map_err(|_| wrong(format!("{name}: {text:?} is not a number"))),
        value => value.as_float().ok_or_else(|| wrong(format!("{name}: can't convert {} to float", value.type_name()))),
    }
}

/// What an action writes: nothing at all is `<no value>`, unlike inside `print`.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        other => print::value(other),
    }
}

/// `value.a.b`. A label that is missing is empty; anything else that is missing is an error.
fn field(args: &[Value]) -> Answer {
    let Some((value, names)) = args.split_first() else { return Ok(Value::Nil) };
    names.iter().try_fold(value.clone(), |value, name| {
        let name = name.as_str().unwrap_or("");
        match (value.field(name), &value) {
            (Some(found), _) => Ok(found.clone()),
            (None, Value::Map(map)) if map.values().all(|value| value.as_str().is_some()) => {
                Ok(Value::String("".into()))
            }
            (None, other) => Err(wrong(format!("can't evaluate field {name} in type {}", other.type_name()))),
        }
    })
}

fn index(args: &[Value]) -> Answer {
    let Some((value, keys)) = args.split_first() else { return Err(wrong("index takes a value and its keys".into())) };
    keys.iter().try_fold(value.clone(), |value, key| match (value.index(key)?, &value) {
        (Value::Nil, Value::Map(_)) => Ok(Value::String("".into())),
        (found, _) => Ok(found),
    })
}

fn printf(args: &[Value]) -> Answer {
    match args.split_first() {
        Some((Value::String(format), rest)) => print::sprintf(format, rest).map(string).map_err(wrong),
        _ => Err(wrong("printf takes a format first".into())),
    }
}

fn matches(args: &[Value]) -> Answer {
    match args {
        [Value::String(pattern), Value::String(text)] => Ok(Value::Bool(regex(pattern)?.is_match(text))),
        _ => Err(wrong("match takes a pattern and a text".into())),
    }
}

fn replace_all(args: &[Value]) -> Answer {
    match args {
        [Value::String(pattern), Value::String(with), Value::String(text)] => {
            Ok(string(regex(pattern)?.replace_all(text, &**with).into_owned()))
        }
        _ => Err(wrong("reReplaceAll takes a pattern, a replacement and a text".into())),
    }
}

fn regex(pattern: &str) -> Result<regex::Regex, TemplateError> {
    regex::RegexBuilder::new(pattern).size_limit(MAX_REGEX).build().map_err(|error| wrong(error.to_string()))
}

fn parse_duration(args: &[Value]) -> Answer {
    let parsed = duration::parse(text("parseDuration", args)?).map_err(wrong)?;
    Ok(Value::Float(parsed.as_secs_f64()))
}

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_1024: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number with four digits and an SI prefix.
pub fn humanize(v: f64) -> String {
    if v == 0.0 || !v.is_finite() {
        print::general(v, 4)
    } else if v.abs() >= 1.0 {
        scaled_down(v, 1000.0, &LARGE)
    } else {
        scaled_up(v)
    }
}

/// A number with four digits and a binary prefix.
pub fn humanize_1024(v: f64) -> String {
    if v.abs() <= 1.0 || !v.is_finite() { print::general(v, 4) } else { scaled_down(v, 1024.0, &LARGE_1024) }
}

fn scaled_down(mut v: f64, step: f64, prefixes: &[&str]) -> String {
    let mut prefix = "";
    for next in prefixes {
        if v.abs() < step {
            break;
        }
        prefix = next;
        v /= step;
    }
    print::general(v, 4) + prefix
}

fn scaled_up(mut v: f64) -> String {
    let mut prefix = "";
    for next in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    print::general(v, 4) + prefix
}

/// Seconds as `1d 2h 3m 4s`, `59.9s` or `12.3ms`.
pub fn humanize_duration(v: f64) -> String {
    if !v.is_finite() {
        return print::general(v, 4);
    }
    if v == 0.0 {
        return "0s".to_owned();
    }
    if v.abs() < 1.0 {
        return scaled_up(v) + "s";
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let whole = v.abs() as i64;
    let (seconds, minutes, hours, days) = (whole % 60, whole / 60 % 60, whole / 3600 % 24, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", print::general(v.abs(), 4)),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    }
}

/// Unix seconds as Go prints a time: `2015-06-23 13:19:44.128 +0000 UTC`.
fn humanize_timestamp(v: f64) -> Result<String, TemplateError> {
    if !v.is_finite() {
        return Ok(print::general(v, 4));
    }
    let nanos = v * 1e9;
    let overflow = || wrong(format!("{} cannot be represented as a nanoseconds timestamp", print::float(v)));
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        return Err(overflow());
    }
    let time = jiff::Timestamp::from_millisecond(nanos as i64 / 1_000_000).map_err(|_| overflow())?;
    let text = format!("{time:.3}");
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    // The point keeps the zeros of whole seconds.
    let clock = clock.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    Ok(format!("{date} {clock} +0000 UTC"))
}

/// Go's `strings.Title`: the first letter of each word in upper case.
fn title(text: &str) -> String {
    let mut inside = false;
    let upper = text.chars().flat_map(|c| {
        let first = !inside;
        inside = c.is_alphanumeric() || c == '_';
        if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
    });
    upper.collect()
}

/// The host of `host:port` or `[v6]:port`; anything else as it is.
fn strip_port(text: &str) -> &str {
    let Some((host, port)) = text.rsplit_once(':') else { return text };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(inside) if !port.contains(']') => inside,
        None if !host.contains([':', '[', ']']) => host,
        _ => text,
    }
}
