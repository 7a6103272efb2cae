//! Where the pieces of a scalar's text stand in the file: a block scalar is indented, a folded line is joined,
//! an escape is longer than what it means.

use super::tree::Position;

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

/// From byte `offset` of the text on, until the next run, text and file go side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    offset: usize,
    line: u32,
    column: u32,
}

/// Where byte `offset` of `text` stands.
pub(super) fn locate(runs: &[Run], text: &str, offset: usize, start: &Position) -> Position {
    let Some(run) = runs.iter().rev().find(|run| run.offset <= offset) else { return start.clone() };
    let between = text.get(run.offset..offset.min(text.len())).unwrap_or_default();
    let column = run.column + u32::try_from(between.chars().count()).unwrap_or(u32::MAX);
    Position { file: start.file.clone(), line: run.line, column }
}

/// The runs of a scalar. `source` is the scalar as written, with its quotes; of a block scalar what follows its
/// `|` line, its first blank lines and its first indentation. `at` is where `source` starts.
pub(super) fn runs(style: Style, text: &str, source: &str, at: &Position) -> Vec<Run> {
    let cursor = Cursor { rest: source, line: at.line, column: at.column };
    let mut walk = Walk { style, cursor, runs: Vec::new(), starts: true };
    walk.skip_opening();
    let mut offset = if style == Style::Block { text.len() - text.trim_start_matches('\n').len() } else { 0 };
    while let Some(wanted) = text[offset..].chars().next() {
        if !walk.step(wanted, offset, &text[offset + wanted.len_utf8()..]) {
            break;
        }
        offset += wanted.len_utf8();
    }
    walk.runs
}

/// The place in the file while both are read.
struct Cursor<'a> {
    rest: &'a str,
    line: u32,
    column: u32,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes a character; a line break of any form is one.
    fn advance(&mut self) {
        let Some(c) = self.peek() else { return };
        let taken = if self.rest.starts_with("\r\n") { 2 } else { c.len_utf8() };
        self.rest = &self.rest[taken..];
        if matches!(c, '\n' | '\r') {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
    }

    fn advance_by(&mut self, count: usize) {
        (0..count).for_each(|_| self.advance());
    }
}

struct Walk<'a> {
    style: Style,
    cursor: Cursor<'a>,
    runs: Vec<Run>,
    /// The next character starts a run.
    starts: bool,
}

impl Walk<'_> {
    fn skip_opening(&mut self) {
        match self.style {
            Style::Plain | Style::Block => {}
            Style::Single | Style::Double => self.cursor.advance(),
        }
    }

    /// Finds one character of the text in the file; false when the two no longer go together.
    fn step(&mut self, wanted: char, offset: usize, after: &str) -> bool {
        while let Some(found) = self.cursor.peek() {
            let line_break = matches!(found, '\n' | '\r');
            if self.style == Style::Double && found == '\\' && self.joins_lines() {
                self.cursor.advance_by(2);
                self.skip_indent("");
            } else if self.style == Style::Double && found == '\\' {
                return self.take(offset, escape_length(self.cursor.rest));
            } else if self.style == Style::Single && found == '\'' {
                return self.take(offset, 2);
            } else if line_break && matches!(wanted, ' ' | '\n') {
                self.take(offset, 1);
                self.skip_indent(after);
                return true;
            } else if found == wanted {
                self.mark(offset);
                self.cursor.advance();
                return true;
            } else if line_break {
                self.cursor.advance();
                self.skip_indent("");
            } else if matches!(found, ' ' | '\t') {
                self.cursor.advance();
                self.starts = true;
            } else {
                return false;
            }
        }
        false
    }

    /// One character of the text that takes several in the file.
    fn take(&mut self, offset: usize, length: usize) -> bool {
        self.mark(offset);
        self.cursor.advance_by(length);
        self.starts = true;
        true
    }

    /// Whether an escaped line break stands here.
    fn joins_lines(&self) -> bool {
        matches!(self.cursor.rest.as_bytes().get(1), Some(b'\n' | b'\r'))
    }

    fn mark(&mut self, offset: usize) {
        if self.starts {
            self.runs.push(Run { offset, line: self.cursor.line, column: self.cursor.column });
            self.starts = false;
        }
    }

    /// At the start of a line: skips its indentation, which is what the text does not have.
    fn skip_indent(&mut self, text: &str) {
        let kept = if self.style == Style::Block { spaces(text) } else { 0 };
        let indent = match self.style {
            Style::Block => spaces(self.cursor.rest),
            _ => self.cursor.rest.len() - self.cursor.rest.trim_start_matches([' ', '\t']).len(),
        };
        self.cursor.advance_by(indent.saturating_sub(kept));
        self.starts = true;
    }
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// How many characters an escape of a double-quoted scalar takes (YAML 1.2, 5.7).
fn escape_length(rest: &str) -> usize {
    match rest.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tree::{Node, parse};

    /// The line and column of the first `mark` in the text of the value under `k`.
    fn place(yaml: &str, mark: char) -> (u32, u32) {
        let tree = parse("f", yaml).unwrap();
        let node: &Node = tree.get("k").unwrap();
        let text = node.text().unwrap();
        let at = node.position_of(text.find(mark).unwrap());
        (at.line, at.column)
    }

    /// Where `mark` stands in the file.
    fn truth(yaml: &str, mark: char) -> (u32, u32) {
        let before = &yaml[..yaml.find(mark).unwrap()];
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        (before.lines().count().max(1) as u32 + u32::from(before.ends_with('\n')), column as u32)
    }

    #[test]
    fn a_character_is_found_where_it_was_written() {
        let written = [
            "k: up == @\n",
            "k: \"up == @\"\n",
            "k: 'it''s ü @ x'\n",
            "k: \"a \\\"quoted\\\" \\u00e9 \\\n    tail @\"\n",
            "k: |\n  sum(\n    up @\n  )\n",
            "k: |2\n    two kept @\n",
            "k: >-\n  sum(up)\n  > 5 @\n",
            "k: >\n  a\n\n  b\n    more\n  @ c\n",
            "k: one\n  two\n\n  @ three\n",
            "k: 'one  \n  two @'\n",
            "a: 1\nk: >-  # why\n\n    up @\n",
            "k: |\r\n  one\r\n  two @\r\n",
        ];
        for yaml in written {
            assert_eq!(place(yaml, '@'), truth(yaml, '@'), "{yaml:?}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        /// Whatever is parsed, every character of a scalar is found at itself in the file, or (an escape, a joined
        /// line) at something that stands for it.
        #[test]
        fn every_character_is_found_somewhere_that_means_it(
            text in "(k: |- |\\[|\\]|\\{|\\}|, |&a |\\*a|<<: |!!str |: |\\||>|-|\n|\r\n|  |\t|'|\"|\\\\|#|ü|[a-z]{1,3}|[0-9]|\\$|~){0,40}"
        ) {
            if let Ok(tree) = parse("f", &text) {
                check(&tree, &text);
            }
        }
    }

    fn check(node: &Node, file: &str) {
        node.items().iter().for_each(|item| check(item, file));
        node.entries().iter().for_each(|(_, value)| check(value, file));
        let lines: Vec<&str> = file.split('\n').collect();
        let text = node.text().unwrap_or_default();
        // The blank lines that a block scalar starts with are found at its first line.
        let blank = text.len() - text.trim_start_matches('\n').len();
        for (offset, wanted) in text.char_indices().filter(|(offset, _)| *offset >= blank) {
            let at = node.position_of(offset);
            let line = lines.get(at.line as usize - 1).copied().unwrap_or_default();
            let found = line.chars().nth(at.column as usize - 1).unwrap_or('\n');
            let stands_for = matches!((wanted, found), (' ' | '\n', '\n' | '\r')) || "\\'\"|>".contains(found);
            assert!(found == wanted || stands_for, "{wanted:?} is found at {at}, where {found:?} stands");
        }
    }

    #[test]
    fn past_the_end_is_the_end() {
        let tree = parse("f", "k: |\n  up\n").unwrap();
        assert_eq!(tree.get("k").unwrap().position_of(2).to_string(), "f:2:5");
    }
}
