//! Alertmanager's matcher lists, in its classic and its UTF-8 form.

use super::{MatchOp, Matcher};

/// `{a="b", c=~d}`: braces optional, commas between, quotes optional on both sides.
pub fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (Some(rest), Some(_)) => &rest[..rest.len() - 1],
        (None, None) => trimmed,
        _ => return Err(format!("the matchers {text:?} have only one of their braces")),
    };
    let mut matchers = Vec::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (matcher, after) = one(rest).map_err(|error| format!("{error} in the matchers {text:?}"))?;
        matchers.push(matcher);
        rest = match after.trim_start() {
            "" => "",
            after => after.strip_prefix(',').ok_or_else(|| format!("a comma is missing before {after:?}"))?.trim(),
        };
    }
    if matchers.is_empty() { Err(format!("no matcher in {text:?}")) } else { Ok(matchers) }
}

fn one(text: &str) -> Result<(Matcher, &str), String> {
    let (name, rest) = token(text)?;
    let rest = rest.trim_start();
    let ops = [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    let found = ops.iter().find_map(|(symbol, op)| Some((*op, rest.strip_prefix(symbol)?)));
    let (op, rest) = found.ok_or_else(|| format!("one of =, !=, =~, !~ is missing after {name:?}"))?;
    let (value, rest) = token(rest.trim_start())?;
    if name.is_empty() {
        return Err("a label name is missing".into());
    }
    Ok((Matcher::new(&name, op, &value)?, rest))
}

/// A quoted string, or everything up to what ends a bare one.
fn token(text: &str) -> Result<(String, &str), String> {
    match text.strip_prefix('"') {
        Some(rest) => quoted(rest),
        None => {
            let end = text.find(|c: char| ",=!~{}\"".contains(c) || c.is_whitespace()).unwrap_or(text.len());
            Ok((text[..end].to_owned(), &text[end..]))
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, c @ ('"' | '\\'))) => value.push(c),
                Some((_, c)) => value.extend(['\\', c]),
                None => break,
            },
            c => value.push(c),
        }
    }
    Err("a closing quote is missing".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &str) -> Vec<String> {
        parse(list).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(texts(r#"severity="critical""#), [r#"severity="critical""#]);
        assert_eq!(texts("severity=critical"), [r#"severity="critical""#]);
        assert_eq!(texts(r#"{a!="x,y", b=~"p|q" ,c!~z}"#), [r#"a!="x,y""#, r#"b=~"p|q""#, r#"c!~"z""#]);
        assert_eq!(texts(r#""my.label"="a\"b\\\n""#), [r#"my.label="a\"b\\\n""#]);
        assert_eq!(texts(r#"a="""#), [r#"a="""#]);
        assert_eq!(texts(r#"a="\d+""#), [r#"a="\\d+""#], "an unknown escape stays");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (list, what) in [
            ("", "no matcher"),
            ("a", "one of =, !=, =~, !~ is missing"),
            ("{a=b", "only one of their braces"),
            (r#"a="b"#, "closing quote"),
            (r#"a="b" c="d""#, "a comma is missing"),
            ("=b", "a label name is missing"),
            (r#"a=~"(""#, "unclosed group"),
        ] {
            let error = parse(list).unwrap_err();
            assert!(error.contains(what), "{list}: {error}");
        }
    }

    /// The body of the fuzz loop: what is read is written as what is read, unless it takes an escape of PromQL's.
    fn reads_or_refuses(list: &str) {
        for matcher in parse(list).unwrap_or_default() {
            let written = matcher.to_string();
            let bare = matcher.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if bare && matcher.value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
                assert_eq!(parse(&written), Ok(vec![matcher]), "{written:?}");
            }
        }
    }

    #[test]
    fn any_text_is_a_list_of_matchers_or_refused() {
        let seeds = [
            r#"{a!="x,y", b=~"p|q" ,c!~z}"#,
            "severity=critical",
            r#""my.label"="a\"b\\\n""#,
            r#"a=~"(b|c){2,3}[d-f]\\d""#,
        ];
        let tokens =
            ["=", "~", "!", "{", "}", ",", "\"", "\\", "\\n", "(?i)", "*", "\n", " ", "\t", "\\p{L}", "(?P<a>"];
        crate::fuzz::texts(2_500, &seeds, &tokens, reads_or_refuses);
    }
}
