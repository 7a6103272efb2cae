use super::*;
use crate::net::NetSettings;
use crate::target::tests::target;

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_is_a_failed_probe_and_counts_against_the_target() {
    let report = guarded(LIMIT, async { panic!("a defect of the kind") }).await;
    let failure = report.failure.unwrap();
    assert_eq!(failure.reason, Reason::Panic);
    assert_eq!(Outcome::of(Some(&failure)), Outcome::Bad);
    assert!(failure.to_string().contains("please report"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_while_it_waits_or_hangs_is_a_failed_probe_too() {
    let late = async {
        tokio::time::sleep(LIMIT / 2).await;
        panic!("later")
    };
    assert_eq!(guarded(LIMIT, late).await.failure.unwrap().reason, Reason::Panic);
    let hanging = guarded(LIMIT, std::future::pending()).await;
    assert_eq!(hanging.failure.unwrap().reason, Reason::Timeout);
}

/// A task whose own looks nobody runs: the test says how they ended.
struct Scene {
    task: Task,
    shared: Arc<Shared>,
    _dir: tempfile::TempDir,
}

/// What tasks share, with a state folder of its own.
pub(in crate::target) fn shared(net: NetSettings) -> (Arc<Shared>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let (state, _) = State::open(dir.path(), crate::state::Metrics::default(), move || clock.now()).unwrap();
    let limits = crate::store::StoreLimits { series: 1_000, window: Duration::from_secs(360) };
    let shared = Arc::new(Shared {
        clock,
        store: Arc::new(Mutex::new(Store::new(limits))),
        board: Arc::default(),
        catalogue: Arc::default(),
        net: Arc::new(Net::new(net)),
        state,
        slots: Semaphore::new(64),
        metrics: Metrics::default(),
        memories: Memories::default(),
        node: "node".to_owned(),
    });
    (shared, dir)
}

/// Lets the tasks work until something is so.
pub(in crate::target) async fn until(shared: &Shared, what: &str, reached: impl Fn() -> bool) {
    let all = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(20), all).await;
    assert!(reached.is_ok(), "{what}: {:#?}", shared.board.views());
}

fn scene(kind: &str, settings: &str) -> Scene {
    let (shared, dir) = shared(NetSettings::default());
    let target = Arc::new(target("it", kind, settings));
    let place = Place { label: target.instance.clone(), net: shared.net.clone(), part: None };
    Scene { task: Task::new(target, shared.clone(), place, (None, None), Left::default()), shared, _dir: dir }
}

fn bad(reason: Reason, error: &str) -> Report {
    Report::failed(Failure::new(reason, "test", error))
}

impl Scene {
    fn finish(&mut self, path: Path, report: Report) {
        self.task.finish(path, report, Duration::ZERO);
    }

    /// The next look's path, and whether it comes before the next regular tick.
    fn next(&self) -> (Path, bool) {
        let (path, due) = self.task.next();
        (path, due - self.shared.clock.now() <= 250)
    }

    fn is_known(&self) -> bool {
        self.was_known(self.shared.clock.now())
    }

    fn was_known(&self, at: Timestamp) -> bool {
        self.shared.board.known(at)[0].1
    }
}

#[tokio::test]
async fn a_look_that_confirms_goes_before_the_other_path_s() {
    let mut scene = scene("redis", "url: redis://127.0.0.1:1");
    scene.finish(Path::Held, Report::default());
    scene.finish(Path::Fresh, bad(Reason::Timeout, "hangs"));
    assert_eq!(scene.next(), (Path::Fresh, true));
    scene.finish(Path::Fresh, bad(Reason::Timeout, "hangs"));
    assert_eq!(scene.shared.board.views()["it"].verdict, Verdict::Down);
}

#[tokio::test]
async fn a_restored_alert_s_target_is_known_when_both_paths_have_succeeded() {
    let mut scene = scene("redis", "url: redis://127.0.0.1:1");
    scene.finish(Path::Fresh, Report::default());
    assert_eq!(scene.shared.board.views()["it"].verdict, Verdict::Up);
    assert!(!scene.is_known(), "what the held connection reports is still missing");
    let before = scene.shared.clock.now() - 1;
    scene.finish(Path::Held, Report::default());
    assert!(scene.is_known());
    assert!(!scene.was_known(before), "rules that are evaluated late see nothing of it");
}

#[tokio::test]
async fn the_cause_is_what_fails_now_and_nothing_that_is_over() {
    let mut scene = scene("redis", "url: redis://127.0.0.1:1");
    let cause = |scene: &Scene| scene.shared.board.cause(&Labels::new([("target", "it")]));
    scene.finish(Path::Fresh, bad(Reason::Auth, "wrong password"));
    scene.finish(Path::Held, bad(Reason::Reset, "broke"));
    assert_eq!(cause(&scene).as_deref(), Some("test: broke"));
    scene.finish(Path::Held, Report::default());
    assert_eq!(cause(&scene).as_deref(), Some("test: wrong password"));
    scene.finish(Path::Fresh, Report::default());
    assert_eq!(cause(&scene), None);
}

#[tokio::test]
async fn a_connection_that_breaks_again_and_again_is_not_opened_twenty_times_a_second() {
    let mut scene = scene("redis", "url: redis://127.0.0.1:1");
    scene.finish(Path::Fresh, Report::default());
    scene.finish(Path::Held, Report::default());
    scene.task.broke(Failure::new(Reason::Reset, "held", "closed"));
    assert_eq!(scene.next(), (Path::Held, true));
    scene.finish(Path::Held, Report::default());
    scene.task.broke(Failure::new(Reason::Reset, "held", "closed"));
    assert!(!scene.next().1);
}

#[tokio::test]
async fn lateness_and_what_was_missed_are_counted() {
    let mut scene = scene("tcp", "address: 127.0.0.1:1");
    let now = scene.shared.clock.now();
    scene.task.look(Path::Fresh, now).await;
    let counts = |scene: &Scene| (scene.shared.metrics.late.get(), scene.shared.metrics.missed.get());
    assert_eq!(counts(&scene), (0, 0));
    scene.task.look(Path::Fresh, now - 600).await;
    assert_eq!(counts(&scene), (1, 0), "more than a tenth of the interval");
    scene.task.look(Path::Fresh, now - 11_000).await;
    assert_eq!(counts(&scene), (2, 2), "two whole intervals");
}

#[tokio::test]
async fn a_target_that_nobody_has_looked_at_for_too_long_is_unknown_and_the_agent_blind() {
    let mut scene = scene("tcp", "address: 127.0.0.1:1");
    let now = scene.shared.clock.now();
    scene.finish(Path::Fresh, Report::default());
    scene.task.expire(now + 12_000);
    assert_eq!(scene.shared.board.blind(), 0);
    scene.task.expire(now + 12_100);
    assert_eq!(scene.shared.board.views()["it"].verdict, Verdict::Unknown);
    assert_eq!(scene.shared.board.blind(), 1);
}

/// A service that takes connections and answers nobody, and a target that is looked at freshly.
async fn hanging() -> (tokio::net::TcpListener, Scene) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: http://{}/", listener.local_addr().unwrap());
    (listener, scene("http", &url))
}

/// Stops the whole process, as it sees it, for longer than a look's limit.
async fn stall() {
    tokio::task::yield_now().await;
    tokio::time::advance(2 * LIMIT).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_timed_out_while_the_agent_stood_still_is_made_again_at_once() {
    let (_listener, mut scene) = hanging().await;
    let due = scene.shared.clock.now();
    let verdict = |scene: &Scene| scene.shared.board.views()["it"].clone();
    tokio::join!(scene.task.look(Path::Fresh, due), stall());
    assert!(!verdict(&scene).looked, "it says nothing about the target");
    assert_eq!(scene.task.next(), (Path::Fresh, due));
    tokio::join!(scene.task.look(Path::Fresh, due), stall());
    assert!(verdict(&scene).failing, "an agent that is always late sees outages all the same");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_always_late_sees_an_outage_one_look_later() {
    let (_listener, mut scene) = hanging().await;
    for _ in 0..=scene.task.target.schedule.fall {
        let (path, due) = scene.task.next();
        tokio::join!(scene.task.look(path, due), stall());
    }
    assert_eq!(scene.shared.board.views()["it"].verdict, Verdict::Down);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_hangs_until_its_limit_counts_at_once() {
    let (_listener, mut scene) = hanging().await;
    let due = scene.shared.clock.now();
    scene.task.look(Path::Fresh, due).await;
    assert!(scene.shared.board.views()["it"].failing);
}
