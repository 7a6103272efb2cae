//! The integration tests: the real binary and the library's parts against real servers. One binary, so that it is
//! linked once; a module for each part.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::disallowed_methods, reason = "real servers and processes run on real time")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "each part of the support is there for every test, today's or the next one's")]
mod support;

mod configuration;
mod told;

mod api;
mod blind;
mod certificates;
mod clocks;
mod command_line;
mod databases;
mod disk;
mod documents;
mod gate;
mod gateway;
mod host;
mod hostile;
mod instances;
mod kills;
mod lasting;
mod metrics;
mod platform;
mod profiles;
mod queries;
mod receivers;
mod region;
mod reload;
mod rules;
mod scrape;
mod side_by_side;
mod start;
mod storms;
mod supports;
mod tick_by_tick;
