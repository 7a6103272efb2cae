//! `watchkeeper check`: says everything that is wrong with a configuration and with rule files.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::config::Problem;
use crate::config::load::{self, FileText, Loaded, RuleText};
use crate::rule;

/// Validates a configuration, its rules and its routes; rule files alone where only they are given.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  watchkeeper check --config watchkeeper.yml\n  watchkeeper check rules/targets.yml rules/redis.yml\n\nExit code: 0 when all is well, 1 when something is wrong (each problem as file:line:column: message on\nstandard error), 3 on wrong usage."
)]
pub struct Args {
    /// The configuration. Without it and without rule files, what the environment names is checked.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A configuration of a known platform, below the file: maxai or orbisvoice.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Rule files to check besides.
    #[arg(value_name = "RULE_FILES")]
    pub rule_files: Vec<PathBuf>,
}

/// Checks everything; the summary goes to `out`, problems to `err`. Whether all is well.
pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let mut problems = Vec::new();
    let mut rules = 0;
    let mut lines = Vec::new();
    let env = &super::with_profile(env.clone(), args.profile.as_deref());
    let alone = args.config.is_none() && args.profile.is_none() && !args.rule_files.is_empty();
    let loaded = if alone { None } else { configuration(args, env, &mut problems) };
    if let Some(loaded) = loaded {
        loaded.source.rules.iter().for_each(|file| rules += check_rules(file, &mut problems));
        lines = summary(args, &loaded);
    }
    for path in &args.rule_files {
        match load::read_file(path) {
            Ok(text) => rules += check_rules(&foreign(path.clone(), text), &mut problems),
            Err(problem) => problems.push(problem),
        }
    }
    problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))?;
    if problems.is_empty() {
        lines.push(format!("ok: {} besides the shipped ones", counted(rules, "alert rule")));
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    } else {
        writeln!(err, "{}", counted(problems.len(), "problem"))?;
    }
    Ok(problems.is_empty())
}

fn configuration(args: &Args, env: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Option<Loaded> {
    let shipped = rule::shipped();
    let names = rule::names(&shipped);
    match load::load(args.config.as_deref(), env, &names) {
        Ok(loaded) => {
            problems.extend_from_slice(&loaded.unusable);
            Some(loaded)
        }
        Err(more) => {
            problems.extend(more);
            None
        }
    }
}

/// How many rules a file has; what is wrong with it goes to `problems`.
fn check_rules(file: &RuleText, problems: &mut Vec<Problem>) -> usize {
    match rule::file::load(&file.file.path.to_string_lossy(), &file.file.text, file.hold) {
        Ok(groups) => groups.iter().map(|group| group.rules.len()).sum(),
        Err(more) => {
            problems.extend(more);
            0
        }
    }
}

/// A rule file that only the command line names.
fn foreign(path: PathBuf, text: String) -> RuleText {
    RuleText { file: FileText { path, text }, hold: false }
}

/// What is configured, and what should be known of it.
fn summary(args: &Args, loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let place = args.config.as_ref().map_or("the environment".to_owned(), |path| path.display().to_string());
    let receivers = config.alerting.as_ref().map_or(0, |alerting| alerting.receivers.len());
    let (targets, receivers) = (counted(config.targets.len(), "target"), counted(receivers, "receiver"));
    let rule_files = counted(config.rule_files.len(), "rule file");
    let notes = loaded.notes.iter().map(|note| format!("note: {note}"));
    notes.chain([format!("ok: {place}: {targets}, {receivers}, {rule_files}")]).collect()
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: Option<&str>, rule_files: &[&str]) -> (bool, String, String) {
        let args = Args {
            profile: None,
            config: config.map(PathBuf::from),
            rule_files: rule_files.iter().map(PathBuf::from).collect(),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let well = run(&args, &BTreeMap::new(), &mut out, &mut err).unwrap();
        (well, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_good_configuration_is_summed_up() {
        let (well, out, err) =
            check(Some("tests/config/good/alerting-in-place.yml"), &["tests/config/files/rules/good.yml"]);
        assert_eq!((well, err.as_str()), (true, ""));
        assert!(
            out.contains("0 targets, 2 receivers, 0 rule files\nok: 1 alert rule besides the shipped ones\n"),
            "{out}"
        );
    }

    #[test]
    fn problems_of_configuration_and_rules_are_all_said() {
        let (well, out, err) = check(Some("tests/config/bad/listen.yml"), &["tests/config/files/absent.yml"]);
        assert_eq!((well, out.as_str()), (false, ""));
        assert!(err.contains("listen.yml:1:9: `listen`"), "{err}");
        assert!(err.contains("cannot read tests/config/files/absent.yml: no such file or directory"), "{err}");
        assert!(err.ends_with("2 problems\n"), "{err}");
    }
}
