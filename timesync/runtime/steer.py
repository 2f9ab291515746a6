"""Commands of the core on real clocks, with the last checks below every servo."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_never

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.host import Clock, ClockError, ClockReport, Host, Trouble
from timesync.runtime.drive import Alarm
from timesync.servo.command import Command, Now, Probe, Report, SetFrequency, SetPoll, StepClock
from timesync.servo.controller import Controller

_STEPS_A_MINUTE = 4
_MINUTE = Duration.from_s(60)
_NEVER: Instant[Tai] = Instant(0)


class Helmsman:
    """Performs commands on clocks and tells the controller what became of them."""

    def __init__(
        self,
        controller: Controller,
        host: Host,
        note: Callable[[Noted], None],
        poll: Callable[[SourceId, int], None],
        probe: Callable[[SourceId], None],
        leap: Callable[[ClockId], tuple[Leap, int]],
        moved: Callable[[ClockId, bool], None],
    ) -> None:
        """Wire up.

        Args:
            controller: The core.
            host: Where the clocks are.
            note: Takes what should be said.
            poll: Takes advice on poll intervals.
            probe: Asks a source again at once.
            leap: The leap second at the end of this UTC day and TAI - UTC, by a clock.
            moved: Told after each change of a clock's frequency (False) and each step (True).
        """
        self._controller = controller
        self._host = host
        self._note = note
        self._poll = poll
        self._probe = probe
        self._leap = leap
        self._moved = moved
        self._alarm = Alarm(host, self.due)
        self._refused: dict[ClockId, tuple[Trouble, str]] = {}
        self._steps: dict[ClockId, list[Instant[Mono]]] = {}
        self._read: dict[ClockId, tuple[Instant[Mono], Instant[Tai]]] = {}

    def now(self) -> Now:
        """The present: one reading of each clock.

        A hardware clock that has vanished is carried on from its last reading, for the others to go on.
        """
        mono = self._host.mono()
        for clock, handle in self._host.clocks.items():
            try:
                self._read[clock] = mono, handle.read().at
            except ClockError as error:
                since, at = self._read.get(clock, (mono, _NEVER))
                self._read[clock] = mono, at + (mono - since)
                if self._complain(handle, error):
                    self._controller.gone(clock, f"the clock cannot be read: {error}")
            else:
                known = self._refused.get(clock)
                if known is not None and known[0] is Trouble.GONE:
                    del self._refused[clock]
                    self._note(Noted("info", "device-back", f"clock {clock} can be read again"))
        return Now(mono, {clock: at for clock, (_, at) in self._read.items()})

    def due(self) -> None:
        """The controller's deadline."""
        self.perform(self._controller.on_deadline(self.now()))

    def troubles(self) -> tuple[str, ...]:
        """What clocks refuse now, in sentences."""
        return tuple(text for _, text in self._refused.values())

    def stop(self) -> None:
        """Leave the clocks as they are."""
        self._alarm.cancel()

    def perform(self, commands: Iterable[Command]) -> None:
        """Perform commands in order, then arm the controller's next deadline."""
        for command in commands:
            match command:
                case SetFrequency():
                    self._set_frequency(command)
                case StepClock():
                    self._step(command)
                case Report():
                    self._report(command)
                case SetPoll():
                    self._poll(command.source, command.exponent)
                case Probe():
                    self._probe(command.source)
                case Noted():
                    self._note(command)
                case _:
                    assert_never(command)
        self._alarm.set(self._controller.deadline())

    def _set_frequency(self, command: SetFrequency) -> None:
        clock = self._host.clocks[command.clock]
        try:
            before = clock.read().at
            taken = clock.adjust_frequency(command.rate)
        except ClockError as error:
            self._complain(clock, error)
            return
        self._refused.pop(clock.id, None)
        window = self._after(clock) - before
        # Who is put off the processor in between changed it at one end of the window or at the other.
        self._controller.applied(clock.id, taken, before + window // 2, abs(window.s()) / 2)
        self._moved(clock.id, False)

    def _after(self, clock: Clock) -> Instant[Tai]:
        """What a clock reads that was just there."""
        try:
            return clock.read().at
        except ClockError:
            return self.now().clocks[clock.id]

    def _step(self, command: StepClock) -> None:
        clock = self._host.clocks[command.clock]
        now = self._host.mono()
        recent = [at for at in self._steps.get(clock.id, []) if now - at < _MINUTE]
        if len(recent) >= _STEPS_A_MINUTE:
            text = f"clock {clock.id} was stepped {len(recent)} times in a minute: no further step for now"
            self._note(Noted("error", "too-many-steps", text))
            return
        try:
            before: Instant[Tai] = clock.read().at
            clock.step(command.by)
        except ClockError as error:
            self._complain(clock, error)
            return
        self._steps[clock.id] = [*recent, now]
        noted = self._controller.stepped(clock.id, command.by, before, clock.epoch)
        self._moved(clock.id, True)
        self._note(noted)

    def _report(self, command: Report) -> None:
        clock = self._host.clocks[command.clock]
        leap, tai_utc = self._leap(clock.id)
        try:
            clock.report(
                ClockReport(command.synchronized, command.estimated_error, command.maximum_error, leap, tai_utc)
            )
        except ClockError as error:
            self._complain(clock, error)

    def _complain(self, clock: Clock, error: ClockError) -> bool:
        """Say what a clock refuses, and what to do about it: once, although all that is tried is refused alike."""
        known = self._refused.get(clock.id)
        if known is not None and known[0] is error.trouble:
            return False
        text = f"clock {clock.id}: {error}; {error.advice}"
        self._refused[clock.id] = (error.trouble, text)
        self._note(Noted("error", "clock-refused", text))
        return True
