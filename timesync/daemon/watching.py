"""What those who watch the daemon are told, and when: the observer process, and whoever asks on the control socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from timesync import __version__
from timesync.base.machine import Noted
from timesync.config.observe import Observe
from timesync.daemon.appliance import Appliance
from timesync.daemon.observer import Observer
from timesync.daemon.recording import Recording
from timesync.observe import stream
from timesync.observe.broadcast import Broadcaster, Watcher
from timesync.observe.control import ControlError
from timesync_drivers.usage import usage

CLIENTS_S: Final = 10.0
_NS: Final = 1_000_000_000
_EARLY_NS: Final = 50_000_000
"""A timer that fires before its time by so little has done its work."""


def _until_next(utc_ns: int) -> float:
    """Seconds to the middle of a second of UTC: so there is one state in each, also when one comes late."""
    wait_ns = (_NS // 2 - utc_ns) % _NS
    return (wait_ns if wait_ns > _EARLY_NS else wait_ns + _NS) / _NS


class Watching:
    """Tells all who watch.

    Attributes:
        observer: The process that shows everything.
    """

    def __init__(self, appliance: Appliance, note: Callable[[Noted], None]) -> None:
        """Nobody watches yet; ``note`` takes what should be said."""
        self._appliance = appliance
        self._recording = Recording(appliance.controller, appliance.now, appliance.mono)
        self._broadcaster = Broadcaster(self._recording.joined)
        self._recording.attach(self._broadcaster)
        if appliance.config.observe.measurements is not None:
            self._recording.begin()
        self._curious = asyncio.Event()
        self.observer = Observer(self._broadcaster, self._hello, note)

    def _hello(self) -> dict[str, Any]:
        return stream.hello(__version__, platform.node(), os.getpid())

    def watch(self, request: Mapping[str, Any], writer: asyncio.StreamWriter) -> Callable[[], None]:
        """Tell a peer from now on what it asks for in ``kinds``, or the usual; returns what ends that.

        Raises ControlError.
        """
        kinds = request.get("kinds", stream.USUAL)
        if not isinstance(kinds, list | tuple) or not kinds or not all(kind in stream.KINDS for kind in kinds):
            raise ControlError(f"kinds is a list of some of {', '.join(stream.KINDS)}")
        watcher = Watcher(writer, kinds)
        watcher.tell(stream.encode(self._hello()))
        if stream.STATE in kinds:
            watcher.tell(stream.encode(self._state()))
        self._broadcaster.add(watcher)
        if stream.CLIENTS in kinds:
            self._curious.set()
        return lambda: self._broadcaster.remove(watcher)

    def event(self, noted: Noted) -> None:
        """Something has happened."""
        if self._broadcaster.wanted(stream.EVENT):
            self._broadcaster.tell(stream.event(noted, time.time_ns()))

    def _state(self) -> dict[str, Any]:
        return stream.state(self._appliance.snapshot(), time.time_ns(), asdict(usage()))

    async def run(self) -> None:
        """Tell the state once a second, and who has asked at times, for as long as it is not cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tell_states())
            both.create_task(self._tell_clients())

    async def _tell_clients(self) -> None:
        """Every so often, and soon when somebody new wants to know."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLIENTS_S):
                    await self._curious.wait()
            self._curious.clear()
            if self._broadcaster.wanted(stream.CLIENTS):
                clients = await self._appliance.clients()
                self._broadcaster.tell(stream.clients(clients, time.time_ns()))

    async def _tell_states(self) -> None:
        while True:
            await asyncio.sleep(_until_next(time.time_ns()))
            self._recording.tick()
            if self._broadcaster.wanted(stream.STATE):
                self._broadcaster.tell(self._state())

    async def configure(self, observe: Observe) -> None:
        """Let the observer show what a configuration wants; what it cannot is among the appliance's warnings."""
        await self.observer.configure(observe)
        self._appliance.warn_of("observe", self.observer.warnings)

    async def close(self) -> None:
        """Tell the rest, and end the observer."""
        self._recording.tick()
        await self.observer.close()
