"""``timesync run``: one appliance on Linux under asyncio, with its signals, its socket and its service manager."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.base.utc import LeapTable
from timesync.config.load import Loaded, load
from timesync.config.problem import ConfigError
from timesync.config.schema import Config
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap import load_leap_table, load_named_table
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.linux import ClockSpec, LinuxHost, PhcSpec, SystemSpec, VirtualSpec
from timesync.daemon.systemd import Notifier, is_journal
from timesync.daemon.watching import Watching
from timesync.daemon.why import why
from timesync.ntp.auth import ALGORITHMS, SymmetricKey
from timesync.observe import journal
from timesync.observe.control import AnotherDaemonError, ControlError, ControlServer
from timesync.runtime.virtual import VirtualSettings
from timesync.servo.view import ServoState

_STANDARD_ERROR = 2
_READY_CHECK_S = 0.25
_STATUS_S = 10.0
_PROBLEMS_SAID = 20
"""Of a refused configuration; `timesync check` says all."""


def host_clocks(config: Config) -> list[ClockSpec]:
    """The clocks that a configuration names."""
    specs: list[ClockSpec] = []
    for name, clock in config.clocks.items():
        if clock.phc is not None:
            specs.append(PhcSpec(ClockId(name), clock.phc, clock.timescale))
        elif clock.virtual is None:
            specs.append(SystemSpec(ClockId(name)))
        else:
            virtual = VirtualSettings(clock.virtual.offset, clock.virtual.frequency, clock.virtual.wander)
            specs.append(VirtualSpec(ClockId(name), virtual))
    return specs


def symmetric_keys(config: Config) -> dict[int, SymmetricKey]:
    """The keys for NTP of a loaded configuration, whose secrets have been read."""
    keys = {}
    for number, key in config.keys.items():
        if key.algorithm not in ALGORITHMS:
            continue  # for PTP: see daemon.ptp_security
        assert key.secret is not None
        keys[number] = SymmetricKey(number, key.algorithm, key.secret.value)
    return keys


class Daemon:
    """An appliance with what a Linux service needs around it."""

    def __init__(
        self,
        loaded: Loaded,
        file: Path | None,
        profile: str | None,
        *,
        initial_step_anything: bool = False,
        make_host: Callable[[Sequence[ClockSpec], LeapTable, Path], LinuxHost] = LinuxHost,
    ) -> None:
        """Assemble.

        Args:
            loaded: The configuration.
            file: Where it came from, for reloading; None when it is embedded.
            profile: The profile given on the command line.
            initial_step_anything: The first correction may be of any size.
            make_host: The machine, from its clocks, TAI - UTC and the state directory.
        """
        self._file = file
        self._profile = profile
        self.config = loaded.config
        self._journal = journal.Journal()
        self._hearers: list[Callable[[Noted], None]] = []
        leap = self.config.leap
        leap_warning: str | None = None
        if leap is None:
            table, leap_said = load_leap_table()
        else:
            table, leap_said, leap_warning = load_named_table(Path(leap.file))
        self.leap_table = LiveTable.of(table)
        self._say("info", "leap", leap_said)
        if leap_warning is not None:
            self._say("warning", "leap", leap_warning)
        for warning in loaded.warnings:
            self._say("warning", "config", warning.headline("warning"))
        state = self.config.observe.state
        self.host = make_host(host_clocks(self.config), self.leap_table, Path(state))
        self.appliance = Appliance(
            self.config,
            self.host,
            self.leap_table,
            Start(symmetric_keys(self.config), self._noted, initial_step_anything),
        )
        self.watching = Watching(self.appliance, self._noted)
        self._hearers.append(self.watching.event)
        self._notifier = Notifier.from_environment(os.environ, os.getpid())
        self._control = ControlServer(self.config.observe.control, self._commands(), {"watch": self.watching.watch})
        self._stop = asyncio.Event()
        self._ready = False

    def _say(self, level: str, name: str, text: str) -> None:
        self._noted(Noted(level, name, text))

    def _noted(self, noted: Noted) -> None:
        self._journal.note(noted)
        for hear in self._hearers:
            hear(noted)

    def _commands(self) -> dict[str, Any]:
        snapshot = self.appliance.snapshot

        def explain(request: Mapping[str, Any]) -> Mapping[str, Any]:
            source = request.get("source")
            if source is not None and not isinstance(source, str):
                raise ControlError("the source is named by a text")
            return why(snapshot(), source)

        async def clients(_: Mapping[str, Any]) -> Mapping[str, Any]:
            return (await self.appliance.clients()).listing()

        return {
            "status": lambda _: snapshot().status(),
            "sources": lambda _: snapshot().sources(),
            "clocks": lambda _: snapshot().clocks(),
            "ports": lambda _: snapshot().port_list(),
            "clients": clients,
            "why": explain,
        }

    async def run(self) -> None:
        """Run until told to stop. Raises AnotherDaemonError, with nothing steered, when a daemon runs already."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        async with contextlib.AsyncExitStack() as ending:
            # Each of these is run whatever the others raise, the last one first.
            ending.push_async_callback(self._control.stop)
            await self._open_control()
            ending.callback(self.appliance.stop)
            ending.callback(self._notifier.stopping)
            self._start()
            ending.push_async_callback(self.watching.close)
            await self.watching.configure(self.config.observe)
            background = [
                asyncio.create_task(work) for work in (self._report_ready(), self._feed_watchdog(), self.watching.run())
            ]
            for task in background:
                ending.callback(task.cancel)
            await self._until_stopped(background)

    def _start(self) -> None:
        if not _writable(Path(self.config.observe.state)):
            text = f"the state directory {self.config.observe.state} cannot be written"
            self._say("warning", "state", f"{text}: what is learnt of the clocks is lost at the next start")
        self.appliance.start()
        # What was imported stays: collections need not look at it again, and pauses stay short.
        gc.freeze()
        if self.config.observe.ready == "started":
            self._say_ready("running")

    def stop(self) -> None:
        """Make ``run`` return."""
        self._stop.set()

    async def _until_stopped(self, background: list[asyncio.Task[None]]) -> None:
        """Wait; a background task that dies is our own bug and ends the daemon rather than going unseen."""
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait([stopped, *background], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for task in done:
            if task is not stopped:
                task.result()

    async def _open_control(self) -> None:
        try:
            await self._control.start()
        except AnotherDaemonError:
            # Two that steer the same clocks would take each other's work for a fault of the clock.
            raise
        except OSError as error:
            path = self.config.observe.control
            text = (
                f"the control socket {path} cannot be opened ({error.strerror or error}): "
                "`timesync status` will not work; set observe.control to a path that this user may write"
            )
            self._say("warning", "control", text)

    async def _report_ready(self) -> None:
        """Say when the served clock is synchronized, and keep the service manager's status line current."""
        said = ""
        while True:
            view = self.appliance.view()
            text = f"{view.state.value}: {view.reason}"
            if not self._ready and view.state is ServoState.LOCKED:
                self._say_ready(view.reason)
            elif self._ready or text != said:
                # Also before: who waits for the start wants to know for what.
                said = text
                self._notifier.status(text)
            await asyncio.sleep(_STATUS_S if self._ready else _READY_CHECK_S)

    async def _feed_watchdog(self) -> None:
        """Tell the service manager that the loop still turns and clocks can still be read."""
        interval = self._notifier.watchdog_interval_s
        while True:
            if interval is not None:
                self.appliance.view()
                self._notifier.watchdog()
            await asyncio.sleep(interval or 3600)

    def reload(self) -> None:
        """Read the configuration again; a bad one is refused and the old one stays in force."""
        if self._file is None:
            self._say("warning", "reload", "the configuration is embedded: nothing to reload")
            return
        # Before the first READY=1 there is nothing to take back, and nothing to claim afterwards.
        if self._ready:
            self._notifier.reloading()
        try:
            loaded = load(self._file, self._profile, private_keys=False)
        except ConfigError as error:
            self._say("error", "reload", "the new configuration is refused, the old one stays in force:")
            for problem in error.problems[:_PROBLEMS_SAID]:
                self._say("error", "reload", problem.headline())
        else:
            self._take_over(loaded)
        # Also when the new configuration no longer wants to wait for the clock.
        if self._ready or self.config.observe.ready == "started":
            self._say_ready("running")

    def _take_over(self, loaded: Loaded) -> None:
        """Put a good configuration in force, and say what of it must wait for a restart."""
        for warning in loaded.warnings:
            self._say("warning", "config", warning.headline("warning"))
        before, self.config = self.config, loaded.config
        late = self.appliance.reload(loaded.config, symmetric_keys(loaded.config))
        if loaded.config.leap != before.leap:
            late.append("leap")
        set_up_log(loaded.config)
        self._observing = asyncio.get_running_loop().create_task(self.watching.configure(self.config.observe))
        text = f"configuration read again from {self._file}"
        self._say("info", "reload", f"{text}; a restart is needed for {' and '.join(late)}" if late else text)

    def _say_ready(self, text: str) -> None:
        self._ready = True
        self._notifier.ready(text)


def _writable(directory: Path) -> bool:
    """Whether files can be made in a directory, or it can itself be made."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return os.access(directory, os.W_OK | os.X_OK) and directory.is_dir()


def set_up_log(config: Config) -> None:
    """Write the log as a configuration says."""
    log = config.observe.log
    prioritized = is_journal(os.environ, _STANDARD_ERROR)
    journal.set_up(log.level, log.format, stamped=sys.stderr.isatty(), prioritized=prioritized)


def run(loaded: Loaded, file: Path | None, profile: str | None, *, initial_step_anything: bool) -> None:
    """Run a daemon in the foreground until SIGTERM or SIGINT. Raises AnotherDaemonError, ClockError."""
    set_up_log(loaded.config)

    async def main() -> None:
        await Daemon(loaded, file, profile, initial_step_anything=initial_step_anything).run()

    asyncio.run(main())
