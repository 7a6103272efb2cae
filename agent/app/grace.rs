//! The grace of each target: from when it was first configured to its first success.

use std::collections::BTreeMap;

use crate::clock::millis;
use crate::config::Config;
use crate::sample::Timestamp;
use crate::state::{Grace, Op};

/// What follows from the graces that are known and the targets that are configured.
pub struct Graces {
    /// Those that still run, by target.
    pub running: BTreeMap<String, Grace>,
    /// One for each target.
    pub known: Vec<Grace>,
    /// What the state must learn.
    pub ops: Vec<Op>,
}

/// A target that was first configured without a grace has had its start: one that is added later does not run.
pub fn graces(config: &Config, known: Vec<Grace>, now: Timestamp) -> Graces {
    let mut known: BTreeMap<String, Grace> = known.into_iter().map(|grace| (grace.target.clone(), grace)).collect();
    let mut running = BTreeMap::new();
    let mut all = Vec::new();
    let mut ops = Vec::new();
    for target in &config.targets {
        let grace = known.remove(&target.name).unwrap_or_else(|| {
            let grace = Grace { target: target.name.clone(), configured_at: now, ended: target.grace.is_zero() };
            ops.push(Op::PutGrace(grace.clone()));
            grace
        });
        all.push(grace.clone());
        let left = grace.configured_at + millis(target.grace) - now;
        if !grace.ended && (0..=millis(target.grace)).contains(&left) {
            running.insert(target.name.clone(), grace);
        }
    }
    ops.extend(known.into_keys().map(Op::DeleteGrace));
    Graces { running, known: all, ops }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn grace_is_begun_once_and_what_is_over_stays_over() {
        let text = "targets: {plain: {tcp: {address: 'h:1'}}, new: {tcp: {address: 'h:1'}, grace: 30s}, old: {tcp: {address: 'h:1'}, grace: 30s}, \
                    late: {tcp: {address: 'h:1'}, grace: 30s}}";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watchkeeper.yml");
        std::fs::write(&path, text).unwrap();
        let environment = BTreeMap::from([("STATE_DIRECTORY".to_owned(), dir.path().display().to_string())]);
        let config =
            load::load(Some(&path), &environment, &[]).unwrap_or_else(|problems| panic!("{problems:?}")).config;
        let grace = |target: &str, configured_at, ended| Grace { target: target.to_owned(), configured_at, ended };
        let plain = || grace("plain", 90_000, true);
        let known =
            vec![plain(), grace("old", 95_000, true), grace("late", 69_999, false), grace("removed", 95_000, false)];
        let Graces { running, known: all, ops } = graces(&config, known, 100_000);
        assert_eq!(all.len(), 4);
        assert_eq!(running.keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(ops, [Op::PutGrace(grace("new", 100_000, false)), Op::DeleteGrace("removed".to_owned())]);

        let Graces { running, ops, .. } = graces(&config, vec![grace("new", 80_000, false)], 100_000);
        assert_eq!(running["new"].configured_at, 80_000, "a restart goes on where it was");
        assert_eq!(ops.len(), 3, "the others begin");
        assert!(ops.contains(&Op::PutGrace(grace("plain", 100_000, true))), "a grace that is added later is over");
    }
}
