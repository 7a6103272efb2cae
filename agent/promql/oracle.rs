//! Our answers beside those of others: a real Prometheus's, computed once (tests/promql/generate), and those of
//! another parser; and beside our own answers to the same question asked otherwise.

mod fixed;
mod metamorphic;
mod recorded;
mod syntax;
mod verdicts;
mod wild;
