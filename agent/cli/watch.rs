//! `watchkeeper watch --for 30m`: watches over a deploy. Prints what fires and resolves as it comes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::alerts::{event, fetch, subject};
use super::client::{Client, ClientError, Connection, converse, text};
use crate::clock::{millis, rfc3339, wall_ms};
use crate::duration;

const EACH: Duration = Duration::from_secs(1);

/// Watches over a deploy: prints alerts as they fire and resolve, and fails if any did.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What fires at the start is listed and counts too, unless --new-only. Alerts of severity `none` (Watchdog) never\ncount. A time in which the agent cannot be reached is waited for; if it does not come back before the end, that\nis a failure: nobody has watched.\n\nExit code: 0 when nothing fired, 1 when something did or the agent was not watching at the end, 3 on wrong usage.\n\nExamples:\n  watchkeeper watch --for 30m\n  kubectl rollout status deploy/api && watchkeeper watch --for 10m --new-only"
)]
pub struct Args {
    /// How long.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::parse)]
    length: Duration,
    /// What fires at the start does not count, unless it resolves and fires again.
    #[arg(long)]
    new_only: bool,
    #[command(flatten)]
    connection: Connection,
    /// A line of JSON for each event.
    #[arg(long)]
    json: bool,
}

/// Whether nothing has fired, and the agent watched to the end.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let client = Client::new(&args.connection);
    let mut screen = Screen { out, err, json: args.json, progress: io::stderr().is_terminal() && !args.json };
    match converse(async { Ok(watch(&client, args, &mut screen).await) }) {
        Ok(ended) => ended,
        Err(error) => writeln!(screen.err, "watchkeeper watch: {error}").map(|()| false),
    }
}

async fn watch(client: &Client, args: &Args, screen: &mut Screen<'_>) -> io::Result<bool> {
    let mut watched = match look(client).await {
        Ok(alerts) => {
            screen.begin(args, client)?;
            let (watched, events) = Watched::begin(alerts, args.new_only);
            screen.events(&events)?;
            watched
        }
        Err(error) => {
            writeln!(screen.err, "watchkeeper watch: {error}")?;
            return Ok(false);
        }
    };
    let end = Instant::now() + args.length;
    while Instant::now() < end {
        tokio::time::sleep_until(end.min(Instant::now() + EACH)).await;
        let events = match look(client).await {
            Ok(alerts) => watched.take(alerts),
            Err(error) => watched.lose(&error.to_string()),
        };
        screen.events(&events)?;
        screen.progress(&watched, end - Instant::now().min(end))?;
    }
    screen.end(&watched)?;
    Ok(watched.is_good())
}

/// What fires now. An agent that answers and does not watch is an error like one that does not answer.
async fn look(client: &Client) -> Result<Vec<Value>, ClientError> {
    let health = client.get(&["health"]).await?;
    if health.status != 200 {
        let error = "the agent is not watching: it is starting, or its evaluation does not come round".to_owned();
        return Err(ClientError::Refused { url: client.shown(), status: health.status, error });
    }
    fetch(client).await
}

/// What has been seen since the watch began.
struct Watched {
    /// What fires, by its labels.
    firing: BTreeMap<String, Value>,
    /// How often something fired that counts.
    fired: usize,
    /// Why the agent cannot be asked now.
    lost: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Event {
    /// It fired already when the watch began.
    Was(Value),
    Firing(Value),
    Resolved(Value),
    Lost(String),
    Back,
}

impl Watched {
    fn begin(alerts: Vec<Value>, new_only: bool) -> (Self, Vec<Event>) {
        let firing = firing(alerts);
        let fired = if new_only { 0 } else { firing.len() };
        let events = firing.values().cloned().map(Event::Was).collect();
        (Watched { firing, fired, lost: None }, events)
    }

    fn take(&mut self, alerts: Vec<Value>) -> Vec<Event> {
        let back = self.lost.take().map(|_| Event::Back);
        let before = std::mem::replace(&mut self.firing, firing(alerts));
        let new = self.firing.iter().filter(|(labels, _)| !before.contains_key(*labels));
        let new: Vec<Event> = new.map(|(_, alert)| Event::Firing(alert.clone())).collect();
        self.fired += new.len();
        let gone = before.into_iter().filter(|(labels, _)| !self.firing.contains_key(labels));
        let gone = gone.map(|(_, alert)| Event::Resolved(alert));
        back.into_iter().chain(gone).chain(new).collect()
    }

    fn lose(&mut self, error: &str) -> Vec<Event> {
        match self.lost.replace(error.to_owned()) {
            None => vec![Event::Lost(error.to_owned())],
            Some(_) => Vec::new(),
        }
    }

    fn is_good(&self) -> bool {
        self.fired == 0 && self.lost.is_none()
    }
}

/// The alerts that fire and count, by their labels.
fn firing(alerts: Vec<Value>) -> BTreeMap<String, Value> {
    let counts = |alert: &Value| alert["state"] == "firing" && alert["labels"]["severity"] != "none";
    alerts.into_iter().filter(counts).map(|alert| (alert["labels"].to_string(), alert)).collect()
}

/// Where it is told.
struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    json: bool,
    /// Whether somebody looks on who should see that time passes.
    progress: bool,
}

impl Screen<'_> {
    fn begin(&mut self, args: &Args, client: &Client) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        writeln!(self.out, "watching {} for {}", client.shown(), duration::format(args.length))
    }

    fn events(&mut self, events: &[Event]) -> io::Result<()> {
        self.clear()?;
        let at = rfc3339(wall_ms());
        for event in events {
            let line = if self.json { as_json(event, &at).to_string() } else { as_text(event, &at) };
            writeln!(self.out, "{line}")?;
        }
        self.out.flush()
    }

    fn progress(&mut self, watched: &Watched, left: Duration) -> io::Result<()> {
        if !self.progress {
            return Ok(());
        }
        let left = super::client::span(millis(left));
        let state =
            watched.lost.as_ref().map_or_else(|| format!("{} firing", watched.firing.len()), |_| "agent lost".into());
        write!(self.err, "\r\x1b[K{left} left, {state}")?;
        self.err.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.progress { write!(self.err, "\r\x1b[K") } else { Ok(()) }
    }

    fn end(&mut self, watched: &Watched) -> io::Result<()> {
        self.clear()?;
        let (fired, lost) = (watched.fired, &watched.lost);
        if self.json {
            let at = rfc3339(wall_ms());
            let event = json!({"event": "end", "at": at, "good": watched.is_good(), "fired": fired, "error": lost});
            return writeln!(self.out, "{event}");
        }
        if let Some(error) = lost {
            writeln!(self.err, "watchkeeper watch: nobody watched at the end: {error}")?;
        }
        match fired {
            0 if lost.is_none() => writeln!(self.out, "nothing fired"),
            0 => Ok(()),
            1 => writeln!(self.out, "1 alert fired"),
            _ => writeln!(self.out, "{fired} alerts fired"),
        }
    }
}

fn as_json(happened: &Event, at: &str) -> Value {
    match happened {
        Event::Was(alert) => event("firing_at_start", at, alert),
        Event::Firing(alert) => event("firing", at, alert),
        Event::Resolved(alert) => event("resolved", at, alert),
        Event::Lost(error) => json!({"event": "lost", "at": at, "error": error}),
        Event::Back => json!({"event": "back", "at": at}),
    }
}

fn as_text(happened: &Event, at: &str) -> String {
    match happened {
        Event::Was(alert) => format!("{at} fires already  {}", described(alert)),
        Event::Firing(alert) => format!("{at} FIRING         {}", described(alert)),
        Event::Resolved(alert) => format!("{at} resolved       {}", described(alert)),
        Event::Lost(error) => format!("{at} AGENT LOST     {}", super::client::cell(error)),
        Event::Back => format!("{at} agent is back"),
    }
}

fn described(alert: &Value) -> String {
    let (labels, annotations) = (&alert["labels"], &alert["annotations"]);
    let mut line = format!("{} ({}) {}", text(labels, "alertname"), text(labels, "severity"), subject(labels));
    for name in ["summary", "cause"] {
        if annotations[name].is_string() {
            line += &format!(": {}", text(annotations, name));
        }
    }
    line
}
