"""One sample a series: selection, operators, matching, the first aggregations. See `generate`."""
import json, math, random


def value():
    return random.choice([0, 1, -1, 2, 3, 0.1, 0.2, 0.3, 1e16, -1e16, 1e308, 1.7976931348623157e308, 5e-324,
                          math.nan, math.inf, -math.inf, round(random.uniform(-5, 5), 3), random.randint(-9, 9)])


def series():
    found = []
    for name in ("m1", "m2", "m3"):
        for a in ("", "x", "y"):
            for b in ("", "p", "q", "r"):
                if random.random() < 0.6:
                    labels = {"__name__": name, **({"a": a} if a else {}), **({"b": b} if b else {})}
                    found.append((labels, float(value())))
    return found


def selector():
    name = random.choice(["m1", "m2", "m3", "m1", "m2", ""])
    pool = ['a="x"', 'a!="x"', 'a=~"x|y"', 'a!~"x.*"', 'b="p"', 'b=""', 'b=~"[pq]"', 'b!=""', 'c=""', 'b=~".+"']
    matchers = random.sample(pool, random.choice([0, 0, 1, 1, 2]))
    if not name:
        matchers.append('__name__=~"m[12]"')
    return name + ("{" + ",".join(matchers) + "}" if matchers else "")


def labels():
    return "(" + ",".join(random.sample(["a", "b", "c"], random.choice([0, 1, 1, 2]))) + ")"


def scalar(depth):
    if depth <= 0 or random.random() < 0.6:
        return random.choice(["0", "1", "2", "-1", "0.5", "1e3", "Inf", "NaN", "5m", "0x10", "time()"])
    return f"({scalar(depth - 1)} {random.choice('+-*/%^')} {scalar(depth - 1)})"


def vector(depth):
    if depth <= 0:
        return selector()
    kind = random.random()
    if kind < 0.15:
        return selector()
    if kind < 0.30:
        word = random.choice(["", " by " + labels(), " without " + labels()])
        return f"{random.choice(['sum', 'min', 'max', 'avg', 'count'])}{word}({vector(depth - 1)})"
    if kind < 0.36:
        return f"absent({vector(depth - 1)})"
    if kind < 0.42:
        return f"-{vector(depth - 1)}" if random.random() < 0.7 else f"({vector(depth - 1)})"
    if kind < 0.60:
        sides = [vector(depth - 1), scalar(1)]
        random.shuffle(sides)
        op = random.choice(["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool"])
        return f"({sides[0]} {op} {sides[1]})"
    matching = random.choice(["", "", " on " + labels(), " ignoring " + labels()])
    op = random.choice(["+", "-", "*", "/", "==", ">", "<=", "!= bool", "and", "or", "unless"])
    return f"({vector(depth - 1)} {op}{matching} {vector(depth - 1)})"


def record(base, at, seed, tools):
    data = series()
    tools.push(base, [(labels, [(at * 1000, value)]) for labels, value in data])
    cases = []
    while len(cases) < 1000:
        expr = vector(random.choice([1, 2, 3])) if random.random() < 0.95 else scalar(3)
        answer = tools.ask(base, expr, at)
        if isinstance(answer, str):
            cases.append({"expr": expr, "fails": answer})
        elif answer["resultType"] == "scalar":
            cases.append({"expr": expr, "scalar": tools.exact(answer["result"][1])})
        elif answer["result"] or random.random() < 0.3:
            cases.append({"expr": expr, "vector": [[s["metric"], tools.exact(s["value"][1])] for s in answer["result"]]})
    series_json = [[labels, tools.exact(repr(value))] for labels, value in data]
    text = ",\n".join(json.dumps(case, sort_keys=True) for case in cases)
    print('{"seed": %d, "at": %d, "series": %s,\n"cases": [\n%s\n]}' % (seed, at, json.dumps(series_json), text))
