//! `watchkeeper check`: says everything that is wrong with a configuration and with rule files.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;

use super::client::{Client, ClientError, Connection, converse};
use crate::config::Problem;
use crate::config::load::{self, FileText, Loaded, RuleText};
use crate::export::parse::{Dialect, Entry, Limits, entries};
use crate::rule::lint::{self, LINTS, Producers, Scrapes, Warning};
use crate::rule::{self, RuleKind};

/// Validates a configuration, its rules and its routes; rule files alone where only they are given.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  watchkeeper check --config watchkeeper.yml\n  watchkeeper check rules/targets.yml rules/redis.yml\n  watchkeeper check --config watchkeeper.yml --running --strict\n\nWhat is probably wrong is warned of (file:line:column: warning: message (lint)); docs/reference/lint.md lists the\nlints.\n\nExit code: 0 when all is well, also with warnings; 1 when something is wrong (each problem as\nfile:line:column: message on standard error), and with --strict when there are warnings; 3 on wrong usage."
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
    /// Warnings are errors.
    #[arg(long)]
    pub strict: bool,
    /// A lint that is not to warn, by its name; several times for several.
    #[arg(long, value_name = "LINT", value_parser = PossibleValuesParser::new(LINTS))]
    pub allow: Vec<String>,
    /// Judge names by what a running agent has scraped, too. Without it, targets that are scraped may produce any.
    #[arg(long)]
    pub running: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Checks everything; the summary goes to `out`, problems to `err`. Whether all is well.
pub fn run(args: &Args, env: &BTreeMap<String, String>, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let mut problems = Vec::new();
    let mut rules = 0;
    let mut lines = Vec::new();
    let env = &super::with_profile(env.clone(), args.profile.as_deref());
    let alone = args.config.is_none() && args.profile.is_none() && !args.rule_files.is_empty();
    let loaded = if alone { None } else { configuration(args, env, &mut problems) };
    let mut files = Vec::new();
    if let Some(loaded) = &loaded {
        files.extend(loaded.source.rules.iter().cloned());
        lines = summary(args, loaded);
    }
    for path in &args.rule_files {
        match load::read_file(path) {
            Ok(text) => files.push(foreign(path.clone(), text)),
            Err(problem) => problems.push(problem),
        }
    }
    files.iter().for_each(|file| rules += check_rules(file, &mut problems));
    let warnings = match problems.is_empty().then(|| warnings(args, loaded.as_ref(), &files)) {
        Some(Err(error)) => {
            writeln!(err, "watchkeeper check: {error}")?;
            return Ok(false);
        }
        Some(Ok(warnings)) => warnings,
        None => Vec::new(),
    };
    warnings.iter().try_for_each(|warning| writeln!(err, "{warning}"))?;
    problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))?;
    if !warnings.is_empty() {
        writeln!(err, "{}", counted(warnings.len(), "warning"))?;
    }
    let refused = args.strict && !warnings.is_empty();
    if problems.is_empty() && refused {
        writeln!(err, "refused: with --strict a warning is an error (--allow LINT accepts one kind)")?;
    } else if problems.is_empty() {
        lines.push(format!("ok: {} besides the shipped ones", counted(rules, "alert rule")));
        lines.iter().try_for_each(|line| writeln!(out, "{line}"))?;
    } else {
        writeln!(err, "{}", counted(problems.len(), "problem"))?;
    }
    Ok(problems.is_empty() && !refused)
}

/// What is probably wrong with rules that load. Names are judged only where it is known what is watched.
fn warnings(args: &Args, loaded: Option<&Loaded>, files: &[RuleText]) -> Result<Vec<Warning>, ClientError> {
    let scrapes = if args.running { Some(converse(scraped(&Client::new(&args.connection)))?) } else { None };
    let mut producers = loaded.map(|loaded| Producers::of(&loaded.config, scrapes.as_ref()));
    if let Some(producers) = &mut producers {
        recorded(files).iter().for_each(|name| producers.record(name));
    }
    let mut seen = lint::Seen::new();
    let lint =
        |file: &RuleText| lint::lint(&file.file.path.to_string_lossy(), &file.file.text, producers.as_ref(), &mut seen);
    let mut warnings: Vec<Warning> = files.iter().flat_map(lint).collect();
    warnings.retain(|warning| !args.allow.iter().any(|allowed| allowed == warning.lint));
    Ok(warnings)
}

/// The names of the series that rules record, the shipped ones among them.
fn recorded(files: &[RuleText]) -> Vec<String> {
    let load = |file: &RuleText| rule::file::load("", &file.file.text, false).unwrap_or_default();
    let groups = rule::shipped().into_iter().chain(files.iter().flat_map(load));
    let rules = groups.flat_map(|group| group.rules);
    rules.filter(|rule| matches!(rule.kind, RuleKind::Recording { .. })).map(|rule| rule.name).collect()
}

/// The names and labels of what a running agent has now.
async fn scraped(client: &Client) -> Result<Scrapes, ClientError> {
    let answer = client.get(&["metrics"]).await?;
    if answer.status != 200 {
        let error = "no metrics".to_owned();
        return Err(ClientError::Refused { url: client.shown(), status: answer.status, error });
    }
    let limits = Limits { bytes: usize::MAX, samples: usize::MAX, ..Limits::default() };
    let mut scrapes = Scrapes::default();
    for entry in entries(&answer.body, Dialect::Prometheus, limits).map_while(Result::ok) {
        if let Entry::Sample(sample) = entry {
            let labels = scrapes.metrics.entry(sample.name.to_owned()).or_default();
            labels.extend(sample.labels().map(|(name, _)| name.into_owned()));
        }
    }
    Ok(scrapes)
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

    fn connection() -> Connection {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            connection: Connection,
        }
        <Alone as clap::Parser>::parse_from(["check"]).connection
    }

    #[test]
    fn a_lint_that_does_not_exist_is_wrong_usage() {
        #[derive(Debug, clap::Parser)]
        struct Alone {
            #[command(flatten)]
            args: Args,
        }
        let parse = |lint| <Alone as clap::Parser>::try_parse_from(["check", "--allow", lint]);
        assert_eq!(parse("no-runbook").unwrap().args.allow, ["no-runbook"]);
        let error = parse("no-runbok").unwrap_err().to_string();
        assert!(error.contains("no-runbok") && error.contains("unknown-metric"), "{error}");
    }

    fn check(config: Option<&str>, rule_files: &[&str], strict: bool) -> (bool, String, String) {
        let args = Args {
            profile: None,
            config: config.map(PathBuf::from),
            rule_files: rule_files.iter().map(PathBuf::from).collect(),
            strict,
            allow: Vec::new(),
            running: false,
            connection: connection(),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let well = run(&args, &BTreeMap::new(), &mut out, &mut err).unwrap();
        (well, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_good_configuration_is_summed_up() {
        let (well, out, err) =
            check(Some("tests/config/good/alerting-in-place.yml"), &["tests/config/files/rules/good.yml"], false);
        assert!(well, "warnings are no errors");
        assert!(
            err.contains("good.yml:4:16: warning: alert `Down` has no severity") && err.ends_with("2 warnings\n"),
            "{err}"
        );
        assert!(
            out.contains("0 targets, 2 receivers, 0 rule files\nok: 1 alert rule besides the shipped ones\n"),
            "{out}"
        );
    }

    #[test]
    fn warnings_are_errors_where_that_is_asked_for() {
        let (well, _, err) = check(None, &["tests/config/files/rules/good.yml"], true);
        assert!(!well && err.contains("(no-runbook)"), "{err}");
    }

    #[test]
    fn problems_of_configuration_and_rules_are_all_said() {
        let (well, out, err) = check(Some("tests/config/bad/listen.yml"), &["tests/config/files/absent.yml"], false);
        assert_eq!((well, out.as_str()), (false, ""));
        assert!(err.contains("listen.yml:1:9: `listen`"), "{err}");
        assert!(err.contains("cannot read tests/config/files/absent.yml: no such file or directory"), "{err}");
        assert!(err.ends_with("2 problems\n"), "{err}");
    }
}
