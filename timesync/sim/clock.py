"""A clock that can be steered, over a simulated oscillator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import SCALE, Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.host import ClockError, ClockLimits, ClockReport, Trouble
from timesync.sim.oscillator import HISTORY, Oscillator
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
        held_up_s: Mean time that passes, exponentially distributed, between a change of frequency and what the daemon
            does next: others have the processor.
    """

    offset: Duration = NOTHING
    max_frequency: Rate = KERNEL_LIMIT
    tick: Duration = NOTHING
    read_noise_s: float = 0.0
    held_up_s: float = 0.0


class SimClock:
    """A ``timesync.host.Clock`` over an oscillator; as a system clock also the ``Ticks`` of its machine.

    Readings are whole nanoseconds, frequencies multiples of 2^-16 ppm, and what lies between is kept exactly.

    Attributes:
        reports: What it was told of itself, in order.
        failure: When set, ``adjust_frequency``, ``step`` and ``report`` raise it, and ``read`` too when it is GONE.
    """

    def __init__(
        self,
        world: World,
        oscillator: Oscillator,
        leaps: LeapTable,
        model: ClockModel,
        name: str = "system",
        kernel: SimClock | None = None,
        kind: str = "virtual",
    ) -> None:
        """Make a clock; ``kernel`` is the system clock when this is another, which is of that ``kind``."""
        self.reports: list[ClockReport] = []
        self.failure: ClockError | None = None
        self._world = world
        self._id = ClockId(name)
        self._model = model
        self._leaps = leaps
        self._kernel = kernel
        self._rng = world.stream(f"clock/{oscillator.name}/{name}")
        self._line = _Line(world, oscillator, world.units + model.offset.scaled_ns)
        self._epoch = 0
        self._kind = "system" if kernel is None else kind
        self._foreign = NOTHING
        self._tick_due = False

    @property
    def id(self) -> ClockId:
        """Its name."""
        return self._id

    @property
    def leaps(self) -> LeapTable:
        """What it knows of UTC."""
        return self._leaps

    @property
    def lost(self) -> ClockError | None:
        """The failure, when it is that the clock has gone."""
        failure = self.failure
        return failure if failure is not None and failure.trouble is Trouble.GONE else None

    @property
    def kind(self) -> str:
        """``system``; ``virtual`` or ``phc`` for a clock beside it."""
        return self._kind

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
        """The present reading, with the noise of reading it. Raises ClockError when the clock has gone."""
        if self.lost is not None:
            raise self.lost
        return self.stamp(StampSource.USER, self._model.read_noise_s)

    def stamp(self, source: StampSource, noise_s: float) -> Stamp:
        """A stamp of this moment by ``source``, with a standard deviation of ``noise_s``."""
        reading = self._line.reading()
        if noise_s:
            reading += Duration.from_s(self._rng.gauss(0.0, noise_s)).scaled_ns
        return Stamp(self._id, self._epoch, Instant(reading >> 16 << 16), source)

    def exact(self) -> Instant[Tai]:
        """The present reading without noise, for what hangs on the clock itself."""
        return Instant(self._line.reading())

    def stamp_at(self, at: int, source: StampSource, error: Duration = NOTHING) -> Stamp | None:
        """The stamp of true time ``at`` (units) with that error; None when that is too long ago.

        A moment to come is told by the present frequency.
        """
        ahead, epoch = at - self._world.units, self._epoch
        if ahead > 0:
            reading = self._line.reading() + ahead + round(ahead * self.true_frequency().ratio)
        else:
            try:
                reading, epoch = self._line.reading_at(at)
            except ValueError:
                return None
        return Stamp(self._id, epoch, Instant(reading + error.scaled_ns >> 16 << 16), source)

    def true_at(self, reading: Instant[Tai], epoch: int | None = None) -> int | None:
        """The time of ``locate`` alone."""
        found = self.locate(reading, epoch)
        return None if found is None else found[0]

    def locate(self, reading: Instant[Tai], epoch: int | None = None) -> tuple[int, int] | None:
        """The latest true time (units) at which it showed ``reading``, and the epoch then; None if never.

        Only in that epoch, if one is given. It goes back ``HISTORY`` at least, and ahead as far as the present
        frequency reaches.
        """
        wanted = reading.scaled_ns
        now = self._line.reading()
        if wanted >= now and epoch in {None, self._epoch}:
            return self._world.units + round((wanted - now) / (1.0 + self.true_frequency().ratio)), self._epoch
        return next((found for found in self._line.moments(wanted) if epoch in {None, found[1]}), None)

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
        if self._model.held_up_s:
            self._world.run_for(Duration.from_s(self._rng.expovariate(1 / self._model.held_up_s)))
        return Rate.from_kernel(self._line.wanted)

    def step(self, by: Duration) -> None:
        """Add ``by`` to the reading; the epoch goes up by one."""
        self._raise_failure()
        self._epoch += 1
        self._line.step(by.scaled_ns, self._epoch)

    def restart(self) -> None:
        """It lost its power and came back: as far off as it was made, unsteered, in a new epoch."""
        self._line.wanted = 0
        self._line.steer(0)
        self._epoch += 1
        self._line.step(self._model.offset.scaled_ns - self.true_offset().scaled_ns, self._epoch)

    def disturb(self, by: Duration) -> None:
        """Somebody else steps the clock; the epoch does not tell before ``check_foreign``."""
        self._line.step(by.scaled_ns, self._epoch)
        self._foreign += by

    def check_foreign(self) -> str | None:
        """What somebody else did since the last call, in words; the epoch goes up by one if it was a step."""
        by, self._foreign = self._foreign, NOTHING
        if not by:
            return None
        self._epoch += 1
        self._line.step(0, self._epoch)
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

    def free_frequency(self) -> Rate:
        """How much faster than true time its oscillator runs, whatever was done to the clock; for judges."""
        return self._line.free_frequency()

    def elapsed(self) -> int:
        """CLOCK_MONOTONIC of a machine with this system clock: steered as it is, never stepped."""
        return self._line.elapsed()

    def _on_tick(self) -> None:
        self._tick_due = False
        self._line.steer(self._line.wanted)

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of one rate; see ``_Line`` for the names.

    Attributes:
        since: True time from which it holds, in units.
        base: What the oscillator had counted where ``reading`` and ``rest`` were right.
        reading: The reading there.
        rest: What of it lies below one unit, in 1 / KERNEL_UNITS of it.
        steer: The rate, in kernel units.
        epoch: The clock's.
    """

    since: int
    base: int
    reading: int
    rest: int
    steer: int
    epoch: int

    def at(self, count: int) -> int:
        """The reading when the oscillator has counted so far."""
        passed = count - self.base
        return self.reading + passed + (passed * self.steer + self.rest) // KERNEL_UNITS


class _Line:
    """A reading that grows with an oscillator at an adjustable rate, in integers throughout.

    Attributes:
        wanted: The rate asked for, in kernel units; ``steer`` puts one into force.
    """

    def __init__(self, world: World, oscillator: Oscillator, reading: int) -> None:
        self._world = world
        self._oscillator = oscillator
        self._piece = _Piece(world.units, oscillator.elapsed(), reading, 0, 0, 0)
        self._past: deque[_Piece] = deque()
        self._start = reading
        self._stepped = 0
        self.wanted = 0

    def reading(self) -> int:
        """The reading in units of 2^-16 ns."""
        return self._piece.at(self._oscillator.elapsed())

    def reading_at(self, at: int) -> tuple[int, int]:
        """The reading at true time ``at`` and its epoch, after a step of that moment. Raises ValueError."""
        count = self._oscillator.elapsed_at(at)
        if at >= self._piece.since:
            return self._piece.at(count), self._piece.epoch
        for piece in reversed(self._past):
            if piece.since <= at:
                return piece.at(count), piece.epoch
        raise ValueError("the clock did not exist then")

    def moments(self, reading: int) -> Iterator[tuple[int, int]]:
        """The past true times at which it showed ``reading``, each with its epoch, the latest first.

        There are several where it was set back.
        """
        until = self._world.units
        oldest = until - HISTORY
        for piece in (self._piece, *reversed(self._past)):
            since = max(piece.since, oldest)
            if since > until:
                return
            at = self._within(piece, reading, since, until)
            if at is not None:
                yield at, piece.epoch
            until = piece.since

    def elapsed(self) -> int:
        """What was counted since the start, steps left out."""
        return self.reading() - self._start - self._stepped

    def steer(self, kernel_units: int) -> None:
        """Run at another rate from now on."""
        piece, count = self._piece, self._oscillator.elapsed()
        passed = count - piece.base
        whole, rest = divmod(passed * piece.steer + piece.rest, KERNEL_UNITS)
        reading = piece.reading + passed + whole
        self._change(_Piece(self._world.units, count, reading, rest, kernel_units, piece.epoch))

    def step(self, by: int, epoch: int) -> None:
        """Add to the reading, in that epoch from now on."""
        piece = self._piece
        self._change(replace(piece, since=self._world.units, reading=piece.reading + by, epoch=epoch))
        self._stepped += by

    def true_frequency(self) -> Rate:
        """How much faster than true time it grows."""
        free = self.free_frequency().ratio
        steer = self._piece.steer / KERNEL_UNITS
        return Rate(free + steer + free * steer)

    def free_frequency(self) -> Rate:
        """That without any steering."""
        return self._oscillator.true_frequency()

    def _change(self, piece: _Piece) -> None:
        past = self._past
        past.append(self._piece)
        while len(past) > 1 and past[1].since <= piece.since - HISTORY:
            past.popleft()
        self._piece = piece

    def _within(self, piece: _Piece, reading: int, since: int, until: int) -> int | None:
        """When the piece showed ``reading``; the reading grows almost as true time does, so that few turns do."""
        first = piece.at(self._oscillator.elapsed_at(since))
        last = piece.at(self._oscillator.elapsed_at(until))
        if not first <= reading <= last:
            return None
        at, grown = since, last - first
        for _ in range(64):
            missing = reading - piece.at(self._oscillator.elapsed_at(at))
            if abs(missing) <= 1:
                break
            # Multiplied before it is divided, in integers: nothing is lost over a long stretch.
            at = min(max(at + (missing * (until - since) // grown if grown else missing), since), until)
        return at
