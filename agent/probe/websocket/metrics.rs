//! What is reported of a gateway: its connection under the blackbox exporter's names, its load under our own.

use crate::probe::network;
use crate::sample::Metric;

pub const UPGRADED: &Metric = &Metric::gauge(
    "probe_websocket_connection_upgraded",
    "Whether the last fresh connection was upgraded to a WebSocket (1) or not (0).",
);
pub const STATUS_CODE: &Metric = &Metric::gauge(
    "probe_websocket_status_code",
    "The status that the upgrade was answered with; 0 without an answer.",
);
pub const DURATION: &Metric = &Metric::gauge(
    "probe_websocket_duration_seconds",
    "How long each phase took, in seconds: resolve, connect, tls, upgrade, ping, close.",
)
.labelled(&["phase"]);
pub const PING_SECONDS: &Metric =
    &Metric::gauge("watchkeeper_websocket_ping_seconds", "How long the last pong over the held connection took.");
pub const LOAD_KNOWN: &Metric = &Metric::gauge(
    "watchkeeper_websocket_load_known",
    "Whether the gateway's own count of its connections could be read (1) or not (0).",
);
pub const CONNECTIONS: &Metric =
    &Metric::gauge("watchkeeper_websocket_connections", "Connections that the gateway has now, by its own count.");
pub const CONNECTIONS_PEAK: &Metric = &Metric::gauge(
    "watchkeeper_websocket_connections_peak",
    "The most connections that the gateway was seen to have within the window.",
);
pub const SOFT_LIMIT: &Metric = &Metric::gauge(
    "watchkeeper_websocket_connections_soft_limit",
    "From how many connections on the gateway is nearly full, as configured.",
);
pub const HARD_LIMIT: &Metric = &Metric::gauge(
    "watchkeeper_websocket_connections_hard_limit",
    "How many connections the gateway takes, as configured.",
);
pub const SATURATION: &Metric = &Metric::gauge(
    "watchkeeper_websocket_saturation_ratio",
    "Connections that the gateway has now over its hard limit.",
);

pub const ALL: &[&Metric] = network::with_connection![
    UPGRADED,
    STATUS_CODE,
    DURATION,
    PING_SECONDS,
    LOAD_KNOWN,
    CONNECTIONS,
    CONNECTIONS_PEAK,
    SOFT_LIMIT,
    HARD_LIMIT,
    SATURATION,
];
