//! Expected texts are what promtool 3.5 prints for the same template and value.

use std::collections::BTreeMap;

use super::*;

fn expand(text: &str, value: f64) -> String {
    let labels = Labels::new([("a", "b")]);
    let external = BTreeMap::from([("cluster".to_owned(), "c1".to_owned())]);
    let data = Data {
        name: "X",
        labels: &labels,
        value,
        external_labels: &external,
        external_url: "http://p/x",
        query: &answer,
    };
    Template::parse(text).expect(text).expand(&data)
}

/// Two series, whatever is asked; `none` has none, `wrong` fails.
fn answer(expr: &str) -> Result<Vec<Sample>, String> {
    let sample = |job, value| Sample { labels: Labels::new([("job", job)]), value };
    match expr {
        "none" => Ok(Vec::new()),
        "wrong" => Err("it is wrong".to_owned()),
        _ => Ok(vec![sample("b", 2.0), sample("a", 1.5)]),
    }
}

#[test]
fn a_template_asks_the_data() {
    let table = [
        (r#"{{ query "x" | first | value }} {{ query "y" | first | label "job" }}"#, "2 b"),
        (r#"{{ range query "x" | sortByLabel "job" }}{{ .Labels.job }}={{ .Value }};{{ end }}"#, "a=1.5;b=2;"),
        (r#"{{ with query "none" }}some{{ else }}none{{ end }}"#, "none"),
        (r#"{{ query "x" | first | strvalue }}|{{ (query "x" | first).Labels.nope }}"#, "|"),
        (r#"{{ define "t" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template "t" (args "a" 5) }}"#, "a-5"),
        (
            r#"{{ graphLink "up == 0" }} {{ tableLink "a*b" }}"#,
            "/graph?g0.expr=up+%3D%3D+0&g0.tab=0 /graph?g0.expr=a%2Ab&g0.tab=1",
        ),
        ("{{ pathPrefix }} {{ externalURL }} {{ safeHtml \"<b>\" }}", "/x http://p/x <b>"),
        (
            r#"{{ stripDomain "a.b.c:80" }} {{ stripDomain "10.0.0.1:80" }} {{ stripDomain "a.b" }}"#,
            "a:80 10.0.0.1:80 a",
        ),
        ("{{ toTime 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
    ];
    for (template, text) in table {
        assert_eq!(expand(template, 0.0), text, "{template}");
    }
    for (template, error) in
        [(r#"{{ query "none" | first }}"#, "first() called on"), (r#"{{ query "wrong" }}"#, "it is wrong")]
    {
        let text = expand(template, 0.0);
        assert!(
            text.starts_with("<error expanding template: error executing template") && text.contains(error),
            "{text}"
        );
    }
}

fn mistakes(text: &str) -> Vec<(usize, String)> {
    let found = Template::parse(text).expect_err(text);
    found.into_iter().map(|mistake| (mistake.offset, mistake.message)).collect()
}

#[test]
fn values_print_as_go_prints_them() {
    let table = [
        (0.0, "0"),
        (-1.0, "-1"),
        (1e6, "1e+06"),
        (123456789.0, "1.23456789e+08"),
        (100000.0, "100000"),
        (1234567.0, "1.234567e+06"),
        (0.00001, "1e-05"),
        (0.0001, "0.0001"),
        (1e21, "1e+21"),
        (1435065584.128, "1.435065584128e+09"),
        (f64::INFINITY, "+Inf"),
        (f64::NEG_INFINITY, "-Inf"),
        (f64::NAN, "NaN"),
    ];
    for (value, text) in table {
        assert_eq!(expand("{{ $value }}", value), text);
        assert_eq!(expand("{{ .Value }}", value), text);
    }
}

#[test]
fn humanize_uses_si_prefixes_and_four_digits() {
    let table = [
        (0.0, "0"),
        (123456789.0, "123.5M"),
        (1234567.0, "1.235M"),
        (0.00001, "10u"),
        (1e21, "1Z"),
        (0.1, "100m"),
        (1e300, "1e+276Y"),
        (999.99, "1000"),
        (999.999, "1000"),
        (1e-30, "1e-06y"),
        (-93784.0, "-93.78k"),
        (-0.5, "-500m"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "+Inf"),
    ];
    for (value, text) in table {
        assert_eq!(expand("{{ humanize $value }}", value), text);
    }
}

#[test]
fn humanize1024_uses_binary_prefixes() {
    let table = [
        (0.0001, "0.0001"),
        (1023.0, "1023"),
        (1024.0, "1ki"),
        (1048576.0, "1Mi"),
        (1e6, "976.6ki"),
        (1e300, "8.272e+275Yi"),
        (-0.5, "-0.5"),
        (f64::NEG_INFINITY, "-Inf"),
    ];
    for (value, text) in table {
        assert_eq!(expand("{{ humanize1024 $value }}", value), text);
    }
}

#[test]
fn durations_are_written_from_days_to_yoctoseconds() {
    let table = [
        (0.0, "0s"),
        (-0.0, "-0s"),
        (1.0, "1s"),
        (59.9, "59.9s"),
        (100.0, "1m 40s"),
        (3661.5, "1h 1m 1s"),
        (90061.0, "1d 1h 1m 1s"),
        (-93784.0, "-1d 2h 3m 4s"),
        (0.0123, "12.3ms"),
        (0.00001, "10us"),
        (1e-30, "1e-06ys"),
        (f64::NAN, "NaN"),
    ];
    for (value, text) in table {
        assert_eq!(expand("{{ humanizeDuration $value }}", value), text);
    }
}

#[test]
fn percentages_and_timestamps() {
    assert_eq!(expand("{{ humanizePercentage $value }}", 0.0123), "1.23%");
    assert_eq!(expand("{{ humanizePercentage $value }}", 1e6), "1e+08%");
    assert_eq!(expand("{{ humanizePercentage $value }}", f64::NAN), "NaN%");
    let table = [
        (0.0, "1970-01-01 00:00:00 +0000 UTC"),
        (1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        (0.1, "1970-01-01 00:00:00.1 +0000 UTC"),
        (-0.5, "1969-12-31 23:59:59.5 +0000 UTC"),
        (1e6, "1970-01-12 13:46:40 +0000 UTC"),
        (f64::INFINITY, "+Inf"),
    ];
    for (value, text) in table {
        assert_eq!(expand("{{ humanizeTimestamp $value }}", value), text);
    }
    assert!(expand("{{ humanizeTimestamp $value }}", 1e20).starts_with("<error expanding template: "));
}

#[test]
fn humanize_takes_strings_that_hold_numbers() {
    assert_eq!(expand(r#"{{ humanize "1234.5" }}"#, 0.0), "1.234k");
    assert_eq!(expand("{{ humanizeDuration 90 }}", 0.0), "1m 30s");
    assert_eq!(
        expand(r#"{{ humanize "foo" }}"#, 0.0),
        concat!(
            r#"<error expanding template: error executing template __alert_X: template: __alert_X:1:115: executing "#,
            r#""__alert_X" at <humanize "foo">: error calling humanize: strconv.ParseFloat: parsing "foo": invalid syntax>"#
        )
    );
}

#[test]
fn printf_formats_floats_as_go_does() {
    let format = r#"{{ printf "%v|%g|%d|%s|%e|%6.1f|%-8.2f|%+f|%.3g|%08.2f|%q|%t" $value $value $value $value $value $value $value $value $value $value $value $value }}"#;
    assert_eq!(
        expand(format, 1e6),
        "1e+06|1e+06|%!d(float64=1e+06)|%!s(float64=1e+06)|1.000000e+06|1000000.0|1000000.00|+1000000.000000|1e+06|1000000.00|%!q(float64=1e+06)|%!t(float64=1e+06)"
    );
    assert_eq!(
        expand(format, f64::INFINITY),
        "+Inf|+Inf|%!d(float64=+Inf)|%!s(float64=+Inf)|+Inf|  +Inf|+Inf    |+Inf|+Inf|    +Inf|%!q(float64=+Inf)|%!t(float64=+Inf)"
    );
    assert_eq!(expand(r#"{{ $value | printf "%.2f" }}"#, 1.0), "1.00");
    assert_eq!(
        expand(r#"{{ printf "%6.2f|%+.2f|% .2f|%-9.1f|%09.3f" -1.5 1.5 1.5 2.25 -3.14159 }}"#, 0.0),
        " -1.50|+1.50| 1.50|2.2      |-0003.142"
    );
    assert_eq!(expand(r#"{{ printf "%g %G %E" 1e100 1e-7 123456.789 }}"#, 0.0), "1e+100 1E-07 1.234568E+05");
}

#[test]
fn printf_formats_other_values_as_go_does() {
    let table = [
        (r#"{{ printf "%d %5d|%-5d|%05d %x %c %U" 42 42 42 42 255 65 65 }}"#, "42    42|42   |00042 ff A U+0041"),
        (
            r#"{{ printf "%s %q %10s|%-10s|%.2s" "ab" "a\"b" "ab" "ab" "abc" }}"#,
            r#"ab "a\"b"         ab|ab        |ab"#,
        ),
        (r#"{{ printf "%s %d" 1 "x" }}"#, "%!s(int=1) %!d(string=x)"),
        (r#"{{ printf "%d" }}"#, "%!d(MISSING)"),
        (r#"{{ printf "a" 1 1.5 }}"#, "a%!(EXTRA int=1, float64=1.5)"),
        (r#"{{ printf "%v %v %v" true nil $labels }}"#, "true <nil> map[a:b]"),
        (r#"{{ printf "%f" 1 }}"#, "%!f(int=1)"),
        (r#"{{ printf "%.0f%%" 12.6 }}"#, "13%"),
        (r#"{{ printf "%5v|%-5v|%05v" "a" 1 2 }}"#, "    a|1    |00002"),
        (r#"{{ printf "%z" 1 }}"#, "%!z(int=1)"),
        (r#"{{ print $value " " $value "a" }}{{ println $value 1 true "x" }}"#, "1.5 1.5a1.5 1 true x\n"),
        (r#"{{ html $value }} {{ urlquery 1000000.0 }}"#, "1.5 1e%2B06"),
        ("{{ 1000000.0 }} {{ 1.5 }} {{ 3 }} {{ true }} {{ 1e6 }}", "1e+06 1.5 3 true 1e+06"),
    ];
    for (template, text) in table {
        assert_eq!(expand(template, 1.5), text, "{template}");
    }
}

#[test]
fn a_missing_label_is_empty() {
    assert_eq!(expand("<{{ $labels.nope }}{{ index $labels \"nope\" }}{{ .Labels.nope }}>", 0.0), "<>");
    assert_eq!(expand("{{ if $labels.nope }}y{{ else }}n{{ end }}", 0.0), "n");
    assert_eq!(expand("{{ $labels }} {{ len $labels }}", 0.0), "map[a:b] 1");
    assert_eq!(expand("{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}", 0.0), "a=b;");
}

#[test]
fn every_variable_of_prometheus_is_there() {
    let text =
        "{{ $labels.a | toUpper | printf \"<%s>\" }} {{ $externalLabels.cluster }} {{ $externalURL }} {{ $.Labels.a }}";
    assert_eq!(expand(text, 0.0), "<B> c1 http://p/x b");
    assert_eq!(
        expand("{{ with $labels.a }}{{ . }}{{ end }}{{define \"x\"}}X{{.}}{{end}}{{template \"x\" $value}}", 1.5),
        "bX1.5"
    );
}

/// As Prometheus 3.5.3 expands them.
#[test]
fn titles_begin_with_the_first_letter_that_has_a_case() {
    for (text, titled) in [
        ("1st a2b", "1St A2b"),
        ("6.5e+10", "6.5E+10"),
        ("a.5b a. b a..b a:b", "A.5b A. B A..B A:b"),
        ("a_b _c a-b a,b", "A_b _C A-B A,B"),
        ("o'neil 'x'", "O'neil 'X'"),
        ("ABC dEF", "ABC DEF"),
        ("日a本b a\u{ad}b a²b", "日A本B A\u{ad}b A²B"),
        ("ǆx ŉa ßa", "ǅx ʼNa Ssa"),
    ] {
        assert_eq!(expand(&format!("{{{{ title `{text}` }}}}"), 0.0), titled);
    }
    assert_eq!(expand("{{ $value }}", 97_292_184_331_072.0 + 0.125), "9.729218433107212e+13");
}

#[test]
fn strings_have_prometheus_s_functions() {
    assert_eq!(expand(r#"{{ title "hello world" }}{{ toUpper "a" }}{{ toLower "B" }}"#, 0.0), "Hello WorldAb");
    assert_eq!(expand(r#"{{ stripPort "h:80" }} {{ stripPort "[::1]:80" }} {{ stripPort "x" }}"#, 0.0), "h ::1 x");
    assert_eq!(
        expand(r#"{{ match "a.*" "xxabc" }} {{ reReplaceAll "(a)b" "$1-${1}x" "abab" }}"#, 0.0),
        "true a-axa-ax"
    );
    assert_eq!(expand(r#"{{ parseDuration "1m30s" }}"#, 0.0), "90");
}

#[test]
fn a_failure_stands_in_the_text_and_loses_nothing() {
    for text in ["{{ $labels.a.b }}", "{{ .Foo }}", "{{ gt $value 1 }}", "{{ index $labels 1 }}", "{{ humanize true }}"]
    {
        assert!(expand(text, 1.5).starts_with("<error expanding template: "), "{text}");
    }
}

#[test]
fn output_is_bounded() {
    let long = expand("{{ range 9000 }}äöü{{ end }}", 0.0);
    assert!(long.len() <= MAX_OUTPUT + "…".len() && long.ends_with('…'));
    assert!(expand("{{ range 1000000000 }}{{ end }}x", 0.0).starts_with("<error expanding template: "));
}

#[test]
fn what_cannot_work_is_found_at_load_with_its_place() {
    assert_eq!(
        mistakes("Instance {{ $label.foo }} down"),
        [(12, "template: undefined variable \"$label\"".to_owned())]
    );
    assert_eq!(
        mistakes("{{ toDuration 5 }}{{ humanise $value }}"),
        [
            (3, "template function \"toDuration\" does not exist".to_owned()),
            (21, "template function \"humanise\" does not exist".to_owned()),
        ]
    );
    assert!(
        expand("{{ template \"x\" }}", 0.0).starts_with("<error expanding"),
        "as in Prometheus, only when it is used"
    );
    assert!(mistakes("{{ $x := 1 }}{{ if true }}{{ $y := 2 }}{{ end }}{{ $x }}{{ $y }}")[0].1.contains("\"$y\""));
    assert_eq!(mistakes("a\nb {{ $value | }}")[0].0, 18);
    for wrong in ["{{", "{{ if }}", "{{ $value", "{{ }}", "{{ 1 | }}"] {
        assert!(!mistakes(wrong).is_empty(), "{wrong}");
    }
}

#[test]
fn blocks_are_closed_and_closed_once() {
    assert_eq!(mistakes("a\nb {{ end }} c"), [(6, "template: unexpected {{end}}: no block is open".to_owned())]);
    assert_eq!(mistakes("{{ if true }}x"), [(2, "template: {{if}} is not closed by {{end}}".to_owned())]);
    for wrong in ["{{ else }}", "{{ if 1 }}{{ else }}{{ else }}{{ end }}", "{{ break }}", "{{- range 3 -}} x"] {
        assert!(!mistakes(wrong).is_empty(), "{wrong}");
    }
    let right = r#"{{/* {{ end }} */}}{{ if eq "}}" "{{ end }}" }}{{ else if true }}y{{ else }}{{ end }}{{ `{{` }}"#;
    assert_eq!(expand(right, 0.0), "y{{");
    assert_eq!(expand("{{- range $i := 5 }}{{ if eq $i 2 }}{{ break }}{{ end }}{{ $i }}{{ end -}}", 0.0), "01");
}

#[test]
fn any_text_is_a_template_or_refused() {
    let seeds = [
        "{{ $labels.job }} is {{ $value | humanize }} of {{ printf \"%8.3f%%\" $value }}",
        "{{ if gt $value 1.0 }}a{{ else if eq $labels.job \"x\" }}b{{ else }}c{{ end }}",
        "{{ range $k, $v := $labels }}{{ $k }}={{ $v }}{{ end }}{{ with $x := 5 }}{{ $x }}{{ end }}",
        "{{- $a := index $labels \"n\" -}} {{ reReplaceAll \"(a+)\" \"$1$1\" $a | toUpper | title }}{{/* c */}}",
        "{{ humanizeTimestamp $value }} {{ humanizeDuration $value }} {{ slice $labels.job 1 2 }} {{ len $labels.job }}",
    ];
    let tokens = [
        "{{", "}}", "{{-", "-}}", " end ", " else ", " if ", "range ", "$", ".", "|", "(", ")", "\"", "`", ":=", "nil",
        "1e9", "%!d", "printf", "index", "slice ", "template", "define", "break", "'a'", "/*", "*/", "-1", "0x",
        "html", "call",
    ];
    crate::fuzz::texts(2_500, &seeds, &tokens, crate::fuzz::template);
}
