"""What NTS costs: each AEAD, replies a second of one worker, key establishments a second, and chronyd in the same run.

``python bench/nts.py [--seconds 3] [--rounds 3] [--chronyd PATH] [--profile]``

The load of NTP comes from ``ntp_load.c`` beside this file, which sends requests of so many clients in turn, made before
it starts: a server keeps no state about cookies, so the second of a client costs as much as the first. Key
establishment is asked for by processes of this program, each with four connections under way, which need more processor
time for a handshake than the server does; "a CPU second" is the figure of the server alone. Nothing but 127.0.0.0/8 is
ever sent to.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import datetime as dt
import ipaddress
import multiprocessing
import os
import platform
import pstats
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import server_rate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from timesync.base.ids import Endpoint
from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.ntp.server import Server, ServerSettings
from timesync.nts.aead import FAMILIES, AeadId, Family, key_size, nonce_size
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_client import Agreed, KeOffer
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.keys import SessionKeys
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsSession
from timesync.nts.tls_client import Trust
from timesync.runtime.ke_client import Established, KeRemote, establish
from timesync.runtime.ke_files import PairFiles
from timesync.runtime.ke_messages import KeLimits, KeServiceSettings
from timesync.runtime.ke_service import KeService
from timesync.runtime.ke_stream import LinuxStream, connect_stream
from timesync.runtime.serve import WorkerService
from timesync.runtime.serve_aead import fastest_families
from timesync.runtime.serve_socket import ServingSocket, open_sockets
from timesync.runtime.serve_worker import BATCH, Lane
from timesync.wire.ntp import Mode, NtpPacket, encode

AEADS = (AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512)
HEADER = encode(NtpPacket(mode=Mode.CLIENT, transmit=0x0123456789ABCDEF))
CLIENTS = 2000
CHRONYD_CLIENTS = 100
CLIENT_PROCESSES = 2
CONNECTIONS = 4


def utc() -> Instant[Utc]:
    """By this machine's clock."""
    return Instant(time.time_ns() * (UNITS_PER_S // 10**9))


def request_of(agreed: Agreed) -> bytes:
    """A request with NTS, as it is when nothing is lost: one cookie, no placeholder."""
    data = NtsSession(agreed, os.urandom).protect(HEADER)
    assert data is not None
    return data


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """As ``ntp_load.c`` reads them."""
    path.write_bytes(b"".join(len(one).to_bytes(2, "big") + one for one in requests))


def fresh(aead: AeadId, jar: CookieJar) -> Agreed:
    """Keys and cookies, as if key establishment had given them."""
    keys = SessionKeys(aead, os.urandom(key_size(aead)), os.urandom(key_size(aead)))
    return Agreed(protocol=0, keys=(keys,), cookies=tuple(jar.make(keys) for _ in range(8)))


# -- in this process


def microseconds(call: Callable[[], object], seconds: float = 0.3) -> float:
    """Of processor time for one call: the best of three."""
    rounds = 1
    while True:
        begun = time.process_time()
        for _ in range(rounds):
            call()
        if time.process_time() - begun > seconds / 10:
            break
        rounds *= 2
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        for _ in range(rounds):
            call()
        best = min(best, (time.process_time() - begun) / rounds)
    return best * 1e6


def costs() -> None:
    """Of each AEAD: to seal and to open, with a kept key and with a new one; a whole reply, alone and in a batch."""
    heads = ("new key", "seal", "open", "cookie", "reply", "in batch", "octets")
    print(f"{'microseconds of one processor':<32}" + "".join(f"{head:>9}" for head in heads))
    fastest = fastest_families()
    for aead in AEADS:
        print(f"{aead.name:<32}{row(aead, FAMILIES)}")
        if fastest[aead] != FAMILIES[aead]:
            print(f"{f'{aead.name}, libnettle':<32}{row(aead, fastest)}")
    print()


def row(aead: AeadId, families: Mapping[AeadId, Family]) -> str:
    """The figures of an AEAD, used like this."""
    family, key, nonce = families[aead], os.urandom(key_size(aead)), os.urandom(nonce_size(aead))
    cipher, associated, inner = family.cipher(key), os.urandom(160), os.urandom(104)
    sealed = family.seal(cipher, nonce, b"", associated)
    jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
    agreed = fresh(aead, jar)
    server, request = serving(jar, families), request_of(agreed)
    now = time.time_ns()
    figures = (
        microseconds(lambda: family.cipher(key)),
        microseconds(lambda: family.seal(cipher, nonce, inner, associated)),
        microseconds(lambda: family.open(cipher, nonce, sealed, associated)),
        microseconds(lambda: jar.open_raw(agreed.cookies[0])),
        microseconds(lambda: server.respond(request, b"\x7f\0\0\1", 4000, now, now, 0)),
        in_batch(server, [request_of(fresh(aead, jar)) for _ in range(BATCH - 1)]),
    )
    return "".join(f"{one:9.2f}" for one in figures) + f"{len(request):9d}"


def serving(jar: CookieJar, families: Mapping[AeadId, Family]) -> Server:
    """The machine that a worker has."""
    server = Server(ServerSettings(allow=server_rate.ALLOW, nts=jar.keys), random.Random(1), os.urandom, families)
    server.publish(server_rate.serve_state())
    return server


def in_batch(server: Server, requests: Sequence[bytes], rounds: int = 500) -> float:
    """Microseconds of processor time for one of these, of different clients, by a worker's loop: the least of a batch.

    Its system calls are in it, and what loopback makes the sender do for the receiver; other processes hardly are.
    """
    ((bound,),) = open_sockets([Endpoint("127.0.0.1", 0)], 1)
    best = float("inf")
    with bound, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(bound.getsockname())
        lane = Lane(ServingSocket(bound), server, interleaved=True)
        for _ in range(rounds):
            for one in requests:
                client.send(one)
            begun = time.thread_time_ns()
            lane.drain()
            best = min(best, (time.thread_time_ns() - begun) / len(requests))
            assert all(0 < len(client.recv(2048)) <= len(one) for one in requests)
    return best / 1e3


def profile() -> None:
    """Where the time of a reply goes."""
    jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
    server, request = serving(jar, fastest_families()), request_of(fresh(AeadId.AES_SIV_CMAC_256, jar))
    profiler, now = cProfile.Profile(), time.time_ns()
    profiler.enable()
    for _ in range(50_000):
        server.respond(request, b"\x7f\0\0\1", 4000, now, now, 0)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(18)


# -- a certificate


def certificate(directory: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1 that is signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bench")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = directory / "cert.pem", directory / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[1].chmod(0o600)
    return files


# -- key establishment, asked for


class Loopback:
    """``timesync.runtime.ke_client.KeNetwork`` of this machine alone."""

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """An address is itself."""
        return [Endpoint(name, port)]

    async def connect(self, remote: Endpoint) -> LinuxStream:
        """Raises OSError."""
        return await connect_stream(remote)


async def keys_from(port: int, trust: Trust, aead: AeadId) -> Agreed | None:
    """One key establishment for one AEAD; None where the server has not got it."""
    offer = KeOffer(aeads=(aead,))
    made = await establish(Loopback(), KeRemote(server="127.0.0.1", port=port, trust=trust, offer=offer), utc())
    return made.agreed if isinstance(made, Established) else None


def ask_for_keys(port: int, authority: Path, seconds: float, made: Any) -> None:
    """A process of the load."""

    async def one(end: float) -> int:
        count = 0
        while time.monotonic() < end:
            remote = KeRemote(server="127.0.0.1", port=port, trust=trust)
            count += isinstance(await establish(Loopback(), remote, utc()), Established)
        return count

    trust = Trust.from_pem(authority.read_bytes())

    async def main() -> int:
        end = time.monotonic() + seconds
        return sum(await asyncio.gather(*(one(end) for _ in range(CONNECTIONS))))

    made.put(asyncio.run(main()))


async def handshakes(name: str, port: int, pid: int, authority: Path, seconds: float) -> None:
    """Ask for keys as fast as they come, and print how many did."""
    context = multiprocessing.get_context("spawn")
    made = context.Queue()
    processes = [
        context.Process(target=ask_for_keys, args=(port, authority, seconds, made)) for _ in range(CLIENT_PROCESSES)
    ]
    before = server_rate.cpu_seconds([pid])
    for process in processes:
        process.start()
    counts = [await asyncio.get_running_loop().run_in_executor(None, made.get, True, seconds + 60) for _ in processes]
    for process in processes:
        process.join()
    cpu_s = server_rate.cpu_seconds([pid]) - before
    per_cpu = f"{sum(counts) / cpu_s:11,.0f}" if cpu_s > 0 else "          ?"
    print(f"{name:<42}{sum(counts) / seconds:11,.0f}{per_cpu}{1e3 * cpu_s / max(sum(counts), 1):9.2f} ms")


# -- the servers


async def ours(aead: AeadId, tool: Path, directory: Path, options: argparse.Namespace) -> server_rate.Figure:
    """One worker of ours, with requests for one AEAD."""
    jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
    requests = directory / "requests"
    write_requests(requests, (request_of(fresh(aead, jar)) for _ in range(CLIENTS)))
    settings = ServerSettings(allow=server_rate.ALLOW, nts=jar.keys)
    service = WorkerService(settings, [Endpoint("127.0.0.1", 0)], 1)
    try:
        service.publish(server_rate.serve_state())
        await asyncio.wait_for(service.ready(), 30)
        pids = [pid for pid in service.pids if pid is not None]
        return await load(f"timesync, 1 worker, {aead.name}", tool, service.addresses[0].port, pids, requests, options)
    finally:
        service.close()


async def load(
    name: str, tool: Path, port: int, pids: Sequence[int], requests: Path, options: argparse.Namespace
) -> server_rate.Figure:
    """Run the generator with requests against a port."""
    before = server_rate.cpu_seconds(pids)
    arguments = ["127.0.0.1", port, options.seconds, server_rate.MAX_REQUESTS, 16, server_rate.WINDOW, 20, requests]
    process = await asyncio.create_subprocess_exec(tool, *map(str, arguments), stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), options.seconds + 30)
    sent, replies, bad, seconds = output.split()
    cpu_s = server_rate.cpu_seconds(pids) - before
    return server_rate.Figure(name, int(sent), int(replies), int(bad), float(seconds), cpu_s)


async def our_handshakes(files: tuple[Path, Path], seconds: float) -> None:
    """The NTS-KE server of ours."""
    settings = KeServiceSettings(offer=KeServerSettings(), limits=KeLimits())
    keys = KeyStore.new(utc(), os.urandom).keys
    service = KeService(settings, [Endpoint("127.0.0.1", 0)], [PairFiles(*files)], keys, utc, lambda *_: None)
    try:
        await asyncio.wait_for(service.ready.wait(), 30)
        assert service.pid is not None
        await handshakes("timesync, NTS-KE", service.addresses[0].port, service.pid, files[0], seconds)
    finally:
        service.close()


class Chronyd(NamedTuple):
    """A chronyd that runs: its ports, and its processes for NTP and for NTS-KE."""

    name: str
    port: int
    ke_port: int
    pid: int
    ke_pid: int


@asynccontextmanager
async def chronyd(path: str, files: tuple[Path, Path], directory: Path) -> AsyncIterator[Chronyd]:
    """A chronyd that serves NTS and never touches the clock (-x)."""
    port = server_rate.free_port()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ke_port = int(probe.getsockname()[1])
    configuration, log = directory / "chrony.conf", directory / "chronyd.log"
    configuration.write_text(
        f"port {port}\nbindaddress 127.0.0.1\nlocal stratum 1\nallow 127.0.0.0/8\ncmdport 0\nbindcmdaddress /\n"
        f"pidfile {directory}/chronyd.pid\nntsport {ke_port}\nntsservercert {files[0]}\nntsserverkey {files[1]}\n"
        f"ntsprocesses 1\nmaxntsconnections 100\nntsdumpdir {directory}\n"
    )
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            path, "-x", "-d", "-f", str(configuration), *user, stdout=sink, stderr=sink
        )
    try:
        for _ in range(100):
            try:
                (await connect_stream(Endpoint("127.0.0.1", ke_port))).close()
                break
            except OSError:
                await asyncio.sleep(0.1)
        else:
            raise SystemExit(f"chronyd does not serve: {log.read_text()}")
        helpers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = helpers.read_text().split()  # noqa: ASYNC240 - nobody waits
        ke_pid = int(children[0]) if children else process.pid
        yield Chronyd(server_rate.version_of(path), port, ke_port, process.pid, ke_pid)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def chronyd_requests(ke_port: int, trust: Trust, requests: Path) -> None:
    """Write requests to a chronyd, which has keys for AEAD_AES_SIV_CMAC_256 in every version."""
    clients = [await keys_from(ke_port, trust, AeadId.AES_SIV_CMAC_256) for _ in range(CHRONYD_CLIENTS)]
    write_requests(requests, [request_of(agreed) for agreed in clients if agreed is not None])


async def run(options: argparse.Namespace) -> None:
    """All figures: the servers in turn, so that each has its share of what else the machine does."""
    path = server_rate.find_chronyd(options.chronyd)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="timesync-bench-")))
        tool, files = server_rate.compile_load(directory), certificate(directory)
        print(f"CPU: {server_rate.cpu_model()}; {len(os.sched_getaffinity(0))} processors, shared by server and load")
        print(
            f"kernel {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f}\n"
        )
        costs()
        other = None
        if path is None:
            print("no chronyd: apt-get install chrony, or give --chronyd PATH")
        else:
            other = await stack.enter_async_context(chronyd(path, files, directory))
            await chronyd_requests(other.ke_port, Trust.from_pem(files[0].read_bytes()), directory / "chronyd-requests")
        await rates(tool, directory, other, options)
        print(f"\n{'':<42}{'keys/s':>11}{'/CPU s':>11}{'each':>12}")
        await our_handshakes(files, options.seconds)
        if other is not None:
            await handshakes(f"{other.name}, NTS-KE", other.ke_port, other.ke_pid, files[0], options.seconds)


async def rates(tool: Path, directory: Path, other: Chronyd | None, options: argparse.Namespace) -> None:
    """Replies a second, and of each server the run that took the least processor time for one."""
    print(f"{'':<42}{'replies/s':>11}{'/CPU s':>11}{'us each':>9}{'lost':>11}{'bad':>6}")
    best: dict[str, server_rate.Figure] = {}

    def note(figure: server_rate.Figure) -> server_rate.Figure:
        print(figure, flush=True)
        best[figure.name] = min(best.get(figure.name, figure), figure, key=lambda one: one.cpu_s / max(one.replies, 1))
        return best[figure.name]

    theirs = None
    for _ in range(options.rounds):
        for aead in AEADS[:2]:
            note(await ours(aead, tool, directory, options))
        if other is not None:
            name, requests = f"{other.name}, {AeadId.AES_SIV_CMAC_256.name}", directory / "chronyd-requests"
            theirs = note(await load(name, tool, other.port, [other.pid], requests, options))
    print(f"\nbest of {options.rounds}")
    for figure in best.values():
        print(figure)
    if theirs is not None:
        for figure in best.values():
            if figure is not theirs:
                print(figure.against(theirs))


def main(arguments: Sequence[str]) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run, at most 30")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each server, 1 to 10; the best counts")
    parser.add_argument("--chronyd", help="path of chronyd; default: the system's")
    parser.add_argument("--profile", action="store_true", help="show where the time of a reply goes, and nothing else")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.seconds <= 30:
        parser.error("--seconds is 0.1 to 30")
    if not 1 <= options.rounds <= 10:
        parser.error("--rounds is 1 to 10")
    if options.profile:
        profile()
    else:
        asyncio.run(run(options))


if __name__ == "__main__":
    main(sys.argv[1:])
