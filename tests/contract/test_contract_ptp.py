"""What every ``timesync.transport.PtpSocket`` keeps to: simulated cards and a veth pair, over all three transports."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ptp_benches import BENCHES, CLOCK, INTERFACE, PtpBench, Recorder, sync, veth_missing

from timesync.base.measure import Stamp, StampSource
from timesync.host import ClockError
from timesync.transport import PtpPortSpec, TransportName

PDELAY_REQ, FOLLOW_UP, ANNOUNCE = 2, 8, 0xB
PATIENCE_S = 0.3
"""Longer than a transmit stamp is waited for."""


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PtpBench]:
    reason = veth_missing() if request.param == "veth" else None
    if reason is not None:
        pytest.skip(reason)
    with BENCHES[request.param](tmp_path / "state") as made:
        yield made


@pytest.fixture(params=["udp4", "udp6", "l2"])
def transport(request: pytest.FixtureRequest) -> TransportName:
    found: TransportName = request.param
    return found


def spec(transport: TransportName, **more: Any) -> PtpPortSpec:
    more.setdefault("timestamping", "software")
    return PtpPortSpec(interface=INTERFACE, transport=transport, clock=CLOCK, **more)


class Pair:
    """A port at each end, both with a link."""

    def __init__(self, bench: PtpBench, transport: TransportName, **more: Any) -> None:
        self.bench, self.transport = bench, transport
        self.heard_a, self.heard_b = Recorder(), Recorder()
        self.a = bench.open("a", self.heard_a, spec(transport, **more))
        self.b = bench.open("b", self.heard_b, spec(transport, **more))

    async def ready(self) -> None:
        """Wait for the link, and until messages come through with all stamps: a kernel switches these on late."""
        for heard in (self.heard_a, self.heard_b):
            await heard.until(lambda heard=heard: bool(heard.links) and heard.links[-1])  # type: ignore[misc]
        for number in range(60_000, 60_100):
            self.a.send_event(sync(number), number)
            await self.heard_a.until(lambda number=number: number in dict(self.heard_a.sent))  # type: ignore[misc]
            stamps = dict(self.heard_a.sent)
            came = {data: stamp for data, stamp, _ in self.heard_b.messages}
            if stamps[number] is not None and came.get(sync(number)) is not None:
                break
            await asyncio.sleep(0.02)
        else:
            raise AssertionError("a hundred messages did not come through with both stamps")
        for heard in (self.heard_a, self.heard_b):
            heard.messages.clear()
            heard.sent.clear()

    def close(self) -> None:
        self.a.close()
        self.b.close()


def test_an_event_message_is_stamped_at_both_ends_on_the_clock_asked_for(
    bench: PtpBench, transport: TransportName
) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            before = bench.clock.read()
            pair.a.send_event(sync(1), 7)
            assert pair.heard_a.sent == []  # never from inside the call
            await pair.heard_a.until(lambda: bool(pair.heard_a.sent))
            await pair.heard_b.until(lambda: bool(pair.heard_b.messages))
            after = bench.clock.read()

            ((token, sent),) = pair.heard_a.sent
            ((data, received, source),) = pair.heard_b.messages
            assert isinstance(sent, Stamp)
            assert isinstance(received, Stamp)
            assert (7, sync(1), bench.address("a", transport)) == (token, data, source)
            assert before.at <= sent.at <= received.at <= after.at
            for stamp in (sent, received):
                assert (CLOCK, before.epoch, StampSource.KERNEL) == (stamp.clock, stamp.epoch, stamp.source)
            assert pair.heard_a.messages == []  # nobody hears itself
            assert pair.heard_b.sent == []

    bench.run(main())


def test_a_general_message_has_no_stamp(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            pair.a.send_general(sync(2, kind=FOLLOW_UP))
            await pair.heard_b.until(lambda: bool(pair.heard_b.messages))
            expected = [(sync(2, kind=FOLLOW_UP), None, bench.address("a", transport))]
            assert expected == pair.heard_b.messages
            assert pair.heard_a.sent == []

    bench.run(main())


def test_messages_of_peer_delay_are_heard(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            pair.a.send_event(sync(3, kind=PDELAY_REQ), 1, peer=True)
            await pair.heard_b.until(lambda: bool(pair.heard_b.messages))
            assert [sync(3, kind=PDELAY_REQ)] == pair.heard_b.data()

    bench.run(main())


def test_what_follows_a_message_is_cut_off(bench: PtpBench, transport: TransportName) -> None:
    """By ``messageLength``: padding of Ethernet, a PRP trailer; what is too short for that is left as it is."""

    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            broken = sync(5, kind=FOLLOW_UP)[:40]
            pair.a.send_general(sync(4, kind=FOLLOW_UP) + bytes.fromhex("00a1002c88fb"))
            pair.a.send_general(broken)
            await pair.heard_b.until(lambda: len(pair.heard_b.messages) == 2)
            first, second = pair.heard_b.data()
            assert first == sync(4, kind=FOLLOW_UP)
            assert second[: len(broken)] == broken

    bench.run(main())


def test_a_message_may_go_to_one_address(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            to = bench.address("b", transport)
            pair.a.send_event(sync(6), 1, destination=to)
            pair.a.send_general(sync(7, kind=ANNOUNCE), destination=to)
            await pair.heard_a.until(lambda: bool(pair.heard_a.sent))
            await pair.heard_b.until(lambda: len(pair.heard_b.messages) == 2)
            assert {sync(6), sync(7, kind=ANNOUNCE)} == set(pair.heard_b.data())
            assert pair.heard_a.sent[0][1] is not None

    bench.run(main())


def test_ports_on_one_card_get_the_messages_of_their_domains(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        heard = {domain: Recorder() for domain in ((0, 0), (20, 0), (0, 0x100))}
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            ports = [
                bench.open("b", recorder, spec(transport, domains=frozenset({domain})))
                for domain, recorder in heard.items()
            ]
            messages = {domain: sync(8, domain=domain[0], sdo_id=domain[1]) for domain in heard}
            for message in (*messages.values(), sync(9, domain=99)):
                pair.a.send_event(message, 1)
            await pair.heard_b.until(lambda: len(pair.heard_b.messages) == 4)  # the port that wants all
            for domain, recorder in heard.items():
                await recorder.until(lambda recorder=recorder: bool(recorder.messages))  # type: ignore[misc]
                assert [messages[domain]] == recorder.data()
                recorder.messages.clear()

            # One goes; the others stay.
            ports[0].close()
            pair.a.send_event(sync(10), 2)
            pair.a.send_event(sync(10, domain=20), 3)
            await heard[20, 0].until(lambda: bool(heard[20, 0].messages))
            await pair.heard_b.until(lambda: len(pair.heard_b.messages) == 6)
            assert heard[0, 0].messages == []
            for port in ports:
                port.close()

    bench.run(main())


def test_each_stamp_goes_to_the_port_that_sent(bench: PtpBench, transport: TransportName) -> None:
    """Two ports with messages under way at once, of which two are alike to the octet, as unicast Sync may be."""

    async def main() -> None:
        other = Recorder()
        with closing(Pair(bench, transport)) as pair, closing(bench.open("a", other, spec(transport))) as second:
            await pair.ready()
            for number in range(20):
                pair.a.send_event(sync(number), number)
                second.send_event(sync(number, port=2), 100 + number)
            pair.a.send_event(sync(19), 20)
            await pair.heard_a.until(lambda: len(pair.heard_a.sent) == 21)
            await other.until(lambda: len(other.sent) == 20)

            assert list(range(21)) == [token for token, _ in pair.heard_a.sent]
            assert list(range(100, 120)) == [token for token, _ in other.sent]
            for recorder in (pair.heard_a, other):
                times = [stamp.at for _, stamp in recorder.sent if stamp is not None]
                assert sorted(times) == times
                assert len(times) == len(recorder.sent)
            assert other.messages == []

    bench.run(main())


def test_the_link_is_told_at_first_and_whenever_it_changes(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            pair.heard_a.links.clear()
            bench.cut(connected=False)
            await pair.heard_a.until(lambda: pair.heard_a.links == [False])

            pair.a.send_event(sync(11), 5)
            pair.a.send_general(sync(11, kind=FOLLOW_UP))
            await pair.heard_a.until(lambda: bool(pair.heard_a.sent))
            await asyncio.sleep(PATIENCE_S)
            assert [5] == [token for token, _ in pair.heard_a.sent]

            bench.cut(connected=True)
            await pair.heard_a.until(lambda: pair.heard_a.links == [False, True])
            await pair.heard_b.until(lambda: pair.heard_b.links[-1])
            assert pair.heard_a.errors == []
            pair.heard_b.messages.clear()
            pair.a.send_general(sync(12, kind=FOLLOW_UP))
            await pair.heard_b.until(lambda: sync(12, kind=FOLLOW_UP) in pair.heard_b.data())

    bench.run(main())


def test_a_card_that_is_gone_is_told_once_and_the_port_survives_until_it_is_closed(
    bench: PtpBench, transport: TransportName
) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            bench.remove()
            await pair.heard_b.until(lambda: bool(pair.heard_b.errors))
            pair.b.send_event(sync(13), 1)
            pair.b.send_general(sync(13, kind=FOLLOW_UP))
            await pair.heard_b.until(lambda: bool(pair.heard_b.sent))
            await asyncio.sleep(PATIENCE_S)
            assert [(1, None)] == pair.heard_b.sent
            assert len(pair.heard_b.errors) == 1
            with pytest.raises(OSError, match="No such device"):
                bench.open("b", Recorder(), spec(transport))

    bench.run(main())


def test_nothing_is_told_after_closing_and_a_port_can_be_opened_again(
    bench: PtpBench, transport: TransportName
) -> None:
    async def main() -> None:
        with closing(Pair(bench, transport)) as pair:
            await pair.ready()
            links = list(pair.heard_a.links)
            pair.a.send_event(sync(14), 1)
            pair.a.close()
            pair.a.close()
            pair.a.send_event(sync(15), 2)
            pair.b.send_general(sync(16, kind=FOLLOW_UP))
            await asyncio.sleep(PATIENCE_S)
            told = pair.heard_a
            assert (links, [], [], []) == (told.links, told.sent, told.messages, told.errors)

            again = Recorder()
            with closing(bench.open("a", again, spec(transport))):
                pair.b.send_general(sync(17, kind=FOLLOW_UP))
                await again.until(lambda: bool(again.messages))
                assert [sync(17, kind=FOLLOW_UP)] == again.data()

    bench.run(main())


def test_hardware_stamps_are_demanded_in_vain_of_a_card_that_has_none(
    bench: PtpBench, transport: TransportName
) -> None:
    async def main() -> None:
        with pytest.raises(ClockError, match=f"{INTERFACE}a (are not|has no)"):
            bench.open("a", Recorder(), spec(transport, timestamping="hardware"))
        with closing(bench.open("a", Recorder(), spec(transport, timestamping="auto"))) as port:
            assert (False, False) == (port.hardware, port.one_step)
            assert len(port.mac) == 6

    bench.run(main())


def test_an_interface_that_does_not_exist_is_an_os_error(bench: PtpBench, transport: TransportName) -> None:
    async def main() -> None:
        wanted = PtpPortSpec(interface="nowhere0", transport=transport, clock=CLOCK)
        with pytest.raises(OSError, match="No such device"):
            bench.open("a", Recorder(), wanted)

    bench.run(main())
