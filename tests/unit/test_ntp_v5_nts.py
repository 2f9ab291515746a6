"""NTPv5 under NTS, by the hooks of both sides: the fields are those of version 4 (RFC 8915), in version 5's framing."""

from __future__ import annotations

from functools import partial

import pytest
from ntp5_support import DRAFT, NOW_NS, STATE, Scales, entropy, parts, stamp
from nts_support import Stream, agreed, jar, keys_for

from timesync.ntp.exchange import DropReason
from timesync.ntp.v5.bloom import ReferenceId, served_filter
from timesync.ntp.v5.client import Answer5, Asked5, Session5, Settings5
from timesync.ntp.v5.server import Refusal, Reply5, Server5
from timesync.ntp.v5.serving import Serving
from timesync.nts.aead import AeadId
from timesync.nts.serve import Authentic, NtsFault, NtsGate, Refused
from timesync.nts.session import NtsAnswer, NtsRefusal, NtsSession

REFERENCES = served_filter(ReferenceId.random(entropy(8)), [])


class Bench:
    """A client and a server that have agreed on keys."""

    def __init__(self, aead: AeadId) -> None:
        keys, cookies = keys_for(aead), jar()
        self.gate = NtsGate(cookies, Stream("gate"))
        self.nts = NtsSession(agreed(keys, tuple(cookies.make(keys) for _ in range(4))), Stream("client"))
        self.client = Session5(Settings5(chunk=256))
        self.server = Server5()
        self.server.publish(STATE, Serving(poll=4, references=REFERENCES))

    def ask(self, seed: int) -> tuple[Asked5, bytes]:
        asked = self.client.request(DRAFT.decode(), 6, entropy(seed))
        protected = self.nts.protect(asked.data)
        assert protected is not None
        return asked, protected

    def serve(self, request: bytes) -> bytes:
        found = self.gate.examine(request)
        assert isinstance(found, Authentic)
        reply = self.server.respond(request, NOW_NS, NOW_NS, 0, partial(self.gate.seal, found))
        assert isinstance(reply, Reply5)
        return reply.data


@pytest.mark.parametrize("aead", list(AeadId))
def test_an_exchange_is_protected_and_renews_the_cookies(aead: AeadId) -> None:
    bench = Bench(aead)
    for n in range(4):
        asked, request = bench.ask(n)
        data = bench.serve(request)
        assert len(request) == len(data)
        opened = bench.nts.judge(data)
        assert isinstance(opened, NtsAnswer)
        got = bench.client.judge(data, asked, stamp(), Scales(), opened.fields)
        assert isinstance(got, Answer5)
        bench.client.accepted(asked, got)
    assert REFERENCES == bench.client.references
    assert 8 == len(bench.nts.cookies), "four at first; each answer made up for what was missing"


def test_a_changed_answer_does_not_open_and_a_changed_correction_does_no_harm() -> None:
    """Routers change the correction: it stands outside of what is protected."""
    bench = Bench(AeadId.AES_SIV_CMAC_256)
    asked, request = bench.ask(1)
    data = bench.serve(request + bytes.fromhex("f506001c") + bytes(12) + (5 << 16).to_bytes(8, "big") + bytes(4))
    assert bytes.fromhex("f506001c") + (5 << 16).to_bytes(8, "big") + bytes(16) == data[-28:]
    assert NtsRefusal.TAG == bench.nts.judge(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    opened = bench.nts.judge(data)
    assert isinstance(opened, NtsAnswer)
    assert isinstance(bench.client.judge(data, asked, stamp(), Scales(), opened.fields), Answer5)


def test_a_nak_is_noted_and_gives_no_time() -> None:
    bench = Bench(AeadId.AES_SIV_CMAC_256)
    asked, request = bench.ask(1)
    spoilt = request[:-1] + bytes([request[-1] ^ 1])
    found = bench.gate.examine(spoilt)
    assert isinstance(found, Refused)
    assert NtsFault.TAG == found.fault
    assert found.unique_id is not None
    nak = bench.server.refuse(spoilt, Refusal.NAK, partial(bench.gate.nak, found.unique_id))
    assert isinstance(nak, Reply5)
    assert (len(spoilt), [0xF5FF, 0x0104, 0xF501]) == (len(nak.data), list(parts(nak.data)))
    assert NtsRefusal.NAK == bench.nts.judge(nak.data)
    assert DropReason.CRYPTO_NAK == bench.client.judge(nak.data, asked, stamp(), Scales())
