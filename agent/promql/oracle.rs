//! Our answers beside those of others: a real Prometheus's, computed once (tests/promql/generate), and those of
//! another parser.

mod recorded;
mod syntax;
