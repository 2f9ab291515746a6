"""The lab's made-up hardware: its settings, its true time, and a receiver that knows that time.

True time is CLOCK_MONOTONIC_RAW: the PPS device lays its edges on it, and a card whose oscillator error is 0 and which
nobody steers keeps it to the nanosecond. Cards lab0 and lab1 are wired to each other; lab2 is the judge.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pty
import random
import re
import subprocess
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hw_judge import NS_PER_S, beside_second, watch
from hw_programs import TABLE

JUDGE = "lab2"
PPS = "/dev/pps0"
TAI_UTC = int(re.findall(r"^\d+\s+(\d+)", TABLE.read_text(), re.MULTILINE)[-1])
"""TAI - UTC by the last line of the table, in seconds."""
LATE_S, LATE_BY_S = 0.12, 0.03
"""A receiver's message begins so long after its second, give or take."""
CARDS = 8
_GPS_UTC = 18
_GPS_EPOCH = 315_964_800
_WEEK = 604_800
_PLACE = "4807.0380,N,01131.0000,E"
_SATELLITES = (4, 5, 9, 12, 24)
_PARAMETERS = Path("/sys/module")


def is_lab() -> bool:
    """Whether this is the lab guest, with two pairs of cards."""
    return Path("/sys/class/net", JUDGE).exists() and (_PARAMETERS / "vmlab_nic").exists()


def need_lab() -> None:
    """Skip elsewhere: these tests change hardware that only the lab has, and set the system clock."""
    if not is_lab():
        pytest.skip("needs the lab guest with two pairs of cards: bin/test lab")


def serial_line() -> tuple[str, ...]:
    """The two ends of a serial line, where the guest has one with a UART: QEMU's has."""
    return ("/dev/ttyS1", "/dev/ttyS2") if Path("/sys/class/tty/ttyS1/port").exists() else ()


def nic(name: str, **of_card: int) -> None:
    """Set a parameter of the made-up cards; 0 for those that are not named (``lab0=3000``)."""
    values = [of_card.get(f"lab{index}", 0) for index in range(CARDS)]
    Path(_PARAMETERS, "vmlab_nic/parameters", name).write_text(",".join(map(str, values)))


def pps(name: str, value: int) -> None:
    """Set a parameter of the made-up PPS device."""
    Path(_PARAMETERS, "vmlab_pps/parameters", name).write_text(str(value))


def phc_ctl(device: str, *words: str) -> str:
    """Run phc_ctl to its end."""
    return subprocess.run(
        ["phc_ctl", "-q", device, "--", *words], check=True, capture_output=True, text=True, timeout=60
    ).stdout


@contextmanager
def hardware(directory: Path, *, wander_of: tuple[str, ...] = (), true: str | None = None) -> Iterator[int]:
    """The lab as every trial finds it; gives the raw time of a full second of UTC, ns modulo one second.

    The judge reads TAI whose full seconds are the pulses; so does the card ``true``. Every other card and the system
    clock are wrong in time and frequency, pulses and pins have noise, and the oscillators of ``wander_of`` wander.
    """
    errors = {card: error for card, error in (("lab0", 8_000), ("lab1", -5_000)) if card != true}
    for name in ("ppb", "edge_ns", "jitter_ns"):
        nic(name)
    pps("jitter_ns", 0)
    for device in ("CLOCK_REALTIME", "lab0", "lab1", JUDGE):
        phc_ctl(device, "freq", "0")
    phase = _align(directory, [JUDGE] if true is None else [JUDGE, true])
    nic("ppb", **errors)
    nic("edge_ns", lab0=100, lab1=100)
    pps("jitter_ns", 100)
    for card in errors:
        phc_ctl(card, "set", "adj", "31.7")
    phc_ctl("CLOCK_REALTIME", "adj", "0.043", "freq", "12000")
    with Wander(errors, wander_of):
        yield phase
    phc_ctl("CLOCK_REALTIME", "freq", "0")


def _align(directory: Path, cards: list[str]) -> int:
    """Set cards to TAI by the pulses, and the system clock to UTC nearly so; gives the phase of raw time."""
    for card in cards:
        phc_ctl(card, "set", "adj", str(TAI_UTC))
    # Nobody steers anything now and all oscillators are alike, so that only offsets are to be found.
    before = watch(cards, PPS, 5, directory / "align")
    ahead_ns = beside_second(before.edges[-1])
    for card in cards:
        behind_ns = before.compared[card][-1][1] + TAI_UTC * NS_PER_S  # the system clock less the card
        phc_ctl(card, "adj", f"{(behind_ns - ahead_ns) / NS_PER_S:.9f}")
    real, raw = time.time_ns(), time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    phc_ctl("CLOCK_REALTIME", "adj", f"{-ahead_ns / NS_PER_S:.9f}")
    return int(raw - real + ahead_ns) % NS_PER_S


class Wander:
    """A random walk of oscillators: 1e-9 a second, as a good TCXO; the same walk in every trial."""

    def __init__(self, errors_ppb: dict[str, int], cards: tuple[str, ...]) -> None:
        self._ppb = dict(errors_ppb)
        self._cards = cards
        self._rng = random.Random(3)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wander")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while self._cards and not self._stop.wait(1):
            for card in self._cards:
                self._ppb[card] += self._rng.choice((-1, 1))
            nic("ppb", **self._ppb)


def pulse_output(card: str) -> None:
    """Have pin 0 of a card give out its full seconds, by sysfs (Documentation/ABI/testing/sysfs-ptp)."""
    clock = next(Path("/sys/class/net", card, "device", "ptp").glob("ptp*"))
    (clock / "pins" / "SDP0").write_text("2 0")
    (clock / "period").write_text("0 0 0 1 0")


class Receiver:
    """A receiver that speaks NMEA and knows true time; not built from our own writer.

    Attributes:
        path: The port on which it is heard.
    """

    def __init__(self, phase_ns: int, port: str | None = None, heard: str | None = None) -> None:
        """Begin to speak, into a port that is wired to the port ``heard``; without one, on a pseudo-terminal.

        Args:
            phase_ns: Raw time of a full second, modulo one second.
            port: Where to write.
            heard: Where it comes out.
        """
        self._slave: int | None = None
        if port is None:
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            self.path = os.ttyname(self._slave)
            # gpsd gives up being root, and opens the port once more after that.
            Path(self.path).chmod(0o666)
        else:
            self._master = os.open(port, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._master)
            self.path = heard or port
        os.set_blocking(self._master, False)
        self._phase = phase_ns
        # The second that it is, once: afterwards raw time tells, whatever becomes of the system clock.
        raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        self._first = round((time.time_ns() - beside_second(raw - phase_ns)) / NS_PER_S)
        self._first_raw = raw - int(beside_second(raw - phase_ns))
        self._rng = random.Random(5)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.path)
        self._thread.start()

    def close(self) -> None:
        """Fall silent."""
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        if self._slave is not None:
            os.close(self._slave)

    def _run(self) -> None:
        late_ns = 0
        while True:
            elapsed = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - self._first_raw
            number = (elapsed - late_ns) // NS_PER_S + 1
            late_ns = int((LATE_S + self._rng.uniform(-LATE_BY_S, LATE_BY_S)) * NS_PER_S)
            if self._stop.wait((number * NS_PER_S + late_ns - elapsed) / NS_PER_S):
                return
            data = b"".join(sentence(body) for body in _burst(self._first + number))
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data)
            with contextlib.suppress(BlockingIOError):
                os.read(self._master, 4096)  # what gpsd asks of other makes of receivers


def _burst(second: int) -> Iterator[str]:
    now = dt.datetime.fromtimestamp(second, dt.UTC)
    clock, day = f"{now:%H%M%S}.00", f"{now:%d%m%y}"
    since = second + _GPS_UTC - _GPS_EPOCH
    used = ",".join(f"{number:02}" for number in _SATELLITES) + "," * (12 - len(_SATELLITES))
    yield f"GPRMC,{clock},A,{_PLACE},0.00,0.0,{day},,,A"
    yield f"GPGGA,{clock},{_PLACE},1,{len(_SATELLITES):02},0.9,545.4,M,46.9,M,,"
    yield f"GPGSA,A,3,{used},1.8,0.9,1.5"
    # The sentence by which gpsd learns GPS - UTC from a receiver that does not speak binary.
    yield f"PGRMF,{since // _WEEK % 1024},{since % _WEEK},{day},{now:%H%M%S},{_GPS_UTC},{_PLACE},A,2,0.0,0.0,1,1"


def sentence(body: str) -> bytes:
    """With its checksum (NMEA 0183)."""
    checksum = 0
    for octet in body.encode():
        checksum ^= octet
    return f"${body}*{checksum:02X}\r\n".encode()


@contextmanager
def receiver(phase_ns: int, port: str | None = None, heard: str | None = None) -> Iterator[str]:
    """A receiver, silent afterwards; gives the port on which it is heard."""
    made = Receiver(phase_ns, port, heard)
    try:
        yield made.path
    finally:
        made.close()
