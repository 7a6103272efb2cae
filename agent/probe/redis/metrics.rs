//! Every metric of a Redis target. `redis_*` are redis_exporter's names.

use crate::probe::network;
use crate::sample::Metric;

pub static UP: Metric =
    Metric::gauge("redis_up", "Whether the last look over the held connection got its answers (1) or not (0).");
pub static INSTANCE_INFO: Metric =
    Metric::gauge("redis_instance_info", "Always 1; the labels are the server's role, version, mode and policy.")
        .labelled(&["role", "redis_version", "redis_mode", "maxmemory_policy"]);
pub static UPTIME_IN_SECONDS: Metric = Metric::gauge("redis_uptime_in_seconds", "How long the server has run.");
pub static CONNECTED_CLIENTS: Metric =
    Metric::gauge("redis_connected_clients", "Client connections, without those of replicas.");
pub static BLOCKED_CLIENTS: Metric = Metric::gauge("redis_blocked_clients", "Clients that wait in a blocking command.");
pub static CONFIG_MAXCLIENTS: Metric =
    Metric::gauge("redis_config_maxclients", "The server's maxclients (in INFO since Redis 7.0).");
pub static REJECTED_CONNECTIONS_TOTAL: Metric =
    Metric::counter("redis_rejected_connections_total", "Connections refused because maxclients was reached.");
pub static CONNECTIONS_RECEIVED_TOTAL: Metric =
    Metric::counter("redis_connections_received_total", "Connections accepted since the server started.");
pub static MEMORY_USED_BYTES: Metric =
    Metric::gauge("redis_memory_used_bytes", "Memory that the server has allocated.");
pub static MEMORY_MAX_BYTES: Metric = Metric::gauge("redis_memory_max_bytes", "The server's maxmemory; 0 is no limit.");
pub static MEMORY_USED_RSS_BYTES: Metric =
    Metric::gauge("redis_memory_used_rss_bytes", "The server's memory as the operating system counts it.");
pub static MEMORY_USED_PEAK_BYTES: Metric =
    Metric::gauge("redis_memory_used_peak_bytes", "The most memory that the server ever had allocated.");
pub static MEM_FRAGMENTATION_RATIO: Metric =
    Metric::gauge("redis_mem_fragmentation_ratio", "Memory as the operating system counts it over what is allocated.");
pub static COMMANDS_PROCESSED_TOTAL: Metric =
    Metric::counter("redis_commands_processed_total", "Commands processed since the server started.");
pub static KEYSPACE_HITS_TOTAL: Metric = Metric::counter("redis_keyspace_hits_total", "Lookups that found their key.");
pub static KEYSPACE_MISSES_TOTAL: Metric =
    Metric::counter("redis_keyspace_misses_total", "Lookups that did not find their key.");
pub static EXPIRED_KEYS_TOTAL: Metric = Metric::counter("redis_expired_keys_total", "Keys whose time ran out.");
pub static EVICTED_KEYS_TOTAL: Metric =
    Metric::counter("redis_evicted_keys_total", "Keys dropped because maxmemory was reached.");
pub static NET_INPUT_BYTES_TOTAL: Metric =
    Metric::counter("redis_net_input_bytes_total", "Bytes read from the network.");
pub static NET_OUTPUT_BYTES_TOTAL: Metric =
    Metric::counter("redis_net_output_bytes_total", "Bytes written to the network.");
pub static DB_KEYS: Metric = Metric::gauge("redis_db_keys", "Keys by database.").labelled(&["db"]);
pub static DB_KEYS_EXPIRING: Metric =
    Metric::gauge("redis_db_keys_expiring", "Keys with a time to live, by database.").labelled(&["db"]);
pub static LOADING_DUMP_FILE: Metric =
    Metric::gauge("redis_loading_dump_file", "Whether the server is loading its data (1) or not (0).");
pub static RDB_LAST_SAVE_TIMESTAMP_SECONDS: Metric = Metric::gauge(
    "redis_rdb_last_save_timestamp_seconds",
    "When the last snapshot was saved, Unix seconds; absent while none was since the server started.",
);
pub static RDB_LAST_BGSAVE_STATUS: Metric =
    Metric::gauge("redis_rdb_last_bgsave_status", "Whether the last snapshot was saved (1) or failed (0).");
pub static RDB_CHANGES_SINCE_LAST_SAVE: Metric =
    Metric::gauge("redis_rdb_changes_since_last_save", "Changes that are in no snapshot.");
pub static AOF_ENABLED: Metric =
    Metric::gauge("redis_aof_enabled", "Whether the append-only file is on (1) or off (0).");
pub static AOF_LAST_WRITE_STATUS: Metric = Metric::gauge(
    "redis_aof_last_write_status",
    "Whether the last write to the append-only file worked (1) or not (0).",
);
pub static AOF_LAST_BGREWRITE_STATUS: Metric = Metric::gauge(
    "redis_aof_last_bgrewrite_status",
    "Whether the last rewrite of the append-only file worked (1) or not (0).",
);
pub static CONNECTED_SLAVES: Metric = Metric::gauge("redis_connected_slaves", "Replicas that are connected.");
pub static CONNECTED_SLAVE_LAG_SECONDS: Metric =
    Metric::gauge("redis_connected_slave_lag_seconds", "Since when a replica has acknowledged nothing.").labelled(&[
        "slave_ip",
        "slave_port",
        "slave_state",
    ]);
pub static MASTER_LINK_UP: Metric =
    Metric::gauge("redis_master_link_up", "On a replica: whether it is connected to its master (1) or not (0).")
        .labelled(&["master_host", "master_port"]);
pub static MASTER_LAST_IO_SECONDS_AGO: Metric =
    Metric::gauge("redis_master_last_io_seconds_ago", "On a replica: since when its master has said nothing.")
        .labelled(&["master_host", "master_port"]);
pub static MASTER_SYNC_IN_PROGRESS: Metric =
    Metric::gauge("redis_master_sync_in_progress", "On a replica: whether its master is sending it all data (1).")
        .labelled(&["master_host", "master_port"]);
pub static MASTER_REPL_OFFSET: Metric =
    Metric::gauge("redis_master_repl_offset", "The server's own offset in the replication stream.");
pub static POOL_EXHAUSTED: Metric = Metric::gauge(
    "watchkeeper_redis_pool_exhausted",
    "Whether no connection is left: by path, fresh (a new one was refused) or held (the held one was refused, or \
     clients have reached maxclients where the server tells it).",
)
.labelled(&["path"]);
pub static RDB_SAVED: Metric = Metric::gauge(
    "watchkeeper_redis_rdb_saved",
    "Whether a snapshot was saved since the server started (1) or none (0).",
);
pub static POLICY_FITS_ROLE: Metric = Metric::gauge(
    "watchkeeper_redis_policy_fits_role",
    "Whether the eviction policy is right for the configured role: allkeys-* for a cache, noeviction for a queue.",
);
pub static CONNECT_SECONDS: Metric = Metric::gauge(
    "watchkeeper_redis_connect_seconds",
    "How long the last fresh connection took until it was authenticated.",
);
pub static QUERY_SECONDS: Metric = Metric::gauge(
    "watchkeeper_redis_query_seconds",
    "How long the last PING and INFO over the held connection took together.",
);

pub const ALL: &[&Metric] = network::with_connection![
    &UP,
    &INSTANCE_INFO,
    &UPTIME_IN_SECONDS,
    &CONNECTED_CLIENTS,
    &BLOCKED_CLIENTS,
    &CONFIG_MAXCLIENTS,
    &REJECTED_CONNECTIONS_TOTAL,
    &CONNECTIONS_RECEIVED_TOTAL,
    &MEMORY_USED_BYTES,
    &MEMORY_MAX_BYTES,
    &MEMORY_USED_RSS_BYTES,
    &MEMORY_USED_PEAK_BYTES,
    &MEM_FRAGMENTATION_RATIO,
    &COMMANDS_PROCESSED_TOTAL,
    &KEYSPACE_HITS_TOTAL,
    &KEYSPACE_MISSES_TOTAL,
    &EXPIRED_KEYS_TOTAL,
    &EVICTED_KEYS_TOTAL,
    &NET_INPUT_BYTES_TOTAL,
    &NET_OUTPUT_BYTES_TOTAL,
    &DB_KEYS,
    &DB_KEYS_EXPIRING,
    &LOADING_DUMP_FILE,
    &RDB_LAST_SAVE_TIMESTAMP_SECONDS,
    &RDB_LAST_BGSAVE_STATUS,
    &RDB_CHANGES_SINCE_LAST_SAVE,
    &AOF_ENABLED,
    &AOF_LAST_WRITE_STATUS,
    &AOF_LAST_BGREWRITE_STATUS,
    &CONNECTED_SLAVES,
    &CONNECTED_SLAVE_LAG_SECONDS,
    &MASTER_LINK_UP,
    &MASTER_LAST_IO_SECONDS_AGO,
    &MASTER_SYNC_IN_PROGRESS,
    &MASTER_REPL_OFFSET,
    &POOL_EXHAUSTED,
    &RDB_SAVED,
    &POLICY_FITS_ROLE,
    &CONNECT_SECONDS,
    &QUERY_SECONDS,
];
