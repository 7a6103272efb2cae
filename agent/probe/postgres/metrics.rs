//! Every metric of a PostgreSQL target. `pg_*` are postgres_exporter's names.

use crate::probe::network;
use crate::sample::Metric;

pub static UP: Metric =
    Metric::gauge("pg_up", "Whether the last look over the held connection got its answer (1) or not (0).");
pub static STATIC: Metric = Metric::gauge("pg_static", "Always 1; the labels are the server's version.")
    .labelled(&["version", "short_version"]);
pub static POSTMASTER_START_TIME_SECONDS: Metric =
    Metric::gauge("pg_postmaster_start_time_seconds", "When the server started, Unix seconds.");
pub static REPLICATION_IS_REPLICA: Metric =
    Metric::gauge("pg_replication_is_replica", "Whether the server is in recovery: 1 on a standby, 0 on a primary.");
pub static STAT_ACTIVITY_COUNT: Metric = Metric::gauge(
    "pg_stat_activity_count",
    "Connections by database, state, user, application and what they wait for; the 64 largest groups, the rest by state.",
).labelled(&["datname", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event"]);
pub static SETTINGS_MAX_CONNECTIONS: Metric =
    Metric::gauge("pg_settings_max_connections", "The server's max_connections.");
pub static SETTINGS_SUPERUSER_RESERVED_CONNECTIONS: Metric =
    Metric::gauge("pg_settings_superuser_reserved_connections", "How many of max_connections are kept for superusers.");
pub static SETTINGS_RESERVED_CONNECTIONS: Metric = Metric::gauge(
    "pg_settings_reserved_connections",
    "How many of max_connections are kept for roles with pg_use_reserved_connections (PostgreSQL 16 and later).",
);
pub static CONNECTIONS_USED: Metric =
    Metric::gauge("watchkeeper_postgres_connections_used", "Client connections that count towards max_connections.");
pub static CONNECTIONS_USABLE: Metric = Metric::gauge(
    "watchkeeper_postgres_connections_usable",
    "How many connections ordinary roles can have: max_connections without the reserved ones.",
);
pub static POOL_EXHAUSTED: Metric = Metric::gauge(
    "watchkeeper_postgres_pool_exhausted",
    "Whether no connection is left: by path, fresh (a new one was refused) or held (used has reached usable, \
     or the held one was refused).",
)
.labelled(&["path"]);
pub static CONNECT_SECONDS: Metric = Metric::gauge(
    "watchkeeper_postgres_connect_seconds",
    "How long the last fresh connection took until the server was ready for queries.",
);
pub static QUERY_SECONDS: Metric =
    Metric::gauge("watchkeeper_postgres_query_seconds", "How long the last round trip over the held connection took.");

pub const ALL: &[&Metric] = network::with_connection![
    &UP,
    &STATIC,
    &POSTMASTER_START_TIME_SECONDS,
    &REPLICATION_IS_REPLICA,
    &STAT_ACTIVITY_COUNT,
    &SETTINGS_MAX_CONNECTIONS,
    &SETTINGS_SUPERUSER_RESERVED_CONNECTIONS,
    &SETTINGS_RESERVED_CONNECTIONS,
    &CONNECTIONS_USED,
    &CONNECTIONS_USABLE,
    &POOL_EXHAUSTED,
    &CONNECT_SECONDS,
    &QUERY_SECONDS,
];
