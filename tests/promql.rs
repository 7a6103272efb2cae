//! Runs PromQL scripts in the format of Prometheus's own acceptance tests (docs/contributing.md): those in
//! tests/promql, and every `*.test` in the folder that PROMQLTEST_DIR names.
//!
//! Prints `NAME: passed/total` for each file, then what failed, then which cases need what Watchkeeper leaves out
//! (native histograms, what a stock Prometheus has off): they are in no total. An argument names the files to run, by
//! a part of their name.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

#[path = "promql/compare.rs"]
mod compare;
#[path = "promql/data.rs"]
mod data;
#[path = "promql/features.rs"]
mod features;
#[path = "promql/judge.rs"]
mod judge;
#[path = "promql/notation.rs"]
mod notation;
#[path = "promql/script.rs"]
mod script;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use data::Data;
use judge::Verdict;
use script::Command;

/// What came of a file.
#[derive(Default)]
struct Score {
    passed: usize,
    failed: Vec<String>,
    unsupported: Vec<String>,
}

fn main() -> ExitCode {
    let wanted = filters();
    let files: Vec<PathBuf> =
        scripts().into_iter().filter(|path| wanted.iter().all(|part| name(path).contains(part))).collect();
    if std::env::args().any(|argument| argument == "--list") {
        files.iter().for_each(|path| println!("{}: test", name(path)));
        return ExitCode::SUCCESS;
    }
    let scores: Vec<Score> = files.iter().map(|path| run(path)).collect();
    scores.iter().flat_map(|score| &score.failed).for_each(|failure| println!("\nFAILED {failure}"));
    list_unsupported(&scores);
    if scores.iter().all(|score| score.failed.is_empty()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The arguments that are no options of the usual harness.
fn filters() -> Vec<String> {
    let valued = ["--test-threads", "--skip", "--format", "--color", "--logfile"];
    let mut arguments = std::env::args().skip(1);
    let mut found = Vec::new();
    while let Some(argument) = arguments.next() {
        if valued.contains(&argument.as_str()) {
            arguments.next();
        } else if !argument.starts_with('-') {
            found.push(argument);
        }
    }
    found
}

fn scripts() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql");
    let others = std::env::var_os("PROMQLTEST_DIR").map(PathBuf::from);
    std::iter::once(own).chain(others).flat_map(|folder| scripts_in(&folder)).collect()
}

fn scripts_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "test")).collect();
    assert!(!found.is_empty(), "{}: holds no *.test", folder.display());
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn run(path: &Path) -> Score {
    let mut score = Score::default();
    match std::fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| script::read(&text)) {
        Ok(commands) => obey(&name(path), commands, &mut score),
        Err(message) => score.failed.push(format!("{}: {message}", path.display())),
    }
    println!("{}: {}/{}", name(path), score.passed, score.passed + score.failed.len());
    score
}

fn obey(name: &str, commands: Vec<Command>, score: &mut Score) {
    let mut data = Data::default();
    for command in commands {
        match command {
            Command::Clear => data = Data::default(),
            Command::Load(load) => data.load(load),
            Command::Eval(eval) => {
                let place = |what: &str| format!("{name}:{}: {what}\n    {}", eval.line, eval.expr);
                match judge::judge(&eval, &data) {
                    Verdict::Passed => score.passed += 1,
                    Verdict::Failed(why) => score.failed.push(place(&why)),
                    Verdict::Unsupported(why) => score.unsupported.push(format!("{name}:{}: {why}", eval.line)),
                }
            }
        }
    }
}

fn list_unsupported(scores: &[Score]) {
    let all: Vec<&String> = scores.iter().flat_map(|score| &score.unsupported).collect();
    if !all.is_empty() {
        println!("\n{} cases need what Watchkeeper leaves out, and are in no total:", all.len());
        all.iter().for_each(|case| println!("  {case}"));
    }
}
