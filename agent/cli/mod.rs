//! The command line: one file per command.

pub mod check;
pub mod probe;
pub mod run;
pub mod test;

use std::collections::BTreeMap;
use std::io::{self, stderr, stdout};

use clap::{Parser, Subcommand};

/// The exit code of a usage error, on every command.
const USAGE: u8 = 3;

/// Watches a platform, evaluates alert rules and pages without losing a page.
#[derive(Debug, Parser)]
#[command(name = "watchkeeper", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
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
    /// Run rule unit tests, in promtool's form.
    Test(test::Args),
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
    }
}

/// Whether all was well, as an exit code. A reader that has gone away has seen enough.
fn finish(result: io::Result<bool>) -> u8 {
    match result {
        Ok(well) => u8::from(!well),
        Err(_) => 1,
    }
}

/// The environment's variables whose names and values are text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
