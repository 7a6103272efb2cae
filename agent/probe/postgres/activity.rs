//! What one held look asks, and how the answer becomes values.

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::metrics::*;
use crate::probe::held::read_exhausted;
use crate::probe::{Path, Report};

/// All that a fresh look asks.
pub const PING: &str = "SELECT 1";

/// All that a held look asks, in one round trip of the simple protocol, which every pooler takes.
///
/// `SET LOCAL` ends with the implicit transaction: through a pooler nobody inherits it. The second statement
/// yields one row of facts; the third at most 64 groups of connections, largest first, and what remains
/// folded by state (8 rows), so that sums over states and over everything stay right. The function behind the view
/// `pg_stat_activity` is asked, whose joins would cost the server four times as much.
pub const LOOK: &str = "\
SET LOCAL statement_timeout = 5000;
SELECT version() AS version,
       current_setting('server_version_num') AS number,
       CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END AS replica,
       extract(epoch FROM pg_postmaster_start_time()) AS started,
       current_setting('max_connections') AS max,
       current_setting('superuser_reserved_connections') AS superuser_reserved,
       current_setting('reserved_connections', true) AS reserved,
       CASE WHEN pg_has_role('pg_read_all_stats', 'usage') THEN 1 ELSE 0 END AS sees_all,
       (SELECT count(*) FROM pg_stat_get_activity(NULL)
         WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)) AS used;
WITH activity AS (
  SELECT datid, state, usesysid, application_name, backend_type, wait_event_type, wait_event, count(*) AS n,
         row_number() OVER (ORDER BY count(*) DESC, datid, state, usesysid, application_name, backend_type,
                            wait_event_type, wait_event) AS place
    FROM pg_stat_get_activity(NULL) WHERE datid IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7)
SELECT (SELECT datname FROM pg_database WHERE oid = datid)::text AS datname, state,
       pg_get_userbyid(usesysid)::text AS usename, application_name, backend_type, wait_event_type, wait_event, n
  FROM activity WHERE place <= 64
UNION ALL
SELECT NULL, state, NULL, NULL, NULL, NULL, NULL, sum(n) FROM activity WHERE place > 64 GROUP BY state";

const GROUP_LABELS: [&str; 7] =
    ["datname", "state", "usename", "application_name", "backend_type", "wait_event_type", "wait_event"];

/// Adds the answer to [`LOOK`] to a report. The error names what is missing from the answer.
pub fn read(answer: &[SimpleQueryMessage], report: &mut Report) -> Result<(), String> {
    let mut facts = false;
    for message in answer {
        let SimpleQueryMessage::Row(row) = message else { continue };
        if row.columns().first().is_some_and(|column| column.name() == "version") {
            read_facts(row, report)?;
            facts = true;
        } else {
            let labels = GROUP_LABELS.iter().map(|name| (*name, text(row, name).unwrap_or_default().to_owned()));
            report.read_with(&STAT_ACTIVITY_COUNT, labels.collect(), number(row, "n")?);
        }
    }
    if facts { Ok(()) } else { Err("the server answered without a row".to_owned()) }
}

fn read_facts(row: &SimpleQueryRow, report: &mut Report) -> Result<(), String> {
    let version = text(row, "version").unwrap_or_default().to_owned();
    let short = short_version(number(row, "number")?);
    report.read_with(&STATIC, vec![("version", version), ("short_version", short)], 1.0);
    report.read(&REPLICATION_IS_REPLICA, number(row, "replica")?);
    report.read(&POSTMASTER_START_TIME_SECONDS, number(row, "started")?);
    let (max, superuser_reserved) = (number(row, "max")?, number(row, "superuser_reserved")?);
    let reserved = text(row, "reserved").and_then(|text| text.parse().ok());
    let (used, usable) = (number(row, "used")?, max - superuser_reserved - reserved.unwrap_or(0.0));
    report.read(&SETTINGS_MAX_CONNECTIONS, max);
    report.read(&SETTINGS_SUPERUSER_RESERVED_CONNECTIONS, superuser_reserved);
    if let Some(reserved) = reserved {
        report.read(&SETTINGS_RESERVED_CONNECTIONS, reserved);
    }
    report.read(&CONNECTIONS_USED, used);
    report.read(&CONNECTIONS_USABLE, usable);
    read_exhausted(report, &POOL_EXHAUSTED, Path::Held, used >= usable);
    if number(row, "sees_all")? == 0.0 {
        report
            .warnings
            .push("the role cannot see the states of other roles' connections: GRANT pg_monitor to it".into());
    }
    Ok(())
}

fn text<'a>(row: &'a SimpleQueryRow, name: &str) -> Option<&'a str> {
    row.try_get(name).ok().flatten()
}

fn number(row: &SimpleQueryRow, name: &str) -> Result<f64, String> {
    let text = text(row, name).ok_or_else(|| format!("the server's answer has no {name}"))?;
    text.parse().map_err(|_| format!("the server's answer has no number for {name}"))
}

/// `server_version_num` as postgres_exporter writes it: 150014 is 15.14.0, 90624 is 9.6.24.
fn short_version(number: f64) -> String {
    let (major, rest) = ((number / 10_000.0).floor(), number % 10_000.0);
    if major >= 10.0 {
        format!("{major}.{rest}.0")
    } else {
        format!("{major}.{}.{}", (rest / 100.0).floor(), rest % 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_with_three_parts() {
        assert_eq!(short_version(150_014.0), "15.14.0");
        assert_eq!(short_version(170_000.0), "17.0.0");
        assert_eq!(short_version(90_624.0), "9.6.24");
    }
}
