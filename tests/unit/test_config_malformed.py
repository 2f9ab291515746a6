"""Malformed configurations, and what `timesync check` must say of each; written from the contract by hand."""

from __future__ import annotations

import pytest
from config_support import Case, assert_mistake

from timesync.config.load import loads
from timesync.config.problem import ConfigError

CASES: list[Case] = [
    # Keys
    ("unknown top key", "sorces: []\n", "1:1", "sorces", "unknown key", "sources"),
    ("unknown key without a near one", "zzzzzz: 1\n", "1:1", "zzzzzz", "unknown key", None),
    (
        "key of a later version",
        "observe:\n  snmp: 127.0.0.1:161\n",
        "2:3",
        "observe.snmp",
        "unknown key",
        None,
    ),
    (
        "key in a source",
        "sources:\n  - ntp: a.example\n    pol: [16s, 1024s]\n",
        "3:5",
        "sources[0].pol",
        "unknown key",
        "poll",
    ),
    (
        "no key of that name",
        "sources:\n  - {ntp: a.example, xyz: true}\n",
        "2:22",
        "sources[0].xyz",
        "unknown key",
        None,
    ),
    (
        "pool key in ntp",
        "sources: [{ntp: a.example, count: 3}]\n",
        "1:28",
        "sources[0].count",
        "unknown key",
        None,
    ),
    (
        "key deep in serve",
        "serve:\n  ntp:\n    rate_limit: {interval: 1s, brust: 4}\n",
        "3:32",
        "serve.ntp.rate_limit.brust",
        "unknown key",
        "burst",
    ),
    (
        "hyphen for underscore",
        "steering: {max-slew: 1ppm}\n",
        "1:12",
        "steering.max-slew",
        "unknown key",
        "max_slew",
    ),
    (
        "duplicate key",
        "steering:\n  panic: 1s\n  panic: 2s\n",
        "3:3",
        "steering.panic",
        "twice; first in line 2",
        None,
    ),
    ("duplicate section", "serve: {}\nserve: {}\n", "2:1", "serve", "twice; first in line 1", None),
    (
        "key of the system clock",
        "clocks: {system: {disipline: true}}\n",
        "1:19",
        "clocks.system.disipline",
        "unknown",
        "discipline",
    ),
    # Quantities
    ("bare number", "steering:\n  panic: 1000\n", "2:10", "steering.panic", "has no unit", "1000s"),
    ("bare zero", "steering: {holdover: 0}\n", "1:22", "steering.holdover", "has no unit", "0s"),
    ("bare float", "steering: {panic: 1e3}\n", "1:19", "steering.panic", "has no unit", "1000.0s"),
    ("bare frequency", "steering: {max_slew: 500}\n", "1:22", "steering.max_slew", "has no unit", "500ppm"),
    ("m is not a unit", "steering: {holdover: 5m}\n", "1:22", "steering.holdover", "minutes are min", "5min"),
    (
        "sec is not a unit",
        "steering: {holdover: 5 sec}\n",
        "1:22",
        "steering.holdover",
        '"sec" is not a unit',
        "5s",
    ),
    ("capital unit", "steering: {holdover: 5S}\n", "1:22", "steering.holdover", '"S" is not a unit', "5s"),
    (
        "frequency for a duration",
        "steering: {panic: 20ppm}\n",
        "1:19",
        "steering.panic",
        "expected a duration",
        None,
    ),
    (
        "duration for a frequency",
        "steering: {max_slew: 1s}\n",
        "1:22",
        "steering.max_slew",
        "expected a frequency",
        None,
    ),
    (
        "no number at all",
        "steering: {panic: soon}\n",
        "1:19",
        "steering.panic",
        '"soon" is not a duration',
        None,
    ),
    ("out of range", "steering: {panic: 10ms}\n", "1:19", "steering.panic", "10ms is not in 1s to", None),
    (
        "negative",
        "steering: {holdover: -1s}\n",
        "1:22",
        "steering.holdover",
        "-1s is not in 0s to 365d",
        None,
    ),
    (
        "too fast a slew",
        "steering: {max_slew: 100001ppm}\n",
        "1:22",
        "steering.max_slew",
        "is not in 1ppm",
        None,
    ),
    (
        "negative wander",
        "clocks:\n  b:\n    virtual: {wander: -1e-9}\n",
        "3:23",
        "clocks.b.virtual.wander",
        "is not in 0 to 0.001",
        None,
    ),
    (
        "wander is not a number",
        "clocks: {b: {virtual: {wander: .nan}}}\n",
        "1:32",
        "clocks.b.virtual.wander",
        "is not in 0 to 0.001",
        None,
    ),
    # Poll
    (
        "poll not a power of two",
        "sources:\n  - ntp: a.example\n    poll: [16s, 1000s]\n",
        "3:17",
        "sources[0].poll[1]",
        "1000s is not a power of two",
        "1024s",
    ),
    (
        "poll turned round",
        "sources:\n  - ntp: a.example\n    poll: [64s, 16s]\n",
        "3:11",
        "sources[0].poll",
        "the shortest interval comes first",
        "[16s, 64s]",
    ),
    (
        "poll without units",
        "sources:\n  - ntp: a.example\n    poll: [4, 10s]\n",
        "3:12",
        "sources[0].poll[0]",
        "4 has no unit",
        "4s",
    ),
    (
        "poll alone",
        "sources:\n  - ntp: a.example\n    poll: 16s\n",
        "3:11",
        "sources[0].poll",
        "the shortest and the longest interval",
        "[16s, 16s]",
    ),
    (
        "poll too short",
        "sources:\n  - ntp: a.example\n    poll: [31.25ms, 1s]\n",
        "3:12",
        "sources[0].poll[0]",
        "from 62.5ms",
        "62.5ms",
    ),
    # Types; YAML 1.2 words
    (
        "on is text",
        "sources:\n  - ntp: a.example\n    burst: on\n",
        "3:12",
        "sources[0].burst",
        'not "on"',
        "true",
    ),
    (
        "no is text",
        "clocks: {system: {discipline: no}}\n",
        "1:31",
        "clocks.system.discipline",
        'not "no"',
        "false",
    ),
    ("one is not true", "sources: [{ntp: a.example, burst: 1}]\n", "1:35", "sources[0].burst", "not 1", None),
    (
        "quoted number",
        'steering: {minimum_sources: "2"}\n',
        "1:29",
        "steering.minimum_sources",
        'not "2"',
        None,
    ),
    (
        "half a source",
        "steering: {minimum_sources: 1.5}\n",
        "1:29",
        "steering.minimum_sources",
        "a whole number",
        None,
    ),
    (
        "number below",
        "steering: {minimum_sources: 0}\n",
        "1:29",
        "steering.minimum_sources",
        "at least 1, not 0",
        None,
    ),
    (
        "number above",
        "sources: [{pool: p.example, count: 17}]\n",
        "1:36",
        "sources[0].count",
        "at most 16, not 17",
        None,
    ),
    ("empty section", "observe:\n  control: /run/c\nserve:\n", "3:1", "serve", "is empty", None),
    ("list for a section", "steering: [1]\n", "1:11", "steering", "expected a mapping, not a list", None),
    (
        "mapping for a list",
        "sources:\n  ntp: a.example\n",
        "1:1",
        "sources",
        "begin each entry with a dash",
        None,
    ),
    (
        "one address for a list",
        "serve: {ntp: {listen: 0.0.0.0:123}}\n",
        "1:23",
        "serve.ntp.listen",
        "expected a list",
        "[0.0.0.0:123]",
    ),
    ("empty list", "serve: {ntp: {listen: []}}\n", "1:23", "serve.ntp.listen", "the list is empty", None),
    (
        "wrong word",
        "sources:\n  - ntp: a.example\n    interleaved: allways\n",
        "3:18",
        "sources[0].interleaved",
        '"allways" is none of auto, never, always',
        "always",
    ),
    (
        "wrong number",
        "sources: [{ntp: a.example, version: 6}]\n",
        "1:37",
        "sources[0].version",
        "none of 3, 4, 5, auto",
        None,
    ),
    (
        "drafts of version 4",
        "sources: [{ntp: a.example, drafts: [draft-ietf-ntp-ntpv5-09]}]\n",
        "1:36",
        "sources[0].drafts",
        "write `version: auto` or `version: 5`, too",
        None,
    ),
    (
        "version 5 over PTP",
        "sources: [{ntp: a.example, version: auto, transport: ptp}]\n",
        "1:37",
        "sources[0].version",
        "over PTP are asked in version 3 or 4",
        None,
    ),
    (
        "drafts that are not served",
        "serve: {ntp: {drafts: [draft-ietf-ntp-ntpv5-09]}}\n",
        "1:23",
        "serve.ntp.drafts",
        "add 5 to versions, too",
        None,
    ),
    (
        "more clients than are kept",
        "serve: {ntp: {clients: 100000}}\n",
        "1:24",
        "serve.ntp.clients",
        "must be at most 65536, not 100000",
        None,
    ),
    (
        "a negative number of clients",
        "serve: {csptp: {interfaces: [eth0], clients: -1}}\n",
        "1:46",
        "serve.csptp.clients",
        "must be at least 0, not -1",
        None,
    ),
    (
        "a draft of another layout",
        "sources: [{ntp: a.example, version: 5, drafts: [draft-ietf-ntp-ntpv5-05]}]\n",
        "1:49",
        "sources[0].drafts[0]",
        "has another layout than the drafts from -06 on",
        None,
    ),
    (
        "log level",
        "observe: {log: {level: warn}}\n",
        "1:24",
        "observe.log.level",
        "none of debug, info",
        "warning",
    ),
    ("ready", "observe: {ready: synchronised}\n", "1:18", "observe.ready", "none of started", "synchronized"),
    (
        "chronyc nowhere",
        "observe: {chronyc: {allow: [192.0.2.0/24]}}\n",
        "1:11",
        "observe.chronyc",
        "listen, socket",
        None,
    ),
    (
        "chronyc for all",
        "observe: {chronyc: '192.0.2.1:323'}\n",
        "1:20",
        "observe.chronyc.listen",
        "is no address of loopback",
        None,
    ),
    (
        "chronyc everywhere",
        "observe: {chronyc: {listen: '0.0.0.0:323', allow: [192.0.2.0/24]}}\n",
        "1:29",
        "observe.chronyc.listen",
        "needs one address",
        None,
    ),
    (
        "chronyc allow without listen",
        "observe: {chronyc: {socket: /run/c.sock, allow: [192.0.2.0/24]}}\n",
        "1:49",
        "observe.chronyc.allow",
        "without listen",
        None,
    ),
    (
        "chronyc opencommands for nobody",
        "observe: {chronyc: {listen: 127.0.0.1, opencommands: [clients]}}\n",
        "1:54",
        "observe.chronyc.opencommands",
        "those of `allow` only",
        None,
    ),
    (
        "chronyc opencommands that changes something",
        "observe: {chronyc: {listen: 192.0.2.1, allow: [192.0.2.0/24], opencommands: [makestep]}}\n",
        "1:78",
        "observe.chronyc.opencommands[0]",
        "none of activity",
        None,
    ),
    (
        "chronyc at the control socket",
        "observe: {control: /run/c, chronyc: {socket: /run/c}}\n",
        "1:46",
        "observe.chronyc.socket",
        "the same socket as observe.control",
        None,
    ),
    (
        "chronyc at a sock",
        "sources: [{sock: /run/c}]\nobserve: {chronyc: {socket: /run/c}}\n",
        "1:18",
        "sources[0].sock",
        "the same socket as observe.chronyc.socket",
        None,
    ),
    # Sources
    (
        "bare name",
        "sources:\n  - pool.ntp.org\n",
        "2:5",
        "sources[0]",
        "names a source",
        "{ntp: pool.ntp.org}",
    ),
    (
        "no source named",
        "sources:\n  - poll: [1s, 2s]\n",
        "2:5",
        "sources[0]",
        "one of these is needed: ntp, pool",
        None,
    ),
    ("kind misspelt", "sources:\n  - npt: a.example\n", "2:5", "sources[0]", "names no source", "ntp"),
    (
        "two kinds",
        "sources:\n  - {ntp: a.example, pool: b.example}\n",
        "2:5",
        "sources[0]",
        "exclude each other",
        None,
    ),
    ("host with a space", "sources: [{ntp: a b}]\n", "1:17", "sources[0].ntp", "not a host name", None),
    (
        "bad octet",
        "sources: [{ntp: 192.0.2.300}]\n",
        "1:17",
        "sources[0].ntp",
        "neither an IPv4 address",
        None,
    ),
    ("bad IPv6", 'sources: [{ntp: "2001:db8::g"}]\n', "1:17", "sources[0].ntp", "not an IPv6 address", None),
    (
        "port 0",
        "sources: [{ntp: a.example:0}]\n",
        "1:17",
        "sources[0].ntp",
        "not a port from 1 to 65535",
        None,
    ),
    ("port word", "sources: [{ntp: a.example:ntp}]\n", "1:17", "sources[0].ntp", '"ntp" is not a port', None),
    ("number as host", "sources: [{ntp: 10}]\n", "1:17", "sources[0].ntp", "expected a host name", None),
    ("not ASCII", "sources: [{ntp: zeit.österreich.example}]\n", "1:17", "sources[0].ntp", "xn--", None),
    (
        "pool of one address",
        "sources: [{pool: 192.0.2.1}]\n",
        "1:18",
        "sources[0].pool",
        "a pool is a name",
        "ntp: 192.0.2.1",
    ),
    (
        "twice the same",
        "sources:\n  - ntp: a.example\n  - ntp: A.Example.:123\n",
        "3:10",
        "sources[1].ntp",
        "the same as sources[0]",
        None,
    ),
    (
        "twice the same address",
        'sources:\n  - ntp: "2001:db8::1"\n  - ntp: "[2001:DB8:0::1]:123"\n',
        "3:10",
        "sources[1].ntp",
        "the same as sources[0]",
        None,
    ),
    (
        "unknown key id",
        "sources: [{ntp: a.example, key: 3}]\n",
        "1:33",
        "sources[0].key",
        "no key 3 in keys",
        None,
    ),
    (
        "unknown clock",
        "clocks: {bench: {virtual: {}}}\nsources:\n  - ntp: a.example\n    clock: bensh\n",
        "4:12",
        "sources[0].clock",
        "no clock of this name",
        "bench",
    ),
    (
        "trust and noselect",
        "sources:\n  - ntp: a.example\n    trust: true\n    noselect: true\n",
        "4:15",
        "sources[0].noselect",
        "contradict",
        None,
    ),
    (
        "interleaved version 3",
        "sources:\n  - ntp: a.example\n    version: 3\n    interleaved: always\n",
        "4:18",
        "sources[0].interleaved",
        "from NTP version 4 on",
        None,
    ),
    (
        "offset without unit",
        "sources: [{ntp: a.example, offset: 0.5}]\n",
        "1:36",
        "sources[0].offset",
        "no unit",
        "0.5s",
    ),
    # Clocks
    ("clock of no kind", "clocks:\n  bench: {}\n", "2:3", "clocks.bench", "virtual: is needed", None),
    (
        "system misspelt",
        "clocks:\n  sytem: {discipline: false}\n",
        "2:3",
        "clocks.sytem",
        "virtual: is needed",
        "system",
    ),
    (
        "virtual system",
        "clocks:\n  system: {virtual: {}}\n",
        "2:12",
        "clocks.system.virtual",
        "the kernel's",
        None,
    ),
    ("clock name", 'clocks:\n  "a b": {virtual: {}}\n', "2:3", 'clocks."a b"', "a clock's name", None),
    (
        "which of two",
        "clocks:\n  system: {discipline: false}\n  a: {virtual: {}}\n  b: {virtual: {}}\n",
        "1:1",
        "clocks",
        "which clock is served",
        None,
    ),
    # Keys
    (
        "key id 0",
        "keys:\n  0: {algorithm: SHA256, secret: 'ascii:0123456789'}\n",
        "2:3",
        "keys.0",
        "from 1 to",
        None,
    ),
    (
        "key id a word",
        "keys:\n  x: {algorithm: SHA256, secret: 'ascii:0123456789'}\n",
        "2:3",
        "keys.x",
        "from 1 to",
        None,
    ),
    (
        "no algorithm",
        "keys:\n  3: {secret: 'ascii:0123456789'}\n",
        "2:3",
        "keys.3.algorithm",
        "is missing",
        None,
    ),
    (
        "algorithm in lower case",
        "keys:\n  3: {algorithm: sha256, secret: 'ascii:0123456789'}\n",
        "2:18",
        "keys.3.algorithm",
        "none of AES128",
        "SHA256",
    ),
    ("no secret", "keys:\n  3: {algorithm: SHA256}\n", "2:3", "keys.3", "either secret or file", None),
    (
        "secret of the wrong size",
        "keys:\n  3: {algorithm: AES128, secret: 'HEX:00112233'}\n",
        "2:34",
        "keys.3.secret",
        "16 octets, not 4",
        None,
    ),
    (
        "short secret",
        "keys:\n  3: {algorithm: SHA256, secret: 'ascii:pass'}\n",
        "2:34",
        "keys.3.secret",
        "at least 10",
        None,
    ),
    (
        "secret without prefix",
        "keys:\n  3: {algorithm: SHA256, secret: hunter2hunter2}\n",
        "2:34",
        "keys.3.secret",
        "HEX:",
        None,
    ),
    (
        "odd digits",
        "keys:\n  3: {algorithm: SHA256, secret: 'HEX:012'}\n",
        "2:34",
        "keys.3.secret",
        "pairs of",
        None,
    ),
    # Steering and serving
    (
        "more sources than there are",
        "sources: [{ntp: a.example}, {ntp: b.example, noselect: true}]\nsteering: {minimum_sources: 2}\n",
        "2:29",
        "steering.minimum_sources",
        "only 1",
        None,
    ),
    (
        "unknown served clock",
        "serve: {clock: sistem}\n",
        "1:16",
        "serve.clock",
        "no clock of this name",
        "system",
    ),
    (
        "name to listen on",
        "serve: {ntp: {listen: [localhost]}}\n",
        "1:24",
        "serve.ntp.listen[0]",
        "not a numeric",
        None,
    ),
    (
        "star to listen on",
        'serve: {ntp: {listen: ["*:123"]}}\n',
        "1:24",
        "serve.ntp.listen[0]",
        "not a numeric",
        "0.0.0.0:123",
    ),
    (
        "same port twice",
        "serve:\n  ntp:\n    listen: [0.0.0.0:123, 127.0.0.1]\n",
        "3:27",
        "serve.ntp.listen[1]",
        "the same port as listen[0]",
        None,
    ),
    (
        "host bits",
        "serve: {ntp: {allow: [10.0.0.1/8]}}\n",
        "1:23",
        "serve.ntp.allow[0]",
        "bits set",
        "10.0.0.0/8",
    ),
    ("bad mask", "serve: {ntp: {deny: [10.0.0.0/33]}}\n", "1:22", "serve.ntp.deny[0]", "not a network", None),
    (
        "network as a number",
        "serve: {ntp: {allow: [0]}}\n",
        "1:23",
        "serve.ntp.allow[0]",
        "expected a network",
        None,
    ),
    (
        "workers",
        "serve: {ntp: {workers: many}}\n",
        "1:24",
        "serve.ntp.workers",
        "auto or a number from 0 to 64",
        None,
    ),
    (
        "local stratum",
        "serve: {local_stratum: 16}\n",
        "1:24",
        "serve.local_stratum",
        "at most 15, not 16",
        None,
    ),
    (
        "rate limit reply",
        "serve: {ntp: {rate_limit: {reply: kiss}}}\n",
        "1:35",
        "serve.ntp.rate_limit.reply",
        "none of kod, drop",
        None,
    ),
    ("relative path", "observe: {control: c.sock}\n", "1:20", "observe.control", "relative path", None),
    (
        "socket path too long",
        f"observe: {{control: /{'x' * 107}}}\n",
        "1:20",
        "observe.control",
        "108 octets",
        None,
    ),
    ("leap without a file", "leap: {}\n", "1:1", "leap.file", "is missing", None),
    ("unknown profile", "profile: ntp-cleint\n", "1:10", "profile", 'no profile "ntp-cleint"', "ntp-client"),
    ("profile is a list", "profile: [ntp-client]\n", "1:10", "profile", "expected text, not a list", None),
    # YAML itself
    ("alias", "serve: &s {}\nobserve: *s\n", "1:8", "", "anchor (&) is not allowed", None),
    ("alias alone", "serve: *s\n", "1:8", "", "alias (*) is not allowed", None),
    ("tag", "serve: !!map {}\n", "1:8", "", "tag (!) is not allowed", None),
    ("merge key", "steering:\n  <<: {panic: 1s}\n", "2:3", 'steering."<<"', "unknown key", None),
    ("list as a key", "[a, b]: 1\n", "1:1", "", "a key must be a word", None),
    (
        "tab",
        "serve:\n\tclock: system\n",
        "2:1",
        "",
        "cannot start any token",
        "spaces; YAML does not indent with tabs",
    ),
    (
        "unquoted IPv6",
        "serve:\n  ntp:\n    listen: [[::]:123]\n",
        "3:14",
        "",
        "a key must be a word",
        '"[::]:123", in quotes',
    ),
    ("unclosed", "sources: [{ntp: a.example}\n", "2:1", "", "not YAML", None),
    ("two documents", "serve: {}\n---\nserve: {}\n", "2:1", "", "a second document", None),
    ("a list", "- ntp: a.example\n", "1:1", "", "expected a mapping of sections", None),
    ("a word", "hello\n", "1:1", "", "expected a mapping of sections", None),
    ("YAML 1.1", "%YAML 1.1\n---\nserve: {}\n", "1:1", "", "another YAML version", None),
    (
        "long number",
        f"steering: {{minimum_sources: {'9' * 5000}}}\n",
        "1:29",
        "",
        "a number of 5000 digits",
        None,
    ),
    ("half a character", 'serve:\n  clock: "\\ud800"\n', "2:10", "", "half a character", None),
    ("half a character in a key", '"\\udfff": 1\n', "1:1", "", "half a character", None),
    ("NUL", "serve:\n  clock: a\0b\n", "2:11", "", "U+0000", None),
    ("escape", "serve:\n  clock: \x1b[31m\n", "2:10", "", "U+001B", None),
    ("line separator", "serve: {}\u2028\n", "1:10", "", "U+2028", None),
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


def test_a_headline_reads_as_in_the_contract() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("sources:\n  - ntp: a.example\n    pol: [16s, 1024s]\n", "/etc/timesync/timesync.yaml")

    assert (
        '/etc/timesync/timesync.yaml:3:5: error: sources[0].pol: unknown key (did you mean "poll"?)\n'
        "      pol: [16s, 1024s]\n"
        "      ^"
    ) == str(caught.value)


def test_every_error_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = """\
sources:
  - ntp: a.example
    pol: [16s, 1024s]
    key: 7
  - ntp: a.example
    burst: yes
steering:
  panic: 1000
  minimum_sources: 3
serve:
  ntp: {listen: [x]}
  clock: bench
"""
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")

    assert [
        (3, "sources[0].pol"),
        (4, "sources[0].key"),
        (5, "sources[1].ntp"),
        (6, "sources[1].burst"),
        (8, "steering.panic"),
        (9, "steering.minimum_sources"),
        (11, "serve.ntp.listen[0]"),
        (12, "serve.clock"),
    ] == [(problem.line, problem.path) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"# nothing but a comment\n", "is empty"),
        (b"---\n", "is empty"),
        (b"serve: {}\n" + b"#" * (256 * 1024), "is longer than 256 KiB"),
        (b"serve:\n  clock: \xff\n", "t.yaml:2: error: not UTF-8: octet 0xff at 16"),
        ("serve: {}".encode("utf-16"), "not UTF-8"),
        (b'a: "\\U00110000"', "not YAML"),
        (b"%YAML 1." + b"9" * 5000 + b"\n---\na: 1\n", "not YAML"),
    ],
)
def test_a_file_that_is_no_yaml_text_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        loads(data, "t.yaml")


def test_depth_and_aliases_cannot_exhaust_anything() -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 10))
    with pytest.raises(ConfigError, match=r"an anchor \(&\) is not allowed"):
        loads(f"l0: &l0 [lol]\n{levels}", "bomb.yaml")
    for deep in ("[" * 20_000, "{a: " * 20_000, "".join(" " * i + "a:\n" for i in range(500)), "- " * 20_000):
        with pytest.raises(ConfigError, match="nested deeper than 64 levels"):
            loads(deep, "deep.yaml")


def test_many_mistakes_are_counted_and_only_so_many_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("".join(f"k{i}: 1\n" for i in range(150)), "t.yaml")

    assert 150 == len(caught.value.problems)
    assert "and 50 more errors" == str(caught.value).splitlines()[-1]


@pytest.mark.parametrize(
    ("listen", "clash"),
    [
        ('0.0.0.0:123, "[::]:123"', None),
        ('127.0.0.1:123, 127.0.0.2:123, 127.0.0.1:1123, "[::1]:123"', None),
        ("127.0.0.1:0, 127.0.0.1:0, 0.0.0.0:0", None),
        ("127.0.0.1:123, 127.0.0.2:123, 127.0.0.1", (2, 0)),
        ("127.0.0.1:123, 127.0.0.2:123, 0.0.0.0", (2, 0)),
        ('127.0.0.1:123, "[::]:123", "::1"', (2, 1)),
        ('"[2001:db8::1]:123", "[2001:DB8:0::1]:123"', (1, 0)),
    ],
)
def test_ports_clash_within_a_family_only(listen: str, clash: tuple[int, int] | None) -> None:
    text = f"sources: [{{ntp: a.example}}]\nserve: {{ntp: {{listen: [{listen}]}}}}\n"
    if clash is None:
        loads(text, "t.yaml")
        return
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")

    (problem,) = caught.value.problems
    assert f"serve.ntp.listen[{clash[0]}]" == problem.path
    assert f"takes the same port as listen[{clash[1]}]" == problem.message


def test_a_byte_order_mark_and_windows_line_ends_are_harmless() -> None:
    data = b"\xef\xbb\xbfserve: {clock: system}\r\nobserve: {log: {level: warn}}\r\n"
    with pytest.raises(ConfigError) as caught:
        loads(data, "t.yaml")

    (problem,) = caught.value.problems
    assert (2, 24) == (problem.line, problem.column)
    assert "observe: {log: {level: warn}}\n" in str(caught.value)


SECRET = "correct-horse"


@pytest.mark.parametrize(
    "text",
    [
        f"keys:\n  3: {{algorithm: sha256, secret: 'ascii:{SECRET}'}}\n",
        f"keys:\n  3: {{algorithm: SHA256, secrt: {SECRET}}}\n",
        f"keys:\n  3:\n    algorithm: SHA256\n    secret: {SECRET}\n",
        f"keys:\n  3:\n    algorithm: SHA256\n    secret: &{SECRET} x\n",
        f"keys:\n  3:\n    algorithm: SHA256\n    secret: *{SECRET}\n",
        f"keys:\n- 3: {SECRET}\n",
        f"keys:\n\n# old\n  3: [{SECRET}\n",
        f'{{"keys": {{\n  "3": {{algorithm: x, secrt: {SECRET}}}}}}}\n',
        f"  keys:\n    3: {{algorithm: x, secrt: {SECRET}}}\n",
        f"---\nkeys: {{3: {{algorithm: x, secrt: {SECRET}}}}}\n",
        f"--- {{keys: {{3: {{algorithm: x, secrt: {SECRET}}}}}}}\n",
        f"keyss: {{3: {{algorithm: SHA256, secret: {SECRET}}}}}\n",
    ],
)
def test_no_message_repeats_a_secret(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")

    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_messages_do_not_act_on_a_terminal() -> None:
    with pytest.raises(ConfigError) as caught:
        loads('"\\e[31mred\\n": 1\nserve: {clock: "\\a"}\n', "t\x1b.yaml")

    assert [] == [c for c in str(caught.value) if not c.isprintable() and c != "\n"]
    assert 2 == sum(line.startswith("t\\x1b.yaml:") for line in str(caught.value).splitlines())
