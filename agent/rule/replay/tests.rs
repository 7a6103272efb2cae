use std::fs;
use std::io::Write;
use std::path::Path;

use super::history::find;
use super::*;
use crate::rule::file;

const RULES: &str = "groups: [{name: g, interval: 10s, rules: [\
    {alert: Hot, expr: 'temperature > 30', for: 20s, labels: {severity: page}}, \
    {alert: Down, expr: 'up == 0'}, \
    {record: 'job:temperature:max', expr: 'max by (job) (temperature)'}, \
    {alert: Odd, expr: 'job:temperature:max > 90', for: 1m}]}]";
/// A multiple of ten seconds.
const START: i64 = 1_795_255_200;

fn page(folder: &Path, second: i64, text: &str) {
    fs::create_dir_all(folder).expect("a folder");
    fs::write(folder.join(format!("{}.prom", START + second)), text).expect("a page");
}

/// What happens, as (seconds, event, alert with instance), with seconds rounded down to tens: a group's offset
/// shifts its ticks. And the problems.
fn replayed(folder: &Path) -> (Vec<String>, Vec<String>, Summary) {
    let groups = file::load("r.yml", RULES, false).expect("rules");
    let settings = Settings { groups, interval: Duration::from_secs(15), external_labels: BTreeMap::new() };
    let (mut events, mut problems) = (Vec::new(), Vec::new());
    let history = find(folder).expect("a history");
    let summary = replay(&history, &settings, &mut |told| match told {
        Told::Transition(Transition { at, kind, alert }) => {
            let labels = &alert.id.labels;
            let second = (at / 1_000 - START).div_euclid(10) * 10;
            events.push(format!("{second} {kind:?} {} {}", labels.get("alertname"), labels.get("instance")));
        }
        Told::Problem(text) => problems.push(text.replace(&format!("{}/", folder.display()), "")),
    });
    (events, problems, summary.expect("replayed"))
}

#[test]
fn alerts_fire_and_resolve_as_they_would_have() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, two) = (folder.path().join("oven/a:1"), folder.path().join("oven/b:1"));
    for second in 0..12 {
        let hot = if (2..8).contains(&second) { 40 } else { 20 };
        page(&one, second * 10, &format!("# TYPE temperature gauge\ntemperature {hot}\n"));
        page(&two, second * 10, if second == 5 { "" } else { "temperature 25\n" });
    }
    let (events, problems, summary) = replayed(folder.path());
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(
        events,
        ["20 Pending Hot a:1", "40 Fired Hot a:1", "50 Fired Down b:1", "60 Resolved Down b:1", "80 Resolved Hot a:1"]
    );
    assert_eq!((summary.targets, summary.pages, summary.failed_looks, summary.fired), (2, 24, 1, 2));
    assert!(summary.firing.is_empty());
    assert_eq!(summary.span, Some((START * 1_000, (START + 110) * 1_000)));
}

#[test]
fn a_series_that_vanishes_ends_and_one_that_nobody_recorded_lasts_five_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    for (second, text) in
        [(0, "temperature 40\nx 1\n"), (30, "temperature 40\n"), (40, "x 1\n"), (50, "temperature 40\n")]
    {
        page(folder.path(), second, text);
    }
    page(folder.path(), 1_000, "x 1\n");
    let (events, _, _) = replayed(folder.path());
    // From 50 on nobody recorded anything until 1000.
    assert_eq!(
        events,
        [
            "0 Pending Hot ",
            "20 Fired Hot ",
            "40 Resolved Hot ",
            "50 Pending Hot ",
            "70 Fired Hot ",
            "350 Resolved Hot "
        ]
        .map(str::to_owned)
    );
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_counts_as_a_failed_look() {
    let folder = tempfile::tempdir().expect("a folder");
    page(folder.path(), 0, "temperature 20\n");
    page(folder.path(), 10, "temperature 20\nnonsense\n");
    fs::write(folder.path().join("1795255220.txt"), [0xff, 0xfe]).expect("a page");
    page(folder.path(), 30, "temperature 20\n");
    page(folder.path(), 40, "temperature 20\n");
    fs::write(folder.path().join("1795255230000.txt"), "temperature 20\n").expect("a page");
    let (events, problems, summary) = replayed(folder.path());
    assert_eq!(events, ["10 Fired Down ", "30 Resolved Down "]);
    assert_eq!(summary.failed_looks, 2);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("1795255210.prom:2: "), "{problems:?}");
    assert_eq!(problems[1], "1795255220.txt: is not UTF-8 text");
    assert!(problems[2].contains("has the same time"), "{problems:?}");
}

#[test]
fn pages_may_be_packed_and_of_either_dialect() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"# TYPE temperature gauge\ntemperature 40\n# EOF\n").expect("memory");
    fs::write(folder.path().join("2026-11-21T10-00-00Z.txt.gz"), packed.finish().expect("memory")).expect("a page");
    page(folder.path(), 30, "temperature 40\n");
    let (events, problems, _) = replayed(folder.path());
    assert_eq!((events.len(), problems.len()), (2, 0), "{events:?} {problems:?}");
}

#[test]
fn folders_deeper_than_job_and_instance_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    page(&folder.path().join("a/b/c"), 0, "x 1\n");
    assert!(find(folder.path()).expect_err("too deep").contains("DIR/JOB/INSTANCE"));
}

#[test]
fn the_store_keeps_no_more_than_the_rules_look_back_to() {
    let folder = tempfile::tempdir().expect("a folder");
    for second in 0..200 {
        page(folder.path(), second * 10, &format!("temperature{{at=\"{second}\"}} 1\n"));
    }
    let groups = file::load("r.yml", RULES, false).expect("rules");
    let settings = Settings { groups, interval: Duration::from_secs(15), external_labels: BTreeMap::new() };
    let history = find(folder.path()).expect("a history");
    let mut tell = |_| {};
    let mut run = Run::new(&history, &settings, &mut tell);
    for page in &history.pages {
        run.take(page);
        assert!(run.store.counts().series < 40);
    }
}
