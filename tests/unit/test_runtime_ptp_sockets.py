"""Whose stamps a PTP port takes: a made-up card and its clock behind sockets made of lists."""

from __future__ import annotations

import asyncio
import errno
import gc
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from linux_support import NOW_NS, S
from phc_support import ETH0, ETH1, FakeCard, Machine, SystemBase
from ptp_wire_support import HEADERS, FakeSockets, FakeWatch, message

from timesync.base.measure import Stamp, StampSource
from timesync.host import ClockError, Trouble
from timesync.runtime import ptp_sockets
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.ptp_sockets import LinuxPtpSocket, PtpCards, PtpNetwork
from timesync.runtime.ptp_wire import Wire
from timesync.runtime.stamping import StampClock
from timesync.transport import PtpPortSpec
from timesync_drivers.link import LinkState
from timesync_drivers.nic import HARDWARE, Stamping
from timesync_drivers.ptp_stamp import Reading

ABLE = Stamping(HARDWARE, 0, 0b11, 1 << 12)
CARD_NS = 1_000 * S
TAI_NOW = NOW_NS + 37 * S


class Claim:
    """What was asked of a card."""

    def __init__(self) -> None:
        self.needs: list[tuple[bool, bool]] = []
        self.renewed = self.released = 0
        self.one_step = False
        self.refuse: OSError | None = None

    def need(self, *, ethernet: bool, one_step: bool) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.needs.append((ethernet, one_step))

    def renew(self) -> bool:
        self.renewed += 1
        return True

    def release(self) -> None:
        self.released += 1


class Ear:
    """A handler that notes what it is told."""

    def __init__(self) -> None:
        self.messages: list[Stamp | None] = []
        self.sent: list[tuple[int, Stamp | None]] = []
        self._changed = asyncio.Event()

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        self.messages.append(stamp)
        self._changed.set()

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        self.sent.append((token, stamp))
        self._changed.set()

    def on_link(self, *, up: bool) -> None:
        assert up

    def on_error(self, error: OSError) -> None:
        raise error

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Network(PtpNetwork):
    """With made-up cards and sockets."""

    def __init__(self) -> None:
        self.phc_of = {"eth0": 0, "vlan5": 0, "eth9": 1}
        self.names = {3: "eth0", 5: "vlan5", 9: "eth9"}
        self.claim_made = Claim()
        self.able: Stamping | None = ABLE
        self.sockets = FakeSockets()
        super().__init__(asyncio.get_running_loop(), PtpCards(self._stamping, self._claimed, self._name))

    def wire(self, spec: PtpPortSpec) -> Wire:
        key = spec.interface, spec.transport
        if key not in self._wires:
            self._wires[key] = Wire(asyncio.get_running_loop(), FakeWatch(), self.sockets, self._wires.clear)
        return self._wires[key]

    def _stamping(self, interface: str) -> Stamping:
        if self.able is None:
            raise OSError(errno.EOPNOTSUPP, "not told")
        return Stamping(self.able.capabilities, self.phc_of[interface], self.able.tx_types, self.able.rx_filters)

    def _claimed(self, interface: str, able: Stamping) -> Any:
        assert interface == "eth0"
        return self.claim_made

    def _name(self, index: int) -> str:
        if index not in self.names:
            raise OSError(errno.ENXIO, "no such interface")
        return self.names[index]


class Bench:
    """A machine with a card whose clock is ``ETH0``."""

    def __init__(self) -> None:
        machine = Machine()
        self.card: FakeCard = machine.plug("eth0", CARD_NS)
        other = machine.plug("eth1", CARD_NS)
        other.path = "/dev/ptp1"
        self.machine = machine
        self.phc: PhcClock = machine.clock()
        self.other: PhcClock = machine.clock(ETH1)
        self.networks: list[Network] = []
        self.renew()
        self.ear = Ear()

    def renew(self) -> None:
        """Another network, of which nothing is open."""
        self.network = Network()
        self.networks.append(self.network)

    def open(self, clock: StampClock | None = None, ear: Ear | None = None, **more: Any) -> LinuxPtpSocket:
        found = clock or self.phc
        more.setdefault("transport", "l2")
        spec = PtpPortSpec(interface="eth0", clock=found.id, **more)
        return self.network.open(spec, found, ear or self.ear)

    async def hear(self, **reading: Any) -> Stamp | None:
        """The stamp of a message that comes with this reading."""
        before = len(self.ear.messages)
        found = Reading(**({"kernel_ns": None, "card_ns": None, "interface": 0} | reading))
        self.network.sockets.come(message(1), event=True, reading=found)
        await self.ear.until(lambda: len(self.ear.messages) > before)
        return self.ear.messages[-1]


def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await test(bench)
        finally:
            for network in bench.networks:
                network.sockets.close()

    with asyncio.Runner() as runner:
        runner.run(main())


def test_stamps_are_the_card_s_where_the_clock_is() -> None:
    async def test(bench: Bench) -> None:
        port = bench.open()
        assert port.hardware
        assert port.software_because is None
        assert bench.network.sockets.asked == [(False, True)]
        assert await bench.hear(card_ns=CARD_NS + 5, kernel_ns=NOW_NS) == Stamp(
            ETH0, 0, (await _instant(CARD_NS + 5)), StampSource.HARDWARE
        )
        assert await bench.hear(kernel_ns=NOW_NS) is None  # never a stamp of another clock instead

        port.send_event(message(2), 7)
        bench.network.sockets.leave(0, HEADERS + message(2), card_ns=CARD_NS + 9)
        await bench.ear.until(lambda: bool(bench.ear.sent))
        ((token, stamp),) = bench.ear.sent
        assert (7, await _instant(CARD_NS + 9)) == (token, stamp and stamp.at)
        port.close()

    on_a_loop(test)


async def _instant(ns: int) -> Any:
    from timesync.base.time import Instant, Tai

    at: Instant[Tai] = Instant.from_ns(ns)
    return at


def test_a_stamp_of_the_interface_below_is_good_and_of_another_card_is_not() -> None:
    async def test(bench: Bench) -> None:
        port = bench.open()
        for index, good in ((0, True), (3, True), (5, True), (9, False), (77, False)):
            stamp = await bench.hear(card_ns=CARD_NS, interface=index)
            assert (stamp is not None) is good
        port.close()

    on_a_loop(test)


def test_software_stamps_are_placed_on_the_clock() -> None:
    async def test(bench: Bench) -> None:
        port = bench.open(SystemBase(bench.machine), timestamping="software")  # type: ignore[arg-type]  # only what is asked of it
        assert not port.hardware
        assert bench.network.sockets.asked == [(True, False)]
        stamp = await bench.hear(kernel_ns=NOW_NS, card_ns=CARD_NS)
        assert stamp is not None
        assert (stamp.at, stamp.source) == (await _instant(TAI_NOW), StampSource.KERNEL)
        assert bench.network.claim_made.needs == []
        port.close()

    on_a_loop(test)


def test_auto_tells_why_it_takes_software_stamps_and_hardware_refuses() -> None:
    async def test(bench: Bench) -> None:
        async def told(wanted: str, trouble: Trouble, clock: StampClock | None = None) -> None:
            port = bench.open(clock, timestamping="auto")
            assert not port.hardware
            assert wanted in (port.software_because or "")
            with pytest.raises(ClockError, match=wanted) as caught:
                bench.open(clock, timestamping="hardware", transport="udp4")
            assert caught.value.trouble is trouble
            assert caught.value.advice
            port.close()
            bench.renew()

        await told("stamped by /dev/ptp0, which is not the clock eth1", Trouble.UNSUPPORTED, bench.other)
        bench.network.claim_made.refuse = OSError(errno.EPERM, "Operation not permitted")
        await told("cannot be set to stamp PTP messages: Operation not permitted", Trouble.PERMISSION)
        bench.network.able = None
        await told("not told", Trouble.UNSUPPORTED)
        bench.network.able = Stamping(0, 0, 0, 0)
        await told("no hardware timestamps", Trouble.UNSUPPORTED)

    on_a_loop(test)


def test_a_card_is_set_once_for_all_its_ports_and_put_back_after_the_last() -> None:
    async def test(bench: Bench) -> None:
        first, second = bench.open(), bench.open(ear=Ear())
        claim = bench.network.claim_made
        assert claim.needs == [(True, False), (True, False)]
        first.close()
        first.close()
        assert claim.released == 0
        second.close()
        assert claim.released == 1

    on_a_loop(test)


def test_missing_stamps_make_us_look_at_the_card_but_not_for_each() -> None:
    async def test(bench: Bench) -> None:
        bench.network.able = ABLE
        port = bench.open()
        for _ in range(5):
            assert await bench.hear(kernel_ns=NOW_NS) is None
        assert bench.network.claim_made.renewed == 1
        port.close()

    on_a_loop(test)


def test_a_one_step_sync_has_no_stamp() -> None:
    async def test(bench: Bench) -> None:
        bench.network.claim_made.one_step = True
        two_step = bench.open(ear=Ear())
        port = bench.open(one_step=True)
        assert (False, True) == (two_step.one_step, port.one_step)
        assert bench.network.claim_made.needs[-1] == (True, True)
        port.send_event(message(1, flags=0), 1)
        await bench.ear.until(lambda: bool(bench.ear.sent))
        port.send_event(message(2), 2)
        bench.network.sockets.leave(1, HEADERS + message(2), card_ns=CARD_NS)
        await bench.ear.until(lambda: len(bench.ear.sent) == 2)
        assert [(1, True), (2, False)] == [(token, stamp is None) for token, stamp in bench.ear.sent]
        port.close()
        two_step.close()

    on_a_loop(test)


@pytest.mark.parametrize(
    ("more", "joined"),
    [
        ({"transport": "udp4"}, {"224.0.1.129", "224.0.0.107"}),
        ({"transport": "udp6"}, {"ff0e::181", "ff02::6b"}),
        ({"transport": "udp6", "ipv6_scope": 2}, {"ff02::181", "ff02::6b"}),
        ({"transport": "l2"}, {"01:1b:19:00:00:00", "01:80:c2:00:00:0e"}),
        ({"transport": "l2", "gptp": True}, {"01:1b:19:00:00:00", "01:80:c2:00:00:0e"}),
    ],
)
def test_groups(more: dict[str, Any], joined: set[str]) -> None:
    """IEEE 1588-2019, annexes C, D and E."""

    async def test(bench: Bench) -> None:
        port = bench.open(timestamping="software", **more)
        assert bench.network.sockets.joined == joined
        port.close()

    on_a_loop(test)


def test_an_interface_without_multicast_serves_unicast_ports_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Bench) -> None:
        def refuse(group: str) -> None:
            raise OSError(errno.ENODEV, f"no multicast for {group}")

        monkeypatch.setattr(bench.network.sockets, "join", refuse)
        bench.open(transport="udp4", unicast=True, timestamping="software").close()
        bench.renew()
        monkeypatch.setattr(bench.network.sockets, "join", refuse)
        with pytest.raises(OSError, match="no multicast"):
            bench.open(transport="udp4", timestamping="software")
        assert bench.network.sockets.closed

    on_a_loop(test)


def test_an_interface_without_a_mac_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tunnel(FakeWatch):
        def __init__(self, interface: str) -> None:
            super().__init__()
            self.state = LinkState(3, interface, b"", up=True)

    monkeypatch.setattr("timesync.runtime.ptp_wire.LinkWatch", Tunnel)

    async def test(bench: Bench) -> None:
        spec = PtpPortSpec(interface="tun0", transport="udp4", clock=ETH0)
        with pytest.raises(OSError, match="no MAC address"):
            ptp_sockets.open_ptp(asyncio.get_running_loop(), spec, bench.phc, bench.ear)

    on_a_loop(test)


def test_a_loop_that_is_done_with_is_not_kept() -> None:
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        spec = PtpPortSpec(interface="nowhere0", transport="udp4", clock=ETH0)
        with pytest.raises(OSError, match="No such device"):
            ptp_sockets.open_ptp(loop, spec, Machine().plug("eth0", 0), Ear())  # type: ignore[arg-type]  # not reached
        return weakref.ref(loop)

    with asyncio.Runner() as runner:
        found = runner.run(main())
    del runner
    gc.collect()
    assert found() is None
