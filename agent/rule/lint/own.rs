//! The names of the agent's own metrics, which it has whatever it watches.

/// As docs/reference/metrics.md lists them; a test compares the two.
pub const OWN: &[&str] = &[
    "watchkeeper_alert_blind_seconds",
    "watchkeeper_alerts",
    "watchkeeper_blind_targets",
    "watchkeeper_build_info",
    "watchkeeper_clock_stepped_seconds",
    "watchkeeper_config_last_reload_success_timestamp_seconds",
    "watchkeeper_config_last_reload_successful",
    "watchkeeper_config_reloads_total",
    "watchkeeper_deliveries_abandoned_total",
    "watchkeeper_deliveries_given_up_total",
    "watchkeeper_delivery_attempts_total",
    "watchkeeper_delivery_failing",
    "watchkeeper_delivery_last_error_timestamp_seconds",
    "watchkeeper_log_lines_dropped_total",
    "watchkeeper_notifications_put_off_total",
    "watchkeeper_outbox_depth",
    "watchkeeper_outbox_full",
    "watchkeeper_outbox_oldest_age_seconds",
    "watchkeeper_probes_late_total",
    "watchkeeper_probes_missed_total",
    "watchkeeper_probes_total",
    "watchkeeper_queries_answered_total",
    "watchkeeper_queries_refused_total",
    "watchkeeper_queries_running",
    "watchkeeper_queries_seconds_total",
    "watchkeeper_queries_waiting",
    "watchkeeper_receiver_disabled",
    "watchkeeper_receiver_refused_keys",
    "watchkeeper_receivers",
    "watchkeeper_region_answer",
    "watchkeeper_region_answer_age_seconds",
    "watchkeeper_region_state",
    "watchkeeper_region_transitions_total",
    "watchkeeper_reminders_total",
    "watchkeeper_rule_evaluation_failures_total",
    "watchkeeper_rule_group_evaluations_total",
    "watchkeeper_rule_group_iterations_missed_total",
    "watchkeeper_rule_group_last_duration_seconds",
    "watchkeeper_rule_reactions_total",
    "watchkeeper_state_backlog_rows",
    "watchkeeper_state_commit_failures_total",
    "watchkeeper_state_commit_seconds_total",
    "watchkeeper_state_commits_total",
    "watchkeeper_state_durable",
    "watchkeeper_state_lost",
    "watchkeeper_store_sample_bytes",
    "watchkeeper_store_samples",
    "watchkeeper_store_samples_dropped_total",
    "watchkeeper_store_series",
    "watchkeeper_store_series_refused_total",
    "watchkeeper_store_symbols",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::probe::KINDS;
    use crate::target::task;

    #[test]
    fn the_reference_and_the_list_name_the_same_metrics() {
        let page = std::fs::read_to_string("docs/reference/metrics.md").unwrap();
        let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let names = page.split('`').filter_map(|text| text.split(|character: char| !is_name(character)).next());
        let names: BTreeSet<&str> =
            names.filter(|name| name.starts_with("watchkeeper_") && !name.ends_with('_')).collect();
        let declared = KINDS.iter().flat_map(|kind| kind.metrics).chain(task::METRICS).map(|metric| metric.name);
        let declared: BTreeSet<&str> = declared.collect();
        let own: Vec<&str> = names.into_iter().filter(|name| !declared.contains(name)).collect();
        assert_eq!(own, OWN);
    }
}
