"""linuxptp's ``phc2sys -a`` beside our daemon: it learns from our management which port follows and which gives.

Ours is a boundary clock on two cards and steers only the card whose port follows; the other card and the system clock
are left to phc2sys, as they are beside ptp4l. So the time goes from one ptp4l over our first card, by phc2sys to our
second one, and from that to another ptp4l.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hw_judge import NS_PER_S, after, figures, watch
from hw_lab import TAI_UTC, need_lab, nic
from hw_programs import phc2sys, timesync, wait_until
from hw_ptp import GIVES, JITTER_NS, TAKES, cold_start, links, ptp4l

STATED_S = 60
SETTLE_S = 60
WATCH_S = 300
GAP_S = 30
LIMIT_NS = 50
"""RMS of a clock behind phc2sys, which hears of our card's 10 to 15 ns once a second."""

Record = Callable[[str, object], None]

_STEERED = re.compile(r"phc2sys\[([\d.]+)\]: (\S+) (?:phc|sys) offset", re.MULTILINE)
_L2: dict[str, int | str] = {"network_transport": "L2"}


@pytest.fixture(autouse=True)
def _in_the_lab() -> None:
    need_lab()


def steered(log: Path) -> list[str]:
    """Which clocks phc2sys corrected, one after another."""
    return [clock for _, clock in _STEERED.findall(log.read_text(errors="replace"))]


def test_phc2sys_follows_our_ports(tmp_path: Path, record_property: Record) -> None:
    with links(2) as (up, down):
        near, behind = up.devices[up.near], down.devices[down.near]
        giver, end = up.devices[up.far], down.devices[down.far]
        cold_start([near, behind, end], [giver])
        nic("ppb", **{up.near: 8_000, down.near: -5_000, down.far: 3_000})
        nic("jitter_ns", **dict.fromkeys((up.near, up.far, down.near, down.far), JITTER_NS))
        configuration = f"""
        clocks:
          system: {{discipline: false}}
          up: {{phc: {up.near}}}
          down: {{phc: {down.near}, discipline: false}}
        ptp:
          ports:
            - {{interface: {up.near}, transport: l2}}
            - {{interface: {down.near}, transport: l2}}
          management: {tmp_path}/uds
        """
        with (
            timesync(tmp_path / "ours", configuration) as daemon,
            phc2sys(tmp_path, "phc2sys", "-a", "-r", "-z", f"{tmp_path}/uds") as log,
            ExitStack() as later,
        ):

            def said() -> str:
                return f"{daemon.ask('ports')}\n{daemon.log()}\n{log.read_text(errors='replace')}"

            def corrections() -> int:
                return len(steered(log))

            def changes() -> int:
                return log.read_text(errors="replace").count("reconfiguring after port state change")

            with ptp4l(tmp_path, "giver", up.there(), up.far, {**_L2, **GIVES}):
                wait_until(lambda: {"CLOCK_REALTIME", down.near} <= {*steered(log)}, STATED_S, "phc2sys steers", said)
                # Only now: ptp4l sets its clock at its first Sync and never again.
                later.enter_context(ptp4l(tmp_path, "end", down.there(), down.far, {**_L2, **TAKES}))
                watched = watch([giver, near, behind, end], None, WATCH_S, tmp_path / "watched")
                assert up.near not in steered(log), said()
                heard = changes()
            # Nobody gives time any more: both our ports do, and phc2sys has nothing to go by.
            wait_until(lambda: daemon.log().count("to time transmitter") == 3, STATED_S, "our port gives time", said)
            wait_until(lambda: changes() > heard, STATED_S, "phc2sys hears of it", said)
            alone = corrections()
            watch([near], None, GAP_S, tmp_path / "alone")
            assert corrections() == alone, said()
            with ptp4l(tmp_path, "again", up.there(), up.far, {**_L2, **GIVES}):
                wait_until(lambda: corrections() > alone + 2, STATED_S, "phc2sys steers again", said)
                assert set(steered(log)[alone:]) == {"CLOCK_REALTIME", down.near}, said()
            text = said()
        nic("ppb")
        nic("jitter_ns")

    errors = {
        "our card that follows": watched.against(near, giver),
        "our card that gives, by phc2sys": watched.against(behind, giver),
        "the system clock, by phc2sys": [(at, x + TAI_UTC * NS_PER_S) for at, x in watched.system_against(giver)],
        "the last card, by ptp4l behind ours": watched.against(end, giver),
    }
    found = {name: figures(after(series, SETTLE_S)) for name, series in errors.items()}
    for name, of in found.items():
        record_property(name, of)
    assert [f"{name}: {of}" for name, of in found.items() if of.rms_ns > LIMIT_NS] == [], text
