"""The web page of a daemon with a PTP port, in Debian's Chromium: the port's row changes as the port does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from interop_browser import BACK_MS, LOCK_MS, Watched, chromium, pictures
from interop_ptp import ptp4l, star, wait_for_state
from interop_support import VIRTUAL, timesync
from playwright.sync_api import expect

__all__ = ["pictures"]

pytestmark = pytest.mark.interop

WEB = 8080
TITLES = ["Port", "State", "Offset", "Mean delay", "asCapable", "Grandmaster", "Parent", "Messages", "Dropped", "Why"]
IDENTITY = re.compile(r"^[0-9a-f]{6}\.[0-9a-f]{4}\.[0-9a-f]{6}")
SPAN = re.compile(r"^[+\N{MINUS SIGN}]?[\d.]+ (ns|µs|ms|s)")


def test_a_ports_row_tells_whom_it_follows_and_that_it_took_over(tmp_path: Path, pictures: Path) -> None:
    configuration = (
        f"{VIRTUAL}\n"
        "ptp: {clock: bench, profile: default-e2e, ports: [{interface: eth0, timestamping: software}]}\n"
    )
    with (
        star(1) as (hub, [spoke]),
        timesync(spoke, tmp_path / "ours", configuration, observe=f"web: 127.0.0.1:{WEB}, ") as ours,
        chromium(spoke, tmp_path) as browser,
    ):
        seen = Watched(browser, f"http://127.0.0.1:{WEB}/", 1600, 1000)
        row = seen.page.locator("#ports tbody tr")
        cell = {title: row.locator("td").nth(number) for number, title in enumerate(TITLES)}
        with ptp4l(hub, tmp_path / "peer", "--priority1", "100"):
            wait_for_state(ours, "TIME_RECEIVER", 60)
            expect(row).to_have_count(1)
            assert TITLES == [one.strip(" ?") for one in seen.page.locator("#ports thead th").all_inner_texts()]
            expect(cell["Port"]).to_contain_text("eth0")
            expect(cell["Port"]).to_contain_text("software")
            expect(cell["State"]).to_have_text("TIME RECEIVER", timeout=BACK_MS)
            expect(cell["Offset"]).to_have_text(SPAN, timeout=LOCK_MS)
            expect(cell["Mean delay"]).to_have_text(SPAN, timeout=LOCK_MS)
            expect(cell["Mean delay"]).to_contain_text("E2E", ignore_case=True)
            expect(cell["asCapable"]).to_have_text("\N{EN DASH}")
            expect(cell["Grandmaster"]).to_have_text(IDENTITY)
            peer = cell["Grandmaster"].inner_text()
            expect(cell["Parent"]).to_contain_text(peer)
            expect(seen.page.locator("#word")).to_have_text("LOCKED", timeout=LOCK_MS)
            expect(seen.page.locator("#sources")).to_contain_text("ptp")
            seen.page.screenshot(path=pictures / "ptp.png", full_page=True)
            assert seen.fits()
        # Its peer is gone: after three Announce that did not come the port gives the time itself.
        expect(cell["State"]).to_have_text("TIME TRANSMITTER", timeout=LOCK_MS)
        expect(cell["Grandmaster"]).not_to_have_text(peer)
        assert seen.complaints == []
