"""Series over 40 minutes: ranges, offsets, functions, many-to-one matching. See `generate`."""
import json, math, random

SPAN = 40 * 60
OF_RANGE = ["rate", "increase", "delta", "irate", "idelta", "changes", "resets", "deriv", "avg_over_time",
            "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time", "present_over_time",
            "absent_over_time", "stddev_over_time", "stdvar_over_time", "quantile_over_time", "predict_linear"]
OF_VALUE = ["abs", "ceil", "floor", "round", "sqrt", "ln", "log2", "log10", "exp", "clamp", "clamp_min", "clamp_max",
            "timestamp", "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"]
OF_LABELS = ["label_replace", "label_join"]
AGGREGATIONS = ["sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile",
                "count_values"]


def times():
    """Offsets in milliseconds: a scrape every 15 s, more or less, with gaps."""
    step = random.choice([15_000, 15_000, 15_000, 30_000, 60_000, 7_000])
    jitter = random.choice([0, 0, 3, 500])
    at, found = -SPAN * 1000 + random.randint(0, step), []
    while at <= 0:
        if random.random() < 0.97:
            found.append(min(0, at + random.randint(-jitter, jitter)))
        elif random.random() < 0.3:
            at += random.randint(1, 8) * 60_000
        at += step
    start = random.choice([0, 0, 0, random.randint(0, len(found) - 1)])
    end = random.choice([None, None, None, random.randint(1, len(found))])
    return sorted(set(found[start:end] or found))


def stale(points, tools):
    """Ends some series, with or without a start again."""
    kind = random.random()
    if kind < 0.15:
        at = random.randrange(len(points))
        points[at] = (points[at][0], tools.STALE)
    elif kind < 0.3:
        points[-1] = (points[-1][0], tools.STALE)
    return points


def counter():
    value, points = random.choice([0, 0, 3, 1e3, 0.5]), []
    grows = random.choice([lambda: random.randint(0, 5), lambda: round(random.expovariate(1), 2), lambda: 0,
                           lambda: random.choice([0, 0, 0, 7])])
    resets = random.choice([0, 0, 0.02, 0.1])
    for at in times():
        value = random.choice([0, 1, grows()]) if random.random() < resets else round(value + grows(), 3)
        points.append((at, float(value)))
    return points


def gauge():
    odd = random.choice([0, 0, 0, 0.1])
    special = [math.nan, math.inf, -math.inf, -0.0, 1e308, -1e308, 1e16, 1.0, -1e16, 3e-308]
    shape = random.choice([lambda at: 5, lambda at: round(random.uniform(-9, 9), 3), lambda at: at / 1000,
                           lambda at: random.choice([0, 1]), lambda at: 1e9 + random.randint(0, 9) / 8])
    return [(at, float(random.choice(special) if random.random() < odd else shape(at))) for at in times()]


def histogram(labels, bounds, broken):
    counts, found = [0.0] * len(bounds), {bound: [] for bound in bounds}
    for at in times():
        for index in range(random.randint(0, len(bounds) - 1), len(bounds)):
            counts[index] += random.choice([0, 1, 2, 0.1])
        for bound, count in zip(bounds, counts):
            noise = random.choice([0, 0, count * 1e-14, -count * 1e-14, -0.5]) if broken else 0
            found[bound].append((at, max(0.0, count + noise)))
    return [({**labels, "le": bound}, points) for bound, points in found.items()]


def series(tools):
    found = []
    for name, make in (("c", counter), ("d", counter), ("g", gauge), ("k", gauge)):
        for a in ("x", "y"):
            for b in ("", "p", "q"):
                if random.random() < 0.8:
                    found.append(({"__name__": name, "a": a, **({"b": b} if b else {})}, stale(make(), tools)))
    for a, version in (("x", "1.2"), ("y", "2.0-rc1")):
        found.append(({"__name__": "info", "a": a, "version": version, "b": ""}, [(-t * 60_000, 1.0) for t in range(40, -1, -1)]))
    for index, value in enumerate([1.7e9, 1709210096, -1.0, 0.0, 4107542399.9, math.nan, 1e20, -6.2e10, math.inf]):
        found.append(({"__name__": "t", "n": str(index)}, [(-30_000 * t, value) for t in range(9, -1, -1)]))
    for a, bounds, broken in (("x", ["0.1", "0.5", "1", "2.5", "+Inf"], False), ("y", ["0.1", "0.5", "1", "5", "+Inf"], True),
                              ("z", ["-1", "0", "1.0", "1", "Inf"], False), ("w", ["1", "2"], False), ("v", ["+Inf"], False),
                              ("u", ["1", "nope", "+Inf"], True)):
        found += histogram({"__name__": "h_bucket", "a": a}, bounds, broken)
    found += histogram({"__name__": "i_bucket", "a": "x"}, ["0.2", "1", "+Inf"], False)
    return [({k: v for k, v in labels.items() if v}, points) for labels, points in found]


def matchers(name):
    pool = ['a="x"', 'a!="x"', 'a=~"x|y"', 'a!~"x.*"', 'b="p"', 'b=""', 'b=~"[pq]"', 'b!=""', 'a="none"']
    found = random.sample(pool, random.choice([0, 0, 0, 1, 1, 2]))
    if not name:
        found.append(random.choice(['__name__=~"[cd]"', '__name__=~"[cd]"', '__name__="g"', '__name__=~"h_bucket|i_bucket"']))
    return name + ("{" + ",".join(found) + "}" if found else "")


def name():
    return random.choice(["c", "c", "d", "g", "g", "k", "k", "h_bucket", "info", "t", "", "nothing"])


def duration():
    return random.choice(["5m", "5m", "10m", "1m", "2m30s", "1m", "30s", "300", "90.5", "1h", "0x3c", "15s", "15001ms",
                          "29999ms", "45s", "7s", "1s", "20m", "40m"])


def offset():
    if random.random() < 0.7:
        return ""
    return " offset " + random.choice(["", "", "-", "- ", "+"]) + random.choice(["1m", "5m", "30", "15s", "1m15s", "0", "1h", "20m", "7s"])


def selector():
    return matchers(name()) + offset()


def matrix():
    of = matchers(name()) + f"[{duration()}]" + offset()
    return f"({of})" if random.random() < 0.03 else of


def labels(pool=("a", "b", "le", "version", "n")):
    return "(" + ", ".join(random.sample(pool, random.choice([0, 1, 1, 1, 2]))) + ")"


def scalar(depth):
    if depth <= 0 or random.random() < 0.8:
        return random.choice(["0", "1", "2", "-1", "0.5", "0.9", "3", "1e3", "Inf", "NaN", "-Inf", "5m", "time()", "0.3", "10"])
    return random.choice([f"scalar({vector(depth - 1)})", f"({scalar(depth - 1)} {random.choice('+-*/')} {scalar(depth - 1)})"])


def of_range(function):
    if function == "quantile_over_time":
        return f"{function}({scalar(1)}, {matrix()})"
    if function == "predict_linear":
        return f"{function}({matrix()}, {scalar(1)})"
    return f"{function}({matrix()})"


def of_value(function, depth):
    operand = vector(depth - 1)
    if function in ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"):
        return random.choice([f"{function}()", f"{function}(t)", f"{function}(t)", f"{function}(vector({scalar(1)}))",
                              f"{function}({operand})"])
    if function == "timestamp" and random.random() < 0.7:
        operand = selector()
    if function == "round" and random.random() < 0.5:
        return f"round({operand}, {random.choice(['0.1', '5', '0', '-2', '0.25', scalar(1)])})"
    extra = {"clamp": 2, "clamp_min": 1, "clamp_max": 1}.get(function, 0)
    return f"{function}({', '.join([operand] + [scalar(1) for _ in range(extra)])})"


def of_labels(function, depth):
    operand = vector(depth - 1)
    if function == "label_join":
        sources = "".join(f', "{random.choice(["a", "b", "le", "nope", "__name__"])}"' for _ in range(random.randint(0, 3)))
        return f'label_join({operand}, "{random.choice(["j", "a", "__name__"])}", "{random.choice(["-", "", ", "])}"{sources})'
    to = random.choice(["r", "a", "b", "__name__", "a.b"])
    text = random.choice(["$1", "${1}x", "$1x", "<$0>", "", "$name-$2", "$$1", "v"])
    pattern = random.choice(["(.*)", "([xy])", "(?P<name>.)(.*)", "x|y", "", ".+", "([0-9]+)[.](.*)", "^(.).*$", "(?i)X"])
    return f'label_replace({operand}, "{to}", "{text}", "{random.choice(["a", "b", "version", "le", "__name__", "nope"])}", "{pattern}")'


def aggregation(op, depth):
    word = random.choice(["", " by " + labels(), " without " + labels(), " by (a)"])
    parameter = {"topk": lambda: random.choice(["1", "2", "3", "100", "0", "-1", "1.9", scalar(1)]),
                 "bottomk": lambda: random.choice(["1", "2", "3", "0.5", scalar(1)]), "quantile": lambda: scalar(1),
                 "count_values": lambda: random.choice(['"v"', '"a"', '"__name__"', "'x.y'"])}.get(op)
    inside = (parameter() + ", " if parameter else "") + vector(depth - 1)
    return f"{op}{word}({inside})" if random.random() < 0.8 else f"{op}({inside}){word}"


def quantile(depth):
    buckets = random.choice(["h_bucket", 'h_bucket{a=~"x|y|z"}', "rate(h_bucket[5m])", "increase(h_bucket[10m] offset 1m)",
                             "sum by (le, a) (rate(h_bucket[5m]))", "sum by (le) (h_bucket)", '{__name__=~".*_bucket"}',
                             '{__name__=~".*_bucket",a="x"}', vector(depth - 1)])
    return f"histogram_quantile({random.choice(['0.5', '0.9', '0.99', '0', '1', '-1', '1.1', scalar(1)])}, {buckets})"


def joined(depth):
    """Many to one, with labels from the other side."""
    many = random.choice(["c", "g", 'c{b!=""}', "rate(c[5m])", "h_bucket", vector(depth - 1)])
    one = random.choice(["info", "info", "info * 2", "sum by (a) (d)", "max by (a, b) (g)", vector(depth - 1)])
    op = random.choice(["*", "+", "-", "/", "==", ">", "<=", "> bool", "== bool", "!="])
    include = random.choice(["", "()", "(version)", "(version, b)", "(b)", "(__name__)", "(nope)"])
    on = random.choice([" on (a)", " on (a)", " ignoring (b, version)", " ignoring (le, b, version)", " on ()"])
    if not include and (many + one).count("("):
        include = "()"  # A parenthesis there would be the list of labels.
    if random.random() < 0.5:
        return f"({many} {op}{on} group_left{include} {one})"
    return f"({one} {op}{on} group_right{include} {many})"


def operator(depth):
    kind = random.random()
    if kind < 0.2:
        sides = [vector(depth - 1), scalar(1)]
        random.shuffle(sides)
        return f"({sides[0]} {random.choice(['+', '-', '*', '/', '%', '==', '!=', '>', '<', '> bool', '<= bool'])} {sides[1]})"
    if kind < 0.25:
        return f"-{vector(depth - 1)}"
    if kind < 0.6:
        return joined(depth)
    matching = random.choice(["", "", " on " + labels(), " ignoring " + labels(), " on (a, b)"])
    op = random.choice(["+", "-", "*", "/", "==", ">", "<=", "!= bool", "and", "or", "unless", "and", "or"])
    return f"({vector(depth - 1)} {op}{matching} {vector(depth - 1)})"


def vector(depth):
    if depth <= 0:
        return random.choice([selector(), selector(), of_range(random.choice(OF_RANGE))])
    kind = random.random()
    if kind < 0.40:
        return of_range(random.choice(OF_RANGE))
    if kind < 0.50:
        return of_value(random.choice(OF_VALUE), depth)
    if kind < 0.58:
        return aggregation(random.choice(AGGREGATIONS), depth)
    if kind < 0.62:
        return of_labels(random.choice(OF_LABELS), depth)
    if kind < 0.66:
        return quantile(depth)
    if kind < 0.69:
        return random.choice([f"vector({scalar(1)})", f"absent({selector()})", f"absent(({selector()}))"])
    return operator(depth)


def roots():
    """Each part of the language in its turn, so that none is rare."""
    while True:
        yield from ((lambda f=f: of_range(f)) for f in OF_RANGE * 2)
        yield from ((lambda f=f: of_value(f, random.choice([1, 1, 2]))) for f in OF_VALUE)
        yield from ((lambda f=f: aggregation(f, random.choice([1, 1, 2]))) for f in AGGREGATIONS)
        yield from ((lambda f=f: of_labels(f, 1)) for f in OF_LABELS * 2)
        yield from [lambda: quantile(1)] * 6 + [lambda: joined(1)] * 10 + [lambda: operator(2)] * 4
        yield from [lambda: selector()] * 3 + [lambda: vector(3)] * 4 + [lambda: scalar(2)]


def number(text):
    return text.replace("+", "")


def record(base, at, seed, tools):
    data = series(tools)
    tools.push(base, [(labels, [(at * 1000 + t, v) for t, v in points]) for labels, points in data])
    cases, empty = [], 0
    for root in roots():
        if len(cases) == 3000:
            break
        expr, ago = root(), random.choice([0, 0, 0, 1, 60, 299.999, 600, 1234.567, 2000])
        answers = [tools.ask(base, expr, at - ago) for _ in range(3)]
        if any(answer != answers[0] for answer in answers):
            continue  # Go's maps have no order, and some last digits depend on it.
        answer, case = answers[0], {"expr": expr, "ago": round(ago * 1000)}
        if answer == "bad_data":
            raise SystemExit(f"{expr}: the generator wrote what Prometheus cannot read")
        if isinstance(answer, str):
            cases.append({**case, "fails": answer})
        elif answer["resultType"] == "scalar":
            cases.append({**case, "scalar": number(answer["result"][1])})
        elif answer["result"] or empty * 12 < len(cases):
            empty += not answer["result"]
            if len(answer["result"]) <= 12 or random.random() < 0.3:
                cases.append({**case, "vector": [[s["metric"], number(s["value"][1])] for s in answer["result"]]})

    def points(of):
        return " ".join(f"{t} {'stale' if v is tools.STALE else repr(v)}" for t, v in of)

    rows = ",\n".join(json.dumps([labels, points(of)], separators=(",", ":")) for labels, of in data)
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print('{"seed":%d,"at":%d,"series":[\n%s\n],\n"cases":[\n%s\n]}' % (seed, at, rows, text))

