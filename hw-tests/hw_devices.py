"""Which devices the tests may use: named by environment variables, else those of the lab guest where it is one.

TIMESYNC_HW_PHC and TIMESYNC_HW_PHC2 are interfaces or device files of two PTP hardware clocks that may be stepped;
TIMESYNC_HW_WIRE=OUT:IN says that pin OUT of the first is wired to pin IN of the second. TIMESYNC_HW_PPS is a PPS device
that pulses, TIMESYNC_HW_SERIAL the serial port of the receiver that gives these pulses, and
TIMESYNC_HW_PULSE_PIN=PIN:CHANNEL the input of the first clock that they reach as well. TIMESYNC_HW_UNPLUG is an
interface with a hardware clock that may be taken from its driver and given back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from timesync_drivers.phc import PhcDevice

T = TypeVar("T")
NS_PER_S = 1_000_000_000
_LAB = Path("/sys/module/vmlab_nic")
_LAB_HAS = {
    "PHC": "lab0",
    "PHC2": "lab1",
    "WIRE": "0:0",
    "PPS": "/dev/pps0",
    "PULSE_PIN": "0:0",
    "UNPLUG": "eth0",
}


def named(what: str) -> str:
    """The device for ``TIMESYNC_HW_<what>``; skips where there is none."""
    name = os.environ.get(f"TIMESYNC_HW_{what}")
    if name is None and _LAB.exists():
        name = _LAB_HAS.get(what)
        if name is not None and ":" not in name:
            present = Path(name) if name.startswith("/") else Path("/sys/class/net", name)
            name = name if present.exists() else None
    if name is None:
        pytest.skip(f"no device: name one in TIMESYNC_HW_{what}")
    return name


def clock_directory(device: PhcDevice) -> Path:
    """Where sysfs tells of a hardware clock."""
    return Path("/sys/class/ptp", Path(device.path).resolve().name)


def run(*command: str) -> str:
    """What another program says; skips when it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout


def until(what: Callable[[], T | None], wanted: str, seconds: float = 10.0) -> T:
    """Ask every 50 ms until there is an answer; fails after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = what()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {wanted}")
