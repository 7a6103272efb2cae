//! What the integration tests stand on: the real binary, real servers on free ports, and in-process services
//! whose answers a test can switch. Everything that is started here is stopped and deleted when it is dropped;
//! keep it in a local variable, never in a static.
//!
//! Everything blocks, so that it can be used from plain tests and from `#[tokio::test]` alike.

pub mod agent;
pub mod alertmanager;
pub mod application;
pub mod cgroup;
pub mod client;
pub mod faketime;
pub mod http;
pub mod mount;
pub mod node;
pub mod pgbouncer;
pub mod place;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod receiver;
pub mod redis;
pub mod tcp;
pub mod wait;
