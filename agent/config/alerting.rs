//! Reads `alerting`: Alertmanager's `route` and `receivers`, in place or in a file of its own. What its grammar has
//! and this version does not is refused by name.

use std::collections::HashSet;
use std::time::Duration;

use super::Alerting;
use super::fields::{Fields, SHORTEST, unsupported};
use super::targets::is_label_name;
use super::tree::{Node, Problem, Value, from_node};
use super::words::{list, wanted_not};
use crate::alert::route::{GroupBy, Route};
use crate::matcher::Matcher;
use crate::notify::{Receiver, sign, webhook};
use crate::secret::{Secret, SecretSource};

/// Alertmanager's own sections that this version does not have.
const LATER: &[&str] = &["global", "templates", "inhibit_rules", "mute_time_intervals", "time_intervals"];
pub(super) const ROUTE: &[&str] =
    &["receiver", "matchers", "continue", "group_by", "group_wait", "group_interval", "repeat_interval", "routes"];
const ROUTE_LATER: &[&str] = &["match", "match_re", "mute_time_intervals", "active_time_intervals"];
pub(super) const WEBHOOK: &[&str] =
    &["url", "url_file", "send_resolved", "max_alerts", "timeout", "signing_secrets", "signing_secrets_file"];
const WEBHOOK_LATER: &[&str] = &["http_config"];
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_TIMEOUT: Duration = Duration::from_secs(60);
const REPEAT: Duration = Duration::from_secs(4 * 3600);

/// Reads the mapping that holds `route` and `receivers`.
pub(super) fn alerting(node: &Node, problems: &mut Vec<Problem>) -> Option<Alerting> {
    let before = problems.len();
    let mut fields = Fields::of(node, "alerting", problems)?;
    fields.only(&["route", "receivers"], LATER);
    let receivers: Vec<Receiver> = receivers(&mut fields);
    let names: HashSet<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    let Some(root) = node.get("route") else {
        problems.push(Problem::new(&node.at, "the key `route` is missing: it says which receiver pages go to"));
        return None;
    };
    let route = route(root, None, problems);
    check_receivers(root, &names, problems);
    let route = route.filter(|_| problems.len() == before)?;
    Some(Alerting { route, receivers })
}

/// A node of the tree and everything below it; `parent` is what it inherits from.
fn route(node: &Node, parent: Option<&Route>, problems: &mut Vec<Problem>) -> Option<Route> {
    let mut fields = Fields::of(node, "route", problems)?;
    fields.only(ROUTE, ROUTE_LATER);
    if parent.is_none() && node.get("matchers").is_some() {
        fields.refuse("matchers", "the first route takes every alert: put matchers into a route under `routes`");
    }
    if parent.is_none() && node.get("receiver").is_none() {
        fields.refuse("receiver", "the first route must name a receiver");
    }
    let inherited = |of: fn(&Route) -> Duration, default| parent.map_or(default, of);
    let mut route = Route {
        receiver: fields.text("receiver").or(parent.map(|parent| parent.receiver.clone())).unwrap_or_default(),
        matchers: matchers(&mut fields),
        continues: fields.get("continue").unwrap_or(false),
        group_by: group_by(&mut fields)
            .or(parent.map(|parent| parent.group_by.clone()))
            .unwrap_or(GroupBy::Labels(Vec::new())),
        group_wait: fields
            .duration("group_wait", Duration::ZERO)
            .unwrap_or(inherited(|parent| parent.group_wait, Duration::ZERO)),
        group_interval: fields
            .duration("group_interval", Duration::ZERO)
            .unwrap_or(inherited(|parent| parent.group_interval, Duration::ZERO)),
        repeat_interval: fields
            .duration("repeat_interval", SHORTEST)
            .unwrap_or(inherited(|parent| parent.repeat_interval, REPEAT)),
        routes: Vec::new(),
    };
    let children = fields.items("routes");
    route.routes = children.iter().filter_map(|child| self::route(child, Some(&route), problems)).collect();
    Some(route)
}

fn matchers(fields: &mut Fields) -> Vec<Matcher> {
    let mut matchers = Vec::new();
    for item in fields.items("matchers") {
        let Some(text) = item.text() else {
            let message =
                format!("`matchers`: {}", wanted_not("text such as 'severity=\"critical\"'", &item.describe()));
            fields.problems.push(Problem::new(&item.at, message));
            continue;
        };
        match Matcher::parse_list(text) {
            Ok(more) => matchers.extend(more),
            Err(message) => fields.problems.push(Problem::new(&item.at, format!("`matchers`: {message}"))),
        }
    }
    matchers
}

/// `['...']` is every label; otherwise names, each once.
fn group_by(fields: &mut Fields) -> Option<GroupBy> {
    let node = fields.node.get("group_by")?;
    let names = fields.get::<Vec<String>>("group_by")?;
    if names == ["..."] {
        return Some(GroupBy::All);
    }
    let mut seen = HashSet::new();
    let Value::Sequence(items) = &node.value else { return None };
    for (name, item) in names.iter().zip(items) {
        let message = match name.as_str() {
            "..." => "`...` means every label, so it stands alone".to_owned(),
            name if !is_label_name(name) => format!("`{}` is no name of a label", super::tree::shown(name)),
            name if !seen.insert(name) => format!("`{name}` is here twice"),
            _ => continue,
        };
        fields.problems.push(Problem::new(&item.at, format!("`group_by`: {message}")));
    }
    Some(GroupBy::Labels(names))
}

/// Every receiver that a route names must exist.
fn check_receivers(route: &Node, names: &HashSet<&str>, problems: &mut Vec<Problem>) {
    if let Some((node, name)) = route.get("receiver").and_then(|node| Some((node, node.text()?)))
        && !name.is_empty()
        && !names.contains(name)
    {
        let mut known: Vec<&str> = names.iter().copied().collect();
        known.sort_unstable();
        let known = if known.is_empty() { "there are none".to_owned() } else { format!("there are {}", list(&known)) };
        let message =
            format!("`receiver`: no receiver is called `{}` under `receivers`: {known}", super::tree::shown(name));
        problems.push(Problem::new(&node.at, message));
    }
    if let Some(Value::Sequence(children)) = route.get("routes").map(|node| &node.value) {
        children.iter().for_each(|child| check_receivers(child, names, problems));
    }
}

fn receivers(fields: &mut Fields) -> Vec<Receiver> {
    let items = fields.items("receivers");
    let mut seen: HashSet<String> = HashSet::new();
    let mut receivers = Vec::new();
    for item in items {
        let Some(receiver) = receiver(item, fields.problems) else { continue };
        if !seen.insert(receiver.name.clone()) {
            let at = item.get("name").map_or(&item.at, |name| &name.at);
            let message = format!("two receivers are called `{}`: give each its own name", receiver.name);
            fields.problems.push(Problem::new(at, message));
        }
        receivers.push(receiver);
    }
    receivers
}

fn receiver(node: &Node, problems: &mut Vec<Problem>) -> Option<Receiver> {
    let mut fields = Fields::of(node, "receivers", problems)?;
    for (key, _) in node.entries() {
        match key.text.as_str() {
            "name" | "webhook_configs" => {}
            other if other.ends_with("_configs") => {
                let message = unsupported(other) + ", or use `webhook_configs`";
                fields.problems.push(Problem::new(&key.at, message));
            }
            other => {
                let message = super::tree::unknown_key(other, &["name", "webhook_configs"]);
                fields.problems.push(Problem::new(&key.at, message));
            }
        }
    }
    if node.get("name").is_none() {
        fields.refuse("name", "a receiver needs a name");
    }
    let name = fields.text("name")?;
    let webhooks = fields.items("webhook_configs");
    let webhooks = webhooks.iter().filter_map(|node| webhook(node, problems)).collect();
    Some(Receiver { name, webhooks })
}

fn webhook(node: &Node, problems: &mut Vec<Problem>) -> Option<webhook::Settings> {
    let mut fields = Fields::of(node, "webhook_configs", problems)?;
    fields.only(WEBHOOK, WEBHOOK_LATER);
    let timeout = fields.duration("timeout", SHORTEST).unwrap_or(TIMEOUT);
    if timeout > MAX_TIMEOUT {
        fields.refuse("timeout", "a delivery gets one minute at most");
    }
    let before = fields.problems.len();
    let settings = webhook::Settings {
        send_resolved: fields.get("send_resolved").unwrap_or(true),
        max_alerts: fields.get("max_alerts").unwrap_or(0),
        timeout,
        signing_secrets: signing_secrets(&mut fields),
        url: one_of(&mut fields, "url", true)?,
    };
    if fields.problems.len() == before {
        let wrong = settings.check().into_iter().filter(|(key, _)| node.get(key).is_some());
        wrong.for_each(|(key, message)| fields.refuse(key, &message));
    }
    Some(settings)
}

/// What is wrong with the files of secrets: they are read for each attempt, so they may still come.
pub(super) fn unusable(node: &Node, alerting: &Alerting) -> Vec<Problem> {
    let receivers = node.get("receivers").map_or(&[][..], Node::items);
    let nodes = receivers.iter().filter_map(|node| node.get("webhook_configs")).flat_map(Node::items);
    let settings = alerting.receivers.iter().flat_map(|receiver| &receiver.webhooks);
    let mut problems = Vec::new();
    for (node, settings) in nodes.zip(settings) {
        for (key, message) in settings.check() {
            if let Some((key, value)) = node.entry(&format!("{key}_file")) {
                problems.push(Problem::new(&value.at, format!("`{}`: {message}", key.text)));
            }
        }
    }
    problems
}

/// Exactly one of `key` and `key_file`.
fn one_of(fields: &mut Fields, key: &str, required: bool) -> Option<SecretSource> {
    let file_key = format!("{key}_file");
    match (fields.node.get(key).is_some(), fields.node.get(&file_key).is_some()) {
        (true, true) => {
            fields.refuse(&file_key, &format!("`{key}` is given too: keep one of them"));
            None
        }
        (true, false) => fields.text(key).map(|text| SecretSource::Value(Secret::new(text))),
        (false, true) => fields.text(&file_key).map(|path| SecretSource::File(path.into())),
        (false, false) if required => {
            let message = format!("one of `{key}` and `{file_key}` is wanted");
            fields.problems.push(Problem::new(&fields.node.at, message));
            None
        }
        (false, false) => None,
    }
}

/// `signing_secrets`, or the file with one on each line.
fn signing_secrets(fields: &mut Fields) -> Vec<SecretSource> {
    if fields.node.get("signing_secrets_file").is_some() {
        return one_of(fields, "signing_secrets", false).into_iter().collect();
    }
    let mut keys = Vec::new();
    for item in fields.items("signing_secrets") {
        match signing_secret(item) {
            Ok(key) => keys.push(key),
            Err(problem) => fields.problems.push(problem),
        }
    }
    keys
}

fn signing_secret(item: &Node) -> Result<SecretSource, Problem> {
    let named = |message: String| Problem::new(&item.at, format!("`signing_secrets`: {message}"));
    let key = from_node(item).map(SecretSource::Value).map_err(|problem| named(problem.message))?;
    match sign::keys(&key) {
        Ok(_) => Ok(key),
        Err(error) => Err(named(format!("{error}: make one with `openssl rand -base64 32`"))),
    }
}
