//! The text of `INFO`, and how it becomes values. What a version does not say is absent.

use std::collections::HashMap;

use super::Role;
use super::metrics::*;
use crate::probe::held::read_exhausted;
use crate::probe::{Path, Report};
use crate::sample::Metric;

/// How many databases and how many replicas are reported.
const LISTED: usize = 64;

/// Fields whose number is a metric as it stands.
static NUMBERS: [(&str, &Metric); 26] = [
    ("uptime_in_seconds", &UPTIME_IN_SECONDS),
    ("connected_clients", &CONNECTED_CLIENTS),
    ("blocked_clients", &BLOCKED_CLIENTS),
    ("maxclients", &CONFIG_MAXCLIENTS),
    ("rejected_connections", &REJECTED_CONNECTIONS_TOTAL),
    ("total_connections_received", &CONNECTIONS_RECEIVED_TOTAL),
    ("used_memory", &MEMORY_USED_BYTES),
    ("maxmemory", &MEMORY_MAX_BYTES),
    ("used_memory_rss", &MEMORY_USED_RSS_BYTES),
    ("used_memory_peak", &MEMORY_USED_PEAK_BYTES),
    ("mem_fragmentation_ratio", &MEM_FRAGMENTATION_RATIO),
    ("total_commands_processed", &COMMANDS_PROCESSED_TOTAL),
    ("keyspace_hits", &KEYSPACE_HITS_TOTAL),
    ("keyspace_misses", &KEYSPACE_MISSES_TOTAL),
    ("expired_keys", &EXPIRED_KEYS_TOTAL),
    ("evicted_keys", &EVICTED_KEYS_TOTAL),
    ("total_net_input_bytes", &NET_INPUT_BYTES_TOTAL),
    ("total_net_output_bytes", &NET_OUTPUT_BYTES_TOTAL),
    ("loading", &LOADING_DUMP_FILE),
    ("rdb_changes_since_last_save", &RDB_CHANGES_SINCE_LAST_SAVE),
    ("aof_enabled", &AOF_ENABLED),
    ("connected_slaves", &CONNECTED_SLAVES),
    ("master_repl_offset", &MASTER_REPL_OFFSET),
    ("rdb_last_bgsave_status", &RDB_LAST_BGSAVE_STATUS),
    ("aof_last_write_status", &AOF_LAST_WRITE_STATUS),
    ("aof_last_bgrewrite_status", &AOF_LAST_BGREWRITE_STATUS),
];

/// Fields of a replica, told apart by its master.
static OF_MASTER: [(&str, &Metric); 3] = [
    ("master_link_status", &MASTER_LINK_UP),
    ("master_last_io_seconds_ago", &MASTER_LAST_IO_SECONDS_AGO),
    ("master_sync_in_progress", &MASTER_SYNC_IN_PROGRESS),
];

/// Adds what `INFO` says to a report. The error is for a text that is not `INFO`'s.
pub fn read(text: &str, role: Option<Role>, report: &mut Report) -> Result<(), String> {
    let info = Info::parse(text);
    let (Some(version), Some(instance_role)) = (info.text("redis_version"), info.text("role")) else {
        return Err("INFO has neither redis_version nor role".to_owned());
    };
    let policy = info.text("maxmemory_policy").unwrap_or_default();
    let labels = [
        ("role", instance_role),
        ("redis_version", version),
        ("redis_mode", info.text("redis_mode").unwrap_or_default()),
        ("maxmemory_policy", policy),
    ];
    report.read_with(&INSTANCE_INFO, labels.map(|(name, value)| (name, value.to_owned())).into(), 1.0);
    for (field, metric) in NUMBERS {
        if let Some(value) = info.number(field) {
            report.read(metric, value);
        }
    }
    if let (Some(used), Some(max)) = (info.number("connected_clients"), info.number("maxclients")) {
        read_exhausted(report, &POOL_EXHAUSTED, Path::Held, used >= max);
    }
    read_snapshots(&info, report);
    read_replication(&info, report);
    read_keyspace(&info, report);
    if let Some(role) = role.filter(|_| !policy.is_empty()) {
        read_policy(role, policy, report);
    }
    Ok(())
}

/// A server that never saved says that it saved when it started.
fn read_snapshots(info: &Info<'_>, report: &mut Report) {
    let Some(last) = info.number("rdb_last_save_time") else { return };
    let counted = info.number("rdb_saves").is_some_and(|saves| saves > 0.0);
    let started = match (info.number("server_time_usec"), info.number("uptime_in_seconds")) {
        (Some(now), Some(uptime)) => now / 1e6 - uptime,
        _ => 0.0,
    };
    // Before Redis 7, and after CONFIG RESETSTAT, nothing is counted: there was a save if one ran and is newer.
    let ran = info.number("rdb_last_bgsave_time_sec").is_some_and(|took| took >= 0.0) && last > started + 1.0;
    report.read(&RDB_SAVED, f64::from(counted || ran));
    if counted || ran {
        report.read(&RDB_LAST_SAVE_TIMESTAMP_SECONDS, last);
    }
}

fn read_replication(info: &Info<'_>, report: &mut Report) {
    if let (Some(host), Some(port)) = (info.text("master_host"), info.text("master_port")) {
        for (field, metric) in OF_MASTER {
            if let Some(value) = info.number(field) {
                let labels = vec![("master_host", host.to_owned()), ("master_port", port.to_owned())];
                report.read_with(metric, labels, value);
            }
        }
    }
    for number in 0..LISTED {
        let Some(replica) = info.text(&format!("slave{number}")) else { break };
        let parts = parts(replica);
        let part = |name: &str| parts.get(name).copied().unwrap_or_default().to_owned();
        let Ok(lag) = part("lag").parse() else { continue };
        let labels = vec![("slave_ip", part("ip")), ("slave_port", part("port")), ("slave_state", part("state"))];
        report.read_with(&CONNECTED_SLAVE_LAG_SECONDS, labels, lag);
    }
}

fn read_keyspace(info: &Info<'_>, report: &mut Report) {
    let number = |name: &str| name.strip_prefix("db").and_then(|number| number.parse::<u32>().ok());
    let mut databases: Vec<_> = info.0.iter().filter_map(|(name, value)| Some((number(name)?, *value))).collect();
    databases.sort_unstable();
    for (number, value) in databases.into_iter().take(LISTED) {
        let parts = parts(value);
        for (part, metric) in [("keys", &DB_KEYS), ("expires", &DB_KEYS_EXPIRING)] {
            if let Some(value) = parts.get(part).and_then(|text| text.parse().ok()) {
                report.read_with(metric, vec![("db", format!("db{number}"))], value);
            }
        }
    }
}

fn read_policy(role: Role, policy: &str, report: &mut Report) {
    let (fits, wanted) = match role {
        Role::Cache => (policy.starts_with("allkeys-"), "allkeys-lru"),
        Role::Queue => (policy == "noeviction", "noeviction"),
    };
    report.read(&POLICY_FITS_ROLE, f64::from(fits));
    if !fits {
        let role = role.name();
        report.warnings.push(format!("maxmemory-policy is {policy}, which is wrong for a {role}: set it to {wanted}"));
    }
}

/// The fields of `INFO`.
struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn parse(text: &'a str) -> Self {
        Info(text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':')).collect())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).copied()
    }

    /// `ok` and `up` are 1, their opposites 0.
    fn number(&self, field: &str) -> Option<f64> {
        match self.text(field)? {
            "ok" | "up" => Some(1.0),
            "err" | "down" => Some(0.0),
            text => text.parse().ok(),
        }
    }
}

/// `keys=1,expires=0`.
fn parts(text: &str) -> HashMap<&str, &str> {
    text.split(',').filter_map(|part| part.split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh Redis 7: it never saved, and says that it saved when it started.
    const PRIMARY_7: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nuptime_in_seconds:100\r\n\
        server_time_usec:1700000100500000\r\n\r\n# Clients\r\nconnected_clients:3\r\nmaxclients:10000\r\n\
        blocked_clients:1\r\n\r\n# Memory\r\nused_memory:1000\r\nused_memory_human:1000B\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\nmem_fragmentation_ratio:1.25\r\n\r\n# Persistence\r\nloading:0\r\n\
        rdb_last_save_time:1700000000\r\nrdb_saves:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_bgsave_time_sec:-1\r\n\
        aof_enabled:1\r\naof_last_write_status:err\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
        slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1\r\n\
        slave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:14\r\n\r\n# Keyspace\r\n\
        db0:keys=12,expires=3,avg_ttl=0\r\ndb1:keys=1,expires=0,avg_ttl=0,subexpiry=0\r\n";

    /// A replica of Redis 5 whose link is down, and which saved once.
    const REPLICA_5: &str = "# Server\r\nredis_version:5.0.14\r\nredis_mode:standalone\r\nuptime_in_seconds:5000\r\n\
        # Memory\r\nmaxmemory_policy:allkeys-lru\r\n# Persistence\r\nrdb_last_save_time:1700000000\r\n\
        rdb_last_bgsave_status:err\r\nrdb_last_bgsave_time_sec:0\r\n# Replication\r\nrole:slave\r\n\
        master_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
        master_sync_in_progress:0\r\n";

    fn report(text: &str, role: Option<Role>) -> Report {
        let mut report = Report::default();
        read(text, role, &mut report).unwrap();
        report
    }

    fn values(report: &Report, metric: &Metric) -> Vec<(String, f64)> {
        let of_it = report.readings.iter().filter(|reading| reading.metric.name == metric.name);
        let labels = |reading: &crate::probe::Reading| {
            reading.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
        };
        of_it.map(|reading| (labels(reading), reading.value)).collect()
    }

    #[test]
    fn a_primary_says_who_it_is_and_what_it_holds() {
        let report = report(PRIMARY_7, None);
        let info = "role=master,redis_version=7.0.15,redis_mode=standalone,maxmemory_policy=noeviction";
        assert_eq!(values(&report, &INSTANCE_INFO), [(info.to_owned(), 1.0)]);
        assert_eq!(values(&report, &MEM_FRAGMENTATION_RATIO), [(String::new(), 1.25)]);
        assert_eq!(values(&report, &CONFIG_MAXCLIENTS), [(String::new(), 10_000.0)]);
        assert_eq!(values(&report, &POOL_EXHAUSTED), [("path=held".to_owned(), 0.0)]);
        assert_eq!(values(&report, &AOF_LAST_WRITE_STATUS), [(String::new(), 0.0)]);
        assert_eq!(values(&report, &DB_KEYS), [("db=db0".to_owned(), 12.0), ("db=db1".to_owned(), 1.0)]);
        assert_eq!(values(&report, &DB_KEYS_EXPIRING)[0], ("db=db0".to_owned(), 3.0));
        assert_eq!(values(&report, &CONNECTED_SLAVE_LAG_SECONDS).len(), 2);
        assert_eq!(values(&report, &MASTER_LINK_UP), []);
    }

    #[test]
    fn a_server_that_never_saved_has_no_time_of_its_last_save() {
        let never = report(PRIMARY_7, None);
        assert_eq!(values(&never, &RDB_SAVED), [(String::new(), 0.0)]);
        assert_eq!(values(&never, &RDB_LAST_SAVE_TIMESTAMP_SECONDS), []);
        let once = report(&PRIMARY_7.replace("rdb_saves:0", "rdb_saves:1"), None);
        assert_eq!(values(&once, &RDB_SAVED), [(String::new(), 1.0)]);
        assert_eq!(values(&once, &RDB_LAST_SAVE_TIMESTAMP_SECONDS), [(String::new(), 1_700_000_000.0)]);
        let failed = report(&PRIMARY_7.replace("time_sec:-1", "time_sec:0"), None);
        assert_eq!(values(&failed, &RDB_SAVED), [(String::new(), 0.0)], "one ran, and nothing is newer than the start");
    }

    #[test]
    fn an_old_replica_says_less_and_nothing_is_invented() {
        let report = report(REPLICA_5, None);
        let master = "master_host=10.0.0.1,master_port=6379".to_owned();
        assert_eq!(values(&report, &MASTER_LINK_UP), [(master.clone(), 0.0)]);
        assert_eq!(values(&report, &MASTER_LAST_IO_SECONDS_AGO), [(master, -1.0)]);
        assert_eq!(values(&report, &RDB_LAST_BGSAVE_STATUS), [(String::new(), 0.0)]);
        assert_eq!(values(&report, &RDB_SAVED), [(String::new(), 1.0)]);
        assert_eq!(values(&report, &CONFIG_MAXCLIENTS), []);
        assert_eq!(values(&report, &POOL_EXHAUSTED), []);
    }

    #[test]
    fn a_policy_is_judged_by_the_role_that_is_configured() {
        assert_eq!(values(&report(PRIMARY_7, None), &POLICY_FITS_ROLE), []);
        assert_eq!(values(&report(PRIMARY_7, Some(Role::Queue)), &POLICY_FITS_ROLE), [(String::new(), 1.0)]);
        let wrong = report(PRIMARY_7, Some(Role::Cache));
        assert_eq!(values(&wrong, &POLICY_FITS_ROLE), [(String::new(), 0.0)]);
        assert!(wrong.warnings[0].contains("allkeys-lru"), "{:?}", wrong.warnings);
    }

    #[test]
    fn what_is_not_info_is_refused() {
        assert!(read("hello\r\n", None, &mut Report::default()).is_err());
    }

    #[test]
    fn databases_beyond_the_limit_are_left_out() {
        let many: String = (0..1000).map(|number| format!("db{number}:keys=1,expires=0\r\n")).collect();
        assert_eq!(values(&report(&format!("{PRIMARY_7}{many}"), None), &DB_KEYS).len(), LISTED);
    }
}
