"""``timesync why`` about one source, from a made-up snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from silent_support import ADDRESS, silent_snapshot, silent_status

from timesync.base.ids import SourceId
from timesync.base.measure import SourceStatus
from timesync.daemon.why import why
from timesync.observe.control import ControlError
from timesync.observe.snapshot import SourceFacts

NAME = SourceId("ntp.example")
STATUS = silent_status(NAME)


def _said(
    status: SourceStatus | None, drops: Mapping[str, int], details: Mapping[str, object] = MappingProxyType({})
) -> str:
    """What is said of the source."""
    facts = SourceFacts(kind="ntp", address=ADDRESS, status=status, drops=drops, details=details)
    snapshot = silent_snapshot({NAME: facts})
    with pytest.raises(ControlError, match=r'did you mean "ntp\.example"'):
        why(snapshot, "ntp.exampel")
    return "\n".join(why(snapshot, NAME)["lines"])


@pytest.mark.parametrize(
    ("changes", "details", "hinted"),
    [
        ({}, {"over_ptp": None}, True),
        ({"sent": 3}, {"over_ptp": None}, False),
        ({"received": 1}, {"over_ptp": "experimental"}, False),
        ({}, {}, False),
    ],
)
def test_a_source_over_ptp_that_stays_silent_may_ask_one_that_does_not_speak_it(
    changes: dict[str, Any], details: dict[str, object], hinted: bool
) -> None:
    said = _said(replace(STATUS, **changes), {"ntp-over-ptp": 2}, details)
    assert ("chronyd needs ptpport" in said) == hinted
    assert "2 answers were refused (ntp-over-ptp): they were no NTP over PTP, or of another domain" in said


@pytest.mark.parametrize(
    ("changes", "hinted"),
    [
        ({"keyed": True}, True),
        ({"keyed": True, "sent": 3}, False),
        ({"keyed": True, "received": 1, "authenticated": True}, False),
        ({}, False),
    ],
)
def test_a_keyed_source_that_stays_silent_may_lack_the_key(changes: dict[str, Any], hinted: bool) -> None:
    assert hinted == ("a server that has not this key is silent" in _said(replace(STATUS, **changes), {}))


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        ("Connection refused", "no program listens on the port"),
        ("No route to host", "is the host on"),
        ("Network is unreachable", "no route there"),
        ("Message too long", ""),
    ],
)
def test_what_the_network_says_is_told_with_what_it_means(trouble: str, advice: str) -> None:
    said = _said(replace(STATUS, trouble=trouble), {})
    assert f"The network says of them: {trouble}{' (' if advice else '.'}" in said
    assert advice in said
    assert "The network says" not in _said(STATUS, {})


def test_a_source_that_was_never_asked() -> None:
    assert "ntp.example is unreachable: no answer to the last eight requests." == _said(None, {})


def test_the_advice_on_delay_covers_both_ends() -> None:
    said = _said(STATUS, {"delay": 3, "format": 1})

    assert "3 answers were refused (delay): the round trip was too long" in said
    assert "so far below zero that a timestamp must be wrong." in said
    assert "1 answer was refused (format)." in said
