//! Comments that silence a lint for one rule: `# watchkeeper:allow counter-without-rate`, within the rule or on the
//! lines directly above it.

use std::collections::BTreeSet;

use super::{LINTS, UNKNOWN_LINT, Warning};
use crate::config::tree::{Node, Position};
use crate::config::words;

const MARK: &str = "watchkeeper:allow";

/// What a file's comments allow.
pub struct Allowed<'a> {
    /// Line (from 1), column (from 1) and the name of each lint that is allowed there.
    names: Vec<(u32, u32, &'a str)>,
    /// Where groups and rules begin, comments above them included, in order.
    begins: Vec<u32>,
}

impl<'a> Allowed<'a> {
    pub fn read(text: &'a str, groups: &[Node]) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let names = lines.iter().copied().zip(1..).flat_map(|(line, number)| named(line, number)).collect();
        let nodes = groups.iter().flat_map(|group| std::iter::once(group).chain(rules(group)));
        let mut begins: Vec<u32> = nodes.map(|node| with_comments(&lines, node.at.line)).collect();
        begins.sort_unstable();
        begins.dedup();
        Allowed { names, begins }
    }

    /// The lints that are allowed for the rule that begins on this line.
    pub fn of_rule(&self, line: u32) -> BTreeSet<&'a str> {
        let next = self.begins.partition_point(|begin| *begin <= line);
        let from = next.checked_sub(1).map_or(0, |index| self.begins[index]);
        let to = self.begins.get(next).copied().unwrap_or(u32::MAX);
        self.names.iter().filter(|(at, ..)| (from..to).contains(at)).map(|(_, _, name)| *name).collect()
    }

    /// Names that no lint has.
    pub fn unknown(&self, file: &str) -> Vec<Warning> {
        let unknown = self.names.iter().filter(|(_, _, name)| !LINTS.contains(name));
        let warning = |(line, column, name): &(u32, u32, &str)| {
            let what_then = match words::nearest(name, LINTS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", words::list(LINTS)),
            };
            let message = format!("no lint is called `{name}`: {what_then}");
            Warning { at: Position::new(file, *line, *column), lint: UNKNOWN_LINT, message }
        };
        unknown.map(warning).collect()
    }
}

fn rules(group: &Node) -> &[Node] {
    group.get("rules").map_or(&[], Node::items)
}

/// The first of the comment lines that stand directly above a line.
fn with_comments(lines: &[&str], line: u32) -> u32 {
    let above = lines.iter().take(line.saturating_sub(1) as usize).rev();
    line - above.take_while(|line| line.trim_start().starts_with('#')).count() as u32
}

/// The names that a line's comment allows, separated by commas or spaces.
fn named(line: &str, number: u32) -> Vec<(u32, u32, &str)> {
    let Some((before, comment)) = line.split_once('#') else { return Vec::new() };
    let Some(names) = comment.trim_start().strip_prefix(MARK) else { return Vec::new() };
    let column = u32::try_from(before.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
    let words = names.split([',', ' ', '\t']).filter(|name| !name.is_empty());
    words.map(|name| (number, column, name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_the_lints_that_it_allows() {
        for (line, names) in [
            ("# watchkeeper:allow no-runbook", &["no-runbook"][..]),
            (
                "  expr: x_total > 5  # watchkeeper:allow counter-without-rate, no-severity",
                &["counter-without-rate", "no-severity"],
            ),
            ("#watchkeeper:allow no-runbook no-severity", &["no-runbook", "no-severity"]),
            ("# watchkeeper:allow", &[]),
            ("# see watchkeeper:allow no-runbook", &[]),
            ("expr: x", &[]),
        ] {
            assert_eq!(named(line, 1).iter().map(|(_, _, name)| *name).collect::<Vec<_>>(), names, "{line}");
        }
    }
}
