"""The whole appliance on loops that only know select() or poll(), with threads forbidden.

Peers are tested under preload simulators of clocks and networks, which know select() and poll() and no threads; ours
must run there too.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from typing import NoReturn

import pytest

from timesync.base.time import Duration
from timesync.daemon.demo import Demonstration, Teller, demonstrate


def _forbidden(_: threading.Thread) -> NoReturn:
    raise AssertionError("a thread was started")


@pytest.mark.parametrize("selector", [selectors.SelectSelector, selectors.PollSelector])
def test_the_demonstration_locks_on_any_selector_and_without_threads(
    selector: type[selectors.BaseSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading.Thread, "start", _forbidden)

    def quiet(*_: object) -> None:
        pass

    teller = Teller(quiet, quiet, quiet, quiet, quiet, quiet)

    def loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selector())

    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(demonstrate(Demonstration(Duration.from_s(16)), teller))
    assert found.locked_s is not None
