//! Reads `region`: the inputs must be targets, and each must be seen down in less than half a minute.

use std::time::Duration;

use super::fields::{Fields, SHORTEST};
use super::tree::{Node, Problem, Value, shown};
use super::words::{list, nearest, wanted_not};
use crate::duration;
use crate::region::{self, BUDGET, Input, Settings};
use crate::target::Target;

pub(super) const KEYS: &[&str] = &["name", "role", "inputs", "database", "clean", "actionable"];
pub(super) const INPUT: &[&str] = &["target", "latency", "soft_latency"];
const CLEAN: Duration = Duration::from_secs(60);
const SHORTEST_CLEAN: Duration = Duration::from_secs(1);
const LONGEST_NAME: usize = 100;
const MOST_INPUTS: usize = 100;

/// Reads the region. `node_of_targets` is the mapping that `targets` were read from: what is wrong there is no
/// target, and still no unknown name.
pub(super) fn region(
    node: &Node,
    node_of_targets: Option<&Node>,
    targets: &[Target],
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let before = problems.len();
    let mut fields = Fields::of(node, "region", problems)?;
    fields.only(KEYS, &[]);
    let name = name(&mut fields);
    let role = fields.get("role");
    let actionable = fields.get("actionable").unwrap_or(false);
    let clean = fields.duration("clean", SHORTEST_CLEAN).unwrap_or(CLEAN);
    let watched = Watched { names: names(node_of_targets), targets };
    let mut inputs = inputs(&mut fields, &watched);
    mark_databases(&mut fields, &mut inputs, &watched);
    let settings = Settings { name: name?, role, actionable, clean, inputs };
    (problems.len() == before).then_some(settings)
}

/// What `targets` holds: every name, and those targets that are right.
struct Watched<'a> {
    names: Vec<&'a str>,
    targets: &'a [Target],
}

impl<'a> Watched<'a> {
    fn target(&self, name: &str) -> Option<&'a Target> {
        self.targets.iter().find(|target| target.name == name)
    }
}

fn names(targets: Option<&Node>) -> Vec<&str> {
    targets.map_or(&[][..], Node::entries).iter().map(|(key, _)| key.text.as_str()).collect()
}

/// It stands in addresses and in metrics.
fn name(fields: &mut Fields) -> Option<String> {
    if fields.node.get("name").is_none() {
        fields.refuse("name", "the key is missing: a region needs a name");
    }
    let name = fields.text("name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = name.len() <= LONGEST_NAME && name.chars().all(fits) && !name.starts_with(['.', '-', '_']);
    if !is_name {
        let wanted = "letters, digits, `_`, `-` and `.`, first a letter or a digit, at most";
        fields.refuse("name", &format!("`{}` is no name for a region: {wanted} {LONGEST_NAME}", shown(&name)));
    }
    is_name.then_some(name)
}

fn inputs(fields: &mut Fields, watched: &Watched) -> Vec<Input> {
    let items = fields.items("inputs");
    if items.is_empty() {
        fields.refuse("inputs", "the names of the targets that the region rests on are wanted: one or more");
    }
    if items.len() > MOST_INPUTS {
        fields.refuse("inputs", &format!("{} of them: {MOST_INPUTS} at most", items.len()));
        return Vec::new();
    }
    let mut inputs: Vec<Input> = Vec::new();
    for item in items {
        let Some(input) = input(item, watched, fields.problems) else { continue };
        if inputs.iter().any(|known| known.target == input.target) {
            let message = format!("`inputs`: `{}` is here twice: keep one of them", input.target);
            fields.problems.push(Problem::new(&item.at, message));
        }
        inputs.push(input);
    }
    inputs
}

/// A target's name, or `{target: name, latency: …}`.
fn input(item: &Node, watched: &Watched, problems: &mut Vec<Problem>) -> Option<Input> {
    let (target, latencies) = match &item.value {
        Value::Mapping(_) => named(item, watched, problems)?,
        _ => (known(item, "inputs", watched, problems)?, (None, None)),
    };
    // What is wrong with the target itself stands at the target.
    let schedule = watched.target(target)?.schedule;
    let worst = region::worst_case(&schedule);
    if worst >= BUDGET {
        let message = format!(
            "`inputs`: `{target}` would be seen down after {} at worst (interval + fall·timeout + (fall−1)·confirm), and \
             a region must see it in less than {}: make its `interval`, `timeout`, `fall` or `confirm` smaller",
            duration::format(worst),
            duration::format(BUDGET)
        );
        problems.push(Problem::new(&item.at, message));
    }
    let (latency, soft_latency) = latencies;
    Some(Input {
        target: target.to_owned(),
        database: false,
        latency,
        soft_latency,
        rise: schedule.rise,
        fall: schedule.fall,
    })
}

type Latencies = (Option<Duration>, Option<Duration>);

fn named<'a>(item: &'a Node, watched: &Watched, problems: &mut Vec<Problem>) -> Option<(&'a str, Latencies)> {
    let mut fields = Fields { node: item, problems };
    fields.only(INPUT, &[]);
    let latency = fields.duration("latency", SHORTEST);
    let soft = fields.duration("soft_latency", SHORTEST);
    let Some(name) = item.get("target") else {
        fields.refuse("target", "the key is missing: it names the target");
        return None;
    };
    let target = known(name, "target", watched, fields.problems)?;
    check_latencies(&mut fields, watched.target(target)?, latency, soft);
    Some((target, (latency, soft)))
}

fn check_latencies(fields: &mut Fields, target: &Target, latency: Option<Duration>, soft: Option<Duration>) {
    let timeout = target.schedule.timeout;
    for (key, value) in [("latency", latency), ("soft_latency", soft)] {
        if let Some(value) = value.filter(|value| *value >= timeout) {
            let message = format!(
                "{} is never reached: a look at `{}` fails after {} (its `timeout`)",
                duration::format(value),
                target.name,
                duration::format(timeout)
            );
            fields.refuse(key, &message);
        }
    }
    if let (Some(latency), Some(soft)) = (latency, soft)
        && soft >= latency
    {
        let message = format!("{} is not less than `latency`: {}", duration::format(soft), duration::format(latency));
        fields.refuse("soft_latency", &message);
    }
    let worst = region::worst_case_of_latency(&target.schedule);
    if latency.is_some() && worst >= BUDGET {
        let message = format!(
            "that `{}` is slow would be seen after {} at worst (fall·interval + timeout + 1s), and a region must see it in \
             less than {}: make its `interval`, `timeout` or `fall` smaller",
            target.name,
            duration::format(worst),
            duration::format(BUDGET)
        );
        fields.refuse("latency", &message);
    }
}

/// The name of a target, if there is one.
fn known<'a>(node: &'a Node, key: &str, watched: &Watched, problems: &mut Vec<Problem>) -> Option<&'a str> {
    let message = match node.text() {
        Some(name) if watched.names.contains(&name) => return Some(name),
        Some(name) => {
            let what_then = match nearest(name, &watched.names) {
                Some(near) => format!("did you mean `{near}`?"),
                None if watched.names.is_empty() => "there are no targets".to_owned(),
                None => format!("there are {}", list(&watched.names)),
            };
            format!("`{key}`: no target is called `{}`: {what_then}", shown(name))
        }
        None => format!("`{key}`: {}", wanted_not("the name of a target", &node.describe())),
    };
    problems.push(Problem::new(&node.at, message));
    None
}

/// The inputs that `database` names; where it names none, those of the kind postgres.
fn mark_databases(fields: &mut Fields, inputs: &mut [Input], watched: &Watched) {
    if fields.node.get("database").is_none() {
        let is_postgres = |name: &str| watched.target(name).is_some_and(|target| target.settings.kind() == "postgres");
        inputs.iter_mut().for_each(|input| input.database = is_postgres(&input.target));
        return;
    }
    for item in fields.items("database") {
        let name = item.text().unwrap_or_default();
        match inputs.iter_mut().find(|input| input.target == name) {
            Some(input) => input.database = true,
            // Where the inputs are wrong themselves, that is said already.
            None if fields.node.get("inputs").is_some_and(|inputs| names_input(inputs, name)) => {}
            None => {
                let message = format!("`database`: `{}` is none of the `inputs`: add it there", shown(name));
                fields.problems.push(Problem::new(&item.at, message));
            }
        }
    }
}

fn names_input(inputs: &Node, name: &str) -> bool {
    let is = |node: &Node| node.text() == Some(name) || node.get("target").and_then(Node::text) == Some(name);
    inputs.items().iter().any(is)
}
