//! Samples as text, both ways: what the agent shows at `/metrics`, and what exposes metrics to it.

pub mod catalogue;
pub mod ingest;
mod names;
pub mod own;
pub mod parse;
pub mod text;
