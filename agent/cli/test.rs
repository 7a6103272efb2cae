//! `watchkeeper test FILES…`: unit tests of rules, in promtool's form.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::rule::unit_test::{self, Report};

/// Runs unit tests of alert rules, written as for `promtool test rules`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  watchkeeper test rules/*.test.yml\n\nExit code: 0 when every test passes, 1 otherwise, 3 on wrong usage."
)]
pub struct Args {
    /// Test files. Each names the rule files that it tests.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Runs every file and writes what came of it to `out`, what is wrong with files to `err`. Whether all passed.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let mut passed = true;
    let (mut tests, mut failed) = (0, 0);
    for path in &args.files {
        match unit_test::run(path) {
            Ok(report) => {
                passed &= report.failures.is_empty();
                tests += report.tests;
                failed += report.failures.len();
                write_report(path, &report, out, err)?;
            }
            Err(problems) => {
                passed = false;
                writeln!(out, "{}: cannot be run", path.display())?;
                problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))?;
            }
        }
    }
    let files = args.files.len();
    writeln!(out, "{files} file{}, {tests} test{}, {failed} failed", plural(files), plural(tests))?;
    Ok(passed)
}

fn write_report(path: &std::path::Path, report: &Report, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    report.warnings.iter().try_for_each(|warning| writeln!(err, "{warning}"))?;
    let verdict = if report.failures.is_empty() { "passed" } else { "failed" };
    writeln!(out, "{}: {} test{}, {verdict}", path.display(), report.tests, plural(report.tests))?;
    report.failures.iter().try_for_each(|failure| writeln!(out, "  {failure}"))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(tests: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.yml");
        std::fs::write(&path, tests).expect("a file");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let passed = run(&Args { files: vec![path] }, &mut out, &mut err).expect("written");
        let text =
            |bytes| String::from_utf8(bytes).expect("text").replace(&format!("{}/", folder.path().display()), "");
        (passed, text(out), text(err))
    }

    #[test]
    fn what_passes_is_said_in_a_line() {
        let (passed, out, err) = run_on("tests: [{}, {}]");
        assert!(passed);
        assert_eq!((out.as_str(), err.as_str()), ("t.yml: 2 tests, passed\n1 file, 2 tests, 0 failed\n", ""));
    }

    #[test]
    fn what_fails_is_shown_with_its_place() {
        let (passed, out, _) = run_on("tests:\n  - promql_expr_test: [{expr: time(), exp_samples: [{value: 1}]}]\n");
        assert!(!passed);
        assert_eq!(
            out,
            "t.yml: 1 test, failed\n  t.yml:2:24: `time()` at 0s:\n    expected: {} 1.0\n    got:      {} 0.0\n\
             1 file, 1 test, 1 failed\n"
        );
    }

    #[test]
    fn what_cannot_be_read_fails_too() {
        let (passed, out, err) = run_on("test: []");
        assert!(!passed && out.starts_with("t.yml: cannot be run\n"));
        assert_eq!(err, "t.yml:1:1: unknown key `test`: did you mean `tests`?\n");
    }

    #[test]
    fn rules_given_as_tests_are_told_where_they_belong() {
        let (passed, _, err) = run_on("groups: []");
        assert!(!passed);
        assert_eq!(err, "t.yml:1:1: these are rules, not unit tests: run `watchkeeper check` on them\n");
    }
}
