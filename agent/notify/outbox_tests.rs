use std::collections::VecDeque;

use super::*;
use crate::notify::judge::Answer;
use crate::state::rows::Rows;
use crate::state::{self, samples};

/// A receiver with an answer for each attempt, in order (the last one for all that follow), which writes down what
/// it sees.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Result<u16, &'static str>>>>,
    seen: Arc<Mutex<Vec<(String, String)>>>,
}

impl Script {
    fn new(answers: &[Result<u16, &'static str>]) -> Self {
        Script { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Script::default() }
    }

    fn next(&self) -> Option<Result<u16, &'static str>> {
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front() } else { answers.front().copied() }
    }

    fn send(&self) -> Send {
        let script = self.clone();
        Arc::new(move |request| {
            let script = script.clone();
            Box::pin(async move {
                let header = |wanted| request.headers.iter().find(|(name, _)| *name == wanted);
                let id = header("webhook-id").map(|(_, id)| id.expose().to_owned()).unwrap();
                let body = String::from_utf8(request.body.to_vec()).unwrap();
                script.seen.lock().unwrap().push((id, body));
                let answer = script.next();
                match answer {
                    Some(Ok(0)) => std::future::pending().await,
                    Some(Ok(1)) => panic!("the attempt breaks"),
                    Some(Ok(status)) => Ok(Answer { status, retry_after: None, body: String::new() }),
                    Some(Err(error)) => Err(error.to_owned()),
                    None => panic!("no answer is scripted"),
                }
            })
        })
    }

    /// What was seen, as (webhook-id, status of the payload).
    fn seen(&self) -> Vec<(String, String)> {
        let status = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["status"].to_string();
        self.seen.lock().unwrap().iter().map(|(id, body)| (id.clone(), status(body))).collect()
    }

    async fn until_seen(&self, count: usize) {
        until(|| self.seen.lock().unwrap().len() >= count).await;
    }
}

async fn until(mut done: impl FnMut() -> bool) {
    let patience = Duration::from_secs(20);
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(patience, wait).await.expect("it did not happen");
}

fn receivers() -> Vec<Receiver> {
    vec![samples::receiver("pager")]
}

/// An agent's outbox over a state folder.
struct Agent {
    state: State,
    outbox: Outbox,
    rows: Rows,
}

fn start(dir: &std::path::Path, script: &Script, limits: Limits) -> Agent {
    let clock = Clock::start();
    let (state, loaded) = samples::opened(|| State::open(dir, state::Metrics::default(), move || clock.now()));
    let parts = Parts {
        receivers: receivers(),
        external_url: "http://127.0.0.1:7799".into(),
        limits,
        send: script.send(),
        state: state.clone(),
        clock,
        metrics: Metrics::default(),
    };
    let rows = loaded.rows;
    let (outbox, ops) = Outbox::start(parts, rows.deliveries.clone(), rows.refused.clone());
    assert!(ops.is_empty());
    Agent { state, outbox, rows }
}

impl Agent {
    async fn accept(&self, key: &str, resolve: bool) -> String {
        let told = crate::alert::group::Notified {
            alert: samples::alert("db", 1_000),
            resolved: resolve
                .then_some(crate::alert::group::Resolved { at: 2_000, reason: crate::alert::Resolution::Recovered }),
            first: !resolve,
            news: true,
        };
        let notification = Notification {
            key: key.to_owned(),
            receiver: "pager".into(),
            group_labels: crate::sample::Labels::default(),
            alerts: vec![told],
            first: !resolve,
            news: !resolve,
        };
        let deliveries = self.outbox.prepare(&notification, 1_000);
        let id = deliveries[0].id.clone();
        self.state.commit(deliveries.iter().cloned().map(Op::PutDelivery).collect()).await.unwrap();
        self.outbox.enqueue(deliveries);
        id
    }

    async fn stop(self, patience: Duration) {
        self.outbox.stop(Instant::now() + patience).await;
        self.state.stop().await;
    }

    fn depth(&self) -> usize {
        self.outbox.status()[0].depth
    }
}

#[tokio::test]
async fn a_page_and_its_resolve_arrive_in_order_and_leave_nothing_behind() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Ok(503), Err("connection refused"), Ok(200)]));
    let agent = start(dir.path(), &script, Limits::default());
    let page = agent.accept("k", false).await;
    let resolve = agent.accept("k", true).await;
    until(|| agent.depth() == 0).await;
    let firing = (page, r#""firing""#.to_owned());
    let expected = [firing.clone(), firing.clone(), firing, (resolve, r#""resolved""#.to_owned())];
    assert_eq!(script.seen(), expected, "one id in every attempt, and the resolve after its page was taken");
    let (_, error) = agent.outbox.status()[0].last_error.clone().unwrap();
    assert_eq!(error, "connection refused");
    agent.stop(Duration::from_secs(5)).await;
    assert!(start(dir.path(), &script, Limits::default()).rows.deliveries.is_empty());
}

#[tokio::test]
async fn what_is_accepted_is_sent_after_a_restart_with_the_same_id() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Ok(0), Ok(204)]));
    let agent = start(dir.path(), &script, Limits::default());
    let page = agent.accept("k", false).await;
    let resolve = agent.accept("k", true).await;
    script.until_seen(1).await;
    let begun = Instant::now();
    agent.stop(Duration::from_millis(50)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "a receiver that hangs does not hold the stop up");
    let agent = start(dir.path(), &script, Limits::default());
    assert_eq!(agent.rows.deliveries.len(), 2);
    until(|| agent.depth() == 0).await;
    let ids: Vec<String> = script.seen().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [page.clone(), page, resolve]);
}

#[tokio::test]
async fn a_stop_is_heard_while_a_failing_receiver_is_waited_for() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Err("connection refused")]));
    let agent = start(dir.path(), &script, Limits::default());
    agent.accept("k", false).await;
    script.until_seen(1).await;
    let begun = Instant::now();
    agent.stop(Duration::from_secs(60)).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(start(dir.path(), &script, Limits::default()).rows.deliveries[0].attempts, 1);
}

#[tokio::test]
async fn an_attempt_that_breaks_is_a_failed_one() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Ok(1), Ok(200)]));
    let agent = start(dir.path(), &script, Limits::default());
    agent.accept("k", false).await;
    until(|| agent.depth() == 0).await;
    assert_eq!(script.seen().len(), 2);
}

#[tokio::test]
async fn the_resolve_of_a_refused_page_is_not_sent_even_after_a_restart() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Ok(400), Ok(200)]));
    let agent = start(dir.path(), &script, Limits::default());
    agent.accept("k", false).await;
    until(|| agent.depth() == 0).await;
    assert_eq!(agent.outbox.status()[0].refused_keys, 1);
    agent.stop(Duration::from_secs(5)).await;
    let agent = start(dir.path(), &script, Limits::default());
    agent.accept("k", true).await;
    until(|| agent.depth() == 0).await;
    assert_eq!((script.seen().len(), agent.outbox.status()[0].refused_keys), (1, 0));
    let next = agent.accept("k", false).await;
    until(|| agent.depth() == 0).await;
    assert_eq!(script.seen()[1].0, next, "the next outage pages");
}

#[tokio::test]
async fn a_disabled_receiver_gets_another_try_at_the_next_reload() {
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Ok(410), Ok(200)]));
    let agent = start(dir.path(), &script, Limits::default());
    agent.accept("k", false).await;
    until(|| agent.outbox.status()[0].disabled).await;
    assert_eq!(agent.depth(), 1);
    assert!(agent.outbox.reload(receivers()).is_empty());
    until(|| agent.depth() == 0).await;
}

#[tokio::test]
async fn a_receiver_without_room_is_told_nothing_more_until_there_is_some_and_the_gauges_say_so() {
    let limits = Limits { deliveries: 1, ..Limits::default() };
    let (dir, script) = (tempfile::tempdir().unwrap(), Script::new(&[Err("connection refused"), Ok(200)]));
    let agent = start(dir.path(), &script, limits);
    assert!(agent.outbox.full().is_empty());
    agent.accept("k", false).await;
    script.until_seen(1).await;
    assert!(agent.outbox.full().contains("pager"));
    until(|| agent.outbox.status()[0].failing).await;
    let shown = |agent: &Agent| {
        agent.outbox.observe();
        let mut registry = prometheus_client::registry::Registry::default();
        agent.outbox.shared.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    let text = shown(&agent);
    for line in [
        r#"watchkeeper_outbox_depth{receiver="pager"} 1"#,
        r#"watchkeeper_delivery_failing{receiver="pager"} 1"#,
        r#"watchkeeper_delivery_attempts_total{receiver="pager",outcome="retry"} 1"#,
        r#"watchkeeper_outbox_full{receiver="pager"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    until(|| agent.outbox.full().is_empty()).await;
    assert!(shown(&agent).contains(r#"watchkeeper_outbox_depth{receiver="pager"} 0"#));
}
