"""Recordings of simulated worlds: the daemon's own code, with a tape."""

from __future__ import annotations

from timesync.base.time import Duration, Instant, Mono
from timesync.config.scenario import read_scenario
from timesync.daemon import simulate as simulation
from timesync.daemon.appliance import Appliance
from timesync.daemon.leap import load_leap_table
from timesync.observe.records.rows import Row
from timesync.observe.records.taped import Tape

WAN = """
name: recorded
description: Two servers, one of them much nearer, for a recording.
duration: 40min
settle: 10min
world:
  clock: {offset: 30ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: near, delay: 200us, jitter: {exponential: 20us}}
    - {name: far, delay: 10ms, jitter: {exponential: 1ms}}
config:
  sources:
    - {ntp: near, poll: [8s, 16s]}
    - {ntp: far, poll: [16s, 16s]}
"""


class Recorded(Appliance):
    """An appliance that is recorded from its beginning."""

    tapes: list[list[Row]]

    def start(self) -> None:
        kept: list[Row] = []

        def take(batch: list[Row]) -> bool:
            kept.extend(batch)
            return True

        def mono() -> Instant[Mono]:
            return self.mono()

        def utc_ns() -> int:
            # The simulated clock starts near the truth; any day will do.
            return 1_767_225_600_000_000_000 + mono().ns()

        tape = Tape(take, utc_ns, mono)
        tape.add(tape.opening(self.controller, self.now(), continues=False))
        self.controller.tape = tape
        self.tapes.append(kept)
        super().start()

    def stop(self) -> None:
        super().stop()
        if self.controller.tape is not None:
            self.controller.tape.flush()


def record(text: str, seed: int = 1) -> tuple[list[Row], simulation.Result]:
    """What a scenario's daemon was told and did, and how it really fared."""
    scenario, loaded = read_scenario(text.encode(), "recorded.yaml")
    table, _ = load_leap_table()
    Recorded.tapes = []
    usual = simulation.Appliance
    simulation.Appliance = Recorded  # type: ignore[misc]
    try:
        result = simulation.simulate(scenario, loaded.config, table, seed, keep=True)
    finally:
        simulation.Appliance = usual  # type: ignore[misc]
    return [row for tape in Recorded.tapes for row in tape], result


def seconds(value: float) -> Duration:
    """So long."""
    return Duration.from_s(value)
