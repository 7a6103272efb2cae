//! What every kind must bear: servers that refuse, reset, stall, drip, flood and talk nonsense. A look ends by its
//! deadline with the right reason, takes a bounded part of what it is sent, leaves no connection behind, and
//! holds up nobody.
//!
//! A new kind joins by one [`Subject`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{KINDS, Path, Prober, Reason, Report, Settings};
use crate::net::fake::{Seen, Server, closed_port, read_to_end, write_for_ever};
use crate::net::{Net, NetSettings, within};

/// How long a look may take that is to run into its deadline, and one that is not.
const LIMIT: Duration = Duration::from_millis(300);
const AMPLE: Duration = Duration::from_secs(10);
/// What a flood may be taken in, in bytes: the largest cap of a kind, and what the kernel buffers at both ends.
const FLOOD_LIMIT: u64 = 32 * 1024 * 1024;

/// One kind, and what it must say of each fault. `None` is a good look.
struct Subject {
    kind: &'static str,
    /// How to look at this address.
    settings: fn(SocketAddr) -> Settings,
    /// A good answer to its first request: dripped, and cut in the middle.
    answer: &'static [u8],
    /// How an answer begins that has no end.
    flood: &'static [u8],
    refused: Option<Reason>,
    reset_at_once: Option<Reason>,
    closed_at_once: Option<Reason>,
    silent: Option<Reason>,
    dripping: Option<Reason>,
    flooding: Option<Reason>,
    garbled: Option<Reason>,
    cut_off: Option<Reason>,
}

const SUBJECTS: &[Subject] = &[
    Subject {
        kind: "http",
        settings: |address| Settings::from_url(&format!("http://{address}/")).unwrap().unwrap(),
        answer: b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nready ready ready ok",
        flood: b"HTTP/1.1 200 OK\r\n\r\n",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        // A body that is larger than what is read of it is no failure.
        flooding: None,
        garbled: Some(Reason::Protocol),
        cut_off: Some(Reason::Reset),
    },
    // Whether the page can be read is judged by the target's task.
    Subject {
        kind: "scrape",
        settings: |address| {
            Settings::Scrape(serde_json::from_value(json!({"url": format!("http://{address}/")})).unwrap())
        },
        answer: b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nready 1\nrequests 42\n",
        flood: b"HTTP/1.1 200 OK\r\n\r\n",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Body),
        garbled: Some(Reason::Protocol),
        cut_off: Some(Reason::Reset),
    },
    Subject {
        kind: "http over TLS",
        settings: |address| Settings::from_url(&format!("https://{address}/")).unwrap().unwrap(),
        // The beginning of a handshake record: type, version, length, ServerHello.
        answer: b"\x16\x03\x03\x00\x60\x02\x00\x00\x5c\x03\x03",
        flood: b"\x16\x03\x03\x40\x00\x02\xff\xff\xff",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Tls),
        garbled: Some(Reason::Tls),
        cut_off: Some(Reason::Reset),
    },
    Subject {
        kind: "tls",
        settings: |address| Settings::from_url(&format!("tls://{address}")).unwrap().unwrap(),
        answer: b"\x16\x03\x03\x00\x60\x02\x00\x00\x5c\x03\x03",
        flood: b"\x16\x03\x03\x40\x00\x02\xff\xff\xff",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Tls),
        garbled: Some(Reason::Tls),
        cut_off: Some(Reason::Reset),
    },
    // A port is good once it accepts: what it says or does then is not asked for.
    Subject {
        kind: "tcp",
        settings: |address| Settings::from_url(&format!("tcp://{address}")).unwrap().unwrap(),
        answer: b"hello",
        flood: b"",
        refused: Some(Reason::Refused),
        reset_at_once: None,
        closed_at_once: None,
        silent: None,
        dripping: None,
        flooding: None,
        garbled: None,
        cut_off: None,
    },
    Subject {
        kind: "postgres",
        settings: |address| {
            Settings::from_url(&format!("postgres://u:p@{address}/d?sslmode=disable")).unwrap().unwrap()
        },
        answer: b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I",
        // A parameter of 2 GiB.
        flood: b"R\0\0\0\x08\0\0\0\0S\x7f\xff\xff\xff",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Protocol),
        garbled: Some(Reason::Protocol),
        cut_off: Some(Reason::Reset),
    },
    Subject {
        kind: "redis",
        settings: |address| Settings::from_url(&format!("redis://{address}")).unwrap().unwrap(),
        answer: b"$20\r\npong pong pong pong \r\n",
        flood: b"$2000000000\r\n",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Protocol),
        garbled: Some(Reason::Protocol),
        cut_off: Some(Reason::Reset),
    },
    Subject {
        kind: "websocket",
        settings: |address| {
            let settings = serde_json::json!({"url": format!("ws://{address}/"), "hold": true});
            Settings::deserialize("websocket", settings).unwrap().unwrap()
        },
        answer: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        // A header that has no end.
        flood: b"HTTP/1.1 101 Switching Protocols\r\nX-Flood: ",
        refused: Some(Reason::Refused),
        reset_at_once: Some(Reason::Reset),
        closed_at_once: Some(Reason::Reset),
        silent: Some(Reason::Timeout),
        dripping: Some(Reason::Timeout),
        flooding: Some(Reason::Protocol),
        garbled: Some(Reason::Protocol),
        cut_off: Some(Reason::Reset),
    },
];

#[derive(Debug, Clone, Copy)]
enum Fault {
    ResetAtOnce,
    ClosedAtOnce,
    Silent,
    Dripping,
    Flooding,
    Garbled,
    CutOff,
}

use Fault::*;

const FAULTS: [Fault; 7] = [ResetAtOnce, ClosedAtOnce, Silent, Dripping, Flooding, Garbled, CutOff];

impl Subject {
    fn expects(&self, fault: Fault) -> Option<Reason> {
        match fault {
            ResetAtOnce => self.reset_at_once,
            ClosedAtOnce => self.closed_at_once,
            Silent => self.silent,
            Dripping => self.dripping,
            Flooding => self.flooding,
            Garbled => self.garbled,
            CutOff => self.cut_off,
        }
    }

    fn limit(&self, fault: Fault) -> Duration {
        if self.expects(fault) == Some(Reason::Timeout) { LIMIT } else { AMPLE }
    }

    async fn server(&self, fault: Fault) -> Server {
        let (answer, flood) = (self.answer, self.flood);
        Server::start(move |stream, seen| misbehave(stream, seen, fault, answer, flood)).await
    }

    /// Both ways of looking, for kinds that have both.
    fn paths(&self, address: SocketAddr) -> &'static [Path] {
        match (self.settings)(address).reconnect() {
            Some(_) => &[Path::Fresh, Path::Held],
            None => &[Path::Fresh],
        }
    }

    fn prober(&self, address: SocketAddr) -> Prober {
        (self.settings)(address).prober(Arc::new(Net::new(NetSettings::default())))
    }
}

async fn misbehave(mut stream: TcpStream, seen: Arc<Seen>, fault: Fault, answer: &'static [u8], flood: &'static [u8]) {
    match fault {
        ResetAtOnce => return stream.set_zero_linger().unwrap(),
        ClosedAtOnce => return,
        _ => {}
    }
    let mut request = [0; 4096];
    // Whoever says nothing gets no answer either, and is waited for.
    if !stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        return;
    }
    let _ = match fault {
        Dripping => drip(&mut stream, answer).await,
        Flooding => match stream.write_all(flood).await {
            Ok(()) => write_for_ever(&mut stream, &[b'x'; 16 * 1024], &seen).await,
            error => error,
        },
        Garbled => stream.write_all(&garbage()).await,
        CutOff => match stream.write_all(&answer[..answer.len() / 2]).await {
            Ok(()) => stream.shutdown().await,
            error => error,
        },
        _ => Ok(()),
    };
    read_to_end(&mut stream).await;
}

/// A byte now and then: always alive, never done within a look.
async fn drip(stream: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut tick = tokio::time::interval(LIMIT / 5);
    for byte in answer {
        tick.tick().await;
        stream.write_all(&[*byte]).await?;
    }
    Ok(())
}

fn garbage() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..512).map(|_| random.u8(..)).collect()
}

fn reason(report: &Report) -> Option<Reason> {
    report.failure.as_ref().map(|failure| failure.reason)
}

/// Kinds that ask no server: what they must bear is in their own tests.
const WITHOUT_A_SERVER: &[&str] = &["host"];

#[test]
fn every_kind_has_a_subject() {
    for kind in KINDS.iter().filter(|kind| !WITHOUT_A_SERVER.contains(&kind.name)) {
        assert!(SUBJECTS.iter().any(|subject| subject.kind == kind.name), "{}", kind.name);
    }
}

#[tokio::test]
async fn a_refused_look_says_so() {
    for subject in SUBJECTS {
        let address = closed_port().await;
        for path in subject.paths(address) {
            let report = within(AMPLE, subject.prober(address).look(*path)).await.unwrap();
            assert_eq!(reason(&report), subject.refused, "{} {path:?}", subject.kind);
        }
    }
}

#[tokio::test]
async fn every_fault_has_its_reason_by_the_deadline_and_leaves_no_connection() {
    for subject in SUBJECTS {
        for fault in FAULTS {
            let server = subject.server(fault).await;
            for (looks, path) in subject.paths(server.address).iter().enumerate() {
                let case = format!("{} {fault:?} {path:?}", subject.kind);
                let mut prober = subject.prober(server.address);
                // A look that has to be dropped reports nothing: each is to end by itself at its deadline.
                let report = within(subject.limit(fault), prober.look(*path)).await.expect(&case);
                assert_eq!(reason(&report), subject.expects(fault), "{case}: {:?}", report.failure);
                drop(prober);
                assert!(server.is_left_alone_after(looks + 1).await, "{case}: a connection is left open");
                assert!(server.seen.written.swap(0, SeqCst) < FLOOD_LIMIT, "{case}: a flood was swallowed");
            }
        }
    }
}

/// Not by its own deadline, but at any moment: the target's task may be stopped.
#[tokio::test]
async fn a_look_that_is_dropped_lets_go_of_its_connection() {
    for subject in SUBJECTS {
        for fault in [Silent, Dripping, Flooding] {
            let server = subject.server(fault).await;
            for (looks, path) in subject.paths(server.address).iter().enumerate() {
                let mut prober = subject.prober(server.address);
                let in_use = until(|| {
                    let (opened, written) = (server.seen.opened.load(SeqCst), server.seen.written.load(SeqCst));
                    opened > looks && (!matches!(fault, Flooding) || written > 0)
                });
                tokio::select! {
                    _ = prober.look(*path) => {}
                    () = in_use => {}
                }
                let case = format!("{} {fault:?} {path:?}", subject.kind);
                // The prober is kept: what was in use when its look was dropped may not be held either.
                assert!(server.is_left_alone_after(looks + 1).await, "{case}: a connection is left open");
                drop(prober);
                server.seen.written.store(0, SeqCst);
            }
        }
    }
}

async fn until(reached: impl Fn() -> bool) {
    while !reached() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_target_that_misbehaves_delays_no_other() {
    let healthy = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for subject in SUBJECTS {
        for fault in [Silent, Dripping, Flooding, Garbled] {
            let server = subject.server(fault).await;
            let mut bad = subject.prober(server.address);
            let mut good = (SUBJECTS[0].settings)(healthy.address).prober(Arc::new(Net::new(NetSettings::default())));
            let for_ever = async {
                loop {
                    let _ = within(LIMIT, bad.look(Path::Fresh)).await;
                }
            };
            let good = tokio::select! {
                good = within(AMPLE, good.look(Path::Fresh)) => good,
                () = for_ever => unreachable!(),
            };
            assert_eq!(good.unwrap().failure, None, "beside {} {fault:?}", subject.kind);
        }
    }
}

/// Of kinds that hold nothing; ten at a time.
#[tokio::test]
async fn ten_thousand_rounds_leak_no_connection() {
    const ROUNDS: usize = 10_000;
    const AT_ONCE: usize = 10;
    for kind in ["http", "tcp"] {
        let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let subject = SUBJECTS.iter().find(|subject| subject.kind == kind).unwrap();
        let rounds = (0..AT_ONCE).map(|_| {
            let mut prober = subject.prober(server.address);
            tokio::spawn(async move {
                for _ in 0..ROUNDS / AT_ONCE {
                    let report = within(AMPLE, prober.look(Path::Fresh)).await.unwrap();
                    assert_eq!(report.failure, None);
                }
            })
        });
        for round in rounds.collect::<Vec<_>>() {
            round.await.unwrap();
        }
        assert!(server.is_left_alone_after(ROUNDS).await, "{kind}");
        assert_eq!(server.seen.opened.load(SeqCst), ROUNDS, "{kind}");
    }
}
