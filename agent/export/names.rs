//! Names that are no words of the classic text formats (letters, digits, underscores): in quotes where the reader has
//! asked for them (`escaping=allow-utf-8`, as Prometheus 3 does), else escaped by value, so that `a.b` does not become `a_b`.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a name stands as it is: of a metric with colons, of a label without.
pub fn is_plain(name: &str, colons: bool) -> bool {
    !name.is_empty() && name.chars().enumerate().all(|(at, c)| is_plain_at(at, c, colons))
}

fn is_plain_at(at: usize, c: char, colons: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (c == ':' && colons) || (c.is_ascii_digit() && at > 0)
}

/// The scheme that Prometheus calls `values`: `U__my_2e_name` for `my.name`, an underscore doubled.
pub fn escaped(name: &str, colons: bool) -> Cow<'_, str> {
    if is_plain(name, colons) {
        return Cow::Borrowed(name);
    }
    let mut text = "U__".to_owned();
    for (at, c) in name.chars().enumerate() {
        let written = match c {
            '_' => text.write_str("__"),
            _ if is_plain_at(at, c, colons) => text.write_char(c),
            _ => write!(text, "_{:x}_", c as u32),
        };
        debug_assert!(written.is_ok(), "a string takes what is written to it");
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As github.com/prometheus/common escapes them by value.
    #[test]
    fn a_name_is_escaped_by_value_where_it_is_no_word() {
        for (name, text) in [
            ("http_requests:rate5m", "http_requests:rate5m"),
            ("my.metric_name", "U__my_2e_metric__name"),
            ("1a", "U___31_a"),
            ("é ü", "U___e9__20__fc_"),
            ("", "U__"),
        ] {
            assert_eq!(escaped(name, true), text, "{name}");
        }
        assert_eq!(escaped("a:b", false), "U__a_3a_b");
        assert_ne!(escaped("a.b", true), escaped("a_b", true));
    }
}
