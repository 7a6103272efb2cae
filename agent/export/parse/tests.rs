use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Vec<Entry<'_>>, ParseError> {
    entries(text, Dialect::Prometheus, Limits::default()).collect()
}

fn read_open(text: &str) -> Result<Vec<Entry<'_>>, ParseError> {
    entries(text, Dialect::OpenMetrics, Limits::default()).collect()
}

fn samples(entries: Vec<Entry<'_>>) -> Vec<Sample<'_>> {
    let sample = |entry| match entry {
        Entry::Sample(sample) => Some(sample),
        _ => None,
    };
    entries.into_iter().filter_map(sample).collect()
}

fn one(text: &str) -> Sample<'_> {
    let found = samples(read(text).unwrap());
    assert_eq!(found.len(), 1);
    found[0]
}

fn labels(sample: Sample<'_>) -> Vec<(String, String)> {
    sample.labels().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

fn owned<const N: usize>(labels: [(&str, &str); N]) -> Vec<(String, String)> {
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn error(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_text_with_help_type_comments_and_blank_lines() {
    let text = "# a comment\n\n# HELP http_requests_total The \\\\ total\\nof \\\"requests\\\".\n# TYPE http_requests_total counter\nhttp_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n  \t\n# HELPLESS\n#\nmetric_without_timestamp_and_labels 12.47";
    let entries = read(text).unwrap();
    let help = "The \\ total\nof \\\"requests\\\".".into();
    assert_eq!(entries[0], Entry::Help { name: "http_requests_total", help });
    assert_eq!(entries[1], Entry::Type { name: "http_requests_total", kind: FamilyKind::Counter });
    let samples = samples(entries);
    assert_eq!(samples[0].name, "http_requests_total");
    assert_eq!(samples[0].series, "http_requests_total{method=\"post\",code=\"200\"}");
    assert_eq!(samples[0].timestamp, Some(1_395_066_363_000));
    assert_eq!((samples[1].series, samples[1].value), ("metric_without_timestamp_and_labels", 12.47));
}

#[test]
fn blanks_may_stand_where_prometheus_takes_them() {
    let sample = one(" a:b \t{ x = \"1\" , y\t=\"2\", } \t 3e-2  -15 ");
    assert_eq!((sample.name, sample.value, sample.timestamp), ("a:b", 0.03, Some(-15)));
    assert_eq!(labels(sample), owned([("x", "1"), ("y", "2")]));
    assert_eq!(labels(one("a{x=\"1\" y=\"2\"} 1")), owned([("x", "1"), ("y", "2")]), "commas may be left out");
    assert_eq!(labels(one("a{} 1")), []);
    assert_eq!(one("a{x=\"1\"}1").value, 1.0);
}

#[test]
fn label_values_are_unescaped_and_may_hold_anything() {
    let sample = one(r#"a{path="C:\\DIR\\n",says="\"hi\"\n",odd="\t\é",text="naïve 🌍 } , = #",empty=""} 1"#);
    let expected =
        [("path", "C:\\DIR\\n"), ("says", "\"hi\"\n"), ("odd", "\\t\\é"), ("text", "naïve 🌍 } , = #"), ("empty", "")];
    assert_eq!(labels(sample), owned(expected));
}

#[test]
fn special_floats_are_read_as_go_reads_them() {
    for (text, value) in [
        ("+Inf", f64::INFINITY),
        ("-inf", f64::NEG_INFINITY),
        ("INFINITY", f64::INFINITY),
        ("+5.", 5.0),
        (".5E+2", 50.0),
        ("-0", -0.0),
        ("1e-400", 0.0),
        ("5e-324", 5e-324),
    ] {
        assert_eq!(number(text).unwrap().to_bits(), value.to_bits(), "{text}");
    }
    assert!(number("nAn").unwrap().is_nan());
    for text in ["", "+NaN", "0x1p-2", "0x10", "1_000", "1e", "1e400", "-1e400", "1,5", "Infinit", "1\r"] {
        assert!(number(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    assert_eq!(error("a 1\n\n{} 2"), "line 3: expected a metric name, found \"{} 2\"");
    assert_eq!(error("9a 1"), "line 1: expected a metric name, found \"9a 1\"");
    assert_eq!(error("a"), "line 1: expected a value after a, found the end of the line");
    assert_eq!(error("a one"), "line 1: expected a number, found \"one\"");
    assert_eq!(error("a-b 1"), "line 1: expected a number, found \"-b\"");
    assert_eq!(error("a 1e999"), "line 1: \"1e999\" is out of range");
    assert_eq!(error("a 1 1.5"), "line 1: expected a timestamp, found \"1.5\"");
    assert_eq!(error("a 1 2 3"), "line 1: expected the end of the line, found \"3\"");
    assert_eq!(error("a 1 # {x=\"y\"} 1"), "line 1: expected the end of the line, found \"{x=\\\"y\\\"} 1\"");
    assert_eq!(error("a{x=\"1\" 1"), "line 1: expected a label name, found \"1\"");
    assert_eq!(error("a{x=\"1\","), "line 1: the braces of the labels are not closed");
    assert_eq!(error("a{x=\"1"), "line 1: the value of the label x is not closed");
    assert_eq!(error("a{x=\"1\\\"} 1"), "line 1: the value of the label x is not closed");
    assert_eq!(error("a{x=1} 1"), "line 1: expected =\"…\" after the label name x");
    assert_eq!(error("a{,} 1"), "line 1: expected a label name, found \",} 1\"");
    assert_eq!(error("a{x:y=\"1\"} 1"), "line 1: expected =\"…\" after the label name x");
    assert_eq!(error("a{x=\"1\",x=\"2\"} 1"), "line 1: the label x stands twice");
    assert_eq!(error("a{__name__=\"b\"} 1"), "line 1: the label __name__ stands before the braces");
    assert_eq!(error("# TYPE a thing"), "line 1: unknown type \"thing\" of a");
    assert_eq!(error("# HELP 1 x"), "line 1: expected a metric name, found \"1\"");
    let long = format!("# TYPE a {}", "ü".repeat(50));
    assert_eq!(error(&long), format!("line 1: unknown type \"{}\"… of a", "ü".repeat(40)));
}

/// Prometheus 3 asks for them with `escaping=allow-utf-8`, and reads them in every format.
#[test]
fn names_that_are_no_words_stand_in_quotes() {
    let text = "# HELP \"my.metric\" Help\n# TYPE \"my.metric\" gauge\n{\"my.metric\"} 1\n{\"my.metric\",\"a.b\"=\"c\"} 2\n{d=\"e\" ,\"f\\\"g\" ,} 3\nplain{\"é\"=\"x\"} 4\n";
    let found = read(text).unwrap();
    assert_eq!(found[0], Entry::Help { name: "my.metric", help: "Help".into() });
    assert_eq!(found[1], Entry::Type { name: "my.metric", kind: FamilyKind::Gauge });
    let sets: Vec<Vec<_>> = samples(found).iter().map(Sample::to_labels).collect();
    let set =
        |labels: &[(&str, &str)]| labels.iter().map(|(n, v)| Label { name: (*n).into(), value: (*v).into() }).collect();
    let expected: [Vec<Label>; 4] = [
        set(&[(METRIC_NAME, "my.metric")]),
        set(&[(METRIC_NAME, "my.metric"), ("a.b", "c")]),
        set(&[(METRIC_NAME, "f\"g"), ("d", "e")]),
        set(&[(METRIC_NAME, "plain"), ("é", "x")]),
    ];
    assert_eq!(sets, expected);
    assert_eq!(read_open("{\"a\",b=\"c\"} 1 # {\"x y\"=\"z\"} 1\n# EOF\n").unwrap().len(), 1);
    for text in [
        "{\"\"} 1",
        "{a=\"b\"} 1",
        "{\"a\",\"b\"} 1",
        "a{\"b\"} 1",
        "{\"a\" \"b\"=\"c\"} 1",
        "\"a\" 1",
        "a{\"\"=\"b\"} 1",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

/// By the type that was declared last, whatever the name, as Prometheus does it.
#[test]
fn bounds_of_histograms_and_summaries_are_floats() {
    let text = "h{le=\"1\"} 0\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{quantile=\"1\"} 1\nother{le=\"2\"} 1\n# HELP s x\n# TYPE s summary\ns{quantile=\"0\"} 1\ns{le=\"1\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n";
    let found: Vec<_> = samples(read(text).unwrap()).into_iter().flat_map(labels).map(|(_, value)| value).collect();
    assert_eq!(found, ["1", "1.0", "1", "2.0", "0.0", "1", "1"]);
    let text = "# TYPE h histogram\nh_bucket{le=\"5e2\"} 1\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\n# EOF\n";
    let found: Vec<_> =
        samples(read_open(text).unwrap()).into_iter().flat_map(labels).map(|(_, value)| value).collect();
    assert_eq!(found, ["500.0", "1"]);
}

#[test]
fn what_looks_like_a_declaration_and_is_none_is_a_comment() {
    assert_eq!(read("#TYPE a thing\n#HELP\n# TYPE\n# HELP \na 1\n").unwrap().len(), 1);
}

#[test]
fn nothing_follows_an_error() {
    let mut found = entries("a 1\nb\nc 3\n", Dialect::Prometheus, Limits::default());
    assert!(found.next().unwrap().is_ok());
    assert!(found.next().unwrap().is_err());
    assert_eq!(found.next(), None);
    assert_eq!(found.next(), None);
}

#[test]
fn an_open_metrics_text_must_be_complete() {
    assert_eq!(read_open("# TYPE a gauge\na 1\n# EOF\n").unwrap().len(), 2);
    let error = |text| read_open(text).unwrap_err().to_string();
    assert_eq!(error("a 1\n"), "line 1: the text ends without \"# EOF\": it was cut off");
    assert_eq!(error(""), "line 1: the text ends without \"# EOF\": it was cut off");
    assert_eq!(error("# EOF\na 1\n"), "line 2: \"a 1\" after \"# EOF\"");
    assert_eq!(error("# hello\n# EOF\n"), "line 1: expected HELP, TYPE, UNIT or EOF, found \"# hello\"");
    assert_eq!(error("\n# EOF\n"), "line 1: expected a metric name, found the end of the line");
}

#[test]
fn open_metrics_exemplars_are_skipped_and_timestamps_are_seconds() {
    let text = "a_bucket{le=\"0.1\"} 8 # {} 0.054\na_bucket{le=\"1\"} 11 1520879607.789 # {trace_id=\"KOO # {\"} 0.67 1.5\nb 1 -0.0015\n# EOF\n";
    let samples = samples(read_open(text).unwrap());
    let seen: Vec<_> = samples.iter().map(|sample| (sample.value, sample.timestamp)).collect();
    assert_eq!(seen, [(8.0, None), (11.0, Some(1_520_879_607_789)), (1.0, Some(-2))]);
    assert!(read_open("a 1 1e300\n# EOF\n").is_err());
    assert!(read_open("a 1 NaN\n# EOF\n").is_err());
}

#[test]
fn everything_is_bounded() {
    let limits = Limits { bytes: 40, samples: 2, labels: 2, label_bytes: 8 };
    let error = |text: &str| entries(text, Dialect::Prometheus, limits).find_map(Result::err).unwrap().to_string();
    assert_eq!(error(&"\n".repeat(41)), "line 1: 41 bytes, more than 40: expose less, or raise max_bytes");
    assert_eq!(error("a 1\nb 1\nc 1"), "line 3: more than 2 samples: expose less, or raise max_series");
    assert_eq!(error(r#"a{a="",b="",c=""} 1"#), "line 1: more than 2 labels: expose less, or raise max_labels");
    assert_eq!(
        error(r#"a{a="123456789"} 1"#),
        "line 1: a label value of 9 bytes, more than 8: expose less, or raise max_label_bytes"
    );
    assert_eq!(
        error(r#"a{a23456789=""} 1"#),
        "line 1: a label name of 9 bytes, more than 8: expose less, or raise max_label_bytes"
    );
    assert_eq!(
        error("a23456789 1"),
        "line 1: a metric name of 9 bytes, more than 8: expose less, or raise max_label_bytes"
    );
}

#[test]
fn equal_series_texts_are_equal_series() {
    let text = "a{x=\"1\"} 1\na{x=\"1\"}   2\n";
    let samples = samples(read(text).unwrap());
    assert_eq!(samples[0].series, samples[1].series);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        crate::fuzz::exposition(&text);
    }

    #[test]
    fn any_text_of_the_right_letters_is_read_or_refused(text in "[ab{}=,\"\\\\#\n 0-9eE.+#né]{0,60}") {
        crate::fuzz::exposition(&text);
        crate::fuzz::exposition(&format!("{text}\n# EOF\n"));
    }
}
