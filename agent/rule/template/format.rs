//! Go's `fmt.Sprintf`.

use std::iter;

use gotmpl::Value;

use super::print::{float, general, not_finite, sprint, type_name};
use super::time;
use crate::float::with_exponent;

/// Go goes on to a million; what is longer than a page's text would be cut anyway.
const MAX_WIDTH: usize = 16 * 1024;

/// `fmt.Sprintf`. A width beyond 16,384 is an error.
pub fn sprintf(format: &str, args: &[Value]) -> Result<String, String> {
    let mut printer = Printer { rest: format, args, next: 0, reordered: false, good: true, after_index: false };
    let mut text = String::new();
    while let Some(start) = printer.rest.find('%') {
        text.push_str(&printer.rest[..start]);
        printer.rest = &printer.rest[start + 1..];
        printer.directive(&mut text)?;
    }
    text.push_str(printer.rest);
    if !printer.reordered && printer.next < args.len() {
        let extra: Vec<String> = args[printer.next..].iter().map(|arg| Directive::default().with_type(arg)).collect();
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(text)
}

/// What is left of a format, and which argument is next.
struct Printer<'a> {
    rest: &'a str,
    args: &'a [Value],
    next: usize,
    reordered: bool,
    good: bool,
    after_index: bool,
}

impl Printer<'_> {
    fn directive(&mut self, text: &mut String) -> Result<(), String> {
        (self.good, self.after_index) = (true, false);
        let mut directive = self.flags();
        self.index();
        self.width(&mut directive, text)?;
        self.precision(&mut directive, text)?;
        if !self.after_index {
            self.index();
        }
        let Some(verb) = self.rest.chars().next() else {
            text.push_str("%!(NOVERB)");
            return Ok(());
        };
        self.rest = &self.rest[verb.len_utf8()..];
        if matches!(verb, 'v' | 'w') {
            // There the flags are about how a value is shown as a whole.
            (directive.syntax, directive.sharp, directive.plus) = (directive.sharp, false, false);
        }
        match self.args.get(self.next) {
            _ if verb == '%' => text.push('%'),
            _ if !self.good => text.push_str(&format!("%!{verb}(BADINDEX)")),
            None => text.push_str(&format!("%!{verb}(MISSING)")),
            Some(arg) => {
                self.next += 1;
                text.push_str(&directive.value(verb, arg));
            }
        }
        Ok(())
    }

    fn flags(&mut self) -> Directive {
        let mut directive = Directive::default();
        while let Some(flag) = self.rest.chars().next() {
            match flag {
                '-' => directive.left = true,
                '+' => directive.plus = true,
                ' ' => directive.space = true,
                '#' => directive.sharp = true,
                '0' => directive.zero = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        directive
    }

    fn width(&mut self, directive: &mut Directive, text: &mut String) -> Result<(), String> {
        if self.star() {
            match self.int()? {
                Some(width) => {
                    directive.left |= width < 0;
                    directive.width = Some(width.unsigned_abs() as usize);
                }
                None => text.push_str("%!(BADWIDTH)"),
            }
            return Ok(());
        }
        directive.width = self.number()?;
        self.good &= !(self.after_index && directive.width.is_some());
        Ok(())
    }

    fn precision(&mut self, directive: &mut Directive, text: &mut String) -> Result<(), String> {
        let Some(rest) = self.rest.strip_prefix('.') else { return Ok(()) };
        self.rest = rest;
        self.good &= !self.after_index;
        self.index();
        if !self.star() {
            directive.precision = Some(self.number()?.unwrap_or(0));
            return Ok(());
        }
        match self.int()?.and_then(|precision| usize::try_from(precision).ok()) {
            Some(precision) => directive.precision = Some(precision),
            None => text.push_str("%!(BADPREC)"),
        }
        Ok(())
    }

    fn star(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix('*') else { return false };
        self.rest = rest;
        true
    }

    /// The argument that stands for a `*`.
    fn int(&mut self) -> Result<Option<i64>, String> {
        self.after_index = false;
        let Some(arg) = self.args.get(self.next) else { return Ok(None) };
        self.next += 1;
        match arg {
            Value::Int(v) if v.unsigned_abs() > MAX_WIDTH as u64 => Err(too_wide()),
            Value::Int(v) => Ok(Some(*v)),
            _ => Ok(None),
        }
    }

    fn number(&mut self) -> Result<Option<usize>, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        match digits.parse::<usize>() {
            _ if digits.is_empty() => Ok(None),
            Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
            _ => Err(too_wide()),
        }
    }

    /// `[n]`, which names the next argument.
    fn index(&mut self) {
        let Some(rest) = self.rest.strip_prefix('[') else { return };
        self.reordered = true;
        let Some((inside, rest)) = rest.split_once(']') else {
            (self.rest, self.good) = (rest, false);
            return;
        };
        self.rest = rest;
        match inside.parse::<usize>() {
            Ok(number) if (1..=self.args.len()).contains(&number) => {
                (self.next, self.after_index) = (number - 1, true);
            }
            Ok(_) => (self.good, self.after_index) = (false, true),
            Err(_) => self.good = false,
        }
    }
}

fn too_wide() -> String {
    format!("a width or precision beyond {MAX_WIDTH} is not supported")
}

/// What stands between `%` and the verb.
#[derive(Default, Clone)]
pub struct Directive {
    left: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    zero: bool,
    /// `%#v`: as Go source.
    syntax: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Directive {
    /// A value by a verb; a verb that does not fit says so.
    pub fn value(&self, verb: char, arg: &Value) -> String {
        match (verb, arg) {
            ('T', Value::Nil) => return self.padded("<nil>"),
            ('T', _) => return self.padded(&self.cut(type_name(arg))),
            ('v', _) if self.syntax => return self.syntax(arg),
            ('w', Value::List(_) | Value::Map(_)) => return self.misfit(verb, arg),
            _ => {}
        }
        if let Some(nanos) = time::nanos(arg) {
            return self.string(verb, &time::text(nanos)).unwrap_or_else(|| self.misfit(verb, arg));
        }
        let written = match arg {
            Value::Nil => (verb == 'v').then(|| self.padded("<nil>")),
            Value::Bool(v) => matches!(verb, 't' | 'v').then(|| self.padded(if *v { "true" } else { "false" })),
            Value::Int(v) => self.integer(verb, *v < 0, v.unsigned_abs()),
            Value::Uint(v) => self.integer(verb, false, *v),
            Value::Float(v) => self.float(verb, *v),
            Value::String(v) => self.string(verb, v),
            Value::List(items) => {
                Some(format!("[{}]", items.iter().map(|v| self.value(verb, v)).collect::<Vec<_>>().join(" ")))
            }
            Value::Map(_) => Some(self.map(verb, arg)),
            Value::Function(_) => None,
        };
        written.unwrap_or_else(|| self.misfit(verb, arg))
    }

    fn misfit(&self, verb: char, arg: &Value) -> String {
        format!("%!{verb}({})", self.with_type(arg))
    }

    /// `float64=1.5`, as Go names what does not fit a verb.
    fn with_type(&self, v: &Value) -> String {
        match v {
            Value::Nil => "<nil>".to_owned(),
            other => format!("{}={}", type_name(other), self.value('v', other)),
        }
    }

    /// Maps with their keys, structures without.
    fn map(&self, verb: char, arg: &Value) -> String {
        let Value::Map(map) = arg else { return String::new() };
        if type_name(arg).starts_with("map[") {
            let entry = |(name, v): (&std::sync::Arc<str>, &Value)| {
                format!("{}:{}", self.value(verb, &Value::String(name.clone())), self.value(verb, v))
            };
            return format!("map[{}]", map.iter().map(entry).collect::<Vec<_>>().join(" "));
        }
        let fields = ["Labels", "ExternalLabels", "ExternalURL", "Value"];
        let fields = fields.iter().filter_map(|name| map.get(*name));
        format!("{{{}}}", fields.map(|v| self.value(verb, v)).collect::<Vec<_>>().join(" "))
    }

    /// `%#v`: as Go source.
    fn syntax(&self, arg: &Value) -> String {
        match arg {
            Value::String(v) => self.padded(&quoted(v, false)),
            Value::Map(map) if type_name(arg).starts_with("map[") => {
                let entry =
                    |(name, v): (&std::sync::Arc<str>, &Value)| format!("{}:{}", quoted(name, false), self.syntax(v));
                let entries: Vec<String> = map.iter().map(entry).collect();
                format!("{}{{{}}}", type_name(arg), entries.join(", "))
            }
            Value::Nil => self.padded("<nil>"),
            other => Directive { syntax: false, ..self.clone() }.value('v', other),
        }
    }

    fn float(&self, verb: char, v: f64) -> Option<String> {
        if !"vgGfFeExXb".contains(verb) {
            return None;
        }
        if !v.is_finite() {
            let text = not_finite(v);
            let text = match (v.is_nan(), self.plus, self.space) {
                (true, true, _) => format!("+{text}"),
                (true, false, true) => format!(" {text}"),
                (false, false, true) => text.replace('+', " "),
                _ => text,
            };
            return Some(Directive { zero: false, ..self.clone() }.padded(&text));
        }
        let digits = match (verb, self.precision) {
            ('v' | 'g' | 'G', None) => float(v),
            ('v' | 'g' | 'G', Some(precision)) => general(v, precision),
            ('f' | 'F', precision) => format!("{v:.*}", precision.unwrap_or(6)),
            ('e' | 'E', precision) => with_exponent(&format!("{v:.*e}", precision.unwrap_or(6))),
            ('b', _) => binary(v),
            (_, precision) => hexadecimal(v, precision),
        };
        let digits = if self.sharp && verb != 'b' { self.with_zeros(verb, digits) } else { digits };
        let digits = if matches!(verb, 'G' | 'E' | 'X') { digits.to_uppercase() } else { digits };
        Some(self.number(&digits))
    }

    /// The sign and zeros of a number that is written.
    fn number(&self, digits: &str) -> String {
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None if self.plus => ("+", digits),
            None if self.space => (" ", digits),
            None => ("", digits),
        };
        let missing = self.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
        if self.zero && !self.left {
            return format!("{sign}{}{digits}", "0".repeat(missing));
        }
        self.padded(&format!("{sign}{digits}"))
    }

    /// `#`: always a point, and for `%g` the zeros that it leaves out.
    fn with_zeros(&self, verb: char, digits: String) -> String {
        let split = digits.find(['e', 'p']).unwrap_or(digits.len());
        let (mantissa, tail) = digits.split_at(split);
        let mut mantissa = mantissa.to_owned();
        if !mantissa.contains('.') {
            mantissa.push('.');
        }
        if matches!(verb, 'v' | 'g' | 'G') {
            let significant = mantissa.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
            let significant = if significant == 0 { 1 } else { significant };
            let wanted = self.precision.map_or(6, |precision| precision.max(1));
            mantissa.push_str(&"0".repeat(wanted.saturating_sub(significant)));
        }
        mantissa + tail
    }

    fn integer(&self, verb: char, negative: bool, v: u64) -> Option<String> {
        let character = || u32::try_from(v).ok().and_then(char::from_u32).filter(|_| !negative).unwrap_or('\u{fffd}');
        let digits = match verb {
            'd' | 'v' => v.to_string(),
            'x' => format!("{v:x}"),
            'X' => format!("{v:X}"),
            'o' | 'O' => format!("{v:o}"),
            'b' => format!("{v:b}"),
            'c' => return Some(self.padded(&character().to_string())),
            'q' => return Some(self.padded(&quoted_character(character(), self.plus))),
            'U' => return Some(self.unicode(if negative { v.wrapping_neg() } else { v })),
            _ => return None,
        };
        let prefix = match verb {
            'O' if self.sharp && !digits.starts_with('0') => "0o0",
            'O' => "0o",
            'x' if self.sharp => "0x",
            'X' if self.sharp => "0X",
            'b' if self.sharp => "0b",
            'o' if self.sharp && !digits.starts_with('0') => "0",
            _ => "",
        };
        Some(self.with_digits(negative, prefix, &digits))
    }

    fn with_digits(&self, negative: bool, prefix: &str, digits: &str) -> String {
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (_, true, _) => "+",
            (_, _, true) => " ",
            _ => "",
        };
        let plain = Directive { zero: false, ..self.clone() };
        let least = match (self.precision, self.width) {
            (Some(0), _) if digits == "0" => return plain.padded(""),
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.left => width.saturating_sub(sign.len()),
            _ => 0,
        };
        let zeros = "0".repeat(least.saturating_sub(digits.len()));
        let prefix = if zeros.is_empty() { prefix } else { prefix.strip_suffix('0').unwrap_or(prefix) };
        plain.padded(&format!("{sign}{prefix}{zeros}{digits}"))
    }

    fn unicode(&self, v: u64) -> String {
        let digits = self.precision.unwrap_or(4).max(4);
        let character = u32::try_from(v).ok().and_then(char::from_u32).filter(|c| self.sharp && !c.is_control());
        let shown = character.map(|c| format!(" '{c}'")).unwrap_or_default();
        Directive { zero: false, ..self.clone() }.padded(&format!("U+{v:0digits$X}{shown}"))
    }

    fn string(&self, verb: char, v: &str) -> Option<String> {
        let text = match verb {
            's' | 'v' => self.cut(v),
            'q' if self.sharp && !self.cut(v).contains(|c: char| c == '`' || (c.is_control() && c != '\t')) => {
                format!("`{}`", self.cut(v))
            }
            'q' => quoted(&self.cut(v), self.plus),
            'x' | 'X' => self.bytes(verb, v),
            _ => return None,
        };
        Some(self.padded(&text))
    }

    fn bytes(&self, verb: char, v: &str) -> String {
        let byte = |byte: u8| if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") };
        let bytes: Vec<String> = v.bytes().take(self.precision.unwrap_or(usize::MAX)).map(byte).collect();
        let prefix = if self.sharp { format!("0{verb}") } else { String::new() };
        match (bytes.is_empty(), self.space) {
            (true, _) => String::new(),
            (false, true) => format!("{prefix}{}", bytes.join(&format!(" {prefix}"))),
            (false, false) => format!("{prefix}{}", bytes.concat()),
        }
    }

    fn cut(&self, v: &str) -> String {
        self.precision.map_or_else(|| v.to_owned(), |most| v.chars().take(most).collect())
    }

    fn padded(&self, text: &str) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if self.left {
            return text.to_owned() + &" ".repeat(missing);
        }
        (if self.zero { "0" } else { " " }).repeat(missing) + text
    }
}

/// `strconv.Quote`, or `QuoteToASCII`.
pub fn quoted(text: &str, ascii: bool) -> String {
    iter::once("\"".to_owned()).chain(text.chars().map(|c| escaped(c, '"', ascii))).collect::<String>() + "\""
}

fn quoted_character(c: char, ascii: bool) -> String {
    format!("'{}'", escaped(c, '\'', ascii))
}

fn escaped(c: char, quote: char, ascii: bool) -> String {
    match c {
        '\\' => "\\\\".to_owned(),
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        c if c == quote => format!("\\{c}"),
        c if c < ' ' || c == '\u{7f}' => format!("\\x{:02x}", c as u32),
        c if (c.is_control() || (ascii && !c.is_ascii())) && (c as u32) < 0x10000 => format!("\\u{:04x}", c as u32),
        c if ascii && !c.is_ascii() => format!("\\U{:08x}", c as u32),
        c => c.to_string(),
    }
}

/// `%b`: the mantissa, and the power of two.
fn binary(v: f64) -> String {
    let (mantissa, exponent) = parts(v);
    format!("{}{mantissa}p{exponent:+}", if v.is_sign_negative() { "-" } else { "" })
}

/// The 53 bits of the mantissa, and the power of two by which they are multiplied.
fn parts(v: f64) -> (u64, i64) {
    let bits = v.to_bits();
    let (fraction, exponent) = (bits & ((1 << 52) - 1), ((bits >> 52) & 0x7ff) as i64);
    if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) }
}

/// `%x`: `0x1.8p+00`.
fn hexadecimal(v: f64, precision: Option<usize>) -> String {
    let sign = if v.is_sign_negative() { "-" } else { "" };
    let (mut mantissa, mut exponent) = parts(v);
    exponent = if mantissa == 0 { 0 } else { exponent + 52 };
    while mantissa != 0 && mantissa < 1 << 52 {
        (mantissa, exponent) = (mantissa << 1, exponent - 1);
    }
    if let Some(dropped) = precision.and_then(|digits| 13_usize.checked_sub(digits)).filter(|dropped| *dropped > 0) {
        let bits = 4 * dropped;
        let (half, rest) = (1_u64 << (bits - 1), mantissa & ((1 << bits) - 1));
        mantissa = (mantissa >> bits) << bits;
        let odd = (mantissa >> bits) & 1 == 1;
        mantissa += if rest > half || (rest == half && odd) { 1 << bits } else { 0 };
        if mantissa >= 1 << 53 {
            (mantissa, exponent) = (mantissa >> 1, exponent + 1);
        }
    }
    let digits = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let digits = match precision {
        None => digits.trim_end_matches('0').to_owned(),
        Some(precision) => format!("{digits:0<precision$}")[..precision].to_owned(),
    };
    let point = if digits.is_empty() { "" } else { "." };
    let power = format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    format!("{sign}0x{}{point}{digits}p{power}", mantissa >> 52)
}

/// `printf` itself: the format first.
pub fn printf(args: &[Value]) -> Result<String, String> {
    match args.split_first() {
        Some((Value::String(format), rest)) => sprintf(format, rest),
        _ => Ok(sprint(args)),
    }
}
