"""CLOCK_REALTIME as a ``timesync.host.Clock``: TAI inside, the kernel's UTC outside."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

from timesync.base.ids import ClockId
from timesync.base.measure import Leap, Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import NS_PER_S, Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.host import ClockError, ClockLimits, ClockReport, Trouble
from timesync.runtime.steer_guard import Finding, ProgressWatch, SettingsWatch
from timesync_drivers import abi
from timesync_drivers.clock import ClockState, Progress, join_frequency, max_frequency_scaled_ppm
from timesync_drivers.system import find_time_daemons, suspended_ns

_MAX_ERROR_US = 16_000_000
"""NTP_PHASE_LIMIT of the kernel: with a larger error it calls the clock unsynchronised by itself."""
_MARGIN_PPM = 500
"""Left to us below the hardest limit, so that rounding never meets the kernel's EINVAL."""
_ADVICE = {
    Trouble.PERMISSION: (
        "give the daemon CAP_SYS_TIME (systemd: AmbientCapabilities=CAP_SYS_TIME; "
        "containers: --cap-add SYS_TIME), "
        "or set `discipline: false` for this clock, or discipline a virtual clock instead"
    ),
    Trouble.GONE: "look into the kernel's log for what became of the device",
    Trouble.UNSUPPORTED: "set `discipline: false` for this clock, or discipline a virtual clock instead",
}
_READING_ADVICE = (
    "something keeps the daemon from calling clock_adjtime: a filter of system calls "
    "(systemd: SystemCallFilter= with @clock; containers: --cap-add SYS_TIME, or another seccomp profile)"
)
_TROUBLES = {
    errno.EPERM: Trouble.PERMISSION,
    errno.EACCES: Trouble.PERMISSION,
    errno.ENODEV: Trouble.GONE,
    errno.ENXIO: Trouble.GONE,
}


class Kernel(Protocol):
    """What is needed of ``timesync_drivers.clock.KernelClock``."""

    user_hz: int

    def read_ns(self) -> int:
        """The reading, UTC."""
        ...

    def progress(self) -> Progress:
        """Beside CLOCK_MONOTONIC_RAW."""
        ...

    def state(self) -> ClockState:
        """All that the kernel says."""
        ...

    def set_frequency(self, scaled_ppm: int) -> int:
        """Set, and give back what was taken."""
        ...

    def step(self, by_ns: int) -> None:
        """Add at once."""
        ...

    def set_status(
        self, status: int, *, maximum_error_us: int, estimated_error_us: int, tai: int | None = None
    ) -> None:
        """Set ``STA_`` bits, errors and TAI - UTC."""
        ...

    def cancel_slews(self) -> None:
        """Stop slews left by others."""
        ...


class SystemClock:
    """The system clock. Reading it needs no privilege and changes nothing; the frequency stays at exit."""

    def __init__(
        self,
        clock: ClockId,
        kernel: Kernel,
        table: LeapTable,
        *,
        daemons: Callable[[], list[str]] | None = None,
        suspended: Callable[[], int] = suspended_ns,
    ) -> None:
        """Look at the clock; nothing is changed before it is first adjusted, stepped or reported on.

        Raises ClockError where not even that is allowed.

        Args:
            clock: Its name in the configuration.
            kernel: The driver.
            table: TAI - UTC.
            daemons: Names other programs that may steer the clock; looks into /proc by default.
            suspended: How long the machine has slept since it was started, ns.
        """
        self._id = clock
        self._kernel = kernel
        self._table = table
        self._epoch = 0
        self._taken_over = False
        # Kernel time right after the last forward step: earlier timestamps are of the epoch before.
        self._floor_ns: int | None = None
        self._limits = _limits(kernel)
        find = daemons or _running_daemons
        self._settings = SettingsWatch(find)
        self._progress = ProgressWatch(self._limits.frequency_latency.ns(), find, suspended)
        self._findings: list[Finding] = []
        self._rate_listeners: list[Callable[[float], None]] = []
        try:
            self._look()
        except OSError as error:
            raise _refused("read its state", error, _READING_ADVICE) from error

    @property
    def id(self) -> ClockId:
        """Its name in the configuration."""
        return self._id

    @property
    def kind(self) -> str:
        """``system``."""
        return "system"

    @property
    def epoch(self) -> int:
        """How many times it was stepped, by us or, as far as ``check_foreign`` noticed, by others."""
        return self._epoch

    @property
    def limits(self) -> ClockLimits:
        """What the kernel allows: 10 % less a margin, in effect within a tick."""
        return self._limits

    def read(self) -> Stamp:
        """The present reading in TAI."""
        return Stamp(self._id, self._epoch, self._tai(self._kernel.read_ns()), StampSource.USER)

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        """A kernel timestamp (CLOCK_REALTIME, ns) in TAI.

        None within a second of a leap second, where UTC does not tell which second it was, and for a
        timestamp later than the present: it was taken before the clock was stepped back.
        """
        utc: Instant[Utc] = Instant.from_ns(kernel_ns)
        if self._table.ambiguous(utc) or kernel_ns > self._kernel.read_ns():
            return None
        epoch = self._epoch
        if self._floor_ns is not None and kernel_ns < self._floor_ns:
            epoch -= 1
        return Stamp(self._id, epoch, self._table.tai(utc), source)

    def frequency(self) -> Rate:
        """What ``freq`` and ``tick`` of the kernel make together; positive is faster."""
        return Rate.from_kernel(self._joined(self._kernel.state()))

    def adjust_frequency(self, rate: Rate) -> Rate:
        """Set the frequency; gives back what the kernel took. Raises ClockError."""
        limit = self._limits.max_frequency.to_kernel()
        wanted = max(-limit, min(limit, rate.to_kernel()))
        try:
            self._take_over()
            self._observe()
            before = self._joined(self._kernel.state())
            taken = self._kernel.set_frequency(wanted)
            self._settings.expect(self._kernel.state())
        except OSError as error:
            raise _refused("change its frequency", error) from error
        self._progress.rate_is(taken / 65_536e6, self._kernel.progress().raw_ns, ours=True)
        for listener in self._rate_listeners:
            listener((taken - before) / 65_536e6)
        return Rate.from_kernel(taken)

    def on_rate(self, listener: Callable[[float], None]) -> None:
        """Have ``listener`` called right after each change of our frequency, with the change as a ratio."""
        self._rate_listeners.append(listener)

    def step(self, by: Duration) -> None:
        """Add ``by`` to the TAI reading; the epoch goes up by one. Raises ClockError.

        The span is of TAI: where the step crosses a leap second the kernel's UTC moves by a second more or
        less, so that a board that started in 1970 arrives at the right second. A step that was worked out
        before somebody else moved the clock is refused.
        """
        try:
            self._take_over()
            epoch = self._epoch
            self._observe()
            if self._epoch != epoch:
                raise ClockError(
                    Trouble.UNSUPPORTED,
                    f"the system clock was not stepped by {by}: something else moved it just before",
                    "let only one program steer the clock",
                )
            before = self._kernel.read_ns()
            target = self._table.utc(self._tai(before) + by)
            by_ns = target.ns() - before
            self._kernel.step(by_ns)
            self._settings.expect(self._kernel.state())
        except OSError as error:
            raise _refused(f"step it by {by}", error) from error
        self._stepped(before + by_ns if by_ns > 0 else None)

    def report(self, report: ClockReport) -> None:
        """Tell the kernel how good its clock is, its leap second and TAI - UTC. Raises ClockError."""
        status = 0 if report.synchronized else abi.STA_UNSYNC
        status |= {Leap.INSERT: abi.STA_INS, Leap.DELETE: abi.STA_DEL}.get(report.leap, 0)
        try:
            self._take_over()
            self._observe()
            self._kernel.set_status(
                status,
                maximum_error_us=_clamped_us(report.maximum_error),
                estimated_error_us=_clamped_us(report.estimated_error),
                tai=report.tai_utc,
            )
            self._settings.expect(self._kernel.state())
        except OSError as error:
            raise _refused("set its status", error) from error

    def serving_map(self) -> ServingMap:
        """The identity: kernel timestamps are this clock's UTC."""
        return SYSTEM_MAP

    def check_foreign(self) -> str | None:
        """What something other than us did to the clock since the last call, in sentences; None if nothing.

        Call it about once a second. A step is counted as a new epoch. The kernel's settings are compared once
        we have set them ourselves; steps are noticed always.
        """
        self._observe()
        findings, self._findings = self._findings, []
        return ". ".join(finding.text for finding in findings) or None

    def _observe(self) -> None:
        """Compare settings and progress with what is expected, and count a stranger's step."""
        state = self._kernel.state()
        progress = self._kernel.progress()
        changed = self._settings.check(state)
        self._progress.rate_is(self._joined(state) / 65_536e6, progress.raw_ns, ours=self._taken_over and not changed)
        if changed is not None:
            self._findings.append(changed)
            self._taken_over = False  # the next adjustment stops their slews again
        if self._table.ambiguous(Instant.from_ns(progress.at_ns)):
            return
        moved = self._progress.check(self._tai(progress.at_ns).ns(), progress.raw_ns, progress.window_ns)
        if moved is None:
            return
        self._findings.append(moved)
        self._stepped(progress.at_ns)

    def _stepped(self, floor_ns: int | None) -> None:
        self._epoch += 1
        self._floor_ns = floor_ns
        self._look()

    def _look(self) -> None:
        """Take the clock's present reading as right."""
        state = self._kernel.state()
        progress = self._kernel.progress()
        self._progress.rate_is(self._joined(state) / 65_536e6, progress.raw_ns, ours=self._taken_over)
        self._progress.restart(self._tai(progress.at_ns).ns(), progress.raw_ns)

    def _take_over(self) -> None:
        if not self._taken_over:
            self._kernel.cancel_slews()
            self._settings.expect(self._kernel.state())
            self._taken_over = True

    def _joined(self, state: ClockState) -> int:
        return join_frequency(state.scaled_ppm, state.tick_us, self._kernel.user_hz)

    def _tai(self, utc_ns: int) -> Instant[Tai]:
        """The TAI of a reading that was just taken.

        Around a leap second UTC alone is ambiguous. The kernel counts TAI - UTC along, and tells it together
        with the time; that is used when it is one of the two possible values, so somebody has set it.
        """
        utc: Instant[Utc] = Instant.from_ns(utc_ns)
        if not self._table.ambiguous(utc):
            return self._table.tai(utc)
        state = self._kernel.state()
        utc = Instant.from_ns(state.at_ns)
        two_s = Duration.from_s(2)
        if state.tai in {self._table.tai_utc(utc - two_s), self._table.tai_utc(utc + two_s)}:
            return Instant.from_ns(state.at_ns + state.tai * NS_PER_S)
        return self._table.tai(utc)


def _limits(kernel: Kernel) -> ClockLimits:
    largest = max_frequency_scaled_ppm(kernel.user_hz) - (_MARGIN_PPM << 16)
    return ClockLimits(
        max_frequency=Rate.from_kernel(largest),
        # Kernels run at 100 to 1000 ticks a second; which one cannot be asked, and a tick is when it takes
        # effect.
        frequency_latency=Duration.from_ns(NS_PER_S // 100),
        precision=Duration.from_ns(_precision_ns(kernel)),
    )


def _precision_ns(kernel: Kernel) -> int:
    """The least time between two readings that differ (RFC 5905, 7.3 "precision")."""
    readings = [kernel.read_ns() for _ in range(50)]
    steps = [after - before for before, after in pairwise(readings) if after > before]
    return min(steps, default=1000)


def _clamped_us(span: Duration) -> int:
    return max(0, min(_MAX_ERROR_US, -(-span.ns() // 1000)))


def _running_daemons() -> list[str]:
    return [str(daemon) for daemon in find_time_daemons(own_pid=os.getpid())]


def _refused(what: str, error: OSError, advice: str | None = None) -> ClockError:
    if isinstance(error, ClockError):
        return error
    trouble = _TROUBLES.get(error.errno or 0, Trouble.UNSUPPORTED)
    reason = error.strerror or str(error)
    return ClockError(trouble, f"the system clock did not let us {what}: {reason}", advice or _ADVICE[trouble])
