//! The state that survives: a database thread, transactions, and what is done while the disk does not take them.
//!
//! Every change goes through one map from row to operation: a commit adds its operations to it and writes the whole
//! map as one transaction. When the disk takes it, the map is empty again and the commit is durable. When it does
//! not, the map stays as the backlog (never more than one operation for each row that exists or was deleted), the
//! commit says that it is not durable, and each later commit and each second try again.

pub mod format;
mod lock;
pub mod resume;
pub mod rows;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rusqlite::Connection;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::sample::Timestamp;
use crate::state::format::{Fault, Place};
use crate::state::rows::{RowKey, Rows};

pub use crate::state::rows::{Grace, Op};

/// How often what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the time is noted while timers run and nothing else is written.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What is due within this time, in milliseconds, is a timer that runs.
const SOON: i64 = 60_000;
/// How often a write shows that the disk still takes one, while there is nothing else to write.
const IDLE: Duration = Duration::from_secs(30);
/// Commits that may be under way at once; more wait their turn.
const COMMITS: usize = 64;

/// Why there is no state at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "the state folder {} is used by another agent (process {pid}): stop it, or give this one a `state_dir` of its own",
        dir.display()
    )]
    Locked { dir: PathBuf, pid: String },
    #[error("the state file {} is opened by another program: close it and start again", path.display())]
    InUse { path: PathBuf },
    #[error("cannot start the database thread: {0}")]
    Thread(std::io::Error),
}

/// What a start finds. Timers are moved by the time the agent was down.
#[derive(Debug, Default)]
pub struct Loaded {
    pub rows: Rows,
    /// For how long nobody watched, in milliseconds; 0 for a fresh state.
    pub down_for: i64,
    /// Why an earlier state could not be used, with the name it was given.
    pub lost: Option<String>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Whether it is on the disk. If not, it is kept in memory and written when the disk allows.
    pub durable: bool,
}

/// The database thread has been stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state is closed")]
pub struct Closed;

/// How the state is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub durable: bool,
    /// Rows that wait to be written.
    pub backlog: usize,
    /// Why the last write failed; `None` after one that did not.
    pub error: Option<String>,
    /// Why an earlier state could not be used.
    pub lost: Option<String>,
}

/// The state's own metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    durable: Gauge,
    lost: Gauge,
    backlog: Gauge,
    commits: Counter,
    failures: Counter,
    seconds: Counter<f64, AtomicU64>,
}

impl Metrics {
    pub fn register(&self, registry: &mut Registry) {
        let mut gauge = |name, help, metric: &Gauge| registry.register(name, help, metric.clone());
        gauge(
            "watchkeeper_state_durable",
            "Whether accepted pages are on the disk (1) or in memory only (0)",
            &self.durable,
        );
        gauge(
            "watchkeeper_state_lost",
            "Whether an earlier state could not be used when the agent started",
            &self.lost,
        );
        gauge("watchkeeper_state_backlog_rows", "Rows that wait for the disk to take them", &self.backlog);
        registry.register("watchkeeper_state_commits", "Transactions on the state file", self.commits.clone());
        registry.register(
            "watchkeeper_state_commit_failures",
            "Transactions that the disk did not take",
            self.failures.clone(),
        );
        registry.register(
            "watchkeeper_state_commit_seconds",
            "Time spent in transactions, in seconds",
            self.seconds.clone(),
        );
    }
}

/// A handle to the database thread.
#[derive(Debug, Clone)]
pub struct State {
    jobs: SyncSender<Job>,
    places: Arc<Semaphore>,
    status: watch::Receiver<Status>,
    durable: Gauge,
}

enum Job {
    Commit { ops: Vec<Op>, done: oneshot::Sender<Committed> },
    Stop { done: oneshot::Sender<()> },
}

impl State {
    /// Opens the state in `dir` and starts its thread; it blocks while the file is read. A file that cannot be used
    /// is set aside; a disk that cannot be written is no error: what it holds is read, and the agent runs from
    /// memory. `now` is the agent's timeline.
    pub fn open(
        dir: &Path,
        metrics: Metrics,
        now: impl Fn() -> Timestamp + Send + 'static,
    ) -> Result<(State, Loaded), OpenError> {
        let durable = metrics.durable.clone();
        let (database, loaded) = Database::open(dir, metrics, Box::new(now))?;
        let (jobs, queue) = sync_channel(COMMITS);
        let (status, watched) = watch::channel(database.status());
        let thread = std::thread::Builder::new().name("state".to_owned());
        thread.spawn(move || serve(database, &queue, &status)).map_err(OpenError::Thread)?;
        Ok((State { jobs, places: Arc::new(Semaphore::new(COMMITS)), status: watched, durable }, loaded))
    }

    /// Writes the operations as one transaction, or keeps them until the disk takes them.
    pub async fn commit(&self, ops: Vec<Op>) -> Result<Committed, Closed> {
        let committed = self.ask(|done| Job::Commit { ops, done }).await;
        if committed.is_err() {
            self.durable.set(0);
        }
        committed
    }

    /// Writes what is left if the disk takes it, and closes the file. Later commits are an error.
    pub async fn stop(&self) {
        // An error says that it has stopped already.
        let _ = self.ask(|done| Job::Stop { done }).await;
    }

    /// Whether no commit is under way, for tests that move the time only then.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.places.available_permits() == COMMITS
    }

    /// How the state is, now and on each change.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Closed> {
        // As many places as the channel has: the send never blocks.
        let _place = self.places.acquire().await.map_err(|_| Closed)?;
        let (done, answer) = oneshot::channel();
        self.jobs.send(job(done)).map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

/// The thread: takes jobs until it is told to stop or every handle is gone. Commits that came meanwhile share one
/// transaction.
fn serve(mut database: Database, jobs: &Receiver<Job>, status: &watch::Sender<Status>) {
    loop {
        let first = match jobs.recv_timeout(database.patience()) {
            Ok(job) => Some(job),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return database.close(),
        };
        let (mut ops, mut waiting, mut stopped) = (Vec::new(), Vec::new(), None);
        for job in first.into_iter().chain(jobs.try_iter()) {
            match job {
                Job::Commit { ops: more, done } => {
                    ops.extend(more);
                    waiting.push(done);
                }
                Job::Stop { done } => stopped = Some(done),
            }
        }
        let durable = database.write(ops);
        status.send_if_modified(|known| std::mem::replace(known, database.status()) != *known);
        for done in waiting {
            // Whoever asked may have gone: it is committed all the same.
            let _ = done.send(Committed { durable });
        }
        if let Some(done) = stopped {
            database.close();
            let _ = done.send(());
            return;
        }
    }
}

/// The file, and what it has not taken yet.
struct Database {
    dir: PathBuf,
    path: PathBuf,
    now: Box<dyn Fn() -> Timestamp + Send>,
    metrics: Metrics,
    /// Held for as long as this lives.
    lock: Option<File>,
    /// `None` while the disk does not even let us open the file.
    connection: Option<Connection>,
    /// The file and its log as they were last written.
    place: Option<Place>,
    /// The disk may hold a state that was never read: it is set aside before anything is written over it.
    unread: bool,
    backlog: BTreeMap<RowKey, Op>,
    error: Option<String>,
    lost: Option<String>,
}

/// Why the file could not be opened for writing.
enum Refusal {
    Locked(String),
    Fault(Fault),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Fault(fault)
    }
}

impl Database {
    fn open(dir: &Path, metrics: Metrics, now: Box<dyn Fn() -> Timestamp + Send>) -> Result<(Self, Loaded), OpenError> {
        let mut database = Database {
            dir: dir.to_owned(),
            path: dir.join(format::FILE),
            now,
            metrics,
            lock: None,
            connection: None,
            place: None,
            unread: false,
            backlog: BTreeMap::new(),
            error: None,
            lost: None,
        };
        let mut rows = database.load()?;
        let down_for = resume::resume(&mut rows, (database.now)());
        let moved = |op: &Op| matches!(op, Op::PutAlert(_) | Op::PutGroup(_) | Op::PutGrace(_));
        let rewrite = rows.clone().into_ops().into_iter();
        match database.connection {
            // The moved timers and the time that they are moved to belong together.
            Some(_) => database.write(rewrite.filter(moved).collect()),
            // What is on the disk may not be there when it takes writes again.
            None => database.write(rewrite.collect()),
        };
        let lost = database.lost.clone();
        Ok((database, Loaded { rows, down_for, lost }))
    }

    /// Opens and reads what there is, or explains in `error` and `lost` why there is nothing.
    fn load(&mut self) -> Result<Rows, OpenError> {
        match self.connect() {
            Ok(rows) => Ok(rows),
            Err(Refusal::Locked(pid)) => Err(OpenError::Locked { dir: self.dir.clone(), pid }),
            Err(Refusal::Fault(Fault::InUse)) => Err(OpenError::InUse { path: self.path.clone() }),
            Err(Refusal::Fault(Fault::Unusable(reason))) => {
                self.replace(&reason);
                Ok(Rows::default())
            }
            Err(Refusal::Fault(Fault::Disk(error))) => {
                self.error = Some(error);
                Ok(self.load_read_only())
            }
        }
    }

    fn load_read_only(&mut self) -> Rows {
        if !self.path.exists() {
            self.unread = true;
            return Rows::default();
        }
        match format::read_only(&self.path) {
            Ok(rows) => rows,
            Err(Fault::Unusable(reason) | Fault::Disk(reason)) => {
                self.unread = true;
                self.lost = Some(format!("{} cannot be read: {reason}", self.path.display()));
                Rows::default()
            }
            Err(Fault::InUse) => Rows::default(),
        }
    }

    /// Sets the file aside and starts a fresh one; what fails is left for later.
    fn replace(&mut self, reason: &str) {
        let path = self.path.display();
        let made = match format::set_aside(&self.path, (self.now)()) {
            Ok(name) => {
                self.lost = Some(format!("{path} is set aside as {}: {reason}", name.display()));
                self.connect().map(|_| ())
            }
            Err(error) => {
                self.lost = Some(format!("{path} cannot be used: {reason}"));
                Err(Refusal::Fault(Fault::Disk(error.to_string())))
            }
        };
        self.unread = made.is_err();
        if let Err(refusal) = made {
            self.error = Some(refusal.reason());
        }
    }

    /// The folder, the lock and the file, for writing.
    fn connect(&mut self) -> Result<Rows, Refusal> {
        make_folder(&self.dir).map_err(Fault::from)?;
        if self.lock.is_none() {
            self.lock = Some(lock::take(&self.dir).map_err(|not| match not {
                lock::NotLocked::Held { pid } => Refusal::Locked(pid),
                lock::NotLocked::Disk(error) => Refusal::Fault(error.into()),
            })?);
        }
        let (connection, rows) = format::open(&self.path)?;
        self.connection = Some(connection);
        Ok(rows)
    }

    /// Tries the disk again. What it holds is known, unless it could not be read at the start.
    fn reconnect(&mut self) -> bool {
        let found = self.connect();
        let unread = std::mem::take(&mut self.unread);
        match found {
            Ok(rows) if unread && rows != Rows::default() => {
                self.connection = None;
                self.replace("it appeared while the agent was running from memory");
            }
            Ok(_) => {}
            Err(Refusal::Fault(Fault::Unusable(reason))) if unread => self.replace(&reason),
            Err(refusal) => {
                self.unread = unread;
                self.error = Some(refusal.reason());
            }
        }
        self.connection.is_some()
    }

    /// Adds the operations and writes everything that waits. Whether nothing waits any more.
    fn write(&mut self, ops: Vec<Op>) -> bool {
        self.backlog.extend(ops.into_iter().map(|op| (op.row(), op)));
        let was = self.error.is_none();
        let started = tokio::time::Instant::now();
        let written = self.flush();
        self.metrics.seconds.inc_by(started.elapsed().as_secs_f64());
        if written && !was {
            tracing::info!(file = %self.path.display(), "the state is durable again");
        }
        if let Some(error) = self.error.as_ref().filter(|_| was && !written) {
            tracing::error!(file = %self.path.display(), %error, "the state is not durable: pages are kept in memory");
        }
        self.metrics.durable.set(i64::from(written));
        self.metrics.lost.set(i64::from(self.lost.is_some()));
        self.metrics.backlog.set(i64::try_from(self.backlog.len()).unwrap_or(i64::MAX));
        written
    }

    fn flush(&mut self) -> bool {
        if self.place.is_some_and(|place| format::place(&self.path) != Some(place)) {
            self.move_out();
        }
        if self.connection.is_none() && !self.reconnect() {
            self.metrics.failures.inc();
            return false;
        }
        let Some(connection) = &mut self.connection else { return false };
        match format::write(connection, self.backlog.values(), (self.now)()) {
            Ok(()) => {
                self.metrics.commits.inc();
                self.backlog.clear();
                self.error = None;
                self.place = format::place(&self.path);
                true
            }
            Err(error) => {
                self.metrics.failures.inc();
                // A full disk needs nothing but room; anything else may have broken what SQLite holds.
                if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
                    self.connection = None;
                }
                self.error = Some(error.to_string());
                false
            }
        }
    }

    /// The file was deleted or replaced under us. What is open still takes writes, which no later start would find:
    /// all that it holds waits to be written anew.
    fn move_out(&mut self) {
        let (Some(connection), file) = (self.connection.take(), self.path.display()) else { return };
        tracing::error!(%file, "the state file was deleted or replaced while the agent was running: it is written anew");
        match Rows::read(&connection) {
            Ok(rows) => {
                let newer = std::mem::take(&mut self.backlog);
                self.backlog = rows.into_ops().into_iter().map(|op| (op.row(), op)).chain(newer).collect();
            }
            Err(error) => self.lost = Some(format!("{file} was deleted or replaced, and cannot be read: {error}")),
        }
        if format::is_at(&self.path, self.place) {
            // Only its log is gone: closing brings what that held into the file.
            drop(connection);
        } else {
            format::leave(connection);
            // The lock went with the folder; what may stand in its place is not ours.
            (self.lock, self.unread) = (None, true);
        }
        self.place = None;
    }

    /// For how long the thread waits before it writes of its own accord.
    fn patience(&self) -> Duration {
        let Some(connection) = self.connection.as_ref().filter(|_| self.backlog.is_empty()) else { return RETRY };
        // An alert that only fires has no timer, and of one that ends in hours half a minute does not matter.
        let sql = "SELECT EXISTS (SELECT 1 FROM alerts \
                WHERE state = 'pending' OR keep_firing_since IS NOT NULL OR held_since IS NOT NULL) \
            OR EXISTS (SELECT 1 FROM groups WHERE due < ?1) \
            OR EXISTS (SELECT 1 FROM graces WHERE ended = 0)";
        let soon = (self.now)() + SOON;
        let timers = connection.prepare_cached(sql).and_then(|mut any| any.query_row([soon], |row| row.get(0)));
        if timers.unwrap_or(true) { HEARTBEAT } else { IDLE }
    }

    fn status(&self) -> Status {
        Status {
            durable: self.error.is_none(),
            backlog: self.backlog.len(),
            error: self.error.clone(),
            lost: self.lost.clone(),
        }
    }

    fn close(self) {
        if let Some(Err((_, error))) = self.connection.map(Connection::close) {
            tracing::warn!(file = %self.path.display(), %error, "closing the state file");
        }
    }
}

impl Refusal {
    fn reason(self) -> String {
        match self {
            Refusal::Locked(pid) => format!("another agent (process {pid}) has taken the folder"),
            Refusal::Fault(Fault::InUse) => "another program has opened the file".to_owned(),
            Refusal::Fault(Fault::Unusable(reason) | Fault::Disk(reason)) => reason,
        }
    }
}

fn make_folder(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod cuts;
#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod tests;
