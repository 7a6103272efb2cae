//! `watchkeeper region status`: how a running agent judges its region, with exit codes for failover tooling.

use std::io::{self, Write};

use serde_json::Value;

use super::client::{Answer, Client, ClientError, Connection, age, converse, table, text, time};

const UP: u8 = 0;
const DEGRADED: u8 = 1;
const OTHERWISE: u8 = 2;

/// How a running agent judges the region that it stands in.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  watchkeeper region status us-east")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the region's state, with an exit code for failover tooling.
    Status(StatusArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 up, 1 degraded or suspect, 2 otherwise, also when the agent cannot be reached, 3 on wrong usage.\nWith --binary: 0 where a load balancer is told 200, else 2.\n\nExamples:\n  watchkeeper region status us-east\n  watchkeeper region status --binary --db       # for keepalived, or HAProxy's external-check"
)]
struct StatusArgs {
    /// The region. Without it, the one that the agent stands in.
    region: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// As a load balancer is told: the last decided answer, 0 or 2.
    #[arg(long)]
    binary: bool,
    /// Of the region's database alone.
    #[arg(long)]
    db: bool,
    /// One JSON object instead of text: what /v1/regions/REGION answers.
    #[arg(long, conflicts_with = "binary")]
    json: bool,
}

/// Gives the exit code.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let Command::Status(args) = &args.command;
    let client = Client::new(&args.connection);
    let shown = match converse(ask(&client, args)) {
        Ok(Told::Check(answer)) => show_check(&answer, out),
        Ok(Told::Region(region)) => show_region(&region, args, out),
        Err(error) => writeln!(err, "watchkeeper region status: {error}").map(|()| OTHERWISE),
    };
    // Who cannot be told must not take it for up.
    shown.unwrap_or(OTHERWISE)
}

enum Told {
    /// What a load balancer is told.
    Check(Answer),
    Region(Value),
}

async fn ask(client: &Client, args: &StatusArgs) -> Result<Told, ClientError> {
    let region = match &args.region {
        Some(region) => region.clone(),
        None => own_region(client).await?,
    };
    if !args.binary {
        return Ok(Told::Region(client.json(&["v1", "regions", &region]).await?));
    }
    let check = ["v1", "regions", &region, "check", "db"];
    let check = if args.db { &check[..] } else { &check[..4] };
    let answer = client.get(check).await?;
    if answer.status == 404 {
        // For the words of the refusal.
        client.json(check).await?;
    }
    Ok(Told::Check(answer))
}

async fn own_region(client: &Client) -> Result<String, ClientError> {
    let answer = client.json(&["v1", "regions"]).await?;
    let name = answer["regions"][0]["region"].as_str().map(str::to_owned);
    name.ok_or_else(|| ClientError::Foreign { url: client.shown(), error: "it names no region".to_owned() })
}

fn show_check(answer: &Answer, out: &mut dyn Write) -> io::Result<u8> {
    let first = answer.body.lines().next().unwrap_or_default();
    writeln!(out, "{}", super::client::cell(first))?;
    Ok(if answer.status == 200 && first == "REGION-STATE=UP" { UP } else { OTHERWISE })
}

fn show_region(region: &Value, args: &StatusArgs, out: &mut dyn Write) -> io::Result<u8> {
    let state = if args.db { &region["checks"]["db_connect"] } else { &region["state"] };
    if args.json {
        writeln!(out, "{region:#}")?;
    } else {
        show(region, state, args.db, out)?;
    }
    Ok(match state.as_str() {
        Some("up") => UP,
        Some("degraded" | "suspect") => DEGRADED,
        _ => OTHERWISE,
    })
}

fn show(region: &Value, state: &Value, db: bool, out: &mut dyn Write) -> io::Result<()> {
    let now = region["generated_at"].as_str().and_then(time).unwrap_or(0);
    let name = text(region, "region");
    if db {
        let state = state.as_str().map_or_else(|| "no input is a database".to_owned(), super::client::cell);
        writeln!(out, "{name} db: {state}")?;
    } else {
        writeln!(out, "{name}: {}, for {}", text(region, "state"), age(region, "since", now))?;
        let decided = region["answer_age_ms"].as_i64().map(super::client::span);
        match decided {
            Some(age) => writeln!(out, "answer: {}, decided {age} ago", text(region, "answer"))?,
            None => writeln!(out, "answer: none was decided yet")?,
        }
    }
    let inputs = region["inputs"].as_array().map_or(&[][..], Vec::as_slice);
    let asked = inputs.iter().filter(|input| !db || input["database"] == true);
    let rows: Vec<Vec<String>> =
        asked.map(|input| ["target", "state", "reason"].map(|key| text(input, key)).into()).collect();
    writeln!(out)?;
    table(out, &["INPUT", "STATE", "REASON"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> StatusArgs {
        let line = <Line as clap::Parser>::parse_from(["region", "status"].iter().chain(words));
        let Command::Status(args) = line.args.command;
        args
    }

    fn code(state: Value) -> u8 {
        show_region(&json!({"state": state}), &args(&[]), &mut Vec::new()).unwrap()
    }

    #[test]
    fn the_exit_code_is_0_up_1_degraded_or_suspect_2_otherwise() {
        assert_eq!(code(json!("up")), 0);
        assert_eq!((code(json!("degraded")), code(json!("suspect"))), (1, 1));
        for state in [json!("down"), json!("unknown"), json!("partitioned"), json!("isolated"), json!(null), json!(1)] {
            assert_eq!(code(state), 2);
        }
    }

    #[test]
    fn the_binary_exit_code_follows_the_answer() {
        let code = |status, body: &str| show_check(&Answer { status, body: body.to_owned() }, &mut Vec::new()).unwrap();
        assert_eq!(code(200, "REGION-STATE=UP\nregion: r\n"), 0);
        assert_eq!(code(503, "REGION-STATE=DOWN\n"), 2);
        assert_eq!(code(503, "REGION-STATE=NONE\n"), 2);
        assert_eq!(code(200, "It works!"), 2, "whatever listens there, it is no agent");
    }

    #[test]
    fn the_database_is_judged_by_itself() {
        let region = json!({"region": "r", "state": "down", "checks": {"service": "down", "db_connect": "up"}, "inputs": [
            {"target": "api", "database": false, "state": "down", "reason": "api is down"},
            {"target": "db", "database": true, "state": "up"},
        ]});
        let mut out = Vec::new();
        assert_eq!(show_region(&region, &args(&["--db"]), &mut out).unwrap(), 0);
        assert_eq!(String::from_utf8(out).unwrap(), "r db: up\n\nINPUT  STATE  REASON\ndb     up     -\n");
        assert_eq!(show_region(&region, &args(&[]), &mut Vec::new()).unwrap(), 2);
    }
}
