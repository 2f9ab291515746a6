"""Debian's Chromium, and a page in it that must not complain."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from interop_support import REQUIRED, Node
from playwright.sync_api import Browser, Page, sync_playwright

LOCK_MS = 60_000
BACK_MS = 40_000
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium(node: Node | None = None, directory: Path | None = None) -> Iterator[Browser]:
    """A browser; inside a namespace where one is given, by a script in ``directory``."""
    program = shutil.which("chromium")
    if program is None:
        if REQUIRED:
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    if node is not None:
        assert directory is not None
        script = directory / "chromium"
        script.write_text(f'#!/bin/sh\nexec {shlex.join(node.command([program]))} "$@"\n')
        script.chmod(0o755)
        program = str(script)
    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=program, args=list(FLAGS))
        yield made
        made.close()


class Watched:
    """A page that must not complain, and must ask nobody but its own server.

    Attributes:
        page: It.
        complaints: What it said on the console, what it threw, what it asked elsewhere.
    """

    def __init__(self, browser: Browser, url: str, width: int, height: int, scheme: str = "light") -> None:
        color = "dark" if scheme == "dark" else "light"
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=color)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda one: self.complaints.append(one.text) if one.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda one: None if one.url.startswith(url) else self.complaints.append(one.url))
        self.page.goto(url)

    def fits(self) -> bool:
        """Nothing sticks out sideways."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: TIMESYNC_SCREENSHOTS, or away with the test."""
    folder = Path(os.environ.get("TIMESYNC_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
