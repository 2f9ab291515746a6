"""PTP between cards that are wired to each other: who runs on them, what goes wrong meanwhile, who judges.

Near cards (lab0, lab2, ...) are here, the far ones (lab1, lab3, ...) in a network namespace, so that both are hosts of
their own. A link's *giver* is a card without error that nobody steers; its *taker* begins 31.7 s and 8 ppm off. How far
the taker is from the giver is read from both cards by ``phc_ctl``.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import pytest
from hw_devices import run
from hw_judge import Series
from hw_lab import CARDS, TAI_UTC, nic, phc_ctl
from hw_programs import running, wait_until

from timesync_drivers.phc import device_path

Role = Literal["timeReceiver", "timeTransmitter"]

ALL_CARDS = tuple(f"lab{index}" for index in range(CARDS))
CABLE_NS = 500
LONGER_NS = 300
"""By so much the way from giver to taker is longer than the way back, for a while."""
ASYMMETRY_NS = -LONGER_NS / 2
"""What that does to a taker that knows nothing of it: it is behind (IEEE 1588-2019, 7.4.2)."""
JITTER_NS = 35
"""Receive stamps are off by up to so much: 20 ns RMS."""
LOST_PER_MILLE = 50
OSCILLATOR_PPB = 8_000
FAR_OFF_S = 31.7
SHIFT_PPB = 500

_STATE = re.compile(r"ptp4l\[([\d.]+)\]: port 1 \([^)]*\): (\w+) to (\w+) on")

GPTP: dict[str, int | str] = {
    "gmCapable": 1,
    "priority1": 248,
    "priority2": 248,
    "logAnnounceInterval": 0,
    "logSyncInterval": -3,
    "syncReceiptTimeout": 3,
    "neighborPropDelayThresh": 800,
    "min_neighbor_prop_delay": -20000000,
    "assume_two_step": 1,
    "path_trace_enabled": 1,
    "follow_up_info": 1,
    "transportSpecific": "0x1",
    "ptp_dst_mac": "01:80:C2:00:00:0E",
    "network_transport": "L2",
    "delay_mechanism": "P2P",
}
"""The values of linuxptp's gPTP.cfg; Debian installs that file as documentation, which the guest has not."""


@dataclass(frozen=True)
class Way:
    """A profile and a transport, as we write them and as ptp4l does.

    Attributes:
        name: For people.
        profile: Ours.
        port: Keys of our port.
        peer: Settings of ptp4l.
    """

    name: str
    profile: str
    port: str
    peer: dict[str, int | str]


def _default(name: str, transport: str, network: str, delay: str) -> Way:
    return Way(
        name=f"{name} {delay.upper()}",
        profile=f"default-{delay}",
        port=f"transport: {transport}",
        peer={"network_transport": network, "delay_mechanism": delay.upper()},
    )


WAYS = [
    _default("UDPv4", "udp4", "UDPv4", "e2e"),
    _default("UDPv6", "udp6", "UDPv6", "e2e"),
    _default("L2", "l2", "L2", "e2e"),
    _default("L2", "l2", "L2", "p2p"),
    Way("gPTP", "gptp", "", GPTP),
]


# -- cards


@dataclass(frozen=True)
class Link:
    """Two cards with a cable between them.

    Attributes:
        near: The one that is here.
        far: The one on the other host.
        namespace: Where that is.
        devices: Files of both clocks by the cards' names: interfaces are not found from another namespace.
    """

    near: str
    far: str
    namespace: str
    devices: dict[str, str]

    def there(self, *command: str | Path) -> list[str]:
        """A command line that runs on the other host."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]


@contextmanager
def links(count: int) -> Iterator[list[Link]]:
    """So many, up and with addresses; the far cards are back here afterwards. Skips where there are too few cards."""
    if not Path("/sys/class/net", f"lab{2 * count - 1}").exists():
        pytest.skip(f"needs the lab guest with {count} pairs of cards: bin/test lab")
    space = f"hw{os.getpid()}"
    made = [
        Link(near, far, space, {card: device_path(card) for card in (near, far)})
        for near, far in ((f"lab{2 * index}", f"lab{2 * index + 1}") for index in range(count))
    ]
    with ExitStack() as stack:
        run("ip", "netns", "add", space)
        stack.callback(run, "ip", "netns", "delete", space)
        run("ip", "-n", space, "link", "set", "lo", "up")
        for number, link in enumerate(made):
            run("ip", "link", "set", link.far, "netns", space)
            # By itself it would come back some time after the namespace is gone.
            stack.callback(run, "ip", "-n", space, "link", "set", link.far, "netns", str(os.getpid()))
            for end, at, card in ((1, [], link.near), (2, ["-n", space], link.far)):
                run("ip", *at, "address", "add", f"10.231.{78 + number}.{end}/24", "dev", card)
                run("ip", *at, "link", "set", card, "up")
                # What the kernel made of link-local addresses waits whether another has the same.
                run("ip", *at, "address", "replace", f"fe80::{78 + number}:{end}/64", "dev", card, "nodad")
            stack.callback(run, "ip", "link", "set", link.near, "down")
            stack.callback(run, "ip", "address", "flush", "dev", link.near)
        yield made


class Course:
    """What becomes of the hardware in the course of a trial; the same for every taker, second by second.

    All takers' oscillators take the same random walk, 1e-9 a second, as a good TCXO's.

    Attributes:
        takers: The cards that are steered.
        losers: The cards that lose transmit stamps when it is their time.
        began: When, by CLOCK_MONOTONIC, in seconds.
    """

    def __init__(
        self, takers: Sequence[str], losers: Sequence[str], events: Mapping[float, Callable[[Course], None]]
    ) -> None:
        """Begin with a wrong oscillator in every taker; ``events``: what happens, after so many seconds."""
        self.takers = tuple(takers)
        self.losers = tuple(losers)
        self._events = dict(events)
        self._ppb = OSCILLATOR_PPB
        self._rng = random.Random(3)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="course")
        self.began = 0.0

    def __enter__(self) -> Self:
        self.lose_stamps(0)
        self.lengthen(0)
        self.shift(0)
        nic("jitter_ns", **dict.fromkeys(ALL_CARDS, JITTER_NS))
        self.began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for name in ("ppb", "jitter_ns", "notx"):
            nic(name)
        self.lengthen(0)

    def shift(self, ppb: int) -> None:
        """Make every taker's oscillator so much faster."""
        self._ppb += ppb
        nic("ppb", **dict.fromkeys(self.takers, self._ppb))

    def lose_stamps(self, per_mille: int) -> None:
        """Lose so many transmit stamps."""
        nic("notx", **dict.fromkeys(self.losers, per_mille))

    def lengthen(self, ns: int) -> None:
        """Make the way to every taker so much longer; that back stays as it is."""
        nic("delay_ns", **{card: CABLE_NS + (0 if card in self.takers else ns) for card in ALL_CARDS})

    def _wander(self) -> None:
        self.shift(self._rng.choice((-1, 1)))

    def _run(self) -> None:
        walk = ((float(second), Course._wander) for second in itertools.count(1))
        for at, happens in heapq.merge(sorted(self._events.items()), walk, key=lambda event: event[0]):
            if self._stop.wait(self.began + at - time.monotonic()):
                return
            happens(self)


def cold_start(takers: Sequence[str], givers: Sequence[str]) -> None:
    """Every clock is near TAI and runs free; the takers are 31.7 s off.

    The system clock has no error of its own, lest the moment at which a card is compared with it matter.
    """
    nic("ppb")
    phc_ctl("CLOCK_REALTIME", "freq", "0")
    for card in givers:
        phc_ctl(card, "freq", "0", "set", "adj", str(TAI_UTC))
    for card in takers:
        phc_ctl(card, "freq", "0", "set", "adj", str(TAI_UTC + FAR_OFF_S))


# -- ptp4l


class Ptp4l:
    """A running ptp4l."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")

    def states(self) -> list[tuple[float, str]]:
        """The states that its port came to, with the seconds of CLOCK_MONOTONIC."""
        return [(float(at), after) for at, _, after in _STATE.findall(self.log())]


@contextmanager
def ptp4l(directory: Path, name: str, at: Sequence[str], card: str, settings: dict[str, int | str]) -> Iterator[Ptp4l]:
    """Debian's ptp4l with hardware timestamps and its own servo constants; ``at`` is before its command line."""
    directory.mkdir(parents=True, exist_ok=True)
    log, file = directory / f"{name}.log", directory / f"{name}.conf"
    said = {"use_syslog": 0, "verbose": 1, "summary_interval": 6, "uds_address": f"{directory}/{name}.uds"}
    said["uds_ro_address"] = f"{directory}/{name}.udsro"
    lines = "".join(f"{key} {value}\n" for key, value in {**said, **settings}.items())
    file.write_text(f"[global]\n{lines}[{card}]\n")
    with running([*at, "ptp4l", "-f", file], log) as process:
        daemon = Ptp4l(log)

        def runs() -> bool:
            assert process.poll() is None, f"ptp4l ended:\n{daemon.log()}"
            return "INITIALIZING to" in daemon.log()

        wait_until(runs, 30, "ptp4l runs", daemon.log)
        yield daemon
        assert process.poll() is None, f"ptp4l ended:\n{daemon.log()}"


GIVES: dict[str, int | str] = {"priority1": 100}
TAKES: dict[str, int | str] = {"slaveOnly": 1}


def ours(way: Way, role: Role, card: str) -> str:
    """Our configuration for a card; nobody touches the system clock."""
    port = ", ".join(filter(None, [f"interface: {card}", way.port, "timestamping: hardware"]))
    steered = "true" if role == "timeReceiver" else "false"
    return f"""
    clocks:
      system: {{discipline: false}}
      card: {{phc: {card}, discipline: {steered}}}
    ptp:
      profile: {way.profile}
      role: {role}
      priority1: {100 if role == "timeTransmitter" else 255}
      ports:
        - {{{port}}}
    """


# -- what they say


def between(series: Series, since_s: float, until_s: float, shift_ns: float = 0.0) -> list[float]:
    """The offsets of a stretch of time, less what is known to be there."""
    return [offset - shift_ns for at, offset in series if since_s <= at < until_s]


def port_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The only port in ``timesync ports --json``; empty while there is none."""
    found = answer.get("ports", [])
    return found[0] if found else {}

    """CLOCK_MONOTONIC, by which linuxptp dates its lines."""
    return time.monotonic()
