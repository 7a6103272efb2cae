"""The whole language: subqueries, `@`, every function, range queries, and all of it nested. See `generate`."""
import importlib.util, json, pathlib, random

spec = importlib.util.spec_from_file_location("range_cases", pathlib.Path(__file__).with_name("range_cases.py"))
simple = importlib.util.module_from_spec(spec)
spec.loader.exec_module(simple)

CASES = 6_600
# One unit in the last place is allowed for these, so they stand outermost, where nothing makes it more.
TRANSCENDENTAL = ["acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "sin", "sinh", "tan", "tanh", "exp",
                  "ln", "log2", "log10"]
EXACT = [name for name in simple.OF_VALUE if name not in TRANSCENDENTAL] + ["deg", "rad", "sgn", "sort", "sort_desc"]
simple.OF_VALUE = EXACT
AT = 0  # set by `record`


def at():
    """The modifier `@`, often enough."""
    if random.random() < 0.75:
        return ""
    time = AT + random.choice([0, -60, -599.5, -1200, -1234.567, -2399, 60, 4000, -9000])
    return " @ " + random.choice(["start()", "end()", "end()", f"{time}", f"{time:.3f}", f"{time / 1e9}e9"])


def modifiers():
    both = [at(), simple.offset()]
    random.shuffle(both)
    return "".join(both)


def selector():
    return simple.matchers(simple.name()) + modifiers()


def plain_matrix():
    return f"{simple.matchers(simple.name())}[{simple.duration()}]{modifiers()}"


def subquery(depth):
    operand = random.choice([selector, selector, lambda: simple.of_range(random.choice(simple.OF_RANGE)),
                             lambda: simple.vector(depth), lambda: f"vector({simple.scalar(1)})", lambda: "vector(time())"])()
    step = random.choice(["", "", "1m", "30s", "15s", "13s", "90", "2m", "7001ms", "10m"])
    span = random.choice(["5m", "5m", "10m", "2m", "1m", "30s", "7m30s", "15001ms", "20m", "600", "3m"])
    if step == "15s" and span == "20m":
        span = "5m"
    return f"({operand})[{span}:{step}]{modifiers()}"


def matrix():
    depth = random.choice([0, 0, 1])
    if simple.nesting < 2 and random.random() < 0.35:
        simple.nesting += 1
        try:
            return subquery(depth)
        finally:
            simple.nesting -= 1
    return plain_matrix()


simple.nesting = 0
simple.selector, simple.matrix = selector, matrix


def atan2():
    return f"({simple.vector(1)}) atan2 ({random.choice([simple.vector(1), simple.scalar(1)])})"


def power():
    return f"({simple.vector(1)}) ^ ({random.choice([simple.vector(1), simple.scalar(1), '0.5', '2', '3', '-1'])})"


def fraction():
    buckets = random.choice(["h_bucket", 'h_bucket{a=~"x|y|z"}', "rate(h_bucket[5m])", "sum by (le) (h_bucket)",
                             "increase(h_bucket[10m:1m])"])
    return f"histogram_fraction({simple.scalar(1)}, {simple.scalar(1)}, {buckets})"


def roots():
    """Each part of the language in its turn, so that none is rare."""
    while True:
        yield from ((lambda f=f: simple.of_range(f)) for f in simple.OF_RANGE * 2)
        yield from ((lambda f=f: simple.of_value(f, random.choice([1, 1, 2]))) for f in EXACT)
        yield from ((lambda f=f: f"{f}({simple.vector(random.choice([0, 1]))})") for f in TRANSCENDENTAL)
        yield from ((lambda f=f: simple.aggregation(f, random.choice([1, 2]))) for f in simple.AGGREGATIONS)
        yield from ((lambda f=f: simple.of_labels(f, 1)) for f in simple.OF_LABELS)
        yield from [lambda: simple.quantile(1)] * 4 + [fraction] * 2 + [lambda: simple.joined(1)] * 5
        yield from [lambda: simple.operator(2)] * 6 + [selector] * 3 + [lambda: simple.vector(3)] * 8
        yield from [atan2, atan2, power, power, lambda: simple.scalar(2), lambda: f"pi() * {simple.vector(1)}"]


def steps():
    """A range query's times, in seconds."""
    step = random.choice([15, 60, 60, 30, 7.5, 300, 61.001])
    count = random.randint(0, 7)
    end = AT - random.choice([0, 0, 60, 299.999, 600, 1234.567])
    return end - step * count, end + random.choice([0, step / 2]), step


def answered(tools, base, expr):
    """The case, or nothing where Prometheus does not say the same six times: Go's maps have no order."""
    if random.random() < 0.4:
        start, end, step = steps()
        case = {"expr": expr, "range": [round((t - AT) * 1000) for t in (start, end)] + [round(step * 1000)]}
        answers = [tools.ask_range(base, expr, start, end, step) for _ in range(6)]
    else:
        ago = random.choice([0, 0, 0, 1, 60, 299.999, 600, 1234.567, 2000])
        case = {"expr": expr, "ago": round(ago * 1000)}
        answers = [tools.ask(base, expr, round(AT - ago, 3)) for _ in range(6)]
    if any(tools.unordered(answer) != tools.unordered(answers[0]) for answer in answers):
        return None
    return {**case, **tools.written(answers[0])}


def record(base, now, seed, tools):
    global AT
    AT = now
    data = simple.series(tools)
    tools.push(base, [(labels, [(now * 1000 + t, v) for t, v in points]) for labels, points in data])
    cases, empty, wanted = [], 0, tools.COUNT or CASES
    for root in roots():
        if len(cases) >= wanted:
            break
        expr = root()
        if len(expr) > 400:
            continue
        case = answered(tools, base, expr)
        if case is None or case.get("fails") == "bad_data" or len(case.get("vector") or case.get("matrix") or []) > 10:
            continue
        if case.get("vector") == [] or case.get("matrix") == []:
            if empty * 12 > len(cases):
                continue
            empty += 1
        cases.append(case)
    tools.write(seed, now, data, cases)
