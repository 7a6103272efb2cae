//! `watchkeeper test-notify`: a marked page and its resolve, straight to a receiver, to see whether it takes them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use url::Url;

use crate::alert::group::{Notification, Notified, Resolved, key};
use crate::alert::{Alert, AlertId, AlertState, Resolution};
use crate::clock::wall_ms;
use crate::config;
use crate::net::tls::{Tls, TlsSettings};
use crate::net::{Net, NetSettings, http};
use crate::notify::judge::Judgement;
use crate::notify::outbox::delivery;
use crate::notify::send::{Request, Send, ask, sender};
use crate::notify::{Endpoint, Message, Receiver};
use crate::rule::{self, ALERT_NAME};
use crate::sample::{Labels, Timestamp};

#[derive(Debug, Args)]
#[group(skip)]
#[command(
    after_help = "Each endpoint of the receiver gets one attempt for a test page and one for its resolve, at once: no agent\nneeds to run, and nothing is queued or tried again. The page says that it is a test.\n\nExit code: 0 when all were taken, 1 when one was not or the configuration is bad, 3 on wrong usage.\n\nExamples:\n  watchkeeper test-notify on-call\n  watchkeeper test-notify on-call --config watchkeeper.yml"
)]
pub struct Arguments {
    /// The receiver's name, as under `alerting: receivers:`.
    #[arg(value_name = "RECEIVER")]
    receiver: String,
    /// The configuration file that names the receiver. Without it, what the environment names is used.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the configuration cannot be used:{0}")]
    Config(String),
    #[error("no receiver is called {name:?}: {known}")]
    Unknown { name: String, known: String },
    #[error("the receiver {0:?} sends to nobody: give it endpoints, such as `webhook_configs`")]
    Nowhere(String),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

pub fn run(arguments: &Arguments) -> u8 {
    match test(arguments) {
        Ok(taken) => u8::from(!taken),
        Err(problem) => {
            eprintln!("watchkeeper test-notify: {problem}");
            if matches!(problem, Problem::Unknown { .. }) { super::USAGE } else { 1 }
        }
    }
}

fn test(arguments: &Arguments) -> Result<bool, Problem> {
    let test = Test::of(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Problem::Runtime)?;
    let net = Arc::new(Net::new(NetSettings::default()));
    let send = sender(net, Arc::new(Tls::new(TlsSettings::default(), Some(http::ALPN))));
    Ok(runtime.block_on(tell(&test, &send)))
}

/// Who is told what.
struct Test {
    receiver: Receiver,
    /// The labels that every alert leaves with.
    labels: BTreeMap<String, String>,
    /// Where the agent of this configuration is found.
    external_url: String,
    began: Timestamp,
}

impl Test {
    fn of(arguments: &Arguments) -> Result<Self, Problem> {
        let lines = |problems: Vec<config::Problem>| problems.iter().map(|problem| format!("\n{problem}")).collect();
        let loaded =
            config::load::load(arguments.config.as_deref(), &super::environment(), &rule::names(&rule::shipped()))
                .map_err(|problems| Problem::Config(lines(problems)))?;
        let receivers = loaded.config.alerting.map(|alerting| alerting.receivers).unwrap_or_default();
        let known = match receivers.iter().map(|receiver| receiver.name.as_str()).collect::<Vec<_>>() {
            none if none.is_empty() => "the configuration names none (give it with --config)".to_owned(),
            names => format!("there are {}", names.join(", ")),
        };
        let name = arguments.receiver.clone();
        let named = receivers.into_iter().find(|receiver| receiver.name == name);
        let receiver = named.ok_or(Problem::Unknown { name, known })?;
        if receiver.endpoints.is_empty() {
            return Err(Problem::Nowhere(receiver.name));
        }
        let external_url = format!("http://{}", loaded.config.listen);
        Ok(Test { receiver, labels: loaded.config.labels, external_url, began: wall_ms() })
    }
}

/// Tells every endpoint, one after the other. Whether all of them took all.
async fn tell(test: &Test, send: &Send) -> bool {
    let mut taken = true;
    for endpoint in &test.receiver.endpoints {
        for ended in [false, true] {
            for message in endpoint.settings.messages(&notification(test, ended), &test.external_url) {
                taken &= attempt(&test.receiver.name, endpoint, message, send).await;
                tokio::time::sleep(endpoint.settings.manner().pace).await;
            }
        }
    }
    taken
}

/// One attempt, said in one line. Nothing of it shows a secret: of the URL only the host.
async fn attempt(receiver: &str, endpoint: &Endpoint, message: Message, send: &Send) -> bool {
    let what = if message.resolve { "resolve" } else { "page" };
    let kind = endpoint.settings.kind();
    let id = format!("msg_test_{:016x}", fastrand::u64(..));
    let delivery = delivery(receiver, &endpoint.id, message, 1, id, wall_ms());
    let (place, answer) = match endpoint.settings.request(&delivery, wall_ms()) {
        Ok(request) => (place(&request), ask(send, request).await),
        Err(reason) => ("nowhere".to_owned(), Err(reason)),
    };
    let status = answer.as_ref().map_or_else(|_| String::new(), |answer| format!(" (status {})", answer.status));
    let judgement = endpoint.settings.judge(&answer, wall_ms());
    let size = delivery.payload.len();
    println!("{receiver}: {kind} at {place}: {what}, {size} bytes, key {}: {}{status}", delivery.key, said(&judgement));
    judgement == Judgement::Done
}

fn place(request: &Request) -> String {
    let url = Url::parse(request.url.expose()).ok();
    let origin = url.map(|url| url.origin().ascii_serialization());
    origin.unwrap_or_else(|| "an unknown address".to_owned())
}

fn said(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Done => "taken".to_owned(),
        Judgement::Retry { reason, .. } => format!("NOT TAKEN, an agent would try again: {reason}"),
        Judgement::GiveUp { reason } => format!("REFUSED FOR GOOD: {reason}"),
        Judgement::Disable { reason } => format!("GONE, an agent would disable it: {reason}"),
    }
}

/// What is sent: it cannot be taken for an outage.
fn notification(test: &Test, ended: bool) -> Notification {
    let labels = [(ALERT_NAME, "WatchkeeperTest"), ("severity", "info"), ("test", "true"), ("service", "watchkeeper")];
    let mut labels: BTreeMap<&str, &str> = labels.into();
    test.labels.iter().for_each(|(name, value)| {
        labels.entry(name).or_insert(value);
    });
    let annotation = |(name, text): (&str, &str)| (name.to_owned(), text.to_owned());
    let alert = Alert {
        id: AlertId {
            file: String::new(),
            group: String::new(),
            rule: "WatchkeeperTest".to_owned(),
            labels: Labels::new(labels),
        },
        annotations: [
            ("summary", "TEST: this is a test page of Watchkeeper, nothing is wrong"),
            ("description", "Sent by `watchkeeper test-notify`; its resolve follows at once. There is nothing to do."),
        ]
        .map(annotation)
        .into(),
        value: 1.0,
        state: AlertState::Firing,
        active_at: test.began,
        starts_at: Some(test.began),
        keep_firing_since: None,
        held_since: None,
        unknown_inputs: Vec::new(),
    };
    let group_labels = Labels::new([(ALERT_NAME, "WatchkeeperTest")]);
    let resolved = ended.then_some(Resolved { at: wall_ms().max(test.began + 1), reason: Resolution::Recovered });
    Notification {
        key: key(&test.receiver.name, &group_labels),
        receiver: test.receiver.name.clone(),
        group_labels,
        alerts: vec![Notified { alert, resolved, first: !ended, news: true }],
        first: !ended,
        news: !ended,
    }
}
