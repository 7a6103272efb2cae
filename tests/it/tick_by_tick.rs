//! The alert state machine, tick by tick: for seeded rules over seeded series, what we say of every alert after every
//! evaluation, with the time from which it is active, is what promtool says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use fastrand::Rng;
use watchkeeper::duration;
use watchkeeper::rule::unit_test::{self, Options};

use crate::support::place::folder;
use crate::support::prometheus::{promtool, promtool3, run_promtool};

const SEEDS: std::ops::Range<u64> = 0..24;
const MINUTES: u64 = 40;
const METRICS: u32 = 4;
const ALERTS: u32 = 6;

/// What is asked after each evaluation.
const ASKED: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

/// Values that last a few minutes, ends and, where wanted, gaps.
fn values(gaps: bool, random: &mut Rng) -> String {
    let (mut values, mut value) = (String::new(), "0");
    for _ in 0..=MINUTES {
        if random.f32() < 0.35 {
            let gap = if gaps { "_" } else { "stale" };
            value = random.choice(["0", "0", "1", "2", "3", "stale", gap]).unwrap();
        }
        write!(values, "{value} ").unwrap();
    }
    values
}

fn series(gaps: bool, random: &mut Rng) -> String {
    let mut text = String::new();
    for metric in 0..METRICS {
        for part in ["x", "y"] {
            writeln!(text, "      - {{series: 'm{metric}{{part=\"{part}\"}}', values: {}}}", values(gaps, random))
                .unwrap();
        }
    }
    text
}

/// Some read what another rule says, which comes before or after them.
fn expression(random: &mut Rng) -> String {
    let (metric, other, level) = (random.u32(0..METRICS), random.u32(0..METRICS), random.u32(0..3));
    match random.u32(0..9) {
        0 | 1 => format!("m{metric} > {level}"),
        2 => format!("m{metric} == {level} unless on() m{other}{{part=\"x\"}} == 1"),
        3 => format!("max(m{metric}) >= {level}"),
        4 => format!("absent(m{metric}{{part=\"y\"}})"),
        5 => format!("m{metric} > 0 and on(part) m{other} < 2"),
        6 => format!("sum_over_time(m{metric}[150s]) > {level}"),
        7 => format!("recorded > {level}"),
        _ => {
            let state = random.choice(["pending", "firing"]).unwrap();
            format!("count(ALERTS{{alertname=\"A{}\", alertstate=\"{state}\"}}) > 0", random.u32(0..ALERTS))
        }
    }
}

fn alert(number: u32, random: &mut Rng) -> String {
    let wait = random.choice(["0s", "1m", "2m", "5m"]).unwrap();
    let keep = random.choice(["0s", "0s", "1m", "3m"]).unwrap();
    let labels =
        random.choice(["{}", "{severity: page}", "{of: 'part {{ $labels.part }}'}", "{level: '{{ $value }}'}"]);
    let expression = expression(random);
    format!(
        "    - {{alert: A{number}, expr: '{expression}', for: {wait}, keep_firing_for: {keep}, labels: {}}}\n",
        labels.unwrap()
    )
}

fn rules(random: &mut Rng) -> String {
    let half = ALERTS / 2;
    let mut text = "groups:\n- name: one\n  rules:\n".to_owned();
    (0..half).for_each(|number| text += &alert(number, random));
    writeln!(text, "    - {{record: recorded, expr: 'm{}'}}\n- name: two\n  rules:", random.u32(0..METRICS)).unwrap();
    (half..ALERTS).for_each(|number| text += &alert(number, random));
    text
}

type Answers = BTreeMap<(String, u64), Vec<(String, String)>>;

/// A unit test that asks after every minute, and expects these answers.
fn asking(series: &str, expected: &Answers) -> String {
    let mut text = format!(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ngroup_eval_order: [one, two]\ntests:\n  - interval: 1m\n    \
         input_series:\n{series}    promql_expr_test:\n"
    );
    for minute in 0..=MINUTES {
        for asked in ASKED {
            let samples = expected.get(&(asked.to_owned(), minute)).into_iter().flatten();
            let samples: Vec<_> = samples
                .map(|(labels, value)| format!("{{labels: {}, value: {value}}}", serde_json::json!(labels)))
                .collect();
            writeln!(text, "      - {{expr: {asked}, eval_time: {minute}m, exp_samples: [{}]}}", samples.join(", "))
                .unwrap();
        }
    }
    text
}

/// What we say, as it stands in the failures of a test that expects nothing.
fn answers(test: &Path) -> Answers {
    let report = unit_test::run(test, &Options::default()).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let mut answers = Answers::new();
    for failure in report.cases.iter().flat_map(|case| &case.failures) {
        let mut lines = failure.message.lines();
        let asked = lines.next().and_then(|line| line.strip_prefix('`')?.strip_suffix(':')?.split_once("` at "));
        let (expression, time) = asked.unwrap_or_else(|| panic!("{failure}"));
        let samples = lines.map(|line| {
            let sample = line.strip_prefix("    got, not expected: ").and_then(|sample| sample.rsplit_once(' '));
            sample.map(|(labels, value)| (labels.to_owned(), value.to_owned())).unwrap_or_else(|| panic!("{failure}"))
        });
        answers.insert((expression.to_owned(), duration::parse(time).unwrap().as_secs() / 60), samples.collect());
    }
    answers
}

#[test]
fn every_alert_is_in_the_same_state_since_the_same_time_as_in_promtool() {
    let mut states = 0;
    for seed in SEEDS {
        let (mut random, place) = (Rng::with_seed(seed), folder());
        let path = place.path().join("test.yml");
        std::fs::write(place.path().join("rules.yml"), rules(&mut random)).unwrap();
        // A sample of exactly five minutes ago is still seen by promtool 2.42, and no longer by promtool 3.
        let gaps = seed % 2 == 0;
        let series = series(gaps, &mut random);
        std::fs::write(&path, asking(&series, &Answers::new())).unwrap();
        let answers = answers(&path);
        states += answers.values().map(Vec::len).sum::<usize>();
        std::fs::write(&path, asking(&series, &answers)).unwrap();
        for tool in (!gaps).then(promtool).into_iter().chain(promtool3()) {
            let output = run_promtool(&tool, &["test", "rules", "test.yml"], "", place.path());
            let said = [&*output.stdout, &*output.stderr].concat();
            assert!(output.status.success(), "seed {seed}, {}: {}", tool.display(), String::from_utf8_lossy(&said));
        }
    }
    assert!(states > 1_000, "the rules say something: {states}");
}
