"""The page about metrics, the dashboard and the alert rules name what exists, and all of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fdss.config import ServerConfig
from fdss.metrics.families import Family, Kind
from fdss.metrics.server import FAMILIES
from fdss.router.metrics import RouterMeter
from fdss.serving import Server

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "metrics.md").read_text("utf-8")
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "fdss.json").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((DOCS / "alerts.yml").read_text("utf-8"))
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

BY_NAME = {family.name: family for family in (*FAMILIES, *RouterMeter.of([]).board.families)}
#: What Prometheus itself adds to every number, and to every target.
TARGET_LABELS = {"job", "instance"}
OF_PROMETHEUS = {"up"}
FUNCTIONS = {
    *("sum", "min", "max", "rate", "increase", "histogram_quantile", "max_over_time", "time"),
    *("by", "and", "or", "unless"),
}
#: They make sense of numbers that only grow.
OF_COUNTERS = ("rate", "increase")

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*")')
_NAME = re.compile(r"\b[a-zA-Z_][a-zA-Z0-9_]*\b")
_SELECTOR = re.compile(r"\b(fdss_\w+|up)\b(\{[^{}]*\})?(\[[^\]]*\])?")


def _panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", ())


EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['id']} {panel['title']} {target['refId']}": target["expr"]
        for panel in _panels()
        for target in panel.get("targets", ())
    },
}
each_expression = pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)


def _family(series: str) -> tuple[Family, str]:
    """Return the metric of a series, and the end of its name that a histogram adds."""
    for end in ("", "_bucket", "_sum", "_count"):
        name = series.removesuffix(end) if end else series
        family = BY_NAME.get(name)
        if series.endswith(end) and family and bool(end) == (family.kind is Kind.HISTOGRAM):
            return family, end
    raise AssertionError(f"there is no metric {series}")


def _selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]], str, str]]:
    """Yield every series of an expression, its matchers, its range, and the word before it."""
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match[0])
        return f'"{len(hidden) - 1}"'

    bare = _STRING.sub(hide, expression)
    for found in _SELECTOR.finditer(bare):
        name, matchers, range_ = found[1], found[2] or "", found[3] or ""
        told = [
            (label, operator, json.loads(hidden[int(json.loads(value))]))
            for label, operator, value in _MATCHER.findall(matchers)
        ]
        assert len(told) == (matchers.count(",") + 1 if matchers else 0), matchers
        function = re.search(r"(\w+)\($", bare[: found.start()])
        yield name, told, range_, function[1] if function else ""


@each_expression
def test_expressions_are_whole(expression: str) -> None:
    """Brackets are closed in their order, and every word is a function, a metric or a label."""
    bare = _STRING.sub('""', expression)
    closing = {")": "(", "]": "[", "}": "{"}
    opened: list[str] = []
    for letter in bare:
        if letter in closing.values():
            opened.append(letter)
        elif letter in closing:
            assert opened and opened.pop() == closing[letter], expression
    assert not opened

    words = _NAME.findall(re.sub(r"\[[^\]]*\]|\{[^}]*\}|\bby \([^)]*\)", "", bare))
    assert {w for w in words if not w.startswith("fdss_")} <= {*FUNCTIONS, *OF_PROMETHEUS}
    assert all(range_ in ("[$__rate_interval]",) or re.fullmatch(r"\[\d+[mh]\]", range_)
               for _, _, range_, _ in _selectors(expression) if range_)  # fmt: skip


@each_expression
def test_expressions_name_metrics_and_labels_that_exist(expression: str) -> None:
    """Every series exists, with the labels and the values that are asked for."""
    found = list(_selectors(expression))
    labels = set(TARGET_LABELS)
    for name, matchers, _, _ in found:
        if name in OF_PROMETHEUS:
            continue
        family, end = _family(name)
        own = {**family.labels, **({"le": ()} if end == "_bucket" else {})}
        labels |= set(own)
        for label, operator, value in matchers:
            if label in TARGET_LABELS:
                continue
            assert label in own, f"{name} has no label {label}"
            values = own[label]
            pattern = value if "~" in operator else re.escape(value)
            for wanted in pattern.split("|"):
                assert any(re.fullmatch(wanted, known) for known in values), (name, label, wanted)
    assert found
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",")} <= labels


@each_expression
def test_rates_are_of_counters(expression: str) -> None:
    """What only grows stands in a rate, with a range, and a gauge never does."""
    for name, _, range_, function in _selectors(expression):
        if name in OF_PROMETHEUS:
            continue
        grows = _family(name)[0].kind in (Kind.COUNTER, Kind.HISTOGRAM)
        assert (function in OF_COUNTERS) == grows, (name, function)
        assert bool(range_) == (grows or function.endswith("_over_time"))


def _rows(header: str) -> list[list[str]]:
    lines = PAGE.partition(header)[2].partition("| metric |")[2].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize(
    ("header", "families"),
    [
        ("## What a server tells", FAMILIES),
        ("## What a router tells", RouterMeter.of([]).board.families),
    ],
)
def test_the_page_lists_every_metric(header: str, families: tuple[Family, ...]) -> None:
    """The table has each metric, its kind, its labels and its meaning, and nothing else."""
    expected = [
        [
            f"`{family.name}`",
            "gauge" if family.kind is Kind.LIVE else family.kind.value,
            ", ".join(f"`{label}`" for label in family.labels) or "–",
            family.help,
        ]
        for family in families
    ]

    assert _rows(header) == expected


def test_the_page_names_no_metric_that_is_not_there() -> None:
    """Names in the text are those of metrics."""
    for name in re.findall(r"\bfdss_[a-z_]+\b", PAGE):
        assert name in BY_NAME or _family(name)


def test_names_follow_the_conventions_of_prometheus() -> None:
    """Counters and they alone end with _total; a unit stands at the end, in its basic form."""
    for family in BY_NAME.values():
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", family.name)
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert not re.search(r"_(ms|us|millis|kib|mb|percent|minutes)\b", family.name)
        assert (family.kind is Kind.HISTOGRAM) == bool(family.buckets)
        assert list(family.buckets) == sorted(set(family.buckets))
        assert family.help.endswith(".")
        assert not {"le", "job", "instance"} & set(family.labels)


def test_series_are_few() -> None:
    """All but requests, of which few combinations ever happen, are below 500 in a server."""
    sizes = {
        family.name: len(family.series) * (len(family.buckets) + 3 if family.buckets else 1)
        for family in FAMILIES
    }
    del sizes["fdss_requests_total"]

    assert sum(sizes.values()) < 500


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Panels have ids and places of their own within 24 columns, and ask the chosen Prometheus."""
    panels = list(_panels())
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
        assert panel["title"]
        if panel["type"] not in ("row", "text"):
            assert panel["targets"]
            assert panel["datasource"]["uid"] == "${datasource}"
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)\}?", json.dumps(DASHBOARD["panels"])))
    assert used - variables == {"__rate_interval"}


def test_the_dashboard_shows_every_metric_but_a_few() -> None:
    """What is counted is seen."""
    shown = {_family(name)[0].name for text in EXPRESSIONS.values()
             for name, _, _, _ in _selectors(text) if name not in OF_PROMETHEUS}  # fmt: skip
    alike = {
        name
        for name in BY_NAME
        if re.search(r"_(build_info|start_timestamp_seconds)$", name)
        # Those of a router that matter for servers.
        or re.match(r"fdss_router_(answer|sent_bytes|failed|stalled|connections)", name)
    }

    assert set(BY_NAME) - shown - alike == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_what_helps(rule: dict[str, Any]) -> None:
    """A rule has a name of its own, a severity, one sentence of summary and what to do."""
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Fdss[A-Za-z]+", rule["alert"])
    assert [other["alert"] for other in RULES].count(rule["alert"]) == 1
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "5m"))
    assert set(rule["annotations"]) == {"summary", "description"}
    for text in rule["annotations"].values():
        assert text.endswith(".")
        templates = re.findall(r"\{\{(.*?)\}\}", text)
        assert text.count("{{") == text.count("}}") == len(templates)
        for template in templates:
            word = template.split("|")[0].strip()
            assert word == "$value" or word.removeprefix("$labels.") in _kept_labels(rule["expr"])


def test_alerts_of_certificates_come_before_the_end() -> None:
    """The name, the time that is left and the words say the same: it expires, and has not yet."""
    found = {rule["alert"]: rule for rule in RULES if "Certificate" in rule["alert"]}
    days = {
        name: int(re.search(r"< (\d+) \* 86400$", rule["expr"])[1])  # type: ignore[index]
        for name, rule in found.items()
    }

    assert days == {
        "FdssCertificateExpires": 14,
        "FdssCertificateExpiresWithinTwoDays": 2,
        "FdssRouterCertificateExpires": 14,
    }


def _kept_labels(expression: str) -> set[str]:
    """Return the labels that the result of an expression has."""
    grouped = re.search(r"\bby \(([^)]*)\)", expression)
    if grouped:
        return {label.strip() for label in grouped[1].split(",")} - {"le"}
    return TARGET_LABELS


def test_scrape_and_probe_are_sound() -> None:
    """The YAML of the page parses; its jobs are those of the alerts, its ports the defaults."""
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    scrapes = {job["job_name"]: job for job in blocks[0]["scrape_configs"]}
    named = {job for rule in RULES for job in re.findall(r'job="([^"]+)"', rule["expr"])}

    assert set(scrapes) == named
    assert all(job["authorization"]["credentials_file"] for job in scrapes.values())
    assert blocks[1]["livenessProbe"]["httpGet"]["path"] == "/v1/health"


def test_the_probe_of_the_page_tells_ready_from_not(
    config: ServerConfig,
    backend: Any,
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """The command ends well for a ready server, and with the reasons for one that is not."""
    block = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    command = block["readinessProbe"]["exec"]["command"]
    own = replace(config, port=0, auth_token=None)
    with Server(own, opener=lambda granted, arguments: backend) as server:
        program = command[2].replace("http://127.0.0.1:8766", server.url)
        assert run_python("-c", program, check=False).returncode == 0
        server.readiness.register("told", lambda: "it is early")
        failed = run_python("-c", program, check=False)

    assert failed.returncode != 0
    assert "Not ready: told: it is early." in failed.stderr.splitlines()[-1]


def test_checks_of_the_page_are_those_of_the_server(config: ServerConfig) -> None:
    """The table of checks names what a server and a router look at."""
    table = PAGE.partition("| check | of |")[2]
    listed = re.findall(r"^\| `([a-z_]+)` \| ([a-z]+)", table, re.MULTILINE)
    with Server(replace(config, port=0)) as server:
        own = set(server.readiness.look())

    assert own == {name for name, of in listed if of in ("server", "both")} - {"certificate"}
