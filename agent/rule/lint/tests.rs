//! The corpus: every file under `tests/config/lint` is warned of with exactly the lines of its `.expected`. A line
//! `# config: …` at the top says what is watched. `BLESS=1` writes the `.expected` files anew: read what changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::load;

fn producers(config: &str) -> Producers {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchkeeper.yml");
    fs::write(&path, config).unwrap();
    let loaded = load::load(Some(&path), &BTreeMap::new(), &[]).unwrap_or_else(|problems| panic!("{problems:?}"));
    Producers::of(&loaded.config, None)
}

fn recorded(producers: &mut Producers, groups: &[Group]) {
    let rules = groups.iter().flat_map(|group| &group.rules);
    let recording = rules.filter(|rule| matches!(rule.kind, RuleKind::Recording { .. }));
    recording.for_each(|rule| producers.record(&rule.name));
}

fn warned(name: &str, text: &str) -> String {
    let groups = file::load(name, text, false).unwrap_or_else(|problems| panic!("{problems:?}"));
    let config = text.lines().next().and_then(|line| line.strip_prefix("# config: "));
    let mut producers = config.map(producers);
    producers.iter_mut().for_each(|producers| recorded(producers, &groups));
    let warnings = lint(name, text, producers.as_ref(), &mut Seen::new());
    warnings.iter().map(|warning| format!("{warning}\n")).collect()
}

#[test]
fn every_file_of_the_corpus_is_warned_of_as_expected() {
    let entries = fs::read_dir("tests/config/lint").unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    assert!(files.len() >= 5);
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let found = warned(&name, &fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("expected");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &found).unwrap();
        }
        assert_eq!(found, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
}

/// One target of each kind that shipped rules read, and an application.
const EVERYTHING: &str = "
targets:
  db: {postgres: {url: 'postgres://h/d'}}
  cache: {redis: {url: 'redis://h'}}
  api: {http: {url: 'http://h/'}}
  port: {tcp: {address: 'h:1'}}
  cert: {tls: {address: 'h:1'}}
  app: {scrape: {url: 'http://h/metrics'}}
  gateway: {websocket: {url: 'ws://h/'}}
  here: {host: {}}
";

#[test]
fn shipped_rules_warn_of_nothing() {
    let mut producers = producers(EVERYTHING);
    recorded(&mut producers, &crate::rule::shipped());
    let mut files: Vec<PathBuf> = fs::read_dir("rules").unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| !path.to_string_lossy().ends_with(".test.yml"));
    files.sort();
    for path in files {
        let (text, mut seen) = (fs::read_to_string(&path).unwrap(), Seen::new());
        let mut warnings = lint(&path.to_string_lossy(), &text, Some(&producers), &mut seen);
        // Rules of one name and severity for each priority or threshold are meant: they are told apart by the rest.
        warnings.retain(|warning| warning.lint != DUPLICATE_RULE);
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{}", warnings.join("\n"));
    }
}

#[test]
fn the_reference_documents_every_lint() {
    let page = fs::read_to_string("docs/reference/lint.md").unwrap();
    let missing: Vec<&&str> = LINTS.iter().filter(|lint| !page.contains(&format!("`{lint}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/lint.md does not mention {missing:?}");
}

/// Expressions that people run: few of them are wrong, and these are known by name. Prints what it finds.
#[test]
fn the_wild_corpus_is_warned_of_rarely() {
    let path = std::env::var("WILD_EXPRS").unwrap_or_else(|_| "../shared/promql/wild-exprs.txt".to_owned());
    let Ok(text) = fs::read(Path::new(&path)) else { return };
    let text = String::from_utf8_lossy(&text);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut exprs, mut lag) = (0, false);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let written = line.split('\t').next().unwrap_or_default();
        let Ok(expr) = crate::promql::parse(written) else { continue };
        exprs += 1;
        let mut findings = Vec::new();
        bound::find(&expr, &mut findings);
        counter::find(&expr, None, &mut findings);
        never::find(&expr, true, &mut findings);
        known::find(&expr, None, &mut findings);
        for finding in findings {
            *counts.entry(finding.lint).or_default() += 1;
            lag |= finding.message.contains("`pg_replication_lag`");
            println!("{}\t{}\t{written}", finding.lint, finding.message);
        }
    }
    println!("{exprs} expressions: {counts:?}");
    assert!(lag || !text.contains("pg_replication_lag "), "the well-known mistake is found");
    assert!(counts.values().sum::<usize>() < exprs / 10, "{exprs} expressions: {counts:?}");
}

/// Whole rule files of others, where they are. Prints what it finds.
#[test]
fn the_kubernetes_mixin_is_warned_of_its_duplicates_alone_as_by_promtool() {
    let Ok(entries) = fs::read_dir("../shared/promql/kubernetes-mixin") else { return };
    let files =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|of| of == "yaml"));
    let mut seen = Seen::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        for warning in lint(&path.to_string_lossy(), &text, None, &mut seen) {
            *counts.entry(warning.lint).or_default() += 1;
            println!("{warning}");
        }
    }
    println!("{counts:?}");
    assert_eq!(counts, BTreeMap::from([(DUPLICATE_RULE, 3)]));
}
