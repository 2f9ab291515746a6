"""Independent readers of clocks: linuxptp's ``phc_ctl`` and Debian's ``ppstest``; none of our own code.

``phc_ctl DEVICE cmp`` tells CLOCK_REALTIME less the hardware clock, ``ppstest`` what CLOCK_REALTIME read at a pulse.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hw_programs import running

NS_PER_S = 1_000_000_000
_COMPARED = re.compile(r"phc_ctl\[(\d+\.\d+)\]: offset from CLOCK_REALTIME is (-?\d+)ns")
_EDGE = re.compile(r"assert (\d+)\.(\d{9}), sequence: (\d+)")

Series = list[tuple[float, float]]
"""Seconds of CLOCK_MONOTONIC, and an offset in ns."""


@dataclass(frozen=True)
class Watched:
    """What the readers told over some time.

    Attributes:
        compared: By device: CLOCK_REALTIME less the hardware clock.
        edges: What CLOCK_REALTIME read at each pulse, ns.
        monotonic_ns: CLOCK_REALTIME less CLOCK_MONOTONIC, by which phc_ctl dates its lines, ns.
    """

    compared: dict[str, Series]
    edges: list[int]
    monotonic_ns: int

    def against(self, device: str, truth: str) -> Series:
        """A hardware clock less another one."""
        return [
            (at, there - here)
            for at, here in self.compared[device]
            if (there := interpolated(self.compared[truth], at)) is not None
        ]

    def system_against(self, truth: str) -> Series:
        """CLOCK_REALTIME less a hardware clock."""
        return self.compared[truth]

    def system_at_pulses(self) -> list[float]:
        """CLOCK_REALTIME less the nearest full second, at each pulse, ns."""
        return [beside_second(edge) for edge in self.edges]

    def at_pulses(self, device: str) -> list[float]:
        """A hardware clock less its nearest full second, at each pulse, ns; TAI and UTC have the same."""
        found = []
        for edge in self.edges:
            ahead = interpolated(self.compared[device], (edge - self.monotonic_ns) / NS_PER_S)
            if ahead is not None:
                found.append(beside_second(edge - round(ahead)))
        return found


def watch(devices: Sequence[str], pps: str | None, seconds: int, directory: Path) -> Watched:
    """Read once a second, for so long."""
    directory.mkdir(parents=True, exist_ok=True)
    edges = directory / "ppstest"
    with ExitStack() as stack:
        if pps is not None:
            stack.enter_context(running(["ppstest", pps], edges))
        words = ["cmp", *("wait", "1", "cmp") * seconds]
        said = {device: directory / f"phc_ctl.{Path(device).name}" for device in devices}
        # To files: a reader whose pipe is full waits, and reads no more.
        readers = [
            stack.enter_context(running(["phc_ctl", "-q", device, "--", *words], said[device])) for device in devices
        ]
        for reader in readers:
            reader.wait(20 * seconds + 60)
    monotonic_ns = time.time_ns() - time.monotonic_ns()
    seen: dict[int, int] = {}
    if pps is not None:
        for found in _EDGE.finditer(edges.read_text()):
            seen[int(found[3])] = int(found[1]) * NS_PER_S + int(found[2])
    watched = Watched(
        {device: compared(file.read_text()) for device, file in said.items()}, list(seen.values()), monotonic_ns
    )
    for device, series in watched.compared.items():
        assert len(series) > 0.9 * seconds, f"phc_ctl {device} said:\n{said[device].read_text()[:2000]}"
    return watched


def compared(text: str) -> Series:
    """What a run of phc_ctl says."""
    return [(float(found[1]), float(found[2])) for found in _COMPARED.finditer(text)]


def interpolated(series: Series, at: float) -> float | None:
    """The offset between two readings; None outside of them."""
    index = bisect_left(series, (at, float("-inf")))
    if index < len(series) and series[index][0] == at:
        return series[index][1]
    if not 0 < index < len(series):
        return None
    (t0, x0), (t1, x1) = series[index - 1], series[index]
    return x0 + (x1 - x0) * (at - t0) / (t1 - t0)


def beside_second(ns: float) -> float:
    """Less the nearest full second, ns."""
    return (ns + NS_PER_S // 2) % NS_PER_S - NS_PER_S // 2


@dataclass(frozen=True)
class Figures:
    """How a clock did.

    Attributes:
        rms_ns: Root of the mean square of its error.
        mean_ns: Mean of its error.
        worst_ns: The largest error, signed.
    """

    rms_ns: float
    mean_ns: float
    worst_ns: float

    def __str__(self) -> str:
        return f"rms {self.rms_ns:.1f} ns, mean {self.mean_ns:+.1f} ns, worst {self.worst_ns:+.0f} ns"


def figures(errors_ns: Sequence[float]) -> Figures:
    """Of these errors."""
    assert errors_ns, "nothing was read"
    return Figures(fmean(error * error for error in errors_ns) ** 0.5, fmean(errors_ns), max(errors_ns, key=abs))


def settled_after(series: Series, limit_ns: float) -> float:
    """Seconds from the first reading to the last one beyond the limit."""
    start = series[0][0]
    return max((at - start for at, error in series if abs(error) > limit_ns), default=0.0)


def after(series: Series, seconds: float) -> list[float]:
    """The offsets read later than so long after the first."""
    start = series[0][0]
    return [offset for at, offset in series if at - start >= seconds]
