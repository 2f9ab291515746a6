"""The shipped dashboard and alert rules ask only for what an appliance with everything tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from metrics_support import scene
from snapshot_support import holding, snapshot

from timesync.observe.metrics.table import families
from timesync.observe.metrics.tables import OWN

GRAFANA = Path(__file__).parents[2] / "config" / "grafana"
BOARD: dict[str, Any] = json.loads((GRAFANA / "timesync.json").read_text("utf-8"))
RULES: dict[str, Any] = yaml.safe_load((GRAFANA / "alerts.yaml").read_text("utf-8"))

# What Prometheus itself adds to every target: https://prometheus.io/docs/concepts/jobs_instances/.
SYNTHETIC = {"up"}
TARGET = {"instance", "job"}

# PromQL as far as it is used here; anything else is an error.
TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*")
  | (?P<range>\[[^\]]*\])
  | (?P<duration>[0-9]+(?:ms|[smhdwy])\b)
  | (?P<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)
  | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},=<>])
    )""",
    re.VERBOSE,
)
FUNCTIONS = {"rate", "increase", "sum", "max", "min", "avg", "count"}
MODIFIERS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "bool", "offset"}


@dataclass(frozen=True)
class Selector:
    """A metric that an expression asks for, and what its labels must be."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    ranged: bool
    function: str | None


@dataclass(frozen=True)
class Parsed:
    """What an expression asks for."""

    selectors: tuple[Selector, ...]
    labels: tuple[str, ...]


def tokens(text: str) -> list[tuple[str, str]]:
    """Kind and text of each."""
    found, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        assert match is not None, f"no PromQL at {text[at:]!r}"
        kind = match.lastgroup
        assert kind is not None
        found.append((kind, match[kind]))
        at = match.end()
    return found


def parse(text: str) -> Parsed:
    """Its selectors, and the labels that it groups by or joins on."""
    rest = [*tokens(text), ("end", "")]
    selectors, labels, depth, at = [], [], 0, 0
    while rest[at][0] != "end":
        kind, word = rest[at]
        depth += (word == "(") - (word == ")")
        assert depth >= 0
        if kind != "word" or word in OPERATORS:
            at += 1
        elif word in MODIFIERS:
            assert rest[at + 1][1] == "("
            end = rest.index(("sign", ")"), at)
            labels += [text for kind, text in rest[at + 2 : end] if kind == "word"]
            at = end + 1
        elif word in FUNCTIONS:
            assert rest[at + 1][1] == "(" or rest[at + 1][1] in MODIFIERS
            at += 1
        else:
            function = rest[at - 2][1] if at >= 2 and rest[at - 1][1] == "(" else None
            matchers, at = _matchers(rest, at + 1)
            ranged = rest[at][0] == "range"
            selectors.append(Selector(word, matchers, ranged, function))
            at += ranged
    assert depth == 0
    return Parsed(tuple(selectors), tuple(labels))


def _matchers(rest: list[tuple[str, str]], at: int) -> tuple[tuple[tuple[str, str, str], ...], int]:
    if rest[at][1] != "{":
        return (), at
    found = []
    at += 1
    while rest[at][1] != "}":
        (_, label), (_, sign), (kind, value) = rest[at : at + 3]
        assert kind == "string"
        assert sign in {"=", "!=", "=~", "!~"}
        found.append((label, sign, value[1:-1]))
        at += 3 + (rest[at + 3][1] == ",")
    return tuple(found), at + 1


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def samples() -> dict[str, list[dict[str, str]]]:
    """Labels by name of what an appliance with everything tells, in holdover and without."""
    found: dict[str, list[dict[str, str]]] = {}
    for now in (scene(), scene(holding(snapshot()))):
        for table in OWN.values():
            for family in families(table, now):
                for sample in family.samples:
                    found.setdefault(sample.name, []).append(sample.labels)
    return found


ALL = dict(expressions())
TOLD = samples()
COUNTERS = {one.name for table in OWN.values() for one in table if one.kind == "counter"}


@pytest.mark.parametrize("where", ALL)
def test_an_expression_asks_only_for_what_there_is(where: str) -> None:
    parsed = parse(ALL[where])
    assert parsed.selectors
    known: set[str] = set(TARGET)
    for selector in parsed.selectors:
        if selector.name in SYNTHETIC:
            continue
        assert selector.name in TOLD
        series = TOLD[selector.name]
        known |= {label for labels in series for label in labels}
        for label, sign, value in selector.matchers:
            if label not in TARGET:
                assert all(label in labels for labels in series)
                if sign == "=":
                    assert any(labels[label] == value for labels in series), f"never {label}={value}"
                else:
                    re.compile(value)
    assert set(parsed.labels) <= known


@pytest.mark.parametrize("where", ALL)
def test_counters_and_only_they_are_looked_at_by_their_rate(where: str) -> None:
    for selector in parse(ALL[where]).selectors:
        rated = selector.function in ("rate", "increase")
        assert rated == selector.ranged == (selector.name in COUNTERS)


@pytest.mark.parametrize("state", ["acquiring", "freerun", "fault"])
def test_every_state_that_is_not_good_is_alerted(state: str) -> None:
    (selector,) = parse(ALL["TimesyncNotLocked"]).selectors
    ((_, sign, value),) = selector.matchers
    assert sign == "=~"
    assert re.fullmatch(value, state)
    assert not re.fullmatch(value, "locked")


@pytest.mark.parametrize("text", ["rate(a[5m]", "a{b=c}", "a{b=~c}", "sum(a))", "a$", "a{b=", 'a{b="c"', "sum a"])
def test_what_is_no_promql_is_noticed(text: str) -> None:
    with pytest.raises((AssertionError, ValueError, IndexError)):
        parse(text)


def test_labels_in_legends_and_texts_exist() -> None:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            _told(target["expr"], re.findall(r"\{\{ *(\w+) *\}\}", target["legendFormat"]))
    for group in RULES["groups"]:
        for rule in group["rules"]:
            texts = " ".join(rule["annotations"].values())
            _told(rule["expr"], re.findall(r"\$labels\.(\w+)", texts))


def _told(expression: str, labels: list[str]) -> None:
    known = {label for one in parse(expression).selectors for series in TOLD.get(one.name, []) for label in series}
    assert set(labels) <= known | TARGET


def test_the_board_is_for_any_source_of_data_and_any_instance() -> None:
    assert ["datasource", "instance"] == [one["name"] for one in BOARD["templating"]["list"]]
    assert '"uid": "${datasource}"' in json.dumps(BOARD)
    identities = [panel["id"] for panel in BOARD["panels"]]
    assert len(identities) == len(set(identities))
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            assert {"type": "prometheus", "uid": "${datasource}"} == target["datasource"] == panel["datasource"]
            own = [one for one in parse(target["expr"]).selectors if one.name not in SYNTHETIC]
            assert all(("instance", "=~", "$instance") in one.matchers for one in own)


def test_every_chapter_of_metrics_is_on_the_board() -> None:
    shown = {one.name for panel in BOARD["panels"] for target in panel.get("targets", ())
             for one in parse(target["expr"]).selectors}  # fmt: skip
    for chapter, table in OWN.items():
        assert shown & {one.name for one in table}, chapter


def test_panels_do_not_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not taken & cells
        taken |= cells


def test_rules_have_names_of_their_own_severities_and_words() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert len(rules) == len({rule["alert"] for rule in rules})
    for rule in rules:
        assert re.fullmatch(r"Timesync[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]
