//! `watchkeeper alerts`: the pending and firing alerts of a running agent.

use std::cmp::Reverse;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::client::{Client, ClientError, Connection, age, cell, converse, table, text};
use crate::clock::wall_ms;
use crate::sample::Timestamp;

/// Shows the pending and firing alerts of a running agent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An alert that is blind stays as it is because its inputs are stale or unknown: nobody can see whether it is over.\n\nExit code: 0 when the agent has answered (also with alerts), 1 when it has not, 3 on wrong usage.\n\nExamples:\n  watchkeeper alerts\n  watchkeeper alerts --json --url http://10.0.0.7:7799"
)]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
    /// A JSON list instead of a table: the alerts as /api/v1/alerts gives them.
    #[arg(long)]
    json: bool,
}

/// Whether the agent has answered.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let client = Client::new(&args.connection);
    match converse(fetch(&client)) {
        Ok(alerts) if args.json => writeln!(out, "{:#}", Value::from(alerts)).map(|()| true),
        Ok(alerts) => show(alerts, wall_ms(), out).map(|()| true),
        Err(error) => writeln!(err, "watchkeeper alerts: {error}").map(|()| false),
    }
}

/// The pending and firing alerts.
pub async fn fetch(client: &Client) -> Result<Vec<Value>, ClientError> {
    let path = ["api", "v1", "alerts"];
    let mut answer = client.json(&path).await?;
    match answer["data"]["alerts"].take() {
        Value::Array(alerts) => Ok(alerts),
        _ => Err(ClientError::Foreign { url: client.shown(), error: "it lists no alerts".to_owned() }),
    }
}

fn show(mut alerts: Vec<Value>, now: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    if alerts.is_empty() {
        return writeln!(out, "no alert is pending or firing");
    }
    alerts
        .sort_by_cached_key(|alert| (Reverse(alert["state"] == "firing"), rank(alert), alert["activeAt"].to_string()));
    let rows: Vec<Vec<String>> = alerts.iter().map(|alert| row(alert, now)).collect();
    table(out, &["ALERT", "STATE", "FOR", "SEVERITY", "ON", "SUMMARY", "CAUSE"], &rows)
}

/// The order of severities: what must be seen to first stands first.
fn rank(alert: &Value) -> usize {
    let severity = alert["labels"]["severity"].as_str();
    let known = ["critical", "error", "warning", "info", "none"];
    known.iter().position(|known| severity == Some(known)).unwrap_or(known.len())
}

fn row(alert: &Value, now: Timestamp) -> Vec<String> {
    let (labels, annotations) = (&alert["labels"], &alert["annotations"]);
    let state = text(alert, "state");
    let state = match alert["blindSince"].as_str() {
        Some(_) => format!("{state}, blind for {}{}", age(alert, "blindSince", now), unknown(alert)),
        None => state,
    };
    let (name, severity) = (text(labels, "alertname"), text(labels, "severity"));
    vec![
        name,
        state,
        age(alert, "activeAt", now),
        severity,
        subject(labels),
        text(annotations, "summary"),
        text(annotations, "cause"),
    ]
}

/// `: pg_up of db`, the inputs that an alert is blind for.
fn unknown(alert: &Value) -> String {
    let inputs = alert["blindInputs"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let inputs: Vec<&str> = inputs.collect();
    if inputs.is_empty() { String::new() } else { cell(&format!(": {}", inputs.join(", "))) }
}

/// What an alert is about: its target and instance, or else every label that is not its name's or its rank's.
pub fn subject(labels: &Value) -> String {
    let named: Vec<&str> = ["target", "instance"].iter().filter_map(|name| labels[name].as_str()).collect();
    if !named.is_empty() {
        return cell(&named.join(" "));
    }
    let others = labels.as_object().into_iter().flatten();
    let others = others.filter(|(name, _)| !["alertname", "severity", "priority", "source"].contains(&name.as_str()));
    let others: Vec<String> =
        others.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    if others.is_empty() { "-".to_owned() } else { cell(&others.join(" ")) }
}

/// An alert as a line of JSON says it happened.
pub fn event(what: &str, at: &str, alert: &Value) -> Value {
    json!({"event": what, "at": at, "alert": alert})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, state: &str, severity: &str) -> Value {
        json!({
            "labels": {"alertname": name, "severity": severity, "target": "db"},
            "annotations": {"summary": "db is down", "cause": "refused"},
            "state": state,
            "activeAt": "1970-01-01T00:00:10Z",
        })
    }

    #[test]
    fn the_most_urgent_stand_first_and_blind_ones_say_so() {
        let mut blind = alert("A", "firing", "warning");
        blind["blindSince"] = json!("1970-01-01T00:00:50Z");
        blind["blindInputs"] = json!(["up of db"]);
        let alerts = vec![alert("P", "pending", "critical"), blind, alert("B", "firing", "critical")];
        let mut out = Vec::new();
        show(alerts, 60_000, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ALERT  STATE                            FOR  SEVERITY  ON  SUMMARY     CAUSE\n\
             B      firing                           50s  critical  db  db is down  refused\n\
             A      firing, blind for 10s: up of db  50s  warning   db  db is down  refused\n\
             P      pending                          50s  critical  db  db is down  refused\n"
        );
    }

    #[test]
    fn an_alert_without_a_target_shows_its_labels() {
        assert_eq!(subject(&json!({"alertname": "A", "service": "api", "zone": "b"})), "service=api zone=b");
        assert_eq!(subject(&json!({"alertname": "A"})), "-");
    }
}
