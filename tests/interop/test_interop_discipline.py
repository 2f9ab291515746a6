"""Our daemon follows Debian's chronyd over a veth pair, judged by an independent client of what it serves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
from interop_sntp import Answer, SntpClient
from interop_support import Timesync, appliance, chronyd, lan, timesync

pytestmark = pytest.mark.interop

LIMIT_NS = 20_000
SETTLE_S = 60
WATCH_S = 180
CLAIM_EVERY = 10


@dataclass(frozen=True)
class Look:
    """What was seen in one second.

    Attributes:
        at_s: Since the start.
        plain: As any client sees it: the best of a few exchanges.
        exact: The same in interleaved mode, where the server's own haste costs nothing.
        claim_ns: The error bound that the daemon claimed shortly before; None when it was not asked now.
    """

    at_s: float
    plain: Answer
    exact: Answer
    claim_ns: float | None


def watch(judge: SntpClient, daemon: Timesync) -> list[Look]:
    """Look once a second; the answers of a server that says that it is not synchronized are left out."""
    looks: list[Look] = []
    started = time.monotonic()
    while (at := time.monotonic() - started) < SETTLE_S + WATCH_S:
        claim_s = daemon.status()["error_bound_s"] if at >= SETTLE_S and len(looks) % CLAIM_EVERY == 0 else None
        plain, exact = judge.best(6), judge.best_interleaved(6)
        assert plain is not None, daemon.log()
        assert exact is not None, daemon.log()
        if plain.stratum < 16 and plain.leap != 3:
            looks.append(Look(at, plain, exact, None if claim_s is None else claim_s * 1e9))
        # The pace of the judge, not a wait for something to happen.
        time.sleep(max(0.0, started + at + 1 - time.monotonic()))
    return looks


def test_within_20_us_after_a_minute_and_for_three_more(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        lan(2) as (there, here),
        chronyd(there, tmp_path / "chrony", "allow all", "local stratum 1"),
        timesync(here, tmp_path / "ours", appliance(there)) as daemon,
    ):
        with there.entered():
            judge = SntpClient(here.address)
        looks = watch(judge, daemon)
        judge.close()
        status, source = daemon.status(), daemon.source()

    settled = [look for look in looks if look.at_s >= SETTLE_S]
    within = next((look.at_s for look in looks if abs(look.plain.offset_ns) < LIMIT_NS), float("nan"))
    record_property("first answer as synchronized after", f"{looks[0].at_s:.0f} s")
    record_property("first within 20 us after", f"{within:.0f} s")
    record_property("true offset from 60 s to 240 s, as a plain client sees it", _spread([s.plain for s in settled]))
    record_property("the same in interleaved mode", _spread([s.exact for s in settled]))
    record_property("claimed error bound at the end", f"{status['error_bound_s'] * 1e6:.1f} us")
    record_property("frequency found", f"{status['clocks'][-1]['frequency_ppm']:+.4f} ppm")
    record_property("requests to chronyd in 240 s", source["sent"])

    assert len(settled) > 0.9 * WATCH_S
    assert status["state"] == "locked"
    assert status["clocks"][-1]["steps"] == 0
    assert [_words(look.at_s, look.plain) for look in settled if abs(look.plain.offset_ns) >= LIMIT_NS] == []
    # What the daemon claims of its clock covers what is true; the judge may be wrong by half of its delay.
    claimed = [look for look in settled if look.claim_ns is not None]
    assert len(claimed) > 0.8 * WATCH_S / CLAIM_EVERY
    outside = [look for look in claimed if abs(look.exact.offset_ns) - look.exact.delay_ns / 2 > (look.claim_ns or 0)]
    assert [f"{_words(look.at_s, look.exact)}, claimed {look.claim_ns} ns" for look in outside] == []


def _words(at_s: float, answer: Answer) -> str:
    return f"{at_s:.0f} s: {answer.offset_ns / 1000:+.1f} us"


def _spread(answers: list[Answer]) -> str:
    offsets = [answer.offset_ns / 1000 for answer in answers]
    rms = fmean(offset * offset for offset in offsets) ** 0.5
    worst, delay = max(offsets, key=abs), fmean(answer.delay_ns / 1000 for answer in answers)
    return f"mean {fmean(offsets):+.2f} us, rms {rms:.2f} us, worst {worst:+.2f} us; mean round trip {delay:.1f} us"
