//! The last good configuration as the state keeps it: pairs of what a file is for and where it was, and its text.

use std::path::PathBuf;

use super::load::{FileText, RuleText, Source};

const MAIN: &str = "configuration";
const ALERTING: &str = "alerting";
const RULES: &str = "rules";
const HELD_RULES: &str = "held rules";

impl Source {
    /// `(purpose: path, text)` for each file.
    pub fn to_files(&self) -> Vec<(String, String)> {
        let file = |purpose: &str, file: &FileText| (format!("{purpose}: {}", file.path.display()), file.text.clone());
        let main = self.main.iter().map(|main| file(MAIN, main));
        let alerting = self.alerting.iter().map(|alerting| file(ALERTING, alerting));
        let rules = self.rules.iter().map(|rules| file(if rules.hold { HELD_RULES } else { RULES }, &rules.file));
        main.chain(alerting).chain(rules).collect()
    }

    /// What [`Source::to_files`] wrote; files for a purpose of a later version are left out.
    pub fn from_files(files: &[(String, String)]) -> Self {
        let mut source = Source::default();
        for (name, text) in files {
            let Some((purpose, path)) = name.split_once(": ") else { continue };
            let file = FileText { path: PathBuf::from(path), text: text.clone() };
            match purpose {
                MAIN => source.main = Some(file),
                ALERTING => source.alerting = Some(file),
                RULES => source.rules.push(RuleText { file, hold: false }),
                HELD_RULES => source.rules.push(RuleText { file, hold: true }),
                _ => {}
            }
        }
        source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_comes_back_as_it_was_kept() {
        let file = |path: &str| FileText { path: path.into(), text: format!("text of {path}") };
        let rules = |path, hold| RuleText { file: file(path), hold };
        let source = Source {
            main: Some(file("/etc/w.yml")),
            alerting: Some(file("am: x.yml")),
            rules: vec![rules("a.yml", false), rules("b.yml", true)],
        };
        assert_eq!(Source::from_files(&source.to_files()), source);
    }
}
