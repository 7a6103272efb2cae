//! A configuration together with the rules that run under it.

use std::collections::BTreeMap;

use super::StartError;
use crate::config::Problem;
use crate::config::load::{self, Loaded, Source};
use crate::rule::{self, Group};
use crate::state::rows::Rows;

/// What is to be run.
pub struct Plan {
    pub loaded: Loaded,
    pub groups: Vec<Group>,
    /// What is wrong with the present configuration, when the last good one runs instead.
    pub rejected: Vec<Problem>,
}

/// A configuration with its rules, or everything that is wrong with either.
pub fn usable(load: impl Fn(&[&str]) -> Result<Loaded, Vec<Problem>>) -> Result<(Loaded, Vec<Group>), Vec<Problem>> {
    let mut groups = rule::shipped();
    let loaded = load(&rule::names(&groups))?;
    let mut problems = Vec::new();
    let disabled = &loaded.config.disabled_rules;
    groups.iter_mut().for_each(|group| group.rules.retain(|rule| !disabled.contains(&rule.name)));
    for rules in &loaded.source.rules {
        match rule::file::load(&rules.file.path.to_string_lossy(), &rules.file.text, rules.hold) {
            Ok(more) => groups.extend(more),
            Err(more) => problems.extend(more),
        }
    }
    rule::link(&mut groups);
    if problems.is_empty() { Ok((loaded, groups)) } else { Err(problems) }
}

/// The present configuration, or where it is bad, the last good one.
pub fn plan(
    present: Result<(Loaded, Vec<Group>), Vec<Problem>>,
    kept: &Rows,
    environment: &BTreeMap<String, String>,
) -> Result<Plan, StartError> {
    let rejected = match present {
        Ok((loaded, groups)) => return Ok(Plan { loaded, groups, rejected: Vec::new() }),
        Err(problems) => problems,
    };
    if kept.config.is_empty() {
        return Err(StartError::Config(rejected));
    }
    let source = Source::from_files(&kept.config);
    match usable(|shipped| load::load_from_snapshot(&source, environment, shipped)) {
        Ok((loaded, groups)) => Ok(Plan { loaded, groups, rejected }),
        // The last good one is of no use here either: what is wrong with the present one is what to mend.
        Err(_) => Err(StartError::Config(rejected)),
    }
}
