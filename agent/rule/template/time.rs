//! What `toTime` gives: a point in time in UTC, with the methods of Go's `time.Time` that templates use.

use std::sync::Arc;

use gotmpl::{TemplateError, Value};

/// The key under which a time keeps its nanoseconds; no template can write it.
const NANOS: &str = "\0nanos";

pub fn new(nanos: i64) -> Value {
    Value::Map(Arc::new([(NANOS.into(), Value::Int(nanos))].into()))
}

/// The nanoseconds since 1970 of what [`new`] made.
pub fn nanos(value: &Value) -> Option<i64> {
    value.field(NANOS).and_then(Value::as_int)
}

fn zoned(nanos: i64) -> jiff::Zoned {
    jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC)
}

/// As Go prints it: `2015-06-23 13:19:44.128 +0000 UTC`.
pub fn text(nanos: i64) -> String {
    format(nanos, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// A method by its name; none where it is not known here.
pub fn method(nanos: i64, name: &str, args: &[Value]) -> Option<Result<Value, TemplateError>> {
    let time = zoned(nanos);
    let int = |v: i64| Some(Ok(Value::Int(v)));
    match (name, args) {
        ("Format", [Value::String(layout)]) => Some(Ok(Value::String(format(nanos, layout).into()))),
        ("String", []) => Some(Ok(Value::String(text(nanos).into()))),
        ("UTC", []) => Some(Ok(new(nanos))),
        ("Unix", []) => int(nanos.div_euclid(1_000_000_000)),
        ("UnixMilli", []) => int(nanos.div_euclid(1_000_000)),
        ("UnixNano", []) => int(nanos),
        ("Year", []) => int(time.year().into()),
        ("Day", []) => int(time.day().into()),
        ("YearDay", []) => int(time.day_of_year().into()),
        ("Hour", []) => int(time.hour().into()),
        ("Minute", []) => int(time.minute().into()),
        ("Second", []) => int(time.second().into()),
        ("Nanosecond", []) => int(nanos.rem_euclid(1_000_000_000)),
        ("Month", []) => Some(Ok(Value::String(format(nanos, "January").into()))),
        ("Weekday", []) => Some(Ok(Value::String(format(nanos, "Monday").into()))),
        _ => None,
    }
}

/// The elements of Go's layouts, the longer before what they begin with, and what each is to `strftime`.
const ELEMENTS: [(&str, &str); 27] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("_2", "%e"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("-07", "+00"),
    ("Z07:00", "Z"),
    ("Z0700", "Z"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// `time.Time.Format`.
pub fn format(nanos: i64, layout: &str) -> String {
    let time = zoned(nanos);
    let mut text = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some((digits, trimmed)) = fraction(rest) {
            text.push_str(&decimals(nanos, digits, trimmed));
            rest = &rest[1 + digits..];
        } else if let Some((element, pattern)) = ELEMENTS.iter().find(|(element, _)| rest.starts_with(element)) {
            text.push_str(&time.strftime(pattern).to_string());
            rest = &rest[element.len()..];
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    text
}

/// `.000` or `.999` (without zeros at its end), where no further digit follows: how many digits.
fn fraction(text: &str) -> Option<(usize, bool)> {
    let digits = text.strip_prefix(['.', ','])?;
    let digit = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.len() - digits.trim_start_matches(digit).len();
    let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
    ends.then_some((count, digit == '9'))
}

fn decimals(nanos: i64, digits: usize, trimmed: bool) -> String {
    let all = format!("{:09}", nanos.rem_euclid(1_000_000_000));
    let some = all.get(..digits).unwrap_or(&all);
    match if trimmed { some.trim_end_matches('0') } else { some } {
        "" => String::new(),
        some => format!(".{some}"),
    }
}
