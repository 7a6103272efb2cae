use std::time::Duration;

use super::*;
use crate::net::NetSettings;
use crate::net::fake::{Server, closed_port};
use crate::sample::{Labels, METRIC_NAME};
use crate::store;
use crate::target::task::tests::{shared, until};
use crate::target::tests::target;
use crate::target::verdict::Verdict;
use crate::target::{Priority, Target};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

struct Scene {
    watch: Watch,
    shared: Arc<Shared>,
    _state: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let (shared, state) = shared(NetSettings::default());
        Scene { watch: Watch::new(shared.clone()), shared, _state: state }
    }

    async fn apply(&mut self, targets: &[Target]) -> Applied {
        self.watch.apply(targets.to_vec(), &BTreeMap::new()).await
    }

    /// The series of a metric: by their labels, with the newest value.
    fn series(&self, metric: &str) -> Vec<(Labels, f64)> {
        let store = store::lock(&self.shared.store);
        let newest = store.newest(self.shared.clock.now());
        let of_metric = newest.filter(|(labels, ..)| labels.get(METRIC_NAME) == metric);
        of_metric.map(|(labels, value, _)| (labels.clone(), value)).collect()
    }

    fn up(&self) -> Vec<f64> {
        self.series("watchkeeper_target_up").into_iter().map(|(_, value)| value).collect()
    }

    fn verdict(&self) -> Option<Verdict> {
        self.shared.board.view("it").map(|view| view.verdict)
    }

    async fn until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        until(&self.shared, what, || reached(self)).await;
    }
}

/// Looked at often; nothing else is patient either.
fn often(mut target: Target) -> Target {
    target.schedule.interval = Duration::from_millis(100);
    target.schedule.timeout = Duration::from_millis(90);
    target.schedule.confirm = Duration::from_millis(10);
    target
}

fn http(server: &Server) -> Target {
    target("it", "http", &format!("url: '{}'", server.url("/")))
}

fn looks(server: &Server) -> usize {
    server.seen.opened.load(std::sync::atomic::Ordering::SeqCst)
}

#[tokio::test]
async fn what_has_not_changed_runs_on_untouched() {
    let server = Server::answering(OK).await;
    let mut scene = Scene::new();
    // At its interval of 5 s a second look would be that of a new task.
    let it = http(&server);
    let applied = scene.apply(std::slice::from_ref(&it)).await;
    assert_eq!(applied, Applied { added: vec!["it".to_owned()], ..Applied::default() });
    scene.until("up", |scene| scene.up() == [1.0]).await;
    let before = looks(&server);
    let (task, stop) = (scene.watch.watched["it"].task, scene.watch.watched["it"].stop.clone());
    let other = Target { name: "other".to_owned(), ..target("other", "tcp", "address: '127.0.0.1:1'") };
    assert_eq!(scene.apply(&[it, other]).await.changed, [""; 0]);
    scene.until("the other to be looked at", |scene| scene.shared.board.view("other").unwrap().looked).await;
    assert_eq!(scene.watch.watched["it"].task, task);
    assert!(Arc::ptr_eq(&stop, &scene.watch.watched["it"].stop));
    assert!(looks(&server) <= before + 1, "it may have had its tick, and no look of a new task besides");
}

#[tokio::test]
async fn a_removed_target_ends_with_its_series_and_its_view() {
    let server = Server::answering(OK).await;
    let mut scene = Scene::new();
    scene.apply(&[http(&server)]).await;
    scene.until("up", |scene| scene.up() == [1.0]).await;
    assert_eq!(scene.apply(&[]).await.removed, ["it"]);
    assert_eq!(scene.verdict(), None);
    assert_eq!(scene.series("probe_success"), []);
    scene.apply(&[http(&server)]).await;
    scene.until("up again", |scene| scene.up() == [1.0]).await;
}

#[tokio::test]
async fn an_outage_stands_while_its_target_s_settings_change_and_one_good_look_ends_it() {
    let address = closed_port().await;
    let mut scene = Scene::new();
    let it = often(target("it", "http", &format!("url: 'http://{address}/'")));
    scene.apply(std::slice::from_ref(&it)).await;
    scene.until("down", |scene| scene.up() == [0.0]).await;
    let since = scene.shared.board.view("it").unwrap().since;

    // Settings that mend nothing: no moment without the verdict, not even before the first look.
    let mut still_bad = it.clone();
    still_bad.schedule.rise = 100;
    assert_eq!(scene.apply(std::slice::from_ref(&still_bad)).await.changed, ["it"]);
    assert_eq!((scene.up(), scene.verdict()), (vec![0.0], Some(Verdict::Down)));
    let look = scene.shared.board.view("it").unwrap().last_look;
    scene.until("a look", |scene| scene.shared.board.view("it").unwrap().last_look > look).await;
    assert_eq!((scene.up(), scene.verdict()), (vec![0.0], Some(Verdict::Down)));
    assert_eq!(scene.shared.board.view("it").unwrap().since, since, "it is the same outage");

    // Settings that fit: what is down for a hundred good looks is up after the first with the new settings.
    let _server = Server::answering_on(address, OK).await;
    let mut mended = still_bad.clone();
    mended.schedule.interval = Duration::from_secs(60);
    scene.apply(&[mended]).await;
    scene.until("up", |scene| scene.up() == [1.0]).await;
}

#[tokio::test]
async fn a_target_that_is_up_is_looked_at_at_once_with_its_new_settings_and_needs_its_failures_to_be_down() {
    let server = Server::answering(OK).await;
    let mut scene = Scene::new();
    let it = http(&server);
    scene.apply(std::slice::from_ref(&it)).await;
    scene.until("up", |scene| scene.up() == [1.0]).await;
    let before = looks(&server);
    let mut changed = it;
    changed.schedule.interval = Duration::from_secs(3_600);
    scene.apply(std::slice::from_ref(&changed)).await;
    assert_eq!((scene.up(), scene.verdict()), (vec![1.0], Some(Verdict::Up)));
    scene.until("looked at", |_| looks(&server) > before).await;
    drop(server);
    changed.schedule.confirm = Duration::from_millis(20);
    scene.apply(&[changed]).await;
    scene.until("down", |scene| scene.up() == [0.0]).await;
}

#[tokio::test]
async fn other_labels_are_other_series_and_the_old_end() {
    let server = Server::answering(OK).await;
    let mut scene = Scene::new();
    let it = http(&server);
    scene.apply(std::slice::from_ref(&it)).await;
    scene.until("up", |scene| scene.up() == [1.0]).await;
    let renamed = Target { service: "another".to_owned(), ..it.clone() };
    scene.apply(std::slice::from_ref(&renamed)).await;
    assert_eq!(scene.up(), [0.0; 0], "the old have ended, the new have no verdict yet");
    scene.until("up again", |scene| scene.up() == [1.0]).await;
    assert_eq!(scene.series("watchkeeper_target_up")[0].0.get("service"), "another");

    // The priority stands on the verdict only.
    scene.apply(&[Target { priority: Priority::P0, ..renamed }]).await;
    scene
        .until("P0 alone", |scene| {
            let series = scene.series("watchkeeper_target_up");
            series.len() == 1 && series[0].0.get("priority") == "P0"
        })
        .await;
}

#[tokio::test]
async fn another_content_of_a_secret_s_file_is_another_target_and_a_new_inode_is_not() {
    let server = Server::answering(OK).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one").unwrap();
    let mut scene = Scene::new();
    let it = Target { files: vec![file.path().to_owned()], ..http(&server) };
    scene.apply(std::slice::from_ref(&it)).await;
    let again = file.path().with_extension("again");
    std::fs::write(&again, "one").unwrap();
    std::fs::rename(&again, file.path()).unwrap();
    assert_eq!(scene.apply(std::slice::from_ref(&it)).await, Applied::default());
    std::fs::write(file.path(), "two").unwrap();
    assert_eq!(scene.apply(&[it]).await.changed, ["it"]);
}

#[tokio::test]
async fn a_task_that_breaks_is_told_of() {
    let mut scene = Scene::new();
    scene.watch.tasks.spawn(async { panic!("a defect") });
    let (part, error) = scene.watch.broken().await;
    assert_eq!(part, "targets");
    assert!(error.contains("a defect"), "{error}");
    let pending = tokio::time::timeout(Duration::from_millis(50), scene.watch.broken());
    assert!(pending.await.is_err(), "one that watches nothing is not broken");
}

#[tokio::test]
async fn what_is_kept_of_a_target_goes_with_it() {
    let mut scene = Scene::new();
    let it = target("it", "tcp", "address: '127.0.0.1:1'");
    scene.apply(std::slice::from_ref(&it)).await;
    let memories = &scene.shared.memories;
    memories.keep("it", "127.0.0.1:1", "peak 7".to_owned(), &scene.shared.state);
    memories.keep("it", "127.0.0.1:1", "x".repeat(5_000), &scene.shared.state);
    assert_eq!(memories.of("it", "127.0.0.1:1").as_deref(), Some("peak 7"), "too much is not kept");
    scene.apply(std::slice::from_ref(&it)).await;
    assert!(scene.shared.memories.of("it", "127.0.0.1:1").is_some());
    scene.apply(&[]).await;
    assert_eq!(scene.shared.memories.of("it", "127.0.0.1:1"), None);
}
