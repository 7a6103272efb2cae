use super::*;
use crate::state::samples;

fn kept(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(row("here"), text.to_owned()), (LAST_ALIVE.to_owned(), "5000".to_owned())])
}

#[test]
fn an_answer_that_stood_when_the_agent_was_last_alive_is_as_old_as_that() {
    let kept = kept(
        r#"{"service":{"answer":"up","at":1000,"standing":true},"db":{"answer":"down","at":1000,"standing":false}}"#,
    );
    let decided = kept_answers(&kept, "here", 9_000);
    assert_eq!(
        decided,
        [Some(Decided { answer: Answer::Up, at: 5_000 }), Some(Decided { answer: Answer::Down, at: 1_000 })]
    );
    assert_eq!(kept_answers(&kept, "there", 9_000), [None, None], "another region's answer is nobody's");
}

#[test]
fn a_clock_that_was_set_back_makes_no_answer_of_the_future() {
    let kept = kept(r#"{"service":{"answer":"up","at":8000,"standing":true},"db":null}"#);
    assert_eq!(kept_answers(&kept, "here", 2_000)[0].map(|decided| decided.age(2_000)), Some(0));
}

#[test]
fn an_answer_that_cannot_be_read_is_none() {
    for text in ["", "[]", r#"{"service":{"answer":"perhaps","at":0,"standing":true}}"#] {
        assert_eq!(kept_answers(&kept(text), "here", 0), [None, None], "{text:?}");
    }
}

/// A region over a board and a state folder of its own.
struct Scene {
    region: Region,
    task: Task,
    board: Arc<Board>,
    dir: tempfile::TempDir,
}

fn parts(board: &Arc<Board>, dir: &tempfile::TempDir) -> (Parts, BTreeMap<String, String>) {
    let clock = Clock::start();
    let (state, loaded) =
        samples::opened(|| State::open(dir.path(), crate::state::Metrics::default(), move || clock.now()));
    let parts = Parts { clock, board: board.clone(), state, metrics: Metrics::default(), node: "node-7".to_owned() };
    (parts, loaded.rows.meta)
}

fn scene(settings: Option<Settings>) -> Scene {
    let (board, dir) = (Arc::new(Board::default()), tempfile::tempdir().unwrap());
    let (parts, kept) = parts(&board, &dir);
    let (region, task) = Region::new(settings, &kept, parts);
    Scene { region, task, board, dir }
}

fn settings(name: &str, targets: &[&str]) -> Option<Settings> {
    let input = |target: &&str| Input {
        target: (*target).to_owned(),
        database: false,
        latency: None,
        soft_latency: None,
        rise: 2,
        fall: 2,
    };
    let inputs = targets.iter().map(input).collect();
    Some(Settings { name: name.to_owned(), role: None, actionable: false, clean: Duration::from_secs(60), inputs })
}

impl Scene {
    /// The board shows this verdict on a target, `ago` milliseconds old.
    fn show(&self, target: &str, verdict: Verdict, ago: i64) {
        let now = self.task.parts.clock.now();
        let view = View {
            labels: crate::sample::Labels::new([("target", target), ("instance", "h:1")]),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            verdict,
            since: now - ago,
            looked: true,
            seen: Some(0),
            blind: false,
            last_look: now - ago,
            last_duration: Duration::from_millis(3),
            last_failure: None,
            failing: false,
            instances: Default::default(),
        };
        self.board.put(target, view);
    }

    async fn apply(&mut self, settings: Option<Settings>) {
        self.region.apply(settings);
        self.task.configure().await;
        self.task.step().await;
    }

    fn answer(&self) -> Option<Answer> {
        self.region.snapshot().unwrap().service.decided.map(|decided| decided.answer)
    }

    /// What a start would find.
    async fn kept(self) -> BTreeMap<String, String> {
        self.task.parts.state.stop().await;
        let Scene { board, dir, task, .. } = self;
        drop(task);
        parts(&board, &dir).1
    }
}

#[tokio::test]
async fn what_was_seen_too_long_ago_is_unknown() {
    let mut scene = scene(settings("here", &["api"]));
    scene.show("api", Verdict::Up, 11_000);
    scene.task.step().await;
    assert_eq!(scene.answer(), Some(Answer::Up));
    scene.show("api", Verdict::Up, 15_000);
    scene.task.step().await;
    let snapshot = scene.region.snapshot().unwrap();
    assert_eq!(snapshot.service.state, crate::region::State::Unknown);
    assert_eq!(snapshot.blindness(), ["cannot look at api"]);
    assert!(snapshot.is_frozen());
}

#[tokio::test]
async fn a_reload_under_the_same_name_keeps_the_answer() {
    let mut scene = scene(settings("here", &["api"]));
    scene.show("api", Verdict::Up, 0);
    scene.task.step().await;
    scene.apply(settings("here", &["api", "db"])).await;
    assert_eq!(scene.region.snapshot().unwrap().service.state, crate::region::State::Unknown);
    assert_eq!(scene.answer(), Some(Answer::Up));
    let kept = scene.kept().await;
    assert_eq!(kept_answers(&kept, "here", i64::MAX)[0].map(|decided| decided.answer), Some(Answer::Up));
}

#[tokio::test]
async fn another_name_begins_anew_and_the_old_answer_is_forgotten() {
    let mut scene = scene(settings("here", &["api"]));
    scene.show("api", Verdict::Up, 0);
    scene.task.step().await;
    scene.show("api", Verdict::Unknown, 0);
    scene.apply(settings("there", &["api"])).await;
    assert_eq!((scene.region.snapshot().unwrap().settings.name.as_str(), scene.answer()), ("there", None));
    scene.apply(None).await;
    assert!(scene.region.snapshot().is_none());
    let kept = scene.kept().await;
    assert!(kept.keys().all(|name| !name.starts_with(ROW)), "{kept:?}");
}

#[tokio::test]
async fn a_region_that_is_added_by_a_reload_is_judged_when_its_inputs_are() {
    let mut scene = scene(None);
    scene.task.step().await;
    assert!(scene.region.snapshot().is_none());
    scene.show("api", Verdict::Down, 0);
    scene.apply(settings("here", &["api"])).await;
    assert_eq!(scene.answer(), Some(Answer::Down));
}

#[tokio::test]
async fn an_answer_is_kept_before_it_is_shown() {
    let mut scene = scene(settings("here", &["api"]));
    scene.show("api", Verdict::Down, 0);
    let before = scene.region.snapshot().unwrap();
    assert_eq!(before.service.decided, None);
    scene.task.step().await;
    assert_eq!(scene.answer(), Some(Answer::Down));
    let kept = scene.kept().await;
    assert_eq!(kept_answers(&kept, "here", i64::MAX)[0].map(|decided| decided.answer), Some(Answer::Down));
}
