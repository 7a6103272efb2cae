"""The expressions of a file (one a line, up to a tab), over random series that their selectors show. See `live`."""
import random, re, string

WORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "group_left", "group_right", "bool", "offset", "inf",
         "nan", "start", "end", "sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk",
         "quantile", "count_values", "atan2"}
SELECTOR = re.compile(r'([a-zA-Z_:][\w:]*)?\s*\{((?:[^"\'}]|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')*)\}|([a-zA-Z_:][\w:]*)(?!\s*\()')
MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*("(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')')
GROUPING = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)", re.I)


def value(pattern):
    """Something that a regular expression matches, as far as it is a simple one."""
    choice = random.choice(re.split(r"\|", re.sub(r"^\^?\(?(?:\?:)?|\)?\$?$", "", pattern)))
    for sign, word in ((r"\\\.", "."), (r"\.[*+]", "x"), (r"\[[^]]*\][*+]?", "5"), (r"\\d[+*]?", "5"), (r"[()?^$\\]", "")):
        choice = re.sub(sign, word, choice)
    return choice


def label(op, text):
    plain = text[1:-1].replace('\\\\', '\\').replace('\\"', '"')
    if op == "=":
        return plain
    if op == "=~":
        return value(plain)
    return random.choice(["other", "a-1", "7"])


def selected(expr):
    """Name and matchers of each selector, and labels that the expression groups by."""
    groups = {name.strip() for found in GROUPING.findall(expr) for name in found.split(",") if name.strip().isidentifier()}
    bare = GROUPING.sub(" ", expr)
    for match in SELECTOR.finditer(bare):
        name = match[1] or match[3] or ""
        if name.lower() in WORDS or inside_string(bare, match.start()):
            continue
        found = {key: label(op, text) for key, op, text in MATCHER.findall(match[2] or "") if text[1:-1] or op == "!="}
        if name:
            found["__name__"] = name
        if "__name__" in found:
            yield found, groups


def inside_string(text, at):
    return len(re.findall(r'(?<!\\)"', text[:at])) % 2 == 1


def points(tools):
    value, grows = random.choice([0, 1, 50, 1e9]), random.random() < 0.6
    found = []
    for t in range(-75 * 60_000 + random.randint(0, 30_000), 1, 30_000):
        value = 0 if random.random() < 0.02 else value + random.choice([0, 1, 2.5]) if grows else random.choice([0, 1, 5, 0.25, 99])
        odd = random.random()
        if odd > 0.06:
            found.append((t, float(value)))
        elif odd < 0.004:
            found.append((t, random.choice([tools.STALE, float("nan"), float("inf")])))
    return found


def world(expr, tools, series):
    own = {}
    for labels, groups in list(selected(expr)):
        for _ in range(random.randint(1, 3)):
            shared = {name: own.setdefault((name, i := random.randint(0, 1)), random.choice(["a", "b", "c"]) + str(i))
                      for name in groups}
            full = {**shared, **labels}
            if labels["__name__"].endswith("_bucket") and "le" not in labels:
                variants = [{**full, "le": bound} for bound in ("0.1", "1", "5", "+Inf")]
            else:
                variants = [full]
            for one in variants:
                key = tuple(sorted((k, v) for k, v in one.items() if v))
                if len(series) < 20_000 and key not in series:
                    series[key] = points(tools)


def record(base, at, seed, tools):
    exprs = [line.split("\t")[0].strip() for line in open(tools.WILD)]
    exprs, series = [expr for expr in exprs if expr and not expr.startswith("#")], {}
    for expr in exprs:
        world(expr, tools, series)
    data = [(dict(key), found) for key, found in sorted(series.items())]
    for start in range(0, len(data), 500):
        tools.push(base, [(labels, [(at * 1000 + t, v) for t, v in found]) for labels, found in data[start:start + 500]])
    cases = []
    for expr in exprs:
        for ago in (0, random.choice([60, 299.999, 600]), random.randint(0, 3000)):
            answers = [tools.ask(base, expr, round(at - ago, 3)) for _ in range(2)]
            if tools.unordered(answers[0]) == tools.unordered(answers[1]):
                cases.append({"expr": expr, "ago": round(ago * 1000), **tools.written(answers[0])})
        answer = tools.ask_range(base, expr, at - 600, at, 60)
        cases.append({"expr": expr, "range": [-600_000, 0, 60_000], **tools.written(answer)})
    tools.write(seed, at, data, cases)
