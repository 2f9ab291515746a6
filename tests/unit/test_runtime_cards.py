"""Which network card stamps by which clock, cards that do not keep what they promise, and their exchanges."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterator

import pytest
from linux_support import NOW_NS, SYSTEM, TABLE, S, await_kernel_stamps
from phc_support import ETH0, FakeCard, Machine

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Stamp, StampSource
from timesync.host import ClockError, Trouble
from timesync.runtime.cards import Card, Cards
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.sockets import CardStamps, LinuxExchange, TransmitStamps
from timesync.runtime.stamping import StampClock
from timesync.runtime.system_clock import SystemClock
from timesync_drivers.clock import KernelClock
from timesync_drivers.netstamp import Received, StampedSocket, Transmitted, hold_stamps
from timesync_drivers.nic import Claim, Nics, Stamping

REMOTE = Endpoint("192.0.2.9", 123)
ABLE = Stamping(0x7F, 0, 0b11, 0b11)
PTP_ONLY = Stamping(0x7F, 0, 0b11, 1 << 12 | 1)
NAMES = {3: "enp1s0", 4: "enp2s0", 5: "enp1s0.7"}


class Held(Claim):
    """A claim that notes what becomes of it."""

    def __init__(self, interface: str, able: Stamping) -> None:
        self.interface = interface
        self.able = able
        self.changed: bool | OSError = False
        self.released = False

    def renew(self) -> bool:
        if isinstance(self.changed, OSError):
            raise self.changed
        return self.changed

    def release(self) -> None:
        self.released = True


class Bench:
    """Three interfaces; enp1s0, where packets go, and the VLAN on it have the hardware clock that is configured."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.card: FakeCard = self.machine.plug("eth0", NOW_NS + 37 * S, 10.0)
        self.phc: PhcClock = self.machine.clock()
        self.clocks: dict[ClockId, StampClock] = {ETH0: self.phc}
        self.able = {"enp1s0": ABLE, "enp2s0": Stamping(0x1A, None, 0, 0), "enp1s0.7": ABLE}
        self.claims: list[Held] = []
        self.ptp_claims: list[Held] = []
        self.refusal: OSError | None = None
        self.way = 3
        self.mono_ns = 0
        nics = Nics(lambda: list(NAMES.items()), self._stamping, self._claim, self._name)
        self.cards = Cards(
            self.clocks, nics=nics, claim_ptp=self._claim_ptp, route=self._route, mono_ns=lambda: self.mono_ns
        )

    def _route(self, address: str, scope: int) -> int:
        assert (REMOTE.address, 0) == (address, scope)
        if self.way == 0:
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return self.way

    def _name(self, index: int) -> str:
        if index not in NAMES:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return NAMES[index]

    def _stamping(self, name: str) -> Stamping:
        return self.able[name]

    def _claim(self, name: str, able: Stamping) -> Claim:
        if self.refusal is not None:
            raise self.refusal
        self.claims.append(Held(name, able))
        return self.claims[-1]

    def _claim_ptp(self, name: str, able: Stamping) -> Claim:
        if self.refusal is not None:
            raise self.refusal
        self.ptp_claims.append(Held(name, able))
        return self.ptp_claims[-1]

    def why_not(self) -> ClockError:
        with pytest.raises(ClockError) as caught:
            self.cards.towards(REMOTE)
        return caught.value

    def learn(self) -> None:
        """Let the clock's rate become known."""
        for _ in range(8):
            self.machine.run(1)
            self.mono_ns += S
            self.phc.cross()


def test_a_card_is_set_once_it_is_needed_and_put_back_at_the_end() -> None:
    bench = Bench()
    assert bench.claims == []
    card = bench.cards.towards(REMOTE)
    assert bench.cards.towards(REMOTE).clock is bench.phc
    assert (3, "enp1s0", ETH0) == (card.index, card.interface, card.clock.id)
    assert ["enp1s0"] == [claim.interface for claim in bench.claims]
    bench.cards.close()
    assert bench.claims[0].released


def test_why_a_card_cannot_stamp_is_said_with_what_to_do() -> None:
    bench = Bench()
    bench.way = 4
    assert "enp2s0 has no hardware timestamps" in str(bench.why_not())

    bench.way = 3
    bench.able["enp1s0"] = PTP_ONLY
    assert "stamps packets of PTP only" in str(bench.why_not())

    bench.able["enp1s0"] = Stamping(0x7F, 1, 0b11, 0b11)
    error = bench.why_not()
    assert "/dev/ptp1, which is none of the clocks that are there" in str(error)
    assert "clocks: {enp1s0: {phc: enp1s0}}" in error.advice

    bench.able["enp1s0"] = ABLE
    bench.refusal = OSError(errno.EPERM, os.strerror(errno.EPERM))
    error = bench.why_not()
    assert error.trouble is Trouble.PERMISSION
    assert "CAP_NET_ADMIN" in error.advice

    bench.way = 0
    assert "no interface is known for packets to 192.0.2.9: Network is unreachable" in str(bench.why_not())
    bench.way = 99
    assert "no interface is known" in str(bench.why_not())


def test_a_card_that_stamps_ptp_alone_does_for_ntp_over_ptp() -> None:
    bench = Bench()
    bench.able = dict.fromkeys(bench.able, PTP_ONLY)
    card = bench.cards.towards(REMOTE, over_ptp=True)
    assert bench.cards.towards(REMOTE, over_ptp=True).clock is card.clock is bench.phc
    assert ([], ["enp1s0"]) == (bench.claims, [claim.interface for claim in bench.ptp_claims])
    assert "stamps packets of PTP only" in str(bench.why_not())

    bench.ptp_claims[0].changed = OSError(errno.EBUSY, "another has it")
    assert bench.cards.check() == "the card of enp1s0 stamps no packets of NTP over PTP any more: another has it"
    bench.refusal = OSError(errno.EPERM, os.strerror(errno.EPERM))
    with pytest.raises(ClockError, match="cannot be set to stamp packets of NTP over PTP") as caught:
        bench.cards.towards(REMOTE, over_ptp=True)
    assert "hwstamp_ctl -i enp1s0 -t 1 -r 12" in caught.value.advice

    bench.refusal = None
    bench.cards.towards(REMOTE, over_ptp=True)
    bench.cards.close()
    assert bench.ptp_claims[-1].released


def test_a_card_that_stamps_every_packet_is_set_once_for_both() -> None:
    bench = Bench()
    bench.cards.towards(REMOTE)
    bench.cards.towards(REMOTE, over_ptp=True)
    assert (1, 0) == (len(bench.claims), len(bench.ptp_claims))


def test_a_card_that_stamps_ptp_over_ethernet_alone_does_for_neither() -> None:
    bench = Bench()
    bench.able["enp1s0"] = Stamping(0x7F, 0, 0b11, 1 << 9 | 1)
    with pytest.raises(ClockError, match="no packets of PTP over UDP"):
        bench.cards.towards(REMOTE, over_ptp=True)


def test_a_server_has_the_maps_of_cards_that_stamp_ptp_alone_where_it_serves_over_ptp() -> None:
    bench = Bench()
    bench.able["enp1s0"] = PTP_ONLY
    bench.learn()
    assert [5] == [card.interface for card in bench.cards.maps()]
    bench.mono_ns += 11 * S
    assert [3, 5] == [card.interface for card in bench.cards.maps(over_ptp=True)]
    assert ["enp1s0"] == [claim.interface for claim in bench.ptp_claims]


def test_a_clock_that_is_away_stamps_nothing() -> None:
    bench = Bench()
    bench.card.vanish()
    bench.phc.check_foreign()
    assert "none of the clocks that are there" in str(bench.why_not())


@pytest.mark.parametrize("sent", [True, False])
def test_a_card_whose_stamps_do_not_come_is_left_alone_for_ten_minutes(sent: bool) -> None:
    bench = Bench()
    card = bench.cards.towards(REMOTE)
    for _ in range(7):
        bench.cards.lost(card, sent=sent)
        bench.cards.came(card, sent=not sent)
    bench.cards.came(card, sent=sent)
    for _ in range(7):
        bench.cards.lost(card, sent=sent)
    bench.cards.towards(REMOTE)
    bench.cards.lost(card, sent=sent)
    assert "the stamps do not come" in str(bench.why_not())
    bench.mono_ns += 599 * S
    bench.why_not()
    bench.mono_ns += 2 * S
    assert bench.cards.towards(REMOTE).index == 3


def test_a_stamp_is_of_the_cards_clock_and_of_no_other() -> None:
    bench = Bench()
    card = bench.cards.towards(REMOTE)
    raw_ns = bench.card.phc_ns - 1000
    expected = Stamp(ETH0, 0, bench.phc.read().at, StampSource.HARDWARE)
    for interface in (0, 3, 5):
        stamp = card.stamp(raw_ns, interface)
        assert stamp is not None
        assert (expected.clock, expected.epoch, expected.source) == (stamp.clock, stamp.epoch, stamp.source)
        assert (expected.at - stamp.at).ns() == 1000
    assert card.stamp(raw_ns, 4) is None, "that card has no such clock"
    assert card.stamp(raw_ns, 99) is None, "nor has an interface that is gone"


def test_for_a_server_every_interface_of_the_card_is_mapped_once_the_rate_is_known() -> None:
    bench = Bench()
    assert bench.cards.maps() == ()
    bench.learn()
    first, vlan = bench.cards.maps()
    assert [3, 5] == [first.interface, vlan.interface]
    assert ["enp1s0", "enp1s0.7"] == [claim.interface for claim in bench.claims]
    for later_s in (0, 1, 3):
        raw_ns, real_ns = bench.card.phc_ns, bench.machine.real_ns
        kernel_ns = raw_ns + first.offset_ns + (raw_ns - first.base_ns) * (first.rate - 1)
        # 10 ppm of which nothing is left but rounding.
        assert abs(kernel_ns - real_ns) < 10, later_s
        bench.machine.run(1)


def test_no_map_is_given_while_stamps_from_before_a_step_may_still_come() -> None:
    bench = Bench()
    bench.learn()
    assert len(bench.cards.maps()) == 2
    bench.card.step(S)
    bench.phc.check_foreign()
    assert bench.cards.maps() == ()
    bench.machine.run(6)
    bench.phc.check_foreign()
    assert len(bench.cards.maps()) == 2
    bench.card.vanish()
    bench.phc.check_foreign()
    assert bench.cards.maps() == ()


def test_what_others_change_is_said_and_a_card_that_is_gone_forgotten() -> None:
    bench = Bench()
    bench.cards.towards(REMOTE)
    assert bench.cards.check() is None
    bench.claims[0].changed = True
    assert bench.cards.check() == "something else set what the card of enp1s0 stamps; it was widened again"
    bench.claims[0].changed = OSError(errno.EBUSY, "another program has the card stamp PTP packets only")
    said = bench.cards.check()
    assert said is not None
    assert "stamps no packets of NTP any more: another program has the card" in said
    assert bench.cards.check() is None
    bench.cards.towards(REMOTE)
    bench.claims[1].changed = OSError(errno.ENODEV, "No such device")
    assert bench.cards.check() is None
    bench.cards.towards(REMOTE)
    assert len(bench.claims) == 3


# --- exchanges


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        yield udp


class Handler:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.sent: list[Stamp | None] = []
        self.packets: list[tuple[bytes, Stamp | None]] = []
        self._changed = asyncio.Event()

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self.packets.append((data, stamp))
        self._changed.set()

    def on_sent(self, stamp: Stamp | None) -> None:
        self.sent.append(stamp)
        self._changed.set()

    async def until(self, sent: int, packets: int) -> None:
        while (len(self.sent), len(self.packets)) != (sent, packets):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), 5)

    def on_error(self, error: OSError) -> None:
        raise error


class Stamped(StampedSocket):
    """A socket over a card: the stamps that come are those that it is given."""

    sent_ns: int | None = None
    card_ns: int | None = None

    def recv(self) -> Received | None:
        packet = super().recv()
        if packet is None:
            return None
        assert packet.source is StampSource.HARDWARE
        return Received(packet.data, self.card_ns, StampSource.HARDWARE)

    def read_transmit_stamp(self) -> Transmitted | None:
        assert super().read_transmit_stamp() is None, "the kernel's own must not come"
        sent_ns, self.sent_ns = self.sent_ns, None
        return None if sent_ns is None else Transmitted(0, sent_ns, StampSource.HARDWARE)


def _exchanged(peer: socket.socket, bench: Bench, sent_ns: int | None, received_ns: int | None) -> Handler:
    """One request and its answer."""

    async def main() -> Handler:
        handler = Handler()
        remote = Endpoint("127.0.0.1", peer.getsockname()[1])
        udp = Stamped(remote, os.urandom, hardware=True)
        udp.sent_ns = sent_ns
        stamps = CardStamps(bench.cards, bench.cards.towards(REMOTE))
        system = SystemClock(SYSTEM, KernelClock(), TABLE)
        loop = asyncio.get_running_loop()
        exchange = LinuxExchange(loop, udp, remote, system, handler, TransmitStamps(), stamps)
        exchange.send(b"ping")
        _, source = peer.recvfrom(100)
        peer.sendto(b"first", source)
        await handler.until(1, 1)
        udp.card_ns = received_ns
        peer.sendto(b"second", source)
        await handler.until(1, 2)
        exchange.close()
        return handler

    return asyncio.run(main())


def test_an_exchange_gives_the_cards_stamps_or_none_but_never_the_kernels(peer: socket.socket) -> None:
    bench = Bench()
    with hold_stamps():
        await_kernel_stamps()
        handler = _exchanged(peer, bench, None, None)
        assert handler.sent == [None]
        assert [(b"first", None), (b"second", None)] == handler.packets
        bare = StampedSocket(Endpoint("127.0.0.1", peer.getsockname()[1]), os.urandom, hardware=True)
        bare.send(b"x")
        _, source = peer.recvfrom(100)
        peer.sendto(b"y", source)
        assert bare.read_transmit_stamp() is None
        assert Received(b"y", None, StampSource.HARDWARE) == bare.recv()
        bare.close()


def test_losses_of_exchanges_are_counted_until_the_card_is_given_up(peer: socket.socket) -> None:
    bench = Bench()
    for _ in range(4):
        _exchanged(peer, bench, None, None)
    assert "the stamps do not come" in str(bench.why_not())


def test_stamps_that_come_are_on_the_cards_clock(peer: socket.socket) -> None:
    bench = Bench()
    now_ns = bench.card.phc_ns
    handler = _exchanged(peer, bench, now_ns - 2000, now_ns - 500)
    (sent,) = handler.sent
    received = handler.packets[1][1]
    assert sent is not None
    assert received is not None
    assert (ETH0, StampSource.HARDWARE) == (sent.clock, sent.source)
    assert (received.at - sent.at).ns() == 1500
    card: Card = bench.cards.towards(REMOTE)
    assert (0, 0) == (card.losses.sent, card.losses.received)
