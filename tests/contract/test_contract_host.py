"""What every ``timesync.host.Host`` keeps to: the same tests on the simulated machine and on this one."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import pytest
from host_benches import BENCHES, CLOCK, WAIT_S, Bench, veth_missing

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Leap, Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Tai
from timesync.host import ClockReport, Exchange
from timesync.ntp.server import ServerSettings
from timesync.wire.ntp import Mode, decode

S = 1_000_000_000
EVERYBODY = ServerSettings(allow=(ip_network("0.0.0.0/0"),))
# RFC 5905, figure 8: version 4, mode 3, and a transmit timestamp; all else is zero.
REQUEST = bytes([0x23]) + bytes(39) + (0x0123456789ABCDEF).to_bytes(8, "big")


@pytest.fixture(params=sorted(BENCHES))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    reason = veth_missing() if request.param == "veth" else None
    if reason is not None:
        pytest.skip(reason)
    with BENCHES[request.param](tmp_path / "state") as made:
        yield made


class Handler:
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.packets: list[tuple[bytes, Stamp | None]] = []
        self.sent: list[Stamp | None] = []
        self.errors: list[OSError] = []
        self.close_on_packet: Exchange | None = None
        self._changed = asyncio.Event()

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self.packets.append((data, stamp))
        self._changed.set()
        if self.close_on_packet is not None:
            self.close_on_packet.close()

    def on_sent(self, stamp: Stamp | None) -> None:
        self.sent.append(stamp)
        self._changed.set()

    def on_error(self, error: OSError) -> None:
        self.errors.append(error)
        self._changed.set()

    async def until(self, *, packets: int = 0, sent: int = 0, errors: int = 0) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.packets) < packets or len(self.sent) < sent or len(self.errors) < errors:
                self._changed.clear()
                await self._changed.wait()


async def _stamped_echo(bench: Bench) -> tuple[Stamp, Stamp]:
    """One exchange with the echo server: when the request left and when the answer came.

    A kernel that has just been asked for stamps takes a moment to switch them on, so an answer without one is
    possible at first, and no more than a sample lost.
    """
    for _ in range(100):
        handler = Handler()
        with closing(bench.host.open_exchange(bench.echo, CLOCK, handler)) as exchange:
            exchange.send(b"request")
            await handler.until(packets=1, sent=1)
        ((data, received),) = handler.packets
        (sent,) = handler.sent
        assert data == b"ECHO request"
        if sent is not None and received is not None:
            return sent, received
    raise AssertionError("no answer in a hundred had a receive stamp")


# --- exchanges


def test_a_request_and_its_answer_are_stamped_on_the_clock_asked_for(bench: Bench) -> None:
    async def main() -> None:
        clock = bench.host.clocks[CLOCK]
        before = clock.read()
        sent, received = await _stamped_echo(bench)
        after = clock.read()

        assert before.at <= sent.at < received.at <= after.at
        assert (CLOCK, before.epoch, StampSource.KERNEL) == (sent.clock, sent.epoch, sent.source)
        assert (CLOCK, before.epoch, StampSource.KERNEL) == (received.clock, received.epoch, received.source)

    bench.run(main())


def test_the_transmit_stamp_needs_no_answer_and_comes_once(bench: Bench) -> None:
    async def main() -> None:
        handler = Handler()
        with closing(bench.host.open_exchange(bench.silent, CLOCK, handler)) as exchange:
            exchange.send(b"request")
            assert handler.sent == []  # never from inside send
            await handler.until(sent=1)
            await asyncio.sleep(0.12)
        assert len(handler.sent) == 1
        assert handler.sent[0] is not None
        assert (handler.packets, handler.errors) == ([], [])

    bench.run(main())


def test_a_closed_port_is_told_as_a_refused_connection(bench: Bench) -> None:
    async def main() -> None:
        handler = Handler()
        with closing(bench.host.open_exchange(bench.refusing, CLOCK, handler)) as exchange:
            exchange.send(b"request")
            await handler.until(sent=1, errors=1)
        assert [type(error) for error in handler.errors] == [ConnectionRefusedError]
        assert handler.packets == []

    bench.run(main())


def test_an_absent_host_is_told_as_one_without_a_route(bench: Bench) -> None:
    """The network asks for it three times, a second apart, and then says so; the kernel does not unless it is asked."""
    absent = bench.absent
    if absent is None:
        pytest.skip("every address of this network has a host")

    async def main() -> None:
        handler = Handler()
        with closing(bench.host.open_exchange(absent, CLOCK, handler)) as exchange:
            exchange.send(b"request")
            await handler.until(errors=1)
        assert {errno.EHOSTUNREACH} == {error.errno for error in handler.errors}
        assert {os.strerror(errno.EHOSTUNREACH)} == {error.strerror for error in handler.errors}

    bench.run(main())


def test_answers_go_to_the_exchange_that_asked(bench: Bench) -> None:
    async def main() -> None:
        handlers = [Handler() for _ in range(8)]
        exchanges = [bench.host.open_exchange(bench.echo, CLOCK, handler) for handler in handlers]
        for number, exchange in enumerate(exchanges):
            exchange.send(f"{number}".encode())
        for handler in handlers:
            await handler.until(packets=1, sent=1)
        for exchange in exchanges:
            exchange.close()
        assert [handler.packets[0][0] for handler in handlers] == [f"ECHO {n}".encode() for n in range(8)]

    bench.run(main())


def test_an_exchange_sends_one_request(bench: Bench) -> None:
    async def main() -> None:
        with closing(bench.host.open_exchange(bench.silent, CLOCK, Handler())) as exchange:
            exchange.send(b"request")
            with pytest.raises(RuntimeError, match="one request"):
                exchange.send(b"another")

    bench.run(main())


def test_nothing_is_told_after_closing_and_nothing_can_be_sent(bench: Bench) -> None:
    async def main() -> None:
        handler = Handler()
        exchange = bench.host.open_exchange(bench.echo, CLOCK, handler)
        exchange.send(b"request")
        exchange.close()
        exchange.close()
        await asyncio.sleep(0.12)
        assert (handler.packets, handler.sent, handler.errors) == ([], [], [])
        with pytest.raises(OSError, match="Bad file descriptor"):
            exchange.send(b"again")

    bench.run(main())


def test_a_handler_may_close_its_exchange(bench: Bench) -> None:
    async def main() -> None:
        handler = Handler()
        handler.close_on_packet = exchange = bench.host.open_exchange(bench.echo, CLOCK, handler)
        exchange.send(b"request")
        await handler.until(packets=1)
        await asyncio.sleep(0.06)
        assert len(handler.packets) == 1

    bench.run(main())


def test_stamps_follow_the_clock_when_it_is_stepped(bench: Bench) -> None:
    async def main() -> None:
        clock = bench.host.clocks[CLOCK]
        old, _ = await _stamped_echo(bench)
        clock.step(Duration.from_s(100))
        new, _ = await _stamped_echo(bench)
        assert new.epoch == old.epoch + 1
        assert 100 < (new.at - old.at).s() < 100 + WAIT_S

    bench.run(main())


# --- clocks


def test_the_clock_runs_forward_at_about_its_rate(bench: Bench) -> None:
    async def main() -> None:
        gained, elapsed = await _gain(bench, 0.1)
        assert elapsed > 0.099
        assert abs(gained) < 0.002

    bench.run(main())


def test_a_frequency_takes_effect_and_can_be_read_back(bench: Bench) -> None:
    async def main() -> None:
        clock = bench.host.clocks[CLOCK]
        assert clock.frequency() == Rate(0.0)
        taken = clock.adjust_frequency(Rate.from_ppm(90_000))
        assert taken.ppm() == pytest.approx(90_000)
        assert clock.frequency() == taken
        await asyncio.sleep(clock.limits.frequency_latency.s())
        gained, elapsed = await _gain(bench, 0.2)
        assert gained == pytest.approx(0.09 * elapsed, abs=0.004)

    bench.run(main())


def test_a_frequency_beyond_the_limit_is_clamped(bench: Bench) -> None:
    clock = bench.host.clocks[CLOCK]
    limit = clock.limits.max_frequency
    assert clock.adjust_frequency(Rate(0.5)).ratio == pytest.approx(limit.ratio)
    assert clock.adjust_frequency(Rate(-0.5)).ratio == pytest.approx(-limit.ratio)
    assert clock.adjust_frequency(Rate(0.0)) == Rate(0.0)


def test_a_frequency_is_rounded_like_the_kernels(bench: Bench) -> None:
    clock = bench.host.clocks[CLOCK]
    wanted = Rate.from_ppm(12.345_678_9)
    taken = clock.adjust_frequency(wanted)
    assert abs(taken.ppm() - wanted.ppm()) <= 0.5 / 65_536
    assert taken.to_kernel() == wanted.to_kernel()


@pytest.mark.parametrize("by_s", [0.25, -0.25, 1e6, -1e6])
def test_a_step_moves_the_reading_and_begins_an_epoch(bench: Bench, by_s: float) -> None:
    clock = bench.host.clocks[CLOCK]
    # The monotonic readings lie outside of the others: whatever comes between is allowed for.
    mono_before, before = bench.host.mono(), clock.read()
    clock.step(Duration.from_s(by_s))
    after, mono_after = clock.read(), bench.host.mono()

    assert after.epoch == before.epoch + 1 == clock.epoch
    stepped = (after.at - before.at).s()
    assert by_s - 1e-6 <= stepped <= by_s + (mono_after - mono_before).s() + 1e-4


def test_a_report_is_taken(bench: Bench) -> None:
    report = ClockReport(True, Duration.from_ns(1000), Duration.from_ns(5000), Leap.NONE, 37)
    bench.host.clocks[CLOCK].report(report)


def test_the_clock_knows_its_name_kind_and_limits(bench: Bench) -> None:
    clock = bench.host.clocks[CLOCK]
    assert clock.id == ClockId(CLOCK)
    assert clock.kind in {"system", "virtual"}
    assert clock.limits.max_frequency.ratio > 0
    assert 0 < clock.limits.precision.s() < 0.001
    assert clock.limits.frequency_latency.s() >= 0


async def _gain(bench: Bench, seconds: float) -> tuple[float, float]:
    """How many seconds the clock gains on an unsteered one in about ``seconds``, and how long that was."""
    clock = bench.host.clocks[CLOCK]

    def pair() -> tuple[Instant[Tai], int]:
        # The tightest of several, since anything may come between two readings.
        tries = []
        for _ in range(5):
            before = bench.raw_ns()
            at = clock.read().at
            after = bench.raw_ns()
            tries.append((after - before, at, (before + after) // 2))
        _, at, raw = min(tries, key=lambda one: one[0])
        return at, raw

    at, raw = pair()
    await asyncio.sleep(seconds)
    later, raw_later = pair()
    elapsed = (raw_later - raw) / S
    return (later - at).s() - elapsed, elapsed


# --- time, chance, names, files


def test_monotonic_time_is_the_loops(bench: Bench) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            before, mono, after = loop.time(), bench.host.mono(), loop.time()
            assert before - 1e-6 <= mono.ns() / S <= after + 1e-6
            await asyncio.sleep(0.01)

    bench.run(main())


def test_randomness_is_a_share_of_one_and_entropy_as_long_as_asked_for(bench: Bench) -> None:
    numbers = [bench.host.rng.random() for _ in range(100)]
    assert all(0 <= number < 1 for number in numbers)
    assert len(set(numbers)) == 100
    assert [len(bench.host.entropy(size)) for size in (0, 1, 8, 64)] == [0, 1, 8, 64]
    assert bench.host.entropy(16) != bench.host.entropy(16)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_an_address_resolves_to_itself(bench: Bench, address: str) -> None:
    assert bench.run(bench.host.resolve(address, 123)) == [Endpoint(address, 123)]


def test_a_name_resolves_to_its_addresses_each_once(bench: Bench) -> None:
    found = bench.run(bench.host.resolve("localhost", 123))
    assert Endpoint("127.0.0.1", 123) in found
    assert len(found) == len(set(found))


def test_an_unknown_name_is_an_os_error(bench: Bench) -> None:
    # RFC 6761, 6.4: ``invalid`` never exists.
    with pytest.raises(OSError, match=r"(?i)name"):
        bench.run(bench.host.resolve("nowhere.invalid", 123))


def test_files_are_replaced_whole_and_missing_ones_are_none(bench: Bench) -> None:
    assert bench.host.load("drift") is None
    bench.host.save("drift", b"a longer one")
    bench.host.save("drift", b"short")
    bench.host.save("other", b"")
    assert bench.host.load("drift") == b"short"
    assert bench.host.load("other") == b""


# --- serving


def test_a_service_answers_a_client_on_the_port_it_says(bench: Bench) -> None:
    async def main() -> None:
        service = bench.host.serve_ntp(EVERYBODY, [Endpoint(bench.own_address, 0)], 0)
        with closing(service):
            (address,) = service.addresses
            assert address.port != 0
            handler = Handler()
            with closing(bench.host.open_exchange(address, CLOCK, handler)) as exchange:
                exchange.send(REQUEST)
                await handler.until(packets=1, sent=1)
            reply = decode(handler.packets[0][0])
            assert reply.mode is Mode.SERVER
            assert reply.origin == 0x0123456789ABCDEF
            assert reply.leap is Leap.UNKNOWN  # nothing has been published
            assert (1, 1) == (service.counters().received, service.counters().answered)

    bench.run(main())


def test_a_port_that_is_taken_is_an_os_error(bench: Bench) -> None:
    async def main() -> None:
        with (
            closing(bench.host.serve_ntp(EVERYBODY, [Endpoint(bench.own_address, 0)], 0)) as service,
            pytest.raises(OSError, match=r"(?i)in use"),
        ):
            bench.host.serve_ntp(EVERYBODY, [service.addresses[0]], 0)

    bench.run(main())
