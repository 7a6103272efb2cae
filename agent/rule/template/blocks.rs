//! Whether every block of a template is closed, and closed once. The parser of `gotmpl` stops quietly at an `end`
//! too many and at the end of an open block; Go refuses both.

use super::Mistake;

/// An open block: its keyword, where it stands, and whether its `else` has passed.
struct Block<'a> {
    keyword: &'a str,
    offset: usize,
    otherwise: bool,
}

/// The first mistake in the nesting of blocks. What is no well-formed action is left to the parser.
pub fn check(text: &str) -> Result<(), Mistake> {
    let mut open: Vec<Block> = Vec::new();
    for (offset, action) in actions(text) {
        let refuse = |message: String| Err(Mistake { offset, message: format!("template: {message}") });
        let mut words = action.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        let keyword = if action.starts_with(|c: char| c.is_alphabetic()) { words.next().unwrap_or("") } else { "" };
        match keyword {
            "define" if !open.is_empty() => return refuse("{{define}} inside of another block".to_owned()),
            "" if is_misplaced_comment(action, &text[offset..]) => {
                return refuse("a comment begins at once after {{ or {{- , without further spaces".to_owned());
            }
            "if" | "with" | "range" | "define" | "block" => open.push(Block { keyword, offset, otherwise: false }),
            "end" if open.pop().is_none() => return refuse("unexpected {{end}}: no block is open".to_owned()),
            "else" => match open.last_mut() {
                Some(block) if matches!(block.keyword, "if" | "with" | "range") && !block.otherwise => {
                    block.otherwise = !matches!(words.next(), Some("if" | "with"));
                }
                _ => return refuse("unexpected {{else}}: no if, with or range is open".to_owned()),
            },
            "break" | "continue" if !open.iter().any(|block| block.keyword == "range") => {
                return refuse(format!("{{{{{keyword}}}}} outside {{{{range}}}}"));
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(Block { keyword, offset, .. }) => {
            Err(Mistake { offset, message: format!("template: {{{{{keyword}}}}} is not closed by {{{{end}}}}") })
        }
        None => Ok(()),
    }
}

fn is_misplaced_comment(action: &str, rest: &str) -> bool {
    let rest = rest.strip_prefix('-').and_then(|rest| rest.strip_prefix(char::is_whitespace)).unwrap_or(rest);
    action.starts_with("/*") && !rest.starts_with("/*")
}

/// What stands between `{{` and `}}`, trimmed, with its offset.
fn actions(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text[from..].find("{{")? + 2;
        let body = &text[start..];
        let body = body.strip_prefix("- ").unwrap_or(body);
        let end = start + (text.len() - start - body.len()) + length(body);
        from = end;
        Some((start, text[start..end].trim_start_matches('-').trim()))
    })
}

/// How far an action reaches: to the `}}` that stands in no string and no comment.
fn length(body: &str) -> usize {
    if body.starts_with("/*") {
        return body.find("*/").map_or(body.len(), |at| at + 2);
    }
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if body[at..].starts_with("}}") => return at,
            None if matches!(c, '"' | '`') => quote = Some(c),
            None => {}
        }
    }
    body.len()
}
