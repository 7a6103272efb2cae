//! Names that nothing produces.

use super::producer::Producers;
use super::{Finding, UNKNOWN_LABEL, UNKNOWN_METRIC, metric_name, walk};
use crate::config::words;
use crate::matcher::{MatchOp, Matcher};
use crate::promql::{Expr, ExprKind, Selector};
use crate::sample::METRIC_NAME;

/// Names of widely copied rules that the exporter they were written for does not have, why, and what it has.
/// Sources: postgres_exporter's collectors, node_exporter's upgrade guide to 0.16.
const MISNAMED: &[(&str, &str, &str)] = &[
    ("pg_replication_lag", NEVER_HAD, "pg_replication_lag_seconds"),
    ("node_boot_time", RENAMED, "node_boot_time_seconds"),
    ("node_context_switches", RENAMED, "node_context_switches_total"),
    ("node_cpu", RENAMED, "node_cpu_seconds_total"),
    ("node_disk_bytes_read", RENAMED, "node_disk_read_bytes_total"),
    ("node_disk_bytes_written", RENAMED, "node_disk_written_bytes_total"),
    ("node_filesystem_avail", RENAMED, "node_filesystem_avail_bytes"),
    ("node_filesystem_free", RENAMED, "node_filesystem_free_bytes"),
    ("node_filesystem_size", RENAMED, "node_filesystem_size_bytes"),
    ("node_memory_Buffers", RENAMED, "node_memory_Buffers_bytes"),
    ("node_memory_Cached", RENAMED, "node_memory_Cached_bytes"),
    ("node_memory_MemAvailable", RENAMED, "node_memory_MemAvailable_bytes"),
    ("node_memory_MemFree", RENAMED, "node_memory_MemFree_bytes"),
    ("node_memory_MemTotal", RENAMED, "node_memory_MemTotal_bytes"),
    ("node_memory_SwapFree", RENAMED, "node_memory_SwapFree_bytes"),
    ("node_memory_SwapTotal", RENAMED, "node_memory_SwapTotal_bytes"),
    ("node_network_receive_bytes", RENAMED, "node_network_receive_bytes_total"),
    ("node_network_transmit_bytes", RENAMED, "node_network_transmit_bytes_total"),
    ("node_time", RENAMED, "node_time_seconds"),
];
const NEVER_HAD: &str = "widely copied rules name it, and no exporter produces it by itself";
const RENAMED: &str = "node_exporter has renamed it with version 0.16";
/// Labels of widely copied rules that the exporter's metric does not have: metric, label, those that it has.
const MISLABELLED: &[(&str, &str, &str)] = &[
    ("pg_locks_count", "granted", "`datname` and `mode`"),
    ("pg_stat_activity_count", "granted", "`datname` and `state`"),
];

pub fn find(expr: &Expr, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    walk(expr, &mut |expr| {
        if let ExprKind::Selector(selector) = &expr.kind
            && let Some(name) = metric_name(selector)
        {
            metric(expr, name, producers, findings);
            labels(expr, name, selector, producers, findings);
        }
    });
}

fn metric(expr: &Expr, name: &str, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    if producers.is_some_and(|producers| producers.get(name).is_some()) {
        return;
    }
    if let Some((_, why, right)) = MISNAMED.iter().find(|(wrong, ..)| *wrong == name) {
        let message = format!("nothing produces `{name}`: {why}; use `{right}`");
        findings.push(Finding::new(expr, UNKNOWN_METRIC, message));
        return;
    }
    let Some(producers) = producers.filter(|producers| !producers.may_exist(name)) else { return };
    let what_then = match words::nearest(name, &producers.names()) {
        _ if name == "up" => {
            "only targets of the kind `scrape` have it, every target has `watchkeeper_target_up`".to_owned()
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => "add the target that does, or remove the rule".to_owned(),
    };
    let message = format!("no configured target and no rule produces `{name}`, so this has no value: {what_then}");
    findings.push(Finding::new(expr, UNKNOWN_METRIC, message));
}

fn labels(expr: &Expr, name: &str, selector: &Selector, producers: Option<&Producers>, findings: &mut Vec<Finding>) {
    let produced = producers.and_then(|producers| producers.get(name));
    for matcher in selector.matchers.iter().filter(|matcher| wants_value(matcher)) {
        if let Some((_, label, has)) = MISLABELLED.iter().find(|row| (row.0, row.1) == (name, &*matcher.name)) {
            let message = format!(
                "`{name}` has no label `{label}`, though widely copied rules match it: it has {has}, so nothing is selected"
            );
            findings.push(Finding::new(expr, UNKNOWN_LABEL, message));
        } else if let Some(labels) = produced.and_then(|produced| produced.labels.as_ref())
            && !labels.contains(&*matcher.name)
        {
            let known: Vec<&str> = labels.iter().map(String::as_str).filter(|name| *name != METRIC_NAME).collect();
            let is_outward = producers.is_some_and(|producers| producers.outward.contains(&*matcher.name));
            let why = if is_outward {
                "the configuration's `labels:` are on what leaves, rules do not see them; "
            } else {
                ""
            };
            let message = format!(
                "`{name}` has no label `{}`, so nothing is selected: {why}it has {}",
                matcher.name,
                known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            );
            findings.push(Finding::new(expr, UNKNOWN_LABEL, message));
        }
    }
}

/// Whether a series without the label does not pass.
pub(super) fn wants_value(matcher: &Matcher) -> bool {
    &*matcher.name != METRIC_NAME && !matcher.matches("") && matcher.op != MatchOp::NotEqual
}
