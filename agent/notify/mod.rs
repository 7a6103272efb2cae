//! Deliveries: what is sent to whom, in which order, and until when.
//!
//! A new kind of receiver is one file here plus one line in the list of kinds below: its settings, what it is sent,
//! how its answer is judged, and how its deliveries are ordered.

pub mod judge;
mod lane;
pub mod metrics;
pub mod outbox;
pub mod payload;
pub mod queue;
mod reminders;
pub mod send;
pub mod sign;

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::alert::group::Notification;
use crate::config::fields::{Fields, SHORTEST};
use crate::notify::judge::{Answer, Judgement};
use crate::notify::send::Request;
use crate::sample::Timestamp;
use crate::secret::{Secret, SecretSource};

pub use crate::notify::outbox::Outbox;

macro_rules! kinds {
    ($($module:ident: $kind:ident, $key:literal;)+) => {
        $(pub mod $module;)+

        /// Every kind of receiver.
        pub const KINDS: &[Kind] = &[$(Kind {
            key: $key,
            keys: $module::KEYS,
            later: $module::LATER,
            read: |fields| $module::read(fields).into_iter().map(Settings::$kind).collect(),
        }),+];

        /// Where an endpoint is, and how it is told.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Settings {
            $($kind($module::Settings),)+
        }

        impl Settings {
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Settings::$kind(_) => stringify!($module),)+
                }
            }

            /// What is wrong with them beyond their types: (key, message). A secret file that cannot be read now is
            /// wrong; no message tells a secret.
            pub fn check(&self) -> Vec<(&'static str, String)> {
                match self {
                    $(Settings::$kind(settings) => settings.check(),)+
                }
            }

            pub fn manner(&self) -> Manner {
                match self {
                    $(Settings::$kind(settings) => settings.manner(),)+
                }
            }

            /// What a notification is to this endpoint: a message for each delivery, with its payload frozen.
            pub fn messages(&self, notification: &Notification, external_url: &str) -> Vec<Message> {
                match self {
                    $(Settings::$kind(settings) => settings.messages(notification, external_url),)+
                }
            }

            /// Builds the attempt of a delivery. Secrets are read now; `wall_ms` is what a receiver compares with its
            /// own clock.
            pub fn request(&self, delivery: &Delivery, wall_ms: Timestamp) -> Result<Request, String> {
                match self {
                    $(Settings::$kind(settings) => settings.request(delivery, wall_ms),)+
                }
            }

            /// Judges an answer, or why there was none. `now` is the wall clock, for a `Retry-After` that names a date.
            pub fn judge(&self, answer: &Result<Answer, String>, now: Timestamp) -> Judgement {
                match self {
                    $(Settings::$kind(_) => judge::judge(answer, now, $module::meaning),)+
                }
            }

            fn identity(&self) -> Secret {
                match self {
                    $(Settings::$kind(settings) => settings.identity(),)+
                }
            }
        }
    };
}

kinds! {
    webhook: Webhook, "webhook_configs";
    pagerduty: PagerDuty, "pagerduty_configs";
    slack: Slack, "slack_configs";
    alertmanager: Alertmanager, "alertmanager_configs";
}

/// A kind of receiver, as the configuration names it.
pub struct Kind {
    /// The key of its list in a receiver.
    pub key: &'static str,
    /// The keys of one item.
    pub keys: &'static [&'static str],
    /// Keys that Alertmanager's grammar has and this version does not.
    pub later: &'static [&'static str],
    /// Reads one item; several where it stands for several endpoints.
    pub(crate) read: fn(&mut Fields) -> Vec<Settings>,
}

/// How deliveries to an endpoint are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// Whether a first page that is refused for good takes its resolve with it.
    pub pairs: bool,
    /// The least time from the beginning of one attempt to the next.
    pub pace: Duration,
    /// Whether it is reminded of what fires: see [`reminders`].
    pub reminds: bool,
}

/// What one delivery says.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The deduplication key.
    pub key: String,
    pub first: bool,
    pub resolve: bool,
    /// The body as it is sent (PagerDuty's: but for the routing key).
    pub payload: Bytes,
}

/// A receiver by name, with where it sends to.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    pub name: String,
    pub endpoints: Vec<Endpoint>,
}

/// One place that a receiver sends to.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Which of its receiver's endpoints, wherever it stands among them: the kind, and a digest of where it is.
    pub id: String,
    pub settings: Settings,
}

impl Receiver {
    pub fn new(name: impl Into<String>, settings: Vec<Settings>) -> Self {
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for settings in settings {
            let id = endpoint_id(&settings);
            let twins = endpoints.iter().filter(|known| known.settings.identity() == settings.identity());
            let twins = twins.filter(|known| known.settings.kind() == settings.kind()).count();
            let id = if twins == 0 { id } else { format!("{id}-{}", twins + 1) };
            endpoints.push(Endpoint { id, settings });
        }
        Receiver { name: name.into(), endpoints }
    }
}

/// The kind of an endpoint, from its id.
pub fn kind_of(id: &str) -> &str {
    id.split('/').next().unwrap_or_default()
}

fn endpoint_id(settings: &Settings) -> String {
    let digest = Sha256::digest(settings.identity().expose());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{}/{digest}", settings.kind())
}

/// A secret as it is configured: itself, or the file that holds it.
fn written(source: &SecretSource) -> String {
    match source {
        SecretSource::Value(secret) => format!("value {}", secret.expose()),
        SecretSource::File(path) => format!("file {}", path.display()),
    }
}

/// The default deadline of an attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

fn timeout(fields: &mut Fields) -> Duration {
    let timeout = fields.duration("timeout", SHORTEST).unwrap_or(TIMEOUT);
    if timeout > MAX_TIMEOUT {
        fields.refuse("timeout", "a delivery gets one minute at most");
    }
    timeout
}

/// One notification on its way to one endpoint, from its acceptance until the receiver has it. All of it survives a
/// restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// The order of acceptance.
    pub seq: i64,
    pub receiver: String,
    /// Which of the receiver's endpoints: [`Endpoint::id`].
    pub endpoint: String,
    /// The deduplication key: deliveries of one key to one endpoint go out in their order.
    pub key: String,
    /// `webhook-id`: of the notification, the same in every attempt.
    pub id: String,
    /// The first page of its key: before it, the receiver knew nothing under this key.
    pub first: bool,
    /// Whether it tells that everything under its key has resolved.
    pub resolve: bool,
    pub accepted_at: Timestamp,
    pub attempts: u32,
    pub last_error: Option<String>,
    /// The body, in UTF-8, frozen when it was accepted: see [`Message::payload`].
    pub payload: Bytes,
}

/// An endpoint refused the first page of a key for good: its resolve would end what never began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub receiver: String,
    pub endpoint: String,
    pub key: String,
    pub at: Timestamp,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slack(url: &str) -> Settings {
        let api_url = SecretSource::Value(Secret::new(url));
        Settings::Slack(slack::Settings {
            api_url,
            channel: None,
            username: None,
            send_resolved: true,
            timeout: TIMEOUT,
        })
    }

    #[test]
    fn an_endpoint_keeps_its_id_wherever_it_stands_and_shows_no_secret_in_it() {
        let one = Receiver::new("chat", vec![slack("https://h/secret-a"), slack("https://h/secret-b")]);
        let other = Receiver::new("chat", vec![slack("https://h/secret-b"), slack("https://h/secret-a")]);
        assert_eq!((&one.endpoints[0].id, &one.endpoints[1].id), (&other.endpoints[1].id, &other.endpoints[0].id));
        assert!(one.endpoints[0].id.starts_with("slack/") && !one.endpoints[0].id.contains("secret"));
        let twins = Receiver::new("chat", vec![slack("https://h/a"), slack("https://h/a")]);
        assert_eq!(twins.endpoints[1].id, format!("{}-2", twins.endpoints[0].id));
    }
}
