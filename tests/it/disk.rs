//! The state folder on a disk that is full, read-only or in use: the watch goes on, and says so.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use watchkeeper::notify::Delivery;
use watchkeeper::state::{Committed, Grace, Loaded, Metrics, Op, State};

use crate::configuration::paging;
use crate::support::agent::{Agent, Setup};
use crate::support::http::{Answer, HttpService};
use crate::support::mount::Tmpfs;
use crate::support::receiver::Receiver;
use crate::support::wait::{SOON, eventually, until};

/// Two services, and an agent that watches them with its state on a small disk.
struct Scene {
    one: HttpService,
    two: HttpService,
    receiver: Receiver,
    disk: Tmpfs,
}

impl Scene {
    fn new() -> Self {
        let service = || HttpService::start(Answer::Status(200));
        Scene { one: service(), two: service(), receiver: Receiver::start(), disk: Tmpfs::mount(4096) }
    }

    fn setup(&self) -> Setup {
        let more = format!(
            "
state_dir: {}/state
targets:
  one: {{http: {{url: \"{}\"}}}}
  two: {{http: {{url: \"{}\"}}}}
",
            self.disk.path().display(),
            self.one.url("/"),
            self.two.url("/")
        );
        paging(&self.receiver, &more)
    }

    fn start(&self) -> Agent {
        let agent = self.setup().start();
        agent.wait_for_verdict("one", true);
        agent.wait_for_verdict("two", true);
        agent
    }

    fn wait_for_page(&self, target: &str) -> String {
        let of_target = |alert: &serde_json::Value| alert["status"] == "firing" && alert["labels"]["target"] == target;
        let what = format!("the page for {target}");
        let page = self.receiver.wait_for(&what, SOON, |delivery| delivery.alerts().iter().any(of_target));
        page.group_key().to_owned()
    }

    fn wait_for_resolve(&self, target: &str) -> String {
        let of_target =
            |alert: &serde_json::Value| alert["status"] == "resolved" && alert["labels"]["target"] == target;
        let what = format!("the resolve for {target}");
        let resolve = self.receiver.wait_for(&what, SOON, |delivery| delivery.alerts().iter().any(of_target));
        resolve.group_key().to_owned()
    }
}

fn wait_for_durable(agent: &Agent, durable: bool) {
    let wanted = Some(f64::from(u8::from(durable)));
    until(&format!("watchkeeper_state_durable {wanted:?}"), SOON, || {
        agent.metric("watchkeeper_state_durable") == wanted
    });
}

#[test]
fn a_disk_that_fills_up_stops_no_page_and_is_caught_up_with() {
    let scene = Scene::new();
    let mut agent = scene.start();
    wait_for_durable(&agent, true);
    let ballast = scene.disk.fill();
    scene.one.answer(Answer::Status(503));
    let key = scene.wait_for_page("one");
    wait_for_durable(&agent, false);
    let said = agent.wait_for_line("that it is not durable", |line| line["attributes"]["file"].is_string());
    assert_eq!(said["level"], "error", "{said}");
    assert!(said["path"].is_null(), "the standard field is a request's path: {said}");

    std::fs::remove_file(ballast).unwrap();
    wait_for_durable(&agent, true);
    agent.kill9();
    agent.start_again();
    agent.wait_for_verdict("one", false);
    scene.one.answer(Answer::Status(200));
    assert_eq!(scene.wait_for_resolve("one"), key, "what was paged while the disk was full is known after a kill");
    let pages = scene.receiver.accepted().iter().filter(|delivery| delivery.status() == "firing").count();
    assert_eq!(pages, 1, "{}", scene.receiver.dump());
}

#[test]
fn a_state_that_is_not_durable_pages_by_itself() {
    let scene = Scene::new();
    let receiver = &scene.receiver;
    let more = format!(
        "state_dir: {}/state\ntargets: {{one: {{http: {{url: \"{}\"}}}}}}",
        scene.disk.path().display(),
        scene.one.url("/")
    );
    let agent = crate::configuration::paging_everything(receiver, &more).start();
    wait_for_durable(&agent, true);
    let ballast = scene.disk.fill();
    scene.one.answer(Answer::Status(503));
    receiver.wait_for_page("StateNotDurable", Duration::from_secs(60));
    std::fs::remove_file(ballast).unwrap();
    receiver.wait_for_resolve("StateNotDurable", Duration::from_secs(90));
    wait_for_durable(&agent, true);
}

#[test]
fn an_agent_starts_on_a_read_only_disk_that_holds_its_state() {
    let scene = Scene::new();
    let mut agent = scene.start();
    scene.one.answer(Answer::Status(503));
    let key = scene.wait_for_page("one");
    assert!(agent.terminate().success());
    scene.disk.make_read_only();
    agent.start_again();
    wait_for_durable(&agent, false);
    scene.two.answer(Answer::Status(503));
    scene.wait_for_page("two");
    scene.one.answer(Answer::Status(200));
    assert_eq!(scene.wait_for_resolve("one"), key, "what was paged before is known");
}

#[test]
fn an_agent_starts_on_a_read_only_disk_without_state() {
    let scene = Scene::new();
    scene.disk.make_read_only();
    let agent = scene.start();
    wait_for_durable(&agent, false);
    scene.one.answer(Answer::Status(503));
    let key = scene.wait_for_page("one");
    scene.one.answer(Answer::Status(200));
    assert_eq!(scene.wait_for_resolve("one"), key);
}

#[test]
fn a_second_agent_on_the_same_folder_ends_with_a_clear_error() {
    let scene = Scene::new();
    let mut first = scene.start();
    let second = scene.setup().run_to_end();
    assert_eq!(second.code, Some(1), "{second:?}");
    let folder = scene.disk.path().join("state").display().to_string();
    let said = format!("{}{}", second.output, second.errors);
    assert!(said.contains(&folder), "it names the folder: {said}");
    assert!(first.is_running());
}

#[test]
fn a_torn_state_file_is_set_aside_and_pages() {
    let scene = Scene::new();
    let more = format!("state_dir: {}/state", scene.disk.path().display());
    let mut agent = crate::configuration::paging_everything(&scene.receiver, &more).start();
    wait_for_durable(&agent, true);
    agent.kill9();
    let folder = scene.disk.path().join("state");
    let mut torn = files_in(&folder);
    // With the log whole, the database would be whole again.
    torn.retain(|path| path.extension().is_some_and(|extension| extension == "db" || extension == "db-wal"));
    assert_eq!(torn.len(), 2, "{torn:?}");
    for path in torn {
        std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    }
    agent.start_again();
    scene.receiver.wait_for_page("StateLost", Duration::from_secs(60));
    let aside = files_in(&folder).iter().any(|path| std::fs::read(path).is_ok_and(|bytes| bytes == [0x5a; 8192]));
    assert!(aside, "what could not be read is kept beside: {:?}", files_in(&folder));
}

#[test]
fn a_state_folder_that_is_deleted_while_the_agent_runs_is_made_anew_and_loses_no_page() {
    let scene = Scene::new();
    let mut agent = scene.start();
    scene.one.answer(Answer::Status(503));
    let key = scene.wait_for_page("one");
    let folder = scene.disk.path().join("state");
    std::fs::remove_dir_all(&folder).unwrap();
    scene.two.answer(Answer::Status(503));
    scene.wait_for_page("two");
    // With nothing else to write, it looks every 30 s.
    until("the state file", 2 * SOON, || folder.join("state.db").exists());
    wait_for_durable(&agent, true);
    agent.kill9();
    agent.start_again();
    agent.wait_for_verdict("one", false);
    scene.one.answer(Answer::Status(200));
    assert_eq!(scene.wait_for_resolve("one"), key, "what was paged before the folder was deleted is known");
}

fn open_state(folder: &Path) -> (State, Loaded) {
    static NOW: AtomicI64 = AtomicI64::new(1_000_000);
    // A process that another test starts has a copy of the lock that was let go, for as long as it is not itself.
    eventually("the folder to be free", SOON, || {
        State::open(folder, Metrics::default(), || NOW.fetch_add(1, Ordering::Relaxed))
    })
}

fn delivery(seq: i64, size: usize) -> Op {
    Op::PutDelivery(Delivery {
        seq,
        receiver: "pager".into(),
        endpoint: "webhook/0".into(),
        key: "pager:{}".into(),
        id: format!("msg_{seq}"),
        first: true,
        resolve: false,
        accepted_at: 0,
        attempts: 0,
        last_error: None,
        payload: "x".repeat(size).into(),
    })
}

async fn durable(state: &State, ops: Vec<Op>) -> bool {
    let Committed { durable } = state.commit(ops).await.unwrap();
    durable
}

#[tokio::test]
async fn a_state_on_a_read_only_disk_is_read_and_all_of_it_written_when_the_disk_takes_it() {
    for stopped_cleanly in [true, false] {
        let disk = Tmpfs::mount(4096);
        let folder = disk.path().join("state");
        let (state, _) = open_state(&folder);
        let grace = Grace { target: "db".into(), configured_at: 0, ended: true };
        let config = vec![("configuration: w.yml".to_owned(), "targets: {}".to_owned())];
        let ops = vec![delivery(1, 100), delivery(2, 100), Op::PutGrace(grace), Op::PutConfig(config)];
        assert!(durable(&state, ops).await);
        let names = ["state.db", "state.db-wal"];
        let killed = names.map(|name| std::fs::read(folder.join(name)).unwrap());
        state.stop().await;
        if !stopped_cleanly {
            names.iter().zip(killed).for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
        }

        disk.make_read_only();
        let (state, loaded) = open_state(&folder);
        assert_eq!((loaded.lost, loaded.rows.deliveries.len()), (None, 2));
        assert!(!durable(&state, vec![delivery(3, 100), Op::DeleteDelivery(1)]).await);
        disk.make_writable();
        assert!(durable(&state, vec![]).await, "{:?}", state.status().borrow());
        state.stop().await;
        let (state, Loaded { rows, .. }) = open_state(&folder);
        let left: Vec<i64> = rows.deliveries.iter().map(|delivery| delivery.seq).collect();
        assert_eq!((left, rows.config.len(), rows.graces.len()), (vec![2, 3], 1, 1));
        state.stop().await;
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_start_and_while_running_is_caught_up_with() {
    let disk = Tmpfs::mount(4096);
    let folder = disk.path().join("state");
    let ballast = disk.fill();
    let (state, loaded) = open_state(&folder);
    assert_eq!(loaded.lost, None);
    assert!(!durable(&state, vec![delivery(1, 100)]).await);
    std::fs::remove_file(ballast).unwrap();
    assert!(durable(&state, vec![]).await, "{:?}", state.status().borrow());
    let ballast = disk.fill();
    let mut last = true;
    for seq in 2..32 {
        last = durable(&state, vec![delivery(seq, 50_000)]).await;
    }
    assert!(!last, "the disk is full");
    std::fs::remove_file(ballast).unwrap();
    assert!(durable(&state, vec![]).await, "{:?}", state.status().borrow());
    state.stop().await;
    let (state, loaded) = open_state(&folder);
    assert_eq!(loaded.rows.deliveries.len(), 31);
    state.stop().await;
}

fn files_in(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
