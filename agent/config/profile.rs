//! Profiles: configurations of known platforms that come with the agent, as a layer below the file. Every part of one
//! can be overridden, and `false` leaves a part out.

use std::collections::BTreeMap;

use super::tree::{self, Node, Position, Problem};
use super::words::{list, nearest};
use super::{environment, expand};

/// Name and text of each.
const PROFILES: &[(&str, &str)] =
    &[("maxai", include_str!("profiles/maxai.yml")), ("orbisvoice", include_str!("profiles/orbisvoice.yml"))];

pub(super) const KEY: &str = "profile";

/// The names of all profiles.
pub fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|(name, _)| *name).collect()
}

/// The profile that the environment (`WATCHKEEPER__PROFILE`, which `--profile` sets) or else the file names.
pub(super) fn named(file: Option<&Node>, env: &BTreeMap<String, String>) -> Option<Node> {
    environment::value(KEY, env).or_else(|| file?.get(KEY).cloned()).filter(|node| node.text().is_some())
}

/// The tree of the profile that `named` is the name of, expanded.
pub(super) fn tree(named: &Node, env: &BTreeMap<String, String>, failed: &mut expand::Failed) -> Result<Node, Problem> {
    let name = named.text().unwrap_or_default();
    let Some((name, text)) = PROFILES.iter().find(|(known, _)| *known == name) else {
        let what_then = match nearest(name, &names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", list(&names())),
        };
        let at = match environment::variable_at(&named.at) {
            Some(variable) => Position::outside(format!("--profile, or {variable}")),
            None => named.at.clone(),
        };
        return Err(Problem::new(&at, format!("no profile is called `{}`: {what_then}", tree::shown(name))));
    };
    let mut tree = tree::parse(&format!("profile:{name}"), text)?;
    expand::expand(&mut tree, env, failed);
    Ok(tree)
}
