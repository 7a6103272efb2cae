//! The command line: one file per command.

pub mod alerts;
pub mod check;
mod client;
mod junit;
pub mod probe;
pub mod query;
pub mod region;
mod replay;
pub mod run;
pub mod status;
pub mod test;
pub mod test_notify;
pub mod watch;

use std::collections::BTreeMap;
use std::io::{self, stderr, stdout};

use clap::{Parser, Subcommand};

/// The exit code of a usage error, on every command.
const USAGE: u8 = 3;

/// Watches a platform, evaluates alert rules and pages without losing a page.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command the agent runs. Examples of first steps:\n  watchkeeper probe https://example.org/health              # one look, without an agent\n  watchkeeper check --config watchkeeper.yml                # what is wrong with a configuration\n  watchkeeper test-notify on-call --config watchkeeper.yml  # does a page arrive?\n  watchkeeper run --config watchkeeper.yml\n  watchkeeper status                                        # what the running agent sees\n\n`watchkeeper COMMAND --help` has exit codes and examples."
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent (what happens without a command, too).
    Run(run::Arguments),
    /// Validate configuration and rule files; every problem as file:line:column: message.
    Check(check::Args),
    /// Look at something once, and say what was seen.
    Probe(probe::Arguments),
    /// Run rule unit tests, in promtool's form, or replay recorded metrics through rules.
    Test(test::Args),
    /// Show what a running agent watches, and how it is itself.
    Status(status::Args),
    /// Show the pending and firing alerts of a running agent.
    Alerts(alerts::Args),
    /// Ask a running agent for the value of an expression, now or over a time.
    Query(query::Args),
    /// Watch over a deploy: fail if anything fires meanwhile.
    Watch(watch::Args),
    /// Show how a running agent judges its region, with exit codes for failover tooling.
    Region(region::Args),
    /// Send a marked test page and its resolve to a receiver.
    TestNotify(test_notify::Arguments),
}

/// Runs a command line; gives the exit code.
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> u8 {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody can be told that standard error is gone.
            drop(error.print());
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => finish(check::run(&arguments, &environment(), &mut stdout(), &mut stderr())),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Test(arguments) => finish(test::run(&arguments, &mut stdout(), &mut stderr())),
        Command::Status(arguments) => finish(status::run(&arguments, &mut stdout(), &mut stderr())),
        Command::Alerts(arguments) => finish(alerts::run(&arguments, &mut stdout(), &mut stderr())),
        Command::Query(arguments) => finish(query::run(&arguments, &mut stdout(), &mut stderr())),
        Command::Watch(arguments) => finish(watch::run(&arguments, &mut stdout(), &mut stderr())),
        Command::Region(arguments) => region::run(&arguments, &mut stdout(), &mut stderr()),
        Command::TestNotify(arguments) => test_notify::run(&arguments),
    }
}

/// Whether all was well, as an exit code. A reader that has gone away has seen enough.
fn finish(result: io::Result<bool>) -> u8 {
    match result {
        Ok(well) => u8::from(!well),
        Err(_) => 1,
    }
}

/// `--profile NAME` is the variable `WATCHKEEPER__PROFILE`, and wins over it.
pub fn with_profile(mut environment: BTreeMap<String, String>, profile: Option<&str>) -> BTreeMap<String, String> {
    environment.extend(profile.map(|profile| ("WATCHKEEPER__PROFILE".to_owned(), profile.to_owned())));
    environment
}

/// The environment's variables whose names and values are text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
