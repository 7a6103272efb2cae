"""Corners of the language: odd names and values, histograms out of shape, the edges of windows and of the lookback, and
what is said besides the values. See `generate`."""
import json, math, random

CASES = 600
AT = 0  # set by `record`
MINUTE = 60_000
OUTERMOST = 1.5  # A depth: `histogram_fraction` stands there alone, as its value was mended after 3.5.
ODD = [0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 0.5, -0.5, 2.5, -2.5, 1e-9, 1e300, -1e300, 5e-324, 123456789.125]


def every(step, start, make):
    return [(at, float(make(at))) for at in range(start, 1, step)]


def named(name, **labels):
    return {"__name__": name, **labels}


def pick(*choices):
    return random.choice(choices)


def edges(tools):
    """Series whose samples lie on, just before and just behind a boundary, and end or pause by a stale marker."""
    for index, at in enumerate((0, -1, -299_999, -300_000, -300_001, -MINUTE, -59_999, -60_001, -5 * MINUTE - 15_000)):
        yield named("edge", n=str(index)), [(at, index + 1.0)]
    yield named("edge", n="pair"), [(-300_000, 1.0), (0, 3.0)]
    for index in range(6):
        points = every(15_000, -20 * MINUTE, lambda at: pick(0, 1, 2, 5) if index % 2 else at / 1000)
        for _ in range(index):
            place = random.randrange(len(points))
            points[place] = (points[place][0], tools.STALE)
        yield named("paused", n=str(index), a="xy"[index % 2]), points
    yield named("ended"), every(30_000, -15 * MINUTE, lambda at: 7)[:-9] + [(-4 * MINUTE, tools.STALE)]
    yield named("only_stale"), [(-MINUTE, tools.STALE)]


def counters():
    for index, name in enumerate(("x_total", "x", "y_total", "y", "x_sum", "x_count")):
        for a in ("1", "2", "3"):
            value, points = random.choice([0, 0, 5, 1e6]), []
            for at in range(-30 * MINUTE + random.choice([0, 0, 3_000, 14_999]), 1, random.choice([15_000, 15_000, 60_000])):
                value = random.choice([0, 0, 1]) if random.random() < 0.05 else value + random.choice([0, 1, 1, 10, 0.1])
                points.append((at, float(value)))
            if a == "3":
                start = random.randint(0, len(points) - 1)
                points = points[start:start + random.choice([1, 2, 3, 50])]
            yield named(name, a=a, **({"b": pick("p", "q")} if index % 2 else {})), points


def histogram(name, labels, bounds, values):
    for bound, value in zip(bounds, values):
        yield named(name, **labels, **({"le": bound} if bound else {})), every(MINUTE, -10 * MINUTE, lambda _: value)


def histograms():
    nan, inf = math.nan, math.inf
    shapes = {
        "plain": (["0.1", "1", "+Inf"], [1, 3, 4]), "open": (["0.1", "1"], [1, 3]), "one": (["+Inf"], [4]),
        "lone": (["1"], [4]), "two": (["1", "+Inf"], [2, 2]), "falls": (["0.1", "0.5", "1", "+Inf"], [1, 5, 3, 4]),
        "falls_last": (["0.1", "0.5", "+Inf"], [1, 5, 3]), "nearly": (["1", "2", "+Inf"], [1, 1 - 1e-13, 1]),
        "spelled": (["1", "1.0", "1e0", "2", "+Inf"], [1, 1, 1, 4, 5]), "infs": (["1", "+Inf", "Inf", "inf"], [1, 2, 3, 4]),
        "negative": (["-10", "-1", "0", "1", "+Inf"], [1, 2, 3, 4, 5]), "below": (["-10", "-1", "+Inf"], [1, 2, 2]),
        "lowest": (["-Inf", "0", "+Inf"], [0, 2, 3]), "low_full": (["-Inf", "1", "+Inf"], [1, 2, 3]),
        "zero": (["0.1", "1", "+Inf"], [0, 0, 0]), "nan_first": (["0.1", "1", "+Inf"], [nan, 2, 3]),
        "nan_middle": (["0.1", "1", "+Inf"], [1, nan, 3]), "nan_last": (["0.1", "1", "+Inf"], [1, 2, nan]),
        "infinite": (["0.1", "1", "+Inf"], [1, inf, inf]), "minus": (["0.1", "1", "+Inf"], [-3, -2, -1]),
        "odd": (["0.1", "x", "+Inf"], [1, 2, 3]),
        "none": (["0.1", "", "+Inf"], [1, 2, 3]), "big": (["1e308", "1e309", "+Inf"], [1, 2, 3]),
        "minus_zero": (["-0", "0", "1", "+Inf"], [1, 1, 2, 3]), "spaced": (["0.1", " 1", "+Inf"], [1, 2, 3]),
        "empty_ones": (["1", "2", "3", "4", "+Inf"], [0, 0, 5, 5, 5]),
    }
    for kind, (bounds, values) in shapes.items():
        yield from histogram(pick("lat_bucket", "lat_bucket", "lat"), {"kind": kind}, bounds, values)
    yield from histogram("twin_bucket", {"kind": "plain"}, ["0.1", "1", "+Inf"], [2, 3, 9])
    yield from histogram("lat_bucket", {"kind": "typed", "__type__": "histogram"}, ["1", "+Inf"], [2, 3])


def series(tools):
    found = [*edges(tools), *counters(), *histograms()]
    for index, value in enumerate(ODD):
        found.append((named("odd", n=str(index), a=pick("1", "2")), every(MINUTE, -6 * MINUTE, lambda _: value)))
    for index, value in enumerate([0.0, 86399.999, -0.5, 951782400, 4107542400, -62135596800, 1e18, -1e18, 9.3e18, 1.7e9, 1709164800]):
        found.append((named("date", n=str(index)), every(MINUTE, -6 * MINUTE, lambda _: value)))
    for index, text in enumerate(["", "a\nb", 'quo"te', "back\\slash", "ünï", "a.b-c", "$1", "A", "a", "10", "9", " "]):
        labels = named(pick("words", "my.metric", "http requests"), n=str(index), **{pick("word", "word", "lab.dot"): text})
        found.append(({k: v for k, v in labels.items() if v}, every(MINUTE, -10 * MINUTE, lambda at: pick(1, 2, index))))
    for name in ("same", "also"):
        for a in ("1", "2"):
            for kind in ("", "gauge", "counter"):
                labels = named(name, a=a, **({"__type__": kind} if kind else {}))
                found.append((labels, every(MINUTE, -10 * MINUTE, lambda _: random.randint(0, 3))))
    for name, labels in (("left", ("a", "b")), ("right", ("a", "c")), ("many", ("a", "b", "c"))):
        for _ in range(6):
            found.append((named(name, **{label: pick("1", "2", "3") for label in labels}),
                          every(30_000, -12 * MINUTE, lambda _: random.randint(0, 4))))
    once = {}
    for labels, points in found:
        once.setdefault(tuple(sorted(labels.items())), points)
    return [(dict(key), points) for key, points in once.items()]


NAMES = ["x_total", "x", "y_total", "odd", "edge", "paused", "ended", "left", "right", "many", "same", "words", "lat_bucket", "date"]
PATTERNS = ["1|2", "[^1]", "(?i)A.*", ".*", ".+", "", "a\\\\nb", "\\\\d+", "[[:alpha:]]+", "\\\\pL+", "^1$", "a.b", "(1|2|3)", "x.*|.*y",
            ".*\\\\..*", "ü.*", "(?s:a.b)", "(?-s)a.b", "[0-9]{1,2}", "1??", "\\\\$1", "plain|one|nan_.*", "no", "(?:)|1", "a|A", "\\\\x61"]


def matcher():
    name = pick("a", "a", "b", "n", "word", "kind", "le", '"lab.dot"', '"a"', "nope")
    op = pick("=", "!=", "=~", "!~")
    value = pick(*PATTERNS) if "~" in op else pick("1", "2", "", "x", "plain", "0", "ünï", "a\\nb", "$1", "+Inf")
    return f'{name}{op}"{value}"'


def selector():
    body = [matcher() for _ in range(random.choice([0, 0, 1, 1, 2, 3]))]
    kind = random.random()
    if kind < 0.08:
        body.insert(random.randint(0, len(body)), pick('"my.metric"', '"http requests"', '"x"', "'words'"))
    elif kind < 0.2:
        body.append(pick('__name__=~"x|y"', '__name__=~"x_.*"', '__name__="x"', '__name__!="x"', '__name__=~"same|also"',
                         '__name__!~".*_.*"', '"__name__"="x"', '__name__=~"left|many",__name__!="left"'))
    if kind < 0.2:
        return "{" + ",".join(body) + "}" + modifiers()
    return pick(*NAMES) + ("{" + ",".join(body) + "}" if body else "") + modifiers()


def modifiers():
    if random.random() < 0.7:
        return ""
    both = [pick("", " offset " + pick("5m", "1m", "-1m", "4m59s", "299999ms", "-5m", "0s", "1ms", "-1ms", "10m")),
            pick("", " @ " + pick("start()", "end()", str(AT), str(AT - 60), str(AT - 300), f"{AT - 0.001:.3f}"))]
    random.shuffle(both)
    return "".join(both)


def number():
    return pick("0", "1", "2", "-1", "0.5", "1.5", "NaN", "Inf", "-Inf", "1e30", "-1e-7", "3", "1e19", "9.3e18", "0.95", "2.5", "time()",
                f"time() - {AT}", "time() % 7", "scalar(odd{n=\"" + str(random.randint(0, 15)) + "\"})", "scalar(left)",
                f"scalar(edge{{n=\"{random.randint(0, 9)}\"}}{modifiers()})", f"scalar(sum({selector()}))", "-time()", "(1)", "(1.5)", "pi()",
                "scalar(paused{n=\"0\"} % 4)", "scalar(minute()) % 3", "scalar(x{a=\"1\"} @ end())",
                "scalar(x{a=\"1\"} @ start()) % 5")


def window():
    return pick("5m", "1m", "30s", "15s", "15001ms", "14999ms", "10m", "300s", "60001ms", "1ms", "2m", "20m", "45s", "4m59s")


def matrix(depth=1):
    if random.random() < 0.55:
        offset = modifiers()
        return selector().split(" @")[0].split(" offset")[0] + f"[{window()}]" + offset
    operand = pick(selector, selector, lambda: vector(depth - 1), lambda: f"vector({number()})")()
    return f"({operand})[{pick('5m', '2m', '10m', '61s', '30s', '90s', '59s', '1s')}:{pick('', '1m', '15s', '17s', '30s', '7001ms', '2m')}]{modifiers()}"


OF_RANGE = ["rate", "increase", "delta", "irate", "idelta", "changes", "resets", "deriv", "avg_over_time", "min_over_time",
            "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "present_over_time", "absent_over_time",
            "stddev_over_time", "stdvar_over_time"]
OF_VALUE = ["abs", "ceil", "floor", "sqrt", "sgn", "deg", "rad", "timestamp", "minute", "hour", "day_of_week", "day_of_month",
            "day_of_year", "days_in_month", "month", "year", "sort", "sort_desc", "-", "+", "absent", "asinh", "acosh", "sin", "acos"]


def of_range():
    kind = random.random()
    if kind < 0.1:
        return f"quantile_over_time({number()}, {matrix()})"
    if kind < 0.2:
        return f"predict_linear({matrix()}, {number()})"
    return f"{pick(*OF_RANGE)}({matrix()})"


def of_value(depth):
    kind = random.random()
    if kind < 0.15:
        return f"round({vector(depth - 1)}{pick('', ', ' + number())})"
    if kind < 0.35:
        return pick(f"clamp({vector(depth - 1)}, {number()}, {number()})", f"clamp_min({vector(depth - 1)}, {number()})",
                    f"clamp_max({vector(depth - 1)}, {number()})")
    if kind < 0.45:
        return f"{pick('minute', 'hour', 'day_of_week', 'day_of_month', 'day_of_year', 'days_in_month', 'month', 'year')}(date)"
    if kind < 0.6:
        return f"timestamp({pick(selector(), '(' + selector() + ')', '((' + selector() + '))', vector(depth - 1))})"
    return f"{pick(*OF_VALUE)}({vector(depth - 1)})"


def grouping():
    names = random.sample(["a", "b", "c", "n", "le", "kind", "__name__", '"lab.dot"', "nope", "v", "__type__"], random.choice([0, 1, 1, 2]))
    return pick("", pick(" by ", " without ") + "(" + ", ".join(names) + ")")


def aggregation(depth):
    op = pick("sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values",
              "topk", "bottomk", "quantile", "count_values")
    parameter = number() + ", " if op in ("topk", "bottomk", "quantile") else ""
    if op == "count_values":
        parameter = pick('"v"', '"a"', '"x.y"', '"__name__"', '"le"', '""', "'n'", '"1a"', '"ünï"', '("v")') + ", "
    return f"{op}{grouping()}({parameter}{vector(depth - 1)})"


def on(group=True):
    names = random.sample(["a", "b", "c", "n", "__name__", "kind", '"lab.dot"'], random.choice([0, 1, 1, 2]))
    text = pick("", pick(" on ", " ignoring ") + "(" + ", ".join(names) + ")")
    if text and group and random.random() < 0.5:
        include = random.sample(["a", "b", "c", "__name__", "nope", "n", '"lab.dot"'], random.choice([0, 1, 2]))
        left = [name for name in include if " on " not in text or name not in names]
        text += pick(" group_left ", " group_right ") + "(" + ", ".join(left) + ")"
    return text


def binary(depth):
    kind = random.random()
    op = pick("+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=")
    word = pick("", " bool") if op[0] in "=!<>" else ""
    if kind < 0.25:
        sides = [vector(depth - 1), f"({number()})"]
        random.shuffle(sides)
        return f"({sides[0]} {op}{word} {sides[1]})"
    if kind < 0.32:
        return f"vector(({number()}) {op}{' bool' if op[0] in '=!<>' else ''} ({number()}))"
    sides = [pick(selector(), vector(depth - 1), pick("left", "right", "many", "same", "x", "y", "sum by (a) (many)")) for _ in range(2)]
    if kind < 0.6:
        return f"({sides[0]} {pick('and', 'or', 'unless')}{on(False)} {sides[1]})"
    return f"({sides[0]} {op}{word}{on()} {sides[1]})"


def quantile(depth):
    buckets = pick("lat_bucket", "lat", '{__name__=~"lat.*|twin_bucket"}', "lat_bucket" + modifiers(), "rate(lat_bucket[5m])",
                   "sum by (le) (lat_bucket)", "sum by (le, kind) (lat_bucket)", "-lat_bucket", '{__name__=~"lat.*|twin_bucket",kind=~"plain|typed"}',
                   f'lat_bucket{{kind=~"{pick("nan.*", "falls.*", "plain", "spelled|infs", ".*min.*", "odd|none")}"}}', vector(depth - 1))
    limit = pick("0.5", "0", "1", "0.9", "0.25", "1.5", "-0.5", "NaN", "-0", number(), number())
    if depth == OUTERMOST and random.random() < 0.4:
        return f"histogram_fraction({pick('0', '-Inf', '0.05', '-1', number())}, {pick('1', 'Inf', '0.5', '2', '-0.5', number())}, {buckets})"
    return f"histogram_quantile({limit}, {buckets})"


def relabelled(depth):
    inner = pick("words", '{"my.metric"}', '{"http requests"}', "left", "{__name__=~\"same|also\"}", vector(depth - 1))
    to = pick("r", "a", "word", "__name__", "lab.dot", "ünï", "", "1a", "r", "r")
    source = pick("word", "a", "__name__", "lab.dot", "nope", "", "n", "word")
    text = pick("$1", "${1}", "$1x", "$0", "", "$$", "$", "${", "${1", "${name}", "$name", "a$1b", "$2", "\\n", "$1$1", "${1}$2-$3", "$10")
    if random.random() < 0.3:
        sources = "".join(f', "{pick("a", "word", "lab.dot", "nope", "__name__", "", "b")}"' for _ in range(random.randint(0, 3)))
        return f'label_join({inner}, "{to}", "{pick("", "-", ", ", "ü")}"{sources})'
    pattern = pick("(.*)", "(.+)", "", ".*", "(?P<name>.*)", "(?<name>.)(.*)", "a(.*)b", "(?s)a(.)b", "(", "a|b|(A)", "(.)(.)?(.)?", "^(.*)$",
                   "\\\\w+", "([^a]*)", "(a+?)(.*)", "[a-z&&[^b]]", "\\\\Qa.b\\\\E.*")
    return f'label_replace({inner}, "{to}", "{text}", "{source}", "{pattern}")'


def absent():
    body = ",".join(matcher() for _ in range(random.choice([1, 1, 2, 2, 3])))
    of = pick("nothing", "nothing", "x", "", "only_stale") + "{" + body + (pick(',__name__="nothing"', ',__name__=~"no.+"', ',"nothing"') if random.random() < 0.1 else "") + "}"
    return pick(f"absent({of})", f"absent(({of}))", f"absent_over_time({of}[5m])", f"absent(sum({of}))", f"absent_over_time({of}[5m:1m])",
                f"absent({of} > 1)", f"absent_over_time(({of})[5m:])", f"absent({of} offset 1m)", f"absent(rate({of}[5m]))")


def vector(depth):
    if depth <= 0:
        return pick(selector, selector, of_range)()
    return pick(selector, of_range, of_range, lambda: of_value(depth), lambda: of_value(depth), lambda: aggregation(depth),
                lambda: aggregation(depth), lambda: binary(depth), lambda: binary(depth), lambda: quantile(depth),
                lambda: relabelled(depth), absent, lambda: f"vector({number()})", lambda: f"({vector(depth - 1)})")()


REFUSED = ['{}', '{a=~".*"}', '{a=""}', 'x{__name__="y"}', 'x or on (a) group_left y', 'limitk(1, x)', 'limit_ratio(0.5, x)',
           "info(x)", "double_exponential_smoothing(x[5m], 0.5, 0.5)", "holt_winters(x[5m], 0.5, 0.5)", "mad_over_time(x[5m])",
           "sort_by_label(x, \"a\")", "first_over_time(x[5m])", "1 == 2", "x{a=\"1\" or b=\"2\"}", "x[5m] + 1", "rate(x)", "sum(1)",
           "x and 1", "1 or 2", "x{a=~\"(\"}", "x{a=~\"a{1001}\"}", "x{a=~\"(?=a)\"}", "x offset 1m offset 1m",
           "ts_of_max_over_time(x[5m])", "x == bool on (a) group_left (a) y", "-\"a\"", "vector(x)", "scalar(1)", "x[5m:0s]", "x[0s]"]


def root():
    kind = random.random()
    if kind < 0.02:
        return pick(*REFUSED)
    if kind < 0.06:
        return pick(matrix(), f"({matrix()})", '"te\\nxt"', "'ü'", "(\"a\")", number(), f"({number()}) {pick('+', '*', '^', '%', '> bool')} ({number()})")
    if kind < 0.16:
        return quantile(OUTERMOST)
    if kind < 0.22:
        return relabelled(1)
    if kind < 0.28:
        return absent()
    if kind < 0.40:
        return aggregation(random.choice([1, 2]))
    if kind < 0.50:
        return of_value(random.choice([1, 1, 2]))
    if kind < 0.65:
        return of_range()
    if kind < 0.80:
        return binary(random.choice([1, 1, 2]))
    return vector(random.choice([1, 2, 3]))


def asked(tools, base, expr):
    """The case, or nothing where Prometheus does not say the same each time: Go's maps have no order."""
    if random.random() < 0.45:
        step, count = random.choice([15, 60, 60, 300, 0.001, 7.5]), random.randint(0, 6)
        end = AT - random.choice([0, 0, 60, 299.999, 300, 0.001])
        start = end - step * count
        end += random.choice([0, step / 2])
        case = {"expr": expr, "range": [round((t - AT) * 1000) for t in (start, end)] + [round(step * 1000)]}
        path, form = "/api/v1/query_range", {"start": round(start, 3), "end": round(end, 3), "step": step}
    else:
        ago = random.choice([0, 0, 0, 0.001, 60, 299.999, 300, 300.001, 600])
        case = {"expr": expr, "ago": round(ago * 1000)}
        path, form = "/api/v1/query", {"time": round(AT - ago, 3)}
    answers = [tools.whole(base, path, {"query": expr, **form}) for _ in range(4)]
    values = [answer.get("data", answer.get("errorType")) for answer in answers]
    if any(tools.unordered(value) != tools.unordered(values[0]) for value in values):
        return None
    notes = [sorted(answer.get("warnings", [])) + sorted(answer.get("infos", [])) for answer in answers]
    if all(note == notes[0] for note in notes) and not any("omitted" in line for line in notes[0]):
        case["notes"] = notes[0]
    if "error" in answers[0] and all(answer["error"] == answers[0]["error"] for answer in answers):
        case["why"] = answers[0]["error"]
    if all(value == values[0] for value in values) and expr.startswith(("sort", "topk", "bottomk")):
        case["ordered"] = True
    return {**case, **tools.written(values[0])}


def record(base, now, seed, tools):
    global AT
    AT = now
    data = series(tools)
    tools.push(base, [(labels, [(now * 1000 + t, v) for t, v in points]) for labels, points in data])
    cases, empty, wanted = [], 0, tools.COUNT or CASES
    while len(cases) < wanted:
        expr = root()
        if len(expr) > 400:
            continue
        case = asked(tools, base, expr)
        if case is None or len(case.get("vector") or case.get("matrix") or []) > 30:
            continue
        if case.get("vector") == [] or case.get("matrix") == []:
            if empty * 12 > len(cases):
                continue
            empty += 1
        cases.append(case)
    tools.write(seed, now, data, cases)
