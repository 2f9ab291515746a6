"""Pulses out of hardware clocks, kept going."""

from __future__ import annotations

from collections.abc import Collection

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.base.time import Duration, Instant, Mono
from timesync.config.schema import Config, PulseOut
from timesync.daemon.group import Surroundings
from timesync.devices import PulseOutput
from timesync.host import ClockError

_FIRST_RETRY = Duration.from_s(2)
_LAST_RETRY = Duration.from_s(64)


class PulseOutputs:
    """Pulses out of hardware clocks; one that is refused is asked for again, later and later, and the others go on.

    So is one that cannot be begun anew after a step of its clock: until then its pulses lie beside the second.
    """

    def __init__(self, around: Surroundings) -> None:
        """Nothing is opened before ``configure``."""
        self._around = around
        self._wanted: dict[ClockId, PulseOut] = {}
        self._open: dict[ClockId, PulseOutput] = {}
        self._refused: dict[ClockId, str] = {}
        self._retries: dict[ClockId, tuple[Instant[Mono], Duration]] = {}
        self._said: dict[ClockId, str] = {}

    def troubles(self) -> tuple[str, ...]:
        """What does not work now, in sentences."""
        return tuple(self._troubles().values())

    def configure(self, config: Config) -> None:
        """Give out what a configuration asks for; what it asks for as before goes on without a break."""
        outputs = ((ClockId(name), clock.pulse_out) for name, clock in config.clocks.items())
        wanted = {clock: out for clock, out in outputs if out is not None}
        for clock, out in self._wanted.items():
            if wanted.get(clock) != out:
                self._close(clock)
        self._wanted = wanted
        self.tick()

    def clocks_came(self, clocks: Collection[ClockId]) -> None:
        """Devices that appeared, or that were away, give out nothing before they are asked anew."""
        for clock in clocks:
            self._close(clock)
        self.tick()

    def tick(self) -> None:
        """Open what should be open and is not, and mend what is not right, when its time has come."""
        now = self._around.host.mono()
        for clock, out in self._wanted.items():
            due, wait = self._retries.get(clock, (now, _FIRST_RETRY))
            if clock not in self._around.host.clocks or now < due:
                continue
            if self._works(clock, out):
                self._forgive(clock)
            else:
                self._retries[clock] = now + wait, min(wait + wait, _LAST_RETRY)
        self._tell()

    def close(self) -> None:
        """Give out nothing."""
        for clock in list(self._wanted):
            self._close(clock)
        self._wanted = {}

    def _works(self, clock: ClockId, out: PulseOut) -> bool:
        """Whether right pulses come out, after one try where they did not."""
        output = self._open.get(clock)
        if output is not None:
            return output.tend()
        try:
            self._open[clock] = self._around.host.devices.open_output(clock, out.channel, out.pin, out.width)
        except ClockError as error:
            self._refused[clock] = f"clock {clock} gives out no pulse: {error}; {error.advice}"
            return False
        return True

    def _troubles(self) -> dict[ClockId, str]:
        shaky = {clock: output.trouble() for clock, output in self._open.items()}
        return self._refused | {clock: text for clock, text in shaky.items() if text is not None}

    def _tell(self) -> None:
        """Note each trouble once, when it is new."""
        before, self._said = self._said, self._troubles()
        for clock, text in self._said.items():
            if before.get(clock) != text:
                self._around.listener.note(Noted("warning", "pulse-out", text))

    def _close(self, clock: ClockId) -> None:
        output = self._open.pop(clock, None)
        if output is not None:
            output.close()
        self._forgive(clock)

    def _forgive(self, clock: ClockId) -> None:
        self._refused.pop(clock, None)
        self._retries.pop(clock, None)
