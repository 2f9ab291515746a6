"""The misbehaving server, asked by the real query client over loopback."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from linux_support import TABLE

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.daemon.query import SYSTEM_CLOCK, measuring_host, query
from timesync.daemon.testserver import Misbehaviour, TrialServer
from timesync.ntp.exchange import DropReason
from timesync.ntp.query import Outcome, QuerySettings, best_of

_QUICK = {"interval": Duration.from_ns(50_000_000), "timeout": Duration.from_ns(300_000_000)}


def asked(wrong: Misbehaviour, **changes: Any) -> tuple[list[Outcome], TrialServer]:
    """What a client sees of a server that misbehaves so."""
    settings = QuerySettings(local=SYSTEM_CLOCK, **{**_QUICK, **changes})

    async def main() -> tuple[list[Outcome], TrialServer]:
        server = TrialServer([Endpoint("127.0.0.1", 0)], wrong)
        try:
            return await query(measuring_host(TABLE), TABLE, server.addresses[0], settings), server
        finally:
            server.close()

    return asyncio.run(main())


def test_an_honest_server_tells_the_system_clocks_time() -> None:
    outcomes, server = asked(Misbehaviour(), count=3)
    best = best_of(outcomes)

    assert best is not None
    assert best.sample is not None
    assert best.packet is not None
    assert abs(best.sample.offset.s()) < 1e-3
    assert (1, b"TEST", Leap.NONE) == (best.packet.stratum, best.packet.reference_id, best.packet.leap)
    assert (3, 3) == (server.counters().received, server.counters().answered)


@pytest.mark.parametrize(("offset_ms", "said"), [(80, "80 ms ahead"), (-50, "50 ms behind"), (3000, "3 s ahead")])
def test_an_offset_is_said_with_its_unit_and_side(offset_ms: int, said: str) -> None:
    text = Misbehaviour(offset=Duration.from_ns(offset_ms * 1_000_000)).words()
    assert f"serves the system clock's time, {said}" == text


def test_an_offset() -> None:
    (outcome,), _ = asked(Misbehaviour(offset=Duration.from_ns(50_000_000)))

    assert outcome.sample is not None
    assert outcome.sample.offset.s() == pytest.approx(-0.05, abs=1e-3)


def test_a_drift_grows() -> None:
    """One percent over the first and the last of five questions, 50 ms apart."""
    outcomes, _ = asked(Misbehaviour(drift=Rate.from_ppm(10_000)), count=5)
    first, last = outcomes[0].sample, outcomes[-1].sample

    assert first is not None
    assert last is not None
    assert (last.offset - first.offset).s() == pytest.approx(-0.01 * (last.at - first.at).s(), abs=5e-4)


@pytest.mark.parametrize(("reply", "code"), [("deny", "DENY"), ("rate", "RATE")])
def test_kisses(reply: str, code: str) -> None:
    outcomes, _ = asked(Misbehaviour(reply=reply), count=3)

    (outcome,) = outcomes  # a client that is told so asks no more
    assert (code, DropReason.KISS) == (outcome.kiss, outcome.refusal)
    assert outcome.packet is not None
    assert Leap.UNKNOWN is outcome.packet.leap


def test_silence() -> None:
    (outcome,), server = asked(Misbehaviour(reply="silent"))

    assert "no answer within 0.3 s" == outcome.trouble
    assert 1 == server.counters().received


@pytest.mark.parametrize("leap", [Leap.INSERT, Leap.DELETE])
def test_a_leap_second(leap: Leap) -> None:
    (outcome,), _ = asked(Misbehaviour(leap=leap, offset=Duration.from_s(3)))

    assert outcome.packet is not None
    assert leap is outcome.packet.leap
    assert outcome.sample is not None
    assert outcome.sample.offset.s() == pytest.approx(-3, abs=1e-3)


def test_not_synchronised() -> None:
    (outcome,), _ = asked(Misbehaviour(unsynchronized=True))

    assert outcome.packet is not None
    assert (0, DropReason.UNSYNCHRONISED) == (outcome.packet.stratum, outcome.refusal)
    assert not outcome.usable


def test_what_is_no_request_is_not_even_refused() -> None:
    """Nobody can use it to send kisses to others: modes but client's get nothing (CVE-2009-3563)."""
    heard: list[str] = []

    async def main() -> int:
        all_heard = asyncio.Event()

        def hear(host: str, port: int, what: str) -> None:
            heard.append(what)
            if len(heard) == 5:
                all_heard.set()

        server = TrialServer([Endpoint("127.0.0.1", 0)], Misbehaviour(reply="deny"), hear)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=("127.0.0.1", server.addresses[0].port)
        )
        try:
            for first in (0x24, 0x1C, 0x00, 0x26):
                transport.sendto(bytes([first]) + bytes(47))
            transport.sendto(b"\x23" * 10)
            async with asyncio.timeout(5):
                await all_heard.wait()
        finally:
            transport.close()
            server.close()
        return server.counters().answered

    assert 0 == asyncio.run(main())
    assert {"not a request that is answered"} == set(heard)


@pytest.mark.parametrize(
    "wrong",
    [
        {"reply": "deny", "offset": Duration.from_s(1)},
        {"reply": "silent", "leap": Leap.INSERT},
        {"reply": "rate", "unsynchronized": True},
        {"unsynchronized": True, "leap": Leap.INSERT},
        {"reply": "nonsense"},
    ],
)
def test_what_contradicts_itself(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tells no time|announces nothing|unknown reply"):
        Misbehaviour(**wrong)
