//! `watchkeeper run`: from arguments to a running agent.

use std::path::PathBuf;

use clap::Args;

use crate::app;

#[derive(Debug, Args)]
#[group(skip)]
#[command(
    after_help = "Exit code: 0 after a clean stop, 1 on bad configuration.\n\nExamples:\n  watchkeeper run --config /etc/watchkeeper/watchkeeper.yml\n  DATABASE_URL=postgres://… REDIS_URL=redis://… watchkeeper"
)]
pub struct Arguments {
    /// The configuration file. Without one, what the environment names is watched.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A configuration of a known platform, below the file: maxai or orbisvoice.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

pub fn run(arguments: &Arguments) -> u8 {
    let environment = super::with_profile(super::environment(), arguments.profile.as_deref());
    match app::run(arguments.config.as_deref(), &environment) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("watchkeeper: {error}");
            1
        }
    }
}
