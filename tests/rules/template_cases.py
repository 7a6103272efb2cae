"""Templates for `record_templates`: edge cases by hand, and seeded combinations. Each is (text, value's expression)."""
import itertools, random

VALUES = ["0", "1", "-1", "0.1", "1.5", "1e6", "123456789.123", "1e21", "1e100", "0.00001234", "1e-30", "-0.0042",
          "1e20", "999.96", "1023.99", "3661.5", "-93784", "59.9996", "9.2e9", "-9.3e9", "NaN", "Inf", "-Inf"]
HUMANE = ["humanize", "humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "toTime"]
TEXTS = ['"1234.5"', '"abc"', '""', '"0x10"', '"1e3"', '"inf"', '"-Inf"', '"NaN"', '"1_000"', '" 1"', '"+5"', '".5"', '"5."',
         '"infinity"', '"0x1p4"', '"1e400"']
OTHERS = ["7", "-3", "true", "nil", "$labels", ".", "'a'", "1e3", "0x1F", "0b11", "0o17", "017", "1_000", '"a" "b"', ""]
ODD = ['"web-1.example.com:9100"', '"[::1]:80"', '"::1"', '"10.0.0.1:80"', '"10.0.0.1"', '"host"', '"a.b.c"', '":80"', '"host:"',
       '"[::1]"', '"a:b:c"', '"[fe80::1%eth0]:9"', '"höst.example:1"', '"hello world-wide it\'s a_b c.d"', '"éa ñb"', '"ǆabc"', '"ß"',
       '"a+b c*d~e/f?g=h&i"', '"<a href=\\"x\\">&\'"', '"tab\\tnl\\n\\u00e9\\x41"', '`raw\\n`', '"%41"', "1", "true", "nil", "$labels", "$value"]
TAKES_TEXT = ["title", "toUpper", "toLower", "stripPort", "stripDomain", "safeHtml", "graphLink", "tableLink", "parseDuration",
              "html", "js", "urlquery", "len", "print", "println", "printf", "not"]
VERBS = "vdsqxXoObBtTfFeEgGcUzw"
FLAGS = ["", "+", "-", " ", "#", "0", "5", "-12", "08", "+8", ".2", "8.3", "-10.1", ".0", "+.3", "08.2", "#.3", ".", "+08.2", "# x", "-08"]
ARGUMENTS = ["$value", "42", "-7", '"héllo"', '"a\\"b\\n"', "true", "nil", "$labels.code", "$labels", "1e6", "'x'", "0.000012", "255", '""', "1e21", "1114112"]
QUERY = ('"label_replace(vector(3), \\"a\\", \\"x10\\", \\"\\", \\"\\") or label_replace(vector(1.5), \\"a\\", \\"x9\\", \\"\\", \\"\\")'
         ' or label_replace(vector(1e7), \\"b\\", \\"y\\", \\"\\", \\"\\")"')

HAND = r'''
plain text
{{ $value }}
{{ .Value }} {{ $.Value }} {{ .Labels.instance }} {{ $.Labels.job }}
{{ $labels }}
{{ . }}
{{ $externalLabels }} {{ $externalLabels.cluster }} {{ .ExternalLabels.nope }}|{{ $externalURL }} {{ .ExternalURL }} {{ externalURL }} {{ pathPrefix }}
{{ $labels.nope }}|{{ .Labels.nope }}|{{ index $labels "nope" }}|{{ $labels.nope | toUpper }}|{{ len $labels.nope }}
{{ $labels.a.b }}
{{ $labels.nope.b }}
{{ .Nope }}
{{ $value.x }}
{{ .Labels.instance.x }}
{{ $.Nope.More }}
{{ $externalURL.Host }}
{{ index $labels "instance" }}
{{ index $labels }}
{{ index $labels 1 }}
{{ index $labels nil }}
{{ index $labels "a" "b" }}
{{ index "abc" 0 }} {{ index "abc" 1 }}
{{ index "abc" 3 }}
{{ index "abc" -1 }}
{{ index 1 0 }}
{{ index nil 0 }}
{{ index "abc" "x" }}
{{ index "abc" 1.5 }}
{{ slice "abcdef" 1 3 }} {{ slice "abc" }} {{ slice "abc" 1 }} {{ slice "abc" 3 }}
{{ slice "abc" 4 }}
{{ slice "abc" 2 1 }}
{{ slice "abc" 0 1 2 }}
{{ slice 5 1 }}
{{ slice $labels 1 }}
{{ slice "abc" -1 }}
{{ slice "abc" "x" }}
{{ slice $labels.instance 0 5 }}
{{ len $labels }} {{ len "héé" }} {{ len "" }}
{{ len 3 }}
{{ len nil }}
{{ len $value }}
{{ nil }}
{{ $x := nil }}
{{ true }} {{ false }} {{ 1 }} {{ 1.0 }} {{ 1e6 }} {{ 1e5 }} {{ 123456.0 }} {{ 1e21 }} {{ 1e20 }} {{ 'a' }} {{ "s" }} {{ `r` }}
{{ 1.5e-5 }} {{ 0.0001 }} {{ 0.00001 }} {{ 100000.5 }} {{ 1234567.5 }} {{ 21000000.0 }}
{{ 0x10 }} {{ 0b101 }} {{ 0o17 }} {{ 017 }} {{ 1_000 }} {{ 0x1p4 }} {{ +5 }} {{ -5 }} {{ 1i }}
{{ 9223372036854775807 }} {{ -9223372036854775808 }}
{{ 9223372036854775808 }}
{{ 18446744073709551616 }}
{{ 1e400 }}
{{ 08 }}
{{ 'ab' }}
{{ '\n' }} {{ '\x41' }} {{ '\'' }}
{{ "unterminated }}
{{ "a
b" }}
{{ `a
b` }}
{{ if $value }}yes{{ else }}no{{ end }}
{{ if $labels.nope }}yes{{ else if $labels.instance }}second{{ else }}no{{ end }}
{{ if 0 }}a{{ else if 0.0 }}b{{ else if "" }}c{{ else if false }}d{{ else if nil }}e{{ end }}
{{ if nil }}a{{ end }}
{{ if not true }}a{{ else }}b{{ end }}
{{ if and true $value }}a{{ end }}
{{ and 1 0 "x" }} {{ and 1 "x" }} {{ or 0 "" "z" }} {{ or 0 "" }} {{ and true }} {{ or false }}
{{ and }}
{{ or }}
{{ not }}
{{ not 1 2 }}
{{ not "" }} {{ not 0 }} {{ not $labels }} {{ not nil }}
{{ with $labels.instance }}{{ . }}{{ else }}none{{ end }}
{{ with $labels.nope }}{{ . }}{{ else }}none{{ end }}
{{ with $x := $labels.code }}{{ $x }}{{ . }}{{ end }}
{{ with $labels.nope }}a{{ else with $labels.code }}{{ . }}{{ else }}b{{ end }}
{{ with $labels }}{{ .code }}{{ .nope }}{{ $.Value }}{{ end }}
{{ range $labels }}[{{ . }}]{{ end }}
{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}
{{ range $v := $labels }}{{ $v }};{{ end }}
{{ range $i := 3 }}{{ $i }}{{ end }}
{{ range 3 }}{{ . }}{{ end }}
{{ range $i, $v := 3 }}{{ $i }}{{ end }}
{{ range 0 }}x{{ else }}none{{ end }}
{{ range -1 }}x{{ else }}none{{ end }}
{{ range "abc" }}{{ . }}{{ end }}
{{ range $i, $c := "aé" }}{{ $i }}:{{ $c }} {{ end }}
{{ range nil }}x{{ end }}
{{ range 1.5 }}x{{ end }}
{{ range true }}x{{ end }}
{{ range $value }}x{{ end }}
{{ range $labels.nope }}x{{ else }}none{{ end }}
{{ range 5 }}{{ if eq . 1 }}{{ continue }}{{ end }}{{ if eq . 3 }}{{ break }}{{ end }}{{ . }}{{ end }}
{{ break }}
{{ continue }}
{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}
{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}
{{ $x := 1 }}{{ range 3 }}{{ $x = . }}{{ end }}{{ $x }}
{{ $x = 1 }}
{{ $x := 1 }}{{ $x = "s" }}{{ $x }}
{{ $x, $y := 1 }}
{{ $undefined }}
{{ if true }}{{ $y := 1 }}{{ end }}{{ $y }}
{{ $value := 5 }}{{ $value }}
{{ $labels := "x" }}{{ $labels }}
{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" $value }}{{ template "t" "x" }}
{{ define "t" }}<{{ . }}>{{ end }}{{ template "t" }}
{{ define "t" }}{{ $value }}{{ end }}x
{{ define "t" }}{{ .Value }}{{ $.Labels.code }}{{ end }}{{ template "t" . }}
{{ define "t" }}{{ .x }}{{ end }}{{ template "t" $labels }}|
{{ define "t" }}{{ .x }}{{ end }}{{ template "t" 5 }}|
{{ define "t" }}{{ template "t" . }}{{ end }}{{ template "t" 5 }}|
{{ define "a" }}1{{ end }}{{ define "a" }}2{{ end }}{{ template "a" }}
{{ block "b" $labels.code }}[{{ . }}]{{ end }}
{{ block "b" . }}{{ .Value }}{{ end }}{{ template "b" . }}
{{ template "nope" }}
{{ template nope }}
{{ template "x" 1 2 }}
{{ if true }}{{ define "x" }}y{{ end }}{{ end }}
{{ define }}x{{ end }}
{{ define "a" }}x
{{ end }}
{{ else }}
{{ if true }}
{{ if true }}a{{ else }}b{{ else }}c{{ end }}
{{ if }}a{{ end }}
{{ range }}a{{ end }}
{{ with }}a{{ end }}
{{ end 1 }}
{{
{{ }}
{{}}
}}
{{ 1
{{ /* c */ }}
{{/* c */}}
{{- /* c */ -}}
a {{/* c */ -}} b
a {{- /* c */}} b
{{/* unclosed }}
{{/* a */ 1}}
a  {{- 1 -}}  b
a  {{-1}}  b
a {{ 3 -}}
 b
 {{- "x" }}
{{ 1 -}} {{- 2 }}
{{ "}}" }}{{ `}}` }}{{ "{{" }}
{{ 1 | 2 }}
{{ 1 | printf "%d" | printf "%s!" }}
{{ "x" | printf "%s %s" "a" }}
{{ $value | "x" }}
{{ $labels.code "x" }}
{{ "a" "b" }}
{{ . 1 }}
{{ | 1 }}
{{ 1 | }}
{{ 1 || 2 }}
{{ (1) }} {{ (printf "%d" 1) }} {{ ((1)) }}
{{ (index $labels "code") }} {{ (print $labels).x }}
{{ (print "a" }}
{{ print "a") }}
{{ ($labels).code }} {{ ($labels).nope }}|
{{ $labels .code }}
{{ $labels. code }}
{{ .Labels.code.}}
{{ .1 }}
{{ ..x }}
{{ $ }}
{{ $.Labels }}
{{ $1 }}
{{ $x-y }}
{{ a }}
{{ a.b }}
{{ humanise 1 }}
{{ now }}
{{ toDuration 1 }}
{{ urlQueryEscape "a" }}
{{ tmpl "x" . }}
{{ toJson 1 }}
{{ lower "A" }}
{{ $labels["code"] }}
{{ $value + 1 }}
{{ $value > 1 }}
{{ !true }}
{{ a@b }}
{{ "\q" }}
{{ "\u00zz" }}
{{ eq 1 1 }} {{ eq 1 2 }} {{ eq 1 2 1 }} {{ eq "a" "a" }} {{ eq 1.5 $value }} {{ eq true false }} {{ eq $labels.code "500" }}
{{ eq 1 }}
{{ eq }}
{{ eq 1 1.0 }}
{{ eq 1 "1" }}
{{ eq true 1 }}
{{ eq $labels $labels }}
{{ eq nil nil }}
{{ eq nil 1 }}
{{ eq 1 nil }}
{{ eq "a" nil }}
{{ eq $labels.nope "" }}
{{ eq 'a' 97 }}
{{ ne 1 2 }} {{ ne "a" "a" }}
{{ ne 1 2 3 }}
{{ ne 1 "x" }}
{{ lt 1 2 }} {{ le 2 2 }} {{ gt "b" "a" }} {{ ge 1.5 1.5 }} {{ lt $value 2.0 }}
{{ gt $value 1 }}
{{ gt $value "1" }}
{{ lt true false }}
{{ lt $labels 1 }}
{{ lt nil 1 }}
{{ lt 1 }}
{{ lt "b" $labels.code }}
{{ gt $value 1.0 }} {{ if gt $value 0.9 }}high{{ end }}
{{ eq 0.0 -0.0 }} {{ lt -1 1 }}
{{ call 1 }}
{{ call nil }}
{{ call }}
{{ call $labels "x" }}
{{ print }}|{{ print 1 2 }}|{{ print "a" 1 2 "b" }}|{{ print 1 "a" 2 }}|{{ print nil }}|{{ print true false }}
{{ println }}|{{ println "a" 1 }}|{{ print $value $value }}|{{ print $labels }}
{{ printf }}
{{ printf 1 }}
{{ printf "%d %[1]d" 5 }} {{ printf "%[2]d %[1]d" 1 2 }} {{ printf "%[3]d" 1 }} {{ printf "%[x]d" 1 }} {{ printf "%[1]*d" 5 6 }}
{{ printf "%*d|%-*d|%.*f|%*.*f" 5 42 5 42 2 1.239 8 3 1.5 }}
{{ printf "%*d" "x" 42 }} {{ printf "%*d" }} {{ printf "%.*f" -1 1.5 }} {{ printf "%*d" -5 42 }}
{{ printf "%[2]*[1]d|%6.2[1]f|%[1]" 12 6 }}
{{ printf "%!" }} {{ printf "%" }} {{ printf "100%" }} {{ printf "%%" }} {{ printf "%5%" }} {{ printf "% %" 1 }}
{{ printf "%d %d" 1 }} {{ printf "%d" 1 2 }} {{ printf "x" nil }} {{ printf "%s" }}
{{ printf "%v %+v %#v %T" $labels $labels $labels $labels }}
{{ printf "%v %T %#v" $value $value $value }} {{ printf "%T %T %T %T" 1 "a" true nil }}
{{ printf "%#v %#v %#v" "a" 1 true }} {{ printf "%#q %+q %x % x %#x %X" "a`b" "é" "hi" "hi" "hi" "hi" }}
{{ printf "%q %q" 65 'x' }} {{ printf "%c|%5c|%U|%#U" 233 233 233 233 }} {{ printf "%08b %o %#o %O" 5 8 8 8 }}
{{ printf "%6.2f%%" 12.3456 }} {{ printf "%.3s|%10.2s|%-6s|%06s" "héllo" "héllo" "hé" "ab" }}
{{ printf "%.3d|%8.3d|%+.2d|%x|%X|%#x" 5 5 5 -255 255 255 }} {{ printf "%t|%5t|%-7t|%q" true false true true }}
{{ printf "%2000d" 1 }}
{{ printf "%e %E %.2e %10.3e" 1234.5 0.00012 1e100 5.0 }} {{ printf "%g %G %.3g %.10g" 1e21 1e-7 1234.5 1234.5 }}
{{ printf "%b" 1.5 }} {{ printf "%x %X %.3x" 1.5 1.5 1.5 }} {{ printf "%#g %#.3g %#f" 1.0 1.0 1.0 }}
{{ printf "%5.1f|%-8.1f|%08.1f|%+.1f|% .1f" -2.25 -2.25 -2.25 2.25 2.25 }}
{{ printf "%s|%d|%v" $labels.code $labels.code $labels.nope }} {{ printf "%s" $value }} {{ printf "%d" $value }}
{{ html "<a>&'\"" }} {{ html 1 "<" }} {{ js "'\"<>&=\n\\é" }} {{ urlquery "a b&c=d/é" 1 }} {{ html nil }} {{ js $value }}
{{ html }}
{{ match "a+" "caat" }} {{ match "^a" "b" }} {{ match "" "" }} {{ match "(?i)A" "a" }}
{{ match "(" "x" }}
{{ match "a" }}
{{ match 1 "a" }}
{{ match "a" 1 }}
{{ reReplaceAll "a(b)" "[$1]" "xabab" }} {{ reReplaceAll "(.*):.*" "$1" $labels.instance }} {{ reReplaceAll "x" "$" "axb" }}
{{ reReplaceAll "(?P<n>a)" "${n}-$n-$nx-$2-$$" "a" }} {{ reReplaceAll "" "-" "abc" }} {{ reReplaceAll "a*" "X" "baac" }}
{{ reReplaceAll "[" "" "x" }}
{{ reReplaceAll "a" "b" }}
{{ reReplaceAll "a" "b" $value }}
{{ "x" | reReplaceAll "x" "y" }} {{ $labels.instance | reReplaceAll "\\..*" "" }}
{{ reReplaceAll "\\d+" "#" "a1b22" }} {{ reReplaceAll "(a)|(b)" "$1$2x" "ab" }} {{ reReplaceAll "é" "e" "héé" }}
{{ query QUERY | len }} {{ query QUERY | first | value }} {{ query QUERY | first | label "a" }} {{ query QUERY | first | strvalue }}|
{{ range query QUERY | sortByLabel "a" }}{{ .Labels.a }}{{ .Labels.b }}={{ .Value }} {{ . | value | humanize }};{{ end }}
{{ range sortByLabel "b" (query QUERY) }}{{ label "a" . }}={{ value . }};{{ end }}
{{ with query QUERY }}{{ . | first | value | humanizeDuration }}{{ end }}
{{ with query "vector(1) > 2" }}x{{ else }}none{{ end }}
{{ query "vector(1) > 2" | first | value }}
{{ query "1 +" | first }}
{{ query "5" | first | value }}
{{ query "\"text\"" | first | strvalue }}
{{ query "up[5m]" }}
{{ query 5 }}
{{ query "a" "b" }}
{{ query }}
{{ (query QUERY | first).Value }} {{ (query QUERY | first).Labels }} {{ (index (query QUERY) 1).Value }}
{{ (query QUERY | first).Nope }}
{{ query QUERY | first }}
{{ index (query QUERY) 9 }}
{{ $r := query QUERY }}{{ range $i, $s := $r }}{{ $i }}{{ $s.Value }}{{ end }}
{{ first $labels }}
{{ first "a" }}
{{ first nil }}
{{ value 1 }}
{{ value nil }}
{{ value . }}
{{ label "a" 1 }}
{{ label "a" }}
{{ strvalue 1 }}
{{ sortByLabel "a" 1 }}
{{ sortByLabel 1 (query QUERY) }}
{{ args 1 "a" true }} {{ (args 1 2).arg0 }} {{ args }} {{ args nil }}
{{ (args 1).arg5 }}|
{{ define "t" }}{{ .arg0 }}-{{ .arg1 | humanize }}{{ end }}{{ template "t" (args "a" 1234.5) }}
{{ humanizePercentage 0.1234567 }} {{ $value | humanizePercentage }} {{ humanizePercentage 0.00001 }} {{ humanizePercentage -1 }}
{{ parseDuration "1m" }} {{ parseDuration "1h30m" }} {{ parseDuration "500ms" }} {{ parseDuration "1d" | humanizeDuration }} {{ parseDuration "0" }}
{{ parseDuration "1.5h" }}
{{ parseDuration "x" }}
{{ parseDuration "" }}
{{ parseDuration "-1m" }}
{{ (toTime 1700000000).Format "2006-01-02T15:04:05Z07:00" }}
{{ (toTime 1700000000.5).Unix }} {{ (toTime 0).Year }} {{ (toTime 1700000000).Hour }} {{ (toTime 0).Weekday }} {{ (1700000000 | toTime).Day }} {{ (toTime 5).Minute }}
{{ toTime 1700000000 }} {{ (toTime 1700000000).UTC }}
{{ (toTime 1700000000).Format "Jan _2 2006 3:04PM Mon Monday MST .000 06 1 2 January" }}
{{ (toTime "1700000000").Format "15:04" }}
{{ toTime "x" }}
{{ toTime NaN }}
{{ with toTime $value }}{{ .Year }}{{ end }}
{{ (toTime 0).Nope }}
{{ title "hello" | toUpper | printf "%q" }} {{ "a" | title }} {{ $labels.job | title }}
{{ $labels.instance | stripPort | stripDomain }} {{ $labels.instance | stripDomain }} {{ stripPort $labels.instance }}
{{ humanize $labels.code }} {{ humanize $labels.num }} {{ humanizeDuration $labels.num }} {{ humanize $labels.instance }}
{{ $value | humanize | printf "%s" }} {{ $value | printf "%.2f" }} {{ printf "%.1f" $value | toUpper }}
{{ $value | humanize 1 }}
{{ humanize }}
{{ humanize 1 2 }}
{{ title }}
{{ toUpper 1 }}
{{ 1 | toUpper }}
{{ $value | toUpper }}
{{ toUpper $value }}
{{ toUpper nil }}
{{ nil | toUpper }}
{{ toUpper (len "a") }}
{{ toUpper $labels.nope }}|
{{ if eq $labels.code "500" }}server{{ else if eq $labels.code "404" }}missing{{ else }}other{{ end }} error on {{ $labels.instance }}
Instance {{ $labels.instance }} of {{ $labels.job }} has been down for {{ $value | humanizeDuration }}.
{{ $labels.instance }}: {{ printf "%.2f" $value }}% used ({{ humanize1024 $value }}B)
line one {{ $labels.code }}
line two {{ $labels.nope.x }}
{{ $labels.path }} {{ $labels.uni }} {{ $labels.uni | toUpper }} {{ len $labels.uni }} {{ $labels.path | urlquery }} {{ $labels.path | html }}
{{- range $k, $v := $labels -}} {{ if ne $k "alertname" }} {{ $k }}: {{ $v }} {{- end -}} {{- end -}}
{{ printf "%s" (index $labels "code") }}{{ print (eq 1 1) }}
{{ range $i, $e := (args 5 6 7) }}{{ $i }}{{ $e }}{{ end }}
{{ printf "%v %s %d" (args 1 "a" 2.5) (args "a") (args 1) }} {{ printf "%v" (query QUERY | first).Labels }} {{ printf "%q" $labels }} {{ printf "%d" $labels }}
'''


def hand():
    """Separated by lines; a line that begins with a blank, or a template that is not closed, goes on."""
    lines = HAND.strip("\n").split("\n")
    joined = {'{{ "a': 1, "{{ `a": 1, "a {{ 3 -}}": 2, "line one {{ $labels.code }}": 1}
    at = 0
    while at < len(lines):
        more = joined.get(lines[at], 0)
        yield "\n".join(lines[at:at + 1 + more]).replace("QUERY", QUERY)
        at += 1 + more


def combined():
    random.seed(20)
    for function in HUMANE:
        yield from ((f"{{{{ {function} $value }}}}", value) for value in VALUES)
        most = TEXTS + OTHERS if function in ("humanize", "toTime") else OTHERS[:6]
        yield from ((f"{{{{ {function} {text} }}}}", "1.5") for text in most)
    for value in VALUES:
        yield '{{ $value }} {{ printf "%v %g %.3g %f %.1f %e %d %s %8.2f %+.0f %t" $value $value $value $value $value $value $value $value $value $value $value }}', value
    for function in TAKES_TEXT:
        yield from ((f"{{{{ {function} {text} }}}}", "1.5") for text in ODD)
        yield f'{{{{ "a b" | {function} }}}}', "1.5"
        yield f'{{{{ $labels.instance | {function} | print }}}}', "1.5"
    for verb in VERBS:
        for argument in ARGUMENTS:
            flags = random.sample(FLAGS, 3)
            text = "|".join("%" + flag + verb for flag in [""] + flags)
            yield '{{ printf "%s" %s }}' % (text, " ".join([argument] * 4)), random.choice(VALUES)
    for operator, (left, right) in itertools.product(["eq", "lt", "ge", "ne"], itertools.combinations(
            ["1", "1.0", '"1"', "true", "nil", "$value", "$labels", "$labels.code", "'1'"], 2)):
        if random.random() < 0.35:
            yield f"{{{{ {operator} {left} {right} }}}}", "1"
    pieces = ["$value", "$labels.code", "$labels.nope", '"x.y:1"', "3", "1.5", "true", "(len $labels.job)", "(print 1 2)"]
    steps = ["humanize", "toUpper", "title", 'printf "%v"', 'printf "%5.1f"', "stripPort", "stripDomain", "len", "print", "html", "not",
             "humanizeDuration", 'match "5"', 'reReplaceAll "[05]" "_"', "eq 3", "and true", "or false", "urlquery", "humanize1024"]
    for _ in range(220):
        pipeline = " | ".join([random.choice(pieces)] + random.sample(steps, random.randint(1, 3)))
        shape = random.choice(["{{ %s }}", "{{ if %s }}y{{ else }}n{{ end }}", "a{{- with %s }} {{ . }}{{ end -}} b", "{{ $x := %s }}{{ $x }}",
                               "\n{{ range $i, $c := 2 }}{{ $i }}{{ end }}{{ %s }}", "{{ range 2 }}{{ . }}{{ %s }}{{ end }}"])
        yield shape % pipeline, random.choice(VALUES[:14])


def cases():
    seen = {}
    for case in itertools.chain(((text, "1.5") for text in hand()), combined()):
        seen[case] = None
    return list(seen)
