"""What every entry of ``sources`` is to the appliance, whatever it speaks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse, Leap, Measurement, SourceStatus
from timesync.base.time import Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.config.sources import SourceOptions
from timesync.daemon.ptp_quality import Known
from timesync.daemon.references import References
from timesync.gnss.event import LeapReport
from timesync.host import Host
from timesync.observe.snapshot import SourceFacts
from timesync.runtime.drive import Alarm
from timesync.servo.command import SourceSpec
from timesync.servo.view import SourceView


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what sources do.

    Attributes:
        added: A source is followed from now on.
        removed: It is no longer.
        measured: A measurement came from it.
        status: What is known of it changed.
        note: Something to say.
        fenced: Between which instants the time is, by others than the sources, and whether their first word is still
            waited for.
    """

    added: Callable[[SourceSpec], None]
    removed: Callable[[SourceId], None]
    measured: Callable[[SourceId, Measurement], None]
    status: Callable[[SourceStatus], None]
    note: Callable[[Noted], None]
    fenced: Callable[[Fence | None, bool], None] = lambda _, __: None


class CoreQuestions(Protocol):
    """What sources may ask the core."""

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        """Where a clock stands, to number pulses by; see ``Lineage.coarse``."""
        ...

    def known(self, clock: ClockId) -> Coarse | None:
        """Where a clock stands by the core's own estimate; None while it has none that may be believed."""
        ...

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        """Whether any other source that knows whole seconds by itself is selected."""
        ...

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        """What steering has added to a clock when it read ``at``."""
        ...

    def claims(self, clock: ClockId) -> Known:
        """What may be said of a clock to those who take their time from it."""
        ...

    def seen(self, source: SourceId) -> SourceView | None:
        """A source as the core sees it now; None for one that it does not know."""
        ...

    def last_step(self, clock: ClockId) -> Duration:
        """By how much a clock was last set forward; zero before, and where somebody else has set it."""
        ...

    def epoch(self, clock: ClockId) -> int:
        """The epoch that the core has noted for a clock; readings of another one cannot be compared."""
        ...

    def fence(self) -> Fence | None:
        """Between which instants the time is now, by others than the sources; None while nobody says so."""
        ...

    def shut_out(self) -> Collection[SourceId]:
        """Sources, links between clocks among them, that are not believed because of that."""
        ...


class ReceiverView(Protocol):
    """What pulses want to know of the receiver that they hang on."""

    def verdict(self) -> str | None:
        """Why its pulses may not be believed now, in words; None: they may."""
        ...

    def leap(self) -> Leap:
        """The leap second that it announces."""
        ...

    def leap_report(self) -> LeapReport:
        """What it says of leap seconds, for the vote."""
        ...

    def sawtooth(self, second: Instant[Tai]) -> Duration:
        """The quantization error of the pulse of this second: true edge minus nominal one."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a group works with.

    Attributes:
        host: The machine.
        leap_table: TAI - UTC.
        listener: Takes what is measured and said.
        core: Answers questions.
        receivers: The receivers that run, by the identity of their source.
        references: Reference ids of NTPv5.
    """

    host: Host
    leap_table: LeapTable
    listener: Listener
    core: CoreQuestions
    receivers: dict[SourceId, ReceiverView] = field(default_factory=dict)
    references: References = field(default_factory=References)


class SourceGroup(Protocol):
    """All that runs for one entry of ``sources``, or for one link between clocks."""

    @property
    def source(self) -> SourceOptions | None:
        """The entry; None for what runs without one."""
        ...

    @property
    def clocks(self) -> tuple[ClockId, ...]:
        """The clocks of this machine that it cannot run without."""
        ...

    @property
    def kind(self) -> str:
        """The key of the configuration that made it."""
        ...

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why it has nothing to show at all, if so."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def stop(self) -> None:
        """End; nothing is heard of it any more."""
        ...

    def set_poll(self, source: SourceId, exponent: int) -> None:
        """Advice of the core on the interval between requests."""
        ...

    def probe(self, source: SourceId) -> None:
        """Ask again soon."""
        ...

    def clock_stepped(self, clock: ClockId) -> None:
        """What is under way for this clock is worth nothing any more."""
        ...

    def review(self, outvoted: Collection[SourceId], own: Iterable[str], taken: Iterable[str]) -> None:
        """Now and then: replace what does no good."""
        ...

    def addresses(self) -> Collection[str]:
        """Numeric addresses of the servers that it asks."""
        ...

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """What is known of its sources outside the core, without their status."""
        ...

    def calibration(self) -> Mapping[str, object]:
        """What it has learnt of itself that is worth keeping over a restart; empty when nothing."""
        ...


class DeviceGroup:
    """The part of a group that local devices have in common: nothing to poll, and a device that comes and goes."""

    def __init__(self, source: SourceOptions | None, around: Surroundings, clocks: tuple[ClockId, ...]) -> None:
        """Nothing is opened before ``start``."""
        self.source = source
        self.clocks = clocks
        self._around = around
        self._trouble: str | None = None
        self._alarm = Alarm(around.host, self._due)

    @property
    def kind(self) -> str:
        """The key of the configuration that made it."""
        return "link" if self.source is None else self.source.kind

    @property
    def name(self) -> str:
        """What the operator calls it."""
        return "" if self.source is None else self.source.title

    @property
    def trouble(self) -> str | None:
        """Why it has nothing to show; its sources are always there, so they say it themselves."""
        return None

    def set_poll(self, source: SourceId, exponent: int) -> None:
        """Devices have a pace of their own."""

    def probe(self, source: SourceId) -> None:
        """Devices have a pace of their own."""

    def clock_stepped(self, clock: ClockId) -> None:
        """Stamps of the epoch before are recognised by it."""

    def review(self, outvoted: Collection[SourceId], own: Iterable[str], taken: Iterable[str]) -> None:
        """A device is replaced by nobody but its owner."""

    def addresses(self) -> Collection[str]:
        """None."""
        return ()

    def calibration(self) -> Mapping[str, object]:
        """Nothing, unless it learns delays."""
        return {}

    def _due(self) -> None:
        raise NotImplementedError

    def _wake(self, after: Duration) -> None:
        self._alarm.set(self._around.host.mono() + after)

    def _say(self, level: str, name: str, text: str, source: SourceId | None = None) -> None:
        self._around.listener.note(Noted(level, name, text, source))

    def _failed(self, text: str, source: SourceId | None = None) -> None:
        """Say what is wrong with the device, once; the name is put before it."""
        if self._trouble != text:
            self._say("warning", "device-lost", f"{self.name}: {text}", source)
        self._trouble = text

    def _works(self, source: SourceId | None = None) -> None:
        if self._trouble is not None:
            self._say("info", "device-back", f"{self.name}: works again", source)
        self._trouble = None
