//! The state file, `state.db` in the state folder: an SQLite 3 database in WAL mode, `synchronous=FULL`, which
//! `sqlite3` opens once the agent has stopped (while it runs, it holds the file alone). Columns hold the main facts
//! as text and Unix milliseconds; what is a set or a list is JSON in a column.
//!
//! | table | a row is | |
//! |---|---|---|
//! | `alerts` | a pending or firing alert | `labels` and `annotations` are JSON objects |
//! | `groups` | a group of alerts for one receiver | `members` is JSON: each alert, how it ended, what was told of it |
//! | `deliveries` | what is accepted and not yet delivered, in the order of `seq` | `payload` is sent as it stands; `id` is its `webhook-id`; a row is deleted by the transaction that acknowledges it |
//! | `refused` | a key whose page was refused for good | its resolve is not sent |
//! | `graces` | the grace of a target | |
//! | `config` | the last good configuration, file by file, unexpanded | |
//! | `meta` | names and values | `last_alive`: when the agent last ran, see [`crate::state::resume`] |
//!
//! `PRAGMA application_id` is 0x574b5354 ("WKST"), `PRAGMA user_version` the version of this layout, 2. A file of
//! layout 1, where `endpoint` was a number, is brought up to date as it is opened. A file with another id, a higher version or damage in it is set aside with its log: renamed, never deleted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::sample::Timestamp;
use crate::state::rows::{self, LAST_ALIVE, Op, PLACED, Rows};

pub const FILE: &str = "state.db";
const APPLICATION_ID: i32 = 0x574b_5354;
const VERSION: i32 = 2;
/// What a file without a layout has.
const FRESH: i32 = 0;

/// How long another program's lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// The statements of [`Op`], kept prepared.
const STATEMENTS: usize = 24;

const DELIVERIES: &str = "
CREATE TABLE deliveries (
    seq INTEGER PRIMARY KEY NOT NULL, receiver TEXT NOT NULL, endpoint TEXT NOT NULL, key TEXT NOT NULL,
    id TEXT NOT NULL, first INTEGER NOT NULL, resolve INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL, last_error TEXT, payload TEXT NOT NULL
) STRICT;
";
const REFUSED: &str = "
CREATE TABLE refused (
    receiver TEXT NOT NULL, endpoint TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (receiver, endpoint, key)
) STRICT, WITHOUT ROWID;
";
const SCHEMA: &str = r#"
CREATE TABLE alerts (
    file TEXT NOT NULL, "group" TEXT NOT NULL, rule TEXT NOT NULL, labels TEXT NOT NULL,
    state TEXT NOT NULL, active_at INTEGER NOT NULL, starts_at INTEGER, keep_firing_since INTEGER,
    held_since INTEGER, value TEXT NOT NULL, annotations TEXT NOT NULL,
    PRIMARY KEY (file, "group", rule, labels)
) STRICT, WITHOUT ROWID;
CREATE TABLE groups (
    key TEXT PRIMARY KEY NOT NULL, receiver TEXT NOT NULL, labels TEXT NOT NULL, timing TEXT NOT NULL,
    due INTEGER, flushed_at INTEGER, notified_at INTEGER, members TEXT NOT NULL
) STRICT;
CREATE TABLE graces (
    target TEXT PRIMARY KEY NOT NULL, configured_at INTEGER NOT NULL, ended INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE config (position INTEGER PRIMARY KEY NOT NULL, path TEXT NOT NULL, text TEXT NOT NULL) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"#;

/// Why a file could not be used.
#[derive(Debug)]
pub enum Fault {
    /// It is torn, foreign or newer: to be set aside.
    Unusable(String),
    /// Another program has it open.
    InUse,
    /// The disk does not let us: full, read-only, broken, absent.
    Disk(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Fault::InUse,
            Some(
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::OutOfMemory,
            ) => Fault::Disk(error.to_string()),
            // Not a database, a damaged one, tables or values that this version does not write.
            _ => Fault::Unusable(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Disk(error.to_string())
    }
}

/// Opens the file for reading and writing, makes it when it is missing or empty, checks it, reads it.
pub fn open(path: &Path) -> Result<(Connection, Rows), Fault> {
    if !path.exists() && log_of(path).exists() {
        return Err(Fault::Unusable("there is a log without its database".to_owned()));
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Until it has proved to be ours, closing it must leave file and log as they are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "cache_size", -256)?;
    let layout = layout(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", 1024 * 1024, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 250, |_| Ok(()))?;
    if layout == FRESH {
        create(&connection)?;
        sync_folder(path)?;
    }
    check(&connection)?;
    if layout == 1 {
        bring_up_to_date(&connection)?;
    }
    let rows = Rows::read(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok((connection, rows))
}

/// Reads a file on a disk that cannot be written, its log included: without locks (nobody can write there), and
/// with the log's index in memory. Where there is no log, SQLite must be told that none will come.
pub fn read_only(path: &Path) -> Result<Rows, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if log_of(path).exists() {
        Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?
    } else {
        Connection::open_with_flags(immutable(path), flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let layout = layout(&connection)?;
    if layout == FRESH {
        return Ok(Rows::default());
    }
    check(&connection)?;
    Ok(if layout == 1 { Rows::read_1(&connection)? } else { Rows::read(&connection)? })
}

/// Writes the operations and the time as one transaction: one write to the log, one fsync.
pub fn write<'a>(to: &mut Connection, ops: impl Iterator<Item = &'a Op>, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = to.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for op in ops {
        op.write(&transaction)?;
    }
    rows::put_meta(&transaction, LAST_ALIVE, &now.to_string())?;
    transaction.commit()
}

/// Renames a file and its log out of the way. Returns the new name.
pub fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let name = (0..).map(|n| beside(path, &format!(".set-aside-{}", now + n)));
    let target = name.into_iter().find(|name| !name.exists() && !log_of(name).exists());
    let target = target.ok_or_else(|| io::Error::other("no free name"))?;
    for (from, to) in [(path.to_owned(), target.clone()), (log_of(path), log_of(&target))] {
        match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(target)
}

/// Which files stand at the path of a database and of its log: device and number of each.
pub type Place = [(u64, u64); 2];

/// The place of a database that has been written; `None` where one of the two is missing.
pub fn place(path: &Path) -> Option<Place> {
    let number = |path: &Path| std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    Some([number(path)?, number(&log_of(path))?])
}

/// Whether the database itself is still where it was.
pub fn is_at(path: &Path, place: Option<Place>) -> bool {
    let found = std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    found.is_some() && found == place.map(|[database, _]| database)
}

/// Closes a database whose path is not its own any more, without touching what stands there now.
pub fn leave(connection: Connection) {
    // Closing would remove the log by its path.
    if connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).is_ok() {
        drop(connection);
    } else {
        std::mem::forget(connection);
    }
}

/// A folder's entries are durable only after this.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The layout of a file that we may use.
fn layout(connection: &Connection) -> Result<i32, Fault> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if tables == 0 => Ok(FRESH),
        (APPLICATION_ID, known @ 1..=VERSION) => Ok(known),
        (APPLICATION_ID, newer) if newer > VERSION => Err(Fault::Unusable(format!(
            "it was written by a newer version (layout {newer}, this one knows {VERSION})"
        ))),
        _ => Err(Fault::Unusable("it belongs to another application".to_owned())),
    }
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {SCHEMA} {DELIVERIES} {REFUSED} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// From layout 1: endpoints were known by their place among the receiver's webhooks, which is all that there was.
fn bring_up_to_date(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         ALTER TABLE deliveries RENAME TO deliveries_1;
         ALTER TABLE refused RENAME TO refused_1;
         {DELIVERIES} {REFUSED}
         INSERT INTO deliveries (seq, receiver, endpoint, key, id, first, resolve, accepted_at, attempts, last_error, payload)
             SELECT seq, receiver, {PLACED}, key, id, first, resolve, accepted_at, attempts, last_error, payload FROM deliveries_1;
         INSERT INTO refused (receiver, endpoint, key, at, reason)
             SELECT receiver, {PLACED}, key, at, reason FROM refused_1;
         DROP TABLE deliveries_1;
         DROP TABLE refused_1;
         PRAGMA user_version = {VERSION};
         COMMIT;"
    ))
}

fn check(connection: &Connection) -> Result<(), Fault> {
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(Fault::Unusable(found)) }
}

fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn immutable(path: &Path) -> String {
    let escaped: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("file:{escaped}?immutable=1")
}
