use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::alert::{Alert, AlertState};
use crate::notify::Refused;

/// A state folder and a clock.
struct Bench {
    dir: tempfile::TempDir,
    now: Arc<AtomicI64>,
}

impl Bench {
    fn new() -> Self {
        Bench { dir: tempfile::tempdir().unwrap(), now: Arc::new(AtomicI64::new(1_000_000)) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn file(&self) -> PathBuf {
        self.path().join(format::FILE)
    }

    fn clock(&self) -> impl Fn() -> Timestamp + Send + 'static {
        let now = Arc::clone(&self.now);
        move || now.load(Ordering::Relaxed)
    }

    fn open(&self) -> (State, Loaded) {
        samples::opened(|| State::open(&self.path(), Metrics::default(), self.clock()))
    }

    fn database(&self) -> (Database, Loaded) {
        samples::opened(|| Database::open(&self.path(), Metrics::default(), Box::new(self.clock())))
    }
}

fn everything() -> Vec<Op> {
    let mut pending = samples::alert("cache", 0);
    (pending.state, pending.starts_at) = (crate::alert::AlertState::Pending, None);
    let refused = Refused {
        receiver: "chat".into(),
        endpoint: "webhook/1".into(),
        key: "k".into(),
        at: 5,
        reason: "status 400".into(),
    };
    vec![
        Op::PutAlert(samples::alert("db", 900_000)),
        Op::PutAlert(pending),
        Op::PutGroup(samples::group("pager", vec![samples::alert("db", 900_000)])),
        Op::PutDelivery(samples::delivery(1, "pager:{}", false)),
        Op::PutDelivery(samples::delivery(2, "pager:{}", true)),
        Op::Attempted { seq: 2, attempts: 3, last_error: "status 503".into() },
        Op::MoveDelivery { seq: 2, endpoint: "webhook/other".into() },
        Op::MoveDelivery { seq: 3, endpoint: "webhook/other".into() },
        Op::PutRefused(refused),
        Op::PutGrace(Grace { target: "db".into(), configured_at: 1, ended: true }),
        Op::PutMeta { name: "n".into(), value: "v".into() },
        Op::PutConfig(vec![("/etc/w.yml".into(), "listen: ${L}\n".into()), ("/etc/r.yml".into(), "groups: []".into())]),
    ]
}

/// As text, since a value may be NaN.
fn shown(rows: &Rows) -> String {
    format!("{rows:#?}")
}

#[tokio::test]
async fn what_is_committed_is_there_after_a_restart() {
    let bench = Bench::new();
    let (state, loaded) = bench.open();
    assert_eq!((shown(&loaded.rows), loaded.lost), (shown(&Rows::default()), None));
    assert_eq!(state.commit(everything()).await, Ok(Committed { durable: true }));
    state.stop().await;
    assert_eq!(state.commit(vec![]).await, Err(Closed));

    let (_, Loaded { rows, down_for, lost }) = bench.open();
    assert_eq!((down_for, lost), (0, None));
    assert_eq!(rows.alerts.iter().map(|alert| alert.id.labels.get("service")).collect::<Vec<_>>(), ["cache", "db"]);
    assert!(rows.alerts[0].value.is_nan());
    assert_eq!(rows.groups[0].members[0].alert.id, samples::alert("db", 0).id);
    assert_eq!(rows.deliveries[0], samples::delivery(1, "pager:{}", false));
    assert_eq!((rows.deliveries[1].attempts, rows.deliveries[1].last_error.as_deref()), (3, Some("status 503")));
    assert_eq!((rows.deliveries.len(), rows.deliveries[1].endpoint.as_str()), (2, "webhook/other"));
    assert_eq!((rows.refused.len(), rows.graces.len(), rows.meta["n"].as_str()), (1, 1, "v"));
    assert_eq!(rows.config[0], ("/etc/w.yml".to_owned(), "listen: ${L}\n".to_owned()));
}

#[tokio::test]
async fn every_row_can_be_deleted_and_deleting_twice_is_deleting_once() {
    let bench = Bench::new();
    let (state, _) = bench.open();
    state.commit(everything()).await.unwrap();
    let mut pending = samples::alert("cache", 0);
    pending.starts_at = None;
    let deletions = vec![
        Op::DeleteAlert(samples::alert("db", 0).id),
        Op::DeleteAlert(pending.id),
        Op::DeleteGroup("pager:{}".into()),
        Op::DeleteDelivery(1),
        Op::DeleteDelivery(2),
        Op::DeleteRefused { receiver: "chat".into(), endpoint: "webhook/1".into(), key: "k".into() },
        Op::DeleteGrace("db".into()),
        Op::DeleteMeta("n".into()),
        Op::PutConfig(vec![]),
    ];
    state.commit(deletions.clone()).await.unwrap();
    state.commit(deletions).await.unwrap();
    state.stop().await;
    let rows = bench.open().1.rows;
    assert_eq!(shown(&Rows { meta: [].into(), ..rows }), shown(&Rows::default()));
}

#[tokio::test]
async fn downtime_does_not_count_and_that_survives_the_next_restart() {
    let bench = Bench::new();
    let (state, _) = bench.open();
    let mut pending = samples::alert("db", 0);
    (pending.state, pending.starts_at, pending.active_at) = (crate::alert::AlertState::Pending, None, 990_000);
    state.commit(vec![Op::PutAlert(pending)]).await.unwrap();
    state.stop().await;
    for restart in 1..=2 {
        bench.now.fetch_add(3_600_000, Ordering::Relaxed);
        let (state, loaded) = bench.open();
        assert_eq!(loaded.rows.alerts[0].active_at, 990_000 + restart * 3_600_000);
        assert_eq!(loaded.down_for, 3_600_000);
        state.stop().await;
    }
}

#[test]
fn two_agents_do_not_share_a_folder() {
    let bench = Bench::new();
    let held = bench.open();
    let error = State::open(&bench.path(), Metrics::default(), bench.clock()).err().unwrap().to_string();
    assert!(error.contains(bench.path().to_str().unwrap()), "{error}");
    assert!(error.contains(&std::process::id().to_string()), "{error}");
    drop(held);
}

#[test]
fn folder_and_file_are_for_their_owner_only() {
    let bench = Bench::new();
    let _state = bench.open();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&bench.path()), mode(&bench.file())), (0o700, 0o600));
}

fn set_aside(bench: &Bench) -> Vec<String> {
    let names = std::fs::read_dir(bench.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut aside: Vec<String> = names.filter(|name| name.contains("set-aside")).collect();
    aside.sort();
    aside
}

/// Starts over what `spoil` makes of a state: it must be set aside, with what it held, and the start go on.
fn starts_over(spoil: impl Fn(&Path), reason: &str) {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    assert!(database.write(everything()));
    drop(database);
    spoil(&bench.file());
    let spoilt = std::fs::read(bench.file()).unwrap();
    let (mut database, loaded) = bench.database();
    let lost = loaded.lost.unwrap();
    assert!(lost.contains(reason), "{lost}");
    assert_eq!(shown(&Rows { meta: [].into(), ..loaded.rows }), shown(&Rows::default()));
    assert_eq!(database.metrics.lost.get(), 1);
    assert!(database.write(everything()), "{reason}: {:?}", database.status());
    let aside = set_aside(&bench);
    assert_eq!(std::fs::read(bench.path().join(&aside[0])).unwrap(), spoilt, "kept as it was");
    assert!(lost.contains(&aside[0]), "{lost}");
    drop(database);
    assert_eq!(bench.database().1.lost, None, "the next start finds a good one");
}

#[test]
fn a_file_that_is_not_ours_to_use_is_set_aside_and_the_watch_starts() {
    starts_over(|file| std::fs::write(file, [7; 100_000]).unwrap(), "file is not a database");
    let sql = |sql: &'static str| move |file: &Path| Connection::open(file).unwrap().execute_batch(sql).unwrap();
    starts_over(sql("PRAGMA application_id = 7"), "another application");
    starts_over(sql("PRAGMA user_version = 3"), "newer version");
    starts_over(sql("UPDATE groups SET members = '{'"), "expected a sequence");
    starts_over(sql("DROP TABLE refused"), "no such table");
    let torn = |file: &Path| {
        let mut bytes = std::fs::read(file).unwrap();
        for page in bytes.chunks_mut(4096).skip(1) {
            page[..64].fill(0xff);
        }
        std::fs::write(file, bytes).unwrap();
    };
    starts_over(torn, "");
}

#[test]
fn a_log_is_set_aside_with_its_database() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    database.write(everything());
    let mut log = std::fs::read(bench.path().join("state.db-wal")).unwrap();
    drop(database);
    std::fs::write(bench.file(), [7; 4096]).unwrap();
    log[..32].fill(7); // with a good one, SQLite would make the database whole again
    std::fs::write(bench.path().join("state.db-wal"), &log).unwrap();
    assert!(bench.database().1.lost.is_some());
    assert_eq!(set_aside(&bench).len(), 2);

    let orphan = Bench::new();
    std::fs::create_dir(orphan.path()).unwrap();
    std::fs::write(orphan.path().join("state.db-wal"), &log).unwrap();
    assert!(orphan.database().1.lost.unwrap().contains("log without its database"));
    assert_eq!(set_aside(&orphan).len(), 1);
}

#[test]
fn what_a_full_disk_does_not_take_is_kept_and_written_when_there_is_room() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    assert!(database.write(vec![Op::PutDelivery(samples::delivery(1, "a", false))]));
    let pages = |database: &Database, count: i64| {
        let connection = database.connection.as_ref().unwrap();
        connection.pragma_update_and_check(None, "max_page_count", count, |_| Ok(())).unwrap();
    };
    pages(&database, 1); // the size that it has
    let mut big = samples::delivery(2, "a", true);
    big.payload = "x".repeat(100_000).into();
    assert!(!database.write(vec![Op::PutDelivery(big.clone())]));
    let status = database.status();
    assert_eq!((status.durable, status.backlog), (false, 1));
    assert!(status.error.unwrap().contains("full"));
    assert_eq!(database.patience(), RETRY);
    assert!(!database.write(vec![Op::DeleteDelivery(1)]), "one transaction writes all of it, or nothing");
    assert!(!database.write(vec![Op::Attempted { seq: 2, attempts: 1, last_error: "e".into() }]));
    assert_eq!(database.status().backlog, 3);
    for attempts in 2..50 {
        database.write(vec![Op::Attempted { seq: 2, attempts, last_error: "e".into() }]);
    }
    assert_eq!(database.status().backlog, 3, "one operation for each row, however long it lasts");
    pages(&database, 1_000_000);
    assert!(database.write(vec![]));
    assert_eq!((database.status().durable, database.metrics.durable.get(), database.status().backlog), (true, 1, 0));
    drop(database);
    let rows = bench.database().1.rows;
    let expected = crate::notify::Delivery { attempts: 49, last_error: Some("e".into()), ..big };
    assert_eq!(rows.deliveries, [expected]);
}

#[test]
fn an_error_inside_a_transaction_leaves_nothing_of_it_behind() {
    let bench = Bench::new();
    let (database, _) = bench.database();
    let fail = "CREATE TRIGGER fail BEFORE INSERT ON deliveries BEGIN SELECT RAISE(FAIL, 'injected'); END";
    database.connection.as_ref().unwrap().execute_batch(fail).unwrap();
    let mut database = database;
    let delivery = Op::PutDelivery(samples::delivery(1, "a", false));
    assert!(!database.write(vec![Op::PutAlert(samples::alert("db", 0)), delivery]));
    assert_eq!(database.status().error.as_deref(), Some("injected"));
    let found = format::open(&bench.file()).map(|(connection, rows)| {
        connection.execute_batch("DROP TRIGGER fail").unwrap();
        rows.alerts.len()
    });
    assert!(matches!(found, Ok(0)), "the alert without its page");
    assert!(database.write(vec![]));
    drop(database);
    let rows = bench.database().1.rows;
    assert_eq!((rows.alerts.len(), rows.deliveries.len()), (1, 1));
}

#[test]
fn a_folder_that_cannot_be_made_runs_from_memory_and_is_written_when_it_can() {
    let bench = Bench::new();
    std::fs::write(bench.path(), "in the way").unwrap();
    let (mut database, loaded) = bench.database();
    assert_eq!(loaded.lost, None);
    assert!(!database.write(vec![Op::PutAlert(samples::alert("db", 0))]));
    assert_eq!(database.metrics.durable.get(), 0);
    std::fs::remove_file(bench.path()).unwrap();
    assert!(database.write(vec![]));
    drop(database);
    assert_eq!(bench.database().1.rows.alerts.len(), 1);
}

#[test]
fn a_state_that_appears_late_is_set_aside_and_not_mixed() {
    let bench = Bench::new();
    let (mut earlier, _) = bench.database();
    earlier.write(everything());
    drop(earlier);
    let hidden = bench.dir.path().join("hidden");
    std::fs::rename(bench.path(), &hidden).unwrap();
    std::fs::write(bench.path(), "in the way").unwrap();
    let (mut database, _) = bench.database();
    database.write(vec![Op::PutAlert(samples::alert("late", 0))]);
    std::fs::remove_file(bench.path()).unwrap();
    std::fs::rename(&hidden, bench.path()).unwrap();
    assert!(database.write(vec![]));
    assert!(database.status().lost.is_some());
    assert_eq!(set_aside(&bench).len(), 1);
    drop(database);
    assert_eq!(bench.database().1.rows.alerts.len(), 1);
}

#[test]
fn a_state_that_is_deleted_while_running_is_written_anew_with_all_that_it_held() {
    let remove_folder = |bench: &Bench| std::fs::remove_dir_all(bench.path()).unwrap();
    let remove_file = |bench: &Bench| std::fs::remove_file(bench.file()).unwrap();
    let remove_log = |bench: &Bench| std::fs::remove_file(bench.path().join("state.db-wal")).unwrap();
    let ways: [&dyn Fn(&Bench); 3] = [&remove_folder, &remove_file, &remove_log];
    for remove in ways {
        let bench = Bench::new();
        let (mut database, _) = bench.database();
        assert!(database.write(everything()));
        let before = Rows::read(database.connection.as_ref().unwrap()).unwrap();
        remove(&bench);
        assert!(database.write(vec![Op::DeleteDelivery(1)]), "{:?}", database.status());
        assert!(database.write(vec![Op::PutAlert(samples::alert("after", 1))]), "{:?}", database.status());
        drop(database);
        let rows = bench.database().1.rows;
        assert_eq!(rows.alerts.len(), before.alerts.len() + 1);
        assert_eq!(rows.deliveries.len(), before.deliveries.len() - 1);
        assert_eq!((rows.config, rows.refused), (before.config, before.refused));
    }
}

#[test]
fn a_state_that_is_put_in_the_place_of_a_running_one_is_set_aside() {
    let (bench, other) = (Bench::new(), Bench::new());
    let (mut database, _) = bench.database();
    database.write(vec![Op::PutAlert(samples::alert("ours", 0))]);
    let (mut foreign, _) = other.database();
    foreign.write(everything());
    drop(foreign);
    std::fs::remove_dir_all(bench.path()).unwrap();
    std::fs::rename(other.path(), bench.path()).unwrap();
    assert!(database.write(vec![]), "{:?}", database.status());
    assert_eq!(set_aside(&bench).len(), 1);
    drop(database);
    let rows = bench.database().1.rows;
    assert_eq!(rows.alerts.iter().map(|alert| alert.id.labels.get("service")).collect::<Vec<_>>(), ["ours"]);
}

/// Copies the files of a running state: what a kill leaves.
fn killed(bench: &Bench, names: &[&str]) -> Bench {
    let copy = Bench::new();
    std::fs::create_dir(copy.path()).unwrap();
    for name in names {
        std::fs::copy(bench.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_file_is_read_without_a_byte_being_written() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    database.write(everything());
    let with_log = killed(&bench, &["state.db", "state.db-wal"]);
    drop(database);
    assert!(!bench.path().join("state.db-wal").exists(), "a clean stop leaves no log");
    let clean = killed(&bench, &["state.db"]);
    for copy in [with_log, clean] {
        let files = || -> Vec<(String, Vec<u8>)> {
            let entries = std::fs::read_dir(copy.path()).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
        };
        let before = files();
        let rows = format::read_only(&copy.file()).unwrap();
        assert_eq!((rows.alerts.len(), rows.deliveries.len(), rows.config.len()), (2, 2, 2));
        assert!(files() == before);
    }
}

/// The frames of the log, and how many of them end a transaction.
fn log_frames(bench: &Bench) -> (usize, usize) {
    let log = std::fs::read(bench.path().join("state.db-wal")).unwrap();
    let frames: Vec<&[u8]> = log[32..].chunks(24 + 4096).collect();
    let commits = frames.iter().filter(|frame| frame[4..8] != [0; 4]).count();
    (frames.len(), commits)
}

#[test]
fn a_commit_is_one_transaction_and_touches_no_page_twice() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    let mut cost = |ops: Vec<Op>| {
        bench.now.fetch_add(1_000, Ordering::Relaxed); // a page that is written as it was is no page
        let before = log_frames(&bench);
        assert!(database.write(ops));
        let after = log_frames(&bench);
        (after.0 - before.0, after.1 - before.1)
    };
    let alert = samples::alert("db", 900_000);
    let group = samples::group("pager", vec![alert.clone()]);
    let page = samples::delivery(1, "pager:{}", false);
    // A page: alert, group (table and key), delivery, time. Its acknowledgement: delivery, time.
    let accept = vec![Op::PutAlert(alert.clone()), Op::PutGroup(group.clone()), Op::PutDelivery(page)];
    assert_eq!(cost(accept), (5, 1));
    assert_eq!(cost(vec![Op::Attempted { seq: 1, attempts: 1, last_error: "status 503".into() }]), (2, 1));
    assert_eq!(cost(vec![Op::DeleteDelivery(1)]), (2, 1));
    assert_eq!(cost(vec![]), (1, 1));
}

#[test]
fn the_time_is_noted_only_while_something_depends_on_it() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    assert_eq!(database.patience(), IDLE);
    let firing = samples::alert("db", 0);
    database.write(vec![Op::PutAlert(firing.clone())]);
    assert_eq!(database.patience(), IDLE, "it waits for nothing");
    let pending = Alert { state: AlertState::Pending, starts_at: None, ..firing.clone() };
    let kept = Alert { keep_firing_since: Some(1), ..firing.clone() };
    for waiting in [pending, kept, Alert { held_since: Some(1), ..firing.clone() }] {
        database.write(vec![Op::PutAlert(waiting)]);
        assert_eq!(database.patience(), HEARTBEAT);
    }
    database.write(vec![Op::DeleteAlert(firing.id.clone())]);
    let mut group = samples::group("pager", vec![firing]);
    for (due, patience) in [((database.now)() + 4 * 3_600_000, IDLE), ((database.now)() + 30_000, HEARTBEAT)] {
        group.due = Some(due);
        database.write(vec![Op::PutGroup(group.clone())]);
        assert_eq!(database.patience(), patience);
    }
    database.write(vec![Op::DeleteGroup(group.key)]);
    assert_eq!(database.patience(), IDLE);
}

#[test]
fn the_cache_stays_small_and_every_commit_is_synced() {
    let bench = Bench::new();
    let (database, _) = bench.database();
    let pragma = |name: &str| -> String {
        let value = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
        format!("{:?}", database.connection.as_ref().unwrap().pragma_query_value(None, name, value).unwrap())
    };
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
    assert_eq!(pragma("locking_mode"), r#"Text("exclusive")"#);
    assert_eq!(pragma("cache_size"), "Integer(-256)");
}

/// Makes the tables of deliveries and refused keys those of layout 1, with a row in each.
const LAYOUT_1: &str = r#"
    DROP TABLE deliveries; DROP TABLE refused;
    CREATE TABLE deliveries (
        seq INTEGER PRIMARY KEY NOT NULL, receiver TEXT NOT NULL, webhook INTEGER NOT NULL, key TEXT NOT NULL,
        id TEXT NOT NULL, first INTEGER NOT NULL, resolve INTEGER NOT NULL, accepted_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL, last_error TEXT, payload TEXT NOT NULL
    ) STRICT;
    CREATE TABLE refused (
        receiver TEXT NOT NULL, webhook INTEGER NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (receiver, webhook, key)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO deliveries VALUES (7, 'pager', 1, 'k', 'msg_7', 1, 0, 5, 3, 'status 503', '{}');
    INSERT INTO refused VALUES ('pager', 2, 'l', 6, 'status 400');
    PRAGMA user_version = 1;
"#;

#[test]
fn a_file_of_the_first_layout_is_brought_up_to_date_with_what_waits_in_it() {
    let bench = Bench::new();
    let (mut database, _) = bench.database();
    assert!(database.write(vec![Op::PutAlert(samples::alert("db", 0))]));
    drop(database);
    Connection::open(bench.file()).unwrap().execute_batch(LAYOUT_1).unwrap();
    let read_only = format::read_only(&bench.file()).unwrap();
    for restart in 0..2 {
        let (database, loaded) = bench.database();
        assert_eq!(loaded.lost, None);
        let delivery = &loaded.rows.deliveries[0];
        let place = (delivery.seq, delivery.endpoint.as_str(), delivery.attempts, &*delivery.payload);
        assert_eq!(place, (7, "webhook/#1", 3, &b"{}"[..]), "after {restart} restarts");
        assert_eq!((loaded.rows.refused[0].endpoint.as_str(), loaded.rows.alerts.len()), ("webhook/#2", 1));
        assert_eq!((&read_only.deliveries, &read_only.refused), (&loaded.rows.deliveries, &loaded.rows.refused));
        drop(database);
    }
}
