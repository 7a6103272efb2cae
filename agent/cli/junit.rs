//! Unit tests' results as JUnit XML, the form that CI systems read: a suite for each file, a case for each test.

use std::fmt::Write;
use std::path::Path;

use crate::config::Problem;
use crate::rule::unit_test::{Case, Report};

/// One file, and what came of it.
pub type Outcome<'a> = (&'a Path, Result<Report, Vec<Problem>>);

pub fn written(results: &[Outcome<'_>]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for (path, result) in results {
        let name = escaped(&path.display().to_string());
        match result {
            Ok(report) => suite(&mut text, &name, report),
            Err(problems) => {
                let _ = writeln!(text, "  <testsuite name=\"{name}\" tests=\"1\" failures=\"0\" errors=\"1\">");
                let _ = writeln!(text, "    <testcase name=\"{name}\">");
                element(&mut text, "error", &problems.iter().map(ToString::to_string).collect::<Vec<_>>());
                text.push_str("    </testcase>\n  </testsuite>\n");
            }
        }
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(text: &mut String, name: &str, report: &Report) {
    let failed = report.cases.iter().filter(|case| !case.failures.is_empty()).count();
    let tests = report.cases.len();
    let _ = writeln!(text, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"0\">");
    report.cases.iter().for_each(|case| one(text, case));
    text.push_str("  </testsuite>\n");
}

fn one(text: &mut String, case: &Case) {
    let name = escaped(&case.name);
    if case.failures.is_empty() {
        let _ = writeln!(text, "    <testcase name=\"{name}\"/>");
        return;
    }
    let _ = writeln!(text, "    <testcase name=\"{name}\">");
    element(text, "failure", &case.failures.iter().map(ToString::to_string).collect::<Vec<_>>());
    text.push_str("    </testcase>\n");
}

fn element(text: &mut String, name: &str, lines: &[String]) {
    let _ = writeln!(text, "      <{name}>{}</{name}>", escaped(&lines.join("\n")));
}

/// Text as XML 1.0 takes it: what it cannot hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_written_so_that_it_can() {
        assert_eq!(escaped("a<b> & \"c\"\n\u{1b}é"), "a&lt;b&gt; &amp; &quot;c&quot;\n\u{fffd}é");
    }
}
