//! Values written as Go's `fmt` writes them.

use gotmpl::Value;

const MAX_WIDTH: usize = 1_000;

/// `%v` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub fn float(v: f64) -> String {
    if !v.is_finite() {
        return not_finite(v);
    }
    let shortest = format!("{v:e}");
    if (-4..6).contains(&exponent(&shortest)) { v.to_string() } else { with_exponent(&shortest) }
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

fn not_finite(v: f64) -> String {
    if v.is_nan() {
        "NaN".to_owned()
    } else if v > 0.0 {
        "+Inf".to_owned()
    } else {
        "-Inf".to_owned()
    }
}

/// The exponent in what Rust writes with `{:e}`.
fn exponent(text: &str) -> i32 {
    text.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0)
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Rust's `1e6` as Go's `1e+06`.
fn with_exponent(text: &str) -> String {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = power.strip_prefix('-').map_or(('+', power), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%v` of any value.
pub fn value(v: &Value) -> String {
    match v {
        Value::Float(v) => float(*v),
        Value::List(items) => format!("[{}]", items.iter().map(value).collect::<Vec<_>>().join(" ")),
        Value::Map(map) => {
            let entries = map.iter().map(|(name, v)| format!("{name}:{}", value(v))).collect::<Vec<_>>();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
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

/// `fmt.Sprintf`, without `*` and `[n]`.
pub fn sprintf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut args = args.iter();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        text.push_str(&rest[..start]);
        let (directive, after) = Directive::read(&rest[start + 1..])?;
        rest = after;
        text.push_str(&match directive.verb {
            None => "%!(NOVERB)".to_owned(),
            Some('%') => "%".to_owned(),
            Some(verb) => args.next().map_or_else(|| format!("%!{verb}(MISSING)"), |arg| directive.write(verb, arg)),
        });
    }
    text.push_str(rest);
    let extra: Vec<String> = args.map(with_type).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(text)
}

/// What stands between `%` and the verb, and the verb.
#[derive(Default)]
struct Directive {
    left: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    verb: Option<char>,
}

impl Directive {
    fn read(text: &str) -> Result<(Self, &str), String> {
        let mut directive = Directive::default();
        let flags = text.len() - text.trim_start_matches(['-', '+', ' ', '#', '0']).len();
        for flag in text[..flags].chars() {
            match flag {
                '-' => directive.left = true,
                '+' => directive.plus = true,
                ' ' => directive.space = true,
                '#' => directive.sharp = true,
                _ => directive.zero = true,
            }
        }
        let (width, mut rest) = digits(&text[flags..])?;
        directive.width = width.unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = digits(after)?;
            directive.precision = Some(precision.unwrap_or(0));
            rest = after;
        }
        if rest.starts_with(['*', '[']) {
            return Err("printf: * and [n] are not supported by this version".to_owned());
        }
        let mut left = rest.chars();
        directive.verb = left.next();
        Ok((directive, left.as_str()))
    }

    fn write(&self, verb: char, arg: &Value) -> String {
        let written = match arg {
            Value::Float(v) => self.float(verb, *v),
            Value::Int(v) => self.integer(verb, *v < 0, v.unsigned_abs()),
            Value::Uint(v) => self.integer(verb, false, *v),
            Value::String(v) => self.string(verb, v),
            Value::Bool(_) => matches!(verb, 't' | 'v').then(|| self.padded(arg.to_string(), false)),
            other => (verb == 'v' || (verb == 's' && other.len().is_some())).then(|| self.padded(value(other), false)),
        };
        written.unwrap_or_else(|| format!("%!{verb}({})", with_type(arg)))
    }

    fn float(&self, verb: char, v: f64) -> Option<String> {
        let digits = if !v.is_finite() {
            not_finite(v)
        } else {
            match (verb, self.precision) {
                ('v' | 'g' | 'G', None) => float(v),
                ('v' | 'g' | 'G', Some(precision)) => general(v, precision),
                ('f' | 'F', precision) => format!("{v:.*}", precision.unwrap_or(6)),
                ('e' | 'E', precision) => with_exponent(&format!("{v:.*e}", precision.unwrap_or(6))),
                _ => return None,
            }
        };
        if !"vgGfFeE".contains(verb) {
            return None;
        }
        let digits = if matches!(verb, 'G' | 'E') { digits.replace('e', "E") } else { digits };
        Some(self.padded(self.signed(digits), v.is_finite()))
    }

    fn integer(&self, verb: char, negative: bool, v: u64) -> Option<String> {
        let digits = match verb {
            'd' | 'v' => v.to_string(),
            'x' if self.sharp => format!("{v:#x}"),
            'x' => format!("{v:x}"),
            'X' => format!("{v:X}"),
            'o' => format!("{v:o}"),
            'b' => format!("{v:b}"),
            'c' => return u32::try_from(v).ok().and_then(char::from_u32).map(|c| self.padded(c.to_string(), false)),
            'U' => return Some(self.padded(format!("U+{v:04X}"), false)),
            _ => return None,
        };
        Some(self.padded(self.signed(if negative { format!("-{digits}") } else { digits }), true))
    }

    fn string(&self, verb: char, v: &str) -> Option<String> {
        let cut = |v: &str| self.precision.map_or_else(|| v.to_owned(), |most| v.chars().take(most).collect());
        let text = match verb {
            's' | 'v' => cut(v),
            'q' => format!("{:?}", cut(v)),
            'x' => v.bytes().map(|byte| format!("{byte:02x}")).collect(),
            'X' => v.bytes().map(|byte| format!("{byte:02X}")).collect(),
            _ => return None,
        };
        Some(self.padded(text, false))
    }

    fn signed(&self, digits: String) -> String {
        match (digits.starts_with(['-', '+']), self.plus, self.space) {
            (false, true, _) => format!("+{digits}"),
            (false, false, true) => format!(" {digits}"),
            _ => digits,
        }
    }

    fn padded(&self, text: String, number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return text + &" ".repeat(missing);
        }
        if !(self.zero && number) {
            return " ".repeat(missing) + &text;
        }
        let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
        format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..])
    }
}

fn digits(text: &str) -> Result<(Option<usize>, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text[..end].parse::<usize>() {
        Ok(number) if number <= MAX_WIDTH => Ok((Some(number), &text[end..])),
        Err(_) if end == 0 => Ok((None, text)),
        _ => Err(format!("printf: a width above {MAX_WIDTH}")),
    }
}

/// `float64=1.5`, as Go names what does not fit a verb.
fn with_type(v: &Value) -> String {
    match v {
        Value::Nil => "<nil>".to_owned(),
        other => format!("{}={}", other.type_name(), value(other)),
    }
}
