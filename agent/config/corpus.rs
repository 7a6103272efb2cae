//! The corpus: every file under `tests/config/bad` is refused with exactly the lines of its `.expected`, every file
//! under `tests/config/good` is loaded. Lines `# env: NAME=value` at the top of a file set its environment.
//! `BLESS=1` writes the `.expected` files anew: read what changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::load::{Loaded, load};
use super::tree::Problem;

const SHIPPED: &[&str] = &["ServiceDown", "PoolExhausted", "AgentBlind"];

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new("tests/config").join(folder)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    files
}

fn environment(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("# env: "));
    lines.map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn loaded(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let env = environment(&String::from_utf8_lossy(&fs::read(path).unwrap()));
    let loaded = load(Some(path), &env, SHIPPED)?;
    if loaded.unusable.is_empty() { Ok(loaded) } else { Err(loaded.unusable) }
}

fn shown(problems: &[Problem]) -> String {
    let folder = "tests/config/bad/";
    problems.iter().map(|problem| problem.to_string().replace(folder, "") + "\n").collect()
}

/// `-` for what is expected and missing, `+` for what is there instead.
fn difference(expected: &str, found: &str) -> String {
    let missing = expected.lines().filter(|line| !found.lines().any(|other| other == *line));
    let surplus = found.lines().filter(|line| !expected.lines().any(|other| other == *line));
    let lines = missing.map(|line| format!("  - {line}")).chain(surplus.map(|line| format!("  + {line}")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_bad_file_is_refused_with_its_exact_messages() {
    let mut wrong = Vec::new();
    let files = files("bad");
    for path in &files {
        let expected_path = path.with_extension("expected");
        let found = match loaded(path) {
            Ok(_) => "loaded without a problem\n".to_owned(),
            Err(problems) => shown(&problems),
        };
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected_path, &found).unwrap();
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if expected != found {
            wrong.push(format!("{}:\n{}", path.display(), difference(&expected, &found)));
        }
    }
    assert!(files.len() >= 40, "the corpus has lost files: {} are left", files.len());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn every_good_file_is_loaded() {
    for path in files("good") {
        if let Err(problems) = loaded(&path) {
            panic!("{}:\n{}", path.display(), shown(&problems));
        }
    }
}

/// The blocks between "```yaml" and "```".
fn examples(page: &str) -> Vec<&str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn every_example_of_the_reference_is_loaded() {
    let pages = [
        "reference/configuration",
        "reference/receivers",
        "how-to/page-a-webhook",
        "how-to/page-pagerduty",
        "how-to/page-slack",
        "how-to/page-alertmanager",
    ];
    let pages: String = pages.iter().map(|page| fs::read_to_string(format!("docs/{page}.md")).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    fs::write(folder.path().join("rules/own.yml"), "groups: []\n").unwrap();
    fs::copy("tests/config/files/alertmanager.yml", folder.path().join("alertmanager.yml")).unwrap();
    let examples = examples(&pages);
    assert!(examples.len() > 8);
    for example in examples {
        let path = folder.path().join("watchkeeper.yml");
        fs::write(&path, example).unwrap();
        if let Err(problems) = load(Some(&path), &environment(example), SHIPPED) {
            panic!("{example}\n{}", shown(&problems));
        }
    }
}

#[test]
fn the_reference_names_every_key() {
    let page = fs::read_to_string("docs/reference/configuration.md").unwrap();
    let missing: Vec<&str> =
        super::known_keys().into_iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/configuration.md does not mention {missing:?}");
}
