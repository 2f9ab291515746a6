"""What a quartz really does: error, wander, noise, temperature, ageing and sudden changes."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration
from timesync.sim.world import World

DAY_S = 86_400.0
NO_CHANGE = Rate(0.0)
SECOND = Duration(UNITS_PER_S)
HISTORY = 16 * UNITS_PER_S
"""How far back ``elapsed_at`` goes at least, in units of 2^-16 ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """A sine in the frequency, such as day and night or an air conditioner make it.

    Attributes:
        amplitude: Largest departure of the frequency.
        period: From one maximum to the next.
        phase: Where in the sine the world starts, in radians; 0 is the rising zero.
    """

    amplitude: Rate
    period: Duration
    phase: float = 0.0

    def frequency(self, at_s: float) -> float:
        """The departure (ratio) so many seconds after the start."""
        return self.amplitude.ratio * math.sin(math.tau * at_s / self.period.s() + self.phase)

    def gained(self, since_s: float, until_s: float) -> float:
        """The integral of ``frequency`` in seconds; by the product form, so that no digits cancel."""
        turn = math.tau / self.period.s()
        middle = turn * (since_s + until_s) / 2 + self.phase
        half = turn * (until_s - since_s) / 2
        return 2 * self.amplitude.ratio / turn * math.sin(middle) * math.sin(half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quartz:
    """The figures of an oscillator.

    Attributes:
        frequency_error: At the start.
        wander: Random-walk FM: standard deviation of the frequency after one second (ratio).
        white_fm: White FM: standard deviation of the frequency averaged over one second (ratio).
        ageing_per_day: Steady change of the frequency in a day.
        temperature: Periodic changes, added up.
        segment: Grid on which the noise is drawn; between its points the curve is smooth.
    """

    frequency_error: Rate = NO_CHANGE
    wander: float = 0.0
    white_fm: float = 0.0
    ageing_per_day: Rate = NO_CHANGE
    temperature: tuple[Temperature, ...] = ()
    segment: Duration = SECOND


@dataclass(slots=True)
class _Segment:
    """One stretch of the grid; what is gained over true time is a cubic, in seconds from its start.

    The cubic has the frequencies and the phases that were drawn for both ends; between them it is the mean of
    an integrated Brownian motion with these ends.
    """

    start: int
    length_s: float
    linear: float
    square: float
    cube: float

    def gained(self, s: float) -> float:
        return s * (self.linear + s * (self.square + s * self.cube))

    def frequency(self, s: float) -> float:
        return self.linear + s * (2 * self.square + s * 3 * self.cube)


@dataclass(frozen=True, slots=True)
class _Past:
    """How it counted from ``since`` (units of true time) on; the names are the oscillator's own."""

    since: int
    segment: _Segment
    units: int
    rest: float
    bend: float
    bent: float

    def elapsed(self, at: int) -> int:
        passed = at - self.segment.start
        s = passed / UNITS_PER_S
        gained = self.segment.gained(s) + self.bend * s - self.bent
        return self.units + passed + math.floor(gained * UNITS_PER_S + self.rest)


class Oscillator:
    """Counts its own seconds in a world of true ones.

    It is drawn on a grid that does not depend on when it is read, so that to look at a clock (as judges do)
    changes nothing. The integer part of what it gained is kept in units of 2^-16 ns and the rest as a float
    below one unit, so that rounding stays under 1 ps over weeks.

    Attributes:
        name: Names its random stream too, so it must be unique in its world.
    """

    def __init__(self, world: World, name: str, quartz: Quartz) -> None:
        self.name = name
        self._world = world
        self._quartz = quartz
        self._rng = world.stream(f"oscillator/{name}")
        self._start = world.units
        self._units = 0
        self._rest = 0.0
        self._walk = quartz.frequency_error.ratio
        # Sudden changes inside the present segment: gained += bend * s - bent.
        self._bend = 0.0
        self._bent = 0.0
        self._segment = self._draw(world.units)
        self._since = world.units
        self._past: deque[_Past] = deque()

    def elapsed(self) -> int:
        """Its own time since it was made, in units of 2^-16 ns."""
        s = self._position()
        segment = self._segment
        gained = segment.gained(s) + self._bend * s - self._bent
        passed = self._world.units - segment.start
        return self._units + passed + math.floor(gained * UNITS_PER_S + self._rest)

    def elapsed_at(self, at: int) -> int:
        """What ``elapsed`` was at true time ``at`` (units), which lies in the past; exact for ``HISTORY``.

        Raises ValueError for a time before that, or one to come.
        """
        self._position()
        if at > self._world.units:
            raise ValueError("the future is not drawn yet")
        if at >= self._since:
            return self._present().elapsed(at)
        for past in reversed(self._past):
            if past.since <= at:
                return past.elapsed(at)
        raise ValueError(f"{Duration(self._world.units - at)} ago is forgotten")

    def true_frequency(self) -> Rate:
        """How much faster than true time it runs at this moment."""
        s = self._position()
        return Rate(self._segment.frequency(s) + self._bend)

    def step_frequency(self, by: Rate) -> None:
        """A sudden and lasting change, such as a shock or a jump in temperature makes it."""
        s = self._position()
        self._keep(self._world.units)
        self._bend += by.ratio
        self._bent += by.ratio * s

    def _position(self) -> float:
        """Seconds into the segment that holds the present moment; earlier segments are finished first."""
        length = self._quartz.segment.scaled_ns
        while self._world.units - self._segment.start >= length:
            self._finish()
        return (self._world.units - self._segment.start) / UNITS_PER_S

    def _present(self) -> _Past:
        return _Past(self._since, self._segment, self._units, self._rest, self._bend, self._bent)

    def _keep(self, until: int) -> None:
        """What held up to ``until`` becomes the past."""
        past = self._past
        past.append(self._present())
        while len(past) > 1 and past[1].since <= until - HISTORY:
            past.popleft()
        self._since = until

    def _finish(self) -> None:
        """Close the segment and draw the next one."""
        segment = self._segment
        self._keep(segment.start + self._quartz.segment.scaled_ns)
        s = segment.length_s
        gained = (segment.gained(s) + self._bend * s - self._bent) * UNITS_PER_S + self._rest
        whole = math.floor(gained)
        length = self._quartz.segment.scaled_ns
        self._units += length + whole
        self._rest = gained - whole
        self._walk += self._bend
        self._bend = self._bent = 0.0
        self._segment = self._draw(segment.start + length)

    def _draw(self, start: int) -> _Segment:
        """The next stretch of the random walk.

        Over a time dt the increments of phase and frequency of a random walk of density q have the covariance
        q * [dt^3 / 3, dt^2 / 2; dt^2 / 2, dt], here drawn by its Cholesky factor; q is ``wander`` squared.
        """
        quartz, gauss = self._quartz, self._rng.gauss
        dt = quartz.segment.s()
        since = (start - self._start) / UNITS_PER_S
        constant = self._walk
        frequency_step = phase_step = 0.0
        if quartz.wander:
            first, second = gauss(0.0, 1.0), gauss(0.0, 1.0)
            frequency_step = quartz.wander * math.sqrt(dt) * first
            phase_step = quartz.wander * dt * math.sqrt(dt) * (first / 2 + second / math.sqrt(12))
        if quartz.white_fm:
            constant += gauss(0.0, quartz.white_fm / math.sqrt(dt))
        begin = end = gained = 0.0
        for sine in quartz.temperature:
            begin += sine.frequency(since)
            end += sine.frequency(since + dt)
            gained += sine.gained(since, since + dt)
        ageing = quartz.ageing_per_day.ratio / DAY_S
        begin += ageing * since
        end += ageing * (since + dt) + frequency_step
        gained += ageing * (since + dt / 2) * dt + phase_step
        self._walk += frequency_step
        # The cubic through (0, 0) and (dt, gained) with the slopes begin and end.
        square = 3 * gained / dt**2 - (2 * begin + end) / dt
        cube = (begin + end) / dt**2 - 2 * gained / dt**3
        return _Segment(start, dt, constant + begin, square, cube)
