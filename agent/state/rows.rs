//! The rows of the state file: what is written, and what a start reads back.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alert::group::Group;
use crate::alert::{Alert, AlertId, AlertState};
use crate::notify::{Delivery, Refused};
use crate::sample::{Labels, Timestamp};

/// When this was last known to run: [`crate::state::resume`] moves timers by the time since.
pub const LAST_ALIVE: &str = "last_alive";

/// The endpoint of a row of layout 1, which knew its place among the webhooks only, as an SQL expression.
pub const PLACED: &str = "'webhook/#' || webhook";

/// One row as it shall be. Doing an operation twice is doing it once, and the latest for a row wins, so that what
/// could not be written may be kept by row and written later.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    PutAlert(Alert),
    DeleteAlert(AlertId),
    PutGroup(Group),
    /// By key.
    DeleteGroup(String),
    PutDelivery(Delivery),
    /// By sequence number.
    DeleteDelivery(i64),
    /// What an attempt has learned of a delivery that stays. Nothing where it is gone.
    Attempted {
        seq: i64,
        attempts: u32,
        last_error: String,
    },
    /// A delivery that stays goes to another endpoint. Nothing where it is gone: it must not come back.
    MoveDelivery {
        seq: i64,
        endpoint: String,
    },
    PutRefused(Refused),
    DeleteRefused {
        receiver: String,
        endpoint: String,
        key: String,
    },
    PutGrace(Grace),
    /// By the target's name.
    DeleteGrace(String),
    PutMeta {
        name: String,
        value: String,
    },
    DeleteMeta(String),
    /// The last good configuration, whole: each file's path and its text as it was read, unexpanded.
    PutConfig(Vec<(String, String)>),
}

/// The grace of a target: since when it runs, and whether a first success has ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grace {
    pub target: String,
    pub configured_at: Timestamp,
    pub ended: bool,
}

/// Which row an operation is about. The order is the order of writing: a delivery before its attempts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    Alert(AlertId),
    Group(String),
    Delivery(i64),
    Attempts(i64),
    Place(i64),
    Refused(String, String, String),
    Grace(String),
    Meta(String),
    Config,
}

/// Every row of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    pub alerts: Vec<Alert>,
    pub groups: Vec<Group>,
    /// In the order of acceptance.
    pub deliveries: Vec<Delivery>,
    pub refused: Vec<Refused>,
    pub graces: Vec<Grace>,
    pub meta: BTreeMap<String, String>,
    pub config: Vec<(String, String)>,
}

impl Op {
    pub fn row(&self) -> RowKey {
        match self {
            Op::PutAlert(alert) => RowKey::Alert(alert.id.clone()),
            Op::DeleteAlert(id) => RowKey::Alert(id.clone()),
            Op::PutGroup(group) => RowKey::Group(group.key.clone()),
            Op::DeleteGroup(key) => RowKey::Group(key.clone()),
            Op::PutDelivery(delivery) => RowKey::Delivery(delivery.seq),
            Op::DeleteDelivery(seq) => RowKey::Delivery(*seq),
            Op::Attempted { seq, .. } => RowKey::Attempts(*seq),
            Op::MoveDelivery { seq, .. } => RowKey::Place(*seq),
            Op::PutRefused(refused) => refused_row(&refused.receiver, &refused.endpoint, &refused.key),
            Op::DeleteRefused { receiver, endpoint, key } => refused_row(receiver, endpoint, key),
            Op::PutGrace(grace) => RowKey::Grace(grace.target.clone()),
            Op::DeleteGrace(target) => RowKey::Grace(target.clone()),
            Op::PutMeta { name, .. } => RowKey::Meta(name.clone()),
            Op::DeleteMeta(name) => RowKey::Meta(name.clone()),
            Op::PutConfig(_) => RowKey::Config,
        }
    }

    /// Writes the row inside the transaction that `to` is in.
    pub fn write(&self, to: &Connection) -> rusqlite::Result<()> {
        match self {
            Op::PutAlert(alert) => put_alert(to, alert),
            Op::DeleteAlert(id) => delete_alert(to, id),
            Op::PutGroup(group) => put_group(to, group),
            Op::DeleteGroup(key) => run(to, "DELETE FROM groups WHERE key = ?1", params![key]),
            Op::PutDelivery(delivery) => put_delivery(to, delivery),
            Op::DeleteDelivery(seq) => run(to, "DELETE FROM deliveries WHERE seq = ?1", params![seq]),
            Op::Attempted { seq, attempts, last_error } => {
                let sql = "UPDATE deliveries SET attempts = ?2, last_error = ?3 WHERE seq = ?1";
                run(to, sql, params![seq, attempts, last_error])
            }
            Op::MoveDelivery { seq, endpoint } => {
                run(to, "UPDATE deliveries SET endpoint = ?2 WHERE seq = ?1", params![seq, endpoint])
            }
            Op::PutRefused(refused) => put_refused(to, refused),
            Op::DeleteRefused { receiver, endpoint, key } => {
                let sql = "DELETE FROM refused WHERE receiver = ?1 AND endpoint = ?2 AND key = ?3";
                run(to, sql, params![receiver, endpoint, key])
            }
            Op::PutGrace(Grace { target, configured_at, ended }) => {
                let sql = "INSERT OR REPLACE INTO graces (target, configured_at, ended) VALUES (?1, ?2, ?3)";
                run(to, sql, params![target, configured_at, ended])
            }
            Op::DeleteGrace(target) => run(to, "DELETE FROM graces WHERE target = ?1", params![target]),
            Op::PutMeta { name, value } => put_meta(to, name, value),
            Op::DeleteMeta(name) => run(to, "DELETE FROM meta WHERE name = ?1", params![name]),
            Op::PutConfig(files) => put_config(to, files),
        }
    }
}

impl Rows {
    /// Reads everything. A row that cannot be understood is an error: such a file is set aside whole.
    pub fn read(from: &Connection) -> rusqlite::Result<Self> {
        Self::read_with(
            from,
            "SELECT * FROM deliveries ORDER BY seq",
            "SELECT * FROM refused ORDER BY receiver, endpoint, key",
        )
    }

    /// As [`Rows::read`], from a file of layout 1 that cannot be brought up to date.
    pub fn read_1(from: &Connection) -> rusqlite::Result<Self> {
        let deliveries = format!("SELECT *, {PLACED} AS endpoint FROM deliveries ORDER BY seq");
        let refused = format!("SELECT *, {PLACED} AS endpoint FROM refused ORDER BY receiver, webhook, key");
        Self::read_with(from, &deliveries, &refused)
    }

    fn read_with(from: &Connection, deliveries: &str, refusals: &str) -> rusqlite::Result<Self> {
        Ok(Rows {
            alerts: all(from, "SELECT * FROM alerts ORDER BY file, \"group\", rule, labels", alert)?,
            groups: all(from, "SELECT * FROM groups ORDER BY key", group)?,
            deliveries: all(from, deliveries, delivery)?,
            refused: all(from, refusals, refused)?,
            graces: all(from, "SELECT * FROM graces ORDER BY target", grace)?,
            meta: all(from, "SELECT name, value FROM meta", pair)?.into_iter().collect(),
            config: all(from, "SELECT path, text FROM config ORDER BY position", pair)?,
        })
    }

    /// The operations that write all of it anew.
    pub fn into_ops(self) -> Vec<Op> {
        let mut ops: Vec<Op> = self.alerts.into_iter().map(Op::PutAlert).collect();
        ops.extend(self.groups.into_iter().map(Op::PutGroup));
        ops.extend(self.deliveries.into_iter().map(Op::PutDelivery));
        ops.extend(self.refused.into_iter().map(Op::PutRefused));
        ops.extend(self.graces.into_iter().map(Op::PutGrace));
        ops.extend(self.meta.into_iter().map(|(name, value)| Op::PutMeta { name, value }));
        if !self.config.is_empty() {
            ops.push(Op::PutConfig(self.config));
        }
        ops
    }

    /// When the file was last written by a running agent.
    pub fn last_alive(&self) -> Option<Timestamp> {
        self.meta.get(LAST_ALIVE)?.parse().ok()
    }
}

pub fn put_meta(to: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    run(to, "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![name, value])
}

fn refused_row(receiver: &str, endpoint: &str, key: &str) -> RowKey {
    RowKey::Refused(receiver.to_owned(), endpoint.to_owned(), key.to_owned())
}

fn run(to: &Connection, sql: &str, values: impl rusqlite::Params) -> rusqlite::Result<()> {
    to.prepare_cached(sql)?.execute(values).map(|_| ())
}

fn all<T>(from: &Connection, sql: &str, read: impl Fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    from.prepare(sql)?.query_map([], |row| read(row))?.collect()
}

fn put_alert(to: &Connection, alert: &Alert) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO alerts (file, \"group\", rule, labels, state, active_at, starts_at, \
        keep_firing_since, held_since, value, annotations) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let AlertId { file, group, rule, labels } = &alert.id;
    let state = if alert.state == AlertState::Firing { "firing" } else { "pending" };
    let times = (alert.active_at, alert.starts_at, alert.keep_firing_since, alert.held_since);
    let (labels, value, annotations) = (json(labels)?, alert.value.to_string(), json(&alert.annotations)?);
    run(to, sql, params![file, group, rule, labels, state, times.0, times.1, times.2, times.3, value, annotations])
}

fn delete_alert(to: &Connection, id: &AlertId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM alerts WHERE file = ?1 AND \"group\" = ?2 AND rule = ?3 AND labels = ?4";
    run(to, sql, params![id.file, id.group, id.rule, json(&id.labels)?])
}

fn alert(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let id = AlertId {
        file: row.get("file")?,
        group: row.get("group")?,
        rule: row.get("rule")?,
        labels: from_json(row, "labels")?,
    };
    let state: String = row.get("state")?;
    let value: String = row.get("value")?;
    Ok(Alert {
        id,
        annotations: from_json(row, "annotations")?,
        value: value.parse().map_err(|error| unreadable(row, "value", error))?,
        state: if state == "firing" { AlertState::Firing } else { AlertState::Pending },
        active_at: row.get("active_at")?,
        starts_at: row.get("starts_at")?,
        keep_firing_since: row.get("keep_firing_since")?,
        held_since: row.get("held_since")?,
        unknown_inputs: Vec::new(),
    })
}

fn put_group(to: &Connection, group: &Group) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO groups (key, receiver, labels, timing, due, flushed_at, notified_at, members) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let (labels, timing, members) = (json(&group.labels)?, json(&group.timing)?, json(&group.members)?);
    let (key, receiver) = (&group.key, &group.receiver);
    run(to, sql, params![key, receiver, labels, timing, group.due, group.flushed_at, group.notified_at, members])
}

fn group(row: &Row<'_>) -> rusqlite::Result<Group> {
    let labels: Labels = from_json(row, "labels")?;
    Ok(Group {
        key: row.get("key")?,
        receiver: row.get("receiver")?,
        labels,
        timing: from_json(row, "timing")?,
        members: from_json(row, "members")?,
        due: row.get("due")?,
        flushed_at: row.get("flushed_at")?,
        notified_at: row.get("notified_at")?,
    })
}

fn put_delivery(to: &Connection, delivery: &Delivery) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO deliveries (seq, receiver, endpoint, key, id, first, resolve, accepted_at, \
        attempts, last_error, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let Delivery { seq, receiver, endpoint, key, id, first, resolve, accepted_at, attempts, last_error, payload } =
        delivery;
    let payload = str::from_utf8(payload).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    run(to, sql, params![seq, receiver, endpoint, key, id, first, resolve, accepted_at, attempts, last_error, payload])
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        seq: row.get("seq")?,
        receiver: row.get("receiver")?,
        endpoint: row.get("endpoint")?,
        key: row.get("key")?,
        id: row.get("id")?,
        first: row.get("first")?,
        resolve: row.get("resolve")?,
        accepted_at: row.get("accepted_at")?,
        attempts: row.get("attempts")?,
        last_error: row.get("last_error")?,
        payload: row.get::<_, String>("payload")?.into(),
    })
}

fn put_refused(to: &Connection, refused: &Refused) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO refused (receiver, endpoint, key, at, reason) VALUES (?1, ?2, ?3, ?4, ?5)";
    let Refused { receiver, endpoint, key, at, reason } = refused;
    run(to, sql, params![receiver, endpoint, key, at, reason])
}

fn refused(row: &Row<'_>) -> rusqlite::Result<Refused> {
    Ok(Refused {
        receiver: row.get("receiver")?,
        endpoint: row.get("endpoint")?,
        key: row.get("key")?,
        at: row.get("at")?,
        reason: row.get("reason")?,
    })
}

fn grace(row: &Row<'_>) -> rusqlite::Result<Grace> {
    Ok(Grace { target: row.get("target")?, configured_at: row.get("configured_at")?, ended: row.get("ended")? })
}

fn put_config(to: &Connection, files: &[(String, String)]) -> rusqlite::Result<()> {
    run(to, "DELETE FROM config", [])?;
    for (position, (path, text)) in (0_i64..).zip(files) {
        run(to, "INSERT INTO config (position, path, text) VALUES (?1, ?2, ?3)", params![position, path, text])?;
    }
    Ok(())
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(row, column, error))
}

fn unreadable(row: &Row<'_>, column: &str, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, error.into())
}
