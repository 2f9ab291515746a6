"""Fuzz target of the configuration: whatever a file holds, it loads or is refused in words to be shown."""

from __future__ import annotations

import random
from pathlib import Path

from targets import Target, fuzz, register

from timesync.config.load import loads
from timesync.config.problem import ConfigError
from timesync.config.profiles import shipped
from timesync.config.tree import plain
from timesync.config.write import write
from timesync.config.yaml import compose, decode

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-hunter2"
SEEDS = [
    *(source.text.encode() for source in shipped().values()),
    *(
        (ROOT / "config" / name).read_bytes()
        for name in (
            "ntp-client.yaml",
            "ntp-server.yaml",
            "stratum1-gps-pps.yaml",
            "automotive-gptp-endpoint.yaml",
            "lab-grandmaster.yaml",
        )
    ),
    b"profile: ntp-server\nclocks: {bench: {virtual: {offset: 10ms, frequency: 20ppm, wander: 1e-9}}}\n"
    b"sources:\n  - {ntp: '[2001:db8::1]:123', poll: [62.5ms, 16s], key: 3, clock: bench, offset: -1us}\n"
    b"keys:\n  3:\n    algorithm: SHA256\n    secret: 'ascii:" + SECRET.encode() + b"'\n"
    b"serve: {clock: bench, local_stratum: 3, ntp: {workers: 2, deny: [10.0.0.0/8]}}\n"
    b"steering: {step: {threshold: 1ms, updates: 1}, panic: 9s, minimum_sources: 1}\nleap: {file: /x}\n",
    (
        b"clocks: {eth0: {phc: /dev/ptp0, timescale: utc, pulse_out: {pin: 1}, pair_interval: 1s, thermometer: /t}, "
        b"eth1: {phc: eth1, discipline: false}}\n"
        b"sources:\n  - {gpsd: 'gpsd://localhost/dev/ttyACM0', name: hat}\n  - {pps: eth0, pairs_with: hat}\n"
        b"  - {nmea: /dev/ttyAMA0, baud: 9600, delay: 150ms}\n  - {pps: /dev/pps0, edge: clear, pairs_with: nmea}\n"
        b"  - {sock: /run/a.sock}\n  - {shm: 0}\n  - {phc: eth1, clock: system}\n"
        b"serve: {sock: /run/b.sock, shm: 1, ntp: {leap_smear: 24h}}\n"
    ),
    (
        b"ptp:\n  - {profile: gptp, domain: 20, priority1: 100, ports: [{interface: eth0, sync_interval: 31.25ms}]}\n"
        b"  - profile: g8275.1\n    role: timeReceiver\n    path_trace: true\n    management: /run/m\n"
        b"    ports:\n      - {interface: eth1, l2_destination: 01-1B-19-00-00-00, asymmetry: -20ns, trust: true}\n"
        b"      - {interface: eth2, acceptable: [aabbcc.fffe.ddeeff-1], local_priority: 7, delay: e2e}\n"
    ),
]
WORDS = [
    b"sources",
    b"ntp",
    b"pool",
    b"poll",
    b"keys",
    b"3",
    b"clocks",
    b"system",
    b"virtual",
    b"serve",
    b"listen",
    b"true",
    b"on",
    b"null",
    b"~",
    b"1e-6",
    b"1e999",
    b".nan",
    b"-.inf",
    b"0o17",
    b"0x7fffffffffffffff",
    b"16s",
    b"20ppm",
    b"999999999999999d",
    b"[::]:123",
    b"10.0.0.0/8",
    b"::/0",
    b": ",
    b"- ",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b"&a ",
    b"*a",
    b"!!int ",
    b"<<: ",
    b"? ",
    b"| \n",
    b"> \n",
    b"'",
    b'"',
    b"\\",
    b"\\ud800",
    b"\n",
    b"  ",
    b"\t",
    b"#",
    b"%YAML 1.2\n",
    b"---\n",
    b"...\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\r",
    b"\x1b[2J",
    b"profile: demo\n",
    b"phc",
    b"pps",
    b"gpsd",
    b"nmea",
    b"shm",
    b"sock",
    b"pairs_with",
    b"ptp",
    b"ports",
    b"interface",
    b"125ms",
    b"gptp",
    b"timeTransmitter",
    b"name",
    b"gpsd://h/d",
    b"/dev/pps0",
    b"auto",
]


def examine(data: bytes) -> None:
    """Load, and look at all that a user would see. Raises ConfigError when the input is refused."""
    try:
        loaded = loads(data, "fuzz.yaml")
    except ConfigError as error:
        check_words(error)
        raise
    if SECRET in repr(loaded.config):
        raise AssertionError("a secret is in a repr")
    text = "".join(f"{line}\n" for line in write(loaded.tree, lambda mark: str(mark.line)))
    again = plain(compose(decode(text.encode(), "again.yaml"))) if loaded.tree.entries else {}
    if repr(plain(loaded.tree)) != repr(again):  # repr, because nan is not equal to itself
        raise AssertionError(f"written as {text!r}, which reads differently")


def check_words(error: ConfigError) -> None:
    """A refusal has words, none that a terminal acts on, and no secret."""
    shown = str(error)
    shown.encode()
    if not error.problems or not shown:
        raise AssertionError("refused without words")
    if not all(c.isprintable() or c == "\n" for c in shown):
        raise AssertionError(f"not printable: {shown!r}")
    if f"ascii:{SECRET}" in shown:
        raise AssertionError(f"a secret is shown: {shown!r}")


def mutated_file(rng: random.Random) -> bytes:
    """One of the seeds with a few changes."""
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randint(1, 6)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((0, 0, 1, 2, 8, 40)))
        match rng.randrange(4):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:end] = rng.choice(WORDS)
            case 2:
                data[start:end] = bytes([rng.randrange(256)])
            case _:
                other = rng.randrange(len(data) + 1)
                data[start:start] = data[other : other + rng.randrange(60)]
    return bytes(data)


CONFIG = Target("config", mutated_file, examine, (ConfigError,))
register(CONFIG)


def fuzz_config(count: int, seed: int) -> int:
    """Try so many mutations; how many of them were refused."""
    return fuzz(CONFIG, count, seed)
