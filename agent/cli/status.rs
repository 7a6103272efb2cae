//! `watchkeeper status`: what a running agent watches, and how it is itself.

use std::io::{self, Write};

use serde_json::Value;

use super::alerts::subject;
use super::client::{Client, ClientError, Connection, age, cell, converse, table, text, time};
use crate::sample::Timestamp;

/// Shows what a running agent watches, and how the agent itself is.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 when the agent has answered, 1 when it has not, 3 on wrong usage.\n\nExamples:\n  watchkeeper status\n  watchkeeper status --url http://10.0.0.7:7799 --json"
)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    /// One JSON object instead of tables: what /v1/status answers.
    #[arg(long)]
    json: bool,
}

/// Whether the agent has answered.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let client = Client::new(&args.connection);
    match converse(fetch(&client)) {
        Ok(status) if args.json => writeln!(out, "{status:#}").map(|()| true),
        Ok(status) => show(&status, &client.shown(), out).map(|()| true),
        Err(error) => writeln!(err, "watchkeeper status: {error}").map(|()| false),
    }
}

async fn fetch(client: &Client) -> Result<Value, ClientError> {
    let status = client.json(&["v1", "status"]).await?;
    match status["targets"].is_array() {
        true => Ok(status),
        false => Err(ClientError::Foreign { url: client.shown(), error: "it lists no targets".to_owned() }),
    }
}

fn show(status: &Value, url: &str, out: &mut dyn Write) -> io::Result<()> {
    let now = status["now"].as_str().and_then(time).unwrap_or(0);
    let condition = match (status["live"].as_bool(), status["ready"].as_bool()) {
        (Some(true), Some(true)) => "watching",
        (Some(true), _) => "starting: not every target has been looked at",
        _ => "NOT WATCHING: its evaluation does not come round, restart it",
    };
    let running = age(status, "startedAt", now);
    writeln!(out, "watchkeeper {} at {url}: {condition}, running for {running}", text(status, "version"))?;
    show_config(&status["config"], now, out)?;
    show_state(&status["state"], out)?;
    if !status["region"].is_null() {
        let region = &status["region"];
        writeln!(
            out,
            "region     {}: {}, for {}",
            text(region, "region"),
            text(region, "state"),
            age(region, "since", now)
        )?;
    }
    let alerts = &status["alerts"];
    let counts = ["firing", "pending", "blind"].map(|state| format!("{} {state}", text(alerts, state)));
    writeln!(out, "alerts     {}", counts.join(", "))?;
    show_blind(list(status, "blindAlerts"), now, out)?;
    show_receivers(list(status, "receivers"), now, out)?;
    show_targets(list(status, "targets"), now, out)
}

fn list<'a>(status: &'a Value, key: &str) -> &'a [Value] {
    status[key].as_array().map_or(&[], Vec::as_slice)
}

fn show_config(config: &Value, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    let since = age(config, "loadedAt", now);
    if config["good"] == true {
        return writeln!(out, "config     good, loaded {since} ago");
    }
    writeln!(out, "config     BAD: an earlier one runs, since {since}")?;
    let problems = list(config, "problems").iter().filter_map(Value::as_str);
    problems.map(cell).try_for_each(|problem| writeln!(out, "           {problem}"))
}

fn show_state(state: &Value, out: &mut dyn Write) -> io::Result<()> {
    if state["durable"] == true {
        return writeln!(out, "state      durable");
    }
    writeln!(
        out,
        "state      NOT DURABLE: {} rows wait for the disk: {}",
        text(state, "backlogRows"),
        text(state, "error")
    )
}

fn show_blind(alerts: &[Value], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    for alert in alerts {
        let inputs: Vec<&str> = list(alert, "inputs").iter().filter_map(Value::as_str).collect();
        let (name, on) = (text(&alert["labels"], "alertname"), subject(&alert["labels"]));
        writeln!(
            out,
            "           blind: {name} on {on}, for {}: {}",
            age(alert, "since", now),
            cell(&inputs.join(", "))
        )?;
    }
    Ok(())
}

fn show_receivers(receivers: &[Value], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if receivers.is_empty() {
        return writeln!(out, "receivers  NONE: nobody is paged, add `alerting: {{route: …, receivers: […]}}`");
    }
    let row = |receiver: &Value| {
        let flag = |key: &str| receiver[key] == true;
        let state = match (flag("disabled"), flag("failing"), flag("full")) {
            (true, ..) => "DISABLED",
            (_, true, _) => "FAILING",
            (_, _, true) => "FULL",
            _ => "good",
        };
        let failed = |error: &str| format!("{} ({} ago)", cell(error), age(receiver, "lastErrorAt", now));
        let error = receiver["lastError"].as_str().map_or_else(|| "-".to_owned(), failed);
        let oldest = age(receiver, "oldestAcceptedAt", now);
        vec![text(receiver, "receiver"), state.to_owned(), text(receiver, "depth"), oldest, error]
    };
    let rows: Vec<Vec<String>> = receivers.iter().map(row).collect();
    writeln!(out)?;
    table(out, &["RECEIVER", "STATE", "WAITING", "OLDEST", "LAST ERROR"], &rows)
}

fn show_targets(targets: &[Value], now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if targets.is_empty() {
        return writeln!(out, "targets    none");
    }
    let row = |target: &Value| {
        let verdict = text(target, "verdict");
        let verdict = if verdict == "down" { "DOWN".to_owned() } else { verdict };
        let (name, kind, instance) = (text(target, "target"), text(target, "kind"), text(target, "instance"));
        let (since, look) = (age(target, "since", now), age(target, "lastLook", now));
        vec![name, verdict, since, look, kind, instance, text(target, "cause")]
    };
    let rows: Vec<Vec<String>> = targets.iter().map(row).collect();
    writeln!(out)?;
    table(out, &["TARGET", "VERDICT", "FOR", "LAST LOOK", "KIND", "INSTANCE", "CAUSE"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(status: &Value) -> String {
        let mut out = Vec::new();
        show(status, "http://h:1", &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn status() -> Value {
        json!({
            "version": "1", "startedAt": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:01:00Z", "live": true, "ready": true,
            "config": {"good": true, "loadedAt": "2026-01-01T00:00:00Z", "problems": []},
            "state": {"durable": true}, "alerts": {"firing": 1, "pending": 0, "blind": 1},
            "blindAlerts": [{"labels": {"alertname": "ServiceDown", "target": "db"}, "since": "2026-01-01T00:00:30Z", "inputs": ["pg_up of db"]}],
            "receivers": [{"receiver": "chat", "depth": 2, "failing": true, "disabled": false, "full": false,
                "oldestAcceptedAt": "2026-01-01T00:00:50Z", "lastErrorAt": "2026-01-01T00:00:58Z", "lastError": "status 500"}],
            "targets": [{"target": "db", "instance": "db:5432", "kind": "postgres", "verdict": "down",
                "since": "2026-01-01T00:00:55Z", "lastLook": "2026-01-01T00:00:59Z", "cause": "connect: connection refused"}],
        })
    }

    #[test]
    fn people_see_what_is_wrong_and_since_when() {
        assert_eq!(
            shown(&status()),
            "watchkeeper 1 at http://h:1: watching, running for 1m\n\
             config     good, loaded 1m ago\n\
             state      durable\n\
             alerts     1 firing, 0 pending, 1 blind\n\
             \x20          blind: ServiceDown on db, for 30s: pg_up of db\n\
             \n\
             RECEIVER  STATE    WAITING  OLDEST  LAST ERROR\n\
             chat      FAILING  2        10s     status 500 (2s ago)\n\
             \n\
             TARGET  VERDICT  FOR  LAST LOOK  KIND      INSTANCE  CAUSE\n\
             db      DOWN     5s   1s         postgres  db:5432   connect: connection refused\n"
        );
    }

    #[test]
    fn a_rejected_configuration_and_a_full_disk_are_loud() {
        let mut status = status();
        status["config"] = json!({"good": false, "loadedAt": null, "problems": ["w.yml:1:1: no"]});
        status["state"] = json!({"durable": false, "backlogRows": 3, "error": "disk full"});
        status["receivers"] = json!([]);
        let shown = shown(&status);
        for line in [
            "config     BAD: an earlier one runs, since -\n           w.yml:1:1: no\n",
            "state      NOT DURABLE: 3 rows wait for the disk: disk full\n",
            "receivers  NONE: nobody is paged",
        ] {
            assert!(shown.contains(line), "{line:?} in:\n{shown}");
        }
    }
}
