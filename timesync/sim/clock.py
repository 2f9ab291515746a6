"""A clock that can be steered, over a simulated oscillator."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import SCALE, Duration, Instant
from timesync.base.utc import LeapTable
from timesync.host import ClockError, ClockLimits, ClockReport
from timesync.sim.oscillator import Oscillator
from timesync.sim.world import World

KERNEL_UNITS = 65_536_000_000
"""Steps of ``timex.freq`` in a ratio of one: 2^-16 ppm each."""

KERNEL_LIMIT = Rate.from_ppm(500)
NOTHING = Duration(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockModel:
    """The figures of a clock.

    Attributes:
        offset: Clock minus true TAI when it is made.
        max_frequency: Largest adjustment; more is clamped.
        tick: A change of frequency takes effect at the next multiple of it; zero: at once.
        read_noise_s: Standard deviation of what ``read`` adds to the reading.
    """

    offset: Duration = NOTHING
    max_frequency: Rate = KERNEL_LIMIT
    tick: Duration = NOTHING
    read_noise_s: float = 0.0


class SimClock:
    """A ``timesync.host.Clock`` over an oscillator; as a system clock also the ``Ticks`` of its machine.

    Readings are whole nanoseconds, frequencies multiples of 2^-16 ppm, and what lies between is kept exactly.

    Attributes:
        reports: What it was told of itself, in order.
        failure: When set, ``adjust_frequency``, ``step`` and ``report`` raise it.
    """

    def __init__(
        self,
        world: World,
        oscillator: Oscillator,
        leaps: LeapTable,
        model: ClockModel,
        name: str = "system",
        kernel: SimClock | None = None,
    ) -> None:
        """Make a clock; ``kernel`` is the system clock when this is another (a virtual clock)."""
        self.reports: list[ClockReport] = []
        self.failure: ClockError | None = None
        self._world = world
        self._id = ClockId(name)
        self._model = model
        self._leaps = leaps
        self._kernel = kernel
        self._rng = world.stream(f"clock/{oscillator.name}/{name}")
        self._line = _Line(oscillator, world.units + model.offset.scaled_ns)
        self._epoch = 0
        self._foreign = NOTHING
        self._tick_due = False

    @property
    def id(self) -> ClockId:
        """Its name."""
        return self._id

    @property
    def kind(self) -> str:
        """``system``, or ``virtual`` for a clock beside it."""
        return "system" if self._kernel is None else "virtual"

    @property
    def epoch(self) -> int:
        """How many times it was stepped, by us or, once ``check_foreign`` noticed, by others."""
        return self._epoch

    @property
    def limits(self) -> ClockLimits:
        """What it can do."""
        return ClockLimits(
            max_frequency=self._model.max_frequency,
            frequency_latency=self._model.tick,
            precision=Duration(max(Duration.from_s(self._model.read_noise_s).scaled_ns, SCALE)),
        )

    def read(self) -> Stamp:
        """The present reading, with the noise of reading it."""
        return self.stamp(StampSource.USER, self._model.read_noise_s)

    def stamp(self, source: StampSource, noise_s: float) -> Stamp:
        """A stamp of this moment by ``source``, with a standard deviation of ``noise_s``."""
        reading = self._line.reading()
        if noise_s:
            reading += Duration.from_s(self._rng.gauss(0.0, noise_s)).scaled_ns
        return Stamp(self._id, self._epoch, Instant(reading >> 16 << 16), source)

    def frequency(self) -> Rate:
        """The adjustment in force, or about to be from the next tick."""
        return Rate.from_kernel(self._line.wanted)

    def adjust_frequency(self, rate: Rate) -> Rate:
        """Run faster by ``rate`` than the oscillator; returns what was taken."""
        self._raise_failure()
        limit = self._model.max_frequency.to_kernel()
        self._line.wanted = min(max(rate.to_kernel(), -limit), limit)
        tick = self._model.tick.scaled_ns
        if not tick:
            self._line.steer(self._line.wanted)
        elif not self._tick_due:
            self._tick_due = True
            self._world.at_units((self._world.units // tick + 1) * tick, self._on_tick)
        return Rate.from_kernel(self._line.wanted)

    def step(self, by: Duration) -> None:
        """Add ``by`` to the reading; the epoch goes up by one."""
        self._raise_failure()
        self._line.step(by.scaled_ns)
        self._epoch += 1

    def disturb(self, by: Duration) -> None:
        """Somebody else steps the clock; the epoch does not tell before ``check_foreign``."""
        self._line.step(by.scaled_ns)
        self._foreign += by

    def check_foreign(self) -> str | None:
        """What somebody else did since the last call, in words; the epoch goes up by one if it was a step."""
        by, self._foreign = self._foreign, NOTHING
        if not by:
            return None
        self._epoch += 1
        return f"something else stepped the clock {self._id} by {by}"

    def report(self, report: ClockReport) -> None:
        """Keep the report."""
        self._raise_failure()
        self.reports.append(report)

    def serving_map(self) -> ServingMap:
        """How kernel timestamps become this clock's UTC, from now on."""
        kernel = self._kernel
        if kernel is None:
            return SYSTEM_MAP
        base = kernel.utc_ns()
        rate = (1.0 + self.true_frequency().ratio) / (1.0 + kernel.true_frequency().ratio)
        return ServingMap(base, self.utc_ns() - base, rate)

    def utc_ns(self, noise_s: float = 0.0) -> int:
        """The present reading as a kernel timestamp has it: POSIX ns, with that much noise."""
        return self._leaps.utc(self.stamp(StampSource.KERNEL, noise_s).at).ns()

    def true_offset(self) -> Duration:
        """Clock minus true TAI, exactly; for judges only."""
        return Duration(self._line.reading() - self._world.units)

    def true_frequency(self) -> Rate:
        """How much faster than true time it runs at this moment; for judges and for ``Ticks``."""
        return self._line.true_frequency()

    def elapsed(self) -> int:
        """CLOCK_MONOTONIC of a machine with this system clock: steered as it is, never stepped."""
        return self._line.elapsed()

    def _on_tick(self) -> None:
        self._tick_due = False
        self._line.steer(self._line.wanted)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


class _Line:
    """A reading that grows with an oscillator at an adjustable rate, in integers throughout.

    Attributes:
        wanted: The rate asked for, in kernel units; ``steer`` puts one into force.
    """

    def __init__(self, oscillator: Oscillator, reading: int) -> None:
        self._oscillator = oscillator
        self._base = oscillator.elapsed()
        self._reading = reading
        self._start = reading
        self._stepped = 0
        self._steer = 0
        self.wanted = 0
        # What of the reading lies below one unit, in 1 / KERNEL_UNITS of it.
        self._rest = 0

    def reading(self) -> int:
        """The reading in units of 2^-16 ns."""
        passed = self._oscillator.elapsed() - self._base
        return self._reading + passed + (passed * self._steer + self._rest) // KERNEL_UNITS

    def elapsed(self) -> int:
        """What was counted since the start, steps left out."""
        return self.reading() - self._start - self._stepped

    def steer(self, kernel_units: int) -> None:
        """Run at another rate from now on."""
        passed = self._oscillator.elapsed() - self._base
        whole, self._rest = divmod(passed * self._steer + self._rest, KERNEL_UNITS)
        self._reading += passed + whole
        self._base += passed
        self._steer = kernel_units

    def step(self, by: int) -> None:
        """Add to the reading."""
        self._reading += by
        self._stepped += by

    def true_frequency(self) -> Rate:
        """How much faster than true time it grows."""
        free = self._oscillator.true_frequency().ratio
        steer = self._steer / KERNEL_UNITS
        return Rate(free + steer + free * steer)
