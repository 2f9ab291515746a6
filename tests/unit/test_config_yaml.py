"""Scalars of YAML 1.2 core, positions, and what is not part of our YAML."""

from __future__ import annotations

import math

import pytest

from timesync.config.tree import Mapping, Scalar, find, key_mark, mark_of, merge, plain
from timesync.config.write import write
from timesync.config.yaml import compose, decode, resolve


def tree(text: str) -> Mapping:
    return compose(decode(text.encode(), "t.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2.2, 10.3.2
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("0", 0),
        ("-19", -19),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x3A", 58),
        ("1e-6", 1e-6),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.0", -0.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        # numbers, booleans or dates in YAML 1.1, text here
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("2001-12-14", "2001-12-14"),
        ("1_000", "1_000"),
        ("0b1010", "0b1010"),
        ("nULL", "nULL"),
        ("1e", "1e"),
        ("-0x1", "-0x1"),
        ("٣", "٣"),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert (type(value), value) == (type(resolve(text)), resolve(text))
    node = find(tree(f"a: {text}"), ("a",))
    assert isinstance(node, Scalar)
    assert value == node.value


def test_not_a_number() -> None:
    value = resolve(".nan")

    assert isinstance(value, float)
    assert math.isnan(value)


def test_quoted_scalars_are_text() -> None:
    assert {"a": "1", "b": "true", "c": "", "d": "x\n"} == plain(tree("a: '1'\nb: \"true\"\nc: ''\nd: |\n  x\n"))


def test_keys_are_text_as_written() -> None:
    assert {"3": 1, "true": 2, "~": 3} == plain(tree("3: 1\ntrue: 2\n~: 3\n"))


def test_every_key_and_value_has_its_place() -> None:
    root = tree("# x\nsources:\n  - ntp: a.example\n    poll: [16s,\n      1024s]\nserve:\n  ntp: {}\n")

    assert (2, 1) == place(key_mark(root, ("sources",)))
    assert (3, 5) == place(key_mark(root, ("sources", 0, "ntp")))
    assert (3, 10) == place(mark_of(root, ("sources", 0, "ntp")))
    assert (4, 12) == place(mark_of(root, ("sources", 0, "poll", 0)))
    assert (5, 7) == place(mark_of(root, ("sources", 0, "poll", 1)))
    assert (7, 3) == place(mark_of(root, ("serve", "ntp", "listen", 4)))


def place(mark: object) -> tuple[int, int]:
    return mark.line, mark.column  # type: ignore[attr-defined]  # a Mark; spelt out it would say nothing


def test_merging_lets_the_own_keys_win_replaces_lists_and_joins_mappings() -> None:
    base = tree("a: {x: 1, y: {p: 1}}\nl: [1, 2]\nm: {k: 1}\nn: 1\n")
    own = tree("a: {y: {q: 2}, x: 3}\nl: [9]\nm: ~\n")

    assert {"a": {"x": 3, "y": {"p": 1, "q": 2}}, "l": (9,), "m": None, "n": 1} == plain(merge(base, own))


@pytest.mark.parametrize(
    "text",
    [
        "a: {b: [1, 2s, '3'], c: {}, d: []}\n",
        "a:\n  - b: 1\n    c: [x]\n  - [1, {d: 'on'}]\n  - {}\n",
        "a: ['::1/128', '[::]:123', 0.0.0.0/0, ' x', '# y', 'k: v', '-', '']\n",
        "'a b': ~\n'': true\n'1': \"\\u2028\\n\"\n",
        "a:\n  - 1\n  - 2\n",
    ],
)
def test_a_written_tree_reads_as_the_same(text: str) -> None:
    root = tree(text)
    written = "\n".join(write(root, str)) + "\n"

    assert plain(root) == plain(tree(written))
    assert "# t.yaml:" in written
