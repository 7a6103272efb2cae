//! Watchkeeper: an agent that probes, evaluates alert rules and pages without losing a page.
//!
//! Data flows one way:
//!
//! ```text
//! target → probe → report → samples → store → rule → alert → outbox → delivery
//!                                       └────→ region, export, api
//! ```
//!
//! One edge goes back: the agent's own metrics, the region's results among them, and `ALERTS`, are appended to the
//! store. `api` only reads.
//!
//! Invariants:
//! - A verdict is made once, by the target's task, and read by everybody else ([`target::verdict`]).
//! - Decisions are pure: `(state, input, now) → effects` ([`target::verdict`], [`region::detector`], [`rule`], [`alert`]).
//! - Accepted means committed: memory moves after the transaction ([`engine`], [`state`]).
//! - No data never resolves an alert and never proves health.

// The vocabulary.
pub mod clock;
pub mod duration;
pub mod file;
mod float;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod matcher;
pub mod node;
pub mod sample;
pub mod secret;
pub mod stamp;
pub mod stop;
pub mod telemetry;

pub mod config;

// The flow, in order.
pub mod net;
pub mod probe;
pub mod target;

pub mod region;

pub mod promql;
pub mod store;

pub mod rule;

pub mod alert;
pub mod engine;
pub mod notify;
pub mod state;

pub mod api;
pub mod export;

pub mod app;
pub mod cli;
