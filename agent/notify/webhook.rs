//! The generic webhook: Alertmanager's payload, version 4, signed by Standard Webhooks where keys are given.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method};
use url::Url;

use crate::net::Net;
use crate::net::http;
use crate::net::tls::Tls;
use crate::notify::Delivery;
use crate::notify::judge::Answer;
use crate::notify::sign;
use crate::sample::Timestamp;
use crate::secret::{Secret, SecretSource};

/// How much of an answer is read, in bytes.
const ANSWER_LIMIT: usize = 4 * 1024;

/// Where a webhook goes. `PartialEq` compares sources, not the secrets behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub url: SecretSource,
    pub send_resolved: bool,
    /// At most this many alerts in a payload, the rest counted as truncated; 0: all.
    pub max_alerts: usize,
    pub timeout: Duration,
    /// `whsec_…` keys, every one of which signs.
    pub signing_secrets: Vec<SecretSource>,
}

/// One attempt, ready to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// http or https. Secret: receivers put their keys into the path.
    pub url: Secret,
    pub headers: Vec<(&'static str, Secret)>,
    pub body: Bytes,
    pub timeout: Duration,
}

/// Sends a request: the network, or a script in tests. The error says why there is no answer.
pub type Send = Arc<
    dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<Answer, String>> + std::marker::Send>>
        + std::marker::Send
        + Sync,
>;

impl Settings {
    /// What is wrong with them beyond their types: (key, message). A secret file that cannot be read now is wrong.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let url = self.url.read().map_err(|error| error.to_string()).and_then(|url| destination(&url).map(|_| ()));
        let mut problems: Vec<_> = url.err().map(|message| ("url", message)).into_iter().collect();
        for source in &self.signing_secrets {
            problems.extend(sign::keys(source).err().map(|error| ("signing_secrets", error.to_string())));
        }
        problems
    }
}

/// Builds the attempt of a delivery: secrets are read now, `wall_ms` is what the receiver compares with its clock.
pub fn request(settings: &Settings, delivery: &Delivery, wall_ms: Timestamp) -> Result<Request, String> {
    let url = settings.url.read().map_err(|error| error.to_string())?;
    destination(&url)?;
    let timestamp = wall_ms.div_euclid(1_000);
    let mut headers = vec![
        ("content-type", Secret::new("application/json")),
        ("webhook-id", Secret::new(&*delivery.id)),
        ("webhook-timestamp", Secret::new(timestamp.to_string())),
    ];
    let mut keys = Vec::new();
    for source in &settings.signing_secrets {
        keys.extend(sign::keys(source).map_err(|error| error.to_string())?);
    }
    if !keys.is_empty() {
        headers.push(("webhook-signature", sign::signature(&keys, &delivery.id, timestamp, &delivery.payload)));
    }
    Ok(Request { url, headers, body: delivery.payload.clone(), timeout: settings.timeout })
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

fn destination(url: &Secret) -> Result<Url, String> {
    let parsed = Url::parse(url.expose()).map_err(|error| format!("the URL cannot be used: {error}"))?;
    if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() {
        Ok(parsed)
    } else {
        Err("the URL must be http:// or https:// with a host".to_owned())
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
