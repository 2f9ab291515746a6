"""What NTS costs: each AEAD, replies a second of one worker, key establishments a second, and chronyd in the same run.

``python bench/nts.py [--seconds 3] [--chronyd PATH] [--profile]``

The load of NTP comes from ``ntp_load.c`` beside this file, which sends one request with NTS over and over: a server
keeps no state about cookies, so it costs as much as any other. Key establishment is asked for by processes of this
program, each with four connections under way, which need more processor time for a handshake than the server does;
"a CPU second" is the figure of the server alone. Nothing but 127.0.0.0/8 is ever sent to.
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
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import server_rate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from timesync.base.ids import Endpoint
from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.ntp.server import Server, ServerSettings
from timesync.nts.aead import AeadId, key_size, make_aead, nonce_size
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_client import Agreed, KeOffer
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.keys import SessionKeys
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsSession
from timesync.nts.tls import Trust
from timesync.runtime.ke_client import Established, KeRemote, establish
from timesync.runtime.ke_files import PairFiles
from timesync.runtime.ke_messages import KeLimits, KeServiceSettings
from timesync.runtime.ke_service import KeService
from timesync.runtime.ke_stream import LinuxStream, connect_stream
from timesync.runtime.serve import WorkerService
from timesync.wire.ntp import Mode, NtpPacket, encode

AEADS = (AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_256, AeadId.AES_SIV_CMAC_512)
HEADER = encode(NtpPacket(mode=Mode.CLIENT, transmit=0x0123456789ABCDEF))
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
    """Of each AEAD: to seal and to open, with a kept key and with a new one, and a whole reply of the server."""
    heads = ("new key", "seal", "open", "cookie", "reply", "octets")
    print(f"{'microseconds of one processor':<32}" + "".join(f"{head:>9}" for head in heads))
    for aead in AEADS:
        key, nonce = os.urandom(key_size(aead)), os.urandom(nonce_size(aead))
        cipher, associated, inner = make_aead(aead, key), os.urandom(160), os.urandom(104)
        sealed = cipher.seal(nonce, b"", associated)
        jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
        agreed = fresh(aead, jar)
        server, request = serving(jar), request_of(agreed)
        now = time.time_ns()
        figures = (
            microseconds(lambda: make_aead(aead, key)),  # noqa: B023 - called before the loop goes on
            microseconds(lambda: cipher.seal(nonce, inner, associated)),  # noqa: B023 - as above
            microseconds(lambda: cipher.open(nonce, sealed, associated)),  # noqa: B023 - as above
            microseconds(lambda: jar.open_raw(agreed.cookies[0])),  # noqa: B023 - as above
            microseconds(lambda: server.respond(request, b"\x7f\0\0\1", 4000, now, now, 0)),  # noqa: B023 - as above
        )
        print(f"{aead.name:<32}" + "".join(f"{one:9.2f}" for one in figures) + f"{len(request):9d}")
    print()


def serving(jar: CookieJar) -> Server:
    """The machine that a worker has."""
    server = Server(ServerSettings(allow=server_rate.ALLOW, nts=jar.keys), random.Random(1), os.urandom)
    server.publish(server_rate.serve_state())
    return server


def profile() -> None:
    """Where the time of a reply goes."""
    jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
    server, request = serving(jar), request_of(fresh(AeadId.AES_128_GCM_SIV, jar))
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


async def ours(aead: AeadId, tool: Path, directory: Path, options: argparse.Namespace) -> None:
    """One worker of ours, with requests for one AEAD."""
    jar = CookieJar(KeyStore.new(utc(), os.urandom).keys, os.urandom)
    request = directory / "request"
    request.write_bytes(request_of(fresh(aead, jar)))
    settings = ServerSettings(allow=server_rate.ALLOW, nts=jar.keys)
    service = WorkerService(settings, [Endpoint("127.0.0.1", 0)], 1)
    try:
        service.publish(server_rate.serve_state())
        await asyncio.wait_for(service.ready(), 30)
        pids = [pid for pid in service.pids if pid is not None]
        print(await load(f"timesync, 1 worker, {aead.name}", tool, service.addresses[0].port, pids, request, options))
    finally:
        service.close()


async def load(
    name: str, tool: Path, port: int, pids: Sequence[int], request: Path, options: argparse.Namespace
) -> server_rate.Figure:
    """Run the generator with one request against a port."""
    before = server_rate.cpu_seconds(pids)
    arguments = ["127.0.0.1", port, options.seconds, server_rate.MAX_REQUESTS, 16, server_rate.WINDOW, 20, request]
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


@asynccontextmanager
async def chronyd(path: str, files: tuple[Path, Path], directory: Path) -> Any:
    """A chronyd that serves NTS and never touches the clock (-x): its ports of NTP and NTS-KE, and its processes."""
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
        yield port, ke_port, process.pid, [int(child) for child in children]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def against_chronyd(path: str, tool: Path, files: tuple[Path, Path], directory: Path, options: Any) -> None:
    """The same with chronyd."""
    version, trust = server_rate.version_of(path), Trust.from_pem(files[0].read_bytes())
    async with chronyd(path, files, directory) as (port, ke_port, pid, helpers):
        for aead in AEADS[:2]:
            agreed = await keys_from(ke_port, trust, aead)
            if agreed is None:
                print(f"{version} has no {aead.name}")
                continue
            request = directory / "request"
            request.write_bytes(request_of(agreed))
            print(await load(f"{version}, 1 process, {aead.name}", tool, port, [pid], request, options))
        print(f"\n{'':<42}{'keys/s':>11}{'/CPU s':>11}{'each':>12}")
        await our_handshakes(files, options.seconds)
        await handshakes(f"{version}, NTS-KE", ke_port, (helpers or [pid])[0], files[0], options.seconds)


async def run(options: argparse.Namespace) -> None:
    """All figures, one after another on the same machine."""
    with tempfile.TemporaryDirectory(prefix="timesync-bench-") as name:
        directory = Path(name)
        tool, files = server_rate.compile_load(directory), certificate(directory)
        print(f"CPU: {server_rate.cpu_model()}; {len(os.sched_getaffinity(0))} processors, shared by server and load")
        print(
            f"kernel {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f}\n"
        )
        costs()
        print(f"{'':<42}{'replies/s':>11}{'/CPU s':>11}{'lost':>11}{'bad':>6}")
        for aead in AEADS[:2]:
            await ours(aead, tool, directory, options)
        path = server_rate.find_chronyd(options.chronyd)
        if path is not None:
            await against_chronyd(path, tool, files, directory, options)
            return
        print(f"\n{'':<42}{'keys/s':>11}{'/CPU s':>11}{'each':>12}")
        await our_handshakes(files, options.seconds)
        print("no chronyd: apt-get install chrony, or give --chronyd PATH")


def main(arguments: Sequence[str]) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run, at most 30")
    parser.add_argument("--chronyd", help="path of chronyd; default: the system's")
    parser.add_argument("--profile", action="store_true", help="show where the time of a reply goes, and nothing else")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.seconds <= 30:
        parser.error("--seconds is 0.1 to 30")
    if options.profile:
        profile()
    else:
        asyncio.run(run(options))


if __name__ == "__main__":
    main(sys.argv[1:])
