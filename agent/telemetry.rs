//! Logs, on standard output: JSON with the standard fields at the top level and everything else in one object
//! `attributes`; or lines for people. A field that does not apply is omitted.
//!
//! A thread of its own writes them: whoever reads the log slowly, or not at all, does not stop the watch. Lines that
//! find no room are dropped and counted.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::config::{Log, LogFormat, LogLevel};

/// The `target:` of events that are written whatever the level: where the agent listens.
pub const ALWAYS: &str = concat!(env!("CARGO_PKG_NAME"), "::always");

/// The standard fields beside `timestamp`, `level` and `message`.
const STANDARD: [&str; 9] =
    ["correlation_id", "tenant_id", "client_id", "user_id", "service", "method", "path", "status", "duration_ms"];

/// The longest value that is written, in bytes: what a target answers may stand in a log line.
const LONGEST_VALUE: usize = 4096;

/// How many lines may wait for the reader of the log.
const WAITING_LINES: usize = 1_024;

/// Starts logging for the whole process. A second call changes nothing.
pub fn start(log: &Log) -> std::io::Result<Output> {
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Human => false,
        LogFormat::Auto => !std::io::stdout().is_terminal(),
    };
    let output = Output::to(std::io::stdout())?;
    output.set_level(log.level);
    let lines = Lines { json, output: output.clone() };
    // A second start (a test, an embedding) keeps the first subscriber.
    drop(tracing_subscriber::registry().with(lines).try_init());
    Ok(output)
}

/// Where lines go: to the thread that writes them.
#[derive(Debug, Clone)]
pub struct Output {
    jobs: SyncSender<Job>,
    dropped: Counter,
    level: Arc<AtomicU8>,
}

enum Job {
    Line(String),
    /// Everything before it is written.
    Flush(SyncSender<()>),
}

impl Output {
    fn to(writer: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(WAITING_LINES);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&queue, writer))?;
        let level = Arc::new(AtomicU8::new(LogLevel::Info as u8));
        Ok(Output { jobs, dropped: Counter::default(), level })
    }

    /// From which level on lines are written.
    pub fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
        // Asks every place that logs anew.
        tracing::callsite::rebuild_interest_cache();
    }

    fn level(&self) -> LevelFilter {
        LEVELS[usize::from(self.level.load(Ordering::Relaxed))]
    }

    pub fn register(&self, registry: &mut Registry) {
        let help = "Log lines that were dropped because standard output took no more";
        registry.register("watchkeeper_log_lines_dropped", help, self.dropped.clone());
    }

    /// Waits until every line so far is written, for `limit` at most: the last thing before the process ends.
    pub fn flush(&self, limit: Duration) {
        let (done, written) = sync_channel(1);
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            // Whoever does not read by now does not get the rest.
            let _ = written.recv_timeout(limit);
        }
    }

    fn line(&self, line: String) {
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.dropped.inc();
        }
    }
}

fn write_lines(jobs: &Receiver<Job>, mut writer: impl Write) {
    for job in jobs {
        match job {
            // Nobody can be told that standard output is gone.
            Job::Line(line) => drop(writeln!(writer, "{line}").and_then(|()| writer.flush())),
            Job::Flush(done) => drop(done.send(())),
        }
    }
}

/// In the order of [`LogLevel`].
const LEVELS: [LevelFilter; 5] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];

struct Lines {
    json: bool,
    output: Output,
}

impl<S: Subscriber> Layer<S> for Lines {
    /// Our own events from the configured level on; a library's from `warn` on, and only while we debug.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let ours = metadata.target().starts_with(env!("CARGO_PKG_NAME"));
        let level = self.output.level();
        let from = if ours || level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
        let wanted = *metadata.level() <= from && (ours || *metadata.level() <= Level::WARN);
        wanted || metadata.target() == ALWAYS
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.output.level().max(LevelFilter::INFO))
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = clock::rfc3339(clock::wall_ms());
        let level = *event.metadata().level();
        let line = if self.json { fields.json(&time, level) } else { fields.human(&time, level) };
        self.output.line(line);
    }
}

/// The fields of one event, in the order in which it names them.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn json(self, time: &str, level: Level) -> String {
        let mut top = Map::new();
        let mut attributes = Map::new();
        top.insert("timestamp".into(), time.into());
        top.insert("level".into(), level_name(level).into());
        top.insert("message".into(), self.message.into());
        top.insert("service".into(), env!("CARGO_PKG_NAME").into());
        for (name, value) in self.others {
            let place = if STANDARD.contains(&name) { &mut top } else { &mut attributes };
            place.insert(name.to_owned(), value);
        }
        if !attributes.is_empty() {
            top.insert("attributes".into(), attributes.into());
        }
        Value::Object(top).to_string()
    }

    fn human(self, time: &str, level: Level) -> String {
        let clock = time.get(11..23).unwrap_or(time);
        let mut line = format!("{clock} {:<5} {}", level_name(level), one_line(&self.message));
        for (name, value) in self.others {
            let text = value.as_str().map_or_else(|| value.to_string(), one_line);
            // Writing to a string does not fail.
            let _ = write!(line, "  {name}={text}");
        }
        line
    }

    fn push(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }
}

/// Control characters would let a target's answer draw on the operator's terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn bounded(text: &str) -> String {
    let mut end = text.len().min(LONGEST_VALUE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = bounded(value);
        } else {
            self.push(field, bounded(value).into());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields {
        Fields { message: "probe failed".into(), others: vec![("target", "db".into()), ("duration_ms", 12.into())] }
    }

    #[test]
    fn standard_fields_stand_on_top_and_the_rest_in_attributes() {
        let line = fields().json("2026-01-02T03:04:05.678Z", Level::WARN);
        let expected = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"warn","message":"probe failed","service":"watchkeeper","duration_ms":12,"attributes":{"target":"db"}}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn people_get_one_line_without_control_characters() {
        let mut fields = fields();
        fields.others.push(("error", "a\u{1b}[2Jb\nc".into()));
        let line = fields.human("2026-01-02T03:04:05.678Z", Level::WARN);
        assert_eq!(line, "03:04:05.678 warn  probe failed  target=db  duration_ms=12  error=a [2Jb c");
    }

    /// A reader that takes nothing until it is let go.
    struct Stalled(Receiver<()>, std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nothing_and_what_is_dropped_is_counted() {
        let (let_go, stalled) = sync_channel::<()>(0);
        let written = std::sync::Arc::default();
        let output = Output::to(Stalled(stalled, std::sync::Arc::clone(&written))).unwrap();
        let lines = u64::try_from(WAITING_LINES).unwrap() + 100;
        (0..lines).for_each(|number| output.line(format!("line {number}")));
        assert!((99..=100).contains(&output.dropped.get()), "{}", output.dropped.get());
        output.flush(Duration::ZERO);

        drop(let_go);
        while output.jobs.try_send(Job::Line("last".to_owned())).is_err() {
            std::thread::yield_now();
        }
        output.flush(Duration::from_secs(60));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("last\n"), "{text}");
    }

    #[test]
    fn a_long_value_is_cut_at_a_character() {
        assert_eq!(bounded(&"é".repeat(LONGEST_VALUE)).len(), LONGEST_VALUE);
    }
}
