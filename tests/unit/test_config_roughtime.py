"""Roughtime in a configuration: what is read, what is refused and why, and what is probably not meant."""

from __future__ import annotations

import base64

import pytest
from config_support import Case, assert_mistake

from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.config.roughtime import version_numbers
from timesync.config.sources import RoughtimeSource
from timesync.wire.roughtime import VERSION_1, VERSION_DRAFT, VERSIONS

KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(4)]
SPECIAL = "+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/+/8="
ENTRIES = [f"{{roughtime: r{place}.org, public_key: {key}}}" for place, key in enumerate(KEYS[:3])]
THREE = ", ".join(ENTRIES)


def test_servers_are_read() -> None:
    config = loads(
        f"""
sources:
  - roughtime: Time1.example.org
    public_key: {KEYS[1]}
  - roughtime: "[2001:db8::1]:2003"
    public_key: {KEYS[2]}
    interval: 6h
    versions: [draft]
    name: second
    noselect: true
""",
        "t.yaml",
    ).config
    first, second = config.sources
    assert isinstance(first, RoughtimeSource)
    assert isinstance(second, RoughtimeSource)
    assert ("time1.example.org:5319", bytes([1]) * 32, Duration.from_s(3600)) == (
        str(first.roughtime), first.public_key, first.interval,
    )  # fmt: skip
    assert ("[2001:db8::1]:2003", Duration.from_s(21_600), True) == (
        str(second.roughtime), second.interval, second.noselect,
    )  # fmt: skip
    assert ["time1.example.org:5319", "second"] == [source.title for source in config.sources]
    assert ["roughtime"] * 2 == [source.kind for source in config.sources]
    assert VERSIONS == version_numbers(first.versions)
    assert (VERSION_DRAFT,) == version_numbers(second.versions)
    assert (VERSION_1, VERSION_DRAFT) == version_numbers(("draft", "rfc"))


SOURCE = "sources: [{roughtime: a, public_key: %s}]\n"
KEY_AT = "1:38"
CASES: list[Case] = [
    ("no key", "sources: [{roughtime: a}]\n", "1:11", "sources[0].public_key", "is missing", None),
    ("too short", SOURCE % "AAAA", KEY_AT, "sources[0].public_key", "has 3 octets; an Ed25519 key has 32", None),
    ("a number", SOURCE % "7", KEY_AT, "sources[0].public_key", "expected the server's public key in base64", None),
    ("no base64", SOURCE % "'?'", KEY_AT, "sources[0].public_key", "this is not base64", None),
    ("hexadecimal", SOURCE % f"'{'01' * 32}'", KEY_AT, "sources[0].public_key", "in hexadecimal", KEYS[1]),
    ("no padding", SOURCE % KEYS[1][:-1], KEY_AT, "sources[0].public_key", "not in plain base64", KEYS[1]),
    (
        "the alphabet of addresses",
        SOURCE % SPECIAL.replace("+", "-").replace("/", "_"),
        KEY_AT,
        "sources[0].public_key",
        "not in plain base64",
        SPECIAL,
    ),
    (
        "one key for two",
        f"sources: [{{roughtime: a, public_key: {KEYS[1]}}}, {{roughtime: b, public_key: {KEYS[1]}}}]\n",
        "1:112",
        "sources[1].public_key",
        "the key of sources[0]: one server has one vote",
        None,
    ),
    (
        "too often",
        SOURCE % f"{KEYS[1]}, interval: 16s",
        "1:94",
        "sources[0].interval",
        "16s is not in 64s to 7d",
        None,
    ),
    (
        "an old version",
        SOURCE % f"{KEYS[1]}, versions: [draft-7]",
        "1:95",
        "sources[0].versions[0]",
        '"draft-7" is none of rfc, draft',
        "draft",
    ),
    (
        "trust",
        SOURCE % f"{KEYS[1]}, trust: true",
        "1:91",
        "sources[0].trust",
        "has no vote that could be outvoted",
        None,
    ),
    ("clock", SOURCE % f"{KEYS[1]}, clock: system", "1:91", "sources[0].clock", "measures no clock", None),
    ("offset", SOURCE % f"{KEYS[1]}, offset: 1s", "1:92", "sources[0].offset", "steers no clock", None),
    (
        "enough to agree",
        f"sources: [{{ntp: a}}, {THREE}]\nsteering: {{minimum_sources: 2}}\n",
        "2:29",
        "steering.minimum_sources",
        "2 must agree, but there are only 1",
        None,
    ),
    (
        "numbering pulses",
        f"sources: [{{ntp: a}}, {{pps: /dev/pps0, pairs_with: roughtime}}, {THREE}]\n",
        "1:50",
        "sources[1].pairs_with",
        "a Roughtime server does not say which second it is; name a source that does",
        None,
    ),
]


@pytest.mark.parametrize(
    ("text", "place", "path", "words", "suggestion"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_mistake_is_named(text: str, place: str, path: str, words: str, suggestion: str | None) -> None:
    assert_mistake(text, place, path, words, suggestion)


def doubts(text: str) -> list[str]:
    return [doubt.headline() for doubt in loads(text, "t.yaml").warnings]


def test_too_few_servers_are_a_doubt() -> None:
    one, two, three = (", ".join(ENTRIES[:count]) for count in (1, 2, 3))
    (alone,) = doubts(f"sources: [{{ntp: a}}, {one}]\n")
    assert "a single Roughtime server is believed alone, and nothing shows when it lies" in alone
    (both,) = doubts(f"sources: [{{ntp: a}}, {two}]\n")
    assert "two Roughtime servers must both answer and agree, or nothing is checked" in both
    assert [] == doubts(f"sources: [{{ntp: a}}, {three}]\n")


def test_a_check_without_anything_to_check_is_a_doubt() -> None:
    (none,) = doubts(f"sources: [{THREE}]\n")
    assert "there are none but Roughtime, which steers nothing: no clock will be corrected" in none
