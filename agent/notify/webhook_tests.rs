use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{Net, NetSettings, http};
use crate::notify::judge::{Judgement, judge};
use crate::notify::send::sender;
use crate::state::samples;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn settings(url: &str) -> Settings {
    Settings {
        url: SecretSource::Value(Secret::new(url)),
        send_resolved: true,
        max_alerts: 0,
        timeout: Duration::from_secs(10),
        signing_secrets: vec![],
    }
}

fn header<'a>(request: &'a Request, wanted: &str) -> Option<&'a str> {
    request.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.expose())
}

#[test]
fn every_status_is_judged() {
    for status in 100..=599 {
        let expected = match status {
            200..=299 => Meaning::Taken,
            400 | 413 | 422 => Meaning::Refused,
            410 => Meaning::Gone,
            _ => Meaning::Later,
        };
        assert_eq!(meaning(&Answer { status, retry_after: None, body: String::new() }), expected, "{status}");
    }
}

#[test]
fn an_attempt_carries_the_id_of_its_notification_and_the_time_of_the_attempt() {
    let delivery = samples::delivery(7, "k", false);
    let first = settings("https://h/x").request(&delivery, 1_614_265_330_999).unwrap();
    let later = settings("https://h/x").request(&delivery, 1_614_265_399_000).unwrap();
    assert_eq!((header(&first, "webhook-id"), header(&later, "webhook-id")), (Some("msg_7"), Some("msg_7")));
    assert_eq!(header(&first, "webhook-timestamp"), Some("1614265330"));
    assert_eq!(header(&later, "webhook-timestamp"), Some("1614265399"));
    assert_eq!(header(&first, "content-type"), Some("application/json"));
    assert_eq!(header(&first, "webhook-signature"), None, "unsigned without a key");
}

#[test]
fn every_key_signs_and_nothing_secret_is_printed() {
    let two = [KEY, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="];
    let sources = two.iter().map(|key| SecretSource::Value(Secret::new(*key))).collect();
    let settings = Settings { signing_secrets: sources, ..settings("https://user:pass@h/token") };
    let built = settings.request(&samples::delivery(7, "k", false), 1_000).unwrap();
    assert_eq!(header(&built, "webhook-signature").unwrap().split(' ').count(), 2);
    let printed = format!("{built:?} {settings:?}");
    assert!(!printed.contains("token") && !printed.contains("pass") && !printed.contains("MfKQ"), "{printed}");
}

#[test]
fn what_cannot_be_used_is_found_when_it_is_loaded() {
    let wrong = |settings: &Settings| settings.check().into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(wrong(&settings("https://h/x")), Vec::<&str>::new());
    for url in ["h/x", "ftp://h/x", "", "http://"] {
        assert_eq!(wrong(&settings(url)), ["url"], "{url}");
    }
    let unsigned = Settings { signing_secrets: vec![SecretSource::Value(Secret::new("x"))], ..settings("http://h") };
    assert_eq!(wrong(&unsigned), ["signing_secrets"]);
    let missing = Settings { url: SecretSource::File("/nowhere/url".into()), ..settings("") };
    assert!(missing.check()[0].1.contains("/nowhere/url"));
}

/// A server that answers one connection and returns what it was sent.
async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=secret", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") {
            assert!(stream.read_buf(&mut seen).await.unwrap() > 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        drop(stream);
        String::from_utf8(seen).unwrap()
    });
    (url, server)
}

async fn deliver(url: &str) -> Result<Answer, String> {
    let net = Arc::new(Net::new(NetSettings::default()));
    let tls = Arc::new(Tls::new(TlsSettings::default(), Some(http::ALPN)));
    let request = settings(url).request(&samples::delivery(7, "k", false), 1_000).unwrap();
    sender(net, tls)(request).await
}

#[tokio::test]
async fn a_delivery_is_posted_as_it_was_frozen() {
    let (url, server) = answering("HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").await;
    let answer = deliver(&url).await;
    assert_eq!(answer, Ok(Answer { status: 202, retry_after: None, body: "ok".into() }));
    let seen = server.await.unwrap();
    assert!(seen.starts_with("POST /hook?token=secret HTTP/1.1\r\n"), "{seen}");
    let body = String::from_utf8(samples::delivery(7, "k", false).payload.to_vec()).unwrap();
    assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
    assert!(seen.to_lowercase().contains("\r\nwebhook-id: msg_7\r\n"), "{seen}");
    assert!(seen.to_lowercase().contains("\r\nuser-agent: watchkeeper/"), "{seen}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (url, _server) =
        answering("HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let answer = deliver(&url).await;
    assert!(matches!(judge(&answer, 0, meaning), Judgement::Retry { .. }), "{answer:?}");
    assert_eq!(answer.unwrap().status, 307);
}

#[tokio::test]
async fn retry_after_comes_through_and_a_body_without_an_end_is_cut_off() {
    let (url, _server) = answering("HTTP/1.1 429 x\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(deliver(&url).await.unwrap().retry_after.as_deref(), Some("7"));
    let (url, _server) = answering("HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\npart").await;
    assert_eq!(deliver(&url).await.unwrap().status, 200, "the head has said it");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_named_by_its_address_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?token=secret", listener.local_addr().unwrap());
    drop(listener);
    let error = deliver(&url).await.unwrap_err();
    assert!(error.starts_with("connect 127.0.0.1:") && !error.contains("secret"), "{error}");
}
