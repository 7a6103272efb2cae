//! The functions that a template may call: Go's own, and Prometheus's (template/template.go, version 3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::{FuncMap, TemplateError, Value};

use super::print::{self, type_name};
use super::tree::{FAIL, FIELD, ITERATE, METHOD, PRINT};
use super::{builtins, format, site, time};
use crate::duration;
use crate::matcher;
use crate::sample::Sample;

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
    "pathPrefix",
    "externalURL",
];

/// Those of them that depend on where the template is expanded: see [`placed`].
pub const PLACED: [&str; 3] = ["query", "pathPrefix", "externalURL"];

type Answer = Result<Value, TemplateError>;

/// What replaces the crate's functions, or stands beside them.
pub fn all() -> FuncMap {
    let mut all = FuncMap::new();
    let mut add = |name: &str, function: fn(&[Value]) -> Answer| {
        all.insert(name.to_owned(), Arc::new(function));
    };
    add(FIELD, field);
    add(METHOD, method);
    add(ITERATE, site::iterate);
    add(FAIL, |args| Err(wrong(args.first().and_then(Value::as_str).unwrap_or_default().to_owned())));
    add(PRINT, |args| one(PRINT, args).map(|value| string(shown(value))));
    add("eq", builtins::eq);
    add("ne", builtins::ne);
    add("lt", |args| builtins::compare("lt", args));
    add("le", |args| builtins::compare("le", args));
    add("gt", |args| builtins::compare("gt", args));
    add("ge", |args| builtins::compare("ge", args));
    add("len", builtins::len);
    add("index", builtins::index);
    add("slice", builtins::slice);
    add("call", builtins::call);
    add("not", |args| one("not", args).map(|value| Value::Bool(!value.is_truthy())));
    add("print", |args| Ok(string(print::sprint(args))));
    add("println", |args| Ok(string(print::sprintln(args))));
    add("printf", |args| format::printf(args).map(string).map_err(wrong));
    add("html", |args| Ok(string(gotmpl::html_escape(&all_shown(args)))));
    add("js", |args| Ok(string(gotmpl::js_escape(&all_shown(args)))));
    add("urlquery", |args| Ok(string(gotmpl::url_encode(&all_shown(args)))));
    add("humanize", |args| number("humanize", args).map(|v| string(humanize(v))));
    add("humanize1024", |args| number("humanize1024", args).map(|v| string(humanize_1024(v))));
    add("humanizeDuration", |args| number("humanizeDuration", args).map(|v| string(humanize_duration(v))));
    add("humanizePercentage", |args| {
        number("humanizePercentage", args).map(|v| string(print::general(v * 100.0, 4) + "%"))
    });
    add("humanizeTimestamp", |args| humanize_timestamp(number("humanizeTimestamp", args)?).map(string));
    add("title", |args| text("title", args).map(|text| string(title(text))));
    add("toUpper", |args| text("toUpper", args).map(|text| string(text.chars().map(upper).collect())));
    add("toLower", |args| text("toLower", args).map(|text| string(text.chars().map(lower).collect())));
    add("match", matches);
    add("reReplaceAll", replace_all);
    add("stripPort", |args| text("stripPort", args).map(|text| string(strip_port(text).to_owned())));
    add("parseDuration", parse_duration);
    add("first", first);
    add("value", |args| sample_field("value", args, "Value"));
    add("label", |args| label("label", args));
    add("strvalue", |args| label("strvalue", &[string("__value__".to_owned()), one("strvalue", args)?.clone()]));
    add("args", |args| {
        let named = args.iter().enumerate().map(|(n, value)| (format!("arg{n}").into(), value.clone()));
        Ok(Value::Map(Arc::new(named.collect())))
    });
    add("safeHtml", |args| text("safeHtml", args).map(|text| string(text.to_owned())));
    add("stripDomain", |args| text("stripDomain", args).map(|text| string(strip_domain(text))));
    add("graphLink", |args| text("graphLink", args).map(|expr| string(link(expr, 0))));
    add("tableLink", |args| text("tableLink", args).map(|expr| string(link(expr, 1))));
    add("sortByLabel", sort_by_label);
    add("toTime", |args| to_time(number("toTime", args)?));
    all
}

/// The functions that depend on where the template is expanded: `query` answers from what is known, and tells what it
/// was asked besides.
pub fn placed(external_url: &str, answers: &Arc<Mutex<Answers>>) -> FuncMap {
    let url = external_url.to_owned();
    let path = url::Url::parse(external_url).map_or_else(|_| String::new(), |url| url.path().to_owned());
    // Without a path of its own, the URL parser sees one all the same.
    let path = if external_url.ends_with('/') { path } else { path.trim_end_matches('/').to_owned() };
    let answers = Arc::clone(answers);
    let mut placed = FuncMap::new();
    placed.insert("externalURL".to_owned(), Arc::new(move |_: &[Value]| Ok(string(url.clone()))));
    placed.insert("pathPrefix".to_owned(), Arc::new(move |_: &[Value]| Ok(string(path.clone()))));
    let query = move |args: &[Value]| {
        let asked = text("query", args)?;
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.known.get(asked) {
            Some(Ok(found)) => Ok(found.clone()),
            Some(Err(error)) => Err(wrong(error.clone())),
            None => {
                answers.asked = Some(asked.to_owned());
                Err(wrong("not asked yet".to_owned()))
            }
        }
    };
    placed.insert("query".to_owned(), Arc::new(query));
    placed
}

/// What `query` was asked while a template was expanded. Functions of a template cannot borrow the data: what is not
/// known yet breaks the expansion off, is evaluated, and the template is expanded again.
#[derive(Default)]
pub struct Answers {
    pub known: BTreeMap<String, Result<Value, String>>,
    pub asked: Option<String>,
}

/// A vector as templates see it.
pub fn vector(samples: &[Sample]) -> Value {
    let sample = |sample: &Sample| {
        let labels = sample.labels.iter().map(|label| (label.name.clone(), Value::String(label.value.clone())));
        let fields = [("Labels", Value::Map(Arc::new(labels.collect()))), ("Value", Value::Float(sample.value))];
        Value::Map(Arc::new(fields.into_iter().map(|(name, value)| (name.into(), value)).collect()))
    };
    Value::List(samples.iter().map(sample).collect())
}

fn first(args: &[Value]) -> Answer {
    let samples = match one("first", args)? {
        Value::List(samples) => samples.first().cloned(),
        _ => None,
    };
    samples.ok_or_else(|| wrong("first() called on vector with no elements".to_owned()))
}

fn sample_field(function: &str, args: &[Value], name: &str) -> Answer {
    let found = one(function, args)?.field(name).cloned();
    found.ok_or_else(|| wrong("runtime error: invalid memory address or nil pointer dereference".to_owned()))
}

fn label(function: &str, args: &[Value]) -> Answer {
    match args {
        [Value::String(name), sample] => {
            let labels = sample_field(function, std::slice::from_ref(sample), "Labels")?;
            Ok(labels.field(name).cloned().unwrap_or_else(|| string(String::new())))
        }
        _ => Err(wrong(format!("{function} takes a label's name and a sample"))),
    }
}

fn sort_by_label(args: &[Value]) -> Answer {
    let [Value::String(name), Value::List(samples)] = args else {
        return Ok(args.get(1).cloned().unwrap_or(Value::Nil));
    };
    let mut samples = samples.to_vec();
    samples.sort_by_key(|sample| {
        let label = sample.field("Labels").and_then(|labels| labels.field(name)).and_then(Value::as_str);
        label.unwrap_or("").to_owned()
    });
    Ok(Value::List(samples.into()))
}

fn link(expr: &str, tab: u8) -> String {
    let expr: String = url::form_urlencoded::byte_serialize(expr.as_bytes()).collect();
    format!("/graph?g0.expr={}&g0.tab={tab}", expr.replace('*', "%2A").replace("%7E", "~"))
}

/// The first part of a host's name, with its port; an address stays.
fn strip_domain(text: &str) -> String {
    let host = strip_port(text);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let short = host.split('.').next().unwrap_or("");
    match text.rsplit_once(':').filter(|(_, port)| host != text && !port.is_empty()) {
        Some((_, port)) if short.contains(':') => format!("[{short}]:{port}"),
        Some((_, port)) => format!("{short}:{port}"),
        None => short.to_owned(),
    }
}

/// Go's `ToUpper`: one letter for one.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        _ => c,
    }
}

fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
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
        Value::String(text) => print::parse_float(text).map_err(wrong),
        value => value.as_float().ok_or_else(|| wrong(format!("can't convert {} to float", type_name(value)))),
    }
}

/// What an action writes: nothing at all is `<no value>`, unlike inside `print`.
fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        other => print::value(other),
    }
}

/// As `print`, for the functions that escape.
fn all_shown(args: &[Value]) -> String {
    match args {
        [value] => shown(value),
        _ => print::sprint(args),
    }
}

/// `value.a.b`. A label that is missing is empty; anything else that is missing is an error.
fn field(args: &[Value]) -> Answer {
    let Some((value, names)) = args.split_first() else { return Ok(Value::Nil) };
    names.iter().try_fold(value.clone(), |value, name| method(&[value, name.clone()]))
}

/// `value.name` with arguments, which only methods take.
fn method(args: &[Value]) -> Answer {
    let [value, Value::String(name), args @ ..] = args else { return Ok(Value::Nil) };
    if let Some(found) = time::nanos(value).and_then(|nanos| time::method(nanos, name, args)) {
        return found;
    }
    let kind = type_name(value);
    match value {
        Value::Nil => Err(wrong(format!("nil data; no entry for key \"{name}\""))),
        Value::Map(_) if time::nanos(value).is_none() && (value.field(name).is_some() || kind.starts_with("map[")) => {
            if !args.is_empty() {
                return Err(wrong(format!("{name} is not a method but has arguments")));
            }
            Ok(value.field(name).cloned().unwrap_or_else(|| print::zero(value)))
        }
        _ => Err(wrong(format!("can't evaluate field {name} in type {kind}"))),
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
    matcher::anywhere(pattern).map_err(wrong)
}

fn parse_duration(args: &[Value]) -> Answer {
    let text = text("parseDuration", args)?;
    let parsed = duration::parse(text).map_err(|_| wrong(no_duration(text)))?;
    Ok(Value::Float(parsed.as_secs_f64()))
}

/// What Prometheus says of a text that is no duration.
fn no_duration(text: &str) -> String {
    let shown = format::quoted(text, false);
    let mut rest = text;
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let (unit, after) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        if !unit.is_empty() && !["y", "w", "d", "h", "m", "s", "ms"].contains(&unit) {
            return format!("unknown unit {} in duration {shown}", format::quoted(unit, false));
        }
        rest = after;
    }
    if text.is_empty() { "empty duration string".to_owned() } else { format!("not a valid duration string: {shown}") }
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
        return print::general(v, 4) + "s";
    }
    if v.abs() < 1.0 {
        return scaled_up(v) + "s";
    }
    let sign = if v < 0.0 { "-" } else { "" };
    // What is too large for Go's int64 becomes its least.
    let whole = if v.abs() < i64::MAX as f64 { v.abs() as i64 } else { i64::MIN };
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
    millis(v).map(|millis| time::text(millis * 1_000_000))
}

fn to_time(v: f64) -> Answer {
    if !v.is_finite() {
        return Err(wrong("value is NaN or Inf".to_owned()));
    }
    millis(v).map(|millis| time::new(millis * 1_000_000))
}

/// Prometheus keeps whole milliseconds of a time, which must fit as nanoseconds.
fn millis(v: f64) -> Result<i64, TemplateError> {
    let nanos = v * 1e9;
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let text = print::float(v);
        let message = format!("{text} cannot be represented as a nanoseconds timestamp since it overflows int64");
        return Err(wrong(message));
    }
    Ok(nanos as i64 / 1_000_000)
}

/// The first letter of each word that has an upper and a lower case in title case, as golang.org/x/text does it: digits
/// before it belong to its word (`1St`), and one full stop, colon or apostrophe does not end a word.
fn title(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let (mut inside, mut was_joint) = (false, false);
    for c in text.chars() {
        let is_joint = matches!(c, '.' | ':' | '\'' | '‘' | '’' | '·' | '․' | '‧');
        inside &= !(was_joint && is_joint);
        was_joint = is_joint;
        let is_cased = c.is_lowercase() || c.is_uppercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ');
        match c {
            _ if inside || !is_cased => titled.push(c),
            'ǆ' | 'Ǆ' => titled.push('ǅ'),
            'ǉ' | 'Ǉ' => titled.push('ǈ'),
            'ǌ' | 'Ǌ' => titled.push('ǋ'),
            'ǳ' | 'Ǳ' => titled.push('ǲ'),
            'ŉ' => titled.push_str("ʼN"),
            _ => {
                let mut upper = c.to_uppercase();
                titled.extend(upper.next());
                titled.extend(upper.flat_map(char::to_lowercase));
            }
        }
        inside = is_cased || inside && (is_joint || is_within_words(c));
    }
    titled
}

/// Whether a character without case goes on with a word: letters but for those of scripts that are written without
/// spaces, decimal digits, underscores, marks.
fn is_within_words(c: char) -> bool {
    match c {
        '_' | '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' => true,
        '\u{e00}'..='\u{eff}' | '\u{2e80}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' => false,
        '\u{660}'.. if c.is_numeric() => !('\u{2070}'..='\u{218f}').contains(&c),
        _ => c.is_ascii_digit() || c.is_alphabetic(),
    }
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
