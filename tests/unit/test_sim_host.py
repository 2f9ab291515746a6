"""The simulated host: exchanges, stamps, servers, storage; and determinism of the whole."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import sim_story
from sim_support import INSTANT, MS, STILL, US, Client, leap_table, make_host

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Leap, StampSource
from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai
from timesync.host import Host
from timesync.ntp.server import ServerSettings, ServeState
from timesync.sim.host import Machine, SimHost
from timesync.sim.law import Exactly, Exponential
from timesync.sim.loop import run
from timesync.sim.network import Network, Node
from timesync.sim.oscillator import Quartz
from timesync.sim.server import Behaviour, SimNtpServer
from timesync.sim.world import World
from timesync.wire.ntp import Mode, NtpPacket, decode, encode, timestamp_to_utc

S = Duration.from_s(1)
SYSTEM = ClockId("system")
REQUEST = encode(NtpPacket(mode=Mode.CLIENT, transmit=0x0123456789ABCDEF))
SERVER = Endpoint("192.0.2.2", 123)


class Scene:
    """A host and an outside server, one millisecond apart."""

    def __init__(
        self, machine: Machine = INSTANT, start: Instant[Tai] | None = None, quartz: Quartz | None = None
    ) -> None:
        self.world = World(1) if start is None else World(1, start)
        self.network = Network(self.world)
        self.host: SimHost = make_host(self.world, self.network, machine, quartz=quartz)
        self.far: Node = self.network.node("far", "192.0.2.2", "2001:db8::2")
        self.network.connect(self.host.node, self.far, STILL)
        self.server = SimNtpServer(self.world, self.far, leap_table(), turnaround=Exactly(3e-3))
        self.client = Client(self.world)

    def ask(self, remote: Endpoint = SERVER, data: bytes = REQUEST, wait: Duration = S) -> Client:
        """One exchange; the handler afterwards."""

        async def main() -> None:
            exchange = self.host.open_exchange(remote, SYSTEM, self.client)
            exchange.send(data)
            await asyncio.sleep(wait.s())
            exchange.close()

        run(self.world, main(), self.host.system)
        return self.client


def test_it_is_a_host() -> None:
    host: Host = Scene().host
    assert [SYSTEM] == list(host.clocks)
    assert 16 == len(host.entropy(16))
    assert 0 <= host.rng.random() < 1
    assert {"192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"} == host.own_addresses()
    assert host.check_foreign() is None


def test_an_exchange_stamps_both_ends_at_their_true_moments() -> None:
    scene = Scene()
    begin = scene.world.start
    client = scene.ask()
    ((sent_at, sent),) = client.sent
    ((got_at, data, got),) = client.packets
    assert sent is not None
    assert got is not None
    assert (0, 5_000_000) == (sent_at, got_at)
    assert (begin, begin + MS * 5) == (sent.at, got.at)
    assert (SYSTEM, 0, StampSource.KERNEL) == (got.clock, got.epoch, got.source)
    answer = decode(data)
    assert 0x0123456789ABCDEF == answer.origin
    # The server received after one millisecond and sent three later, by a perfect clock.
    pivot = leap_table().utc(begin)
    for stamp, after in ((answer.receive, MS), (answer.transmit, MS * 4)):
        assert abs(timestamp_to_utc(stamp, pivot) - (pivot + after)) <= Duration.from_ns(1)


def test_callbacks_are_late_but_stamps_are_not() -> None:
    machine = Machine(slowness=Exactly(2e-3), transmit_delay=Exactly(1e-3))
    scene = Scene(machine)
    begin = scene.world.start
    client = scene.ask()
    ((sent_at, sent),) = client.sent
    ((got_at, _, got),) = client.packets
    assert sent is not None
    assert got is not None
    assert (3_000_000, 8_000_000) == (sent_at, got_at)
    assert (begin + MS, begin + MS * 6) == (sent.at, got.at)


def test_lost_stamps_are_told_of() -> None:
    client = Scene(Machine(transmit_stamp_loss=1.0, receive_stamp_loss=1.0)).ask()
    assert [(50_000_000, None)] == client.sent
    ((_, _, stamp),) = client.packets
    assert stamp is None


def test_stamp_noise_has_its_size() -> None:
    scene = Scene(Machine(stamp_noise_s=10e-6))

    async def main() -> None:
        for _ in range(1_000):
            exchange = scene.host.open_exchange(SERVER, SYSTEM, scene.client)
            exchange.send(REQUEST)
            await asyncio.sleep(1)
            exchange.close()

    run(scene.world, main(), scene.host.system)
    errors = [
        (got.at - sent.at - MS * 5).s()
        for (_, sent), (_, _, got) in zip(scene.client.sent, scene.client.packets, strict=True)
        if sent is not None and got is not None
    ]
    assert 1_000 == len(errors)
    assert 10e-6 * 2**0.5 == pytest.approx(pstdev(errors), rel=0.1)
    assert 0.0 == pytest.approx(fmean(errors), abs=2e-6)


def test_a_closed_exchange_is_silent() -> None:
    scene = Scene()
    client = scene.ask(wait=MS * 4)
    scene.world.run_for(S)
    assert [] == client.packets
    assert 1 == len(client.sent)

    async def main() -> None:
        exchange = scene.host.open_exchange(SERVER, SYSTEM, client)
        exchange.close()
        with pytest.raises(OSError, match="Bad file"):
            exchange.send(REQUEST)

    run(scene.world, main(), scene.host.system)


def test_a_world_outlives_its_loop() -> None:
    scene = Scene(Machine(slowness=Exactly(2.0)))

    async def main() -> None:
        scene.host.open_exchange(SERVER, SYSTEM, scene.client).send(REQUEST)

    run(scene.world, main(), scene.host.system)
    scene.world.run_for(S * 10)
    assert 1 == scene.server.answers
    assert [] == scene.client.packets


def test_only_the_remote_is_heard() -> None:
    scene = Scene()

    async def main() -> None:
        exchange = scene.host.open_exchange(SERVER, SYSTEM, scene.client)
        stranger = scene.far.bind(scene.server, "192.0.2.2", 5000)
        for sender in (stranger, scene.server._sockets["0.0.0.0"]):
            sender.send(sender.local.port.to_bytes(2, "big"), exchange._socket.local)
        await asyncio.sleep(1)
        exchange.close()

    run(scene.world, main(), scene.host.system)
    assert [(123).to_bytes(2, "big")] == [data for _, data, _ in scene.client.packets]


def test_a_closed_port_is_an_error_and_no_route_is_one_at_once() -> None:
    scene = Scene()
    client = scene.ask(Endpoint("192.0.2.2", 999))
    assert [ConnectionRefusedError] == [type(error) for error in client.errors]
    node = scene.network.node("six", "2001:db8::6")
    host = SimHost(scene.world, node, [scene.host.system])

    async def main() -> None:
        with pytest.raises(OSError, match="unreachable"):
            host.open_exchange(SERVER, SYSTEM, client)

    run(scene.world, main())


def test_names_and_files() -> None:
    scene = Scene()
    host, dns = scene.host, scene.network.dns
    dns.set("pool.example.org", "192.0.2.2", "2001:db8::2")

    async def main() -> None:
        assert [SERVER, Endpoint("2001:db8::2", 123)] == await host.resolve("pool.example.org", 123)
        assert 2_000_000 == scene.world.elapsed.ns()
        assert [SERVER] == await host.resolve("192.0.2.2", 123)
        dns.dead = True
        with pytest.raises(OSError, match="Temporary"):
            await host.resolve("pool.example.org", 123)
        assert 5_002_000_000 == scene.world.elapsed.ns()

    run(scene.world, main(), host.system)
    assert host.load("drift") is None
    host.save("drift", b"1")
    assert b"1" == host.load("drift")
    host.save_failure = host.load_failure = PermissionError("read-only")
    with pytest.raises(PermissionError):
        host.save("drift", b"2")
    with pytest.raises(PermissionError):
        host.load("drift")
    assert {"drift": b"1"} == host.files


def test_mono_is_the_loops_time_by_the_machines_clock() -> None:
    scene = Scene(quartz=Quartz(frequency_error=Rate.from_ppm(100)))

    async def main() -> None:
        await asyncio.sleep(10)
        assert asyncio.get_running_loop().time() == scene.host.mono().scaled_ns / UNITS_PER_S
        assert 10_000_000_000 == pytest.approx(scene.host.mono().ns(), abs=1)

    run(scene.world, main(), scene.host.system)


def behave(behaviour: Behaviour) -> Callable[[SimNtpServer], None]:
    def change(server: SimNtpServer) -> None:
        server.behaviour = behaviour

    return change


def claim_leap(server: SimNtpServer) -> None:
    server.claims.leap = Leap.DELETE


@pytest.mark.parametrize(
    ("change", "leap", "stratum", "reference_id"),
    [
        (behave(Behaviour.ANSWER), Leap.NONE, 1, b"GPS\0"),
        (behave(Behaviour.DENY), Leap.UNKNOWN, 0, b"DENY"),
        (behave(Behaviour.RATE), Leap.UNKNOWN, 0, b"RATE"),
        (behave(Behaviour.UNSYNCHRONIZED), Leap.UNKNOWN, 0, b"\0\0\0\0"),
        (claim_leap, Leap.DELETE, 1, b"GPS\0"),
    ],
)
def test_an_outside_server_behaves_as_told(
    change: Callable[[SimNtpServer], None], leap: Leap, stratum: int, reference_id: bytes
) -> None:
    scene = Scene()
    change(scene.server)
    ((_, data, _),) = scene.ask().packets
    answer = decode(data)
    assert (leap, stratum, reference_id) == (answer.leap, answer.stratum, answer.reference_id)
    assert (Mode.SERVER, 4) == (answer.mode, answer.version)


def test_an_outside_server_may_be_silent_or_gone_and_ignores_rubbish() -> None:
    scene = Scene()
    scene.server.behaviour = Behaviour.SILENT
    assert [] == scene.ask().packets
    scene.server.behaviour = Behaviour.ANSWER
    assert [] == scene.ask(data=b"rubbish").packets
    assert [] == scene.ask(data=encode(NtpPacket(mode=Mode.SERVER))).packets
    assert (1, 0) == (scene.server.requests, scene.server.answers)
    scene.server.close()
    assert 1 == len(scene.ask().errors)


def test_an_outside_server_drifts_steps_and_announces_leap_seconds() -> None:
    # 2016-12-31 12:00:00 UTC: a leap second is pending.
    scene = Scene(start=Instant((1_483_228_800 - 43_200 + 36) * UNITS_PER_S))
    scene.server.oscillator.step_frequency(Rate.from_ppm(10))
    scene.world.run_for(S * 100)
    assert 1e-3 == pytest.approx(scene.server.clock.true_offset().s(), abs=1e-9)
    scene.server.clock.disturb(MS * -1)
    assert abs(scene.server.clock.true_offset()) < Duration.from_ns(2)
    ((_, data, _),) = scene.ask().packets
    assert Leap.INSERT == decode(data).leap


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_the_host_serves_with_the_real_server(address: str) -> None:
    """A second host asks the first one, which says what was published, by its own clock."""
    world = World(1)
    network = Network(world)
    host = make_host(world, network, Machine(slowness=Exactly(1e-3)))
    host.system.step(MS * 30)
    node = network.node("asker", "192.0.2.7", "2001:db8::7")
    network.connect(host.node, node, STILL)
    asker = SimHost(world, node, [host.system], INSTANT)
    client = Client(world)
    settings = ServerSettings(allow=(ip_network("0.0.0.0/0"), ip_network("::/0")))

    async def main() -> None:
        service = host.serve_ntp(settings, [Endpoint("0.0.0.0", 123), Endpoint("::", 123)], None)
        assert [("0.0.0.0", 123), ("::", 123)] == [(at.address, at.port) for at in service.addresses]
        with pytest.raises(OSError, match="in use"):
            host.serve_ntp(settings, [Endpoint("0.0.0.0", 5123), Endpoint("::", 123)], 0)
        host.node.bind(service._sockets[0].receiver, "0.0.0.0", 5123).close()  # was freed again
        now = host.mono()
        service.publish(
            ServeState(
                synchronized=True,
                leap=Leap.NONE,
                stratum=3,
                reference_id=b"\1\2\3\4",
                root_delay=MS,
                root_dispersion=MS,
                dispersion_rate=1e-5,
                at=now,
                valid_until=now + S * 100,
                reference_time=1,
                precision=-20,
                serving_map=host.system.serving_map(),
                epoch=host.system.epoch,
            )
        )
        exchange = asker.open_exchange(Endpoint(address, 123), SYSTEM, client)
        exchange.send(REQUEST)
        await asyncio.sleep(1)
        exchange.close()
        assert (1, 1) == (service.counters().received, service.counters().answered)
        service.close()
        exchange = asker.open_exchange(Endpoint(address, 123), SYSTEM, client)
        exchange.send(REQUEST)
        await asyncio.sleep(1)
        exchange.close()

    run(world, main(), host.system)
    ((when, data, _),) = client.packets
    assert 3_000_000 == when
    answer = decode(data)
    assert (3, b"\1\2\3\4", Leap.NONE) == (answer.stratum, answer.reference_id, answer.leap)
    begin = leap_table().utc(world.start) + MS * 30
    assert abs(timestamp_to_utc(answer.receive, begin) - (begin + MS)) < US
    assert abs(timestamp_to_utc(answer.transmit, begin) - (begin + MS * 2)) < US
    assert 1 == len(client.errors)


def test_the_same_seed_gives_the_same_trace_to_the_last_digit() -> None:
    first = sim_story.trace(7, 600)
    assert first == sim_story.trace(7, 600)
    assert first != sim_story.trace(8, 600)
    assert len(first) > 100


def test_the_trace_does_not_depend_on_the_hash_seed() -> None:
    here = Path(__file__).parent
    traces = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(
            [sys.executable, str(here / "sim_story.py")], env=env, capture_output=True, text=True, check=True
        )
        traces.add(result.stdout)
    assert 1 == len(traces)
    assert traces == {"\n".join(sim_story.trace(7, 600)) + "\n"}


def test_an_hour_of_five_servers_is_quick() -> None:
    before = time.process_time()
    lines = sim_story.trace(1, 3_600)
    spent = time.process_time() - before
    assert 5 * 3_600 // 16 == pytest.approx(len(lines), rel=0.1)
    # Some 0.2 s; the budget of a scenario is a second.
    assert spent < 2


def test_slowness_by_default_is_fifty_microseconds() -> None:
    assert Exponential(50e-6) == Machine().slowness
