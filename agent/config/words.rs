//! The words of errors: what is wanted, what stands there, what was probably meant.

use serde::de::Unexpected;

use super::tree::shown;

/// The refusal of a key: the nearest known one, or all of them.
pub fn unknown_key(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("unknown key `{}`: did you mean `{near}`?", shown(key)),
        None => format!("unknown key `{}`: {}", shown(key), known_here(known)),
    }
}

fn known_here(known: &[&str]) -> String {
    match known {
        [] => "no key may stand here".to_owned(),
        _ => format!("known here: {}", list(known)),
    }
}

/// "`a`, `b`, `c`".
pub(crate) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The known word that a misspelt one was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    const ALIKE: f64 = 0.6;
    let word = word.to_lowercase();
    let likeness = |known: &str| {
        let known = known.to_lowercase();
        let part = known.len() >= 3 && (word.starts_with(&known) || (word.len() >= 3 && known.starts_with(&word)));
        if part {
            ALIKE.max(strsim::normalized_damerau_levenshtein(&word, &known))
        } else {
            strsim::normalized_damerau_levenshtein(&word, &known)
        }
    };
    known
        .iter()
        .map(|known| (likeness(known), *known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Whether what stands under a key is nobody's to read.
pub(super) fn is_secret(key: &str) -> bool {
    ["secret", "password", "token", "key"].iter().any(|word| key.contains(word)) && !key.ends_with("_file")
}

/// "text is wanted, not a list".
pub(super) fn wanted_not(wanted: &str, found: &str) -> String {
    match found {
        "nothing" => format!("{wanted} is wanted, and nothing stands here"),
        _ => format!("{wanted} is wanted, not {found}"),
    }
}

/// What a Rust type is called in YAML.
pub(super) fn words(wanted: &str) -> String {
    let words = match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" => "text",
        "a boolean" => "`true` or `false`",
        "a sequence" => "a list",
        "a map" => "a mapping",
        wanted if wanted.starts_with("struct ") => "a mapping",
        wanted => wanted,
    };
    words.to_owned()
}

pub(super) fn found_words(found: Unexpected) -> String {
    match found {
        Unexpected::Str(text) => format!("the text `{}`", shown(text)),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}
