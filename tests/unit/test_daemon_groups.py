"""What a group is made from: two configurations that mean the same for it give the same wiring, others do not."""

from __future__ import annotations

from dataclasses import replace

from timesync.config.load import loads
from timesync.config.schema import Config
from timesync.daemon.groups import LinkWiring, Wiring, wirings
from timesync.ntp.auth import SymmetricKey

KEYS = {number: SymmetricKey(number, "SHA256", bytes(range(number, number + 32))) for number in (1, 2)}


def _config(sources: str, clocks: str = "") -> Config:
    keys = "".join(f"  {number}: {{algorithm: SHA256, secret: HEX:{'0' * 64}}}\n" for number in KEYS)
    return loads(f"clocks: {{{clocks}}}\nkeys:\n{keys}sources:\n{sources}", "wiring.yaml").config


def _changed(before: str, after: str, clocks: str = "") -> list[Wiring]:
    """The wirings of ``before`` that are not among those of ``after``."""
    kept = wirings(_config(after, clocks), KEYS)
    return [wiring for wiring in wirings(_config(before, clocks), KEYS) if wiring not in kept]


def test_the_same_text_means_the_same() -> None:
    text = "  - ntp: a\n  - {nmea: /dev/ttyS0}\n  - {pps: /dev/pps0, pairs_with: nmea}\n  - {shm: 2}\n"
    assert [] == _changed(text, text, "eth0: {phc: eth0}")


def test_pulses_change_with_the_receiver_that_they_hang_on() -> None:
    pulses = "  - {pps: /dev/pps0}\n"
    one, two = "  - {nmea: /dev/ttyS0}\n", "  - {nmea: /dev/ttyS1}\n"
    (changed,) = _changed(pulses + one, pulses + one + two)
    assert "/dev/pps0" == changed.source.title  # type: ignore[union-attr]
    assert [] == _changed(pulses + one + two, pulses + two + one), "nobody knows which it is, before and after"


def test_servers_change_with_the_cards_that_may_stamp_their_packets() -> None:
    server, reference = "  - ntp: a\n", "  - {phc: eth0}\n"
    eth0 = "eth0: {phc: eth0, discipline: false}"
    names = {type(wiring).__name__ for wiring in _changed(server, server + reference, eth0)}
    assert {"NtpWiring", "LinkWiring"} == names


def test_only_the_source_whose_key_changes_is_made_anew() -> None:
    text = "  - {ntp: a, key: 1}\n  - {ntp: b, key: 2}\n  - ntp: c\n"
    other = {**KEYS, 2: replace(KEYS[2], secret=bytes(32))}
    before, after = wirings(_config(text), KEYS), wirings(_config(text), other)
    assert [False, True, False] == [one != two for one, two in zip(before, after, strict=True)]


def test_a_card_that_is_a_reference_has_no_link() -> None:
    eth0 = "eth0: {phc: eth0, discipline: false}"
    found = [one for one in wirings(_config("  - ntp: a\n", eth0), {}) if isinstance(one, LinkWiring)]
    assert ["eth0"] == [link.clock for link in found]
    assert not any(isinstance(one, LinkWiring) for one in wirings(_config("  - {phc: eth0}\n", eth0), {}))
