//! The shipped rules in a sixtieth of their time: a minute passes in a second.

use std::fs;
use std::time::Duration;

use regex::{Captures, Regex};
use watchkeeper::duration;
use watchkeeper::promql::Expr;
use watchkeeper::rule::{self, Group, RuleKind};

/// Name and text of each shipped rule file.
pub fn shipped_files() -> Vec<(String, String)> {
    let paths = fs::read_dir("rules").unwrap().map(|entry| entry.unwrap().path());
    let files = paths.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    let rules = files.filter(|name| !name.ends_with(".test.yml"));
    rules.map(|name| (name.clone(), fs::read_to_string(format!("rules/{name}")).unwrap())).collect()
}

/// The same rules with every duration cut to a sixtieth: `for`, `keep_firing_for`, a group's `interval`, windows.
/// Names, labels and annotations stay, also where they speak of minutes.
pub fn in_a_sixtieth_of_their_time(rules: &str) -> String {
    let durations = Regex::new(r"(?m)^( +(?:for|keep_firing_for|interval): )(\w+)$|(\[)(\w+)\]").unwrap();
    let shorten = |found: &Captures| match found.get(3) {
        None => format!("{}{}", &found[1], shortened(&found[2])),
        Some(_) => format!("[{}]", shortened(&found[4])),
    };
    durations.replace_all(rules, shorten).into_owned()
}

fn shortened(time: &str) -> String {
    duration::format(sixtieth(duration::parse(time).unwrap()))
}

fn sixtieth(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap() / 60)
}

/// An expression without its windows, and the windows.
fn apart(expr: &Expr) -> (String, Vec<Duration>) {
    let (text, windows) = (expr.to_string(), Regex::new(r"\[(\w+)\]").unwrap());
    let found = windows.captures_iter(&text).map(|found| duration::parse(&found[1]).unwrap()).collect();
    (windows.replace_all(&text, "[]").into_owned(), found)
}

/// Durations of a group and its rules, in order; and all else that there is to them.
fn durations_and_rest(group: &Group) -> (Vec<Duration>, Vec<String>) {
    let mut durations: Vec<Duration> = group.interval.into_iter().collect();
    let mut rest = vec![group.name.clone(), format!("{:?}", group.limit)];
    for rule in &group.rules {
        let (expr, windows) = apart(&rule.expr);
        durations.extend(windows);
        rest.extend([rule.id.clone(), expr]);
        match &rule.kind {
            RuleKind::Recording { labels } => rest.push(format!("{labels:?}")),
            RuleKind::Alerting(alerting) => {
                durations.extend([alerting.pending_for, alerting.keep_firing_for]);
                rest.push(format!("{:?} {:?}", alerting.labels, alerting.annotations));
            }
        }
    }
    (durations, rest)
}

#[test]
fn quick_rules_are_the_shipped_ones_but_for_their_durations_and_every_one_of_these_is_shorter() {
    let files = shipped_files();
    let mut names = Vec::new();
    for (file, text) in &files {
        let load = |text: &str| rule::file::load(file, text, true).unwrap_or_else(|problems| panic!("{problems:?}"));
        let (shipped, quick) = (load(text), load(&in_a_sixtieth_of_their_time(text)));
        assert_eq!(shipped.len(), quick.len(), "{file}");
        for (shipped, quick) in shipped.iter().zip(&quick) {
            let ((durations, rest), (quick_durations, quick_rest)) =
                (durations_and_rest(shipped), durations_and_rest(quick));
            assert_eq!(rest, quick_rest, "{file}");
            let wanted: Vec<_> = durations.into_iter().map(sixtieth).collect();
            assert_eq!(quick_durations, wanted, "{file}: {}", shipped.name);
            names.extend(quick.rules.iter().map(|rule| rule.name.clone()));
        }
    }
    let shipped = rule::shipped();
    let mut all = rule::names(&shipped);
    all.sort_unstable();
    names.sort_unstable();
    assert_eq!(names, all, "the files are those that come with the agent");
}
