"""Packets between Debian's chronyc and chronyd, 4.3 and 4.9, read by our codec: what chronyc printed is in them.

``candm_captures.json`` has what a relay between the two saw: two chronyd in a network namespace, none of which touched
the clock, one the other's client (with a key, over IPv4 and IPv6, interleaved), with a server that does not answer, a
name without an address and a SOCK reference clock. Each entry: version, what chronyc was asked, what it printed, and
pairs of packets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from timesync.wire.candm import Command, Status, decode_request, encode_request
from timesync.wire.candm_reply import Reply, decode_reply, encode_reply, size_of
from timesync.wire.candm_sources import (
    AUTHENTICATED,
    INTERLEAVED,
    NEVER,
    TESTS_PASSED,
    AuthData,
    NtpData,
    NtpData2,
    SelectData,
    SourceData,
    SourceName,
    SourceStats,
)
from timesync.wire.candm_system import Activity, Clients, ManualList, ServerStats3, ServerStats4, Tracking

CAPTURES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "candm_captures.json").read_text())
PAIRS = [(bytes.fromhex(ask), bytes.fromhex(told)) for capture in CAPTURES for ask, told in capture["packets"]]


def capture(asked: str, version: str = "4.3") -> tuple[list[list[str]], list[Reply]]:
    """The fields that chronyc printed, line by line, and the replies that it had."""
    found = next(one for one in CAPTURES if one["version"] == version and one["asked"] == asked)
    lines = [line.split(",") for line in found["printed"]]
    return lines, [decode_reply(bytes.fromhex(told)) for _, told in found["packets"]]


def bodies(asked: str, kind: type[Any], version: str = "4.3") -> tuple[list[list[str]], list[Any]]:
    lines, replies = capture(asked, version)
    return lines, [reply.body for reply in replies if type(reply.body) is kind]


def test_every_packet_of_chronyd_is_written_again_as_it_was() -> None:
    assert len(PAIRS) > 50
    for ask, told in PAIRS:
        request, reply = decode_request(ask), decode_reply(told)
        assert (request.command, request.sequence, request.size) == (reply.command, reply.sequence, len(ask))
        assert told == encode_reply(request, Status(reply.status), reply.body)
        assert len(told) <= len(ask)


def test_chronyc_pads_its_requests_to_the_length_of_the_reply_that_it_knows() -> None:
    for ask, told in PAIRS:
        reply = decode_reply(told)
        if reply.status == Status.SUCCESS:
            assert len(ask) == len(told) == size_of(type(reply.body))


def test_our_requests_are_those_of_chronyc() -> None:
    for ask, _ in PAIRS:
        request = decode_request(ask)
        body = None
        if request.command in (Command.SOURCE_DATA, Command.SOURCE_STATS, Command.SELECT_DATA):
            body = request.index()
        if request.command == Command.CLIENT_ACCESSES:
            assert (0, 8, 0, 0) == (
                request.clients().first, request.clients().count, request.clients().minimum, request.clients().reset,
            )  # fmt: skip
            body = request.clients()
        if request.command in (Command.NTP_DATA, Command.AUTH_DATA, Command.NTP_SOURCE_NAME):
            continue
        assert ask == encode_request(request.command, request.sequence, body, size=len(ask), attempt=request.attempt)


def test_tracking() -> None:
    for version in ("4.3", "4.9"):
        lines, [got] = bodies("-c tracking", Tracking, version)
        assert lines == [
            [
                f"{got.reference_id:08X}",
                "127.0.0.1",
                str(got.stratum),
                f"{got.reference_time_ns // 10**9}.{got.reference_time_ns % 10**9:09}",
                *(
                    f"{value:.9f}"
                    for value in (got.correction_s, got.last_offset_s, got.rms_offset_s)
                ),
                *(f"{value:.3f}" for value in (got.frequency_ppm, got.residual_ppm, got.skew_ppm)),
                f"{got.root_delay_s:.9f}",
                f"{got.root_dispersion_s:.9f}",
                f"{got.update_interval_s:.1f}",
                "Normal",
            ]
        ]  # fmt: skip
        assert (b"\x7f\0\0\1", 0) == (got.address.octets, got.leap)


def test_sources_of_which_chronyc_leaves_out_the_one_without_an_address() -> None:
    lines, got = bodies("-n -c sources", SourceData)
    assert 5 == len(got)
    assert (3, b"\0\0\0\1") == (got[4].address.family, got[4].address.octets)
    assert b"GPS0" == got[0].address.octets, "a reference clock has its reference id for an address"
    for line, one in zip(lines, got, strict=False):
        assert line == [
            "^=#"[one.mode],
            "*?x~+-"[one.state],
            line[2],
            str(one.stratum),
            str(one.poll),
            f"{one.reach:o}",
            str(one.since_sample_s),
            f"{one.carried_s:.9f}",
            f"{one.measured_s:.9f}",
            f"{one.error_s:.9f}",
        ]
    assert NEVER == got[3].since_sample_s


def test_sourcestats() -> None:
    lines, got = bodies("-n -c sourcestats", SourceStats)
    for line, one in zip(lines, got, strict=False):
        counted = [str(one.samples), str(one.runs), str(one.span_s)]
        figures = [f"{one.residual_ppm:.3f}", f"{one.skew_ppm:.3f}", f"{one.offset_s:.9f}", f"{one.deviation_s:.9f}"]
        assert line[1:] == counted + figures
    assert (b"GPS0", 0) == (got[0].reference_id.to_bytes(4, "big"), got[0].address.family)


@pytest.mark.parametrize(("version", "kind"), [("4.3", NtpData), ("4.9", NtpData2)])
def test_ntpdata(version: str, kind: type[NtpData]) -> None:
    lines, got = bodies("-n -c ntpdata", kind, version)
    assert 3 == len(lines) == len(got)
    for line, one in zip(lines, got, strict=True):
        tests = f"{one.flags & TESTS_PASSED:010b}"
        assert line[2] == str(one.remote_port)
        assert line[6] == str(one.version)
        assert line[7] == {4: "Server", 0: "Invalid"}[one.mode]
        assert line[8:10] + line[11:12] == [str(one.stratum), str(one.poll), str(one.precision)]
        assert line[13:16] == [f"{one.root_delay_s:.6f}", f"{one.root_dispersion_s:.6f}", f"{one.reference_id:08X}"]
        assert line[17] == f"{one.reference_time_ns // 10**9}.{one.reference_time_ns % 10**9:09}"
        spans = (one.offset_s, one.delay_s, one.dispersion_s, one.response_s)
        assert line[18:22] == [f"{value:.9f}" for value in spans]
        assert line[22:26] == [f"{one.asymmetry:.2f}", tests[:3], tests[3:6], tests[6:]]
        words = [{True: "Yes", False: "No"}[bool(one.flags & flag)] for flag in (INTERLEAVED, AUTHENTICATED)]
        assert line[26:28] == words
        assert line[28:30] == [{75: "Kernel", 0: "Invalid"}[stamp] for stamp in (one.tx_stamping, one.rx_stamping)]
        counts = [one.sent, one.received, one.valid, one.good]
        if isinstance(one, NtpData2):
            counts += [one.kernel_sent, one.kernel_received, one.hardware_sent, one.hardware_received]
        assert line[30:] == [str(count) for count in counts]


@pytest.mark.parametrize(("version", "kind"), [("4.3", ServerStats3), ("4.9", ServerStats4)])
def test_serverstats(version: str, kind: type[Any]) -> None:
    [line], [got] = bodies("-c serverstats", kind, version)
    first = [got.ntp_hits, got.ntp_drops, got.command_hits, got.command_drops, got.log_drops, got.ke_hits, got.ke_drops]
    rest = [got.ntp_authenticated, got.ntp_interleaved, got.ntp_timestamps, got.ntp_span_s]
    if isinstance(got, ServerStats4):
        rest += [got.daemon_rx, got.daemon_tx, got.kernel_rx, got.kernel_tx, got.hardware_rx, got.hardware_tx]
    assert line == [str(count) for count in first + rest]


def test_clients() -> None:
    [line], [got] = bodies("-n -c clients", Clients)
    [one] = got.clients
    assert (got.total, b"\x7f\0\0\1") == (got.following, one.address.octets)
    numbers = [one.ntp_hits, one.ntp_drops, one.ntp_interval, one.limited_interval, one.ntp_ago_s]
    commands = [one.command_hits, one.command_drops, one.command_interval, one.command_ago_s]
    assert line == ["127.0.0.1", *(str(number) for number in numbers + commands)]


def test_authdata() -> None:
    lines, got = bodies("-n -c authdata", AuthData)
    for line, one in zip(lines, got, strict=True):
        numbers = [one.key_id, one.key_type, one.key_length, one.since_establishment_s]
        rest = [one.attempts, one.nak, one.cookies, one.cookie_length]
        assert line[1:] == [["-", "SK", "NTS"][one.mode], *(str(number) for number in numbers + rest)]


def test_selectdata() -> None:
    lines, got = bodies("-n -c selectdata", SelectData)
    leaps = ("Normal", "Insert second", "Delete second", "Not synchronised")
    for line, one in zip(lines, got, strict=False):
        assert line[0] == chr(one.state)
        assert line[2] == "NY"[one.authenticated]
        options = [
            "".join(letter for bit, letter in _OPTIONS if mask & bit) for mask in (one.configured, one.effective)
        ]
        assert ["".join(line[3:8]).replace("-", ""), "".join(line[8:13]).replace("-", "")] == options
        figures = [str(one.since_sample_s), f"{one.score:.1f}", f"{one.low_s:.9f}", f"{one.high_s:.9f}"]
        assert line[-5:] == [*figures, leaps[one.leap]]


_OPTIONS = ((1, "N"), (2, "P"), (4, "T"), (8, "R"))


def test_what_is_asked_of_the_whole_daemon() -> None:
    [[_], [online], *_, [unresolved]], [got] = bodies("activity", Activity)
    assert (online.split()[0], unresolved.split()[0]) == (str(got.online), str(got.unresolved)) == ("3", "1")
    [[name]], [told] = bodies("sourcename 127.0.0.1", SourceName)
    assert told == SourceName.of(name)
    _, [typed] = bodies("manual list", ManualList)
    assert 0 == typed.count


@pytest.mark.parametrize(
    ("asked", "status", "printed"),
    [
        ("rtcdata", Status.NO_RTC, "513 RTC driver not running"),
        ("smoothing", Status.NOT_ENABLED, "505 Facility not enabled in daemon"),
        ("ntpdata 10.1.1.1", Status.NO_SUCH_SOURCE, "503 No such source"),
    ],
)
def test_statuses(asked: str, status: Status, printed: str) -> None:
    [[line]], [reply] = capture(asked)
    assert (printed, status) == (line, reply.status)
