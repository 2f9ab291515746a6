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
        # e1000e and igc: the ioctl is there, but PTM times out.
        ({"precise": [errno.ETIMEDOUT], "extended": [0]}, ["precise", "extended", "extended"], "extended"),
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


def test_a_way_that_keeps_failing_is_given_up() -> None:
    driver = Driver(precise=[0, errno.ETIMEDOUT], extended=[0])
    reader = CrossReader(3, driver)
    assert [reader.read().method for _ in range(6)] == ["precise"] + ["extended"] * 5
    assert driver.asked.count("precise") == 4


def test_a_clock_that_is_gone_is_not_asked_again() -> None:
    driver = Driver(precise=[errno.ENODEV])
    with pytest.raises(OSError, match="No such device"):
        CrossReader(3, driver).read()
    assert driver.asked == ["precise"]


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
