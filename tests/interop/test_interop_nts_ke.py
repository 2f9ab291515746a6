"""NTS key establishment with Debian's chronyd, as our server and as our client."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from interop_nts import Authority, ask, now
from interop_support import Node, chronyd, lan, wait_until

from timesync.base.ids import Endpoint
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsAnswer, NtsSession
from timesync.nts.tls_client import Trust
from timesync.runtime.ke_client import Established, KeFailure, KeKind
from timesync.runtime.ke_files import PairFiles
from timesync.runtime.ke_messages import KeServiceSettings
from timesync.runtime.ke_service import KeService
from timesync.wire.ntp import Mode, NtpPacket, encode

pytestmark = pytest.mark.interop

KE_S = 20


def exchange(here: Node, result: Established) -> bytes:
    """One NTP request under the keys; the answer."""
    session = NtsSession(result.agreed, os.urandom)
    request = session.protect(encode(NtpPacket(mode=Mode.CLIENT, transmit=int.from_bytes(os.urandom(8), "big"))))
    assert request is not None
    with here.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.sendto(request, (result.server, result.port))
        answer = udp.recv(2048)
    assert isinstance(session.judge(answer), NtsAnswer)
    return answer


def test_chronyd_gives_us_keys_that_its_ntp_server_knows(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with lan(2) as (server, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("server", f"IP:{server.address}")
        lines = (
            "allow all",
            "local stratum 1",
            f"ntsservercert {certificate}",
            f"ntsserverkey {key}",
            f"ntsdumpdir {tmp_path}",
        )
        with chronyd(server, tmp_path / "server", *lines) as daemon:
            trust = Trust.from_pem(authority.certificate.read_bytes())
            result = ask(here, server, trust)
            assert isinstance(result, Established), (result, daemon.log())
            assert 8 == len(result.cookies)
            assert (server.address, 123) == (result.server, result.port)
            assert "TLSv1.3" == result.tls.version
            answer = exchange(here, result)
            # Stratum 1, as it was told to be.
            assert 1 == answer[1]
            record_property("aead", result.aead.name)
            record_property("group", result.tls.group)


def test_chronyd_is_refused_where_its_certificate_is_not_trusted_or_for_another(tmp_path: Path) -> None:
    with lan(2) as (server, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("server", "DNS:time.example.org")
        lines = ("allow all", "local stratum 1", f"ntsservercert {certificate}", f"ntsserverkey {key}")
        with chronyd(server, tmp_path / "server", *lines):
            result = ask(here, server, Trust.from_pem(authority.certificate.read_bytes()))
            assert isinstance(result, KeFailure)
            assert KeKind.CERTIFICATE is result.kind
            assert f"is for time.example.org, not for {server.address}" in result.reason
            result = ask(here, server, Trust.system())
            assert isinstance(result, KeFailure)
            assert KeKind.CERTIFICATE is result.kind
            assert '"Interop CA"' in result.reason


def test_chronyd_gets_keys_from_us(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with lan(2) as (here, client):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("server", f"IP:{here.address}")
        store = KeyStore.new(now(), os.urandom)
        follow = f"server {here.address} nts minpoll 0 maxpoll 0 iburst"

        async def main() -> tuple[dict[str, int], list[str], list[bytes]]:
            with here.entered():
                service = KeService(
                    KeServiceSettings(), [Endpoint(here.address, 4460)], [PairFiles(certificate, key)], store.keys, now
                )
                udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                udp.bind((here.address, 123))
                udp.setblocking(False)
                await asyncio.wait_for(service.ready.wait(), KE_S)
                found = await asyncio.to_thread(follow_us)
                requests = [await asyncio.wait_for(asyncio.get_running_loop().sock_recv(udp, 2048), KE_S)]
                await asyncio.to_thread(wait_until, service.counters, KE_S, "we have counted it")
                return dict(service.counters()), found, requests
            finally:
                udp.close()
                service.close()

        def follow_us() -> list[str]:
            lines = ("port 0", f"ntstrustedcerts {authority.certificate}", follow)
            with chronyd(client, tmp_path / "client", *lines) as daemon:

                def keys() -> list[str] | None:
                    fields = daemon.ask("-c", "authdata").strip().split(",")
                    # Name, mode, key id, type, key length, last, attempts, NAK, cookies, cookie length.
                    return fields if len(fields) == 10 and int(fields[4]) > 0 else None

                return list(wait_until(keys, KE_S, "chronyd has keys", daemon.log))

        counters, found, requests = asyncio.run(main())
        assert "NTS" == found[1]
        assert {"15": "256", "30": "128"}[found[3]] == found[4]
        assert 1 == counters["established"]
        # The cookie that chronyd sends holds its keys: it is the second extension field, after the unique identifier.
        data = requests[0]
        unique = int.from_bytes(data[50:52], "big")
        start = 48 + unique
        assert b"\x02\x04" == data[start : start + 2]
        size = int.from_bytes(data[start + 2 : start + 4], "big")
        opened = CookieJar(store.keys, os.urandom).open(data[start + 4 : start + size])
        assert opened is not None
        assert int(found[3]) == opened.aead
        record_property("aead", opened.aead.name)
        record_property("counters", counters)
