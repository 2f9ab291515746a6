"""NTPv5 with Debian's ntpd-rs: our machines of the draft behind plain sockets, both ways.

Only its builds of Debian 14 speak a draft that we know.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from interop_ntpd_rs import FORKY, key_server, ntpd_rs, server, source
from interop_nts import Authority, ask
from interop_support import Node, lan, wait_until

from timesync.base.ids import ClockId
from timesync.base.measure import Leap, Stamp
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration, Instant
from timesync.daemon.leap import load_leap_table
from timesync.ntp.serve_state import ServeState
from timesync.ntp.v5.bloom import HASHES, BloomFilter, ReferenceId, served_filter
from timesync.ntp.v5.client import Answer5, Session5, Settings5
from timesync.ntp.v5.negotiation import MAX_LOST, Negotiation, SpeakV5
from timesync.ntp.v5.server import Reply5, Server5
from timesync.ntp.v5.serving import Serving
from timesync.nts.ke_client import KeOffer
from timesync.nts.session import NtsAnswer, NtsSession
from timesync.nts.tls_client import Trust
from timesync.runtime.ke_client import Established
from timesync.wire.ntp import Mode, NtpPacket, decode, encode, timestamp_to_utc
from timesync.wire.nts_ke import NextProtocol

pytestmark = pytest.mark.ntpd_rs

SELECT_S = 60
FILTER_S = 120
"""It asks for 16 octets of 512 each second."""

ANSWER_S = 5
NEAR_NS = 5_000_000
CHUNK = 128
PIECES = 512 // CHUNK
TABLE, _ = load_leap_table()


def stamp() -> Stamp:
    return Stamp(ClockId("system"), 0, TABLE.tai(Instant.from_ns(time.time_ns())))


class Client:
    """Our client on a socket of a node."""

    def __init__(self, here: Node, server: str, port: int = 123, keys: NtsSession | None = None) -> None:
        with here.entered():
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.settimeout(ANSWER_S)
        self._udp.connect((server, port))
        self._keys = keys
        self.session = Session5(Settings5(chunk=CHUNK))

    def close(self) -> None:
        self._udp.close()

    def ask(self) -> Answer5:
        """One exchange; the answer has passed all tests, and tells nearly our time."""
        asked = self.session.request(FORKY.draft, 4, os.urandom)
        data: bytes | None = asked.data if self._keys is None else self._keys.protect(asked.data)
        assert data is not None
        before = time.time_ns()
        reply = self.raw(data)
        after = time.time_ns()
        trusted = None
        if self._keys is not None:
            opened = self._keys.judge(reply)
            assert isinstance(opened, NtsAnswer), opened
            trusted = opened.fields
        answer = self.session.judge(reply, asked, stamp(), TABLE, trusted)
        assert isinstance(answer, Answer5), answer
        self.session.accepted(asked, answer)
        assert answer.pivot is not None
        at = timestamp_to_utc(answer.packet.receive, answer.pivot).ns()
        assert before - NEAR_NS < at < after + NEAR_NS
        return answer

    def raw(self, request: bytes) -> bytes:
        self._udp.send(request)
        return self._udp.recv(2048)


def test_ntpd_rs_answers_us(tmp_path: Path) -> None:
    with (
        lan(2) as (there, here),
        ntpd_rs(there, FORKY, tmp_path / "rs", server(more="accept-ntp-versions = [5]"), local_stratum=1),
    ):
        client = Client(here, there.address)
        answers = [client.ask() for _ in range(PIECES)]
        client.close()
        assert all((answer.packet.stratum, answer.leap) == (1, Leap.NONE) for answer in answers)
        # It follows nobody, and puts itself into its filter when it does.
        assert client.session.references == BloomFilter()


def test_ntpd_rs_gives_keys_for_ntpv5_and_answers_under_them(tmp_path: Path) -> None:
    with lan(2) as (there, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("rs", f"IP:{there.address}")
        configuration = server(more="accept-ntp-versions = [5]\nrequire-nts = true")
        configuration += key_server(certificate, "accept-ntp-versions = [4, 5]")
        with ntpd_rs(there, FORKY, tmp_path / "rs", configuration, files=(certificate, key), local_stratum=1) as peer:
            offer = KeOffer(protocols=(NextProtocol.NTPV5_DRAFT, NextProtocol.NTPV4))
            result = ask(here, there, Trust.from_pem(authority.certificate.read_bytes()), offer)
            assert isinstance(result, Established), (result, peer.log())
            assert result.agreed.protocol == NextProtocol.NTPV5_DRAFT
            keys = NtsSession(result.agreed, os.urandom)
            client = Client(here, result.server, result.port, keys)
            for _ in range(PIECES):
                assert client.ask().packet.stratum == 1
            client.close()
            assert client.session.references == BloomFilter()
            assert 8 == len(keys.cookies)
            assert peer.metric("ntp_server_nts_accepted_packets_total") == PIECES


@pytest.mark.parametrize(("versions", "answers"), [("[4, 5]", True), ("[4]", False)])
def test_ntpd_rs_says_by_the_mark_in_version_4_that_it_speaks_5(tmp_path: Path, versions: str, answers: bool) -> None:
    """It says so even where its configuration does not let it; then silence takes us back."""
    with (
        lan(2) as (there, here),
        ntpd_rs(there, FORKY, tmp_path / "rs", server(more=f"accept-ntp-versions = {versions}"), local_stratum=1),
    ):
        negotiation = Negotiation(SpeakV5.AUTO, (FORKY.draft,))
        client = Client(here, there.address)
        nonce = int.from_bytes(os.urandom(8), "big")
        request = NtpPacket(mode=Mode.CLIENT, reference=negotiation.reference, transmit=nonce)
        answer = decode(client.raw(encode(request)))
        assert (nonce, 4) == (answer.origin, answer.version)
        negotiation.answered(4, answer.reference)
        assert negotiation.version == 5
        if answers:
            assert client.ask().packet.stratum == 1
        else:
            for _ in range(MAX_LOST):
                with pytest.raises(TimeoutError):
                    client.ask()
                negotiation.lost(5)
            assert negotiation.version == 4
        client.close()


class Server:
    """Our server of the draft on port 123 of a node, with this machine's time, at stratum 2.

    Attributes:
        asked: Requests.
        answered: Those of them that it has answered.
    """

    def __init__(self, here: Node, draft: str = FORKY.draft) -> None:
        self.asked = self.answered = 0
        self._made = Server5(drafts=(draft,))
        with here.entered():
            self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind((here.address, 123))
        self._udp.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._udp.close()

    def publish(self, references: BloomFilter) -> None:
        """Hand this filter out."""
        state = ServeState(
            synchronized=True, leap=Leap.NONE, stratum=2, reference_id=b"\xc0\0\2\1", root_delay=Duration.from_s(1e-3),
            root_dispersion=Duration.from_s(1e-3), dispersion_rate=0.0, at=Instant(0),
            valid_until=Instant.from_ns(1 << 60), reference_time=0, precision=-20, serving_map=SYSTEM_MAP, epoch=0,
        )  # fmt: skip
        self._made.publish(state, Serving(references=references))

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                data, client = self._udp.recvfrom(2048)
            except TimeoutError:
                continue
            self.asked += 1
            reply = self._made.respond(data, time.time_ns(), time.time_ns, time.monotonic_ns())
            if isinstance(reply, Reply5):
                self._udp.sendto(reply.data, client)
                self.answered += 1


def test_ntpd_rs_follows_us_hands_our_id_on_and_finds_its_own_in_our_filter(tmp_path: Path) -> None:
    own = ReferenceId.random(os.urandom)
    told = "ntp-version = 5\npoll-interval-limits = {min = 0, max = 0}"
    with lan(2) as (here, there), Server(here) as ours:
        ours.publish(served_filter(own, []))
        configuration = source("server", here.address, told) + server(more="accept-ntp-versions = [5]")
        with ntpd_rs(there, FORKY, tmp_path / "rs", configuration) as peer:
            wait_until(lambda: peer.synchronized(3), SELECT_S, "ntpd-rs follows us", peer.log)
            assert abs(peer.metric("ntp_source_offset_seconds") or 0) < NEAR_NS / 1e9

            def handed_on() -> BloomFilter | None:
                client = Client(there, there.address)
                for _ in range(PIECES):
                    client.ask()
                client.close()
                found = client.session.references
                return found if found is not None and own in found else None

            theirs = wait_until(handed_on, FILTER_S, "it hands our id on", peer.log)
            assert HASHES < theirs.count <= 2 * HASHES
            ours.publish(served_filter(own, [theirs]))
            wait_until(
                lambda: "detected synchronization loop (bloom filter)" in peer.log(), FILTER_S, "it sees the loop"
            )


def test_ntpd_rs_does_not_follow_us_by_another_draft(tmp_path: Path) -> None:
    with lan(2) as (here, there), Server(here, "draft-ietf-ntp-ntpv5-09") as ours:
        ours.publish(BloomFilter())
        with ntpd_rs(there, FORKY, tmp_path / "rs", source("server", here.address, "ntp-version = 5")) as peer:
            wait_until(lambda: ours.asked > 3, SELECT_S, "it asks", peer.log)
            assert ours.answered == 0
            assert peer.metric("ntp_system_stratum") == 16
