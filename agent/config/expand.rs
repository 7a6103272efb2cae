//! `${VAR}` and `${VAR:-default}` in scalars, after parsing: what a variable holds cannot break the document.
//!
//! A plain scalar is typed again, a quoted one stays text. `${1}` (an expression's reference) is left alone, and
//! `$${` writes a literal `${`. What a variable gives is not expanded again.

use std::collections::{BTreeMap, HashSet};

use super::tree::{Node, Origin, Position, Problem, Value, scalar};

/// What could not be expanded.
#[derive(Default)]
pub(super) struct Failed {
    /// Each where the variable is named.
    pub problems: Vec<Problem>,
    /// The scalars around them: whatever else is wrong with these follows from it.
    pub scalars: HashSet<Position>,
}

/// Expands every scalar of a tree.
pub(super) fn expand(node: &mut Node, env: &BTreeMap<String, String>, failed: &mut Failed) {
    match &mut node.value {
        Value::Null => {}
        Value::Sequence(items) => items.iter_mut().for_each(|item| expand(item, env, failed)),
        Value::Mapping(entries) => entries.iter_mut().for_each(|(_, value)| expand(value, env, failed)),
        Value::Scalar { text, plain } if text.contains("${") => match expanded(text, env) {
            Ok(new) => {
                let written = text.clone();
                node.value = scalar(new, *plain);
                node.origin = Origin::Variable { written };
            }
            Err((offset, message)) => {
                failed.problems.push(Problem { at: node.position_of(offset), message });
                failed.scalars.insert(node.at.clone());
            }
        },
        Value::Scalar { .. } => {}
    }
}

/// The text with its variables filled in; or where in it something is wrong, and what.
fn expanded(text: &str, env: &BTreeMap<String, String>) -> Result<String, (usize, String)> {
    let mut out = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        let dollar = at + found;
        out.push_str(&text[at..dollar]);
        let rest = &text[dollar..];
        if rest.starts_with("$${") {
            out.push_str("${");
            at = dollar + 3;
        } else if rest.starts_with("${") && rest[2..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            let end = rest
                .find('}')
                .ok_or_else(|| (dollar, "this `${` is never closed: write `$${` for a literal `${`".to_owned()))?;
            out.push_str(&value_of(&rest[2..end], env).map_err(|message| (dollar, message))?);
            at = dollar + end + 1;
        } else {
            out.push('$');
            at = dollar + 1;
        }
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// The value of what stands between the braces.
fn value_of(inside: &str, env: &BTreeMap<String, String>) -> Result<String, String> {
    let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(inside, |end| &inside[..end]);
    let value = env.get(name);
    match &inside[name.len()..] {
        "" => value.cloned().ok_or_else(|| {
            format!("the environment variable {name} is not set: set it, or give a default as in `${{{name}:-value}}`")
        }),
        rest => match rest.strip_prefix(":-") {
            Some(default) => Ok(value.filter(|value| !value.is_empty()).map_or(default, String::as_str).to_owned()),
            None => Err(format!(
                "`${{{inside}}}` is not understood: write `${{{name}}}` or `${{{name}:-default}}`, and `$${{` for a literal `${{`"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("HOST", "db"), ("EMPTY", ""), ("NESTED", "${HOST}"), ("N", "5")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn variables_and_defaults_are_filled_in_once() {
        let cases = [
            ("${HOST}:5432", "db:5432"),
            ("${NONE:-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NESTED}", "${HOST}"),
            ("${1} $1 $ $$ pa$$word", "${1} $1 $ $$ pa$$word"),
            ("$${HOST}", "${HOST}"),
            ("${NONE:-}", ""),
        ];
        for (text, wanted) in cases {
            assert_eq!(expanded(text, &env()).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_where_it_stands() {
        let (offset, message) = expanded("a ${NONE}", &env()).unwrap_err();
        assert_eq!((offset, message.contains("NONE is not set")), (2, true));
        assert!(expanded("${HOST", &env()).unwrap_err().1.contains("never closed"));
        assert!(expanded("${HOST:?no}", &env()).unwrap_err().1.contains("not understood"));
    }

    #[test]
    fn a_plain_scalar_is_typed_again_and_a_quoted_one_stays_text() {
        let mut tree = crate::config::tree::parse("f", "- ${N}\n- '${N}'\n- ${EMPTY}\n").unwrap();
        expand(&mut tree, &env(), &mut Failed::default());
        let Value::Sequence(items) = tree.value else { panic!("no list") };
        assert_eq!(items[0].value, Value::Scalar { text: "5".to_owned(), plain: true });
        assert_eq!(items[1].value, Value::Scalar { text: "5".to_owned(), plain: false });
        assert_eq!(items[2].value, Value::Null);
    }
}
