//! What stands between the braces of a sample: labels, and the metric's name where that is in quotes.

use super::{BLANK, closing_quote, label_name, shown};

/// One thing between two commas, as written.
pub enum Item<'a> {
    /// The name of the metric, between its quotes.
    Name(&'a str),
    Label(RawLabel<'a>),
}

/// A label as written, between the quotes.
pub struct RawLabel<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// The next item and what follows it (and its comma, if there is one); none at the closing brace.
pub fn item(text: &str) -> Result<Option<(Item<'_>, &str)>, String> {
    let text = text.trim_start_matches(BLANK);
    if text.is_empty() || text.starts_with('}') {
        return Ok(None);
    }
    let (name, after) = match text.strip_prefix('"') {
        Some(quoted) => match closing_quote(quoted) {
            Some(end) => (&quoted[..end], &quoted[end + 1..]),
            None => return Err(format!("the name {} is not closed", shown(text))),
        },
        None => text.split_at(label_name(text).len()),
    };
    let (quoted, after) = (text.starts_with('"'), after.trim_start_matches(BLANK));
    if quoted && (after.starts_with('}') || after.starts_with(',')) {
        return Ok(Some((Item::Name(name), after.strip_prefix(',').unwrap_or(after))));
    }
    if name.is_empty() {
        return Err(format!("expected a label name, found {}", shown(text)));
    }
    let (value, after) = value(name, after)?;
    Ok(Some((Item::Label(RawLabel { name, value }), after.strip_prefix(',').unwrap_or(after))))
}

/// The value of a label, between its quotes, and what follows it.
fn value<'a>(name: &str, text: &'a str) -> Result<(&'a str, &'a str), String> {
    let equals = text.strip_prefix('=').map(|rest| rest.trim_start_matches(BLANK));
    let quoted = equals.and_then(|rest| rest.strip_prefix('"'));
    let quoted = quoted.ok_or_else(|| format!("expected =\"…\" after the label name {name}"))?;
    let end = closing_quote(quoted).ok_or_else(|| format!("the value of the label {name} is not closed"))?;
    Ok((&quoted[..end], quoted[end + 1..].trim_start_matches(BLANK)))
}
