mod load;

use std::future::Future;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Prober, Settings};
use crate::net::fake::{Server, read_head, read_to_end, write_for_ever};
use crate::net::{Net, NetSettings, within};
use crate::probe::{Path, Reason, Report};

const AMPLE: Duration = Duration::from_secs(10);
/// For looks that are to run into it, once they have upgraded; less than the load may take.
const SHORT: Duration = Duration::from_millis(800);

/// A frame from a server: unmasked, in one piece.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(length),
        _ => frame.extend([[126].as_slice(), &u16::try_from(payload.len()).unwrap().to_be_bytes()].concat()),
    }
    frame.extend_from_slice(payload);
    frame
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(8, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A short frame from a client: opcode and payload, unmasked.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    use tokio::io::AsyncReadExt;
    let opcode = stream.read_u8().await.ok()? & 0x0f;
    let length = stream.read_u8().await.ok()?;
    assert!((0x80..0xfe).contains(&length), "a client's frame is masked, and ours are short");
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await.ok()?;
    let mut payload = vec![0; usize::from(length & 0x7f)];
    stream.read_exact(&mut payload).await.ok()?;
    payload.iter_mut().enumerate().for_each(|(at, byte)| *byte ^= mask[at % 4]);
    Some((opcode, payload))
}

fn accepted(request: &str, more: &str) -> String {
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
}

/// A server that upgrades and then does as it is told.
async fn gateway<F, S>(serve: F) -> Server
where
    F: Fn(TcpStream) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    gateway_with("", serve).await
}

async fn gateway_with<F, S>(headers: &'static str, serve: F) -> Server
where
    F: Fn(TcpStream) -> S + Clone + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    Server::start(move |mut stream, seen| {
        let serve = serve.clone();
        async move {
            let request = read_head(&mut stream).await;
            seen.requests.lock().unwrap().push(request.clone());
            if stream.write_all(accepted(&request, headers).as_bytes()).await.is_ok() {
                serve(stream).await;
            }
        }
    })
    .await
}

/// Pongs and closes as RFC 6455 has it; what it was sent besides goes into `heard`.
async fn behave(mut stream: TcpStream, heard: Arc<Mutex<Vec<u8>>>) {
    while let Some((opcode, payload)) = read_frame(&mut stream).await {
        heard.lock().unwrap().push(opcode);
        let answer = match opcode {
            9 => frame(10, &payload),
            8 => frame(8, &payload),
            _ => continue,
        };
        if stream.write_all(&answer).await.is_err() || opcode == 8 {
            return;
        }
    }
}

async fn well_behaved() -> (Server, Arc<Mutex<Vec<u8>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = heard.clone();
    (gateway(move |stream| behave(stream, told.clone())).await, heard)
}

/// Sends these bytes after the upgrade, whatever is said to it.
async fn saying(bytes: Vec<u8>) -> Server {
    gateway(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.write_all(&bytes).await;
            read_to_end(&mut stream).await;
        }
    })
    .await
}

fn configured(server: &Server, mut more: serde_json::Value) -> Prober {
    more["url"] = format!("ws://{}/chat", server.address).into();
    let settings: Settings = serde_json::from_value(more).unwrap();
    assert_eq!(settings.check(), []);
    Prober::new(settings, Arc::new(Net::new(NetSettings::default())))
}

fn prober(server: &Server) -> Prober {
    configured(server, serde_json::json!({}))
}

async fn look_within(limit: Duration, prober: &mut Prober, path: Path) -> Report {
    within(limit, prober.look(path)).await.unwrap()
}

async fn look(prober: &mut Prober) -> Report {
    look_within(AMPLE, prober, Path::Fresh).await
}

fn value(report: &Report, name: &str) -> Option<f64> {
    report.readings.iter().find(|reading| reading.metric.name == name).map(|reading| reading.value)
}

#[track_caller]
fn failed(report: &Report, reason: Reason) -> String {
    let failure = report.failure.clone().expect("a failure");
    assert_eq!(failure.reason, reason, "{failure}");
    failure.to_string()
}

fn phases(report: &Report) -> Vec<&'static str> {
    report.phases.iter().map(|(phase, _)| *phase).collect()
}

#[tokio::test]
async fn a_look_upgrades_pings_and_closes_and_sends_no_message() {
    let (server, heard) = well_behaved().await;
    let report = look(&mut prober(&server)).await;
    assert_eq!((report.failure.as_ref(), &report.warnings), (None, &Vec::new()));
    assert_eq!(phases(&report), ["resolve", "connect", "upgrade", "ping", "close"]);
    assert_eq!(value(&report, "probe_websocket_connection_upgraded"), Some(1.0));
    assert_eq!(value(&report, "probe_websocket_status_code"), Some(101.0));
    assert_eq!(value(&report, "probe_ip_protocol"), Some(4.0));
    assert!(server.is_left_alone_after(1).await);
    assert_eq!(*heard.lock().unwrap(), [9, 8], "a ping and a close");
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /chat HTTP/1.1\r\n") && !request.contains("Extensions"), "{request}");
}

#[tokio::test]
async fn every_phase_is_reported_and_zero_where_it_was_not_reached() {
    let server = Server::answering("HTTP/1.1 503 Service Unavailable\r\n\r\n").await;
    let report = look(&mut prober(&server)).await;
    let phases = report.readings.iter().filter(|reading| reading.metric.name == "probe_websocket_duration_seconds");
    let phases: Vec<_> = phases.map(|reading| (reading.labels[0].1.as_str(), reading.value > 0.0)).collect();
    let wanted = ["resolve", "connect", "tls", "upgrade", "ping", "close"];
    assert_eq!(phases.iter().map(|(phase, _)| *phase).collect::<Vec<_>>(), wanted);
    assert_eq!(phases[3..].iter().map(|(_, took)| *took).collect::<Vec<_>>(), [true, false, false]);
}

#[tokio::test]
async fn any_answer_but_101_is_told_with_its_status() {
    for (status, remark) in [
        ("200 OK", "check the URL's path"),
        ("401 Unauthorized", "see `headers`"),
        ("404 Not Found", "check the URL's path"),
        ("503 Service Unavailable", "wanted 101"),
        ("301 Moved Permanently", "redirects are not followed"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno");
        let server = Server::answering(answer).await;
        let report = look(&mut prober(&server)).await;
        let error = failed(&report, Reason::Status);
        assert!(error.contains(status) && error.contains(remark), "{error}");
        let code: f64 = status[..3].parse().unwrap();
        assert_eq!(value(&report, "probe_websocket_status_code"), Some(code));
        assert_eq!(value(&report, "probe_websocket_connection_upgraded"), Some(0.0));
        assert!(server.is_left_alone_after(1).await);
    }
}

#[tokio::test]
async fn a_101_that_proves_nothing_is_a_failure() {
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    for (headers, part) in [
        (format!("{upgrade}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "wrong Sec-WebSocket-Accept"),
        (upgrade.to_owned(), "wrong Sec-WebSocket-Accept"),
        ("Connection: Upgrade\r\n".to_owned(), "without `Upgrade"),
        ("Upgrade: websocket\r\n".to_owned(), "without `Connection"),
    ] {
        let server = Server::answering(format!("HTTP/1.1 101 Switching Protocols\r\n{headers}\r\n")).await;
        let report = look(&mut prober(&server)).await;
        let error = failed(&report, Reason::Protocol);
        assert!(error.starts_with("upgrade ") && error.contains(part), "{error}");
        assert_eq!(value(&report, "probe_websocket_status_code"), Some(101.0));
        assert_eq!(value(&report, "probe_websocket_connection_upgraded"), Some(0.0));
    }
}

#[tokio::test]
async fn an_extension_that_nobody_offered_is_a_failure() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let served = move |stream| behave(stream, heard.clone());
    let server = gateway_with("Sec-WebSocket-Extensions: permessage-deflate\r\n", served).await;
    let report = look(&mut prober(&server)).await;
    assert!(failed(&report, Reason::Protocol).contains("chose an extension"));
    assert_eq!(value(&report, "probe_websocket_status_code"), Some(101.0));
    assert_eq!(value(&report, "probe_websocket_connection_upgraded"), Some(0.0));
}

#[tokio::test]
async fn what_is_no_http_is_told_as_such() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "\x00\x01\x02", "HTTP/2 101\r\n\r\n"] {
        let server = Server::answering(answer).await;
        assert!(failed(&look(&mut prober(&server)).await, Reason::Protocol).contains("not HTTP/1.1"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_subprotocol_is_asked_for_and_checked() {
    let offer = || serde_json::json!({"subprotocols": ["voice.v2", "voice.v1"]});
    let chosen = |server| async move { look(&mut configured(&server, offer())).await.failure };
    let heard = Arc::new(Mutex::new(Vec::new()));
    let served = move |stream| behave(stream, heard.clone());
    let good = gateway_with("Sec-WebSocket-Protocol: voice.v1\r\n", served.clone()).await;
    assert_eq!(look(&mut configured(&good, offer())).await.failure, None);
    assert!(good.requests()[0].contains("Sec-WebSocket-Protocol: voice.v2, voice.v1\r\n"));
    let foreign = chosen(gateway_with("Sec-WebSocket-Protocol: chat\r\n", served.clone()).await).await;
    assert!(foreign.unwrap().error.contains("not offered"));
    let none = chosen(gateway(served.clone()).await).await;
    assert!(none.unwrap().error.contains("none of the `subprotocols`"));
    let unasked = gateway_with("Sec-WebSocket-Protocol: chat\r\n", served).await;
    assert!(failed(&look(&mut prober(&unasked)).await, Reason::Protocol).contains("not offered"));
}

#[tokio::test]
async fn a_pong_to_another_ping_is_no_answer() {
    let server = saying(frame(10, b"another")).await;
    let report = look_within(SHORT, &mut prober(&server), Path::Fresh).await;
    let error = failed(&report, Reason::Timeout);
    assert!(
        error.starts_with("ping ") && error.ends_with("; 1 frames came, none of them the pong to our ping"),
        "{error}"
    );
    assert_eq!(value(&report, "probe_websocket_connection_upgraded"), Some(1.0));
}

#[tokio::test]
async fn what_the_server_says_before_the_pong_is_skipped() {
    let server = gateway(|mut stream| async move {
        let greeting = [frame(1, "hällo".as_bytes()), frame(2, &[0; 60_000]), frame(9, b"you?"), frame(10, b"x")];
        stream.write_all(&greeting.concat()).await.unwrap();
        behave(stream, Arc::default()).await;
    })
    .await;
    let report = look(&mut prober(&server)).await;
    assert_eq!((report.failure, report.warnings), (None, Vec::new()));
}

#[tokio::test]
async fn frames_without_an_end_are_not_swallowed() {
    for endless in [frame(1, b"x"), frame(9, b""), frame(2, &[7; 50_000])] {
        let server = Server::start(move |mut stream, seen| {
            let endless = endless.repeat(20);
            async move {
                let request = read_head(&mut stream).await;
                stream.write_all(accepted(&request, "").as_bytes()).await.unwrap();
                let _ = write_for_ever(&mut stream, &endless, &seen).await;
            }
        })
        .await;
        let error = failed(&look(&mut prober(&server)).await, Reason::Protocol);
        assert!(error.contains("more than 262144 bytes"), "{error}");
        assert!(server.is_left_alone_after(1).await);
        assert!(server.seen.written.load(SeqCst) < 16 * 1024 * 1024);
    }
}

#[tokio::test]
async fn frames_that_break_the_protocol_are_told_apart() {
    let masked = vec![0x81, 0x81, 1, 2, 3, 4, b'x' ^ 1];
    let huge = vec![0x82, 127, 0, 0, 0, 0, 0x80, 0, 0, 0];
    for (bytes, part) in [
        (masked, "masked frame"),
        (huge, "2147483648 bytes"),
        (vec![0xf1, 0], "Reserved bits"),
        (vec![0x83, 0], "breaks the protocol"),
        (vec![0x89, 126, 0, 126], "breaks the protocol"),
        (vec![0x80, 0], "Continue frame"),
        (frame(1, b"\xff\xfe"), "not UTF-8"),
    ] {
        let mut bytes = bytes;
        if bytes.ends_with(&[0, 126]) {
            bytes.extend([0; 126]);
        }
        let server = saying(bytes).await;
        let error = failed(&look(&mut prober(&server)).await, Reason::Protocol);
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Whatever a server says after the upgrade, the look ends by itself, fails, and lets go.
#[tokio::test]
async fn any_frames_are_taken_or_refused() {
    const ROUNDS: usize = 400;
    let random = Arc::new(Mutex::new(fastrand::Rng::with_seed(21)));
    let server = gateway(move |mut stream| {
        let said = nonsense(&mut random.lock().unwrap());
        async move {
            let _ = stream.write_all(&said).await;
            let _ = stream.shutdown().await;
            read_to_end(&mut stream).await;
        }
    })
    .await;
    let mut prober = prober(&server);
    for _ in 0..ROUNDS {
        let failure = look(&mut prober).await.failure.expect("no pong was right");
        let known = [Reason::Protocol, Reason::Reset, Reason::NotServing].contains(&failure.reason);
        assert!(known && failure.error.len() < 1000, "{failure}");
    }
    assert!(server.is_left_alone_after(ROUNDS).await);
}

/// Frames of any kind, some with a byte changed.
fn nonsense(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(0..6) {
        let payload: Vec<u8> = (0..random.usize(0..300)).map(|_| random.u8(..)).collect();
        bytes.extend(frame(random.u8(0..16), &payload));
    }
    for _ in 0..random.usize(0..3).min(bytes.len()) {
        let at = random.usize(0..bytes.len());
        bytes[at] = random.u8(..);
    }
    bytes
}

#[tokio::test]
async fn a_close_before_the_pong_is_told_with_its_code_and_reason() {
    for (bytes, wanted) in [
        (close(1013, "full\u{7}"), "with code 1013: \"full\""),
        (close(1008, ""), "with code 1008"),
        (close(4401, "who are you?"), "with code 4401: \"who are you?\""),
        (frame(8, b""), "without a code"),
    ] {
        let server = saying(bytes).await;
        let error = failed(&look(&mut prober(&server)).await, Reason::NotServing);
        assert!(error.contains(wanted), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_a_close_is_a_reset() {
    let server = gateway(|_| async {}).await;
    failed(&look(&mut prober(&server)).await, Reason::Reset);
}

#[tokio::test]
async fn a_server_that_does_not_close_cleanly_is_a_warning() {
    let silent = gateway(|mut stream| async move {
        let (_, payload) = read_frame(&mut stream).await.unwrap();
        stream.write_all(&frame(10, &payload)).await.unwrap();
        read_to_end(&mut stream).await;
    })
    .await;
    let report = look(&mut prober(&silent)).await;
    assert_eq!(report.failure, None);
    assert!(report.warnings[0].contains("does not answer the close"), "{:?}", report.warnings);
    assert!(silent.is_left_alone_after(1).await);
    let rude = gateway(|mut stream| async move {
        let (_, payload) = read_frame(&mut stream).await.unwrap();
        stream.write_all(&frame(10, &payload)).await.unwrap();
        read_frame(&mut stream).await;
    })
    .await;
    let report = look(&mut prober(&rude)).await;
    assert_eq!(report.failure, None);
    assert!(report.warnings[0].contains("does not close cleanly"), "{:?}", report.warnings);
}

#[tokio::test]
async fn a_head_without_an_end_is_refused() {
    for (flood, part) in [("X-Flood: x\r\n".repeat(200), "too many headers"), ("x".repeat(100_000), "64 KiB")] {
        let server = Server::answering(format!("HTTP/1.1 101 Switching Protocols\r\nX: {flood}\r\n\r\n")).await;
        let error = failed(&look(&mut prober(&server)).await, Reason::Protocol);
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_held_connection_is_pinged_again_and_again_and_its_close_is_heard() {
    let (quit, quitting) = tokio::sync::watch::channel(false);
    let server = gateway(move |mut stream| {
        let mut quitting = quitting.clone();
        async move {
            loop {
                tokio::select! {
                    said = read_frame(&mut stream) => match said {
                        Some((9, payload)) => stream.write_all(&frame(10, &payload)).await.unwrap(),
                        _ => return,
                    },
                    _ = quitting.changed() => {
                        let _ = stream.write_all(&close(1001, "restart")).await;
                        read_to_end(&mut stream).await;
                        return;
                    }
                }
            }
        }
    })
    .await;
    let mut prober = configured(&server, serde_json::json!({"hold": true}));
    for _ in 0..3 {
        let report = look_within(AMPLE, &mut prober, Path::Held).await;
        assert_eq!(report.failure, None);
        assert!(value(&report, "watchkeeper_websocket_ping_seconds").is_some());
    }
    assert_eq!(server.seen.opened.load(SeqCst), 1);
    assert!(tokio::time::timeout(Duration::from_millis(20), prober.broken()).await.is_err());
    quit.send(true).unwrap();
    let failure = prober.broken().await;
    assert_eq!((failure.reason, failure.phase), (Reason::NotServing, "held"), "{failure}");
    assert!(failure.error.contains("1001: \"restart\""), "{failure}");
    assert!(server.is_left_alone_after(1).await);
}

#[tokio::test]
async fn a_held_connection_that_ended_unheard_fails_the_next_look() {
    let server = gateway(|mut stream| async move {
        let (_, payload) = read_frame(&mut stream).await.unwrap();
        stream.write_all(&frame(10, &payload)).await.unwrap();
    })
    .await;
    let mut prober = configured(&server, serde_json::json!({"hold": true}));
    assert_eq!(look_within(AMPLE, &mut prober, Path::Held).await.failure, None);
    assert!(server.is_left_alone_after(1).await);
    failed(&look_within(AMPLE, &mut prober, Path::Held).await, Reason::Reset);
    assert_eq!(look_within(AMPLE, &mut prober, Path::Held).await.failure, None, "the one after opens another");
}

#[tokio::test]
async fn a_held_connection_follows_its_url_and_outlives_the_file() {
    let ((one, heard), (two, _)) = (well_behaved().await, well_behaved().await);
    let file = tempfile::NamedTempFile::new().unwrap();
    let points_to = |server: &Server| std::fs::write(file.path(), format!("ws://{}/\n", server.address)).unwrap();
    points_to(&one);
    let settings = serde_json::json!({"url_file": file.path(), "hold": true});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let mut prober = Prober::new(settings, Arc::new(Net::new(NetSettings::default())));
    assert_eq!(look_within(AMPLE, &mut prober, Path::Held).await.failure, None);
    points_to(&two);
    let report = look_within(AMPLE, &mut prober, Path::Held).await;
    assert_eq!((report.failure, report.warnings), (None, Vec::new()));
    assert!(one.is_left_alone_after(1).await);
    assert_eq!(*heard.lock().unwrap(), [9, 8], "it took its leave");
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(look_within(AMPLE, &mut prober, Path::Held).await.failure, None);
    assert_eq!(two.seen.opened.load(SeqCst), 1);
    let fresh = look_within(AMPLE, &mut prober, Path::Fresh).await;
    failed(&fresh, Reason::Secret);
    assert_eq!(value(&fresh, "probe_websocket_connection_upgraded"), Some(0.0));
}

#[tokio::test]
async fn what_is_said_on_a_held_connection_is_read_and_bounded() {
    let server = gateway(|mut stream| async move {
        let (_, payload) = read_frame(&mut stream).await.unwrap();
        stream.write_all(&frame(10, &payload)).await.unwrap();
        let broadcast = frame(1, &[b'x'; 1000]);
        while stream.write_all(&broadcast).await.is_ok() {}
    })
    .await;
    let mut prober = configured(&server, serde_json::json!({"hold": true}));
    assert_eq!(look_within(AMPLE, &mut prober, Path::Held).await.failure, None);
    let failure = tokio::time::timeout(AMPLE, prober.broken()).await.unwrap();
    assert_eq!(failure.reason, Reason::Protocol, "{failure}");
    assert!(server.is_left_alone_after(1).await);
}

#[tokio::test]
async fn many_looks_leave_no_connection() {
    const LOOKS: usize = 1000;
    let (server, heard) = well_behaved().await;
    let mut prober = prober(&server);
    for _ in 0..LOOKS {
        let report = look(&mut prober).await;
        assert_eq!((report.failure, report.warnings), (None, Vec::new()));
    }
    assert!(server.is_left_alone_after(LOOKS).await);
    assert_eq!(server.seen.opened.load(SeqCst), LOOKS);
    assert!(heard.lock().unwrap().iter().all(|opcode| matches!(opcode, 8 | 9)), "no message");
}
