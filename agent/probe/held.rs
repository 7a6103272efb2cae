//! What the kinds that hold a connection have in common: how often a fresh one is made beside it, whether the
//! server's name still leads to it, and what a database's look says of the two.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Failure, Path, Reason, Report};
use crate::net::Net;
use crate::sample::Metric;

/// How long a look waits to learn whether a name has moved. The resolver mostly knows it from its cache.
const RESOLVE: Duration = Duration::from_millis(100);

/// How often a fresh connection is made beside the held one, unless configured.
pub fn default_reconnect() -> Duration {
    Duration::from_secs(30)
}

/// What is wrong with `reconnect`; `to` is what is connected to.
pub fn check_reconnect(reconnect: Duration, to: &str) -> Option<String> {
    let too_often = reconnect < Duration::from_secs(1);
    too_often.then(|| format!("must be at least 1s: each one is a new connection to the {to}"))
}

/// Where a host's name leads now, in order; `None` when the resolver does not say so at once. An address is itself.
pub async fn addresses_of(net: &Net, host: &str) -> Option<Vec<IpAddr>> {
    let mut addresses = tokio::time::timeout(RESOLVE, net.resolve(host)).await.ok()?.ok()?;
    addresses.sort_unstable();
    Some(addresses)
}

/// Whether a host's name no longer leads to the peer of a held connection. Tells the report whether it leads
/// elsewhere than at the last fresh look, where it led to `known`.
pub async fn has_moved(net: &Net, host: &str, peer: SocketAddr, known: &[IpAddr], report: &mut Report) -> bool {
    let addresses = addresses_of(net, host).await;
    report.addresses_changed = addresses.as_ref().is_some_and(|addresses| addresses != known);
    addresses.is_some_and(|addresses| !addresses.contains(&peer.ip()))
}

/// Completes the report of a look at a database: whether the held connection is `up`, and whether a fresh one was
/// refused, or the held one, because the server's connections are `exhausted`.
pub fn conclude(
    report: &mut Report,
    path: Path,
    outcome: Result<(), Failure>,
    up: &'static Metric,
    exhausted: &'static Metric,
) {
    let full = outcome.as_ref().is_err_and(|failure| failure.reason == Reason::Full);
    if full || (outcome.is_ok() && path == Path::Fresh) {
        read_exhausted(report, exhausted, path, full);
    }
    if path == Path::Held {
        report.read(up, f64::from(outcome.is_ok()));
    }
    report.failure = outcome.err();
}

/// Whether no connection is left, as one of the two paths sees it.
pub fn read_exhausted(report: &mut Report, metric: &'static Metric, path: Path, exhausted: bool) {
    report.read_with(metric, vec![("path", path.name().to_owned())], f64::from(exhausted));
}
