//! The network as probes and deliveries see it: a name becomes addresses, an address a stream, and every part
//! of the way is timed and, when it fails, blamed on the right side.

mod addresses;
mod deadline;
mod dial;
#[cfg(test)]
pub(crate) mod fake;
mod fault;
pub mod http;
mod resolve;
#[cfg(test)]
mod tests;
pub mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use addresses::Addresses;
pub use deadline::{bounded, time_left, within};
pub use dial::{Connection, DialError, Stream};
pub use fault::failure_of_io;
pub use resolve::MAX_ADDRESSES;

/// What every connection of the agent goes through: one resolver with its memory of last addresses.
pub struct Net {
    resolver: Arc<resolve::Resolver>,
    following: Option<addresses::Following>,
}

/// Where names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetSettings {
    /// Read again when it changes.
    pub resolv_conf: PathBuf,
    /// Read again when it changes.
    pub hosts_file: PathBuf,
    /// Asked instead of those in `resolv_conf`, when not empty.
    pub name_servers: Vec<SocketAddr>,
}

impl Default for NetSettings {
    fn default() -> Self {
        NetSettings {
            resolv_conf: "/etc/resolv.conf".into(),
            hosts_file: "/etc/hosts".into(),
            name_servers: Vec::new(),
        }
    }
}

impl Net {
    /// Opens nothing: files are read at the first name that needs them.
    pub fn new(settings: NetSettings) -> Self {
        Net { resolver: Arc::new(resolve::Resolver::new(settings)), following: None }
    }
}
