#!/usr/bin/env python3
"""Shows Grafana boards without a Grafana: asks a Prometheus what their panels ask, and writes a page a board.

    monitoring/render.py --prometheus http://127.0.0.1:9090 --from -1h --out /tmp/boards monitoring/dashboards/*.json

Panels stand where the board puts them, each with its chart, its queries as they were asked, and what came of them; one
without an answer says "no data". Variables are filled in as Grafana does; one that has many values and no "All" gets
the first, unless --variable agent=ID says which. Whatever goes wrong is named, with exit status 1."""
import argparse
import http.client
import json
import math
import pathlib
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from html import escape

STYLE = pathlib.Path(__file__).resolve().parent / "render.css"
COLOURS = 10  # --c0 … --c9 there
POINTS = 300  # a line has at most so many: about what Grafana asks for, for a panel of a third of a screen
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


class Failure(Exception):
    """What the caller is told instead of a page."""


def seconds(text):
    parts = re.findall(r"(\d+)([dhms])", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise Failure(f"{text!r} is not a time: write it like 90s, 15m or 1h30m")
    return sum(int(number) * SECONDS[unit] for number, unit in parts)


def ask(url, path, what, **parameters):
    """`data` of Prometheus' answer; `what` is said to be refused otherwise."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=60) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        try:
            reason = json.load(error)["error"]
        except (ValueError, KeyError, TypeError):
            reason = error
        raise Failure(f"{what}: {url} refuses it: {reason}") from None
    except OSError as error:
        raise Failure(f"no Prometheus at {url}: {getattr(error, 'reason', error)}") from None
    except (ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise Failure(f"{url} does not answer as a Prometheus does: {error}") from None


# Variables and queries.

def fill_in(text, variables):
    return re.sub(r"\$(\w+)|\$\{(\w+)\}", lambda found: variables.get(found[1] or found[2], found[0]), text)


def variables_of(board, options, window, where):
    """What queries get, and what the reader is told, by the variables' names."""
    filled, told = {}, {}
    for variable in board.get("templating", {}).get("list", []):
        name, values = variable["name"], options.variables.get(variable["name"])
        if variable["type"] == "datasource":
            continue
        if values is None:
            query = variable.get("query", "")
            query = fill_in(query["query"] if isinstance(query, dict) else query, filled)
            form = re.fullmatch(r"label_values\((?:(.+),)?\s*(\w+)\s*\)", query)
            if not form:
                raise Failure(f"{where}, variable {name}: {query!r} is not label_values(metric, label): say --variable {name}=VALUE")
            match = {"match[]": form[1]} if form[1] else {}
            values = ask(options.prometheus, f"label/{form[2]}/values", f"{where}, variable {name}, {query}",
                         start=window["start"], end=window["end"], **match)
            if variable.get("includeAll") and variable.get("allValue"):
                filled[name], told[name] = variable["allValue"], "All"
                continue
            values = values if variable.get("includeAll") else values[:1]
        if variable.get("multi") or variable.get("includeAll"):  # for =~
            quoted = [re.sub(r"[\\^$*+?.()|\[\]{}]", r"\\\g<0>", value) for value in values]
        else:
            quoted = values
        quoted = [json.dumps(value)[1:-1] for value in quoted]
        filled[name] = quoted[0] if len(quoted) == 1 else f"({'|'.join(quoted)})" if quoted else ""
        told[name] = ", ".join(values) or "none"
    return filled, told


def legend(target, labels, query):
    form = target.get("legendFormat") or "__auto"
    if form != "__auto":
        return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form)
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{pairs}}}" if pairs else "") or query


def answers(panel, variables, options, window, where):
    """[(query as asked, [(name, [(time, value), …]), …]), …]; a value is None where Prometheus says NaN."""
    asked = []
    for target in panel.get("targets", []):
        query = fill_in(target["expr"], variables)
        what = f"{where}, panel {panel['title']!r}, query {query}"
        if panel["type"] == "timeseries":
            data = ask(options.prometheus, "query_range", what, query=query, **window)
        else:
            data = ask(options.prometheus, "query", what, query=query, time=window["end"])
        rows = data["result"] if data["resultType"] != "scalar" else [{"metric": {}, "value": data["result"]}]
        asked.append((query, [(legend(target, row["metric"], query),
                               [(at, float(value) if math.isfinite(float(value)) else None)
                                for at, value in row.get("values") or [row["value"]]]) for row in rows]))
    return asked


# Values, by Grafana's names of units: (size, suffix), the largest first.

def scale(base, names):
    return [(base**power, name) for power, name in reversed(list(enumerate(names)))]


TIME = [(86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")]
UNITS = {"none": [(1, "")], "short": scale(1000.0, ["", " K", " M", " G", " T"]), "s": TIME, "percent": [(1, "%")],
         "percentunit": [(0.01, "%")], "bytes": scale(1024.0, [" B", " KiB", " MiB", " GiB", " TiB"]),
         "Bps": scale(1000.0, [" B/s", " kB/s", " MB/s", " GB/s"]), "reqps": [(1, " req/s")], "cps": [(1, " c/s")]}


def said(value, unit, axis=None):
    """With the three digits that count; on an axis (its step, its end) exactly, all in one unit in which that is short."""
    if value is None:
        return "no value"
    step, end = axis or (0, abs(value) or 1)
    steps = UNITS.get(unit, [(1, " " + unit)])
    size, suffix = next((one for one in steps if end >= one[0] * 0.9995 and len(f"{step / one[0]:g}") <= 4), steps[-1])
    value /= size
    return f"{value if axis or not value else round(value, 2 - math.floor(math.log10(abs(value)))):g}{suffix}"


# A chart: a stretched SVG, with its axes in HTML, so that their text is as large on a phone as on a screen.

def ticks(low, high, unit):
    """Round numbers, four or so, from at most `low` to at least `high`."""
    part = (high - low or abs(high) or 4) / 4
    if unit == "bytes":
        step = 2.0 ** math.ceil(math.log2(part))
    else:
        size = next((size for size, _ in TIME[:3] if part * 2 >= size), 1) if unit == "s" else 1
        power = size * 10.0 ** math.floor(math.log10(part / size))
        step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= part * 0.9999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def runs(line, step):
    """The parts of a line of (time, top, bottom) that have no gap."""
    run = []
    for point in line:
        if run and (point[1] is None or point[0] - run[-1][0] > 1.5 * step):
            yield run
            run = []
        if point[1] is not None:
            run.append(point)
    if run:
        yield run


def colours_of(panel, series):
    """Of each line: what the board says for its name, or one after another of the style's."""
    fixed = {override["matcher"].get("options"): one["value"].get("fixedColor")
             for override in panel.get("fieldConfig", {}).get("overrides", []) if override["matcher"]["id"] == "byName"
             for one in override["properties"] if one["id"] == "color"}
    return [escape(fixed.get(name) or f"var(--c{number % COLOURS})") for number, (name, _) in enumerate(series)]


def chart(panel, series, window):
    look = panel.get("fieldConfig", {}).get("defaults", {})
    custom, unit = look.get("custom", {}), look.get("unit", "short")
    begin, end, lines, height = window["start"], window["end"], [], {}
    for _, points in series:
        stacked = custom.get("stacking", {}).get("mode") == "normal"
        lines.append([(at, None if value is None else value + height.get(at, 0), height.get(at, 0)) for at, value in points])
        height.update((at, height.get(at, 0) + (value or 0)) for at, value in points if stacked)
    tops = [top for line in lines for _, top, _ in line if top is not None]
    low = min(tops) if look.get("min") is None else look["min"]
    marks = ticks(low, max([*tops, low if look.get("max") is None else look["max"]]), unit)
    axis = marks[1] - marks[0], marks[-1]

    def place(at, value):
        return f"{(at - begin) / (end - begin) * 1000:.1f} {(marks[-1] - value) / (marks[-1] - marks[0]) * 100:.2f}"

    drawn, texts = "".join(f'<path class="rule" d="M{place(begin, mark)}H1000"/>' for mark in marks), ""
    colours, opacity = colours_of(panel, series), custom.get("fillOpacity", 0) / 100
    for colour, line in reversed(list(zip(colours, lines))):
        for run in runs(line, window["step"]):
            over = "M" + "L".join(place(at, top) for at, top, _ in run) + ("h0" if len(run) == 1 else "")
            under = "L".join(place(at, max(bottom, marks[0])) for at, _, bottom in reversed(run))
            drawn += (f'<path fill="{colour}" fill-opacity="{opacity}" d="{over}L{under}Z"/>'
                      f'<path class="line" stroke="{colour}" d="{over}"/>')
    rounds = (60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
    every = next((size for size in rounds if (end - begin) / size <= 6), 86400 * math.ceil((end - begin) / 86400 / 6))
    form = "%H:%M" if every < 86400 else "%-d %b"
    midnight = time.mktime(time.localtime(begin)[:3] + (0, 0, 0, 0, 0, -1))
    numbers = range(math.ceil((begin - midnight) / every), math.floor((end - midnight) / every) + 1)
    for mark in marks:
        texts += f'<i class="y" style="top:{place(end, mark).split()[1]}%">{said(mark, unit, axis)}</i>'
    for at in (midnight + number * every for number in numbers):
        texts += f'<i class="x" style="left:{(at - begin) / (end - begin):.2%}">{time.strftime(form, time.localtime(at))}</i>'
    return ('<div class="plot"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" aria-hidden="true">'
            f"{drawn}</svg>{texts}</div>")


# The page.

def stat(panel, series):
    """(its text, its colour)"""
    look, options = panel.get("fieldConfig", {}).get("defaults", {}), panel.get("options", {})
    texts = {float(value): told["text"] for mapping in look.get("mappings", []) if mapping["type"] == "value"
             for value, told in mapping["options"].items()}
    values = [points[-1][1] for _, points in series]
    shown = [name if options.get("textMode") == "name" else texts.get(value) or said(value, look.get("unit", "short"))
             for (name, _), value in zip(series, values)]
    steps = look.get("thresholds", {}).get("steps", []) if options.get("colorMode") == "background" else []
    reached = [step["color"] for step in steps if step["value"] is None or values[-1] >= step["value"]]
    return f'<p class="value">{escape(", ".join(shown))}</p>', reached[-1] if reached else ""


def details(asked, unit):
    out = "<details><summary>query</summary>"
    for query, series in asked:
        out += f"<code>{escape(query)}</code>"
        out += "<table><tr><th><th>min<th>mean<th>max<th>last" if series else "<p>no data</p>"
        for name, points in series:
            known = [value for _, value in points if value is not None] or [None]
            mean = None if None in known else sum(known) / len(known)
            out += f"<tr><td>{escape(name)}" + "".join(
                f"<td>{said(value, unit)}" for value in (min(known), mean, max(known), points[-1][1]))
        out += "</table>" if series else ""
    return out + "</details>"


def panel_of(panel, asked, window, top):
    place, look = panel["gridPos"], panel.get("fieldConfig", {}).get("defaults", {})
    unit, colour, note = look.get("unit", "short"), "", panel.get("description")
    series = [one for _, found in asked for one in found if any(value is not None for _, value in one[1])]
    if not series:
        shown = (f'<p class="value">{escape(look["noValue"])}</p>' if "noValue" in look else "") + '<p class="none">no data</p>'
    elif panel["type"] == "timeseries":
        newest = window["end"] - window["step"]  # a line that ends before that has no value now
        shown = chart(panel, series, window) + '<ul class="keys">' + "".join(
            f'<li><b style="background:{of_line}"></b>{escape(name)} <em>{said(value, unit) if at > newest else "not now"}</em>'
            for of_line, (name, [*_, (at, value)]) in zip(colours_of(panel, series), series)) + "</ul>"
    elif panel["type"] == "stat":
        shown, colour = stat(panel, series)
    else:
        shown = "<table>" + "".join(f"<tr><td>{escape(name)}<td>{said(points[-1][1], unit)}" for name, points in series) + "</table>"
    return (f'<section id="panel-{panel["id"]}" data-series="{len(series)}" class="panel {panel["type"]} {colour}" style="--x:'
            f'{place["x"] + 1};--y:{place["y"] - top + 1};--w:{place["w"]};--h:{place["h"]}"><h3>{escape(panel["title"])}</h3>'
            + (f'<p class="note">{escape(note)}</p>' if note else "") + shown + details(asked, unit) + "</section>")


def page(board, boards, options, where):
    end, scrape = math.floor(time.time()), options.scrape_interval
    span = seconds(re.sub("^(now)?-", "", options.since or board.get("time", {}).get("from", "1h")))
    window = {"start": end - span, "end": end, "step": math.ceil(span / POINTS / scrape) * scrape}
    filled, told = variables_of(board, options, window, where)
    filled["__rate_interval"] = f"{max(window['step'] + scrape, 4 * scrape)}s"
    told["step"], told["rates over"] = f"{window['step']} s", filled["__rate_interval"]
    groups = [("", [])]  # the panels below each row, which may be folded away in Grafana
    for panel in sorted(board["panels"], key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"])):
        if panel["type"] == "row":
            groups.append((panel["title"], list(panel.get("panels", []))))
        else:
            groups[-1][1].append(panel)
    body = ""
    for title, panels in groups:
        top = min((panel["gridPos"]["y"] for panel in panels), default=0)
        body += (f"<h2>{escape(title)}</h2>" if title else "") + '<div class="grid">' + "".join(
            panel_of(panel, answers(panel, filled, options, window, where), window, top) for panel in panels) + "</div>"
    when = [time.strftime(form, time.localtime(at)) for form, at in (("%-d %B %Y, %H:%M", end - span), ("%H:%M %Z", end))]
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>{escape(board['title'])}</title><style>{STYLE.read_text()}</style><header><h1>{escape(board['title'])}</h1>"
            f"<p>{escape(board.get('description', ''))}</p><nav>" + "".join(
                f'<a href="{other["uid"]}.html">{escape(other["title"])}</a>' for other in boards if other is not board)
            + f'</nav><ul class="facts"><li>{" – ".join(when)}' + "".join(
                f"<li>{name}: {escape(text)}" for name, text in told.items()) + f"</ul></header>{body}</html>\n")


def need(thing, what, *keys):
    for key in keys:
        if not isinstance(thing, dict) or key not in thing:
            raise Failure(f"{what}: not as in a board for Prometheus: it has no {key!r}")


def board_in(file):
    try:
        board = json.loads(pathlib.Path(file).read_text())
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read as a board: {error}") from None
    need(board, file, "uid", "title", "panels")
    for panel in board["panels"]:
        need(panel, f"{file}, a panel", "id", "type", "title", "gridPos")
        for target in panel.get("targets", []):
            need(target, f"{file}, panel {panel['title']!r}, a query", "expr")
    return board


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="+", metavar="BOARD.json")
    parser.add_argument("--prometheus", required=True, metavar="URL", type=lambda url: url.rstrip("/"))
    parser.add_argument("--from", dest="since", metavar="-15m", help="the board's own time, if not given")
    parser.add_argument("--variable", action="append", default=[], metavar="NAME=VALUE", help="again for each further value")
    parser.add_argument("--scrape-interval", default="15s", help="as the data source has it in Grafana (15s)")
    parser.add_argument("--out", required=True, metavar="DIR", type=pathlib.Path)
    # argparse would take "-15m" for an option.
    options = parser.parse_args([re.sub(r"^-(?=\d)", "now-", argument) for argument in sys.argv[1:]])
    try:
        options.scrape_interval, options.variables = seconds(options.scrape_interval), {}
        boards = [board_in(file) for file in options.boards]
        known = {variable["name"] for board in boards for variable in board.get("templating", {}).get("list", [])}
        for name, _, value in (text.partition("=") for text in options.variable):
            if name not in known:
                raise Failure(f"--variable {name}: no board has it, they have {', '.join(sorted(known))}")
            options.variables.setdefault(name, []).append(value)
        options.out.mkdir(parents=True, exist_ok=True)
        for board, file in zip(boards, options.boards):
            (options.out / f"{board['uid']}.html").write_text(page(board, boards, options, file))
    except (Failure, OSError) as error:
        sys.exit(f"render.py: {error}")


if __name__ == "__main__":
    main()
