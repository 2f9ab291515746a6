"""The NTS-KE server in its own process: rights, restarts, keys and certificates that change."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
from child_support import without_landlock
from ke_socket_support import JAR, LOCAL, STORE, ask, closed, dial, eventually, hello
from ke_support import CA, NAME, SERVER
from tls_support import NOW, Identity, at_day, make_identity

from timesync.base.ids import Endpoint
from timesync.nts.cookies import CookieJar
from timesync.nts.master import RotationSettings
from timesync.runtime.ke_client import Established, KeFailure, KeKind
from timesync.runtime.ke_files import PairFiles, Watch
from timesync.runtime.ke_messages import KeServiceSettings, encode_settings
from timesync.runtime.ke_service import KeService

# --- the process --------------------------------------------------------------------------------------------------


def of_process(pid: int | None, what: str) -> str:
    return Path(f"/proc/{pid}/{what}").read_text()


class Desk:
    """A directory with certificates, and what the operator was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[tuple[str, str]] = []
        self.now = NOW

    def write(self, name: str, identity: Identity, key_of: Identity | None = None) -> PairFiles:
        files = PairFiles(self.path / f"{name}.pem", self.path / f"{name}.key")
        for file, data in ((files.certificate, identity.pem), (files.key, (key_of or identity).key_pem)):
            fresh = file.with_suffix(".new")
            fresh.write_bytes(data)
            fresh.replace(file)
        files.key.chmod(0o600)
        return files

    @asynccontextmanager
    async def service(
        self, *files: PairFiles, settings: KeServiceSettings | None = None
    ) -> AsyncIterator[tuple[KeService, int]]:
        made = KeService(
            settings or KeServiceSettings(),
            [Endpoint(LOCAL, 0)],
            files,
            STORE.keys,
            lambda: self.now,
            lambda level, text: self.notes.append((level, text)),
        )
        try:
            async with asyncio.timeout(20):
                await made.ready.wait()
            await eventually(lambda: bool(made.certificates or made.refused), "it speaks of its certificates")
            yield made, made.addresses[0].port
        finally:
            made.close()

    def said(self, words: str) -> bool:
        return any(words in text for _, text in self.notes)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_process_of_its_own_serves_and_counts(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            result = await ask(port)
            assert isinstance(result, Established)
            assert result.keys[0] == JAR.open(result.cookies[0])
            await eventually(lambda: service.counters().get("established") == 1, "it is counted")
            assert (NAME, "192.0.2.2") == service.certificates[0].names
            assert [] == desk.notes

    asyncio.run(main())


def test_who_has_connected_is_known_and_not_forgotten_when_the_process_dies(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            assert 0 == (await service.clients()).known
            assert isinstance(await ask(port), Established)
            with await dial(port, "127.0.0.2") as one:
                one.close()
            await eventually(lambda: service.counters().get("cut") == 1, "both are over")
            await eventually(lambda: service.counters().get("established") == 1, "both are over")

            async def seen(wanted: dict[str, tuple[int, int, int]]) -> None:
                for _ in range(1000):
                    told = await service.clients()
                    counts = ((one.address, (one.requests, one.answered, one.failed)) for one in told.records)
                    found = {str(ip_address(address)): numbers for address, numbers in counts}
                    if found == wanted:
                        break
                    await asyncio.sleep(0.01)  # a connection is over a moment after its answer
                assert wanted == found

            await seen({"127.0.0.1": (1, 1, 0), "127.0.0.2": (1, 0, 1)})
            before = service.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await eventually(lambda: service.pid not in (None, before) and service.ready.is_set(), "there is another")
            assert isinstance(await ask(port), Established)
            await seen({"127.0.0.1": (2, 2, 0), "127.0.0.2": (1, 0, 1)})

    asyncio.run(main())


def test_who_has_connected_is_not_recorded_where_that_is_not_wanted(desk: Desk) -> None:
    async def main() -> None:
        settings = KeServiceSettings(clients=0)
        async with desk.service(desk.write("cert", SERVER), settings=settings) as (service, port):
            assert isinstance(await ask(port), Established)
            await eventually(lambda: service.counters().get("established") == 1, "it is counted")
            assert 0 == (await service.clients()).known

    asyncio.run(main())


def test_a_kernel_without_landlock_is_told_once(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_landlock(monkeypatch, tmp_path)

    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            assert isinstance(await ask(port), Established)
            before = service.pid
            assert before is not None
            os.kill(before, signal.SIGKILL)
            await eventually(lambda: service.pid not in (None, before) and service.ready.is_set(), "there is another")
            told = [text for level, text in desk.notes if level == "info"]
            assert ["this kernel has no Landlock: the NTS-KE server may read whatever its user may"] == told

    asyncio.run(main())


def test_the_process_has_no_rights(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, _):
            status = of_process(service.pid, "status")
            fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
            for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert 0 == int(fields[capabilities], 16)
            assert "1" == fields["NoNewPrivs"]
            assert "0" not in fields["Uid"].split()
            limits = of_process(service.pid, "limits")
            assert re.search(r"Max processes +0 +0", limits)
            assert re.search(r"Max core file size +0 +0", limits)

    asyncio.run(main())


def test_a_key_that_only_root_may_read_is_served_by_nobody(desk: Desk) -> None:
    """The daemon opens it and hands the descriptor on; the process itself could not."""

    async def main() -> None:
        files = desk.write("cert", SERVER)
        desk.path.chmod(0o700)
        async with desk.service(files) as (_, port):
            assert isinstance(await ask(port), Established)

    asyncio.run(main())


def test_a_killed_process_is_replaced_and_no_client_waits_in_vain(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            first = service.pid
            assert first is not None
            assert isinstance(await ask(port), Established)
            await eventually(lambda: service.counters().get("established") == 1, "it is counted")
            os.kill(first, signal.SIGKILL)
            await eventually(lambda: service.restarts == 1, "its end is noticed")
            # While nobody is there, this client waits in the socket that the daemon holds.
            result = await ask(port)
            assert isinstance(result, Established)
            # Master keys are the daemon's: cookies of before and of now open alike.
            assert result.keys[0] == JAR.open(result.cookies[0])
            assert first != service.pid
            await eventually(lambda: service.counters().get("established") == 2, "both processes are counted")
            assert desk.said("the NTS-KE server ended with -9")

    asyncio.run(main())


def test_a_process_that_hangs_is_ended_and_replaced(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timesync.runtime.ke_service.WATCH_S", 0.3)

    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            first = service.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            await eventually(lambda: service.restarts == 1, "it is missed")
            assert isinstance(await ask(port), Established)
            assert desk.said("does not answer any more")

    asyncio.run(main())


def test_a_process_that_reads_nothing_does_not_keep_the_daemon_waiting(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            first = service.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            for _ in range(2000):
                service.publish(STORE.keys)
            await eventually(lambda: service.restarts == 1, "its successor is started")
            assert isinstance(await ask(port), Established)

    asyncio.run(main())


def test_new_master_keys_are_used_at_once_and_old_cookies_open(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            store = STORE
            jar = CookieJar(STORE.keys, os.urandom)
            for _ in range(3):
                before = await ask(port)
                store = store.rotated(NOW, os.urandom, RotationSettings())
                service.publish(store.keys)
                jar.replace(store.keys)
                assert isinstance(before, Established)
                assert before.keys[0] == jar.open(before.cookies[0])
                current = store.keys.current.to_bytes(2, "big")
                after = await ask(port)
                assert isinstance(after, Established)
                assert {current} == {cookie[:2] for cookie in after.cookies}

    asyncio.run(main())


def test_a_renewed_certificate_is_served_without_a_restart(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            pid = service.pid
            renewed = make_identity("server", NAME, issuer=CA, days=(-1, 365))
            desk.write("cert", renewed)
            service.reload()
            await eventually(lambda: service.certificates[0].expires == at_day(365), "it is taken")
            result = await ask(port, now=at_day(300))
            assert isinstance(result, Established)
            assert pid == service.pid
            assert desk.said("a new certificate is served from")

    asyncio.run(main())


def test_changed_files_are_noticed_once_they_are_at_rest(desk: Desk) -> None:
    """The certificate is there before its key, as programs that renew them do it."""
    files = desk.write("cert", SERVER)
    watch = Watch([files])
    assert not watch.changed()
    fresh = make_identity("server", NAME, issuer=CA)
    desk.write("cert", fresh, key_of=SERVER)
    assert not watch.changed()
    desk.write("cert", fresh)
    assert not watch.changed()
    assert watch.changed()
    assert not watch.changed()
    files.certificate.unlink()
    assert not watch.changed()
    assert watch.changed()


def test_the_service_looks_at_its_files_by_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timesync.runtime.ke_service.WATCH_S", 0.3)

    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, _):
            desk.write("cert", make_identity("server", NAME, issuer=CA, days=(-1, 365)))
            await eventually(lambda: service.certificates[0].expires == at_day(365), "it is taken")

    asyncio.run(main())


def test_a_certificate_that_cannot_be_used_is_refused_and_the_old_one_served_on(desk: Desk) -> None:
    async def main() -> None:
        files = desk.write("cert", SERVER)
        async with desk.service(files) as (service, port):
            for spoil, words in [
                (lambda: desk.write("cert", SERVER, key_of=CA), "the private key does not belong to the certificate"),
                (lambda: files.certificate.write_bytes(b""), "has no certificate in PEM form"),
            ]:
                spoil()
                service.reload()
                await eventually(lambda words=words: desk.said(words), "it is said")
                assert desk.said("the one before is served on")
                assert isinstance(await ask(port), Established)
            files.certificate.unlink()
            service.reload()
            assert desk.said("cannot be read: No such file or directory; what was served is served on")
            assert isinstance(await ask(port), Established)

    asyncio.run(main())


def test_several_certificates_are_chosen_by_name_and_one_bad_one_harms_no_other(desk: Desk) -> None:
    async def main() -> None:
        other = make_identity("other", "other.example.org", issuer=CA)
        bad = desk.write("bad", make_identity("bad", "bad.example.org", issuer=CA), key_of=CA)
        async with desk.service(desk.write("cert", SERVER), bad, desk.write("other", other)) as (service, port):
            for name in (NAME, "other.example.org"):
                assert isinstance(await ask(port, name=name), Established)
            refused = await ask(port, name="bad.example.org")
            assert isinstance(refused, KeFailure)
            assert KeKind.CERTIFICATE is refused.kind
            assert 2 == len(service.certificates)
            assert desk.said("bad.pem: the private key does not belong to the certificate; it is not served")

    asyncio.run(main())


def test_files_that_are_not_there_stop_the_start(desk: Desk) -> None:
    async def main() -> None:
        missing = PairFiles(desk.path / "no.pem", desk.path / "no.key")
        with pytest.raises(FileNotFoundError):
            KeService(KeServiceSettings(), [Endpoint(LOCAL, 0)], [missing], STORE.keys, lambda: NOW)

    asyncio.run(main())


def test_a_port_that_is_taken_stops_the_start(desk: Desk) -> None:
    async def main() -> None:
        with socket.create_server((LOCAL, 0)) as taken:
            where = [Endpoint(LOCAL, taken.getsockname()[1])]
            with pytest.raises(OSError, match="in use"):
                KeService(KeServiceSettings(), where, [desk.write("cert", SERVER)], STORE.keys, lambda: NOW)

    asyncio.run(main())


def test_the_operator_hears_of_an_end_that_comes_near_once_for_each_stage(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timesync.runtime.ke_service.WATCH_S", 0.3)

    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)):
            assert [] == desk.notes
            for day, words in [
                (75, "in 25 days"),
                (95, "in 5 days"),
                (99.5, "in less than a day"),
                (101, "expired on"),
            ]:
                desk.now = at_day(day)
                await eventually(lambda words=words: desk.said(words), words)
        assert ["warning", "warning", "warning", "error"] == [level for level, _ in desk.notes]

    asyncio.run(main())


def test_a_closed_service_leaves_neither_process_nor_port(desk: Desk) -> None:
    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            pid = service.pid
        with pytest.raises(FileNotFoundError):
            of_process(pid, "status")
        failure = await ask(port)
        assert isinstance(failure, KeFailure)
        assert KeKind.UNREACHABLE is failure.kind

    asyncio.run(main())


SERVE_ONE = """
import asyncio, socket, sys
from timesync.runtime import ke_worker as worker

async def main():
    certificate, key, keys = sys.argv[1:]
    listener = worker.KeListener(worker.decode_settings(sys.stdin.readline().encode()))
    certificates = worker.Certificates()
    with open(certificate) as first, open(key) as second:
        certificates.load([("cert", first.fileno(), second.fileno())])
    jar = worker.CookieJar(worker.MasterKeys.decode(bytes.fromhex(keys)), worker.os.urandom)
    listener.use(context=certificates.context, make_cookie=jar.make)
    bound = socket.create_server(("127.0.0.1", 0))
    bound.setblocking(False)
    await listener.listen(bound)
    before = set(sys.modules)
    print(bound.getsockname()[1], flush=True)
    while not (listener.counters["established"] and listener.counters["tls-broken"]):
        await asyncio.sleep(0.01)
    print(sorted(set(sys.modules) - before), flush=True)

asyncio.run(main())
"""


def test_a_connection_needs_no_module_that_was_not_there_before(desk: Desk) -> None:
    """After the process has given up its rights, nobody may be able to read our packages."""
    files = desk.write("cert", SERVER)
    arguments = [sys.executable, "-c", SERVE_ONE, files.certificate, files.key, STORE.keys.encode().hex()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode_settings(KeServiceSettings())[1:].decode() + "\n")
        process.stdin.flush()
        port = int(process.stdout.readline())

        async def main() -> None:
            with await dial(port) as one:
                await asyncio.get_running_loop().sock_sendall(one, b"GET / HTTP/1.0\r\n\r\n")
                one.shutdown(socket.SHUT_WR)
                await closed(one)
            assert isinstance(await ask(port), Established)

        asyncio.run(main())
        assert "[]\n" == process.stdout.readline()


def test_more_connections_than_descriptors_are_not_promised() -> None:
    script = """
import resource
from timesync.runtime.ke_worker import make_room
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 1000))
print(make_room(10), make_room(512), resource.getrlimit(resource.RLIMIT_NOFILE)[0], make_room(4096))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert ["10", "512", "576", "936"] == ran.stdout.split()


def test_memory_stays_bounded_under_stalled_connections(desk: Desk) -> None:
    """400 clients with half a ClientHello each: under 100 KiB a connection."""

    def resident_kib(pid: int | None) -> int:
        found = re.search(r"VmRSS:\s+(\d+) kB", of_process(pid, "status"))
        assert found is not None
        return int(found[1])

    async def main() -> None:
        async with desk.service(desk.write("cert", SERVER)) as (service, port):
            assert isinstance(await ask(port), Established)
            before = resident_kib(service.pid)
            flight = hello()
            held = []
            for number in range(400):
                one = await dial(port, f"127.0.2.{1 + number // 8}")
                held.append(one)
                await asyncio.get_running_loop().sock_sendall(one, flight[:300])
            assert isinstance(await ask(port), Established)
            assert resident_kib(service.pid) - before < 400 * 100
            for one in held:
                one.close()

    asyncio.run(main())
