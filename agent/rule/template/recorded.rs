//! What a real Prometheus made of the templates in `tests/rules/templates.json` (`tests/rules/record_templates`).

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::*;
use crate::matcher::Matcher;
use crate::promql::{self, Select, Settings, Value as Found, Visit};
use crate::sample::Timestamp;

/// Where we differ on purpose: a part of the template, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("{{ 1 | }}", "Go takes a pipe that leads nowhere; it is a mistake, and refused"),
    ("-9223372036854775808", "the parser reads no integer that small"),
    ("{{- /* c */}} b", "the parser trims on both sides of a comment that asks for one"),
    ("{{ query \"1 +\"", "what is wrong with an expression is said in our words"),
    ("1i", "complex numbers, which no alert has"),
    ("{{ template \"t\" . }}{{ end }}{{ template \"t\" 5 }}", "recursion ends after 200 levels, not after 100,000"),
    ("{{ match \"(\"", "what is wrong with a regular expression is said in our words"),
    ("{{ reReplaceAll \"[\"", "the same"),
    ("{{ call $labels", "what is not a function is shown by its value, not as it is written"),
];

struct Nothing;

impl Select for Nothing {
    fn instant(&self, _: &[Matcher], _: Timestamp, _: i64) -> Vec<Sample> {
        Vec::new()
    }

    fn range(&self, _: &[Matcher], _: Timestamp, _: Timestamp, _: &mut Visit<'_>) {}
}

fn query(text: &str) -> Result<Vec<Sample>, String> {
    let expr = promql::parse(text).map_err(|error| error.message)?;
    match promql::evaluate(&expr, &Nothing, 0, &Settings::default()).map_err(|error| error.message)? {
        Found::Vector(samples) => Ok(samples),
        Found::Scalar(value) => Ok(vec![Sample { labels: Labels::default(), value }]),
        _ => Err("rule result is not a vector or scalar".to_owned()),
    }
}

fn pairs(json: &Json) -> BTreeMap<String, String> {
    serde_json::from_value(json.clone()).expect("labels")
}

#[test]
fn templates_expand_as_in_a_real_prometheus() {
    let recorded: Json = serde_json::from_str(include_str!("../../../tests/rules/templates.json")).expect("JSON");
    let labels = pairs(&recorded["labels"]);
    let labels = Labels::new(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let external_labels = pairs(&recorded["external_labels"]);
    let cases = recorded["cases"].as_array().expect("cases");
    let mut wrong = Vec::new();
    for case in cases {
        let (text, value) = (case[0].as_str().expect("text"), query(case[1].as_str().expect("value")).expect("value"));
        let data = Data {
            name: "X",
            labels: &labels,
            value: value[0].value,
            external_labels: &external_labels,
            external_url: recorded["external_url"].as_str().expect("url"),
            query: &query,
        };
        let ours = Template::parse(text).ok().map(|template| template.expand(&data));
        let differs = DIFFERENT.iter().any(|(part, _)| text.contains(part));
        if ours.as_deref() != case[2].as_str() && !differs {
            wrong.push(format!("{text}\n  {}\nours\n  {:?}\ntheirs\n  {:?}", case[1], ours, case[2].as_str()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
