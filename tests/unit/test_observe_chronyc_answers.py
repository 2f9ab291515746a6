"""What becomes of requests of chronyc: who may ask what, which reply fits, and what each line of it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from chronyc_support import entry, state
from hypothesis import given
from hypothesis import strategies as st

from timesync.observe.chronyc_answers import Answers, Asker
from timesync.wire import candm_sources as of_source
from timesync.wire import candm_system as of_daemon
from timesync.wire.candm import (
    LAST_COMMAND,
    RETIRED,
    UNSPECIFIED,
    Address,
    ByAddress,
    ByIndex,
    ClientRange,
    Command,
    Family,
    Status,
    encode_request,
)
from timesync.wire.candm_reply import Reply, decode_reply

STABLE = ("activity", "manual", "rtcdata", "smoothing", "sourcename", "sources", "sourcestats", "tracking")


def answers(
    *sources: dict[str, Any],
    open_to_remote: tuple[str, ...] = STABLE,
    clients: Sequence[dict[str, Any]] = (),
    **changed: Any,
) -> Answers:
    made = Answers(open_to_remote)
    made.take(state(*sources, **changed))
    made.take_clients({"clients": clients})
    return made


def ask(
    of: Answers,
    command: int,
    body: ByIndex | ByAddress | ClientRange | None = None,
    *,
    asker: Asker = Asker.LOCAL,
    **form: int,
) -> Reply:
    data = of.answer(encode_request(command, 77, body, **{"size": 600, **form}), asker)
    assert data is not None
    got = decode_reply(data)
    assert (command, 77) == (got.command, got.sequence)
    return got


# -- who may ask what


def test_nobody_may_change_anything_whoever_it_is() -> None:
    made = answers()
    asking = {int(command) for command in Command}
    for command in set(range(LAST_COMMAND + 1)) - asking - RETIRED:
        for asker in Asker:
            assert Status.UNAUTHORIZED == ask(made, command, asker=asker, size=28).status


def test_what_chrony_knows_no_more_or_not_yet_is_invalid() -> None:
    made = answers()
    for command in (*RETIRED, LAST_COMMAND + 1, 200, 0xFFFF):
        assert Status.INVALID == ask(made, command).status


def test_over_the_network_only_what_is_open_is_told() -> None:
    made = answers(open_to_remote=("tracking", "clients"))
    told = {
        command for command in Command if Status.UNAUTHORIZED != ask(made, command, asker=Asker.REMOTE).status
    }  # fmt: skip
    assert {Command.NULL, Command.N_SOURCES, Command.TRACKING, Command.CLIENT_ACCESSES} == told
    for command in Command:
        assert Status.UNAUTHORIZED != ask(made, command).status


def test_what_chronyd_has_and_we_have_not() -> None:
    made = answers()
    assert Status.NO_RTC == ask(made, Command.RTC_REPORT).status
    assert Status.NOT_ENABLED == ask(made, Command.SMOOTHING).status
    assert of_daemon.ManualList(count=0) == ask(made, Command.MANUAL_LIST).body


def test_other_versions_are_told_ours_and_very_old_ones_nothing() -> None:
    made = answers()
    for version in (5, 7, 255):
        assert Status.BAD_VERSION == ask(made, Command.TRACKING, version=version, size=28).status
    assert made.answer(encode_request(Command.TRACKING, 1, size=600, version=4), Asker.LOCAL) is None
    assert made.answer(b"", Asker.LOCAL) is None
    assert 5 == made.taken


def test_before_the_first_state_there_is_nothing_to_tell() -> None:
    assert Status.FAILED == ask(Answers(()), Command.TRACKING).status


@given(st.integers(0, LAST_COMMAND + 5), st.integers(28, 600), st.binary(max_size=40))
def test_no_reply_is_longer_than_its_request(command: int, size: int, body: bytes) -> None:
    request = (encode_request(command, 1, size=20) + body).ljust(size, b"\0")
    told = MADE.answer(request, Asker.LOCAL)
    assert told is not None
    assert len(told) <= len(request)


MADE = answers(entry(), entry(name="gps", kind="gpsd", address="localhost:2947", reference_id="GPS"))


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (47, None),
        (48, of_daemon.ServerStats),
        (60, of_daemon.ServerStats2),
        (72, of_daemon.ServerStats3),
        (196, of_daemon.ServerStats4),
    ],
)
def test_the_length_of_a_request_says_which_reply_its_sender_knows(size: int, kind: type[Any] | None) -> None:
    made = answers(serving={"counters": {"received": 2**32 + 5, "answered": 7, "interleaved": 3, "hardware": 2,
                                         "limited": 4, "authenticated": 1}},
                   nts={"counters": {"connections": 9, "refused-full": 2, "post-quantum": 1}})  # fmt: skip
    got = ask(made, Command.SERVER_STATS, size=size)
    if kind is None:
        assert Status.BAD_LENGTH == got.status
        return
    assert kind is type(got.body)
    body: Any = got.body
    whole = kind is of_daemon.ServerStats4
    assert (2**32 + 5 if whole else 5, 4, 1) == (body.ntp_hits, body.ntp_drops, body.command_hits)
    if kind is not of_daemon.ServerStats:
        assert (7, 2) == (body.ke_hits, body.ke_drops)
    if whole:
        assert (0, 4, 5, 3, 2, 0) == (
            body.daemon_rx, body.daemon_tx, body.kernel_rx, body.kernel_tx, body.hardware_rx, body.hardware_tx,
        )  # fmt: skip


# -- what is told


def test_tracking_has_the_signs_of_chrony() -> None:
    assert (
        of_daemon.Tracking(
            reference_id=0xC0000207,
            address=Address.of("192.0.2.7"),
            stratum=3,
            leap=0,
            reference_time_ns=1_800_000_000_000_000_001,
            correction_s=pytest.approx(-2e-6),
            last_offset_s=pytest.approx(-4e-6),
            rms_offset_s=pytest.approx(8e-6),
            frequency_ppm=-12.5,
            residual_ppm=0.25,
            skew_ppm=0.125,
            root_delay_s=0.0625,
            root_dispersion_s=0.03125,
            update_interval_s=64.0,
        )
        == ask(answers(), Command.TRACKING).body
    )


def test_tracking_of_a_clock_that_follows_nobody() -> None:
    made = answers(
        entry(state="waiting"), stratum=16, reference_id_hex="00000000", reference=None, leap="unknown",
        updated_utc_ns=None, last_offset_s=None, rms_offset_s=None, update_interval_s=None,
    )  # fmt: skip
    got = ask(made, Command.TRACKING).body
    assert isinstance(got, of_daemon.Tracking)
    assert (0, UNSPECIFIED, 0, 3, 0) == (
        got.reference_id, got.address, got.stratum, got.leap, got.reference_time_ns,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "shown", "letter"),
    [
        ({}, "*", "*"),
        ({"name": "b"}, "+", "+"),
        ({"state": "candidate"}, "-", "W"),
        ({"state": "falseticker"}, "x", "x"),
        ({"state": "unreachable"}, "?", "S"),
        ({"state": "unreachable", "samples": 0}, "?", "M"),
        ({"state": "waiting"}, "?", "M"),
        ({"state": "excluded"}, "?", "s"),
        ({"state": "excluded", "noselect": True}, "?", "N"),
    ],
)
def test_states(changed: dict[str, Any], shown: str, letter: str) -> None:
    made = answers(entry(**changed))
    source, selection = (ask(made, command, ByIndex(0)).body for command in (Command.SOURCE_DATA, Command.SELECT_DATA))
    assert isinstance(source, of_source.SourceData)
    assert isinstance(selection, of_source.SelectData)
    assert (shown, letter) == ("*?x~+-"[source.state], chr(selection.state))
    assert (source.flags, source.flags) == (selection.configured, selection.effective)


def test_reference_clocks_are_three_letters_and_a_number() -> None:
    kinds = [("pps", "PPS"), ("pps", "PPS"), ("gpsd", "GPS"), ("sock", "SOCK"), ("phc", None), ("nmea", None)]
    made = answers(
        *(
            entry(name=f"{kind}{n}", kind=kind, address="/dev/x", reference_id=said)
            for n, (kind, said) in enumerate(kinds)
        ),
        *(entry(name=f"p{n}", kind="ptp", address="eth0", reference_id="PTP") for n in range(11)),
    )
    count = ask(made, Command.N_SOURCES).body
    assert of_source.SourceCount(17) == count
    shown = []
    for index in range(17):
        got = ask(made, Command.SOURCE_DATA, ByIndex(index)).body
        stats = ask(made, Command.SOURCE_STATS, ByIndex(index)).body
        assert isinstance(got, of_source.SourceData)
        assert isinstance(stats, of_source.SourceStats)
        assert (Family.INET4, of_source.SourceMode.REFERENCE) == (got.address.family, got.mode)
        assert (int.from_bytes(got.address.octets, "big"), UNSPECIFIED) == (stats.reference_id, stats.address)
        shown.append(got.address.octets)
    assert [b"PPS0", b"PPS1", b"GPS0", b"SOC0", b"PHC0", b"GPS1"] == shown[:6]
    assert b"PTP9" == shown[15]
    assert b"PT10" == shown[16]
    assert Status.NO_SUCH_SOURCE == ask(made, Command.NTP_DATA, ByAddress.of(UNSPECIFIED)).status
    assert Status.NO_SUCH_SOURCE == ask(made, Command.SOURCE_DATA, ByIndex(17)).status


def test_servers_of_roughtime_are_no_sources() -> None:
    made = answers(entry(), {"kind": "roughtime", "name": "r"})
    assert of_source.SourceCount(1) == ask(made, Command.N_SOURCES).body


def test_addresses_of_version_6_and_names_without_any() -> None:
    made = answers(
        entry(address="[2001:db8::7]:1123"), entry(name="later", address=None, state="unreachable", stratum=None)
    )
    got = ask(made, Command.NTP_DATA, ByAddress.of(Address.of("2001:db8::7"))).body
    assert isinstance(got, of_source.NtpData2)
    assert (1123, 0, 0) == (got.remote_port, got.version, got.mode), "nothing is known of an answer"
    stats = ask(made, Command.SOURCE_STATS, ByIndex(0)).body
    assert isinstance(stats, of_source.SourceStats)
    # RFC 5905, 7.3: the first four octets of the MD5 of the address; by md5sum.
    assert 0xE1B2C29D == stats.reference_id
    assert Address.numbered(2) == getattr(ask(made, Command.SOURCE_DATA, ByIndex(1)).body, "address", None)
    named = ask(made, Command.NTP_SOURCE_NAME, ByAddress.of(Address.numbered(2))).body
    assert of_source.SourceName.of("later") == named
    assert (1, 1) == _of(ask(made, Command.ACTIVITY), "online", "unresolved")
    assert Status.NO_SUCH_SOURCE == ask(made, Command.AUTH_DATA, ByAddress(b"\xff" * 20)).status


def _of(got: Reply, *names: str) -> tuple[object, ...]:
    return tuple(getattr(got.body, name) for name in names)


def test_authentication() -> None:
    key = {"key": {"id": 7, "algorithm": "AES128", "bits": 128}}
    nts = {
        "nts": {"aead": "AES_128_GCM_SIV", "key_bits": 128, "age_s": 99.5, "establishments": 3, "attempts": 2,
                "nak": True, "cookies": 6, "cookie_octets": 100},
    }  # fmt: skip
    made = answers(entry(details=key), entry(name="b", address="192.0.2.8:123", details=nts))
    wanted = ("mode", "key_type", "key_id", "key_length", "attempts", "since_establishment_s", "cookies",
              "cookie_length", "nak")  # fmt: skip
    first, second = (
        _of(ask(made, Command.AUTH_DATA, ByAddress.of(Address.of(address))), *wanted)
        for address in ("192.0.2.7", "192.0.2.8")
    )
    # The numbers of the types are in chronyc's manual.
    assert (1, 13, 7, 128, 0, of_source.NEVER, 0, 0, 0) == first
    assert (2, 30, 3, 128, 2, 99, 6, 100, 1) == second
    assert [1, 1] == [
        _of(ask(made, Command.SELECT_DATA, ByIndex(index)), "authenticated")[0] for index in (0, 1)
    ]  # fmt: skip


CLIENTS = [
    *(
        {"address": f"192.0.2.{n}", "protocol": "ntp", "requests": n, "dropped": 1, "interval_s": 16.0, "last_s": 3.5}
        for n in range(20)
    ),
    {"address": "fe:54:00:12:34:56", "protocol": "ptp", "requests": None},
]


def test_clients_come_in_pages() -> None:
    made = answers(clients=CLIENTS)
    first, seen = 0, []
    while True:
        got = ask(made, Command.CLIENT_ACCESSES, ClientRange(first, 8, 0, 0)).body
        assert isinstance(got, of_daemon.Clients)
        assert 20 == got.total
        seen += [client.ntp_hits for client in got.clients]
        first = got.following
        if first >= got.total:
            break
    assert list(range(20)) == seen
    one = got.clients[0]
    assert (Address.of("192.0.2.16"), 16, 1, 4, 3) == (
        one.address, one.ntp_hits, one.ntp_drops, one.ntp_interval, one.ntp_ago_s,
    )  # fmt: skip
    assert (of_source.NO_INTERVAL, of_source.NEVER) == (one.command_interval, one.ke_ago_s)


def test_who_establishes_keys_stands_on_the_line_of_his_address() -> None:
    ke = {"protocol": "nts-ke", "requests": 30, "dropped": 2, "interval_s": 8.0, "last_s": 7.5}
    both, only = ({"address": address, **ke} for address in ("192.0.2.19", "2001:db8::1"))
    got = ask(answers(clients=[*CLIENTS, both, only]), Command.CLIENT_ACCESSES, ClientRange(0, 32, 19, 0)).body
    assert isinstance(got, of_daemon.Clients)
    assert (21, [Address.of("192.0.2.19"), Address.of("2001:db8::1")]) == (
        got.total,
        [one.address for one in got.clients],
    )
    assert [(19, 30, 2, 3, 7), (0, 30, 2, 3, 7)] == [
        (one.ntp_hits, one.ke_hits, one.ke_drops, one.ke_interval, one.ke_ago_s) for one in got.clients
    ]
    assert [3, of_source.NEVER] == [one.ntp_ago_s for one in got.clients]


def test_clients_that_ask_seldom_are_left_out_and_none_is_forgotten_for_anybody() -> None:
    made = answers(clients=CLIENTS)
    got = ask(made, Command.CLIENT_ACCESSES, ClientRange(0, 8, 18, 0)).body
    assert isinstance(got, of_daemon.Clients)
    assert [18, 19] == [client.ntp_hits for client in got.clients]
    assert Status.UNAUTHORIZED == ask(made, Command.CLIENT_ACCESSES, ClientRange(0, 8, 0, 1)).status
    assert () == _of(ask(answers(), Command.CLIENT_ACCESSES, ClientRange(0, 8, 0, 0)), "clients")[0]
