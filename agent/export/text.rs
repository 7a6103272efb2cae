//! Writes samples as text: Prometheus's format 0.0.4, or OpenMetrics 1.0.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::sample::{Labels, METRIC_NAME};

use super::catalogue::{Catalogue, Family, FamilyKind};
use super::names;
use super::parse::Dialect;

/// How a text is written: the dialect, and whether names in quotes are understood; else they are escaped by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub dialect: Dialect,
    pub quoted: bool,
}

/// What a text is served as.
pub fn content_type(format: Format) -> &'static str {
    match (format.dialect, format.quoted) {
        (Dialect::Prometheus, false) => "text/plain; version=0.0.4; charset=utf-8; escaping=values",
        (Dialect::Prometheus, true) => "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        (Dialect::OpenMetrics, false) => "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=values",
        (Dialect::OpenMetrics, true) => {
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        }
    }
}

/// The format that an `Accept` header prefers: OpenMetrics only where it is named, and no less wanted than plain text.
/// Names in quotes only with what says `escaping=allow-utf-8`.
pub fn preferred(accept: &str) -> Format {
    let (mut openmetrics, mut plain) = ((0.0, false), (0.0, false));
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameter = |name| parts.clone().find_map(|part| part.strip_prefix(name));
        let weight: f64 = parameter("q=").map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        let version = parameter("version=").unwrap_or("1.0.0");
        let quoted = version == "1.0.0" && parameter("escaping=") == Some("allow-utf-8");
        match media_type.as_str() {
            "application/openmetrics-text" if version == "1.0.0" && weight > openmetrics.0 => {
                openmetrics = (weight, quoted)
            }
            "text/plain" if weight > plain.0 => plain = (weight, quoted),
            _ => {}
        }
    }
    if openmetrics.0 > 0.0 && openmetrics.0 >= plain.0 {
        Format { dialect: Dialect::OpenMetrics, quoted: openmetrics.1 }
    } else {
        Format { dialect: Dialect::Prometheus, quoted: plain.1 }
    }
}

/// Appends the samples to `out`, grouped by metric family, families in order of their names, with the help and type
/// that the catalogue has. `extra` labels are added where a sample has none of that name. Samples without a metric name,
/// and those whose name is in `hidden`, are left out; timestamps are not written.
pub fn write<'a>(
    out: &mut String,
    format: Format,
    samples: impl IntoIterator<Item = (&'a Labels, f64)>,
    catalogue: &'a Catalogue,
    extra: &BTreeMap<String, String>,
    hidden: &[&str],
) {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (labels, value) in samples {
        let name = labels.metric_name();
        if name.is_empty() || hidden.contains(&name) {
            continue;
        }
        // Samples come by name: a family is looked up once.
        let family = match lines.last() {
            Some(last) if last.name == name => last.family,
            _ => catalogue.family_of(name),
        };
        lines.push(Line { name, labels, value, family });
    }
    lines.sort_by_key(Line::family_name);
    for family in lines.chunk_by(|one, next| one.family_name() == next.family_name()) {
        write_head(out, format, &family[0]);
        family.iter().for_each(|line| write_sample(out, format, line, extra));
    }
    if format.dialect == Dialect::OpenMetrics {
        out.push_str("# EOF\n");
    }
}

/// One sample on its way out.
struct Line<'a> {
    name: &'a str,
    labels: &'a Labels,
    value: f64,
    family: Option<&'a Family>,
}

impl<'a> Line<'a> {
    fn family_name(&self) -> &'a str {
        self.family.map_or(self.name, |family| &family.name)
    }
}

fn write_head(out: &mut String, format: Format, line: &Line<'_>) {
    let kind = line.family.map_or(FamilyKind::Unknown, |family| family.kind);
    let (name, kind) = match format.dialect {
        Dialect::Prometheus => (line.family_name(), kind.prometheus_name()),
        Dialect::OpenMetrics => kind.openmetrics_head(line.family_name()),
    };
    if let Some(family) = line.family.filter(|family| !family.help.is_empty()) {
        out.push_str("# HELP ");
        push_name(out, format, name, true);
        out.push(' ');
        push_escaped(out, &family.help, format.dialect == Dialect::OpenMetrics);
        out.push('\n');
    }
    out.push_str("# TYPE ");
    push_name(out, format, name, true);
    push_all(out, &[" ", kind, "\n"]);
}

fn write_sample(out: &mut String, format: Format, line: &Line<'_>, extra: &BTreeMap<String, String>) {
    let own = line.labels.iter().map(|label| (&*label.name, &*label.value)).filter(|(name, _)| *name != METRIC_NAME);
    let added = extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let added = added.filter(|(name, value)| !value.is_empty() && line.labels.get(name).is_empty());
    // A name in quotes stands inside the braces, in front.
    let inside = format.quoted && !names::is_plain(line.name, true);
    out.push_str(if inside { "{" } else { "" });
    push_name(out, format, line.name, true);
    let mut before = if inside { ',' } else { '{' };
    let mut braces = inside;
    for (name, value) in own.chain(added) {
        out.push(before);
        push_name(out, format, name, false);
        out.push_str("=\"");
        push_escaped(out, value, true);
        out.push('"');
        (before, braces) = (',', true);
    }
    out.push_str(if braces { "} " } else { " " });
    push_value(out, line.value);
    out.push('\n');
}

/// The name of a metric (which may have colons) or of a label.
fn push_name(out: &mut String, format: Format, name: &str, colons: bool) {
    if !format.quoted || names::is_plain(name, colons) {
        return out.push_str(&names::escaped(name, colons));
    }
    out.push('"');
    push_escaped(out, name, true);
    out.push('"');
}

fn push_all(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
}

/// Label values and OpenMetrics's help texts escape backslash, newline and quote; Prometheus's help texts the first two.
fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '\\' | '\n') || quotes && c == '"') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        out.push('\\');
        out.push_str(if special.starts_with('\n') { "n" } else { &special[..1] });
        rest = &special[1..];
    }
    out.push_str(rest);
}

/// The shortest decimal that reads back as the same float; very large and very small ones with an exponent.
fn push_value(out: &mut String, value: f64) {
    let size = value.abs();
    let written = match value {
        _ if value.is_nan() => out.write_str("NaN"),
        f64::INFINITY => out.write_str("+Inf"),
        f64::NEG_INFINITY => out.write_str("-Inf"),
        _ if size != 0.0 && !(1e-5..1e17).contains(&size) => write!(out, "{value:e}"),
        _ => write!(out, "{value}"),
    };
    debug_assert!(written.is_ok(), "a string takes what is written to it");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::export::parse::{Dialect, Entry, Limits, entries};

    const CLASSIC: Format = Format { dialect: Dialect::Prometheus, quoted: false };

    fn family(name: &'static str, help: &'static str, kind: FamilyKind) -> Family {
        Family { name: name.into(), help: help.into(), kind }
    }

    fn written(samples: &[(Labels, f64)], catalogue: &Catalogue, extra: &[(&str, &str)]) -> String {
        let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut out = String::new();
        let samples = samples.iter().map(|(labels, value)| (labels, *value));
        write(&mut out, CLASSIC, samples, catalogue, &extra, &["up", "ALERTS"]);
        out
    }

    fn named<const N: usize>(name: &str, labels: [(&str, &str); N]) -> Labels {
        Labels::new([("__name__", name)].into_iter().chain(labels))
    }

    #[test]
    fn families_are_sorted_and_each_stands_once_with_its_help_and_type() {
        let mut catalogue = Catalogue::default();
        catalogue.extend([
            family("b_total", "What \\ is\ncounted", FamilyKind::Counter),
            family("h", "A histogram", FamilyKind::Histogram),
        ]);
        let samples = [
            (named("b_total", [("x", "1")]), 1.0),
            (named("h_bucket", [("le", "1")]), 1.0),
            (named("h_bucket", [("le", "+Inf")]), 2.0),
            (named("h_buckets", []), 7.0),
            (named("h_count", []), 2.0),
            (named("h_sum", []), 2.5),
            (named("a_count", []), 3.0),
            (named("b_total", [("x", "2")]), 2.0),
        ];
        let expected = "\
# TYPE a_count untyped
a_count 3
# HELP b_total What \\\\ is\\ncounted
# TYPE b_total counter
b_total{x=\"1\"} 1
b_total{x=\"2\"} 2
# HELP h A histogram
# TYPE h histogram
h_bucket{le=\"1\"} 1
h_bucket{le=\"+Inf\"} 2
h_count 2
h_sum 2.5
# TYPE h_buckets untyped
h_buckets 7
";
        assert_eq!(written(&samples, &catalogue, &[]), expected);
    }

    #[test]
    fn openmetrics_names_families_without_the_suffix_and_ends() {
        let mut catalogue = Catalogue::default();
        catalogue.extend([
            family("b_total", "Say \"b\"", FamilyKind::Counter),
            family("commits", "", FamilyKind::Counter),
            family("build_info", "", FamilyKind::Info),
            family("h", "", FamilyKind::Histogram),
        ]);
        let samples = [
            (named("b_total", []), 1.0),
            (named("build_info", [("version", "1")]), 1.0),
            (named("commits", []), 3.0),
            (named("h_count", []), 0.0),
            (named("x", []), 2.0),
        ];
        let mut out = String::new();
        let shown = samples.iter().map(|(labels, value)| (labels, *value));
        let format = Format { dialect: Dialect::OpenMetrics, quoted: false };
        write(&mut out, format, shown, &catalogue, &BTreeMap::new(), &[]);
        let expected = r##"# HELP b Say \"b\"
# TYPE b counter
b_total 1
# TYPE build info
build_info{version="1"} 1
# TYPE commits unknown
commits 3
# TYPE h histogram
h_count 0
# TYPE x unknown
x 2
# EOF
"##;
        assert_eq!(out, expected);
        let read: Result<Vec<_>, _> = entries(&out, Dialect::OpenMetrics, Limits::default()).collect();
        assert!(read.is_ok(), "{read:?}");
    }

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
        let cases = [
            ("", Dialect::Prometheus),
            ("*/*", Dialect::Prometheus),
            ("text/html, */*", Dialect::Prometheus),
            ("application/openmetrics-text", Dialect::OpenMetrics),
            ("Application/OpenMetrics-Text; q=0.5, text/plain; q=0.4", Dialect::OpenMetrics),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Dialect::Prometheus),
            ("application/openmetrics-text;version=0.0.1", Dialect::Prometheus),
            ("application/openmetrics-text;q=nonsense", Dialect::Prometheus),
            (prometheus_3, Dialect::OpenMetrics),
        ];
        for (accept, expected) in cases {
            assert_eq!(preferred(accept).dialect, expected, "{accept}");
        }
        assert!(preferred(prometheus_3).quoted && !preferred("text/plain;version=0.0.4;escaping=allow-utf-8").quoted);
        assert!(!preferred("").quoted && preferred("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3").quoted);
    }

    #[test]
    fn a_name_that_is_no_word_stands_in_quotes_or_is_escaped() {
        let samples = [(named("my.metric", [("my.label", "x"), ("b:c", "y")]), 1.0), (named("plain\"", []), 2.0)];
        let shown = |format| {
            let mut out = String::new();
            let samples = samples.iter().map(|(labels, value)| (labels, *value));
            write(&mut out, format, samples, &Catalogue::default(), &BTreeMap::new(), &[]);
            out
        };
        let quoted = r##"# TYPE "my.metric" untyped
{"my.metric","b:c"="y","my.label"="x"} 1
# TYPE "plain\"" untyped
{"plain\""} 2
"##;
        assert_eq!(shown(Format { dialect: Dialect::Prometheus, quoted: true }), quoted);
        let escaped = r##"# TYPE U__my_2e_metric untyped
U__my_2e_metric{U__b_3a_c="y",U__my_2e_label="x"} 1
# TYPE U__plain_22_ untyped
U__plain_22_ 2
"##;
        assert_eq!(shown(CLASSIC), escaped);
    }

    #[test]
    fn extra_labels_are_added_where_a_sample_has_none_of_that_name() {
        let samples = [(named("a", [("region", "own")]), 1.0), (named("b", []), 1.0)];
        let text = written(&samples, &Catalogue::default(), &[("region", "us-east"), ("zone", "a\"b"), ("none", "")]);
        assert!(text.contains("a{region=\"own\",zone=\"a\\\"b\"} 1\n"), "{text}");
        assert!(text.contains("b{region=\"us-east\",zone=\"a\\\"b\"} 1\n"), "{text}");
    }

    #[test]
    fn what_is_internal_and_what_has_no_name_stays_inside() {
        let samples = [(named("up", []), 1.0), (named("ALERTS", []), 1.0), (Labels::new([("a", "b")]), 1.0)];
        assert_eq!(written(&samples, &Catalogue::default(), &[]), "");
    }

    #[test]
    fn values_are_short_and_go_can_read_them() {
        let shown = |value| {
            let mut out = String::new();
            push_value(&mut out, value);
            out
        };
        let values = [0.0, -0.0, 1.0, 0.1, 1_700_000_000.0, 1e21, 1.5e-7, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let expected = ["0", "-0", "1", "0.1", "1700000000", "1e21", "1.5e-7", "NaN", "+Inf", "-Inf"];
        assert_eq!(values.map(shown), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back_bit_by_bit(
            values in prop::collection::vec((any::<f64>(), "\\PC*|[\"\\\\\n{}n]*"), 1..8),
        ) {
            let labels = |at: usize, text: &str| named("metric", [("at", at.to_string().as_str()), ("text", text)]);
            let samples: Vec<_> = values.iter().enumerate().map(|(at, (value, text))| (labels(at, text), *value)).collect();
            let text = written(&samples, &Catalogue::default(), &[]);
            let read = entries(&text, Dialect::Prometheus, Limits::default()).map(Result::unwrap);
            let read: Vec<_> = read.filter_map(|entry| match entry {
                Entry::Sample(sample) => Some((Labels::from_labels(sample.to_labels()), sample.value)),
                _ => None,
            }).collect();
            prop_assert_eq!(read.len(), samples.len());
            for (read, sample) in read.iter().zip(&samples) {
                prop_assert_eq!(&read.0, &sample.0);
                prop_assert!(read.1.to_bits() == sample.1.to_bits() || read.1.is_nan() && sample.1.is_nan());
            }
        }
    }
}
