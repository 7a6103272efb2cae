//! One attempt on the wire: a POST over a connection of its own.

use std::cmp::Reverse;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method};
use url::Url;

use crate::net::http;
use crate::net::tls::Tls;
use crate::net::{self, Net};
use crate::notify::judge::Answer;
use crate::secret::Secret;

/// How much of an answer is read, in bytes.
const ANSWER_LIMIT: usize = 4 * 1024;
/// Headers that hold secrets.
const PRIVATE: [&str; 2] = ["authorization", "webhook-signature"];
/// What is shorter may be any word.
const SHORTEST_SECRET: usize = 8;

/// One attempt, ready to be sent.
#[derive(Clone)]
pub struct Request {
    /// http or https. Secret: receivers put their keys into the path.
    pub url: Secret,
    pub headers: Vec<(&'static str, Secret)>,
    pub body: Bytes,
    /// What else must not be shown: keys in the body, what a header was made of.
    pub hidden: Vec<Secret>,
    pub timeout: Duration,
}

/// A body may hold a key (PagerDuty's does): only its size is shown.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Sends a request: the network, or a script in tests. The error says why there is no answer.
pub type Send = Arc<
    dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<Answer, String>> + std::marker::Send>>
        + std::marker::Send
        + Sync,
>;

/// One attempt, within its time. No secret of the request stands in what comes back.
pub async fn ask(send: &Send, request: Request) -> Result<Answer, String> {
    let (timeout, secrets) = (request.timeout, request.secrets());
    let answer = net::within(timeout, send(request)).await;
    answer.unwrap_or_else(|failure| Err(failure.to_string())).map(|answer| answer.without(&secrets))
}

/// Sends over the network: one connection for each attempt, no redirect followed.
pub fn sender(net: Arc<Net>, tls: Arc<Tls>) -> Send {
    Arc::new(move |request| Box::pin(send(Arc::clone(&net), Arc::clone(&tls), request)))
}

async fn send(net: Arc<Net>, tls: Arc<Tls>, request: Request) -> Result<Answer, String> {
    let message = message(request)?;
    match http::exchange(&net, &tls, message).await {
        Ok(response) => Ok(Answer {
            status: response.status.as_u16(),
            retry_after: response.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned),
            body: String::from_utf8_lossy(&response.body).into_owned(),
        }),
        // The head has answered the question; how the body ends changes nothing.
        Err(error) => match error.status {
            Some(status) => Ok(Answer { status: status.as_u16(), retry_after: None, body: String::new() }),
            None => Err(error.failure.to_string()),
        },
    }
}

fn message(request: Request) -> Result<http::Request, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let value = HeaderValue::from_str(value.expose()).map_err(|_| format!("the header {name} cannot be sent"))?;
        headers.insert(name, value);
    }
    let url = destination(&request.url)?;
    Ok(http::Request { method: Method::POST, url, headers, body: request.body, max_body: ANSWER_LIMIT })
}

impl Request {
    /// What an answer must not be quoted with, the longest first: receivers that echo what they were sent would have
    /// it logged.
    pub fn secrets(&self) -> Vec<Secret> {
        let headers = self.headers.iter().filter(|(name, _)| PRIVATE.contains(name));
        let words = headers.flat_map(|(_, value)| value.expose().split(' ')).map(Secret::new);
        let mut secrets: Vec<Secret> = self.hidden.iter().cloned().chain(words).collect();
        secrets.push(self.url.clone());
        if let Ok(url) = Url::parse(self.url.expose()) {
            let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
            secrets.push(Secret::new(format!("{}{query}", url.path())));
            let values: Vec<String> = url.query_pairs().map(|(_, value)| value.into_owned()).collect();
            let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
            let user = [url.username().to_owned(), url.password().unwrap_or_default().to_owned()];
            secrets.extend(segments.chain(values).chain(user).map(Secret::new));
        }
        secrets.retain(|secret| secret.expose().len() >= SHORTEST_SECRET);
        secrets.sort_by_key(|secret| Reverse(secret.expose().len()));
        secrets
    }
}

/// A URL that can be sent to.
pub fn destination(url: &Secret) -> Result<Url, String> {
    let parsed = Url::parse(url.expose()).map_err(|error| format!("the URL cannot be used: {error}"))?;
    if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() {
        Ok(parsed)
    } else {
        Err("the URL must be http:// or https:// with a host".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::NetSettings;
    use crate::net::tls::TlsSettings;
    use crate::notify::judge::{Judgement, judge};
    use crate::notify::{alertmanager, pagerduty, slack, webhook};

    /// What a server does with a connection.
    #[derive(Debug, Clone, Copy)]
    enum Server {
        Absent,
        /// Closes without reading.
        Closes,
        /// Reads, then says this and closes.
        Says(&'static str),
        /// Reads, and says nothing.
        Hangs,
    }

    /// Where such a server is. It serves one connection.
    async fn serving(server: Server) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            if matches!(server, Server::Absent) {
                return;
            }
            let mut stream = listener.accept().await.unwrap().0;
            match server {
                Server::Absent | Server::Closes => {}
                Server::Hangs => while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {},
                Server::Says(what) => {
                    let _heard = stream.read(&mut [0; 1024]).await;
                    let _said = stream.write_all(what.as_bytes()).await;
                }
            }
        });
        tokio::task::yield_now().await;
        address
    }

    #[tokio::test]
    async fn whatever_goes_wrong_on_the_way_is_tried_again_by_every_kind() {
        let send = sender(
            Arc::new(Net::new(NetSettings::default())),
            Arc::new(Tls::new(TlsSettings::default(), Some(http::ALPN))),
        );
        let table = [
            ("http", Server::Absent, "connect 127.0.0.1:"),
            ("http", Server::Closes, "127.0.0.1:"),
            ("http", Server::Says(""), "127.0.0.1:"),
            ("http", Server::Says("HTTP/1.1 200 OK\r\nContent-Le"), "127.0.0.1:"),
            ("http", Server::Says("220 mail ESMTP\r\n"), "127.0.0.1:"),
            ("http", Server::Hangs, "127.0.0.1:"),
            ("https", Server::Says("HTTP/1.1 400 Bad Request\r\n\r\n"), "tls"),
            ("https", Server::Hangs, "tls"),
        ];
        for (scheme, server, words) in table {
            let url = Secret::new(format!("{scheme}://{}/key-of-ours", serving(server).await));
            let timeout = Duration::from_millis(500);
            let request = Request { url, headers: vec![], body: Bytes::from_static(b"{}"), hidden: vec![], timeout };
            let answer = ask(&send, request).await;
            let error = answer.as_ref().unwrap_err();
            assert!(error.contains(words) && !error.contains("key-of-ours"), "{scheme} {server:?}: {error}");
            for meaning in [webhook::meaning, pagerduty::meaning, slack::meaning, alertmanager::meaning] {
                let again = Judgement::Retry { after: None, reason: error.clone() };
                assert_eq!(judge(&answer, 0, meaning), again, "{scheme} {server:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_echoes_the_request_shows_no_secret_of_it() {
        let request = Request {
            url: Secret::new("https://user:pass-word@h/hook/T0123456789abc?key=querykey1"),
            headers: vec![
                ("authorization", Secret::new("Bearer header-token")),
                ("content-type", Secret::new("text/x")),
            ],
            body: Bytes::new(),
            hidden: vec![Secret::new("routing-key-in-the-body")],
            timeout: Duration::from_secs(5),
        };
        let echo = r"bad: https://user:pass-word@h/hook/T0123456789abc?key=querykey1 at \/hook\/T0123456789abc?key=querykey1,
            T0123456789abc querykey1 header-token pass-word routing-key-in-the-body text/x";
        let send: Send = Arc::new(move |_| {
            let answer = Answer { status: 400, retry_after: None, body: echo.to_owned() };
            Box::pin(std::future::ready(Ok(answer)))
        });
        let body = ask(&send, request).await.unwrap().body;
        for secret in ["T0123456789abc", "querykey1", "header-token", "pass-word", "routing-key"] {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
        assert!(body.starts_with("bad: <secret> at <secret>,") && body.ends_with("text/x"), "{body}");
    }
}
