//! `watchkeeper query`: the value of an expression, asked of a running agent.

use std::collections::BTreeSet;
use std::io::{self, Write};

use clap::ArgGroup;
use serde_json::Value;

use super::client::{Client, ClientError, Connection, cell, converse, line, table, time};
use crate::clock::{millis, wall_ms};
use crate::duration;
use crate::sample::{METRIC_NAME, Timestamp};

/// How many steps a range has unless it is said.
const STEPS: i64 = 60;
/// How many characters a line of the course of a series may have.
const COURSE: usize = 30;

/// Asks a running agent for the value of an expression, now or over a time.
#[derive(Debug, clap::Args)]
#[command(
    group = ArgGroup::new("over").args(["range", "start"]).conflicts_with("time"),
    after_help = "The agent keeps what its rules look back to, and a few minutes: older times show nothing.\n\nExit code: 0 when the agent has answered (also with nothing), 1 when it has not or the expression is wrong, 3 on wrong usage.\n\nExamples:\n  watchkeeper query 'watchkeeper_target_up == 0'\n  watchkeeper query 'rate(http_requests_total[1m])' --range 5m --step 15s\n  watchkeeper query 'sum by (job) (up)' --json"
)]
pub struct Args {
    /// The expression, in PromQL.
    #[arg(value_name = "EXPR")]
    expression: String,
    /// The time to evaluate at: Unix seconds or RFC 3339. Unset: now.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    time: Option<Timestamp>,
    /// Evaluate over the time from so long ago until now.
    #[arg(long, value_name = "DURATION", value_parser = span)]
    range: Option<i64>,
    /// Evaluate over the time from here.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "range")]
    start: Option<Timestamp>,
    /// Until here. Unset: now.
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "start")]
    end: Option<Timestamp>,
    /// The time between two evaluations. Unset: a sixtieth of the whole.
    #[arg(long, value_name = "DURATION", value_parser = span, requires = "over")]
    step: Option<i64>,
    #[command(flatten)]
    connection: Connection,
    /// The data of the API's answer instead of a table.
    #[arg(long)]
    json: bool,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let at = seconds.map(|seconds| (seconds * 1_000.0).round() as Timestamp).or_else(|| time(text));
    at.ok_or_else(|| "a time as 1700000000 or 2026-01-02T15:04:05Z is wanted".to_owned())
}

fn span(text: &str) -> Result<i64, String> {
    let span = millis(duration::parse(text)?);
    if span > 0 { Ok(span) } else { Err("it must be longer than nothing".to_owned()) }
}

/// Whether the agent has answered with a value.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<bool> {
    let client = Client::new(&args.connection);
    match converse(ask(&client, args)) {
        Ok((200, answer)) => {
            notes(&answer, err)?;
            if args.json {
                writeln!(out, "{:#}", answer["data"])?
            } else {
                show(&answer, out)?
            }
            Ok(true)
        }
        Ok((_, answer)) => refuse(&args.expression, &answer, err).map(|()| false),
        Err(error) => writeln!(err, "watchkeeper query: {error}").map(|()| false),
    }
}

async fn ask(client: &Client, args: &Args) -> Result<(u16, Value), ClientError> {
    let now = wall_ms();
    let end = args.end.unwrap_or(now);
    let Some(start) = args.start.or(args.range.map(|range| end.saturating_sub(range))) else {
        let at = seconds(args.time.unwrap_or(now));
        return client.post(&["api", "v1", "query"], &[("query", &args.expression), ("time", &at)]).await;
    };
    let step = args.step.unwrap_or_else(|| (end.saturating_sub(start) / STEPS).max(1_000));
    let (start, end, step) = (seconds(start), seconds(end), seconds(step));
    let form = [("query", &*args.expression), ("start", &start), ("end", &end), ("step", &step)];
    client.post(&["api", "v1", "query_range"], &form).await
}

fn seconds(millis: i64) -> String {
    let (sign, millis) = (if millis < 0 { "-" } else { "" }, millis.unsigned_abs());
    format!("{sign}{}.{:03}", millis / 1_000, millis % 1_000)
}

/// Says what is wrong, under the place where it is, if the answer names one.
fn refuse(expression: &str, answer: &Value, err: &mut dyn Write) -> io::Result<()> {
    let error = answer["error"].as_str().unwrap_or("it does not answer as a watchkeeper agent does: see to `--url`");
    let error = error.strip_prefix("invalid parameter \"query\": ").unwrap_or(error);
    writeln!(err, "watchkeeper query: {}", line(error))?;
    let Some((line, column)) = place(error) else { return Ok(()) };
    let Some(text) = expression.split('\n').nth(line - 1) else { return Ok(()) };
    let before = text.get(..column - 1).unwrap_or(text).chars().count();
    writeln!(err, "  {}\n  {}^", text.replace(char::is_control, " "), " ".repeat(before))
}

/// `1:5: …`: the line and the column.
fn place(error: &str) -> Option<(usize, usize)> {
    let mut parts = error.splitn(3, ':');
    let mut number = || parts.next()?.parse::<usize>().ok().filter(|number| *number > 0);
    Some((number()?, number()?))
}

/// What the agent has to say of its answer.
fn notes(answer: &Value, err: &mut dyn Write) -> io::Result<()> {
    for note in ["warnings", "infos"].iter().filter_map(|notes| answer[notes].as_array()).flatten() {
        writeln!(err, "{}", line(note.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

fn show(answer: &Value, out: &mut dyn Write) -> io::Result<()> {
    let result = &answer["data"]["result"];
    match answer["data"]["resultType"].as_str() {
        Some("vector") => vector(entries(result), out),
        Some("matrix") => matrix(entries(result), out),
        _ => writeln!(out, "{}", line(result[1].as_str().unwrap_or("-"))),
    }
}

fn entries(result: &Value) -> &[Value] {
    result.as_array().map_or(&[], Vec::as_slice)
}

fn vector(samples: &[Value], out: &mut dyn Write) -> io::Result<()> {
    let value = |sample: &Value| vec![cell(sample["value"][1].as_str().unwrap_or("-"))];
    write(samples, &["VALUE"], value, out)
}

fn matrix(series: &[Value], out: &mut dyn Write) -> io::Result<()> {
    write(series, &["POINTS", "MIN", "AVG", "MAX", "LAST", "COURSE"], |series| summary(&series["values"]), out)
}

/// A row for each entry: its name, its labels in columns, and what `figures` says of it.
fn write(
    entries: &[Value],
    headings: &[&str],
    figures: impl Fn(&Value) -> Vec<String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    if entries.is_empty() {
        return writeln!(out, "nothing: no series has this value");
    }
    let names = entries.iter().filter_map(|entry| entry["metric"].as_object()).flat_map(|labels| labels.keys());
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let shown: Vec<String> =
        names.iter().map(|name| if *name == METRIC_NAME { "METRIC".into() } else { cell(name) }).collect();
    let headings: Vec<&str> = shown.iter().map(String::as_str).chain(headings.iter().copied()).collect();
    let row = |entry: &Value| {
        let labels = names.iter().map(|name| cell(entry["metric"][name].as_str().unwrap_or_default()));
        labels.chain(figures(entry)).collect()
    };
    let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
    table(out, &headings, &rows)
}

/// Of a series: how many points, least, mean, greatest and last value, and its course.
fn summary(points: &Value) -> Vec<String> {
    let values = points.as_array().into_iter().flatten().filter_map(|point| point[1].as_str()?.parse::<f64>().ok());
    let values: Vec<f64> = values.collect();
    // What is no number says nothing of the others.
    let numbers = values.iter().copied().filter(|value| !value.is_nan());
    let (least, greatest) = (numbers.clone().fold(f64::NAN, f64::min), numbers.clone().fold(f64::NAN, f64::max));
    let mean = numbers.clone().sum::<f64>() / numbers.count() as f64;
    let last = values.last().copied().unwrap_or(f64::NAN);
    let figures = [least, mean, greatest, last].map(short);
    let mut row = vec![values.len().to_string()];
    row.extend(figures);
    row.push(course(&values, least, greatest));
    row
}

/// At most six digits.
fn short(value: f64) -> String {
    let text = value.to_string();
    let rounded = format!("{value:.6}");
    let rounded = rounded.trim_end_matches('0').trim_end_matches('.');
    if text.len() <= rounded.len() || value.abs() < 1e-3 { text } else { rounded.to_owned() }
}

/// The values from the least to the greatest by height; of many, an even choice. A blank is no number.
fn course(values: &[f64], least: f64, greatest: f64) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: f64| match (value - least) / (greatest - least) {
        share if share.is_finite() => HEIGHTS[((share * 7.0).round() as usize).min(7)],
        _ if value.is_finite() => HEIGHTS[3],
        _ => ' ',
    };
    let shown = values.len().min(COURSE);
    (0..shown).map(|index| height(values[index * values.len() / shown])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(answer: &Value) -> String {
        let mut out = Vec::new();
        show(answer, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn labels_stand_in_columns() {
        let answer = json!({"data": {"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "db"}, "value": [1, "1"]},
            {"metric": {"__name__": "up", "job": "cache", "zone": "b"}, "value": [1, "NaN"]},
        ]}});
        assert_eq!(shown(&answer), "METRIC  job    zone  VALUE\nup      db           1\nup      cache  b     NaN\n");
    }

    #[test]
    fn a_range_is_a_line_for_each_series() {
        let answer = json!({"data": {"resultType": "matrix", "result": [
            {"metric": {"job": "db"}, "values": [[1, "0"], [2, "NaN"], [3, "7"], [4, "3.5"]]},
        ]}});
        assert_eq!(
            shown(&answer),
            "job  POINTS  MIN  AVG  MAX  LAST  COURSE\ndb   4       0    3.5  7    3.5   ▁ █▅\n"
        );
    }

    #[test]
    fn scalars_strings_and_nothing_are_said() {
        assert_eq!(shown(&json!({"data": {"resultType": "scalar", "result": [1, "2"]}})), "2\n");
        let nothing = json!({"data": {"resultType": "vector", "result": []}});
        assert_eq!(shown(&nothing), "nothing: no series has this value\n");
    }

    #[test]
    fn a_mistake_is_shown_under_its_place() {
        let mut err = Vec::new();
        let answer = json!({"error": "invalid parameter \"query\": 2:4: parse error: unexpected end of input"});
        refuse("up\n +é", &answer, &mut err).unwrap();
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "watchkeeper query: 2:4: parse error: unexpected end of input\n   +é\n     ^\n"
        );
    }

    #[test]
    fn a_long_error_is_shown_whole_in_one_line() {
        let (mut err, labels) = (Vec::new(), "instance=\"a\", ".repeat(100));
        refuse("a * b", &json!({"error": format!("{labels}\nend")}), &mut err).unwrap();
        assert_eq!(String::from_utf8(err).unwrap(), format!("watchkeeper query: {labels} end\n"));
    }
}
