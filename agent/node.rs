//! What this machine is called.

/// `NODE_NAME`, else the host's name: the label `node`, and the `instance` of the host itself.
pub fn name() -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let named = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    named.or_else(host).unwrap_or_else(|| "unknown".to_owned())
}
