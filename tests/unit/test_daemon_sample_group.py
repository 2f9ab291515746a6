"""Samples of other programs: shared memory and SOCK datagrams, checked before they are believed."""

from __future__ import annotations

import struct
from functools import partial

import pytest
from group_support import SYSTEM, Stand
from sim_devices_support import Scene
from sim_support import leap_table

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Coarse, Leap
from timesync.base.time import Duration, Instant
from timesync.config.sources import ShmSource, SockSource
from timesync.daemon.sample_group import ShmGroup, SockGroup
from timesync.sim.hardware import Hardware
from timesync.wire import shm, sock

PATH = "/run/ref.sock"
AHEAD_NS = 250_000_000


class Writer:
    """gpsd, as it writes: the reference is a quarter of a second ahead of the kernel's clock."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.count = 0
        self.leap = Leap.NONE
        self.age_ns = 0

    @property
    def kernel_ns(self) -> int:
        return self.stand.scene.system.utc_ns() - self.age_ns

    def shm(self) -> None:
        self.count += 1
        now = self.kernel_ns
        sample = shm.ShmSample(now + AHEAD_NS, now, self.leap, -20, self.count)
        self.stand.scene.devices.segments[2] = shm.encode(sample)

    def send(self, data: bytes) -> None:
        self.stand.scene.devices.open_outbox(PATH).send(data)

    def sock(self) -> None:
        now = self.kernel_ns
        self.send(sock.encode(sock.SockSample(now // 1000, AHEAD_NS / 1e9, leap=self.leap)))

    def pulse(self, past_ns: int = 0) -> None:
        """Told a little after the edge, at which the clock had passed its second by ``past_ns``.

        That is how chronyd takes it: its refclock.c has ``offset = -second`` for what the driver hands over.
        """
        edge = self.kernel_ns // 1_000_000_000 * 1_000_000_000 + past_ns
        self.send(sock.encode(sock.SockSample(edge // 1000, past_ns / 1e9 + 5.0, pulse=True)))


def _shm() -> tuple[Stand, ShmGroup, Writer]:
    stand = Stand(Scene(Hardware()))
    return stand, ShmGroup(ShmSource.model_validate({"shm": 2}), SYSTEM, stand.around), Writer(stand)


def _sock() -> tuple[Stand, SockGroup, Writer]:
    stand = Stand(Scene(Hardware()))
    return stand, SockGroup(SockSource.model_validate({"sock": PATH}), SYSTEM, stand.around), Writer(stand)


def _every(first: float, last: float, act: object) -> list[tuple[float, object]]:
    return [(first + index, act) for index in range(round(last - first))]


def test_samples_in_shared_memory_are_taken_once_each() -> None:
    stand, group, writer = _shm()
    stand.play(group, 12.0, *_every(1.1, 10.1, writer.shm))  # type: ignore[arg-type]
    assert ["shm:2"] == stand.added == stand.removed
    assert 9 == len(stand.heard)
    for _, source, m in stand.heard:
        assert SourceId("shm:2") == source
        assert abs(m.offset.s() + 0.25) < 1e-8, "the clock is behind the reference"
        assert m.quality is not None
        assert (0, b"SHM\0", 2.0**-20) == (m.quality.stratum, m.quality.reference_id, m.quality.precision_s)
    assert "segment 0x4e545032" == group.facts()[SourceId("shm:2")].address


def test_a_segment_that_is_not_there_yet_is_waited_for() -> None:
    stand, group, writer = _shm()
    stand.play(group, 12.0, *_every(5.1, 10.1, writer.shm))  # type: ignore[arg-type]
    assert ["device-lost", "device-back"] == [note.name for note in stand.notes]
    assert len(stand.heard) >= 3


def test_a_segment_that_is_removed_is_attached_anew() -> None:
    stand, group, writer = _shm()
    remove = partial(stand.scene.devices.segments.pop, 2)
    stand.play(group, 30.0, (1.1, writer.shm), (3.0, remove), *_every(10.1, 15.1, writer.shm))  # type: ignore[arg-type]
    assert ["device-lost", "device-back", "device-lost", "device-back"] == [note.name for note in stand.notes][-4:]
    assert max(at for at, _, _ in stand.heard) > 14


def test_a_writer_at_work_is_not_disturbed() -> None:
    stand, group, writer = _shm()
    writing = stand.scene.devices.writing
    stand.play(group, 6.0, (1.1, writer.shm), (1.11, partial(writing.add, 2)), (4.0, partial(writing.discard, 2)))
    assert 1 == len(stand.heard)
    assert stand.heard[0][0] > 4.0


def test_a_writer_that_is_not_synchronized_is_excluded_in_words() -> None:
    stand, group, writer = _shm()
    writer.leap = Leap.UNKNOWN
    stand.play(group, 3.0, (1.1, writer.shm))
    assert [] == stand.heard
    assert "its writer says that it is not synchronized" == stand.statuses[-1].excluded


def test_what_is_old_or_malformed_is_counted_and_not_used() -> None:
    stand, group, writer = _shm()
    writer.age_ns = 20_000_000_000

    def spoil() -> None:
        data = bytearray(shm.encode(shm.ShmSample(1, 1, Leap.NONE, -20, 1)))
        struct.pack_into("@i", data, 0, 9)
        stand.scene.devices.segments[2] = bytes(data)

    stand.play(group, 30.0, (17.1, writer.shm), (22.0, spoil))
    assert [] == stand.heard
    drops = group.facts()[SourceId("shm:2")].drops
    assert 1 == drops.get("old", 0) + drops.get("stamp", 0)
    assert drops["malformed"] > 10


def test_silence_is_missed_every_sixteen_seconds() -> None:
    stand, group, writer = _shm()
    stand.play(group, 17 * 9.0, (1.1, writer.shm))
    assert 0 == stand.statuses[-1].reach


def test_datagrams_are_samples_of_when_they_say() -> None:
    stand, group, writer = _sock()
    stand.play(group, 12.0, *_every(1.1, 10.1, writer.sock))  # type: ignore[arg-type]
    assert 9 == len(stand.heard)
    for _, source, m in stand.heard:
        assert SourceId(f"sock:{PATH}") == source or PATH in source
        assert abs(m.offset.s() + 0.25) < 1e-8
        assert m.quality is not None
        assert b"SOCK" == m.quality.reference_id


def test_a_pulse_in_a_datagram_is_numbered_by_what_is_known() -> None:
    stand, group, writer = _sock()
    stand.core.coarse_time = Coarse(0.0, 0.1, "somebody")
    stand.play(group, 12.0, *_every(1.15, 10.15, partial(writer.pulse, 300)))  # type: ignore[arg-type]
    assert 7 == len(stand.heard), "three make a grid, and the third is numbered"
    # Its whole seconds (5 s) mean nothing; the second began when the clock read 300 ns more.
    assert all(abs(m.offset.s() - 300e-9) < 1e-9 for _, _, m in stand.heard)
    assert any("numbered by somebody" in line for line in stand.lines())


def test_a_pulse_that_nobody_numbers_is_refused() -> None:
    stand, group, writer = _sock()
    stand.play(group, 12.0, *_every(1.15, 10.15, writer.pulse))  # type: ignore[arg-type]
    assert [] == stand.heard
    assert group.facts()[next(iter(group.facts()))].drops["unnumbered"] >= 5


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"x" * 4096])
def test_any_other_datagram_is_refused(data: bytes) -> None:
    stand, group, writer = _sock()
    stand.play(group, 3.0, (1.0, partial(writer.send, data)))
    assert [] == stand.heard
    assert 1 == group.facts()[next(iter(group.facts()))].drops["malformed"]


def test_a_sample_of_before_a_step_is_not_used() -> None:
    stand, group, writer = _sock()
    writer.age_ns = 2_000_000_000
    step = partial(stand.scene.system.step, Duration.from_s(0.5))
    stand.play(group, 12.0, (5.0, writer.sock), (6.0, step), (7.0, writer.sock), (10.0, writer.sock))
    assert 2 == len(stand.heard)
    assert 1 == group.facts()[next(iter(group.facts()))].drops["stamp"]


def test_a_sample_next_to_a_leap_second_is_not_used() -> None:
    """POSIX time says the same second twice: such a sample could be of either."""
    assert leap_table().ambiguous(Instant.from_ns(1_483_228_800 * 10**9))
    stand, group, writer = _sock()

    def sample() -> None:
        now_ns = stand.scene.system.utc_ns()
        writer.send(sock.encode(sock.SockSample(now_ns // 1000, (1_483_228_800 * 10**9 - now_ns) / 1e9)))

    stand.play(group, 3.0, (1.0, sample))
    assert [] == stand.heard
    assert 1 == group.facts()[next(iter(group.facts()))].drops["leap-second"]


def test_a_sample_that_breaks_something_does_not_silence_those_after_it() -> None:
    stand, group, writer = _shm()
    epoch = stand.core.epoch
    broken: list[float] = []

    def break_once(clock: ClockId) -> int:
        at = stand.scene.world.elapsed.s()
        if at > 4 and not broken:
            broken.append(at)
            raise ArithmeticError
        return epoch(clock)

    stand.core.epoch = break_once  # type: ignore[method-assign]
    acts = [*_every(1.1, 10.1, writer.shm), (6.5, stand.broken.clear)]
    stand.play(group, 12.0, *acts)  # type: ignore[arg-type]
    assert 1 == len(broken)
    assert 5 == len([at for at, _, _ in stand.heard if at > 5])


def test_a_socket_that_breaks_something_as_it_is_opened_is_opened_again() -> None:
    stand, group, writer = _sock()
    once = stand.scene.devices.open_feed
    troubles: list[Exception] = [OSError(13, "Permission denied"), ArithmeticError()]

    def open_feed(*args: object) -> object:
        if troubles:
            raise troubles.pop(0)
        return once(*args)  # type: ignore[arg-type]

    stand.scene.devices.open_feed = open_feed  # type: ignore[method-assign, assignment]
    acts = [(5.5, stand.broken.clear), *_every(30.1, 34.1, writer.sock)]
    stand.play(group, 36.0, *acts)  # type: ignore[arg-type]
    assert 4 == len(stand.heard)
