"""CSPTP in a configuration: what is read, what is refused and why, and which clock stamps its messages."""

from __future__ import annotations

import pytest
from config_support import assert_mistake

from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.config.sources import CsptpSource

WHOLE = """
clocks: {nic: {phc: eth0}}
sources:
  - csptp: PTP1.example.org
    interface: eth0
    domain: 239
    poll: [62.5ms, 2s]
  - {csptp: "2001:DB8::1", interface: eth1}
  - {csptp: 192.0.2.7, interface: eth0, timestamping: software, trust: true}
serve:
  csptp: {interfaces: [eth0, eth1], rate_limit: {burst: 3}, deny: [192.0.2.0/24], unpadded: answer}
"""


def test_a_client_and_a_server_are_read() -> None:
    config = loads(WHOLE, "t.yaml").config
    first, second, third = config.sources
    assert isinstance(first, CsptpSource)
    assert isinstance(second, CsptpSource)
    assert ("ptp1.example.org", 239, (-4, 1)) == (first.csptp, first.domain, (first.poll.least, first.poll.most))
    assert ("2001:db8::1", 128, (0, 4)) == (second.csptp, second.domain, (second.poll.least, second.poll.most))
    assert ["csptp"] * 3 == [source.kind for source in config.sources]
    assert ["csptp:ptp1.example.org", "csptp:2001:db8::1", "csptp:192.0.2.7"] == [one.title for one in config.sources]
    assert third.trust
    serve = config.serve.csptp
    assert serve is not None
    assert (("eth0", "eth1"), ("udp4", "udp6"), 128, "answer") == (
        serve.interfaces,
        serve.transports,
        serve.domain,
        serve.unpadded,
    )
    assert serve.rate_limit is not None
    assert (3, Duration.from_ns(62_500_000)) == (serve.rate_limit.burst, serve.rate_limit.interval)


def test_the_card_stamps_where_its_clock_is_known() -> None:
    config = loads(WHOLE, "t.yaml").config
    assert ["nic", "system", "system"] == [config.clock_of(source) for source in config.sources]
    virtual = loads(
        "clocks: {system: {discipline: false}, bench: {virtual: {}}}\n"
        "sources: [{csptp: a, interface: eth0}, {csptp: b, interface: eth0, clock: system}]\n",
        "t.yaml",
    ).config
    assert ["bench", "system"] == [virtual.clock_of(source) for source in virtual.sources]


SOURCE = "sources: [{csptp: a, interface: eth0%s}]\n"
CLOCKS = "clocks: {nic: {phc: eth1}}\n"
CASES: list[tuple[str, str, str, str, str, str | None]] = [
    ("no interface", "sources: [{csptp: a}]\n", "1:11", "sources[0].interface", "is missing", None),
    ("a number", "sources: [{csptp: 7, interface: eth0}]\n", "1:19", "sources[0].csptp", "expected a host name", None),
    (
        "a port",
        "sources: [{csptp: 'a:1319', interface: eth0}]\n",
        "1:19",
        "sources[0].csptp",
        "PTP messages go to ports 319 and 320",
        "a",
    ),
    ("no name", "sources: [{csptp: 'a b', interface: eth0}]\n", "1:19", "sources[0].csptp", "not a host name", None),
    ("domain", SOURCE % ", domain: 0", "1:47", "sources[0].domain", "must be at least 128, not 0", None),
    ("greater domain", SOURCE % ", domain: 240", "1:47", "sources[0].domain", "must be at most 239, not 240", None),
    (
        "no card",
        SOURCE % ", timestamping: hardware",
        "1:53",
        "sources[0].timestamping",
        "clocks has no PTP hardware clock of eth0; add one with phc: eth0",
        None,
    ),
    (
        "hardware on the system clock",
        SOURCE % ", timestamping: hardware, clock: system",
        "1:53",
        "sources[0].timestamping",
        "a card stamps on its own clock, and system is none",
        None,
    ),
    (
        "another card",
        CLOCKS + SOURCE % ", clock: nic",
        "2:46",
        "sources[0].clock",
        "packets of eth0 are not stamped by nic",
        None,
    ),
    (
        "software on a card",
        CLOCKS + SOURCE % ", clock: nic, timestamping: software",
        "2:65",
        "sources[0].timestamping",
        "the kernel does not stamp on nic",
        None,
    ),
    (
        "twice",
        "sources: [{csptp: a, interface: eth0}, {csptp: A., interface: eth1}]\n",
        "1:48",
        "sources[1].csptp",
        "the same as sources[0]",
        None,
    ),
    ("no interfaces", "serve: {csptp: {interfaces: []}}\n", "1:29", "serve.csptp.interfaces", "is empty", None),
    (
        "an interface twice",
        "serve: {csptp: {interfaces: [eth0, eth1, eth0]}}\nsources: [{ntp: a}]\n",
        "1:42",
        "serve.csptp.interfaces[2]",
        "the same as interfaces[0]",
        None,
    ),
    (
        "served without a card",
        "serve: {csptp: {interfaces: [eth0], timestamping: hardware}}\nsources: [{ntp: a}]\n",
        "1:30",
        "serve.csptp.interfaces[0]",
        "clocks has no PTP hardware clock of eth0",
        None,
    ),
    (
        "transport",
        "serve: {csptp: {interfaces: [eth0], transports: [l2]}}\n",
        "1:50",
        "serve.csptp.transports[0]",
        '"l2" is none of udp4',
        None,
    ),
    (
        "a kiss",
        "serve: {csptp: {interfaces: [eth0], rate_limit: {reply: kod}}}\n",
        "1:50",
        "serve.csptp.rate_limit.reply",
        "unknown key",
        None,
    ),
]


@pytest.mark.parametrize(
    ("text", "place", "path", "words", "suggestion"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_mistake_is_named_where_it_stands(
    text: str, place: str, path: str, words: str, suggestion: str | None
) -> None:
    assert_mistake(text, place, path, words, suggestion)
