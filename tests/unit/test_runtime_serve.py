"""The service on loopback: real sockets, real worker processes, kernel timestamps."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from child_support import without_landlock
from ntp_server_support import EVERYBODY, NTP_UNIX, Header, S, header, live_state, ns_of, request

from timesync.base.ids import Endpoint
from timesync.base.serving import ServingMap
from timesync.base.time import Duration
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client_log import ClientRecord
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.server import ServerCounters, ServerSettings
from timesync.runtime import serve as serve_module
from timesync.runtime.child import environment_of_child
from timesync.runtime.serve import (
    FIRST_BACKOFF_S,
    LIST_S,
    LoopService,
    WorkerService,
    default_workers,
    open_service,
)
from timesync.runtime.serve_block import SharedBlock
from timesync.runtime.serve_socket import open_sockets
from timesync.wire.ntp_over_ptp import Form, unwrap, wrap
from timesync_drivers.confine import landlock

Service = LoopService | WorkerService
SETTINGS = ServerSettings(allow=EVERYBODY)
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
MS = 1_000_000
ANYWHERE = (Endpoint("0.0.0.0", 0), Endpoint("::", 0))


def serve(
    story: Callable[[Service], Awaitable[None]],
    workers: int,
    settings: ServerSettings = SETTINGS,
    listen: tuple[Endpoint, ...] = ANYWHERE,
    ptp_listen: tuple[Endpoint, ...] = (),
) -> None:
    """Run a story against a service that is ready and has a state."""

    async def main() -> None:
        service = open_service(settings, listen, workers, ptp_listen)
        try:
            service.publish(live_state())
            if isinstance(service, WorkerService):
                await asyncio.wait_for(service.ready(), 20)
            await story(service)
        finally:
            service.close()

    asyncio.run(main())


def client(to: str, port: int, source: str | None = None) -> socket.socket:
    """A connected socket: it hears only what comes from the very address it asked."""
    made = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    if source is not None:
        made.bind((source, 0))
    made.connect((to, port))
    return made


async def exchange(made: socket.socket, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(made, data)
    return await asyncio.wait_for(loop.sock_recv(made, 2048), 10)


async def ask(to: str, port: int, data: bytes, source: str | None = None) -> bytes:
    with client(to, port, source) as made:
        return await exchange(made, data)


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll a condition that another process brings about."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, what
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_round_trip_by_ipv4_and_ipv6(workers: int) -> None:
    async def story(service: Service) -> None:
        assert [endpoint.address for endpoint in service.addresses] == ["0.0.0.0", "::"]
        for index, to in enumerate(("127.0.0.1", "::1")):
            # Twice: the second is the worker's fast path.
            for cookie in (0x1111 + index, 0x2222 + index):
                before = time.clock_gettime_ns(time.CLOCK_REALTIME)
                data = await ask(to, service.addresses[index].port, request(transmit=cookie, poll=7))
                after = time.clock_gettime_ns(time.CLOCK_REALTIME)
                got = header(data)
                assert len(data) == 48
                assert (got.leap, got.version, got.mode, got.stratum, got.poll) == (0, 4, 4, 2, 7)
                assert got.origin == cookie
                assert before - 1 <= ns_of(got.receive) < ns_of(got.transmit) <= after + 1
        await eventually(lambda: service.counters().answered == 4, "four answers are counted")
        assert service.counters() == ServerCounters(received=4, answered=4, version_4=4)

    serve(story, workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_over_ptp_by_ipv4_and_ipv6_beside_plain_ntp(workers: int) -> None:
    async def story(service: Service) -> None:
        four, six, over_four, over_six = (endpoint.port for endpoint in service.addresses)
        for to, port, form in (
            ("127.0.0.1", over_four, Form.ORGANIZATION),
            ("127.0.0.1", over_four, Form.EXPERIMENTAL),
            ("::1", over_six, Form.ORGANIZATION),
        ):
            before = time.clock_gettime_ns(time.CLOCK_REALTIME)
            data = await ask(to, port, wrap(request(transmit=7), form, 5))
            after = time.clock_gettime_ns(time.CLOCK_REALTIME)
            carried = unwrap(data, 5)
            got = header(carried.ntp)
            assert (form, 48, 4, 7) == (carried.form, len(carried.ntp), got.mode, got.origin)
            assert before - 1 <= ns_of(got.receive) < ns_of(got.transmit) <= after + 1
        # The worker knows this client by now: the fast path must not take what came by the wrong port.
        with client("127.0.0.1", over_four) as made, client("127.0.0.1", four) as plain:
            made.send(request())
            plain.send(wrap(request(), Form.ORGANIZATION, 5))
            await eventually(lambda: service.counters().bad == 2, "what came by the wrong port is counted")
            with pytest.raises(BlockingIOError):
                made.recv(100)
            with pytest.raises(BlockingIOError):
                plain.recv(100)
        await ask("::1", six, request())
        expected = ServerCounters(received=6, answered=4, bad=2, version_4=4, over_ptp=3)
        await eventually(lambda: service.counters() == expected, str(service.counters()))

    settings = replace(SETTINGS, ptp_domain=5)
    serve(story, workers, settings, ptp_listen=ANYWHERE)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("burst", [1, 40])
def test_no_reply_arrives_before_it_left(workers: int, burst: int) -> None:
    """By the kernel's stamp of its arrival; on loopback all is one clock, and the way takes hardly any time."""

    async def story(service: Service) -> None:
        loop = asyncio.get_running_loop()
        travelled: list[int] = []
        with client("127.0.0.1", service.addresses[0].port) as made:
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            for _ in range(400 // burst):
                for _ in range(burst):
                    made.send(request())
                travelled += [await arrived_after(loop, made) for _ in range(burst)]
        early = sum(one < -1 for one in travelled)
        assert early <= len(travelled) // 100, sorted(travelled)[:9]
        assert sorted(travelled)[len(travelled) // 2] < 5 * MS, "and the median is no guess far too early"

    serve(story, workers)


async def arrived_after(loop: asyncio.AbstractEventLoop, made: socket.socket) -> int:
    """Kernel's receive stamp of the next reply minus its transmit timestamp, ns."""
    readable = loop.create_future()
    loop.add_reader(made, lambda: readable.done() or readable.set_result(None))
    try:
        await asyncio.wait_for(readable, 10)
    finally:
        loop.remove_reader(made)
    data, ((_, _, value),), *_ = made.recvmsg(100, 100)
    seconds, nanoseconds = struct.unpack("@ll", value)
    return int(seconds * S + nanoseconds - ns_of(header(data).transmit))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_reply_leaves_from_the_address_that_was_asked(workers: int) -> None:
    async def story(service: Service) -> None:
        port = service.addresses[0].port
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.setblocking(False)
            free.bind(("127.0.0.1", 0))
            loop = asyncio.get_running_loop()
            # Routing alone would always choose 127.0.0.1.
            for number in (2, 1, 3, 2, 1, 3):
                await loop.sock_sendto(free, request(), (f"127.0.0.{number}", port))
                _, address = await asyncio.wait_for(loop.sock_recvfrom(free, 2048), 10)
                assert address == (f"127.0.0.{number}", port)

    serve(story, workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_socket_of_one_address_serves_too(workers: int) -> None:
    async def story(service: Service) -> None:
        for endpoint in service.addresses:
            for _ in range(2):
                assert header(await ask(endpoint.address, endpoint.port, request())).stratum == 2

    serve(story, workers, listen=(Endpoint("127.0.0.5", 0), Endpoint("::1", 0)))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_new_state_is_served_from_the_next_request_on(workers: int) -> None:
    async def story(service: Service) -> None:
        port = service.addresses[0].port
        for stratum in (3, 4, 5):
            service.publish(live_state(stratum=stratum))
            for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                assert header(await ask("127.0.0.1", port, request(), source)).stratum == stratum

    serve(story, workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_virtual_clock_is_served(workers: int) -> None:
    async def story(service: Service) -> None:
        now = time.clock_gettime_ns(time.CLOCK_REALTIME)
        service.publish(live_state(serving_map=ServingMap(now, 3600 * S, 1.0)))
        for _ in range(2):
            got = header(await ask("127.0.0.1", service.addresses[0].port, request()))
            ahead = ns_of(got.receive) - time.clock_gettime_ns(time.CLOCK_REALTIME)
            assert 3590 * S < ahead < 3600 * S

    serve(story, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_interleaved_with_the_kernels_transmit_stamp(workers: int) -> None:
    """A new port for each request, as RFC 9109 wants: the sender's address finds the worker, not its port."""

    async def story(service: Service) -> None:
        port = service.addresses[0].port
        reply = header(await ask("127.0.0.1", port, request(transmit=0x1111)))
        transmits = []
        for number in range(1, 6):
            origin = reply.receive
            reply = header(
                await ask("127.0.0.1", port, request(origin=origin, receive=0xAA00 + number, transmit=0x2222))
            )
            # The first that names a receive timestamp is basic; its own transmit stamp is kept for the
            # second.
            assert reply.origin == (0x2222 if number == 1 else 0xAA00 + number)
            transmits.append((reply.receive, reply.transmit))
        for (receive, _), (_, transmit) in itertools.pairwise(transmits):
            # A kernel stamp of the reply before: after its request came, within the same second or so.
            assert 0 < ns_of(transmit) - ns_of(receive) < 5 * S
        await eventually(lambda: service.counters().interleaved == 4, "interleaved replies are counted")

    serve(story, workers)


def test_clients_are_spread_over_the_workers_by_address() -> None:
    """With one token in a hundred seconds, a client on many ports still gets one answer."""
    limit = RateLimit(interval=Duration.from_s(100), burst=1, reply=LimitReply.DROP, leak=16)
    settings = ServerSettings(allow=EVERYBODY, rate_limit=limit)

    async def story(service: Service) -> None:
        clients = [client("127.0.0.1", service.addresses[0].port, "127.0.0.77") for _ in range(40)]
        for made in clients:
            made.send(request())
        await eventually(lambda: service.counters().received == 40, "all are read")
        for made in clients:
            made.close()
        # One by right, and those that leaked: more than 15 of 39 at one in 16 has a chance below 1e-8.
        assert 1 <= service.counters().answered <= 16

    serve(story, 2, settings)


def test_several_workers_have_work() -> None:
    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        port = service.addresses[0].port
        for number in range(1, 33):
            await ask("127.0.0.1", port, request(), f"127.0.1.{number}")
        await eventually(lambda: service.counters().answered == 32, "all are counted")
        each = [service._block.read_counters(slot) for slot in range(2)]
        assert all(counters.answered > 4 for counters in each)

    serve(story, 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_settings_reach_the_server(workers: int) -> None:
    key = SymmetricKey(7, "SHA1", b"sixteen octets!!")
    settings = ServerSettings(
        allow=(ip_network("127.0.0.0/8"),),
        deny=(ip_network("127.0.0.9/32"),),
        rate_limit=RateLimit(interval=Duration.from_ns(1000), burst=10_000),
        keys=(key,),
        versions=frozenset({4}),
        interleaved=False,
    )

    async def story(service: Service) -> None:
        port = service.addresses[0].port
        data = await ask("127.0.0.1", port, key.sign(request()))
        assert data == key.sign(data[:48])
        with client("127.0.0.1", port, "127.0.0.9") as denied:
            denied.send(request())
        with client("127.0.0.1", port) as old:
            old.send(request(first=0x1B))
        await eventually(lambda: service.counters().received == 3, "all are read")
        got = service.counters()
        assert (got.authenticated, got.denied, got.bad) == (1, 1, 1)

    serve(story, workers, settings)


def test_sockets_are_closed_when_there_is_no_memory_for_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    def open_and_note(
        listen: Sequence[Endpoint], groups: int, ptp_listen: Sequence[Endpoint]
    ) -> list[list[socket.socket]]:
        made = open_sockets(listen, groups, ptp_listen)
        opened.extend(bound for group in made for bound in group)
        return made

    def create(workers: int) -> SharedBlock:
        raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    async def story() -> None:
        with pytest.raises(OSError, match="Too many open files"):
            WorkerService(SETTINGS, ANYWHERE, 2)

    monkeypatch.setattr("timesync.runtime.serve.open_sockets", open_and_note)
    monkeypatch.setattr(SharedBlock, "create", create)
    asyncio.run(story())
    assert [-1] * 4 == [bound.fileno() for bound in opened]


def test_a_worker_that_dies_is_replaced_and_counting_goes_on() -> None:
    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        port = service.addresses[0].port
        await ask("127.0.0.1", port, request())
        await eventually(lambda: service.counters().answered == 1, "it is counted")
        (pid,) = service.pids
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: service.counters().restarts == 1, "the death is noticed")
        # It waits in the socket that the daemon keeps open, until the successor reads it.
        started = time.monotonic()
        with client("127.0.0.1", port) as waiting:
            got = header(await exchange(waiting, request(transmit=0x77)))
        assert (got.origin, got.stratum) == (0x77, 2)
        assert time.monotonic() - started >= FIRST_BACKOFF_S / 2
        assert service.pids != [pid]
        await eventually(lambda: service.counters().answered == 2, "it is counted too")

    serve(story, 1)


RECORDING = replace(SETTINGS, clients=100)


async def asked(service: Service) -> dict[str, int]:
    """Requests by address, as soon as they are looked up anew."""
    await asyncio.sleep(LIST_S)
    return {str(ip_address(one.address)): one.requests for one in (await service.clients()).records}


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_the_clients_of_all_workers_are_told(workers: int) -> None:
    async def story(service: Service) -> None:
        expected = {f"127.0.1.{number}": number % 3 + 1 for number in range(1, 17)}
        for address, times in expected.items():
            with client("127.0.0.1", service.addresses[0].port, address) as made:
                for _ in range(times):
                    await exchange(made, request())
        await ask("::1", service.addresses[1].port, request())
        told = await service.clients()
        assert expected | {"::1": 1} == {str(ip_address(one.address)): one.requests for one in told.records}
        assert 17 == told.known
        assert all(one.requests == one.answered and one.version == 4 for one in told.records)
        assert all(0 < one.first_ns <= one.last_ns < time.monotonic_ns() for one in told.records)

    serve(story, workers, RECORDING)


def test_clients_are_looked_up_once_a_second_at_most() -> None:
    async def story(service: Service) -> None:
        port = service.addresses[0].port
        await ask("127.0.0.1", port, request())
        first = await service.clients()
        await ask("127.0.0.1", port, request())
        assert first == await service.clients()
        assert {"127.0.0.1": 2} == await asked(service)

    serve(story, 1, RECORDING)


def test_a_worker_that_does_not_say_so_in_time_keeps_nobody_waiting() -> None:
    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        port = service.addresses[0].port
        await ask("127.0.0.1", port, request())
        assert {"127.0.0.1": 1} == await asked(service)
        (pid,) = service.pids
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            assert {"127.0.0.1": 1} == await asked(service)
            assert time.monotonic() - started < LIST_S + 2
        finally:
            os.kill(pid, signal.SIGCONT)
        await ask("127.0.0.1", port, request())
        assert {"127.0.0.1": 2} == await asked(service)

    serve(story, 1, RECORDING)


def test_the_successor_of_a_dead_worker_knows_whom_that_had_told_of() -> None:
    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        port = service.addresses[0].port
        await ask("127.0.0.1", port, request())
        assert {"127.0.0.1": 1} == await asked(service)
        (pid,) = service.pids
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: service.counters().restarts == 1, "the death is noticed")
        await ask("127.0.0.1", port, request())
        assert {"127.0.0.1": 2} == await asked(service)

    serve(story, 1, RECORDING)


@pytest.mark.parametrize(("before", "after"), [(2, 3), (1, 0), (0, 2)])
def test_a_service_goes_on_with_the_clients_of_the_one_before(before: int, after: int) -> None:
    async def main() -> None:
        listen = [Endpoint("127.0.0.1", 0)]
        known: Sequence[ClientRecord] = ()
        for workers in (before, after):
            service = open_service(RECORDING, listen, workers, clients=known)
            service.publish(live_state())
            if isinstance(service, WorkerService):
                await asyncio.wait_for(service.ready(), 20)
            for number in range(1, 9):
                await ask("127.0.0.1", service.addresses[0].port, request(), f"127.0.1.{number}")
            known = service.close()
        assert {f"127.0.1.{number}": 2 for number in range(1, 9)} == {
            str(ip_address(one.address)): one.requests for one in known
        }

    asyncio.run(main())


def test_the_service_can_close_while_a_dead_worker_is_not_reaped_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a service manager signals daemon and workers together."""

    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        (worker,) = service._workers
        (pid,) = service.pids
        assert worker._process is not None
        assert pid is not None
        # The kernel closes its descriptors a moment before it can be waited for; here the moment lasts.
        monkeypatch.setattr(worker._process.popen, "poll", lambda: None)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not worker.ready.is_set(), "its end is noticed")
        service.close()
        assert [] == list(service.pids)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    serve(story, 1)


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_workers_end_with_the_service_and_have_no_rights() -> None:
    pids: list[int] = []

    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        for pid in service.pids:
            assert pid is not None
            pids.append(pid)
            status = status_of(pid)
            assert status["NoNewPrivs"] == "1"
            assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == int(status["CapAmb"], 16) == 0
            assert status["Uid"].split()[0] != "0"
            assert status["Threads"] == "1"

    serve(story, 2)

    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_signals_to_the_whole_group_leave_the_end_to_the_daemon() -> None:
    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        (pid,) = service.pids
        assert pid is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid, number)
        assert header(await ask("127.0.0.1", service.addresses[0].port, request())).stratum == 2
        assert [pid] == list(service.pids)

    serve(story, 1)


def test_workers_die_with_a_daemon_that_is_killed() -> None:
    story = (
        "import asyncio, sys, time\n"
        "from ipaddress import ip_network\n"
        "from timesync.base.ids import Endpoint\n"
        "from timesync.ntp.server import ServerSettings\n"
        "from timesync.runtime.serve import WorkerService\n"
        "async def main():\n"
        "    service = WorkerService(ServerSettings(), [Endpoint('127.0.0.1', 0)], 2)\n"
        "    await service.ready()\n"
        "    print(*service.pids, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"PYTHONPATH": environment_of_child({})["PYTHONPATH"]}
    with subprocess.Popen([sys.executable, "-c", story], stdout=subprocess.PIPE, env=environment) as daemon:
        assert daemon.stdout is not None
        pids = [int(word) for word in daemon.stdout.readline().split()]
        daemon.kill()
    assert len(pids) == 2

    async def gone() -> None:
        await eventually(lambda: not any(is_worker(pid) for pid in pids), "they are gone")

    asyncio.run(gone())


def test_a_kernel_without_landlock_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("INFO", "timesync.runtime.serve")
    words = "this kernel has no Landlock: an NTP worker may read whatever its user may"

    async def story(service: Service) -> None:
        assert isinstance(service, WorkerService)
        assert None not in service.pids

    serve_module._tell_unconfined.cache_clear()
    serve(story, 2)
    assert caplog.messages == ([] if landlock() else [words])
    caplog.clear()
    serve_module._tell_unconfined.cache_clear()
    without_landlock(monkeypatch, tmp_path)
    serve(story, 2)
    assert [words] == caplog.messages


def is_worker(pid: int) -> bool:
    """A process that nobody waits for stays as a zombie where there is no init."""
    try:
        return b"serve_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            for workers in (0, 1, 2):
                with pytest.raises(OSError, match=rf"127\.0\.0\.1:{port}"):
                    open_service(SETTINGS, [Endpoint("127.0.0.1", port)], workers)

    asyncio.run(main())


def test_the_error_queue_and_mutated_requests_do_not_stop_a_worker() -> None:
    async def story(service: Service) -> None:
        port = service.addresses[0].port
        with client("127.0.0.1", port) as made:
            for size in (0, 1, 47, 49, 68, 1400, 2048, 2052, 4000):
                made.send((request() + bytes(4000))[:size])
            for first in range(256):
                made.send(request(first=first, origin=1, receive=5))
        await eventually(lambda: service.counters().received == 265, "all are read")
        assert header(await ask("127.0.0.1", port, request())).stratum == 2

    serve(story, 1)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broadcast_is_not_answered(workers: int) -> None:
    """127.255.255.255 is the broadcast address of lo; the local address is another."""

    async def story(service: Service) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            port = service.addresses[0].port
            # A known client, whose requests go the fast way otherwise.
            for _ in range(2):
                await ask("127.0.0.1", port, request())
            made.sendto(request(), ("127.255.255.255", port))
        await eventually(lambda: service.counters().received == 3, "it is read")
        assert service.counters() == ServerCounters(received=3, answered=2, version_4=2, bad=1)

    serve(story, workers)


def test_auto_is_one_worker_for_two_processors() -> None:
    assert default_workers() == max(1, min(len(os.sched_getaffinity(0)) // 2, 4))


def test_header_layout_of_the_support_module() -> None:
    """LI 3, version 4, mode 4, and each field with a value of its own; RFC 5905, figure 8."""
    data = bytes.fromhex("e4 02 06 e9 00000001 00000002 47505300") + struct.pack("!QQQQ", 3, 4, 5, 6)

    assert header(data) == Header(3, 4, 4, 2, 6, -23, 1, 2, b"GPS\0", 3, 4, 5, 6)
    assert ns_of((NTP_UNIX + 1) << 32 | 1 << 31) == 1_500_000_000
