//! The receivers of the day: they answer by their mood, and write down what they accept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::book::Book;
use crate::clock::Clock;
use crate::notify::judge::Answer;
use crate::notify::send::{Request, Send};
use crate::sample::Timestamp;

/// How an endpoint takes an attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Turn {
    Takes,
    /// It has it, and says so later.
    TakesSlowly,
    /// It has it, and its answer is lost.
    TakesAndHangs,
    TakesAndBreaks,
    Hangs,
    Refuses,
    Breaks,
    SlowDown,
}

#[derive(Clone)]
pub struct Receivers {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    book: Book,
    /// Of each endpoint: what happens at one changes nothing at another.
    random: BTreeMap<String, fastrand::Rng>,
    seed: u64,
    /// Until when a receiver is down, by its name.
    down: BTreeMap<&'static str, Timestamp>,
    attempts: usize,
    /// From here on all goes well.
    calm: bool,
}

impl Receivers {
    pub fn new(clock: Clock, seed: u64) -> Self {
        let inner = Inner {
            book: Book::default(),
            random: BTreeMap::new(),
            seed,
            down: BTreeMap::new(),
            attempts: 0,
            calm: false,
        };
        Receivers { clock, inner: Arc::new(Mutex::new(inner)) }
    }

    pub fn send(&self) -> Send {
        let this = self.clone();
        Arc::new(move |request| {
            let this = this.clone();
            Box::pin(async move { this.take(request).await })
        })
    }

    pub fn go_down(&self, receiver: &'static str, until: Timestamp) {
        self.lock().down.insert(receiver, until);
    }

    /// Whether a receiver is down now, or was until shortly before.
    pub fn was_down(&self, receiver: &str, since: Timestamp) -> bool {
        self.lock().down.get(receiver).is_some_and(|until| *until > since)
    }

    pub fn calm_down(&self) {
        let mut inner = self.lock();
        inner.down.clear();
        inner.calm = true;
    }

    pub fn attempts(&self) -> usize {
        self.lock().attempts
    }

    /// Works with what was accepted.
    pub fn book<T>(&self, work: impl FnOnce(&mut Book) -> T) -> T {
        work(&mut self.lock().book)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    async fn take(self, request: Request) -> Result<Answer, String> {
        let url = url::Url::parse(request.url.expose()).unwrap();
        let endpoint = endpoint(&url);
        let id = request.headers.iter().find(|(name, _)| *name == "webhook-id").map(|(_, id)| id.expose().to_owned());
        let turn = self.lock().turn(&endpoint, self.clock.now());
        if matches!(turn, Turn::Takes | Turn::TakesSlowly | Turn::TakesAndHangs | Turn::TakesAndBreaks) {
            let (now, body) = (self.clock.now(), request.body.clone());
            self.book(|book| book.accept(&endpoint, id.as_deref(), &body, now));
        }
        let status = match turn {
            Turn::Takes => 200,
            Turn::TakesSlowly => {
                tokio::time::sleep(Duration::from_secs(4)).await;
                200
            }
            Turn::TakesAndHangs | Turn::Hangs => std::future::pending().await,
            Turn::TakesAndBreaks => return Err("request: the connection was reset".to_owned()),
            Turn::Refuses => return Err("connect: connection refused".to_owned()),
            Turn::Breaks => 500,
            Turn::SlowDown => 429,
        };
        let retry_after = (turn == Turn::SlowDown).then(|| "20".to_owned());
        Ok(Answer { status, retry_after, body: if status == 200 { "ok".to_owned() } else { String::new() } })
    }
}

impl Inner {
    fn turn(&mut self, endpoint: &str, now: Timestamp) -> Turn {
        self.attempts += 1;
        if self.calm {
            return Turn::Takes;
        }
        let seed = endpoint.bytes().fold(self.seed, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let random = self.random.entry(endpoint.to_owned()).or_insert_with(|| fastrand::Rng::with_seed(seed));
        let receiver = endpoint.split('/').next().unwrap_or_default();
        if self.down.get(receiver).is_some_and(|until| now < *until) {
            return [Turn::Refuses, Turn::Hangs, Turn::Breaks, Turn::SlowDown][random.usize(..4)];
        }
        match random.u8(0..100) {
            0..6 => Turn::TakesSlowly,
            6..8 => Turn::TakesAndHangs,
            8..10 => Turn::TakesAndBreaks,
            10..12 => Turn::Hangs,
            12..14 => Turn::Breaks,
            14 => Turn::SlowDown,
            _ => Turn::Takes,
        }
    }
}

/// `receiver/kind/place` of `http://…/receiver/move/kind/place…`.
fn endpoint(url: &url::Url) -> String {
    let mut parts = url.path_segments().unwrap();
    let receiver = parts.next().unwrap_or_default().to_owned();
    let rest: Vec<&str> = parts.skip(1).take(2).collect();
    format!("{receiver}/{}", rest.join("/"))
}
