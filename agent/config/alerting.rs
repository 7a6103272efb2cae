//! Reads `alerting`: Alertmanager's `route` and `receivers`, in place or in a file of its own. What its grammar has
//! and this version does not is refused by name.

use std::collections::HashSet;
use std::time::Duration;

use super::Alerting;
use super::fields::{Fields, SHORTEST, unsupported};
use super::targets::is_label_name;
use super::tree::{Node, Problem, Value};
use super::words::{list, wanted_not};
use crate::alert::route::{GroupBy, Route};
use crate::matcher::Matcher;
use crate::notify::{self, Kind, Receiver};

/// Alertmanager's own sections that this version does not have.
const LATER: &[&str] = &["global", "templates", "inhibit_rules", "mute_time_intervals", "time_intervals"];
pub(super) const ROUTE: &[&str] =
    &["receiver", "matchers", "continue", "group_by", "group_wait", "group_interval", "repeat_interval", "routes"];
const ROUTE_LATER: &[&str] = &["match", "match_re", "mute_time_intervals", "active_time_intervals"];
/// Alertmanager's receivers that this version does not have.
const RECEIVERS_LATER: &[&str] = &[
    "discord_configs",
    "email_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "opsgenie_configs",
    "pushover_configs",
    "rocketchat_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];
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
    let kinds: Vec<&str> = notify::KINDS.iter().map(|kind| kind.key).collect();
    for (key, _) in node.entries() {
        let message = match key.text.as_str() {
            known if known == "name" || kinds.contains(&known) => continue,
            other if RECEIVERS_LATER.contains(&other) => unsupported(other) + ", or use `webhook_configs`",
            other => super::tree::unknown_key(other, &[&["name"], &*kinds].concat()),
        };
        fields.problems.push(Problem::new(&key.at, message));
    }
    if node.get("name").is_none() {
        fields.refuse("name", "a receiver needs a name");
    }
    let name = fields.text("name")?;
    let mut endpoints = Vec::new();
    for kind in notify::KINDS {
        let items = fields.items(kind.key);
        items.iter().for_each(|node| endpoints.extend(read_endpoints(kind, node, fields.problems)));
    }
    Some(Receiver::new(name, endpoints))
}

/// One item of a kind's list, with what is wrong with the values that stand in it.
fn read_endpoints(kind: &Kind, node: &Node, problems: &mut Vec<Problem>) -> Vec<notify::Settings> {
    let Some(mut fields) = Fields::of(node, kind.key, problems) else { return Vec::new() };
    fields.only(kind.keys, kind.later);
    let before = fields.problems.len();
    let endpoints = (kind.read)(&mut fields);
    if fields.problems.len() == before {
        for (key, message) in endpoints.iter().flat_map(notify::Settings::check) {
            if let Some(value) = value_of(node, key) {
                problems.push(Problem::new(&value.at, format!("`{key}`: {message}")));
            }
        }
    }
    endpoints
}

/// What is wrong with the files of secrets: they are read for each attempt, so they may still come.
pub(super) fn unusable(node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    for receiver in node.get("receivers").map_or(&[][..], Node::items) {
        for kind in notify::KINDS {
            for item in receiver.get(kind.key).map_or(&[][..], Node::items) {
                problems.extend(unusable_files(kind, item));
            }
        }
    }
    problems
}

fn unusable_files(kind: &Kind, node: &Node) -> Vec<Problem> {
    let mut ignored = Vec::new();
    let Some(mut fields) = Fields::of(node, kind.key, &mut ignored) else { return Vec::new() };
    let mut problems: Vec<Problem> = Vec::new();
    for (key, message) in (kind.read)(&mut fields).iter().flat_map(notify::Settings::check) {
        let key = format!("{key}_file");
        if let Some(value) = value_of(node, &key) {
            problems.push(Problem::new(&value.at, format!("`{key}`: {message}")));
        }
    }
    problems.dedup();
    problems
}

/// The value of a key, here or in a mapping right below (`basic_auth: {password: …}`).
fn value_of<'a>(node: &'a Node, key: &str) -> Option<&'a Node> {
    node.get(key).or_else(|| node.entries().iter().find_map(|(_, value)| value.get(key)))
}
