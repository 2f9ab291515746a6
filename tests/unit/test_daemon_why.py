"""``timesync why`` about one source, from a made-up snapshot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Instant
from timesync.daemon.why import why
from timesync.observe.control import ControlError
from timesync.observe.snapshot import Snapshot, SourceFacts
from timesync.servo.view import ClockView, CoreView, ServoState, SourceState, SourceView

SYSTEM = ClockId("system")
NAME = SourceId("ntp.example")
STATUS = SourceStatus(
    source=NAME,
    reach=0,
    poll_s=64.0,
    sent=8,
    received=0,
    dropped=0,
    stratum=16,
    leap=Leap.UNKNOWN,
    reference_id=bytes(4),
    authenticated=False,
    interleaved=False,
    timestamping=None,
    excluded=None,
    stepped_back=False,
)
SOURCE = SourceView(
    source=NAME,
    clock=SYSTEM,
    state=SourceState.UNREACHABLE,
    reason="no answer to the last eight requests",
    offset_s=None,
    uncertainty_s=None,
    error_bound_s=None,
    delay_s=None,
    jitter_s=None,
    last_sample_at=None,
    samples=0,
    outliers=0,
)
CLOCK = ClockView(
    clock=SYSTEM,
    disciplined=True,
    state=ServoState.ACQUIRING,
    offset_s=None,
    offset_uncertainty_s=None,
    error_bound_s=None,
    frequency=Rate(0.0),
    frequency_uncertainty=Rate(0.0),
    steering=Rate(0.0),
    wander=1e-9,
    steps=0,
    fed_by=(),
)


def _said(
    status: SourceStatus | None, drops: Mapping[str, int], details: Mapping[str, object] = MappingProxyType({})
) -> str:
    """What is said of the source."""
    core = CoreView(
        at=Instant(0),
        served=SYSTEM,
        state=ServoState.ACQUIRING,
        reason="no measurement yet",
        stratum=16,
        reference_id=b"INIT",
        leap=Leap.UNKNOWN,
        root_delay=ZERO,
        root_dispersion=ZERO,
        dispersion_rate=0.0,
        reference_time=None,
        sources=(SOURCE,),
        links=(),
        clocks=(CLOCK,),
    )
    snapshot = Snapshot(
        core=core,
        kinds={SYSTEM: "system"},
        facts={NAME: SourceFacts(kind="ntp", address="192.0.2.7:123", status=status, drops=drops, details=details)},
        unresolved={},
        started=Instant(0),
        tai_utc=37,
        served=(),
        counters=None,
    )
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
