//! The kinds of things that can be watched, and what one look at a target yields.
//!
//! A new kind is one file here plus one line in the list of kinds below: its configuration key, its place on
//! the command line, the conformance suite and the reference follow from the list.

#[cfg(test)]
mod conformance;
mod network;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::export::parse::{self, Dialect, Entry, Limits};
use crate::net::Net;
use crate::sample::Metric;

/// Which of a target's two ways of looking: a new, authenticated connection, or the one that is held open.
/// Kinds that hold nothing have the fresh path only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Path {
    Fresh,
    Held,
}

impl Path {
    pub fn name(self) -> &'static str {
        match self {
            Path::Fresh => "fresh",
            Path::Held => "held",
        }
    }
}

/// One look at a target: the values seen, and the failure if it failed.
/// A failed look still reports what it learned (phases, certificate facts, a status code).
#[derive(Debug, Default)]
pub struct Report {
    pub readings: Vec<Reading>,
    pub failure: Option<Failure>,
    /// What is not wrong enough to fail: shown by `watchkeeper probe`, which then exits 1.
    pub warnings: Vec<String>,
    /// How long each part took, in order: resolve, connect, tls, then the kind's own.
    pub phases: Vec<(&'static str, Duration)>,
    /// A page of metrics that was read: the target's task takes its samples, or fails the look where it is malformed.
    pub exposition: Option<Exposition>,
    /// What the prober wants to have kept over restarts, where that has changed: see [`Prober::recall`].
    pub memory: Option<String>,
    /// The name's addresses are no longer those of the last fresh look: look freshly now.
    pub addresses_changed: bool,
}

/// The agent's thread is busy with something else for less than that.
const STANDSTILL: Duration = Duration::from_millis(100);

impl Report {
    pub fn failed(failure: Failure) -> Self {
        Report { failure: Some(failure), ..Report::default() }
    }

    /// Whether the look, which had `limit` and `took` so long, timed out by the agent's own fault: nothing but the agent
    /// ends it at its limit, so one that ended well after it did so because the agent stood still (its machine stalled,
    /// its process was stopped), and an answer may have waited all the while. It says nothing about the target.
    pub fn is_void(&self, limit: Duration, took: Duration) -> bool {
        let timed_out = |failure: &Failure| matches!(failure.reason, Reason::Timeout | Reason::ResolverTimeout);
        took > limit + (limit / 4).max(STANDSTILL) && self.failure.as_ref().is_some_and(timed_out)
    }

    pub fn read(&mut self, metric: &'static Metric, value: f64) {
        self.read_with(metric, Vec::new(), value);
    }

    pub fn read_with(&mut self, metric: &'static Metric, labels: Vec<(&'static str, String)>, value: f64) {
        debug_assert!(
            labels.iter().all(|(name, _)| metric.labels.contains(name)),
            "{} is set with labels that it does not declare: {labels:?}",
            metric.name
        );
        self.readings.push(Reading { metric, labels, value });
    }
}

/// A page of metrics in one of the text formats, within its bounds of bytes.
#[derive(Debug)]
pub struct Exposition {
    pub text: String,
    pub dialect: Dialect,
    pub limits: Limits,
}

impl Exposition {
    /// The samples, up to the first line that is malformed.
    pub fn samples(&self) -> impl Iterator<Item = parse::Sample<'_>> {
        let entries = parse::entries(&self.text, self.dialect, self.limits).map_while(Result::ok);
        entries.filter_map(|entry| if let Entry::Sample(sample) = entry { Some(sample) } else { None })
    }
}

/// A value of a declared metric, with the labels that tell it from its siblings in the same report.
/// The target's own labels are added by the target's task.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub metric: &'static Metric,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Why a look failed: the words that become `reason` labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The name does not exist (NXDOMAIN) or has no address.
    Dns,
    /// Nothing listens there.
    Refused,
    /// The connection broke while it was used or held.
    Reset,
    /// The deadline passed.
    Timeout,
    /// The host does not answer at its network's last hop.
    Unreachable,
    /// The TLS handshake or the certificate.
    Tls,
    /// The credentials were refused.
    Auth,
    /// An HTTP status that is not wanted.
    Status,
    /// The content is not what is wanted.
    Body,
    /// The other side does not speak the protocol, or says more than it may.
    Protocol,
    /// The server answers that it cannot serve (starting up, shutting down, loading, read-only when it must not be…).
    NotServing,
    /// The server has no connection left for us (SQLSTATE 53300, Redis's max clients).
    Full,
    /// A secret that the probe needs cannot be read.
    Secret,
    /// This machine's own figures cannot be read.
    Unreadable,
    /// The probe itself broke: a failed probe, so that somebody looks.
    Panic,
    /// The resolver did not answer.
    ResolverTimeout,
    /// This machine has no route.
    NetworkUnreachable,
    /// This process has no file descriptor or memory left.
    OutOfResources,
}

/// Whose fault a failure is, which decides what it does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The target's: it counts towards down.
    Target,
    /// Nobody's yet: the server answered, but is full. The verdict stays as it is (unknown becomes up).
    Full,
    /// The agent's own: nothing is known of the target.
    Agent,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Dns => "dns",
            Reason::Refused => "refused",
            Reason::Reset => "reset",
            Reason::Timeout => "timeout",
            Reason::Unreachable => "unreachable",
            Reason::Tls => "tls",
            Reason::Auth => "auth",
            Reason::Status => "status",
            Reason::Body => "body",
            Reason::Protocol => "protocol",
            Reason::NotServing => "not_serving",
            Reason::Full => "full",
            Reason::Secret => "secret",
            Reason::Unreadable => "unreadable",
            Reason::Panic => "panic",
            Reason::ResolverTimeout => "resolver_timeout",
            Reason::NetworkUnreachable => "network_unreachable",
            Reason::OutOfResources => "out_of_resources",
        }
    }

    pub fn blame(self) -> Blame {
        match self {
            Reason::Full => Blame::Full,
            Reason::Secret | Reason::Unreadable | Reason::ResolverTimeout => Blame::Agent,
            Reason::NetworkUnreachable | Reason::OutOfResources => Blame::Agent,
            _ => Blame::Target,
        }
    }
}

/// Why a look failed, for people: what was being done (`phase`), to which address, and the error in words.
/// Credentials never appear in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// resolve, connect, tls, startup, query, request, response…
    pub phase: &'static str,
    pub address: Option<SocketAddr>,
    pub error: String,
}

impl Failure {
    pub fn new(reason: Reason, phase: &'static str, error: impl Into<String>) -> Self {
        Failure { reason, phase, address: None, error: error.into() }
    }

    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }
}

/// `connect 10.0.0.5:6379: connection refused`: the text of the annotation `cause`.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.phase)?;
        if let Some(address) = self.address {
            write!(f, " {address}")?;
        }
        write!(f, ": {}", self.error)
    }
}

/// What is known of a kind before any target of it exists.
pub struct Kind {
    /// The configuration key.
    pub name: &'static str,
    /// The URL schemes that `watchkeeper probe URL` gives to this kind.
    pub schemes: &'static [&'static str],
    /// Every metric that it can report.
    pub metrics: &'static [&'static Metric],
}

/// The list of kinds: makes the modules, `Settings`, `Prober`, `KINDS` and their dispatch.
macro_rules! kinds {
    ($($module:ident => $variant:ident,)*) => {
        $(pub mod $module;)*

        /// Every kind, in the order of the reference.
        pub const KINDS: &[Kind] = &[$(Kind {
            name: stringify!($module),
            schemes: $module::SCHEMES,
            metrics: $module::METRICS,
        },)*];

        /// The settings of a target, by kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Settings { $($variant($module::Settings),)* }

        /// What looks at a target of each kind. It owns what the kind holds between looks.
        pub enum Prober { $($variant($module::Prober),)* }

        impl Settings {
            /// Reads the settings under a kind's configuration key; `None` when there is no such kind.
            pub fn deserialize<'de, D: serde::Deserializer<'de>>(kind: &str, from: D) -> Option<Result<Self, D::Error>> {
                match kind {
                    $(stringify!($module) => Some(serde::Deserialize::deserialize(from).map(Settings::$variant)),)*
                    _ => None,
                }
            }

            /// The settings that a URL alone implies; `None` when no kind has that scheme.
            pub fn from_url(url: &str) -> Option<Result<Self, String>> {
                // `postgresql+asyncpg://` names a driver behind the plus sign.
                let scheme = url.split_once("://")?.0.split('+').next()?;
                $(if $module::SCHEMES.contains(&scheme) {
                    return Some($module::Settings::from_url(url).map(Settings::$variant));
                })*
                None
            }

            pub fn kind(&self) -> &'static str {
                match self { $(Settings::$variant(_) => stringify!($module),)* }
            }

            /// The `instance` label: host:port, or the URL without credentials and query.
            pub fn instance(&self) -> Result<String, String> {
                match self { $(Settings::$variant(settings) => settings.instance(),)* }
            }

            /// What is wrong with the settings beyond their types: (key, message).
            pub fn check(&self) -> Vec<(&'static str, String)> {
                match self { $(Settings::$variant(settings) => settings.check(),)* }
            }

            /// How often a fresh connection is made beside the held one; `None` for kinds that hold none.
            pub fn reconnect(&self) -> Option<Duration> {
                match self { $(Settings::$variant(settings) => settings.reconnect(),)* }
            }

            /// The host whose addresses are instances, each looked at by itself; `None` where the addresses of a name
            /// are alternatives of one, or there is no name.
            pub fn instances(&self) -> Option<String> {
                match self { $(Settings::$variant(settings) => settings.instances(),)* }
            }

            pub fn prober(&self, net: Arc<Net>) -> Prober {
                match self { $(Settings::$variant(settings) => Prober::$variant($module::Prober::new(settings.clone(), net)),)* }
            }
        }

        impl Prober {
            /// One look. The caller sets the deadline by dropping the future: whatever it was using is then closed.
            pub async fn look(&mut self, path: Path) -> Report {
                match self { $(Prober::$variant(prober) => prober.look(path).await,)* }
            }

            /// Gives back what [`Report::memory`] had kept before a restart.
            pub fn recall(&mut self, memory: &str) {
                match self { $(Prober::$variant(prober) => prober.recall(memory),)* }
            }

            /// Resolves when the held connection breaks; pends for ever while nothing is held.
            pub async fn broken(&mut self) -> Failure {
                match self { $(Prober::$variant(prober) => prober.broken().await,)* }
            }
        }
    };
}

mod dsn;
mod headers;
mod held;
mod secret_url;
mod wire;

kinds! {
    http => Http,
    tcp => Tcp,
    postgres => Postgres,
    redis => Redis,
    scrape => Scrape,
    websocket => Websocket,
    tls => Tls,
    host => Host,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_that_comes_long_after_its_limit_is_the_agent_s_own_fault() {
        let [limit, in_time, late] = [2_000, 2_400, 2_600].map(Duration::from_millis);
        let failed = |reason| Report::failed(Failure::new(reason, "response", "no answer"));
        assert!(failed(Reason::Timeout).is_void(limit, late));
        assert!(failed(Reason::ResolverTimeout).is_void(limit, late));
        assert!(!failed(Reason::Timeout).is_void(limit, in_time));
        assert!(!failed(Reason::Timeout).is_void(Duration::from_millis(20), Duration::from_millis(100)));
        assert!(!failed(Reason::Refused).is_void(limit, late), "what was answered is true, however late it is read");
        assert!(!Report::default().is_void(limit, late));
    }
}
