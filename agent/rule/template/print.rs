//! Values as Go's `fmt` writes them without a format, their types' names, and numbers as `strconv` reads them.

use gotmpl::Value;

use super::format::{Directive, quoted};
use super::time;
use crate::float::{self, exponent, with_exponent};

/// `%v` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub fn float(v: f64) -> String {
    if !v.is_finite() {
        return not_finite(v);
    }
    float::general(v)
}

/// `%.Ng`: that many significant digits, trailing zeros removed.
pub fn general(v: f64, digits: usize) -> String {
    if !v.is_finite() {
        return not_finite(v);
    }
    let digits = digits.max(1);
    let rounded = format!("{v:.*e}", digits - 1);
    let exponent = exponent(&rounded);
    if exponent < -4 || exponent >= digits as i32 {
        let (mantissa, power) = rounded.split_once('e').unwrap_or((&rounded, "0"));
        return with_exponent(&format!("{}e{power}", without_zeros(mantissa)));
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{v:.decimals$}")).to_owned()
}

pub fn not_finite(v: f64) -> String {
    if v.is_nan() {
        "NaN".to_owned()
    } else if v > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// `%v` of any value.
pub fn value(v: &Value) -> String {
    Directive::default().value('v', v)
}

/// Go's name of a value's type.
pub fn type_name(v: &Value) -> &'static str {
    match v {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "template.queryResult",
        Value::Function(_) => "func()",
        Value::Map(_) if time::nanos(v).is_some() => "*time.Time",
        Value::Map(map) if map.contains_key("ExternalURL") && map.contains_key("Labels") => {
            "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; \
             Value interface {} }"
        }
        Value::Map(map) if map.len() == 2 && matches!(map.get("Labels"), Some(Value::Map(_))) => "*template.sample",
        Value::Map(map) if is_args(map.keys().map(|name| &**name)) => "map[string]interface {}",
        Value::Map(_) => "map[string]string",
    }
}

/// Whether these are the keys of what the function `args` made.
fn is_args<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
    let number = |name: &str| name.strip_prefix("arg").is_some_and(|number| number.parse::<u32>().is_ok());
    names.next().is_some_and(number) && names.all(number)
}

/// What a map has where it has nothing.
pub fn zero(map: &Value) -> Value {
    if type_name(map) == "map[string]string" { Value::String("".into()) } else { Value::Nil }
}

/// `strconv.ParseFloat`.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let invalid = || format!("strconv.ParseFloat: parsing {}: invalid syntax", quoted(text, false));
    let digits = |c: Option<char>| c.is_some_and(|c| c.is_ascii_hexdigit());
    let underscores = text
        .match_indices('_')
        .all(|(at, _)| digits(text[..at].chars().last()) && digits(text[at + 1..].chars().next()));
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let sign = if plain.starts_with('-') { -1.0 } else { 1.0 };
    if !underscores || unsigned.starts_with(['+', '-']) {
        return Err(invalid());
    }
    if let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return hexadecimal_float(hexadecimal).map(|v| sign * v).ok_or_else(invalid);
    }
    let v: f64 = unsigned.parse().map_err(|_| invalid())?;
    if v.is_infinite() && unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(format!("strconv.ParseFloat: parsing {}: value out of range", quoted(text, false)));
    }
    Ok(sign * v)
}

/// `1.8p4`: the exponent is required.
fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    let number = u64::from_str_radix(&digits, 16).ok()?;
    Some(number as f64 * 2f64.powi(exponent.parse::<i32>().ok()? - 4 * fraction.len() as i32))
}

/// `fmt.Sprint`: a space between two operands of which neither is a string.
pub fn sprint(args: &[Value]) -> String {
    let mut text = String::new();
    for (i, arg) in args.iter().enumerate() {
        let spaced = i > 0 && args[i - 1].as_str().is_none() && arg.as_str().is_none();
        text.push_str(if spaced { " " } else { "" });
        text.push_str(&value(arg));
    }
    text
}

/// `fmt.Sprintln`: always a space between, and a line's end.
pub fn sprintln(args: &[Value]) -> String {
    args.iter().map(value).collect::<Vec<_>>().join(" ") + "\n"
}
