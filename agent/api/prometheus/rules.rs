//! `/api/v1/rules` and `/api/v1/alerts`.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde_json::{Map, Value, json};

use super::form::Form;
use super::number::exponent;
use super::{Context, Refusal, success};
use crate::alert::{Alert, AlertState, CAUSE};
use crate::clock::rfc3339;
use crate::engine::status::{GroupStatus, RuleStatus};
use crate::matcher::Matcher;
use crate::sample::{Labels, Timestamp};

/// When something was that has not been yet, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Every pending and firing alert. Ours are `blind` with `blindSince` and `blindInputs`, while its inputs are stale or
/// unknown, and the annotation `cause`, why its target fails now.
pub async fn alerts(State(context): State<Arc<Context>>) -> Json<Value> {
    let alerts = context.alerts.borrow().clone();
    let alerts: Vec<Value> = alerts.iter().map(|of| alert(of, context.board.cause(&of.id.labels))).collect();
    success(json!({"alerts": alerts}))
}

fn alert(alert: &Alert, cause: Option<String>) -> Value {
    let mut value = json!({
        "labels": alert.id.labels,
        "annotations": alert.annotations,
        "state": name(alert.state),
        "activeAt": rfc3339(alert.active_at),
        "value": exponent(alert.value),
    });
    if let Some(cause) = cause.filter(|_| !alert.annotations.contains_key(CAUSE)) {
        value["annotations"][CAUSE] = cause.into();
    }
    if let Some(since) = alert.keep_firing_since {
        value["keepFiringSince"] = rfc3339(since).into();
    }
    if let Some(since) = alert.held_since {
        value["blind"] = true.into();
        value["blindSince"] = rfc3339(since).into();
        value["blindInputs"] = json!(alert.unknown_inputs);
    }
    value
}

fn name(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}

/// What of the rules is wanted.
struct Filter {
    alerting: bool,
    recording: bool,
    names: Vec<String>,
    groups: Vec<String>,
    files: Vec<String>,
    selectors: Vec<Vec<Matcher>>,
    exclude_alerts: bool,
}

impl Filter {
    fn read(form: &Form) -> Result<Self, Refusal> {
        let kind = form.get("type").to_lowercase();
        if !matches!(&*kind, "" | "alert" | "record") {
            return Err(Refusal::parameter("type", format!("not supported value {kind:?}")));
        }
        let all = |name| form.all(name).map(str::to_owned).collect();
        Ok(Filter {
            alerting: kind != "record",
            recording: kind != "alert",
            names: all("rule_name[]"),
            groups: all("rule_group[]"),
            files: all("file[]"),
            selectors: form.selectors().map_err(Refusal::BadData)?,
            exclude_alerts: flag(form, "exclude_alerts")?,
        })
    }

    fn wants_group(&self, group: &GroupStatus) -> bool {
        let has = |list: &[String], name: &str| list.is_empty() || list.iter().any(|wanted| wanted == name);
        has(&self.groups, &group.name) && has(&self.files, &group.file)
    }

    fn wants(&self, rule: &RuleStatus) -> bool {
        let kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        // What is templated is not known.
        let plain = rule.labels.iter().filter(|(_, text)| !text.contains("{{"));
        let labels = Labels::new(plain.map(|(name, text)| (name.as_str(), text.as_str())));
        let matches = |matchers: &Vec<Matcher>| matchers.iter().all(|matcher| matcher.matches_labels(&labels));
        kind && (self.names.is_empty() || self.names.contains(&rule.name))
            && (self.selectors.is_empty() || self.selectors.iter().any(matches))
    }
}

/// As Go reads a truth value.
fn flag(form: &Form, name: &str) -> Result<bool, Refusal> {
    match form.get(name) {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        other => Err(Refusal::parameter(name, format!("{other:?} is neither true nor false"))),
    }
}

/// The groups with their rules, how their newest evaluation went, and their active alerts.
pub async fn rules(State(context): State<Arc<Context>>, request: Request<Body>) -> Result<Json<Value>, Refusal> {
    let form = Form::read(request).await?;
    let filter = Filter::read(&form)?;
    let groups = context.rules.groups();
    let alerts = context.alerts.borrow().clone();
    let (first, count) = page(&form, &groups)?;
    let mut shown: Vec<Value> = Vec::new();
    let mut next = None;
    for group in groups[first..].iter().filter(|group| filter.wants_group(group)) {
        if shown.len() >= count {
            next = Some(token(group));
            break;
        }
        let rules: Vec<Value> = group
            .rules
            .iter()
            .filter(|rule| filter.wants(rule))
            .map(|rule| of_rule(group, rule, &alerts, &filter))
            .collect();
        if !rules.is_empty() {
            shown.push(of_group(group, rules));
        }
    }
    let mut data = Map::from_iter([("groups".to_owned(), Value::from(shown))]);
    data.extend(next.map(|token| ("groupNextToken".to_owned(), token.into())));
    Ok(success(Value::Object(data)))
}

/// Where the page begins, and how many groups it has.
fn page(form: &Form, groups: &[GroupStatus]) -> Result<(usize, usize), Refusal> {
    let (limit, wanted) = (form.get("group_limit"), form.get("group_next_token"));
    if limit.is_empty() && wanted.is_empty() {
        return Ok((0, usize::MAX));
    }
    if limit.is_empty() {
        let why = "group_limit needs to be present in order to paginate over the groups";
        return Err(Refusal::parameter("group_next_token", why));
    }
    let count = limit.parse::<usize>().ok().filter(|count| *count > 0);
    let count = count.ok_or_else(|| Refusal::parameter("group_limit", "group_limit needs to be greater than 0"))?;
    if wanted.is_empty() {
        return Ok((0, count));
    }
    let gone = || format!("invalid group_next_token '{wanted}'. were rule groups changed?");
    let first = groups.iter().position(|group| token(group) == wanted);
    Ok((first.ok_or_else(|| Refusal::parameter("group_next_token", gone()))?, count))
}

/// What names a group to come back to.
fn token(group: &GroupStatus) -> String {
    format!("{:016x}", Labels::new([("file", group.file.as_str()), ("name", &group.name)]).fingerprint())
}

fn of_group(group: &GroupStatus, rules: Vec<Value>) -> Value {
    json!({
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval.as_secs_f64(),
        "limit": group.limit,
        "evaluationTime": group.took.as_secs_f64(),
        "lastEvaluation": time(group.evaluated_at),
    })
}

fn of_rule(group: &GroupStatus, rule: &RuleStatus, alerts: &[Alert], filter: &Filter) -> Value {
    let labels: Map<String, Value> =
        rule.labels.iter().map(|(name, text)| (name.clone(), text.clone().into())).collect();
    let mut value = json!({"name": rule.name, "query": rule.query});
    // As in Prometheus, a recording rule without labels does not say so.
    if rule.alerting.is_some() || !labels.is_empty() {
        value["labels"] = Value::Object(labels);
    }
    if let Some(alerting) = &rule.alerting {
        let id =
            |alert: &&Alert| (&alert.id.file, &alert.id.group, &alert.id.rule) == (&group.file, &group.name, &rule.id);
        let active: Vec<&Alert> = alerts.iter().filter(id).collect();
        let annotations = alerting.annotations.iter().map(|(name, text)| (name.clone(), text.clone().into()));
        let listed = || Value::from(active.iter().map(|of| alert(of, None)).collect::<Vec<_>>());
        value["state"] = state(&active).into();
        value["duration"] = alerting.pending_for.as_secs_f64().into();
        value["keepFiringFor"] = alerting.keep_firing_for.as_secs_f64().into();
        value["annotations"] = Value::Object(annotations.collect());
        value["alerts"] = if filter.exclude_alerts { Value::Null } else { listed() };
    }
    value["health"] = match (&rule.error, group.evaluated_at) {
        (Some(error), _) => {
            value["lastError"] = error.clone().into();
            "err".into()
        }
        (None, Some(_)) => "ok".into(),
        (None, None) => "unknown".into(),
    };
    // Rules are not timed apart: an equal share of their group's time.
    value["evaluationTime"] = (group.took.as_secs_f64() / group.rules.len().max(1) as f64).into();
    value["lastEvaluation"] = time(group.evaluated_at).into();
    value["type"] = if rule.alerting.is_some() { "alerting" } else { "recording" }.into();
    value
}

fn state(active: &[&Alert]) -> &'static str {
    match active.iter().any(|alert| alert.state == AlertState::Firing) {
        true => name(AlertState::Firing),
        false if active.is_empty() => "inactive",
        false => name(AlertState::Pending),
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), rfc3339)
}
