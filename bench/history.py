"""A week of history: how long it takes to keep, how big its file is, and how much is written to the card.

    bench/history.py [DAYS]

Three clocks, eight sources and two PTP ports, one state a second, in virtual time; values as noisy as real ones.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from timesync.observe.history.series import Extractor
from timesync.observe.history.store import History

SIZE = 64_000_000
FLUSH_S = 300
START_S = 1_790_000_000
NS = 1_000_000_000


def state(rng: random.Random, at_s: int) -> dict[str, Any]:
    clocks = [
        {
            "name": name, "offset_s": rng.gauss(0, 1e-8), "offset_uncertainty_s": 1e-8 + rng.random() * 1e-9,
            "error_bound_s": 1e-7 + rng.random() * 1e-8, "frequency_ppm": 12 + rng.gauss(0, 1e-3),
            "frequency_uncertainty_ppm": 1e-3, "steering_ppm": -12 + rng.gauss(0, 1e-3),
        }
        for name in ("system", "eth0", "eth1")
    ]  # fmt: skip
    details = {"satellites_used": rng.randrange(6, 14), "satellites_seen": rng.randrange(10, 20), "latency_s": 0.15}
    sources = [
        {
            "name": f"source{number}", "offset_s": rng.gauss(0, 1e-5), "delay_s": 1e-3 + rng.random() * 1e-4,
            "jitter_s": 1e-5 + rng.random() * 1e-6, "details": details if number == 0 else {},
        }
        for number in range(8)
    ]  # fmt: skip
    ports = [
        {"name": name, "domain": 0, "offset_s": rng.gauss(0, 1e-8), "mean_delay_s": 3e-7 + rng.gauss(0, 1e-9)}
        for name in ("eth0", "eth1")
    ]
    counters = dict.fromkeys(("received", "answered", "limited", "denied", "nts"), at_s * 100)
    return {
        "utc_ns": at_s * NS, "status": {"clocks": clocks, "serving": {"counters": counters}}, "sources": sources,
        "ports": ports,
    }  # fmt: skip


def written() -> int:
    """Octets that this process has caused to be written to storage."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))


def main() -> None:
    days = float(sys.argv[1]) if len(sys.argv) > 1 else 7.0
    rng = random.Random(1)
    # What a state costs is the daemon's own affair: a few are made once, and told again and again.
    states = [state(rng, START_S + number) for number in range(997)]
    extractor = Extractor()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        history = History.open(path, SIZE, print)
        before, largest = written(), 0
        kept_s = flushed_s = 0.0
        for second in range(round(days * 86_400)):
            at_s = START_S + second
            now = states[second % len(states)]
            now["utc_ns"] = at_s * NS
            now["status"]["serving"]["counters"] = dict.fromkeys(("received", "answered", "nts"), at_s * 100)
            began = time.process_time()
            history.add(at_s * NS, extractor.values(now))
            kept_s += time.process_time() - began
            if second % FLUSH_S == FLUSH_S - 1:
                began = time.process_time()
                history.flush()
                flushed_s += time.process_time() - began
                largest = max(largest, path.stat().st_size)
        print(f"{days:g} days of {len(history.series())} series: {kept_s / days / 864:.3f} % of a core to keep,")
        print(f"  {flushed_s / days / 864:.3f} % to write; file: at most {largest / 1e6:.1f} of {SIZE / 1e6:.0f} MB;")
        print(f"  {(written() - before) / days / 1e6:.0f} MB written a day, every {FLUSH_S} s")
        end = START_S + round(days * 86_400)
        for name, span, points in (("an hour", 3600, 600), ("a day", 86_400, 600), ("the week", 604_800, 600)):
            began = time.perf_counter()
            got = history.query("clock/system/offset_s", end - span, end, points)
            known = sum(value is not None for value in got.mean)
            print(
                f"  {name}: {known} of {len(got.mean)} steps of {got.step_s} s, in {time.perf_counter() - began:.3f} s"
            )


if __name__ == "__main__":
    main()
