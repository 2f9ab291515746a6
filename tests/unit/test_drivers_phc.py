"""Hardware clocks by name, and the choice among the ways to read one; the kernel's side is tried in hw-tests."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from timesync_drivers import abi
from timesync_drivers.cross import CrossReader, realtime_minus_monotonic_ns
from timesync_drivers.phc import PhcDevice, device_path

WAYS = {
    abi.PTP_SYS_OFFSET_PRECISE: "precise",
    abi.PTP_SYS_OFFSET_EXTENDED: "extended",
    abi.PTP_SYS_OFFSET: "plain",
}


class Driver:
    """Answers each way of reading with an error number from a script, the last of it for ever; 0 is a reading."""

    def __init__(self, **script: list[int]) -> None:
        self.script = script
        self.asked: list[str] = []

    def __call__(self, file: int, request: int, data: bytearray) -> int:
        way = WAYS[request]
        self.asked.append(way)
        answers = self.script[way]
        number = answers.pop(0) if len(answers) > 1 else answers[0]
        if number:
            raise OSError(number, os.strerror(number))
        return 0


@pytest.mark.parametrize(
    ("script", "asked", "served"),
    [
        ({"precise": [0]}, ["precise"] * 2, "precise"),
        (
            {"precise": [errno.EOPNOTSUPP], "extended": [0]},
            ["precise", "extended", "extended"],
            "extended",
        ),
        (
            {"precise": [errno.EOPNOTSUPP], "extended": [errno.ENOTTY], "plain": [0]},
            ["precise", "extended", "plain", "plain"],
            "plain",
        ),
        ({"precise": [errno.EBUSY, errno.EBUSY, 0]}, ["precise"] * 4, "precise"),
    ],
)
def test_the_best_way_is_found_once(script: Mapping[str, list[int]], asked: list[str], served: str) -> None:
    driver = Driver(**script)
    reader = CrossReader(3, driver)
    assert [reader.read().method, reader.read().method] == [served, served]
    assert driver.asked == asked


def test_a_way_that_fails_now_and_then_is_kept() -> None:
    driver = Driver(precise=[0, errno.ETIMEDOUT, errno.ETIMEDOUT, 0], extended=[0])
    reader = CrossReader(3, driver)
    assert [reader.read().method for _ in range(4)] == ["precise", "extended", "extended", "precise"]


def test_a_way_that_fails_at_first_is_not_given_up() -> None:
    """e1000e and igc: PTM times out, while the link comes up for example."""
    driver = Driver(precise=[errno.ETIMEDOUT, 0], extended=[0])
    reader = CrossReader(3, driver)
    assert [reader.read().method for _ in range(3)] == ["extended", "precise", "precise"]


def test_a_way_that_keeps_failing_is_asked_ever_more_rarely() -> None:
    """Each can take as long as a time-out."""
    driver = Driver(precise=[0, errno.ETIMEDOUT], extended=[0])
    reader = CrossReader(3, driver)
    assert [reader.read().method for _ in range(100)] == ["precise"] + ["extended"] * 99
    assert driver.asked.count("precise") == 4 + 2
    for _ in range(1000):
        reader.read()
    assert driver.asked.count("precise") <= 4 + 2 + 5


def test_a_way_that_failed_for_long_serves_again_when_it_can() -> None:
    driver = Driver(precise=[errno.ETIMEDOUT] * 3 + [0], extended=[0])
    reader = CrossReader(3, driver)
    served = [reader.read().method for _ in range(21)]
    assert served == ["extended"] * 19 + ["precise"] * 2


def test_no_clock_for_the_hardware_to_latch_is_not_taken_for_a_clock_that_is_gone() -> None:
    """get_device_system_crosststamp says ENODEV while the kernel runs by another clocksource than the card latches."""
    driver = Driver(precise=[errno.ENODEV, 0], extended=[0])
    reader = CrossReader(3, driver)
    assert [reader.read().method for _ in range(2)] == ["extended", "precise"]


def test_a_clock_that_is_gone_is_not_asked_by_all_ways() -> None:
    driver = Driver(precise=[errno.ENODEV], extended=[errno.ENODEV], plain=[0])
    with pytest.raises(OSError, match="No such device"):
        CrossReader(3, driver).read()
    assert driver.asked == ["precise", "extended"]


def test_when_no_way_serves_the_last_refusal_is_told() -> None:
    driver = Driver(precise=[errno.EOPNOTSUPP], extended=[errno.EOPNOTSUPP], plain=[errno.EIO])
    with pytest.raises(OSError, match="Input/output error"):
        CrossReader(3, driver).read()


def test_the_offset_of_realtime_is_steady() -> None:
    assert abs(realtime_minus_monotonic_ns() - realtime_minus_monotonic_ns()) < 50_000_000


@pytest.mark.parametrize(
    ("name", "path"),
    [("/dev/ptp_kvm", "/dev/ptp_kvm"), ("ptp3", "/dev/ptp3"), ("0", "/dev/ptp0"), ("12", "/dev/ptp12")],
)
def test_names_that_need_no_asking(name: str, path: str) -> None:
    assert device_path(name) == path


@pytest.mark.parametrize("name", ["nosuch0", "a-name-that-is-too-long-for-one", "", "ptpx", "\u0661"])
def test_an_interface_that_is_not_there(name: str) -> None:
    with pytest.raises(OSError, match=r"No such device|no interface") as caught:
        device_path(name)
    assert caught.value.errno == errno.ENODEV


def test_loopback_has_no_hardware_clock() -> None:
    with pytest.raises(OSError, match="lo has no PTP hardware clock") as caught:
        device_path("lo")
    assert caught.value.errno == errno.EOPNOTSUPP


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_what_is_no_clock_is_not_opened() -> None:
    before = _open_files()
    with pytest.raises(OSError, match="Inappropriate ioctl") as caught:
        PhcDevice("/dev/null")
    assert caught.value.errno == errno.ENOTTY
    assert _open_files() == before


class Shared(PhcDevice):
    """A clock whose events are in a queue that others read as well, which is a pipe and a list of lines here."""

    def __init__(self, file: int, fifo: Path) -> None:
        self._file = file
        self._own_queue = False
        self._lines = fifo

    def _fifo(self) -> Path:
        return self._lines


@pytest.mark.parametrize("empty", [b"", b"\0"])
def test_where_another_program_was_quicker_nothing_is_waited_for(tmp_path: Path, empty: bytes) -> None:
    """poll() saw an event that somebody else has taken since: read() would wait for the next one."""
    fifo = tmp_path / "fifo"
    fifo.write_bytes(empty)
    ready, far = os.pipe()
    try:
        os.write(far, bytes(abi.PTP_EXTTS_EVENT.size))
        assert [] == Shared(ready, fifo).events()
        assert bytes(abi.PTP_EXTTS_EVENT.size) == os.read(ready, 1000), "the file itself was not read"
    finally:
        os.close(ready)
        os.close(far)
