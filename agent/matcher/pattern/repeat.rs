//! How often something may be repeated.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{Ast, RepetitionKind, RepetitionRange};

/// RE2's largest repetition count, of repetitions within each other together.
const LIMIT: u32 = 1_000;

/// The length of `n}`, `n,}` or `n,m}` at the start of a text; `None`: the brace before it is itself.
pub fn braces(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let (low, high) = rest[..end].split_once(',').unwrap_or((&rest[..end], "0"));
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
    (!low.is_empty() && number(low) && number(high)).then_some(end + 1)
}

pub fn is_more_than_allowed(braces: &str) -> bool {
    let is_more = |number: &str| !number.is_empty() && number.parse::<u32>().map_or(true, |number| number > LIMIT);
    braces.trim_end_matches('}').split(',').any(is_more)
}

/// Whether counts within counts multiply to more than RE2 allows.
pub fn is_too_large(pattern: &str) -> bool {
    Parser::new().parse(pattern).is_ok_and(|ast| exceeds(&ast, LIMIT))
}

fn exceeds(ast: &Ast, left: u32) -> bool {
    match ast {
        Ast::Repetition(repetition) => match count(&repetition.op.kind) {
            Some(0) => false,
            Some(count) => count > left || exceeds(&repetition.ast, left / count),
            None => exceeds(&repetition.ast, left),
        },
        Ast::Group(group) => exceeds(&group.ast, left),
        Ast::Concat(concat) => concat.asts.iter().any(|ast| exceeds(ast, left)),
        Ast::Alternation(alternation) => alternation.asts.iter().any(|ast| exceeds(ast, left)),
        _ => false,
    }
}

fn count(kind: &RepetitionKind) -> Option<u32> {
    match kind {
        RepetitionKind::Range(RepetitionRange::Exactly(count) | RepetitionRange::Bounded(_, count)) => Some(*count),
        RepetitionKind::Range(RepetitionRange::AtLeast(count)) => Some(*count).filter(|count| *count > 0),
        _ => None,
    }
}
