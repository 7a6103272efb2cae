//! `watchkeeper probe`: one look at something, with phase timings and samples.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::config;
use crate::duration;
use crate::export::parse;
use crate::net::{self, Net, NetSettings};
use crate::probe::{self, Blame, Path, Reading, Report};
use crate::rule;
use crate::target::Target;

const OK: u8 = 0;
const WARNING: u8 = 1;
const CRITICAL: u8 = 2;
const UNKNOWN: u8 = 3;
/// How many samples of a page are shown.
const SAMPLES: usize = 10;

#[derive(Debug, Args)]
#[group(skip)]
#[command(
    after_help = "Exit code: 0 ok, 1 warning (it works, but something should be seen to), 2 critical, 3 unknown or usage.\n\nExamples:\n  watchkeeper probe https://example.org/health\n  watchkeeper probe postgres://user@db:5432/app --json\n  watchkeeper probe --config watchkeeper.yml db    # also what no URL names: the kinds scrape and host"
)]
pub struct Arguments {
    /// A URL (http, https, tcp, tls, ws, wss, postgres, postgresql, redis, rediss), or with --config a target's name.
    #[arg(value_name = "URL|TARGET")]
    target: String,
    /// The configuration file that names the target.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// The deadline of each look, for a URL (a target has its own).
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration::parse)]
    timeout: Duration,
}

pub fn run(arguments: &Arguments) -> u8 {
    let (settings, timeout) = match subject(arguments) {
        Ok(subject) => subject,
        Err(message) => {
            eprintln!("watchkeeper probe: {message}");
            return UNKNOWN;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("watchkeeper probe: cannot start: {error}");
            return UNKNOWN;
        }
    };
    let (report, took) = runtime.block_on(look(&settings, timeout));
    let seen = Seen { name: &arguments.target, settings: &settings, report: &report, took };
    if arguments.json {
        println!("{}", seen.json())
    } else {
        print!("{}", seen.text())
    }
    exit_code(&report)
}

/// What to look at: the settings, and each look's deadline.
fn subject(arguments: &Arguments) -> Result<(probe::Settings, Duration), String> {
    if let Some(path) = &arguments.config {
        let shipped = rule::shipped();
        let loaded = config::load::load(Some(path), &super::environment(), &rule::names(&shipped))
            .map_err(|problems| lines(&problems))?;
        let target = named(loaded.config.targets, &arguments.target)
            .map_err(|known| format!("{} names no target {:?}: there are {known}", path.display(), arguments.target))?;
        return Ok((target.settings, target.schedule.timeout));
    }
    let settings = probe::Settings::from_url(&arguments.target).ok_or_else(|| {
        let schemes: Vec<&str> = probe::KINDS.iter().flat_map(|kind| kind.schemes).copied().collect();
        format!("give a URL whose scheme is one of {}, or --config FILE and a target's name", schemes.join(", "))
    })??;
    match settings.check().into_iter().next() {
        Some((key, message)) => Err(format!("{key}: {message}")),
        None => Ok((settings, arguments.timeout)),
    }
}

/// The target of that name, or the names of those that there are.
fn named(mut targets: Vec<Target>, name: &str) -> Result<Target, String> {
    match targets.iter().position(|target| target.name == name) {
        Some(place) => Ok(targets.swap_remove(place)),
        None => Err(targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ")),
    }
}

fn lines(problems: &[config::Problem]) -> String {
    let lines: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
    format!("the configuration cannot be used:{lines}")
}

/// A fresh look, and where the kind holds a connection, a look over one that is held.
async fn look(settings: &probe::Settings, timeout: Duration) -> (Report, Duration) {
    let began = tokio::time::Instant::now();
    let mut prober = settings.prober(Arc::new(Net::new(NetSettings::default())));
    let mut report = look_along(&mut prober, Path::Fresh, timeout).await;
    if report.failure.is_none() && settings.reconnect().is_some() {
        let held = look_along(&mut prober, Path::Held, timeout).await;
        report.readings.extend(held.readings);
        report.warnings.extend(held.warnings);
        report.failure = held.failure;
    }
    probe::scrape::read_alone(&mut report);
    (report, began.elapsed())
}

/// A look that says nothing, because this process stood still, is made once more.
async fn look_along(prober: &mut probe::Prober, path: Path, timeout: Duration) -> Report {
    let began = tokio::time::Instant::now();
    let report = net::within(timeout, prober.look(path)).await.unwrap_or_else(Report::failed);
    if !report.is_void(timeout, began.elapsed()) {
        return report;
    }
    net::within(timeout, prober.look(path)).await.unwrap_or_else(Report::failed)
}

fn exit_code(report: &Report) -> u8 {
    match report.failure.as_ref().map(|failure| failure.reason.blame()) {
        Some(Blame::Agent) => UNKNOWN,
        Some(Blame::Target | Blame::Full) => CRITICAL,
        None if report.warnings.is_empty() => OK,
        None => WARNING,
    }
}

struct Seen<'a> {
    name: &'a str,
    settings: &'a probe::Settings,
    report: &'a Report,
    took: Duration,
}

impl Seen<'_> {
    fn state(&self) -> &'static str {
        ["ok", "warning", "critical", "unknown"][usize::from(exit_code(self.report))]
    }

    /// What was looked at, never with credentials.
    fn instance(&self) -> String {
        self.settings.instance().unwrap_or_default()
    }

    fn text(&self) -> String {
        let millis = self.took.as_secs_f64() * 1_000.0;
        let mut text =
            format!("{} {} {} in {millis:.1} ms\n", self.state().to_uppercase(), self.settings.kind(), self.instance());
        if let Some(failure) = &self.report.failure {
            text += &format!("  failed ({}): {failure}\n", failure.reason.name());
        }
        for warning in &self.report.warnings {
            text += &format!("  warning: {warning}\n");
        }
        for (phase, took) in &self.report.phases {
            text += &format!("  {phase:<12}{:>9.2} ms\n", took.as_secs_f64() * 1_000.0);
        }
        for reading in &self.report.readings {
            text += &format!("  {}{} {}\n", reading.metric.name, braces(reading), reading.value);
        }
        text + &self.page()
    }

    /// The first samples of a page of metrics.
    fn page(&self) -> String {
        let Some(page) = &self.report.exposition else { return String::new() };
        let samples = page.samples().take(SAMPLES);
        let lines = samples.map(|sample| format!("    {} {}\n", printable(sample.series), sample.value));
        let lines: String = lines.collect();
        match page.samples().count() {
            more if more > SAMPLES => format!("  the page, first {SAMPLES} of {more} samples:\n{lines}"),
            all => format!("  the page, {all} samples:\n{lines}"),
        }
    }

    fn json(&self) -> Value {
        let failure = self.report.failure.as_ref().map(|failure| {
            json!({
                "reason": failure.reason.name(),
                "phase": failure.phase,
                "address": failure.address.map(|address| address.to_string()),
                "error": failure.error,
            })
        });
        let phases: serde_json::Map<String, Value> =
            self.report.phases.iter().map(|(phase, took)| ((*phase).to_owned(), took.as_secs_f64().into())).collect();
        let sample = |reading: &Reading| {
            let labels: serde_json::Map<String, Value> =
                reading.labels.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
            json!({"name": reading.metric.name, "labels": labels, "value": reading.value})
        };
        json!({
            "target": if self.name.contains("://") { self.instance() } else { self.name.to_owned() },
            "kind": self.settings.kind(),
            "instance": self.instance(),
            "state": self.state(),
            "duration_seconds": self.took.as_secs_f64(),
            "failure": failure,
            "warnings": self.report.warnings,
            "phases_seconds": phases,
            "samples": self.report.readings.iter().map(sample).collect::<Vec<_>>(),
            "page": self.report.exposition.as_ref().map(|page| json!({
                "samples": page.samples().count(),
                "first": page.samples().take(SAMPLES).map(|sample| page_sample(&sample)).collect::<Vec<_>>(),
            })),
        })
    }
}

fn page_sample(sample: &parse::Sample<'_>) -> Value {
    let labels: serde_json::Map<String, Value> =
        sample.labels().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    // JSON has neither NaN nor infinities: as in Prometheus's API, a value is a text.
    json!({"name": sample.name, "labels": labels, "value": sample.value.to_string()})
}

/// What a page says must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn braces(reading: &Reading) -> String {
    if reading.labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = reading.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(","))
}
