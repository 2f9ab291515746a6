"""PTP sockets on two network cards that are wired to each other, with the stamps of both cards.

One process is on both hosts: sockets stay in the namespace where they were opened.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from statistics import median, pstdev
from typing import Any

import pytest
from hw_daemons import Cable, cable
from hw_devices import run

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.utc import LeapTable
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.ptp_sockets import LinuxPtpSocket, open_ptp
from timesync.runtime.stamping import StampClock
from timesync.runtime.system_clock import SystemClock
from timesync.transport import PtpPortSpec, TransportName
from timesync_drivers.clock import KernelClock
from timesync_drivers.nic import Setting, change, setting
from timesync_drivers.phc import device_path

TABLE = LeapTable.parse((resources.files("timesync_profiles") / "leap-seconds.list").read_text())
LAB = Path("/sys/module/vmlab_nic/parameters")
OFF = Setting(0, 0, 0)
WAIT_S = 10.0
CLONE_NEWNET = 0x40000000
CABLE_NS = 500
"""The lab's; of a real one we only know that it is shorter than a tenth of a millisecond."""
Record = Callable[[str, object], None]


class Ear:
    """A handler that lets a test wait."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Stamp | None]] = []
        self.sent: dict[int, Stamp | None] = {}
        self.links: list[bool] = []
        self._changed = asyncio.Event()

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        self.messages.append((data, stamp))
        self._changed.set()

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        assert token not in self.sent
        self.sent[token] = stamp
        self._changed.set()

    def on_link(self, *, up: bool) -> None:
        self.links.append(up)
        self._changed.set()

    def on_error(self, error: OSError) -> None:
        raise error

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Lab:
    """Two cards with their clocks, and the ports that a test opens on them."""

    def __init__(self, wired: Cable, stack: ExitStack) -> None:
        self.wired = wired
        self._stack = stack
        self._loop = asyncio.get_running_loop()
        self.near = self._clock("near", device_path(wired.near))
        self.far = self._clock("far", wired.far_clock)
        self._token = 0

    def _clock(self, name: str, device: str) -> PhcClock:
        clock = PhcClock(ClockId(name), device, TABLE)
        self._stack.callback(clock.close)
        return clock

    def open_near(
        self, transport: TransportName, ear: Ear, clock: StampClock | None = None, **more: Any
    ) -> LinuxPtpSocket:
        found = clock or self.near
        port = open_ptp(self._loop, self._spec(self.wired.near, transport, found, **more), found, ear)
        self._stack.callback(port.close)
        return port

    def open_far(self, transport: TransportName, ear: Ear) -> LinuxPtpSocket:
        with inside(self.wired.namespace):
            port = open_ptp(self._loop, self._spec(self.wired.far, transport, self.far), self.far, ear)
        self._stack.callback(self._close_far, port)
        return port

    async def send(self, port: LinuxPtpSocket, from_ear: Ear, to_ear: Ear) -> tuple[Stamp | None, Stamp | None]:
        """Both stamps of one message."""
        self._token += 1
        token, data = self._token, sync(self._token)
        port.send_event(data, token)
        await from_ear.until(lambda: token in from_ear.sent)
        await to_ear.until(lambda: any(heard == data for heard, _ in to_ear.messages))
        return from_ear.sent[token], next(stamp for heard, stamp in to_ear.messages if heard == data)

    async def ready(self, port: LinuxPtpSocket, from_ear: Ear) -> None:
        """Until the link is up and something can be sent."""
        await from_ear.until(lambda: bool(from_ear.links) and from_ear.links[-1])
        for _ in range(100):
            self._token += 1
            token, failed = self._token, port.failed
            port.send_event(sync(token), token)
            await from_ear.until(lambda token=token: token in from_ear.sent)  # type: ignore[misc]
            if port.failed == failed:
                return
            await asyncio.sleep(0.1)
        raise AssertionError("nothing can be sent")

    def _close_far(self, port: LinuxPtpSocket) -> None:
        with inside(self.wired.namespace):
            port.close()

    @staticmethod
    def _spec(interface: str, transport: TransportName, clock: StampClock, **more: Any) -> PtpPortSpec:
        more.setdefault("timestamping", "hardware")
        return PtpPortSpec(interface=interface, transport=transport, clock=clock.id, **more)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Be in a network namespace (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert libc.setns(there, CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(here, CLONE_NEWNET) == 0
    finally:
        os.close(here)
        os.close(there)


def sync(sequence: int) -> bytes:
    """A two-step Sync (IEEE 1588-2019, tables 35 and 44)."""
    head = bytes.fromhex("0012002c00000200") + bytes(12)
    return head + bytes.fromhex("020000fffe0000010001") + sequence.to_bytes(2, "big") + b"\x00\x7f" + bytes(10)


def in_the_lab(test: Callable[[Lab], Coroutine[Any, Any, None]]) -> None:
    async def main(wired: Cable) -> None:
        with ExitStack() as stack:
            await test(Lab(wired, stack))

    with cable() as wired:
        # What the kernel made of link-local addresses went with the addresses of an earlier test.
        for number, at, name in ((1, [], wired.near), (2, wired.there(), wired.far)):
            run(*at, "ip", "address", "replace", f"fe80::77:{number}/64", "dev", name, "nodad")
        if setting(wired.near) != OFF:
            pytest.skip(f"something else has {wired.near} stamp packets")
        with asyncio.Runner() as runner:
            runner.run(main(wired))
        assert setting(wired.near) == OFF


@pytest.mark.parametrize("transport", ["udp4", "udp6", "l2"])
def test_both_cards_stamp_and_the_cable_is_seen(transport: TransportName, record_property: Record) -> None:
    in_lab = LAB.exists()

    async def test(lab: Lab) -> None:
        near, far = Ear(), Ear()
        a, b = lab.open_near(transport, near), lab.open_far(transport, far)
        assert (a.hardware, b.hardware) == (True, True)
        await lab.ready(a, near)
        await lab.ready(b, far)
        delays = []
        for _ in range(50):
            t1, t2 = await lab.send(a, near, far)
            t3, t4 = await lab.send(b, far, near)
            assert t1 is not None
            assert t2 is not None
            assert t3 is not None
            assert t4 is not None
            assert {StampSource.HARDWARE} == {stamp.source for stamp in (t1, t2, t3, t4)}
            assert [stamp.clock for stamp in (t1, t2, t3, t4)] == ["near", "far", "far", "near"]
            delays.append(((t2.at - t1.at) + (t4.at - t3.at)).ns() / 2)
        record_property("one way, ns: median, deviation", (round(median(delays)), round(pstdev(delays), 1)))
        assert 0 < median(delays) < 100_000
        if in_lab:
            assert median(delays) == pytest.approx(CABLE_NS, abs=100)

    in_the_lab(test)


def test_all_transports_and_a_software_port_share_a_card() -> None:
    """Each gets stamps of its kind and no other, although the card and the kernel stamp every packet."""

    async def test(lab: Lab) -> None:
        system = SystemClock(ClockId("system"), KernelClock(), TABLE)
        transports: tuple[TransportName, ...] = ("udp4", "udp6", "l2")
        for transport in transports:
            near, soft, far = Ear(), Ear(), Ear()
            a, b = lab.open_near(transport, near), lab.open_far(transport, far)
            c = lab.open_near(transport, soft, system, timestamping="software")
            await lab.ready(a, near)
            await lab.ready(b, far)
            for port, ear, expected in (
                (a, near, ("near", StampSource.HARDWARE)),
                (c, soft, ("system", StampSource.KERNEL)),
            ):
                sent, received = await lab.send(port, ear, far)
                assert sent is not None
                assert received is not None
                assert expected == (sent.clock, sent.source)
                assert (received.clock, received.source) == ("far", StampSource.HARDWARE)
            _, received = await lab.send(b, far, soft)
            assert received is not None
            assert (received.clock, received.source) == ("system", StampSource.KERNEL)

    in_the_lab(test)


def test_a_lost_transmit_stamp_is_told_and_the_next_one_is_right() -> None:
    if not LAB.exists():
        pytest.skip("real cards lose stamps when they like")

    async def test(lab: Lab) -> None:
        near, far = Ear(), Ear()
        a, _ = lab.open_near("l2", near), lab.open_far("l2", far)
        await lab.ready(a, near)
        parameter = LAB / "notx"
        before = parameter.read_text()
        try:
            parameter.write_text("1000,1000")
            sent, received = await lab.send(a, near, far)
            assert sent is None
            assert received is not None
        finally:
            parameter.write_text(before.strip())
        sent, received = await lab.send(a, near, far)
        assert sent is not None
        assert received is not None
        assert a.unstamped == 1

    in_the_lab(test)


def test_a_card_that_somebody_switched_off_is_set_again() -> None:
    async def test(lab: Lab) -> None:
        near, far = Ear(), Ear()
        a, b = lab.open_near("l2", near), lab.open_far("l2", far)
        await lab.ready(a, near)
        change(lab.wired.near, OFF)
        sent, _ = await lab.send(a, near, far)
        assert sent is None
        sent, _ = await lab.send(a, near, far)
        assert sent is not None
        _, received = await lab.send(b, far, near)
        assert received is not None

    in_the_lab(test)


def test_the_far_end_of_the_cable_goes_down_and_comes_up() -> None:
    async def test(lab: Lab) -> None:
        near, far = Ear(), Ear()
        a, _ = lab.open_near("l2", near), lab.open_far("l2", far)
        await lab.ready(a, near)
        for up in (False, True):
            run(*lab.wired.there("ip", "link", "set", lab.wired.far, "up" if up else "down"))
            await near.until(lambda up=up: near.links[-1] is up)  # type: ignore[misc]
        await far.until(lambda: far.links[-1])
        sent, received = await lab.send(a, near, far)
        assert sent is not None
        assert received is not None

    in_the_lab(test)
