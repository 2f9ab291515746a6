"""Malformed clocks, receivers, pulses and links to other programs, and what `timesync check` must say of each.

Written from the contract by hand.
"""

from __future__ import annotations

import time

import pytest
from config_support import Case, assert_mistake

from timesync.config.load import loads
from timesync.config.problem import ConfigError

CASES: list[Case] = [
    # PTP hardware clocks
    (
        "virtual and phc",
        "clocks:\n  eth0: {phc: eth0, virtual: {}}\n",
        "2:15",
        "clocks.eth0.phc",
        "exclude each other",
        None,
    ),
    (
        "phc of the system clock",
        "clocks: {system: {phc: eth0}}\n",
        "1:19",
        "clocks.system.phc",
        "the kernel's; give the PTP hardware clock",
        None,
    ),
    (
        "phc key misspelt",
        "clocks: {eth0: {phc: eth0, time_scale: tai}}\n",
        "1:28",
        "clocks.eth0.time_scale",
        "unknown key",
        "timescale",
    ),
    (
        "phc is a number",
        "clocks: {eth0: {phc: 0}}\n",
        "1:22",
        "clocks.eth0.phc",
        "expected a network interface such as eth0, or a device such as /dev/ptp0",
        None,
    ),
    (
        "interface name too long",
        "clocks: {eth0: {phc: enx0123456789abcdef}}\n",
        "1:22",
        "clocks.eth0.phc",
        "expected a network interface",
        None,
    ),
    (
        "dots are no interface",
        "clocks: {eth0: {phc: ..}}\n",
        "1:22",
        "clocks.eth0.phc",
        "expected a network interface",
        None,
    ),
    (
        "relative device",
        "clocks: {eth0: {phc: dev/ptp0}}\n",
        "1:22",
        "clocks.eth0.phc",
        "relative path",
        None,
    ),
    (
        "phc twice",
        "clocks:\n  a: {phc: eth0}\n  b: {phc: eth0}\n",
        "3:12",
        "clocks.b.phc",
        "the same as clocks.a",
        None,
    ),
    (
        "timescale",
        "clocks: {eth0: {phc: eth0, timescale: gps}}\n",
        "1:39",
        "clocks.eth0.timescale",
        '"gps" is none of tai, utc',
        None,
    ),
    (
        "timescale of the system clock",
        "clocks:\n  system: {timescale: utc}\n",
        "2:23",
        "clocks.system.timescale",
        "only a PTP hardware clock has this",
        None,
    ),
    (
        "pulse out of a virtual clock",
        "clocks:\n  b: {virtual: {}, pulse_out: {}}\n",
        "2:20",
        "clocks.b.pulse_out",
        "only a PTP hardware clock has this",
        None,
    ),
    (
        "pulse as long as a second",
        "clocks: {eth0: {phc: eth0, pulse_out: {width: 1s}}}\n",
        "1:47",
        "clocks.eth0.pulse_out.width",
        "1s is not in 1us to 999ms",
        None,
    ),
    (
        "pair interval",
        "clocks: {eth0: {phc: eth0, pair_interval: 4}}\n",
        "1:43",
        "clocks.eth0.pair_interval",
        "4 has no unit",
        "4s",
    ),
    (
        "thermometer is a number",
        "clocks: {system: {thermometer: 40}}\n",
        "1:32",
        "clocks.system.thermometer",
        "expected a file name",
        None,
    ),
    # gpsd
    (
        "gpsd device alone",
        "sources: [{gpsd: /dev/ttyAMA0}]\n",
        "1:18",
        "sources[0].gpsd",
        "is written gpsd://host/dev/ttyAMA0",
        "gpsd://localhost/dev/ttyAMA0",
    ),
    (
        "gpsd without its scheme",
        "sources: [{gpsd: pi:2947/dev/ttyAMA0}]\n",
        "1:18",
        "sources[0].gpsd",
        "is written gpsd://",
        "gpsd://pi:2947/dev/ttyAMA0",
    ),
    (
        "gpsd port",
        "sources: [{gpsd: localhost:70000}]\n",
        "1:18",
        "sources[0].gpsd",
        "not a port from 1 to 65535",
        None,
    ),
    ("gpsd is a number", "sources: [{gpsd: 2947}]\n", "1:18", "sources[0].gpsd", "expected where gpsd listens", None),
    ("gpsd without a host", "sources: [{gpsd: gpsd:///dev/x}]\n", "1:18", "sources[0].gpsd", "not a host name", None),
    (
        "gpsd twice",
        "sources:\n  - gpsd: localhost\n  - gpsd: gpsd://LOCALHOST:2947/\n",
        "3:11",
        "sources[1].gpsd",
        "the same as sources[0]",
        None,
    ),
    (
        "gpsd whole and in part",
        "sources:\n  - gpsd: gpsd://localhost/dev/a\n  - gpsd: localhost\n",
        "2:11",
        "sources[0].gpsd",
        "sources[1] is any receiver of this gpsd",
        None,
    ),
    (
        "gpsd delay",
        "sources: [{gpsd: localhost, delay: 150}]\n",
        "1:36",
        "sources[0].delay",
        "150 has no unit",
        "150s",
    ),
    # Serial receivers
    (
        "nmea without its directory",
        "sources: [{nmea: ttyAMA0}]\n",
        "1:18",
        "sources[0].nmea",
        "a device is a path",
        "/dev/ttyAMA0",
    ),
    ("nmea is nothing", "sources: [{nmea: }]\n", "1:12", "sources[0].nmea", "expected a file name", None),
    (
        "no speed of a line",
        "sources: [{nmea: /dev/ttyAMA0, baud: 9800}]\n",
        "1:38",
        "sources[0].baud",
        "9800 is none of 4800, 9600,",
        "9600",
    ),
    (
        "baud is text",
        "sources: [{nmea: /dev/ttyAMA0, baud: fast}]\n",
        "1:38",
        "sources[0].baud",
        "expected auto or one of",
        None,
    ),
    ("baud true", "sources: [{nmea: /dev/ttyAMA0, baud: true}]\n", "1:38", "sources[0].baud", "expected auto or", None),
    (
        "delay too long",
        "sources: [{nmea: /dev/ttyAMA0, delay: 2s}]\n",
        "1:39",
        "sources[0].delay",
        "2s is not in 0s to 1s",
        None,
    ),
    (
        "configure",
        "sources: [{nmea: /dev/ttyAMA0, configure: on}]\n",
        "1:43",
        "sources[0].configure",
        'not "on"',
        "true",
    ),
    (
        "serial port twice",
        "sources:\n  - nmea: /dev/ttyAMA0\n  - nmea: /dev/ttyAMA0\n",
        "3:11",
        "sources[1].nmea",
        "the same as sources[0]",
        None,
    ),
    (
        "serial port of gpsd",
        "sources:\n  - nmea: /dev/ttyAMA0\n  - gpsd: gpsd://127.0.0.1/dev/ttyAMA0\n",
        "2:11",
        "sources[0].nmea",
        "gpsd reads this port for sources[1]",
        None,
    ),
    # Pulses
    (
        "pulses that nobody numbers",
        "sources:\n  - pps: /dev/pps0\n",
        "2:10",
        "sources[0].pps",
        "no source says which second a pulse is; add gpsd, nmea or ntp",
        None,
    ),
    (
        "pulses beside a noselect source",
        "sources:\n  - pps: /dev/pps0\n  - {nmea: /dev/ttyAMA0, noselect: true}\n",
        "2:10",
        "sources[0].pps",
        "a noselect source must be named in pairs_with",
        None,
    ),
    (
        "pulses without their directory",
        "sources: [{pps: pps0}, {ntp: a}]\n",
        "1:17",
        "sources[0].pps",
        "no PTP hardware clock of this name in clocks; there are none",
        "/dev/pps0",
    ),
    (
        "pulses of a number",
        "sources: [{pps: 0}, {ntp: a}]\n",
        "1:17",
        "sources[0].pps",
        "expected a device such as /dev/pps0",
        None,
    ),
    (
        "pulses of another clock",
        "clocks: {eth0: {phc: eth0}}\nsources: [{pps: eth1}, {ntp: a}]\n",
        "2:17",
        "sources[0].pps",
        "there are eth0",
        "eth0",
    ),
    (
        "pulses of a virtual clock",
        "clocks: {bench: {virtual: {}}}\nsources: [{pps: bench}, {ntp: a}]\n",
        "2:17",
        "sources[0].pps",
        "clocks.bench has no phc:",
        None,
    ),
    (
        "pulses on another clock than their own",
        "clocks: {eth0: {phc: eth0}}\nsources: [{pps: eth0, clock: system}, {ntp: a}]\n",
        "2:30",
        "sources[0].clock",
        "stamped by eth0",
        "eth0",
    ),
    (
        "edge",
        "sources: [{pps: /dev/pps0, edge: rising}, {ntp: a}]\n",
        "1:34",
        "sources[0].edge",
        '"rising" is none of assert, clear',
        None,
    ),
    (
        "channel of the kernel",
        "sources: [{pps: /dev/pps0, channel: 1}, {ntp: a}]\n",
        "1:37",
        "sources[0].channel",
        "only the external timestamps",
        None,
    ),
    (
        "pin of the kernel",
        "sources: [{pps: /dev/pps0, pin: 0}, {ntp: a}]\n",
        "1:33",
        "sources[0].pin",
        "only the external timestamps",
        None,
    ),
    (
        "negative pin",
        "clocks: {eth0: {phc: eth0}}\nsources: [{pps: eth0, pin: -1}, {ntp: a}]\n",
        "2:28",
        "sources[0].pin",
        "at least 0, not -1",
        None,
    ),
    (
        "pps twice",
        "sources:\n  - ntp: a\n  - pps: /dev/pps0\n  - {pps: /dev/pps0, edge: clear}\n",
        "4:11",
        "sources[2].pps",
        "the same as sources[1]",
        None,
    ),
    (
        "channel twice",
        "clocks: {eth0: {phc: eth0}}\nsources:\n  - ntp: a\n  - pps: eth0\n  - {pps: eth0, channel: 0}\n",
        "5:11",
        "sources[2].pps",
        "the same as sources[1]",
        None,
    ),
    (
        "pin twice",
        "clocks: {e: {phc: eth0}}\nsources:\n  - ntp: a\n  - {pps: e, pin: 1}\n  - {pps: e, channel: 1, pin: 1}\n",
        "5:31",
        "sources[2].pin",
        "this pin is that of sources[1]",
        None,
    ),
    (
        "pin in and out",
        "clocks: {eth0: {phc: eth0, pulse_out: {pin: 1}}}\nsources:\n  - ntp: a\n  - {pps: eth0, pin: 1}\n",
        "4:22",
        "sources[1].pin",
        "this pin is that of clocks.eth0.pulse_out",
        None,
    ),
    (
        "pairs with nobody",
        "sources:\n  - {pps: /dev/pps0, pairs_with: gpds}\n  - gpsd: localhost\n",
        "2:34",
        "sources[0].pairs_with",
        "no source is called so; there are gpsd://localhost",
        "gpsd",
    ),
    (
        "pairs with several",
        "sources:\n  - {pps: /dev/pps0, pairs_with: ntp}\n  - ntp: a\n  - ntp: b\n",
        "2:34",
        "sources[0].pairs_with",
        "2 sources are called so; give the one that is meant a name:",
        None,
    ),
    (
        "pairs with itself",
        "sources:\n  - {pps: /dev/pps0, pairs_with: /dev/pps0}\n  - ntp: a\n",
        "2:34",
        "sources[0].pairs_with",
        "a pulse does not say which second it is",
        None,
    ),
    (
        "pairs with a list",
        "sources:\n  - {pps: /dev/pps0, pairs_with: [ntp]}\n  - ntp: a\n",
        "2:34",
        "sources[0].pairs_with",
        "expected text, not a list",
        None,
    ),
    # Other programs, and PTP hardware clocks as references
    ("sock too long", f"sources: [{{sock: /{'x' * 107}}}]\n", "1:18", "sources[0].sock", "108 octets", None),
    (
        "sock twice",
        "sources:\n  - sock: /run/a.sock\n  - sock: /run/a.sock\n",
        "3:11",
        "sources[1].sock",
        "the same as sources[0]",
        None,
    ),
    (
        "sock is the control socket",
        "sources: [{sock: /run/c}]\nobserve: {control: /run/c}\n",
        "1:18",
        "sources[0].sock",
        "the same socket as observe.control",
        None,
    ),
    (
        "sock comes back",
        "sources: [{sock: /run/c}]\nserve: {sock: /run/c}\n",
        "1:18",
        "sources[0].sock",
        "our own time would come back",
        None,
    ),
    ("shm unit", "sources: [{shm: 256}]\n", "1:17", "sources[0].shm", "at most 255, not 256", None),
    ("shm is text", 'sources: [{shm: "0"}]\n', "1:17", "sources[0].shm", "expected a whole number", None),
    ("shm twice", "sources: [{shm: 2}, {shm: 2}]\n", "1:27", "sources[1].shm", "the same as sources[0]", None),
    (
        "shm comes back",
        "sources: [{shm: 2}]\nserve: {shm: 2}\n",
        "1:17",
        "sources[0].shm",
        "our own time would come back",
        None,
    ),
    (
        "phc by its path",
        "clocks: {eth1: {phc: /dev/ptp1, discipline: false}}\nsources: [{phc: /dev/ptp1}]\n",
        "2:17",
        "sources[0].phc",
        "a clock's name",
        None,
    ),
    (
        "phc that is not there",
        "clocks: {eth1: {phc: eth1, discipline: false}}\nsources: [{phc: eth2}]\n",
        "2:17",
        "sources[0].phc",
        "no PTP hardware clock of this name in clocks; there are eth1",
        "eth1",
    ),
    (
        "system clock for a phc",
        "sources: [{phc: system}]\n",
        "1:17",
        "sources[0].phc",
        "system is not a PTP hardware clock",
        None,
    ),
    (
        "phc that we steer",
        "clocks: {eth1: {phc: eth1}}\nsources: [{phc: eth1}]\n",
        "2:17",
        "sources[0].phc",
        "needs discipline: false in clocks.eth1",
        None,
    ),
    (
        "hardware timestamps without a phc",
        "sources: [{ntp: a, timestamping: hardware}]\n",
        "1:34",
        "sources[0].timestamping",
        "clocks has none with phc:",
        None,
    ),
    (
        "timestamping",
        "sources: [{ntp: a, timestamping: hw}]\n",
        "1:34",
        "sources[0].timestamping",
        "none of auto, hardware, software",
        None,
    ),
    (
        "timestamping of a gpsd",
        "sources: [{gpsd: a, timestamping: hardware}]\n",
        "1:21",
        "sources[0].timestamping",
        "unknown key",
        None,
    ),
    # Names of sources
    ("empty name", 'sources: [{ntp: a, name: ""}]\n', "1:20", "sources[0].name", "1 to 40 printable", None),
    (
        "name with a space behind",
        'sources: [{ntp: a, name: "x "}]\n',
        "1:26",
        "sources[0].name",
        "1 to 40 printable",
        None,
    ),
    (
        "name twice",
        "sources:\n  - {ntp: a, name: x}\n  - {ntp: b, name: x}\n",
        "3:20",
        "sources[1].name",
        "sources[0] is called so already",
        None,
    ),
    (
        "a server and a pool that are called alike",
        "sources:\n  - ntp: a\n  - pool: a\n",
        "3:11",
        "sources[1].pool",
        "sources[0] is called a, too; give one of them a name:",
        None,
    ),
    (
        "name of another",
        "sources:\n  - {ntp: a, name: b}\n  - ntp: b\n",
        "2:20",
        "sources[0].name",
        "sources[1] is called so already",
        None,
    ),
    ("device alone", "sources:\n  - /dev/pps0\n", "2:5", "sources[0]", "names a source", "{pps: /dev/pps0}"),
    ("port alone", "sources: [/dev/ttyS0]\n", "1:11", "sources[0]", "names a source", "{nmea: /dev/ttyS0}"),
    (
        "pulse and receiver in one",
        "sources: [{pps: /dev/pps0, gpsd: localhost}]\n",
        "1:11",
        "sources[0]",
        "gpsd and pps exclude each other",
        None,
    ),
    # Serving
    (
        "smear without unit",
        "serve: {ntp: {leap_smear: 24}}\n",
        "1:27",
        "serve.ntp.leap_smear",
        "24 has no unit",
        "24s",
    ),
    (
        "smear too long",
        "serve: {ntp: {leap_smear: 3d}}\n",
        "1:27",
        "serve.ntp.leap_smear",
        "3d is not in 1s to 48h",
        None,
    ),
    ("served shm", "serve: {shm: -1}\n", "1:14", "serve.shm", "at least 0, not -1", None),
    (
        "served sock is the control socket",
        "serve: {sock: /run/timesync/x}\nobserve: {control: /run/timesync/x}\n",
        "1:15",
        "serve.sock",
        "the same socket as observe.control",
        None,
    ),
]


@pytest.mark.parametrize(
    ("text", "place", "path", "words", "suggestion"),
    [pytest.param(*case[1:], id=case[0].replace(" ", "-")) for case in CASES],
)
def test_each_mistake_is_named_at_its_place(
    text: str, place: str, path: str, words: str, suggestion: str | None
) -> None:
    assert_mistake(text, place, path, words, suggestion)


def test_names_of_cases_differ() -> None:
    assert len(CASES) == len({case[0] for case in CASES})


def test_a_source_that_cannot_be_read_is_not_said_to_be_missing() -> None:
    text = "sources:\n  - {pps: /dev/pps0, pairs_with: gpsd}\n  - gpsd: localhost:0\n"
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")

    assert ["sources[1].gpsd"] == [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(
    "line",
    [
        "  - {pps: /dev/pps%d, pairs_with: nobody}\n",
        "  - {phc: clock%d, clock: nowhere}\n",
        "  - {sock: s%d, name: same}\n",
    ],
)
def test_a_long_list_of_mistakes_is_read_in_linear_time(line: str) -> None:
    def seconds(count: int) -> float:
        text = "sources:\n" + "".join(line % index for index in range(count))
        begin = time.process_time()
        with pytest.raises(ConfigError) as caught:
            loads(text, "t.yaml")
        assert count <= len(caught.value.problems) + 1
        return time.process_time() - begin

    # Four times as many cost four times as much, and sixteen times where something is quadratic.
    seconds(100)
    assert seconds(4000) < 8 * seconds(1000) + 0.5
