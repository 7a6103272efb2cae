//! What the documents name is there: files, headings, and a runbook for each shipped alert.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use watchkeeper::rule;

#[test]
fn every_file_that_a_document_names_exists() {
    let missing: Vec<String> = documents()
        .iter()
        .flat_map(|(document, text)| {
            let folder = document.parent().unwrap().to_owned();
            let linked = links(text).into_iter().map(move |link| (folder.join(path_of(&link)), link));
            let named = quoted_paths(text).into_iter().map(|path| (PathBuf::from(&path), path));
            let gone = linked.chain(named).filter(|(path, _)| !path.as_os_str().is_empty() && !path.exists());
            gone.map(|(_, written)| format!("{}: {written}", document.display())).collect::<Vec<_>>()
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_heading_that_a_document_links_to_exists() {
    for (document, text) in documents() {
        for link in links(&text).iter().filter(|link| link.contains(".md#") || link.starts_with('#')) {
            let anchor = link.split('#').nth(1).unwrap();
            let page = match path_of(link) {
                "" => text.clone(),
                path => fs::read_to_string(document.parent().unwrap().join(path)).unwrap(),
            };
            assert!(headings(&page).contains(anchor), "{}: {link}", document.display());
        }
    }
}

#[test]
fn every_shipped_alert_has_a_runbook_and_no_other_has() {
    let shipped = rule::shipped();
    let alerts: BTreeSet<&str> = rule::names(&shipped).into_iter().filter(|name| !name.contains(':')).collect();
    let files = fs::read_dir("docs/runbooks").unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let runbooks: BTreeSet<&str> = names.iter().map(String::as_str).filter(|name| *name != "README").collect();
    assert_eq!(runbooks, alerts);
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut folders = vec![PathBuf::from("docs")];
    let mut found = vec![PathBuf::from("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What stands in `](…)`, without what leads elsewhere.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|link| !link.contains("://")).map(str::to_owned).collect()
}

fn path_of(link: &str) -> &str {
    link.split('#').next().unwrap_or_default()
}

/// Paths from the top of the repository that stand between backticks; patterns and commands are no paths, and Go
/// sources are Prometheus's.
fn quoted_paths(text: &str) -> Vec<String> {
    let tops = ["agent/", "docs/", "rules/", "tests/", ".ci/"];
    let quoted =
        text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |words: &&str| {
        tops.iter().any(|top| words.starts_with(top))
            && !words.contains(['*', ' ', '{', '…'])
            && !words.ends_with(".go")
    };
    quoted.filter(is_path).map(str::to_owned).collect()
}

/// The anchors of a page, as GitHub makes them.
fn headings(page: &str) -> BTreeSet<String> {
    let titles = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    titles.map(|title| title.to_lowercase().replace(' ', "-").chars().filter(|c| kept(*c)).collect()).collect()
}
