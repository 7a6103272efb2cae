//! The outbox at every commit N: a power cut somewhere inside N leaves N−1 or N, never anything else.
//!
//! A story is played over the real state. For each of its commits, the database as it was before and the log as the
//! commit left it are copied, the log is cut at every byte that the commit wrote, and the file is opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::alert::group::{Dispatcher, Notification};
use crate::alert::route::{GroupBy, Route};
use crate::alert::{Alert, AlertState, Event, Resolution};
use crate::config::Alerting;
use crate::notify::Delivery;
use crate::notify::judge::Judgement;
use crate::notify::outbox::delivery;
use crate::notify::queue::{Limits, Outcome, Queue, Work};
use crate::state::rows::{LAST_ALIVE, RowKey, Rows};
use crate::state::{Committed, Grace, Metrics, Op, State, format, samples};

/// A folder in memory where there is one: hundreds of thousands of files are opened here.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files and what they must hold, after a commit.
struct Snapshot {
    database: Vec<u8>,
    log: Vec<u8>,
    rows: Rows,
    /// Pages that the receiver took, by (key, seq).
    delivered: BTreeSet<(String, i64)>,
}

/// The agent without its network: what is decided is committed, and what is committed is remembered twice, by the
/// state and by a plain map.
struct Story {
    page_size: usize,
    dir: tempfile::TempDir,
    state: State,
    now: Arc<AtomicI64>,
    dispatcher: Dispatcher,
    queue: Queue,
    model: BTreeMap<RowKey, Op>,
    delivered: BTreeSet<(String, i64)>,
    snapshots: Vec<Snapshot>,
}

fn alerting() -> Alerting {
    let route = Route {
        receiver: "pager".into(),
        matchers: vec![],
        continues: false,
        group_by: GroupBy::Labels(vec!["alertname".into()]),
        group_wait: Duration::ZERO,
        group_interval: Duration::ZERO,
        repeat_interval: Duration::from_secs(14_400),
        routes: vec![],
    };
    Alerting { route, receivers: vec![samples::receiver("pager")] }
}

impl Story {
    /// `page_size`: small pages make a commit few bytes, which makes every byte of it affordable.
    fn begin(page_size: usize) -> Self {
        let dir = folder();
        let empty = Connection::open(dir.path().join(format::FILE)).unwrap();
        empty.execute_batch(&format!("PRAGMA page_size = {page_size}; CREATE TABLE t (x); DROP TABLE t;")).unwrap();
        drop(empty);
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let clock = Arc::clone(&now);
        let (state, loaded) =
            State::open(dir.path(), Metrics::default(), move || clock.load(Ordering::Relaxed)).unwrap();
        assert_eq!(loaded.lost, None);
        let mut queue = Queue::new(Limits::default(), vec![], vec![], 1);
        queue.configure(&alerting().receivers, 0);
        let (model, delivered, snapshots) = Default::default();
        let dispatcher = Dispatcher::new(Some(&alerting()), vec![]).0;
        let mut story = Story { page_size, dir, state, now, dispatcher, queue, model, delivered, snapshots };
        story.remember();
        story
    }

    fn time(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    async fn commit(&mut self, ops: Vec<Op>) {
        self.now.fetch_add(1_000, Ordering::Relaxed);
        assert_eq!(self.state.commit(ops.clone()).await, Ok(Committed { durable: true }));
        for op in ops {
            self.learn(op);
        }
        self.remember();
    }

    /// The log is moved into the database after every 250 pages. The story begins shortly before.
    async fn come_near_a_checkpoint(&mut self) {
        let frame = self.page_size + 24;
        while self.snapshots.last().is_some_and(|last| last.log.len() < 220 * frame) {
            let grace = Grace { target: "db".into(), configured_at: self.time(), ended: true };
            self.commit(vec![Op::PutGrace(grace)]).await;
            self.snapshots.drain(..self.snapshots.len() - 1);
        }
    }

    fn learn(&mut self, op: Op) {
        match op {
            Op::Attempted { seq, attempts, last_error } => {
                if let Some(Op::PutDelivery(delivery)) = self.model.get_mut(&RowKey::Delivery(seq)) {
                    (delivery.attempts, delivery.last_error) = (attempts, Some(last_error));
                }
            }
            Op::PutAlert(_) | Op::PutGroup(_) | Op::PutDelivery(_) | Op::PutRefused(_) | Op::PutGrace(_) => {
                self.model.insert(op.row(), op);
            }
            _ => {
                self.model.remove(&op.row());
            }
        }
    }

    fn remember(&mut self) {
        let mut rows = Rows::default();
        for op in self.model.values().cloned() {
            match op {
                Op::PutAlert(alert) => rows.alerts.push(alert),
                Op::PutGroup(group) => rows.groups.push(group),
                Op::PutDelivery(delivery) => rows.deliveries.push(delivery),
                Op::PutRefused(refused) => rows.refused.push(refused),
                Op::PutGrace(grace) => rows.graces.push(grace),
                other => panic!("{other:?} leaves no row"),
            }
        }
        rows.meta.insert(LAST_ALIVE.to_owned(), self.time().to_string());
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap();
        let (database, log) = (read("state.db"), read("state.db-wal"));
        self.snapshots.push(Snapshot { database, log, rows, delivered: self.delivered.clone() });
    }

    /// Acceptance: the alert, its group and its deliveries are one transaction.
    async fn accept(&mut self, mut ops: Vec<Op>, events: &[Event]) {
        let dispatch = self.dispatcher.dispatch(events, self.time(), &BTreeSet::new());
        let mut deliveries = Vec::new();
        for notification in &dispatch.notifications {
            deliveries.push(self.prepare(notification));
        }
        for (key, group) in &dispatch.groups {
            ops.push(group.clone().map_or_else(|| Op::DeleteGroup(key.clone()), Op::PutGroup));
        }
        ops.extend(deliveries.iter().cloned().map(Op::PutDelivery));
        self.commit(ops).await;
        self.dispatcher.apply(dispatch);
        let now = self.time();
        self.queue.enqueue(deliveries, now);
    }

    fn prepare(&mut self, notification: &Notification) -> Delivery {
        let seq = self.queue.take_seq();
        let endpoint = &samples::receiver("pager").endpoints[0];
        let message = endpoint.settings.messages(notification, "http://127.0.0.1:7799").remove(0);
        delivery(&notification.receiver, &endpoint.id, message, seq, format!("msg_{seq}"), self.time())
    }

    async fn fires(&mut self, service: &str) {
        let alert = alert(service, self.time());
        self.accept(vec![Op::PutAlert(alert.clone())], &[Event::Fired(alert)]).await;
    }

    async fn resolves(&mut self, service: &str) {
        let id = alert(service, 0).id;
        let Some(Op::PutAlert(alert)) = self.model.get(&RowKey::Alert(id.clone())).cloned() else {
            panic!("{service}")
        };
        let event = Event::Resolved { alert, at: self.time(), reason: Resolution::Recovered };
        self.accept(vec![Op::DeleteAlert(id)], &[event]).await;
    }

    /// The receiver answers the next delivery.
    async fn answers(&mut self, judgement: Judgement) {
        self.now.fetch_add(120_000, Ordering::Relaxed);
        let now = self.time();
        let work = self.queue.start(now);
        let [work] = &work[..] else { panic!("one key has one delivery under way: {work:?}") };
        let (delivery, outcome) = match work {
            Work::Attempt(delivery) => (delivery, Outcome::Judged(judgement)),
            Work::Abandon(delivery) => (delivery, Outcome::Abandoned),
            other => panic!("{other:?}"),
        };
        if outcome == Outcome::Judged(Judgement::Done) && !delivery.resolve {
            self.delivered.insert((delivery.key.clone(), delivery.seq));
        }
        if outcome == Outcome::Abandoned || matches!(outcome, Outcome::Judged(Judgement::GiveUp { .. })) {
            self.delivered.insert((delivery.key.clone(), delivery.seq)); // settled, which is all that order asks
        }
        let ops = self.queue.settle(delivery, &outcome, now);
        self.commit(ops).await;
        self.queue.finish(delivery, &outcome, now);
    }
}

fn alert(service: &str, starts_at: i64) -> Alert {
    Alert { value: 0.0, ..samples::alert(service, starts_at) }
}

fn retry() -> Judgement {
    Judgement::Retry { after: None, reason: "status 503: come back later".into() }
}

async fn play(page_size: usize) -> Vec<Snapshot> {
    let mut story = Story::begin(page_size);
    let mut pending = alert("db", story.time());
    (pending.state, pending.starts_at) = (AlertState::Pending, None);
    story.come_near_a_checkpoint().await;
    story.commit(vec![Op::PutAlert(pending), Op::DeleteGrace("db".into())]).await;
    story.fires("db").await;
    story.answers(retry()).await;
    story.answers(Judgement::Done).await;
    story.fires("cache").await; // the group grows: a later page under the same key
    story.resolves("db").await; // and changes before that is delivered
    story.answers(Judgement::Done).await;
    story.answers(Judgement::Done).await;
    story.resolves("cache").await; // the group is forgotten
    story.answers(retry()).await;
    story.fires("db").await; // a second outage behind the resolve that still waits
    story.answers(Judgement::Done).await;
    story.answers(Judgement::GiveUp { reason: "status 400".into() }).await;
    story.resolves("db").await;
    story.answers(Judgement::Done).await; // which is abandoned: its page was refused
    story.fires("db").await;
    story.answers(Judgement::Done).await;
    assert!(story.queue.start(i64::MAX / 2).is_empty(), "nothing is left behind");
    story.snapshots
}

/// A log as a cut leaves it: `written` bytes of what commit `n` wrote are there.
struct Cut {
    n: usize,
    written: usize,
    complete: bool,
}

/// Where in the log a commit wrote: from the end of what was there, or from the start when the log began anew, to
/// the end of its last frame.
fn span(before: &Snapshot, after: &Snapshot) -> (usize, usize) {
    let old = before.log.iter().map(Some).chain(std::iter::repeat(None));
    let mut differ = after.log.iter().zip(old).enumerate().filter(|(_, (new, old))| Some(*new) != *old);
    let from = differ.next().map_or(0, |(at, _)| at);
    let last = differ.last().map_or(from, |(at, _)| at);
    let page_size = u32::from_be_bytes(after.log[8..12].try_into().unwrap());
    let frame = 24 + usize::try_from(page_size).unwrap();
    (from, 32 + (last + 1 - 32).div_ceil(frame) * frame)
}

/// Reopens what a cut leaves, in a folder of its own.
fn reopen(dir: &Path, database: &[u8], log: &[u8]) -> Rows {
    let path: PathBuf = dir.join(format::FILE);
    std::fs::write(&path, database).unwrap();
    std::fs::write(dir.join("state.db-wal"), log).unwrap();
    let (connection, rows) = format::open(&path).unwrap_or_else(|fault| panic!("{fault:?}"));
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    rows
}

fn no_resolve_stands_before_its_page(snapshot: &Snapshot) {
    for resolve in snapshot.rows.deliveries.iter().filter(|delivery| delivery.resolve) {
        let page = snapshot.rows.deliveries.iter().find(|page| page.key == resolve.key && page.seq < resolve.seq);
        let settled = snapshot.delivered.range((resolve.key.clone(), 0)..(resolve.key.clone(), resolve.seq)).count();
        assert!(page.is_some() || settled > 0, "{resolve:?} stands alone");
    }
}

/// Cuts every commit of the story where `at` says, on all cores. Returns how many cuts there were.
fn cut_everywhere(snapshots: &[Snapshot], every: usize) -> usize {
    let mut cuts = Vec::new();
    for n in 1..snapshots.len() {
        no_resolve_stands_before_its_page(&snapshots[n]);
        let (from, to) = span(&snapshots[n - 1], &snapshots[n]);
        let written = (from..to).step_by(every).chain([to]);
        cuts.extend(written.map(|written| Cut { n, written, complete: written == to }));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let dir = folder();
                while let Some(cut) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(dir.path(), snapshots, cut);
                }
            });
        }
    });
    cuts.len()
}

fn check(dir: &Path, snapshots: &[Snapshot], cut: &Cut) {
    let (before, after) = (&snapshots[cut.n - 1], &snapshots[cut.n]);
    let expected = if cut.complete { &after.rows } else { &before.rows };
    // What is not written yet is either not there, or what stood there before the log began anew.
    let short = after.log[..cut.written].to_vec();
    let mut logs = vec![short];
    if let Some(old) = before.log.get(cut.written..).filter(|old| !old.is_empty() && cut.written.is_multiple_of(31)) {
        logs.push([&logs[0], old].concat());
        logs.dedup_by(|overlaid, _| *overlaid == after.log); // its last bytes were there already
    }
    for log in logs {
        let rows = reopen(dir, &before.database, &log);
        assert!(rows == *expected, "commit {} cut at byte {}: {rows:#?}", cut.n, cut.written);
    }
}

#[tokio::test]
async fn a_cut_at_every_byte_of_every_commit_leaves_the_state_before_or_after_it() {
    let snapshots = play(512).await;
    let began_anew = |n: &usize| span(&snapshots[n - 1], &snapshots[*n]).0 < 32;
    println!(
        "{} commits, a log of {} bytes",
        snapshots.len(),
        snapshots.iter().map(|s| s.log.len()).max().unwrap_or(0)
    );
    assert!((1..snapshots.len()).any(|n| began_anew(&n)), "the story must pass a checkpoint");
    let started = tokio::time::Instant::now();
    let cuts = tokio::task::spawn_blocking(move || cut_everywhere(&snapshots, 1)).await.unwrap();
    println!("{cuts} cuts in {:?}", started.elapsed());
    assert!(cuts > 25_000, "{cuts}");
}

#[tokio::test]
async fn a_cut_of_the_pages_that_are_used_leaves_the_state_before_or_after_it() {
    let snapshots = play(4096).await;
    tokio::task::spawn_blocking(move || cut_everywhere(&snapshots, 1_009)).await.unwrap();
}
