//! `watchkeeper test --replay DIR`: when each alert would have fired and resolved over a recorded history.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::test::{Args, counted};
use crate::alert::Alert;
use crate::app::rules;
use crate::clock::rfc3339;
use crate::config::Problem;
use crate::config::load;
use crate::duration;
use crate::rule::replay::history::{self, History};
use crate::rule::replay::{Kind, Settings, Summary, Told, Transition, replay};
use crate::rule::{self, ALERT_NAME, Group, file};
use crate::sample::{Labels, Timestamp};

/// Where neither the command line nor a configuration says how often groups are evaluated.
const INTERVAL: Duration = Duration::from_secs(15);

/// Replays, and prints what happens as it happens. Whether every page was read, and every rule evaluated.
pub fn run(
    folder: &Path,
    args: &Args,
    env: &BTreeMap<String, String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<bool> {
    let settings = match settings(args, env) {
        Ok(settings) => settings,
        Err(problems) => {
            problems.iter().try_for_each(|problem| writeln!(err, "{problem}"))?;
            return Ok(false);
        }
    };
    match history::find(folder).and_then(|history| nonempty(folder, history)) {
        Ok(history) => over(&history, &settings, args.json, out, err),
        Err(why) => {
            writeln!(err, "{why}")?;
            Ok(false)
        }
    }
}

fn nonempty(folder: &Path, history: History) -> Result<History, String> {
    match history.pages.is_empty() {
        true => Err(format!(
            "{}: no page is there: record some with curl (docs/how-to/replay-a-history.md)",
            folder.display()
        )),
        false => Ok(history),
    }
}

fn over(
    history: &History,
    settings: &Settings,
    as_json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<bool> {
    let (mut written, mut problems) = (Ok(()), 0);
    let result = replay(history, settings, &mut |told| {
        let line = match &told {
            Told::Transition(transition) if as_json => writeln!(out, "{}", object(transition)),
            Told::Transition(transition) => writeln!(out, "{}", line(transition)),
            Told::Problem(text) => {
                problems += 1;
                writeln!(err, "{text}")
            }
        };
        if written.is_ok() {
            written = line;
        }
    });
    written?;
    let summary = match result {
        Ok(summary) => summary,
        Err(why) => {
            writeln!(err, "{why}")?;
            return Ok(false);
        }
    };
    if as_json {
        writeln!(out, "{}", end(&summary, problems))?
    } else {
        write_summary(&summary, problems, out)?
    }
    Ok(problems == 0)
}

/// The rules of the configuration, and those that the command line names.
fn settings(args: &Args, env: &BTreeMap<String, String>) -> Result<Settings, Vec<Problem>> {
    let (mut groups, mut interval, mut external_labels) = (Vec::new(), INTERVAL, BTreeMap::new());
    if let Some(path) = &args.config {
        let (loaded, configured) = rules::usable(|shipped| load::load(Some(path), env, shipped))?;
        interval = loaded.config.evaluation.interval;
        external_labels = loaded.config.labels;
        groups = configured;
    }
    let mut problems = Vec::new();
    for path in &args.files {
        match rule_file(path, args.ignore_unknown_fields) {
            Ok(more) => groups.extend(more),
            Err(more) => problems.extend(more),
        }
    }
    rule::link(&mut groups);
    let interval = args.interval.unwrap_or(interval);
    if problems.is_empty() { Ok(Settings { groups, interval, external_labels }) } else { Err(problems) }
}

fn rule_file(path: &Path, leniently: bool) -> Result<Vec<Group>, Vec<Problem>> {
    let text = load::read_file(path).map_err(|problem| vec![problem])?;
    let name = path.to_string_lossy();
    if leniently { file::load_leniently(&name, &text) } else { file::load(&name, &text, false) }
}

/// `2026-11-21T10:00:00.000Z  fired     HighLoad{job="api"} 12  after 1m pending`
fn line(transition: &Transition) -> String {
    let Transition { at, kind, alert } = transition;
    let lasted = lasted(transition).map(duration::format);
    let (word, rest) = match (kind, lasted) {
        (Kind::Pending, _) => ("pending", String::new()),
        (Kind::Fired, Some(lasted)) if alert.active_at < *at => ("fired", format!("  after {lasted} pending")),
        (Kind::Fired, _) => ("fired", String::new()),
        (Kind::Resolved, lasted) => ("resolved", format!("  after {} firing", lasted.unwrap_or_default())),
        (Kind::Dropped, lasted) => ("dropped", format!("  after {} pending", lasted.unwrap_or_default())),
    };
    format!("{}  {word:<8}  {} {}{rest}", rfc3339(*at), named(&alert.id.labels), alert.value)
}

/// `HighLoad{job="api"}`
fn named(labels: &Labels) -> String {
    let others = labels.filtered(|name| name != ALERT_NAME);
    let braced = if others.is_empty() { String::new() } else { others.to_string() };
    format!("{}{braced}", labels.get(ALERT_NAME))
}

/// How long the alert was in the state that it leaves.
fn lasted(transition: &Transition) -> Option<Duration> {
    let alert = &transition.alert;
    let since = match transition.kind {
        Kind::Resolved => alert.starts_at.unwrap_or(alert.active_at),
        Kind::Pending | Kind::Fired | Kind::Dropped => alert.active_at,
    };
    u64::try_from(transition.at - since).ok().map(Duration::from_millis)
}

fn object(transition: &Transition) -> Value {
    let Transition { at, kind, alert } = transition;
    let kind = match kind {
        Kind::Pending => "pending",
        Kind::Fired => "fired",
        Kind::Resolved => "resolved",
        Kind::Dropped => "dropped",
    };
    json!({
        "at": rfc3339(*at),
        "event": kind,
        "labels": labels(&alert.id.labels),
        "annotations": alert.annotations,
        "value": alert.value.to_string(),
        "activeAt": rfc3339(alert.active_at),
        "startsAt": alert.starts_at.map(rfc3339),
    })
}

fn labels(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|label| (label.name.to_string(), Value::from(&*label.value))).collect()
}

fn end(summary: &Summary, problems: usize) -> Value {
    let time = |at: Option<Timestamp>| at.map(rfc3339);
    json!({
        "event": "end",
        "from": time(summary.span.map(|(from, _)| from)),
        "to": time(summary.span.map(|(_, to)| to)),
        "targets": summary.targets,
        "pages": summary.pages,
        "failedLooks": summary.failed_looks,
        "evaluations": summary.evaluations,
        "fired": summary.fired,
        "firing": summary.firing.iter().map(|alert| labels(&alert.id.labels)).collect::<Vec<_>>(),
        "problems": problems,
    })
}

fn write_summary(summary: &Summary, problems: usize, out: &mut dyn Write) -> io::Result<()> {
    let still = |alert: &Alert| {
        format!(
            "still firing: {} since {}",
            named(&alert.id.labels),
            rfc3339(alert.starts_at.unwrap_or(alert.active_at))
        )
    };
    summary.firing.iter().try_for_each(|alert| writeln!(out, "{}", still(alert)))?;
    if let Some((from, to)) = summary.span {
        writeln!(out, "from {} to {}", rfc3339(from), rfc3339(to))?;
    }
    let looks = match summary.failed_looks {
        0 => String::new(),
        failed => format!(" ({failed} failed)"),
    };
    let (pages, targets) = (counted(summary.pages, "page"), counted(summary.targets, "target"));
    let problems = counted(problems, "problem");
    let evaluations = counted(usize::try_from(summary.evaluations).unwrap_or(usize::MAX), "evaluation");
    writeln!(
        out,
        "{pages}{looks} of {targets}, {evaluations}, {} fired, {} still firing, {problems}",
        counted(summary.fired, "alert"),
        summary.firing.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A target that is hot from 10 to 30 seconds, with pages every 10; rules are evaluated as often.
    fn replayed(json: bool, last: &str) -> (bool, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let (history, rules) = (folder.path().join("history/oven"), folder.path().join("r.yml"));
        fs::create_dir_all(&history).unwrap();
        for (second, text) in [(10, "t 1\n"), (20, "t 40\n"), (30, "t 40\n"), (40, "t 40\n"), (50, "t 1\n"), (60, last)]
        {
            fs::write(history.join(format!("17952552{second}.prom")), text).unwrap();
        }
        fs::write(&rules, "groups: [{name: g, interval: 10s, rules: [{alert: Hot, expr: t > 30, for: 10s}]}]").unwrap();
        let args = Args { files: vec![rules], json, ..Args::default() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = run(&folder.path().join("history"), &args, &BTreeMap::new(), &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", folder.path().display()), "");
        (good, text(out), text(err))
    }

    #[test]
    fn each_transition_is_a_line_and_a_summary_follows() {
        let (good, out, err) = replayed(false, "t 1\n");
        assert_eq!((good, err.as_str()), (true, ""));
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].ends_with("  pending   Hot{job=\"oven\"} 40"), "{out}");
        assert!(lines[1].ends_with("  fired     Hot{job=\"oven\"} 40  after 10s pending"), "{out}");
        assert!(lines[2].ends_with("  resolved  Hot{job=\"oven\"} 40  after 20s firing"), "{out}");
        assert!(lines[3].starts_with("from 2026-11-21T") && lines[3].contains(" to 2026-11-21T"), "{out}");
        assert!(lines[4].starts_with("6 pages of 1 target, "), "{out}");
        assert!(lines[4].ends_with(" 1 alert fired, 0 still firing, 0 problems"), "{out}");
    }

    #[test]
    fn as_json_each_line_is_an_object() {
        let (_, out, _) = replayed(true, "t 1\n");
        let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<&str> = lines.iter().filter_map(|line| line["event"].as_str()).collect();
        assert_eq!(events, ["pending", "fired", "resolved", "end"]);
        assert_eq!(lines[1]["labels"], json!({"alertname": "Hot", "job": "oven"}));
        assert_eq!((&lines[3]["pages"], &lines[3]["fired"]), (&json!(6), &json!(1)));
    }

    #[test]
    fn a_page_that_cannot_be_read_is_told_and_fails_the_command() {
        let (good, out, err) = replayed(false, "t one\n");
        assert!(!good && out.ends_with("1 problem\n"), "{out}");
        assert!(err.starts_with("history/oven/1795255260.prom:1: expected a number"), "{err}");
    }

    #[test]
    fn without_pages_it_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = Args { files: vec!["rules/targets.yml".into()], ..Args::default() };
        assert!(!run(folder.path(), &args, &BTreeMap::new(), &mut out, &mut err).unwrap());
        assert!(String::from_utf8(err).unwrap().contains("no page is there: record some with curl"));
    }
}
