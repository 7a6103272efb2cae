//! What a plain scalar is: YAML 1.2's core schema.

/// Whether a plain scalar is text, rather than a number or a boolean.
pub(super) fn is_text(text: &str) -> bool {
    boolean(text).is_none() && integer(text).is_none() && float(text).is_none()
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// `12`, `-3`, `0x1f`, `0o17`.
pub(super) fn integer(text: &str) -> Option<i128> {
    let based =
        |digits: &str, base| digits.chars().all(|c| c.is_digit(base)).then(|| i128::from_str_radix(digits, base).ok());
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16)?;
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8)?;
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if whole { text.parse().ok() } else { None }
}

/// `1.5`, `2e3`, `.inf`, `.nan`; a whole number is one too.
pub(super) fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(f64::NEG_INFINITY),
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    let starts = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if numeric && starts { text.parse().ok() } else { None }
}
