//! Names to addresses: literals, `localhost`, the hosts file, then DNS.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use indexmap::IndexMap;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Net, NetSettings, deadline};
use crate::probe::{Failure, Reason};
use crate::stamp::Stamp;

/// How many of a name's addresses are used. The rest would not get a useful share of a look's time.
pub const MAX_ADDRESSES: usize = 16;
/// How many names' last addresses are remembered; the one resolved longest ago is forgotten first.
const MAX_NAMES: usize = 16_384;
/// How many answers the resolver keeps until their TTL ends.
const CACHE: u64 = 4_096;
/// How long the other family's answer is waited for once one has addresses (RFC 8305, section 3).
const OTHER_FAMILY: Duration = Duration::from_millis(50);
/// How long "no such name" is believed, whatever the zone says: a name that comes back is to be seen.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// The most that is read of a hosts file, in bytes.
const HOSTS_LIMIT: u64 = 1024 * 1024;

/// A resolver that follows its files, and remembers where names last led.
pub(super) struct Resolver {
    settings: NetSettings,
    loaded: Mutex<Option<Arc<Loaded>>>,
    last: Mutex<IndexMap<String, Vec<IpAddr>>>,
}

struct Loaded {
    stamps: [Option<Stamp>; 2],
    hosts: HashMap<String, Vec<IpAddr>>,
    dns: TokioResolver,
}

/// What a name leads to.
struct Found {
    /// In the order of trying, at most [`MAX_ADDRESSES`].
    addresses: Vec<IpAddr>,
    /// Those that may be told apart as instances: see [`super::Addresses`]. Empty where the resolver did not say all.
    instances: Vec<IpAddr>,
}

impl Found {
    /// Of a source that is asked for both families at once.
    fn all(addresses: Vec<IpAddr>) -> Self {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|address| address.is_ipv4());
        let mut instances = if v4.is_empty() { v6 } else { v4 };
        instances.sort_unstable();
        Found { addresses, instances }
    }
}

/// Addresses to try. `doubt` is why they are the last known ones rather than fresh ones.
pub(super) struct Resolved {
    pub addresses: Vec<IpAddr>,
    pub doubt: Option<Failure>,
}

impl Net {
    /// The addresses of a host, IPv4 and IPv6 in turn, at most [`MAX_ADDRESSES`].
    ///
    /// Fails with [`Reason::Dns`] where the name does not exist or has no address, and with
    /// [`Reason::ResolverTimeout`] where the resolver cannot tell.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Failure> {
        self.resolver.fresh(host, deadline::end()).await.map(|found| found.addresses)
    }

    /// As [`Net::resolve`], but falls back on the addresses that the name had last. Where there are such,
    /// the resolver gets half of the time, so that they get the other half.
    pub(super) async fn resolve_or_last(&self, host: &str) -> Result<Resolved, Failure> {
        let last = self.resolver.last_of(host);
        let mut end = deadline::end();
        if !last.is_empty() {
            let now = Instant::now();
            end = now + end.saturating_duration_since(now) / 2;
        }
        let found = self.resolver.fresh(host, end).await;
        let follows = self.follows(host);
        if let (Some(follows), Ok(found)) = (follows, &found) {
            follows.addresses.note(&found.instances);
        }
        let only = |addresses| follows.and_then(|follows| follows.only).map_or(addresses, |only| vec![only]);
        match found {
            Ok(found) => Ok(Resolved { addresses: only(found.addresses), doubt: None }),
            Err(failure) if last.is_empty() => Err(failure),
            Err(failure) => Ok(Resolved { addresses: only(last), doubt: Some(failure) }),
        }
    }
}

impl Resolver {
    pub fn new(settings: NetSettings) -> Self {
        Resolver { settings, loaded: Mutex::new(None), last: Mutex::new(IndexMap::new()) }
    }

    async fn fresh(&self, host: &str, end: Instant) -> Result<Found, Failure> {
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if let Some(addresses) = without_looking(&host) {
            return Ok(Found::all(addresses));
        }
        let loaded = self.load()?;
        if let Some(addresses) = loaded.hosts.get(&host) {
            return Ok(Found::all(addresses.clone()));
        }
        deadline::enter("resolve", None);
        let limit = end.saturating_duration_since(Instant::now());
        let answer = timeout_at(end, ask(&loaded.dns, &host)).await;
        let found = answer.unwrap_or_else(|_| Err(deadline::timed_out("resolve", None, limit)))?;
        self.remember(&host, &found.addresses);
        Ok(found)
    }

    /// The resolver as its files say now.
    fn load(&self) -> Result<Arc<Loaded>, Failure> {
        let stamps = [Stamp::of(&self.settings.resolv_conf), Stamp::of(&self.settings.hosts_file)];
        let mut loaded = lock(&self.loaded);
        if let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.stamps == stamps) {
            return Ok(loaded.clone());
        }
        let dns = dns(&self.settings).map_err(|error| {
            Failure::new(Reason::ResolverTimeout, "resolve", format!("cannot set up the resolver: {error}"))
        })?;
        let hosts = read_hosts(&self.settings.hosts_file);
        Ok(loaded.insert(Arc::new(Loaded { stamps, hosts, dns })).clone())
    }

    fn last_of(&self, host: &str) -> Vec<IpAddr> {
        lock(&self.last).get(&host.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let mut last = lock(&self.last);
        if last.get(host).is_some_and(|known| known == addresses) {
            return;
        }
        if last.len() >= MAX_NAMES && !last.contains_key(host) {
            last.shift_remove_index(0);
        }
        last.insert(host.to_owned(), addresses.to_vec());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What needs no file and no server: addresses as such, and `localhost` (RFC 6761, section 6.3),
/// IPv4 first because that is where services listen.
fn without_looking(host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Some(vec![address]);
    }
    let local = host == "localhost" || host.ends_with(".localhost");
    local.then(|| vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
}

fn dns(settings: &NetSettings) -> Result<TokioResolver, NetError> {
    let (config, mut options) = dns_config(settings);
    options.cache_size = CACHE;
    options.use_hosts_file = ResolveHosts::Never;
    options.negative_max_ttl = Some(NEGATIVE_TTL);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
}

/// As the system says. Without a usable resolv.conf the name server on this machine is asked, as resolv.conf(5)
/// has it, and people are told.
fn dns_config(settings: &NetSettings) -> (ResolverConfig, ResolverOpts) {
    if !settings.name_servers.is_empty() {
        let servers = settings.name_servers.iter().copied().map(name_server).collect();
        return (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default());
    }
    let read = std::fs::read(&settings.resolv_conf).map_err(|error| error.to_string());
    let parsed = read.and_then(|text| parse_resolv_conf(text).map_err(|error| error.to_string()));
    parsed.unwrap_or_else(|error| {
        tracing::warn!(
            file = %settings.resolv_conf.display(),
            error,
            "no name servers are configured: asking 127.0.0.1; names may not resolve, addresses will work",
        );
        let local = name_server(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)));
        (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
    })
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

/// hosts(5): an address, then its names, `#` starts a comment. What cannot be read is as if empty.
fn read_hosts(path: &Path) -> HashMap<String, Vec<IpAddr>> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(HOSTS_LIMIT).read_to_string(&mut text));
    if let Err(error) = read {
        tracing::warn!(file = %path.display(), %error, "the hosts file cannot be read: only DNS is asked");
    }
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        for name in words {
            let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
            if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

type Answer = Result<Lookup, NetError>;

async fn ask(dns: &TokioResolver, host: &str) -> Result<Found, Failure> {
    let name = Name::from_utf8(host).ok().filter(|_| !host.is_empty());
    let Some(name) = name else {
        return Err(Failure::new(Reason::Dns, "resolve", format!("{host:?} is not a host name")));
    };
    let (v4, v6) = both(dns.lookup(name.clone(), RecordType::A), dns.lookup(name, RecordType::AAAA)).await;
    let (v4_found, v6_found) = (addresses(&v4), addresses(&v6));
    let addresses = in_turn(&v4_found, &v6_found);
    if addresses.is_empty() {
        return Err(no_address(host, v4, v6));
    }
    let instances = match &v4 {
        _ if !v4_found.is_empty() => v4_found,
        // That no answer came about IPv4 does not mean that there is none.
        Err(error) if !error.is_no_records_found() => Vec::new(),
        _ => v6_found,
    };
    Ok(Found { addresses, instances })
}

/// Both families' answers. Once one has addresses, the other gets [`OTHER_FAMILY`]:
/// there are resolvers that never answer for AAAA.
async fn both(v4: impl Future<Output = Answer>, v6: impl Future<Output = Answer>) -> (Answer, Answer) {
    let (mut v4, mut v6) = (pin!(v4), pin!(v6));
    tokio::select! {
        first = &mut v4 => {
            let second = after(&first, v6).await;
            (first, second)
        }
        first = &mut v6 => {
            let second = after(&first, v4).await;
            (second, first)
        }
    }
}

async fn after(first: &Answer, second: impl Future<Output = Answer>) -> Answer {
    if addresses(first).is_empty() {
        return second.await;
    }
    timeout(OTHER_FAMILY, second).await.unwrap_or(Err(NetError::Timeout))
}

fn addresses(answer: &Answer) -> Vec<IpAddr> {
    let records = answer.as_ref().map(Lookup::answers).unwrap_or_default();
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    // Servers rotate their answers; sorted, the same set is always the same list.
    let mut found: Vec<IpAddr> = records.iter().filter_map(|record| address(&record.data)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// One of each family in turn, so that a broken family costs one share of the time and not all of it.
fn in_turn(v4: &[IpAddr], v6: &[IpAddr]) -> Vec<IpAddr> {
    let pairs = v4.len().max(v6.len());
    let turns = (0..pairs).flat_map(|at| [v4.get(at), v6.get(at)]);
    turns.flatten().copied().take(MAX_ADDRESSES).collect()
}

/// Why neither family has an address: the name's fault where the server said so, else the resolver's.
fn no_address(host: &str, v4: Answer, v6: Answer) -> Failure {
    let errors = [v4.err(), v6.err()];
    if errors.iter().flatten().any(NetError::is_nx_domain) {
        return Failure::new(Reason::Dns, "resolve", format!("{host} does not exist (NXDOMAIN)"));
    }
    match errors.into_iter().flatten().find(|error| !error.is_no_records_found()) {
        None => Failure::new(Reason::Dns, "resolve", format!("{host} has no address")),
        Some(error) => Failure::new(
            Reason::ResolverTimeout,
            "resolve",
            format!("the resolver could not answer for {host}: {error}"),
        ),
    }
}
