//! Notices when a file that the configuration names has changed. By looking, not by inotify: that needs a thread,
//! and misses what changes on network filesystems and below a mount. A Kubernetes ConfigMap swaps a symbolic link;
//! looking through it sees another inode.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Problem, files};
use crate::stamp::Stamp;

/// What a configuration was read from, and reads at each use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The file itself, rule files' patterns, the file of `alerting`.
    pub patterns: BTreeSet<PathBuf>,
    /// Secrets and certificates. Never patterns.
    pub paths: BTreeSet<PathBuf>,
}

impl Named {
    /// These, and the files that a rejected configuration has mistakes in: mending one of them is a change.
    pub fn with(mut self, main: Option<&Path>, problems: &[Problem]) -> Self {
        self.paths.extend(main.map(Path::to_owned));
        let places = problems.iter().filter(|problem| problem.at.line > 0);
        self.paths.extend(places.map(|problem| PathBuf::from(&*problem.at.file)));
        self
    }
}

type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// The files as they were when they were last acted upon.
#[derive(Debug)]
pub struct Changes {
    named: Named,
    known: Stamps,
    /// As seen at the look before.
    seen: Stamps,
}

impl Changes {
    pub fn new(named: Named) -> Self {
        let known = stamps(&named);
        Changes { seen: known.clone(), named, known }
    }

    /// The files are about to be read: what changes from now on counts.
    pub fn act(&mut self) {
        self.seen = stamps(&self.named);
        self.known.clone_from(&self.seen);
    }

    /// Looks at other files from now on. What has changed since [`Changes::act`] still counts.
    pub fn follow(&mut self, named: Named) {
        let now = stamps(&named);
        self.known = now.iter().map(|(path, stamp)| (path.clone(), *self.seen.get(path).unwrap_or(stamp))).collect();
        (self.named, self.seen) = (named, now);
    }

    /// Besides, looks at the files that a rejected configuration has mistakes in.
    pub fn follow_problems(&mut self, main: Option<&Path>, problems: &[Problem]) {
        let named = std::mem::take(&mut self.named).with(main, problems);
        self.follow(named);
    }

    /// Whether a file has changed since, and nothing changes any more: whoever writes has a look's time to finish.
    /// Says so once.
    pub fn look(&mut self) -> bool {
        let now = stamps(&self.named);
        let settled = now == self.seen;
        self.seen = now;
        if settled && self.seen != self.known {
            self.known.clone_from(&self.seen);
            return true;
        }
        false
    }
}

fn stamps(named: &Named) -> Stamps {
    // A folder that cannot be read has no files: that it has some again is a change.
    let found = named.patterns.iter().flat_map(|pattern| files::find(pattern).unwrap_or_default());
    found
        .chain(named.paths.iter().cloned())
        .map(|path| (Stamp::of(&path), path))
        .map(|(stamp, path)| (path, stamp))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A look that sees the change, and the one that finds it settled.
    fn changed(changes: &mut Changes) -> bool {
        changes.look() | changes.look()
    }

    #[test]
    fn a_change_is_told_once_it_has_settled_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yml");
        fs::write(&file, "one").unwrap();
        let mut changes = Changes::new(Named { patterns: BTreeSet::from([file.clone()]), ..Named::default() });
        assert!(!changed(&mut changes));
        fs::write(&file, "three").unwrap();
        assert!(!changes.look(), "it may still be written");
        assert!(changes.look());
        assert!(!changed(&mut changes));
        fs::remove_file(&file).unwrap();
        assert!(changed(&mut changes));
        fs::write(&file, "four").unwrap();
        assert!(changed(&mut changes));
    }

    #[test]
    fn a_file_that_becomes_readable_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        fs::write(&file, "one").unwrap();
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o000);
        let mut changes = Changes::new(Named { paths: BTreeSet::from([file.clone()]), ..Named::default() });
        assert!(!changed(&mut changes));
        mode(0o600);
        assert!(changed(&mut changes));
    }

    #[test]
    fn what_changes_while_the_files_are_read_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let named = |name: &str| Named { patterns: BTreeSet::from([dir.path().join(name)]), ..Named::default() };
        fs::write(dir.path().join("a.yml"), "one").unwrap();
        let mut changes = Changes::new(named("a.yml"));
        fs::write(dir.path().join("a.yml"), "three").unwrap();
        changes.act();
        changes.follow(named("a.yml"));
        assert!(!changed(&mut changes), "it was read");
        changes.act();
        fs::write(dir.path().join("a.yml"), "sixteen").unwrap();
        changes.follow(named("*.yml"));
        assert!(changed(&mut changes));
    }

    #[test]
    fn a_new_file_that_a_pattern_finds_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let patterns = BTreeSet::from([dir.path().join("*.yml")]);
        let mut changes = Changes::new(Named { patterns, ..Named::default() });
        fs::write(dir.path().join("other.txt"), "").unwrap();
        assert!(!changed(&mut changes));
        fs::write(dir.path().join("rules.yml"), "").unwrap();
        assert!(changed(&mut changes));
    }

    #[test]
    fn the_swap_of_a_config_map_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let version = |name: &str| {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("watchkeeper.yml"), "same text").unwrap();
        };
        let swap = |name: &str| {
            symlink(name, dir.path().join("..new")).unwrap();
            fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
        };
        version("..1");
        version("..2");
        swap("..1");
        symlink("..data/watchkeeper.yml", dir.path().join("watchkeeper.yml")).unwrap();
        let patterns = BTreeSet::from([dir.path().join("watchkeeper.yml")]);
        let mut changes = Changes::new(Named { patterns, ..Named::default() });
        assert!(!changed(&mut changes));
        swap("..2");
        assert!(changed(&mut changes));
    }

    #[test]
    fn the_file_with_the_mistake_is_looked_at_too() {
        let problem =
            Problem::new(&super::super::tree::Position { file: "/r/new.yml".into(), line: 3, column: 1 }, "bad");
        let named = Named::default().with(Some(Path::new("/etc/w.yml")), &[problem]);
        assert_eq!(named.paths, BTreeSet::from(["/etc/w.yml".into(), "/r/new.yml".into()]));
    }
}
