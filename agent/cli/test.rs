//! `watchkeeper test FILES…`: unit tests of rules, in promtool's form; and `--replay`: what rules would have said of a
//! recorded history.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{junit, replay};
use crate::rule::unit_test::{self, Options, Report};

/// Runs unit tests of rules, written as for `promtool test rules`; or replays a recorded history.
#[derive(Debug, Default, clap::Args)]
#[command(
    after_help = "Examples:\n  watchkeeper test rules/*.test.yml\n  watchkeeper test --run 'pool|disk' --junit report.xml rules/*.test.yml\n  watchkeeper test --replay history/ rules/postgres.yml     # when would each alert have fired?\n  watchkeeper test --replay history/ --config watchkeeper.yml\n\nExit code: 0 when every test passes (with --replay: when every page was read and every rule evaluated),\n1 otherwise, 3 on wrong usage."
)]
pub struct Args {
    /// Test files, each of which names the rule files that it tests; with --replay, rule files.
    #[arg(required_unless_present = "config")]
    pub files: Vec<PathBuf>,
    /// Only tests whose name the regular expression finds; may be given several times.
    #[arg(long, value_name = "REGEX", conflicts_with = "replay")]
    pub run: Vec<Regex>,
    /// Pass over keys of rule files that Prometheus does not know.
    #[arg(long)]
    pub ignore_unknown_fields: bool,
    /// Write what came of each test to a file, as JUnit XML.
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub junit: Option<PathBuf>,
    /// A folder of recorded /metrics pages: print when each alert would have fired and resolved.
    #[arg(long, value_name = "DIR")]
    pub replay: Option<PathBuf>,
    /// With --replay: the configuration whose rules, shipped ones included, are replayed.
    #[arg(long, value_name = "FILE", requires = "replay")]
    pub config: Option<PathBuf>,
    /// With --replay: how often groups are evaluated that name no interval [default: the configuration's, else 15s].
    #[arg(long, value_name = "DURATION", requires = "replay", value_parser = interval)]
    pub interval: Option<std::time::Duration>,
    /// With --replay: a JSON object a line.
    #[arg(long, requires = "replay")]
    pub json: bool,
}

fn interval(text: &str) -> Result<std::time::Duration, String> {
    let interval = crate::duration::parse(text)?;
    if interval.is_zero() { Err("an interval is longer than 0".to_owned()) } else { Ok(interval) }
}

/// Runs every file and writes what came of it to `out`, what is wrong with files to `err`. Whether all passed.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    if let Some(folder) = &args.replay {
        return replay::run(folder, args, &super::environment(), out, err);
    }
    let options = Options { run: args.run.clone(), ignore_unknown_fields: args.ignore_unknown_fields };
    let results: Vec<_> = args.files.iter().map(|path| (path.as_path(), unit_test::run(path, &options))).collect();
    for (path, result) in &results {
        match result {
            Ok(report) => write_report(path, report, out, err)?,
            Err(problems) => {
                writeln!(out, "{}: cannot be run", path.display())?;
                problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))?;
            }
        }
    }
    let reports = || results.iter().filter_map(|(_, result)| result.as_ref().ok());
    let sum = |count: fn(&Report) -> usize| reports().map(count).sum::<usize>();
    let unusable = results.len() - reports().count();
    let (tests, failed, skipped) = (sum(|report| report.cases.len()), sum(Report::failed), sum(Report::skipped));
    write!(out, "{}, {}, {failed} failed", counted(results.len(), "file"), counted(tests, "test"))?;
    if unusable > 0 {
        write!(out, ", {} cannot be run", counted(unusable, "file"))?;
    }
    if skipped > 0 {
        write!(out, ", {} not tested", counted(skipped, "expression"))?;
    }
    writeln!(out)?;
    let mut passed = failed + unusable == 0;
    if let Some(file) = &args.junit
        && let Err(error) = std::fs::write(file, junit::written(&results))
    {
        writeln!(err, "{}: cannot be written: {error}", file.display())?;
        passed = false;
    }
    Ok(passed)
}

fn write_report(path: &Path, report: &Report, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    report.warnings.iter().try_for_each(|warning| writeln!(err, "{warning}"))?;
    let verdict = if report.failures().next().is_none() { "passed" } else { "failed" };
    writeln!(out, "{}: {}, {verdict}", path.display(), counted(report.cases.len(), "test"))?;
    report.failures().try_for_each(|failure| writeln!(out, "  {failure}"))
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(tests: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.yml");
        std::fs::write(&path, tests).expect("a file");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let passed = run(&Args { files: vec![path], ..Args::default() }, &mut out, &mut err).expect("written");
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
            "t.yml: 1 test, failed\n  t.yml:2:24: `time()` at 0s:\n    {}: expected 1.0, got 0.0\n\
             1 file, 1 test, 1 failed\n"
        );
    }

    #[test]
    fn a_test_that_fails_twice_is_one_failed_test() {
        let (_, out, _) =
            run_on("tests:\n  - promql_expr_test: [{expr: 1, exp_samples: []}, {expr: 2, exp_samples: []}]\n  - {}\n");
        assert!(out.ends_with("\n1 file, 2 tests, 1 failed\n"), "{out}");
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
