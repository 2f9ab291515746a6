"""The web page in Debian's Chromium: it locks with the demonstration, explains itself, and outlives a restart."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop_browser import BACK_MS, LOCK_MS, Watched, chromium, pictures
from interop_support import our_environment
from playwright.sync_api import Browser, Locator, expect

pytestmark = pytest.mark.interop

__all__ = ["pictures"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@contextmanager
def timesync(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, its output in the file ``said``; it ends with the block."""
    with (folder / "said").open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "timesync.cli.main", *arguments],
            cwd=folder, env=our_environment(), stdout=out, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def said(folder: Path, pattern: str) -> str:
    """What the first group of a pattern finds in the output, as soon as it is there."""
    for _ in range(400):
        found = re.search(pattern, (folder / "said").read_text())
        if found is not None:
            return found[1]
        time.sleep(0.05)
    raise AssertionError((folder / "said").read_text())


def seen_span(plot: Locator) -> tuple[str, str]:
    """From when to when a plot shows, as it says to those who do not see it."""
    found = re.search(r"from (\S+ \S+) to (\S+ \S+):", plot.get_attribute("aria-label") or "")
    assert found is not None
    return found[1], found[2]


def follows(plot: Locator) -> None:
    """The last moment that it shows is soon a later one."""
    _, end = seen_span(plot)
    expect(plot).not_to_have_attribute("aria-label", re.compile(f"to {end}"))


def test_the_demonstration_is_seen_to_lock_on_a_wall_and_on_a_phone(
    browser: Browser, tmp_path: Path, pictures: Path
) -> None:
    with timesync(tmp_path, "demo", "--duration", "10min", "--receiver", "ubx"):
        url = said(tmp_path, r"in a browser: (http://127\.0\.0\.1:\d+/)")
        wall = Watched(browser, url, 1600, 1000)
        page = wall.page
        expect(page.locator("#word")).to_have_text("LOCKED", timeout=LOCK_MS)
        expect(page.locator("#reason")).to_contain_text("pps")
        expect(page.locator("#bound")).to_have_text(re.compile(r"^± [\d.]+ [µn]s$"))
        expect(page.locator("#utc")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
        expect(page.locator("#contact")).to_have_text("live")
        # A clock that is minutes off, which this one is not, has a sign too.
        offsets = "async () => (await import('/js/units.js').then(({ signed }) => [-200, 200, -5, -1e-15].map(signed)))"
        assert ["\N{MINUS SIGN}3 min 20 s", "+3 min 20 s", "\N{MINUS SIGN}5.00 s", "0.00 ns"] == page.evaluate(offsets)
        # An axis is as wide as its labels are drawn, with 15 pixels beside them: uPlot's mark and gap.
        widths = """async () => {
            const { wideEnough } = await import('/js/plots.js');
            const ctx = document.createElement('canvas').getContext('2d');
            return ['\N{MINUS SIGN}19.98345 ppm', '\N{MINUS SIGN}100.0000 mmmm', '0', null].map((one) => {
                const size = wideEnough({ ctx }, [one]);
                ctx.font = '11px system-ui, sans-serif';
                return size - ctx.measureText(one ?? '').width;
            });
        }"""
        assert all(room >= 15 for room in page.evaluate(widths))
        expect(page.locator("#sources tbody tr")).to_have_count(5)
        expect(page.locator("#sources")).to_contain_text("selected")
        expect(page.locator("svg.sky .sat")).to_have_count(12)
        expect(page.locator("svg.bars rect")).to_have_count(12)
        expect(page.locator(".plot canvas")).to_have_count(8, timeout=BACK_MS)
        plot = page.locator(".plot .canvas").first
        follows(plot)
        expect(page.locator("#events li").first).to_be_visible()
        # The demonstration asks itself once, as any client would.
        expect(page.locator("#clients")).to_contain_text("127.0.0.1", timeout=BACK_MS)
        page.get_by_label("hide addresses").check()
        expect(page.locator("#clients")).to_contain_text("127.0.0.0/24")
        assert wall.fits()

        tip = page.locator("#tip")
        expect(tip).to_be_hidden()
        page.get_by_role("button", name="Error bound").focus()
        expect(tip).to_contain_text("what may be relied upon")
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()
        page.locator(".term", has_text="Stratum").first.hover()
        expect(tip).to_contain_text("1 is the server with the reference")
        page.mouse.move(0, 0)

        page.locator(".box", has_text="gps").click()
        expect(page.locator("#chain-why")).to_contain_text("gps: ")
        page.get_by_role("button", name="6 h").click()
        expect(page.get_by_role("button", name="6 h")).to_have_attribute("aria-pressed", "true")
        page.get_by_label("Statistic").select_option("mtie")
        page.get_by_label("Mask").select_option("PRTC-A", timeout=BACK_MS)
        expect(page.locator("figcaption", has_text="Stability")).to_contain_text("G.8272", timeout=BACK_MS)
        began, _ = seen_span(plot)
        page.get_by_role("button", name="10 min").click()
        expect(plot).not_to_have_attribute("aria-label", re.compile(f"from {began}"))
        follows(plot)

        page.locator("#theme").click()
        page.locator("#theme").click()
        expect(page.locator("#theme")).to_have_text("Theme: dark")
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("#word")).to_have_text("LOCKED")
        expect(page.locator("svg.sky .sat")).to_have_count(12)
        page.wait_for_timeout(3000)
        page.screenshot(path=pictures / "wall-dark.png", full_page=True)

        for name, width, height in (("wall", 1600, 1000), ("phone", 390, 844)):
            seen = Watched(browser, url, width, height)
            expect(seen.page.locator("#word")).to_have_text("LOCKED")
            expect(seen.page.locator(".plot canvas")).to_have_count(8, timeout=BACK_MS)
            seen.page.wait_for_timeout(3000)
            seen.page.screenshot(path=pictures / f"{name}.png", full_page=True)
            assert seen.fits(), name
            assert seen.complaints == []
            seen.context.close()
        assert wall.complaints == []
        wall.context.close()


def test_the_page_says_that_the_daemon_is_gone_and_comes_back_with_it(
    browser: Browser, tmp_path: Path, pictures: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hostile = '<img src=x onerror="document.title=1">'
    (tmp_path / "t.yaml").write_text(
        "profile: demo\n"
        f"sources:\n  - ntp: 127.0.0.1:9\n    name: '{hostile}'\n"
        f"observe: {{control: c.sock, state: state, web: '127.0.0.1:{port}'}}\n"
    )
    url = f"http://127.0.0.1:{port}/"
    with timesync(tmp_path, "run", "-c", "t.yaml"):
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        seen = Watched(browser, url, 1200, 900, "dark")
        page = seen.page
        expect(page.locator("#word")).to_have_text("ACQUIRING", timeout=LOCK_MS)
        expect(page.locator("#alarm")).to_be_hidden()
        # A name is text, whatever it looks like.
        expect(page.locator("#sources .main")).to_have_text(hostile)
        assert page.locator("#main img").count() == 0
        uptime = page.locator("#facts dd").last
        page.wait_for_timeout(5000)
        assert seen.complaints == []
    expect(page.locator("#alarm")).to_be_visible(timeout=BACK_MS)
    expect(page.locator("#alarm")).to_contain_text("No contact with timesync")
    expect(page.locator("#word")).to_have_text("NO CONTACT")
    expect(page.locator("#contact")).to_have_text("not live")
    page.screenshot(path=pictures / "gone.png")
    before = uptime.text_content()
    with timesync(tmp_path, "run", "-c", "t.yaml"):
        expect(page.locator("#alarm")).to_be_hidden(timeout=BACK_MS)
        expect(page.locator("#word")).to_have_text("ACQUIRING")
        expect(page.locator("#contact")).to_have_text("live")
        assert before != uptime.text_content()
        # While there was nobody, the browser itself complains of refused connections; the page does not.
        assert all("ERR_" in one or "net::" in one for one in seen.complaints), seen.complaints
    seen.context.close()
