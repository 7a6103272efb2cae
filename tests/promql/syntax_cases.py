"""What is an expression: edge cases by hand, then seeded mutations of valid ones, each with Prometheus's verdict and the
text that it writes back (null: refused). See `generate`."""
import json, random, urllib.error, urllib.parse, urllib.request

EDGES = r'''
a[1h:5m]
a[1h:]
a[1h:0s]
a[1h:0]
a[1h:-5m]
a[1h :5m]
a[1h : 5m ]
a[1h:5m:]
a[:5m]
a[5m*2]
a[(5m)]
a[+5m]
a[-5m]
a[0]
a[1h:5m][1h:]
a[5m][1h:]
1[1h:]
"x"[1h:]
(a[5m])[1h:]
a offset 5m [1h:]
a offset 0s [1h]
a offset 0s offset 5m
a offset 0s offset 0s
a @ 5 @ 6
a @ 5 @ start()
a @ start() [5m]
a @ 0 [5m]
a @ 5 [5m]
a @ 5 offset 5m
a offset 5m @ 5
a @ -5
a @ +5
a @ 5m
a @ -1e3
a @ 1e20
a @ Inf
a @ NaN
a @ 9223372036854775
a @ 9223372036854776
a @ 9223372036854774.5
a @ start
a @ START()
a @ Start ( )
a @ 1.0004
a @ 1.0005
a @ -0.0005
a @ (5)
sum(a) @ 5
-a @ 5
-a[5m]
-a[1h:5m]
(a) @ 5
a[1h:5m] @ 5 offset 3m
a + b[1h:]
a ^ b[1h:]
-a offset 5m
- a[1h:]
1 + 2 [1h:]
sum(a)[1h:]
a offset 5m*2
a offset -5m
a offset - 5m
a offset (5m)
a offset +5m
a offset 5m + 3
a{} @ 5
rate(a[1h:5m:])
a[5m] offset 5m [1h:]
a[1h:5m] offset 5m offset 5m
a[1h:5m] @ 5 @ 6
a offset 1s @ 5 offset 1s
a[5m]@5
a@5
a@start()
a[0x10]
a[1e3]
a[1.5]
a[0.0001]
a[0.0005]
a[Inf]
a[NaN]
a[inf:]
a[5m:1e2]
a[5m:.5]
a[5m:0x5]
a[5m:m]
a[5m:5m
a[5m::5m]
a[5m: :5m]
1w
a[1w]
a[7d]
a[14d]
a[365d]
a[1y]
a[1y2d]
a[8d]
a[90d]
a[30m]
a[1h:60s]
a[1h:1s500ms]
-1w
1h30m
90
90s
1.5
0s
-0s
1e3
1h * 2
-1h
+1h
- -1h
-(1h)
1_000.5
1_0
1e999
1e-999
0x1e
0x1e 
0x1f
0xee
0x12ee
0x_1
0x
0x1e+5
0_7
017_7
08
0_8
00
099999999999999999999999999
01777777777777777777777777
0xffffffffffffffffffff
9223372036854775808
1__0
1_
1_ 
1._0
1.
1.e3
.5
.
..5
.5.
1e
1e+
1e+ 
1e_3
1E3
1e3e
5m.5
1h1h
1m1h
1y1d
1d1y
5mm
5ms5s
1h500
1s5ms
1.5h
1_0s
INF
iNf
NAN
+Inf
inf{}
inf[5m]
nan(a)
:
:a
a:
a:b
a : b
"\xff"
a{b="\xff"}
{"\xff"="a"}
{"\xff"}
sum by ("\xff") (a)
a{b="\xc3\xa9"}
"\xc3\xa9"
"\377"
"\777"
"\ud800"
"\u00e9"
"\U0010ffff"
"\U00110000"
"�"
`�`
a{b="�"}
{"�"="x"}
'"'
"'"
'\''
"\'"
"\0"
"\000"
"a	b"
`a
b`
``
sum by (without) (a)
sum by (atan2) (a)
sum by (bool) (a)
sum by (on, ignoring, group_left, group_right, start, end, limitk, limit_ratio, offset) (a)
sum by (a:b) (a)
sum by (:) (a)
sum by ("") (a)
sum by ("a.b") (a)
sum by (inf) (a)
sum by (a,,b) (a)
sum by (,) (a)
sum by (a,) (a)
sum by (__name__) (a)
sum by () (a)
sum without () (a)
sum by (a) by (b) (c)
sum by (a) (c) by (b)
sum (c) by (b) by (c)
sum by (a, a) (b)
sum by ('a') (b)
sum by (`a`) (b)
sum by (5) (a)
sum by (step) (a)
1 + ignoring() a
1 + on() a
1 + on(a) 1
a + ignoring() b
a + on() b
a + ignoring() group_left() b
a + ignoring(x) group_left(x) b
a + on(x) group_left(y,) b
a + on(x) group_left(y,,) b
a + on(x) group_left(x) b
a and on(x) group_left b
a + on("x.y") group_left("z.w") b
a + on(without) b
a == bool on(x) b
a on(x) == b
a == on(x) bool b
atan2
atan2 + 1
on
bool
ignoring
group_left
group_right
offset
offset offset 5m
by
without
and
start
end
step
limitk
limit_ratio
start()
end()
start + end
a @ end
sum
SUM
Sum(a)
sum(sum)
sum offset 5m
sum{}
sum[5m]
sum by
by(a)
and(a)
offset(a)
step()
fill
anchored
smoothed
a smoothed
a[5m] anchored
a + fill(0) b
rate(a[5m] smoothed)
1 + on() group_left() a
a + on() group_left() 1
1 + ignoring() group_left() a
1 and on() a
1 + ignoring(x) a
a == bool on() 1
a{__name__="b"}
a{__name__=~"b"}
{__name__="a",__name__="b"}
{__name__="a",__name__=~"b"}
{"a",__name__="b"}
{"a","b"}
{"a",__name__=~"b"}
a{"b"}
{"a"}
{"a.b"}
{__name__=""}
{__name__!=""}
{__name__="a b"}
{a=""}
{a!="b"}
{a=~""}
{a=~".*"}
{a=~".+"}
{"a",}
{,}
a{,}
a{b="c",,}
{a="b" or c="d"}
{a:b="c"}
{"a:b"="c"}
{""="c"}
{"",a="b"}
{inf="a"}
{a="b"}{c="d"}
a{b=`c`}
a{b='c'}
a{b=c}
a{'b'="c"}
a{`b`="c"}
a{b=="c"}
a{b>"c"}
a{b=~"("}
histogram_fraction(0,1,a)
histogram_count(a)
histogram_avg(a)
sort_by_label(a,"b")
first_over_time(a[5m])
info(a)
limitk(1,a)
limit_ratio(1,a)
limitk by (x) (1,a)
topk(1,)
topk()
sum()
sum(a,b)
topk(a,1)
quantile("a",b)
count_values(1,a)
count_values("",a)
count_values("a.b",a)
count_values("\xff",a)
label_replace(a,"","b","c","d")
label_replace(a,"x","b","c","(")
label_join(a,"")
label_join(a,"x")
label_join(a,"x","")
label_join(a,"x","","")
RATE(a[5m])
rate(a)
rate a
a()
round(a,1,2)
time(1)
+"a"
-"a"
"a"
+a[5m]
-(a[5m])
(a[5m])
a[5m] + 1
a[5m] and b
"a" == "b"
1 == 2
1 == bool 2
1 and 2
a and 1
1 atan2 2
a Atan2 b
a ATAN2 b
1 - -1
1 --1
2^-1
-2^2
2^3^2
a = b
a =~ b
a !~ b
a ! b
a[5m] offset 5m
a[5m] offset -0s
a offset
a offset 5
a offset 1.5
a offset inf
a offset --5m
a offset 300y
a[300y]
a[292y]
a # c
# c
#
()
(a
a)
a b
a,b
a;b
a$b
é
a{é="b"}
{"é"="b"}
{"é"}
sum by (é) (a)
sum by ("é") (a)
a{b="c"}[5m]
((a))[5m]
(a)[5m]
(a) offset 5m
(a)[5m:]
rate(a[5m:1m] offset 1m)
absent_over_time(a[1h:] @ end())
1[5m]
time()[5m:]
vector(1)[5m:]
scalar(a)[5m:]
sum(a)[5m]
sum(a) offset 5m
rate(a[5m])[5m:] offset 5m
a[ 5m ]
a[5m] [5m]
a[5m#c
a[#c
a @ 1.2345678e3
a @ 0x10
a @ -0
a @ 1_000
a @ "5"
a @ end() @ end()
a @ start() @ 5
a @ start() offset 5m @ 5
a @ start(1)
a @ 9e18
a @ -9e18
a[5m] @ 5 [5m:]
a[5m:1m:1m]
a[5m:1m 1m]
a[5m 1m]
a[5 5]
a[]
a[:]
a[5m:]
a[5m:+1m]
a[-5m:1m]
a[5m:1m*2]
a[5m-1m]
a[2^3]
a[1+2:3]
a offset 5m offset 5m
a offset -5m offset 5m
a[step()]
a[5m:step()]
a offset min(1,2)
'''

FUNCTIONS = ("abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max clamp_min cos cosh "
             "count_over_time days_in_month day_of_month day_of_week day_of_year deg delta deriv exp floor histogram_avg "
             "histogram_count histogram_fraction histogram_quantile histogram_stddev histogram_stdvar histogram_sum hour "
             "idelta increase irate label_join label_replace last_over_time ln log10 log2 max_over_time min_over_time minute "
             "month pi predict_linear present_over_time quantile_over_time rad rate resets round scalar sgn sin sinh sort "
             "sort_desc sqrt stddev_over_time stdvar_over_time sum_over_time tan tanh time timestamp vector year "
             "double_exponential_smoothing first_over_time holt_winters info mad_over_time sort_by_label sort_by_label_desc "
             "ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time ts_of_first_over_time").split()
AGGREGATIONS = "sum min max avg count group stddev stdvar topk bottomk quantile count_values limitk limit_ratio".split()
KEYWORDS = "and or unless atan2 offset by without on ignoring group_left group_right bool start end inf nan step".split()
NAMES = ["a", "b:c", "up", "x_total"] + AGGREGATIONS + KEYWORDS
NUMBERS = "0 1 2.5 .5 1e3 1E-2 0x1F 010 1_000 5m 1h30m 250ms Inf NaN inf -1 1w 7d 1d12h".split()
TOKENS = ["(", ")", "{", "}", "[", "]", "[5m]", "[1h:]", "[1h:5m]", ",", "=", "==", "!=", "=~", "!~", "<", ">=", "+", "-", "*", "/",
          "%", "^", "@", "@ 5", "@ start()", "@ end()", "offset 5m", "offset -1h", "offset 0s", ":", '"s"', "'s'", "`s`", " ", "#c\n",
          "on(a)", "ignoring(a,b)", "group_left", "group_right(c)", "by(a)", "without(b,)", '{a="b"}', '{"q.r"}'] + NAMES + NUMBERS


def pick(*choices):
    return random.choice(choices)


def labels():
    names = [pick("a", "b", "job", '"x.y"', pick(*KEYWORDS)) for _ in range(random.choice([0, 1, 1, 2]))]
    return "(" + ",".join(names) + (pick("", "", "", ",") if names else "") + ")"


def matcher():
    return pick("a", "job", '"x.y"', "__name__", pick(*KEYWORDS)) + pick("=", "!=", "=~", "!~") + pick('"b"', "'c'", "`d`", '""', '"x|y"', '".*"', '".+"')


def selector():
    body = ",".join(matcher() for _ in range(random.choice([0, 1, 1, 2])))
    return pick(pick(*NAMES), pick(*NAMES) + "{" + body + "}", "{" + body + "}", '{"m.n",' + body + "}")


def suffix():
    return pick(" offset 5m", " offset -1h", " offset 0", " @ 5", " @ start()", " @ end()", " @ -1.5", "[5m]", "[1w]", "[1h:5m]", "[1h:]",
                "[90s]", "[8d:1d]", "[1.5:0.5]")


def instant(depth):
    if depth <= 0 or random.random() < 0.25:
        return selector() + (suffix() if random.random() < 0.3 else "")
    return pick(call, call, aggregate, aggregate, binary, binary, paren, sign)(depth - 1)


def window(depth):
    inner = pick(*NAMES) + pick("[5m]", "[1h]", "[1w]", "[7d]") if random.random() < 0.6 else instant(depth - 1) + pick("[1h:]", "[1d:5m]", "[2w:1s500ms]")
    return inner + (suffix() if random.random() < 0.3 else "")


def call(depth):
    name = pick(*FUNCTIONS)
    if name.endswith("_over_time") or name in ("rate", "irate", "increase", "delta", "idelta", "deriv", "resets", "changes", "predict_linear"):
        extra = pick("0.5, ", "") if name.startswith("quantile") else ""
        return f"{name}({extra}{window(depth)}{pick('', '', ', 1')})"
    if name in ("label_replace", "label_join"):
        return f'{name}({instant(depth)}, "x", "$1", "y"{pick("", chr(44) + chr(34) + "(.*)" + chr(34))})'
    if name in ("histogram_quantile", "histogram_fraction"):
        return f"{name}(0.5, {pick('', '1, ')}{instant(depth)})"
    return f"{name}({pick(instant(depth), instant(depth), '', pick(*NUMBERS), instant(depth) + ', 1', instant(depth) + ', 1, 2')})"


def aggregate(depth):
    name, where = pick(*AGGREGATIONS), random.random()
    parameter = {"topk": "3, ", "bottomk": "3, ", "quantile": "0.5, ", "limitk": "1, ", "count_values": '"v", '}.get(name, "")
    if random.random() < 0.1:
        parameter = pick("", "1, ", '"s", ')
    group = pick("by", "without", "BY") + pick(" ", "") + labels()
    body = f"({parameter}{instant(depth)})"
    return f"{name} {group} {body}" if where < 0.3 else f"{name}{body} {group}" if where < 0.5 else name + body


def binary(depth):
    op = pick("+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">=", "and", "or", "unless", "atan2")
    mode = (pick(" bool", "") if op in ("==", "!=", "<", ">=") else "") + pick("", "", "", " on" + labels(), " ignoring" + labels(),
            " on" + labels() + " group_left" + pick("", labels()), " ignoring" + labels() + " group_right" + pick("", labels()))
    sides = [pick(instant(depth), instant(depth), pick(*NUMBERS)) for _ in range(2)]
    return f"{sides[0]} {op}{mode} {sides[1]}"


def paren(depth):
    return f"({instant(depth)})"


def sign(depth):
    return pick("-", "+") + instant(depth)


def mutated(text):
    for _ in range(random.choice([1, 1, 2])):
        at = random.randint(0, len(text))
        until = min(len(text), at + random.randint(0, 4))
        text = pick(text[:at] + text[until:], text[:at] + pick(*TOKENS) + text[at:], text[:at] + " " + pick(*TOKENS) + " " + text[until:],
                    text[:at] + text[at:until] * 2 + text[until:])
    return text


def verdict(base, expr):
    try:
        return json.load(urllib.request.urlopen(base + "/api/v1/format_query", urllib.parse.urlencode({"query": expr}).encode()))["data"]
    except urllib.error.HTTPError as refused:
        json.load(refused)
        return None


def record(base, at, seed, tools):
    texts = dict.fromkeys(line for line in EDGES.split("\n") if line)
    texts.update(dict.fromkeys(["a # c\r + b", "a # c\n + b", "`a\nb`", '"a\nb"', "a\t+\r\nb", "a\u00a0+ b", "a[# c\n5m]", "a[5m # c\n]"]))
    while len(texts) < 6_000:
        text = instant(random.randint(0, 3))
        texts[text if random.random() < 0.5 else mutated(text)] = None
    rows = ",\n".join(json.dumps([text, verdict(base, text)], ensure_ascii=False) for text in texts)
    print(f'{{"seed": {seed}, "cases": [\n{rows}\n]}}')
