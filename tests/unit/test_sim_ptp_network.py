"""Simulated cards against what was put into them: delays, noise, losses, and the clock that stamps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from statistics import mean, pstdev
from typing import Any

import pytest
from sim_support import make_clock

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.law import Exactly, Exponential
from timesync.sim.loop import run
from timesync.sim.network import Path
from timesync.sim.oscillator import Quartz
from timesync.sim.ptp_network import CardModel, PtpSegment, SimCard
from timesync.sim.world import World
from timesync.transport import PtpPortSpec

STILL = CardModel(slowness=Exactly())


def message(sequence: int, *, two_step: bool = True) -> bytes:
    head = bytes([0, 0x12, 0, 44, 0, 0, 2 if two_step else 0, 0])
    return head + bytes(22) + sequence.to_bytes(2, "big") + bytes(12)


class Ear:
    """A handler that keeps what comes, with its true time in ns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.messages: list[tuple[int, bytes, Stamp | None]] = []
        self.sent: list[tuple[int, int, Stamp | None]] = []
        self.links: list[tuple[int, bool]] = []
        self.errors: list[OSError] = []

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        self.messages.append((self.world.elapsed.ns(), data, stamp))

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        self.sent.append((self.world.elapsed.ns(), token, stamp))

    def on_link(self, *, up: bool) -> None:
        self.links.append((self.world.elapsed.ns(), up))

    def on_error(self, error: OSError) -> None:
        self.errors.append(error)


class Pair:
    """Two cards with clocks of their own on a segment."""

    def __init__(self, model: CardModel = STILL, **more: Any) -> None:
        self.world = World(seed=3)
        self.segment = PtpSegment(self.world, **more)
        fast = Quartz(frequency_error=Rate.from_ppm(50))
        self.clock_a = make_clock(self.world, name="phc-a", model=ClockModel(offset=Duration.from_s(2.0)))
        self.clock_b = make_clock(self.world, fast, name="phc-b")
        self.a = self.segment.card("a", phc=self.clock_a, model=model)
        self.b = self.segment.card("b", phc=self.clock_b, model=model)
        self.heard_a, self.heard_b = Ear(self.world), Ear(self.world)

    def spec(self, card: SimCard, **more: Any) -> PtpPortSpec:
        clock = card.phc.id if card.phc is not None else ClockId("none")
        return PtpPortSpec(interface="eth0", transport="l2", clock=clock, **more)

    def run(self, main: Callable[[Pair], Coroutine[Any, Any, None]]) -> None:
        run(self.world, main(self))

    def open(self, card: SimCard, ear: Ear, clock: SimClock | None = None, **more: Any) -> Any:
        phc = card.phc
        assert phc is not None
        return card.open_ptp(self.spec(card, **more), clock or phc, ear)


def test_stamps_are_of_the_card_s_clock_at_the_true_moments() -> None:
    async def main(pair: Pair) -> None:
        there, back = (
            Path(base=Duration.from_ns(700), jitter=Exactly()),
            Path(base=Duration.from_ns(300), jitter=Exactly()),
        )
        pair.segment.connect(pair.a, pair.b, there, back)
        a, b = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        await asyncio.sleep(10)
        left = pair.world.elapsed.ns()
        a.send_event(message(1), 1)
        await asyncio.sleep(0.001)
        b.send_event(message(2), 2)
        await asyncio.sleep(0.001)

        ((_, _, t1),) = pair.heard_a.sent
        ((came, _, t2),) = pair.heard_b.messages
        ((_, _, t3),) = pair.heard_b.sent
        ((_, _, t4),) = pair.heard_a.messages
        stamps = (t1, t2, t3, t4)
        assert came == left + 700
        assert ["phc-a", "phc-b", "phc-b", "phc-a"] == [stamp.clock for stamp in stamps if stamp is not None]
        assert {StampSource.HARDWARE} == {stamp.source for stamp in stamps if stamp is not None}
        assert t1 is not None
        assert t2 is not None
        assert t3 is not None
        assert t4 is not None
        # b gained 50 ppm in 10 s, 500 us; a began 2 s ahead.
        ahead = 2_000_000_000 - 500_000
        assert (t2.at - t1.at).ns() == pytest.approx(700 - ahead, abs=2)
        assert (t4.at - t3.at).ns() == pytest.approx(300 + ahead, abs=60)  # 1 ms later b has gained 50 ns more

    Pair().run(main)


def test_the_noise_of_a_stamp_is_as_asked_for() -> None:
    async def main(pair: Pair) -> None:
        a, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        for number in range(2000):
            a.send_event(message(number), number)
            await asyncio.sleep(0.01)
        errors = []
        for (_, token, stamp), (_, data, _) in zip(pair.heard_a.sent, pair.heard_b.messages, strict=True):
            assert stamp is not None
            assert data == message(token)
            errors.append((stamp.at - pair.world.start).ns() - 2_000_000_000 - token * 10_000_000)
        assert mean(errors) == pytest.approx(0, abs=3)
        assert pstdev(errors) == pytest.approx(20, rel=0.1)

    Pair(CardModel(slowness=Exactly(), stamp_noise_s=20e-9)).run(main)


def test_stamps_that_are_lost_are_none_and_on_time() -> None:
    async def main(pair: Pair) -> None:
        a, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        for number in range(1000):
            a.send_event(message(number), number)
            await asyncio.sleep(0.2)
        assert sorted(token for _, token, _ in pair.heard_a.sent) == list(range(1000))
        lost = [(at, token) for at, token, stamp in pair.heard_a.sent if stamp is None]
        assert len(lost) == pytest.approx(200, abs=40)
        assert {100_000_000} == {at - token * 200_000_000 for at, token in lost}
        unstamped = [data for _, data, stamp in pair.heard_b.messages if stamp is None]
        assert len(unstamped) == pytest.approx(100, abs=30)
        assert len(pair.heard_b.messages) == 1000

    Pair(CardModel(slowness=Exactly(), transmit_stamp_loss=0.2, receive_stamp_loss=0.1)).run(main)


def test_messages_are_lost_and_overtake_each_other_as_the_path_says() -> None:
    async def main(pair: Pair) -> None:
        pair.segment.connect(pair.a, pair.b, Path(base=Duration.from_ns(100), jitter=Exponential(0.05), loss=0.3))
        a, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        for number in range(1000):
            a.send_general(message(number))
            await asyncio.sleep(0.02)
        await asyncio.sleep(2)
        order = [int.from_bytes(data[30:32], "big") for _, data, _ in pair.heard_b.messages]
        assert len(order) == pytest.approx(700, abs=50)
        assert pair.segment.lost == 1000 - len(order)
        assert order != sorted(order)

    Pair().run(main)


def test_a_machine_is_slow_and_keeps_the_order() -> None:
    async def main(pair: Pair) -> None:
        a, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        for number in range(200):
            a.send_general(message(number))
        await asyncio.sleep(1)
        assert [message(number) for number in range(200)] == [data for _, data, _ in pair.heard_b.messages]
        assert pair.heard_b.messages[-1][0] > 1_000_000

    Pair(CardModel(slowness=Exponential(1e-3))).run(main)


def test_software_stamps_are_of_the_clock_asked_for() -> None:
    async def main(pair: Pair) -> None:
        system = make_clock(pair.world, name="system")
        a = pair.open(pair.a, pair.heard_a, system, timestamping="software")
        b = pair.open(pair.b, pair.heard_b, timestamping="software")
        assert (False, False) == (a.hardware, b.hardware)
        a.send_event(message(1), 1)
        await asyncio.sleep(0.01)
        ((_, _, sent),) = pair.heard_a.sent
        ((_, _, received),) = pair.heard_b.messages
        assert sent is not None
        assert received is not None
        assert ("system", StampSource.KERNEL) == (sent.clock, sent.source)
        assert ("phc-b", StampSource.KERNEL) == (received.clock, received.source)

    Pair().run(main)


def test_a_one_step_card_writes_its_time_into_sync() -> None:
    async def main(pair: Pair) -> None:
        a, _ = pair.open(pair.a, pair.heard_a, one_step=True), pair.open(pair.b, pair.heard_b, one_step=False)
        assert a.one_step
        a.send_event(message(1, two_step=False), 1)
        a.send_event(message(2), 2)
        await asyncio.sleep(0.01)
        (_, first, _), (_, second, _) = pair.heard_b.messages
        reading = pair.world.start + Duration.from_s(2.0)  # a is 2 s ahead
        seconds, nanoseconds = divmod(reading.ns(), 1_000_000_000)
        assert (seconds, nanoseconds) == (int.from_bytes(first[34:40], "big"), int.from_bytes(first[40:44], "big"))
        assert first[:34] == message(1, two_step=False)[:34]
        assert second == message(2)
        assert [(1, True), (2, False)] == [(token, stamp is None) for _, token, stamp in pair.heard_a.sent]

    Pair(CardModel(slowness=Exactly(), one_step=True)).run(main)


def test_a_switch_delivers_to_all_and_unicast_to_one() -> None:
    async def main(pair: Pair) -> None:
        third = pair.segment.card("c", phc=make_clock(pair.world, name="phc-c"))
        heard_c = Ear(pair.world)
        a, _, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b), pair.open(third, heard_c)
        a.send_general(message(1))
        a.send_general(message(2), destination=third.mac.hex("-").upper())
        a.send_general(message(3), destination="02:ff:ff:ff:ff:ff")
        await asyncio.sleep(0.01)
        assert [message(1)] == [data for _, data, _ in pair.heard_b.messages]
        assert [message(1), message(2)] == [data for _, data, _ in heard_c.messages]
        assert pair.segment.lost == 1
        with pytest.raises(ValueError, match="card c already"):
            pair.segment.card("c")

    Pair().run(main)


def test_an_outage_behind_a_switch_is_not_seen_by_the_link() -> None:
    async def main(pair: Pair) -> None:
        start = pair.world.start
        pair.segment.outage(pair.a, pair.b, start + Duration.from_s(1), start + Duration.from_s(2))
        a, _ = pair.open(pair.a, pair.heard_a), pair.open(pair.b, pair.heard_b)
        for number in range(30):
            a.send_general(message(number))
            await asyncio.sleep(0.1)
        seen = [int.from_bytes(data[30:32], "big") for _, data, _ in pair.heard_b.messages]
        assert [*range(10), *range(20, 30)] == seen
        assert [(0, True)] == pair.heard_a.links

    Pair().run(main)


def test_the_same_seed_gives_the_same_stamps() -> None:
    def trace() -> list[tuple[int, int, Stamp | None]]:
        pair = Pair(CardModel(stamp_noise_s=1e-8, transmit_stamp_loss=0.1))

        async def main(pair: Pair) -> None:
            a = pair.open(pair.a, pair.heard_a)
            for number in range(50):
                a.send_event(message(number), number)
                await asyncio.sleep(0.125)

        pair.run(main)
        return pair.heard_a.sent

    assert trace() == trace()
