"""A PTP hardware clock as a ``timesync.host.Clock``: TAI inside, whatever it holds outside, and it may vanish."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import pairwise

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import ServingMap
from timesync.base.time import NS_PER_S, Duration, Instant
from timesync.base.utc import LeapTable
from timesync.host import ClockError, ClockLimits, ClockReport, Trouble
from timesync.runtime.phc_hardware import Hardware, HardwareClock, Surroundings
from timesync.runtime.phc_map import PhcMap
from timesync.runtime.phc_scale import PhcScale, Timescale
from timesync.runtime.phc_slot import PhcSlot
from timesync.runtime.phc_steps import PhcSteps
from timesync.runtime.phc_watch import PhcWatch
from timesync.runtime.steer_guard import culprit
from timesync_drivers import abi
from timesync_drivers.cross import CrossReading
from timesync_drivers.phc import PhcDevice

_LATENCY = Duration.from_ns(100_000)
"""A change of frequency is in force when the system call returns; behind a slow bus that takes so long."""
_LEAP_TOLERANCE_NS = NS_PER_S // 5
_SLEPT_NS = NS_PER_S // 100
"""Less is the noise of reading how long the machine has slept."""
_CROSS_TRIES = 3
_BEND = 1e-7
_JUST_NOW_NS = 2_000_000
_MAX_LONG = (1 << 8 * abi.LONG_SIZE - 1) - 1


class PhcClock:
    """A hardware clock. It keeps its frequency at exit, and is steered only when it is asked to be.

    While the device is away its reading goes on by CLOCK_MONOTONIC_RAW, so that who reads all clocks of the machine is
    not stopped by one; whatever needs the device raises ClockError, GONE. ``reopen`` takes it up again, as a new epoch.
    """

    def __init__(
        self,
        clock: ClockId,
        name: str,
        table: LeapTable,
        *,
        timescale: Timescale = "tai",
        open_device: Callable[[str], Hardware] = PhcDevice,
        around: Surroundings | None = None,
    ) -> None:
        """Open it; nothing is changed on it. Raises ClockError.

        Args:
            clock: Its name in the configuration.
            name: The interface, ``ptpN`` or device file.
            table: TAI - UTC.
            timescale: What it holds.
            open_device: Opens the driver by name.
            around: The rest of the machine.
        """
        self._id = clock
        self._table = table
        self._around = around or Surroundings()
        self._scale = PhcScale(timescale, table)
        self._map = PhcMap()
        self._steps = PhcSteps(self._around)
        self._slot = PhcSlot(name, open_device, self._lost)
        self._set: int | None = None  # the frequency that we have set
        self._take_up()

    @property
    def id(self) -> ClockId:
        """Its name in the configuration."""
        return self._id

    @property
    def kind(self) -> str:
        """``phc``."""
        return "phc"

    @property
    def epoch(self) -> int:
        """How many times it was stepped, by us or, as far as was noticed, by others, or came back after it was away."""
        return self._steps.count

    @property
    def limits(self) -> ClockLimits:
        """What the driver allows."""
        return self._limits

    @property
    def present(self) -> bool:
        """Whether the device is there."""
        return self._slot.present

    @property
    def away(self) -> str | None:
        """Why the device is not in use, with advice; None while it is."""
        return self._slot.away

    @property
    def hardware(self) -> Hardware:
        """The open device, for its pins and channels. Raises ClockError, GONE."""
        return self._slot.device

    def using(self, what: str) -> AbstractContextManager[Hardware]:
        """Do something with the device; OSError becomes ClockError, and a device that has vanished is let go."""
        return self._slot.using(what)

    def read(self) -> Stamp:
        """The present reading in TAI; while the device is away, where it should be."""
        with suppress(ClockError), self.using("read it") as device:
            return self._stamp(device.clock.read_ns(), StampSource.USER)
        return self._stamp(self._watch.estimate(self._around.raw_ns()), StampSource.USER)

    def cross(self) -> CrossReading:
        """Read it beside CLOCK_REALTIME by the best way that the driver has. Raises ClockError."""
        return self._cross(self._map)

    def _cross(self, into: PhcMap) -> CrossReading:
        with self.using("read it beside the system clock") as device:
            for _ in range(_CROSS_TRIES):
                stepped = self._steps.system_stepped()
                reading = device.cross()
                if stepped:
                    into.clear()
                if not self._steps.system_stepped():
                    into.add(reading)
                    return reading
                into.clear()
        raise ClockError(
            Trouble.UNSUPPORTED,
            f"{self._slot.who} cannot be read beside the system clock, which is stepped again and again",
            "let only one program steer the system clock",
        )

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        """What this clock read when CLOCK_REALTIME read ``kernel_ns``, through readings of both before and after.

        None next to a leap second, before a step of either clock, in the future and when the device is away.
        """
        if self._table.ambiguous(Instant.from_ns(kernel_ns)):
            return None
        if not self._map.covers(kernel_ns):
            try:
                self.cross()
            except ClockError:
                return None
        reading = self._map.device_at(kernel_ns)
        return None if reading is None else self._stamp(reading, source)

    def stamp_of(self, reading: CrossReading) -> Stamp:
        """The stamp of a reading that ``cross`` has just given."""
        return self._stamp(reading.device_ns, StampSource.KERNEL)

    def stamp_raw(self, phc_ns: int, source: StampSource = StampSource.HARDWARE) -> Stamp | None:
        """A stamp that the hardware took by this clock, ns on the clock's own scale.

        None in the seconds after a step when it may have been taken before that.
        """
        if self._steps.unsettled() and not self._steps.after(phc_ns, self._reading_ns()):
            return None
        return self._stamp(phc_ns, source)

    def frequency(self) -> Rate:
        """The adjustment in force, as the kernel says; the last one known while the device is away."""
        with suppress(ClockError), self.using("tell its frequency") as device:
            return Rate.from_kernel(device.clock.state().scaled_ppm)
        return Rate(self._watch.steering)

    def adjust_frequency(self, rate: Rate) -> Rate:
        """Run faster by ``rate`` than the oscillator; clamped, and rounded to 2^-16 ppm. Raises ClockError."""
        limit = self._limits.max_frequency.to_kernel()
        wanted = max(-limit, min(limit, rate.to_kernel()))
        with self.using("change its frequency") as device:
            if limit == 0:
                raise ClockError(
                    Trouble.UNSUPPORTED,
                    f"{self._slot.who} takes no frequency adjustment",
                    "set `discipline: false` for this clock: it can only be read",
                )
            self._observe(device)
            taken = device.clock.set_frequency(wanted)
            if self._set is None:
                self._watch.relearn()
            self._set = taken
            before = self._watch.steering
            self._watch.rate_is(taken / 65_536e6, self._around.raw_ns(), ours=True)
        # A reading right here, so that the map bends where the frequency did.
        with suppress(ClockError):
            self.cross()
        self._map.rate_changed(self._watch.steering - before)
        return Rate.from_kernel(taken)

    def system_rate_changed(self, by: float) -> None:
        """CLOCK_REALTIME has just been made faster by ``by``, a ratio: read both, since the map bends here.

        Between readings half a second apart a slew of 5000 ppm would put a pulse some 100 µs beside its place.
        """
        if not self.present:
            return
        with suppress(ClockError):
            self.cross()
        # A change within what is read off by chance is left to learning, which would else begin anew at each.
        if abs(by) > _BEND:
            self._map.rate_changed(-by)

    def step(self, by: Duration) -> None:
        """Add ``by`` to the TAI reading; the epoch goes up by one. Raises ClockError.

        Where the clock holds UTC and the step crosses a leap second the hardware moves by a second more or less. A
        step that was worked out before somebody else moved the clock is refused.
        """
        with self.using(f"step it by {by}") as device:
            epoch = self.epoch
            self._observe(device)
            if self.epoch != epoch:
                raise ClockError(
                    Trouble.UNSUPPORTED,
                    f"{self._slot.who} was not stepped by {by}: something else moved it just before",
                    "let only one program steer the clock",
                )
            before = device.clock.read_ns()
            target = self._scale.reading_ns(self._scale.tai(before) + by)
            device.clock.step(target - before)
            self._scale.settle(target)
            self._stepped(device, before, target)

    def report(self, report: ClockReport) -> None:
        """Nothing: a hardware clock has no place to keep it."""

    def serving_map(self) -> ServingMap:
        """How kernel timestamps become this clock's UTC, by a fresh reading of both clocks."""
        try:
            reading = self.cross()
        except ClockError:
            kernel_ns = self._around.real_ns()
            utc = self._table.utc(self.read().at)
        else:
            kernel_ns = reading.system_ns
            utc = self._table.utc(self._scale.tai(reading.device_ns))
        return ServingMap(kernel_ns, utc.ns() - kernel_ns, self._map.rate)

    def kernel_map(self) -> ServingMap | None:
        """How the hardware's stamps, on its own scale, become kernel timestamps (CLOCK_REALTIME).

        None in the seconds after a step, when stamps from before may still come, before the rate is known and while
        the device is away. The reading is that of ``serving_map`` where that was asked just before: its error then
        drops out of the two together.
        """
        newest = self._map.newest
        try:
            if newest is None or not 0 <= self._around.real_ns() - newest.system_ns <= _JUST_NOW_NS:
                newest = self.cross()
        except ClockError:
            return None
        if not self.present or self._steps.unsettled() or not self._map.known:
            return None
        return ServingMap(newest.device_ns, newest.system_ns - newest.device_ns, 1.0 / self._map.rate)

    def check_foreign(self) -> str | None:
        """What something other than us did to the clock since the last call, in sentences; None if nothing.

        Call it about once a second: it also steps a clock that holds UTC at a leap second, if we are the ones who
        steer it, and notices that the device has vanished.
        """
        with suppress(ClockError), self.using("compare it with CLOCK_MONOTONIC_RAW") as device:
            self._observe(device)
            self._hold_utc(device)
        return self._steps.told()

    def reopen(self) -> bool:
        """Take the device up again if it is back; whether that was so.

        Raises ClockError when it is there but refuses; ``away`` says why from then on.
        """
        if self.present:
            return False
        try:
            self._take_up()
        except ClockError as error:
            self._slot.stay_away(error)
            if error.trouble is Trouble.GONE:
                return False
            raise
        self._steps.note(f"{self._slot.who} is back")
        self._steps.count += 1
        self._steps.tell()
        return True

    def on_moved(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called after each step and each return of the device; gives what ends that."""
        return self._steps.listen(listener)

    def close(self) -> None:
        """Let the device go."""
        self._slot.close()

    def _take_up(self) -> None:
        self._slot.open()
        self._set = None
        # Kept apart until all has worked: after a failure the reading goes on from the old ones, in the same epoch.
        bridge = PhcMap()
        try:
            with self.using("read it") as device:
                limits = _limits(device)
                progress = device.clock.progress()
                watch = PhcWatch(_LATENCY.ns(), progress, self._around.slept_ns())
                watch.rate_is(device.clock.state().scaled_ppm / 65_536e6, progress.raw_ns, ours=True)
            self._cross(bridge)
        except ClockError:
            self.close()
            raise
        self._limits, self._watch, self._map = limits, watch, bridge
        self._scale.settle(progress.at_ns)

    def _lost(self, who: str) -> None:
        self._steps.note(f"{who} has vanished: its time is only reckoned until it is back")
        self._set = None
        self._map.clear()

    def _observe(self, device: Hardware) -> None:
        """Compare frequency and progress with what is expected, and count a stranger's step."""
        clock: HardwareClock = device.clock
        state, progress = clock.state(), clock.progress()
        changed = self._set is not None and state.scaled_ppm != self._set
        before = self._watch.steering
        self._watch.rate_is(state.scaled_ppm / 65_536e6, progress.raw_ns, ours=self._set is not None and not changed)
        if changed and self._set is not None:
            present, wanted = state.scaled_ppm / 65_536, self._set / 65_536
            self._steps.note(
                f"{self._culprit()} steers {self._slot.who} too: its frequency is {present:+.4f} ppm where "
                f"{wanted:+.4f} ppm was set"
            )
            self._set = state.scaled_ppm
        if self._watch.steering != before:
            self._map.rate_changed(self._watch.steering - before)
        expected = self._watch.estimate(progress.raw_ns)
        slept = self._watch.slept_ns(self._around.slept_ns())
        moved = self._watch.check(progress, self._around.slept_ns())
        if moved is None:
            return
        leap = self._scale.leap_step_s(expected)
        if leap and abs(moved - leap * NS_PER_S) < _LEAP_TOLERANCE_NS:
            self._scale.leapt(leap)
        else:
            self._scale.settle(progress.at_ns)
            suspended = slept > _SLEPT_NS
            cause = f"while the machine was suspended for {slept / 1e9:.1f} s" if suspended else f"by {self._culprit()}"
            self._steps.note(f"{self._slot.who} was moved by {moved / 1e6:+.3f} ms {cause}")
        self._stepped(device, expected, progress.at_ns)

    def _hold_utc(self, device: Hardware) -> None:
        """Step a clock that holds UTC and is ours at a leap second; its TAI goes on as it was."""
        before = device.clock.read_ns()
        due = self._scale.due_s(before)
        if not due or self._set is None:
            return
        device.clock.step(due * NS_PER_S)
        self._scale.leapt(due)
        self._steps.note(f"{self._slot.who} holds UTC and was stepped by {due:+d} s for the leap second")
        self._stepped(device, before, before + due * NS_PER_S)

    def _stepped(self, device: Hardware, before_ns: int, after_ns: int) -> None:
        self._steps.stepped(before_ns, after_ns)
        self._map.clear()
        self._watch.restart(device.clock.progress(), self._around.slept_ns())
        with suppress(ClockError):
            self.cross()
        self._steps.tell()

    def _reading_ns(self) -> int:
        with suppress(ClockError), self.using("read it") as device:
            return device.clock.read_ns()
        return self._watch.estimate(self._around.raw_ns())

    def _stamp(self, reading_ns: int, source: StampSource) -> Stamp:
        return Stamp(self._id, self.epoch, self._scale.tai(reading_ns), source)

    def _culprit(self) -> str:
        return culprit(self._around.daemons())


def _limits(device: Hardware) -> ClockLimits:
    # The kernel compares (freq + 1) * 125 >> 13 with max_adj (scaled_ppm_to_ppb in ptp_clock_kernel.h).
    largest = max(0, min(device.capabilities.max_adj_ppb * 8192 // 125 - 1, _MAX_LONG))
    readings = [device.clock.read_ns() for _ in range(10)]
    steps = [after - before for before, after in pairwise(readings) if after > before]
    return ClockLimits(Rate.from_kernel(largest), _LATENCY, Duration.from_ns(min(steps, default=1000)))
