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
    let held = &loaded.config.hold_shipped;
    groups.iter_mut().for_each(|group| group.hold = held.iter().any(|file| rule::is_shipped_as(group, file)));
    for rules in &loaded.source.rules {
        match rule::file::load(&rules.file.path.to_string_lossy(), &rules.file.text, rules.hold) {
            Ok(mut more) => {
                // As Prometheus's `rule_query_offset`; 0 s of a group's own counts.
                let default = loaded.config.evaluation.query_offset;
                more.iter_mut().for_each(|group| group.query_offset = group.query_offset.or(Some(default)));
                groups.extend(more);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::SHIPPED_FILES;

    /// The shipped files whose alerts are held under a configuration.
    fn held(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watchkeeper.yml");
        std::fs::write(&path, text).unwrap();
        let (_, groups) = usable(|shipped| load::load(Some(&path), &BTreeMap::new(), shipped)).unwrap();
        let mut held: Vec<String> = groups.into_iter().filter(|group| group.hold).map(|group| group.file).collect();
        held.dedup();
        held
    }

    #[test]
    fn shipped_files_are_held_all_or_none_or_those_that_are_listed() {
        let all = SHIPPED_FILES.map(|name| format!("shipped:{name}.yml"));
        assert_eq!(held("{}"), all);
        assert_eq!(held("shipped_rules: {hold: true}"), all);
        assert_eq!(held("shipped_rules: {hold: false}"), [""; 0]);
        assert_eq!(held("shipped_rules: {hold: []}"), [""; 0]);
        assert_eq!(held("shipped_rules: {hold: [redis, targets]}"), ["shipped:targets.yml", "shipped:redis.yml"]);
    }
}
