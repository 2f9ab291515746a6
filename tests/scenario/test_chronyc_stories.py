"""What chronyc is told of a machine with a receiver, a pulse, two servers and a name that has no address."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from story_support import Story

from timesync.observe import stream
from timesync.observe.chronyc_answers import Answers, Asker
from timesync.wire.candm import Address, ByAddress, ByIndex, Command, Family, encode_request
from timesync.wire.candm_reply import decode_reply
from timesync.wire.candm_sources import (
    INTERLEAVED,
    NEVER,
    TESTS_PASSED,
    AuthData,
    NtpData2,
    SelectData,
    SourceCount,
    SourceData,
    SourceState,
    SourceStats,
)
from timesync.wire.candm_system import Tracking

WORLD = """
name: chronyc
description: A receiver, a pulse, two servers.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}, offset: 30ms}
  hardware:
    receivers:
      /dev/ttyAMA0: {latency: {mean: 120ms, deviation: 30ms}}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
config:
  sources:
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: /dev/pps0, pairs_with: nmea}
    - {ntp: ntp1, poll: [8s, 8s], trust: true}
    - {ntp: ntp2, poll: [8s, 8s]}
    - {ntp: nosuch}
  serve: {ntp: {listen: ["10.0.0.1:123"]}}
"""
UNTIL = 300.0


@cache
def told() -> tuple[dict[str, Any], Answers]:
    """The state of the daemon after five minutes, and what makes answers of it."""
    story = Story(WORLD)
    story.look(UNTIL)
    story.run(UNTIL + 1)
    state = stream.decode(stream.encode(stream.state(story.seen[UNTIL], 0)))
    answers = Answers(())
    answers.take(state)
    return state, answers


def ask(command: Command, body: ByIndex | ByAddress | None = None) -> Any:
    data = told()[1].answer(encode_request(command, 1, body, size=600), Asker.LOCAL)
    assert data is not None
    reply = decode_reply(data)
    assert 0 == reply.status
    return reply.body


def row(name: str) -> dict[str, Any]:
    found = next(one for one in told()[0]["sources"] if one["name"] == name)
    assert isinstance(found, dict)
    return found


def sources() -> list[SourceData]:
    count = ask(Command.N_SOURCES)
    assert isinstance(count, SourceCount)
    return [ask(Command.SOURCE_DATA, ByIndex(index)) for index in range(count.count)]


def close(value: float) -> Any:
    """A float of this protocol has seven digits."""
    return pytest.approx(value, rel=2**-22, abs=1e-12)


def test_tracking_is_the_status() -> None:
    got, (state, _) = ask(Command.TRACKING), told()
    assert isinstance(got, Tracking)
    status = state["status"]
    [clock] = status["clocks"]
    assert b"PPS\0" == got.reference_id.to_bytes(4, "big")
    assert (Family.UNSPECIFIED, 1, 0) == (got.address.family, got.stratum, got.leap)
    assert close(-clock["offset_s"]) == got.correction_s
    assert close(clock["frequency_ppm"]) == got.frequency_ppm == pytest.approx(20, abs=0.1)
    assert close(clock["frequency_uncertainty_ppm"]) == got.skew_ppm
    assert close(status["root_dispersion_s"]) == got.root_dispersion_s
    assert close(status["last_offset_s"]) == got.last_offset_s
    assert 0 < got.rms_offset_s < 0.2
    assert 0 < got.update_interval_s < 20
    # The last correction is so long ago, by the story's own clock, which begins in its own time.
    assert status["updated_utc_ns"] == got.reference_time_ns > 0


def test_sources_are_in_the_terms_of_chrony() -> None:
    nmea, pps, ntp1, ntp2, nosuch = sources()
    assert (b"GPS0", b"PPS0") == (nmea.address.octets, pps.address.octets)
    assert [2, 2, 0, 0, 0] == [one.mode for one in (nmea, pps, ntp1, ntp2, nosuch)]
    assert SourceState.SELECTED == pps.state
    assert SourceState.FALSETICKER == ntp2.state
    assert SourceState.NONSELECTABLE == nosuch.state
    assert (Family.ID, NEVER, 0) == (nosuch.address.family, nosuch.since_sample_s, nosuch.reach)
    assert (Family.INET4, 3, 1, 0xFF) == (ntp1.address.family, ntp1.poll, ntp1.stratum, ntp1.reach)
    assert (4, 0) == (ntp1.flags, ntp2.flags), "trust"
    assert close(row("ntp2")["measured_offset_s"]) == ntp2.measured_s
    assert -0.03 == pytest.approx(ntp2.carried_s, abs=1e-3), "it is 30 ms ahead, so the clock is behind it"
    assert close(row("ntp1")["error_bound_s"]) == ntp1.error_s


def test_statistics_and_selection() -> None:
    stats = [ask(Command.SOURCE_STATS, ByIndex(index)) for index in range(5)]
    assert all(isinstance(one, SourceStats) for one in stats)
    assert [b"GPS0", b"PPS0"] == [one.reference_id.to_bytes(4, "big") for one in stats[:2]]
    ntp1, nosuch = stats[2], stats[4]
    assert (close(row("ntp1")["offset_s"]), close(row("ntp1")["jitter_s"])) == (ntp1.offset_s, ntp1.deviation_s)
    assert 20 < ntp1.samples <= 64
    assert 1 < ntp1.runs < ntp1.samples
    assert 200 < ntp1.span_s < 300
    assert (0, 2000.0, 4.0) == (nosuch.samples, nosuch.skew_ppm, nosuch.deviation_s), "as chronyd has it"
    selected = [ask(Command.SELECT_DATA, ByIndex(index)) for index in range(5)]
    assert all(isinstance(one, SelectData) for one in selected)
    assert "*" == chr(selected[1].state)
    assert "xM" == "".join(chr(one.state) for one in selected[3:])
    assert selected[1].low_s < row("/dev/pps0")["offset_s"] < selected[1].high_s


def test_what_one_server_said() -> None:
    ntp1 = sources()[2]
    got = ask(Command.NTP_DATA, ByAddress.of(ntp1.address))
    assert isinstance(got, NtpData2)
    assert (123, 4, 4, 1, 0) == (got.remote_port, got.version, got.mode, got.stratum, got.leap)
    assert -ntp1.measured_s == close(got.offset_s), "chronyd turns the sign here"
    assert close(row("ntp1")["delay_s"]) == got.delay_s
    assert TESTS_PASSED == got.flags & TESTS_PASSED
    assert row("ntp1")["interleaved"] == bool(got.flags & INTERLEAVED)
    assert got.sent >= got.received >= got.valid >= got.good > 20
    assert (75, 75) == (got.tx_stamping, got.rx_stamping)
    assert got.good <= got.kernel_sent <= got.sent
    answer = row("ntp1")["details"]["answer"]
    assert answer["reference_time_ns"] == got.reference_time_ns
    assert abs(got.reference_time_ns - ask(Command.TRACKING).reference_time_ns) < 10**12, "of the same century"
    assert 0 <= got.response_s < 0.1
    assert AuthData(
        mode=0, key_type=0, key_id=0, key_length=0, attempts=0, since_establishment_s=NEVER, cookies=0,
        cookie_length=0, nak=0,
    ) == ask(Command.AUTH_DATA, ByAddress.of(ntp1.address))  # fmt: skip


def test_names_and_activity() -> None:
    name = ask(Command.NTP_SOURCE_NAME, ByAddress.of(sources()[2].address))
    assert b"ntp1" == name.padded.rstrip(b"\0")
    assert b"nosuch" == ask(Command.NTP_SOURCE_NAME, ByAddress.of(Address.numbered(5))).padded.rstrip(b"\0")
    activity = ask(Command.ACTIVITY)
    assert (2, 1, 0) == (activity.online, activity.unresolved, activity.offline)
    served = ask(Command.SERVER_STATS)
    counted = told()[0]["status"]["serving"]["counters"]
    assert counted["received"] == served.ntp_hits > 250
    assert counted["answered"] == served.kernel_rx + served.hardware_rx
