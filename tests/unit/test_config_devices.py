"""Clocks with hardware, receivers, pulses, and links to other programs: the values that come out."""

from __future__ import annotations

from pathlib import Path

import pytest

from timesync.base.time import Duration
from timesync.config.address import HostPort
from timesync.config.device import Gpsd
from timesync.config.load import load, loads
from timesync.config.profiles import shipped
from timesync.config.schema import (
    Config,
    GpsdSource,
    NmeaSource,
    NtpSource,
    PhcSource,
    PpsSource,
    ShmSource,
    SockSource,
    SourceOptions,
)
from timesync.config.write import write

ROOT = Path(__file__).parents[2]
FACE = ROOT / "config" / "stratum1-gps-pps.yaml"

CONTRACT = """\
clocks:
  system:
    thermometer: /sys/class/hwmon/hwmon0/temp1_input
  eth0:
    phc: eth0
    discipline: true
    pulse_out: {channel: 1, pin: 0, width: 10ms}
    pair_interval: 125ms
  eth1:
    phc: /dev/ptp1
    timescale: utc
    discipline: false
sources:
  - ntp: ntp1.example.org
    timestamping: hardware
  - gpsd: localhost:2947
  - pps: /dev/pps0
    edge: assert
    pairs_with: gpsd
  - nmea: /dev/ttyAMA0
    baud: auto
    delay: auto
  - nmea: /dev/ttyUSB0
    baud: 38400
    delay: 150ms
    configure: true
    name: roof
  - pps: eth0
    edge: clear
    channel: 2
    pin: 1
    pairs_with: roof
  - sock: /run/timesync/ref.sock
  - shm: 0
  - phc: eth1
    clock: eth1
    noselect: true
serve:
  ntp: {leap_smear: 24h}
  sock: /run/chrony/timesync.sock
  shm: 2
"""


def the(config: Config, kind: type[SourceOptions], index: int = 0) -> SourceOptions:
    """The source of a kind."""
    return [source for source in config.sources if isinstance(source, kind)][index]


def test_clocks_with_hardware() -> None:
    config = loads(CONTRACT, "t.yaml").config

    eth0, eth1, system = config.clocks["eth0"], config.clocks["eth1"], config.clocks["system"]
    assert ("eth0", "tai", Duration.from_ns(125_000_000)) == (eth0.phc, eth0.timescale, eth0.pair_interval)
    assert eth0.pulse_out is not None
    assert (1, 0, Duration.from_ns(10_000_000)) == (
        eth0.pulse_out.channel,
        eth0.pulse_out.pin,
        eth0.pulse_out.width,
    )
    assert ("/dev/ptp1", "utc", False) == (eth1.phc, eth1.timescale, eth1.discipline)
    assert (None, Duration.from_ns(250_000_000)) == (eth1.pulse_out, eth1.pair_interval)
    assert ("/sys/class/hwmon/hwmon0/temp1_input", None) == (system.thermometer, system.phc)


def test_receivers_and_pulses() -> None:
    config = loads(CONTRACT, "t.yaml").config

    gpsd, first, roof = the(config, GpsdSource), the(config, NmeaSource), the(config, NmeaSource, 1)
    assert isinstance(gpsd, GpsdSource)
    assert isinstance(first, NmeaSource)
    assert isinstance(roof, NmeaSource)
    assert (Gpsd(HostPort("localhost", 2947)), None) == (gpsd.gpsd, gpsd.delay)
    assert ("/dev/ttyAMA0", None, None, False) == (first.nmea, first.baud, first.delay, first.configure)
    assert ("/dev/ttyUSB0", 38400, Duration.from_ns(150_000_000), True, "roof") == (
        roof.nmea,
        roof.baud,
        roof.delay,
        roof.configure,
        roof.name,
    )
    kernel, pin = the(config, PpsSource), the(config, PpsSource, 1)
    assert isinstance(kernel, PpsSource)
    assert isinstance(pin, PpsSource)
    assert ("/dev/pps0", None, "assert") == (kernel.pps, kernel.phc, kernel.edge)
    assert ("eth0", "eth0", "clear", 2, 1) == (pin.pps, pin.phc, pin.edge, pin.channel, pin.pin)
    assert gpsd is config.numbering(kernel)
    assert roof is config.numbering(pin)


def test_links_to_other_programs() -> None:
    config = loads(CONTRACT, "t.yaml").config

    sock, shm, phc, ntp = (the(config, kind) for kind in (SockSource, ShmSource, PhcSource, NtpSource))
    assert isinstance(sock, SockSource)
    assert isinstance(shm, ShmSource)
    assert isinstance(phc, PhcSource)
    assert isinstance(ntp, NtpSource)
    assert ("/run/timesync/ref.sock", 0, "eth1", "hardware") == (sock.sock, shm.shm, phc.phc, ntp.timestamping)
    assert ("/run/chrony/timesync.sock", 2) == (config.serve.sock, config.serve.shm)
    assert config.serve.ntp is not None
    assert Duration.from_s(86_400) == config.serve.ntp.leap_smear


def test_absent_keys() -> None:
    config = loads("sources: [{ntp: a}, {pps: /dev/pps0}]\nserve: {ntp: {}}\n", "t.yaml").config

    ntp, pulses = config.sources
    assert isinstance(ntp, NtpSource)
    assert isinstance(pulses, PpsSource)
    assert ("auto", None, "ntp", "a") == (ntp.timestamping, ntp.name, ntp.kind, ntp.title)
    assert ("assert", 0, None, None) == (pulses.edge, pulses.channel, pulses.pin, pulses.pairs_with)
    assert config.numbering(pulses) is None
    assert config.serve.ntp is not None
    assert (None, None, None) == (config.serve.ntp.leap_smear, config.serve.sock, config.serve.shm)


def test_each_source_has_a_title_of_its_own() -> None:
    config = loads(CONTRACT, "t.yaml").config

    assert [
        "ntp1.example.org",
        "gpsd://localhost",
        "/dev/pps0",
        "/dev/ttyAMA0",
        "roof",
        "pps:eth0:2",
        "/run/timesync/ref.sock",
        "shm:0",
        "phc:eth1",
    ] == [source.title for source in config.sources]


@pytest.mark.parametrize(
    ("text", "server", "device", "title"),
    [
        ("localhost", HostPort("localhost", 2947), None, "gpsd://localhost"),
        ("pi.lan:2948", HostPort("pi.lan", 2948), None, "gpsd://pi.lan:2948"),
        ("gpsd://pi.lan", HostPort("pi.lan", 2947), None, "gpsd://pi.lan"),
        ("gpsd://pi.lan/", HostPort("pi.lan", 2947), None, "gpsd://pi.lan"),
        ("gpsd://PI.lan:1/dev/ttyAMA0", HostPort("pi.lan", 1), "/dev/ttyAMA0", "gpsd://pi.lan:1/dev/ttyAMA0"),
        ("::1", HostPort("::1", 2947, numeric=True), None, "gpsd://[::1]"),
        ("gpsd://[::1]:2947/dev/a b", HostPort("::1", 2947, numeric=True), "/dev/a b", "gpsd://[::1]/dev/a b"),
    ],
)
def test_where_gpsd_is(text: str, server: HostPort, device: str | None, title: str) -> None:
    (source,) = loads(f'sources: [{{gpsd: "{text}"}}]\n', "t.yaml").config.sources

    assert isinstance(source, GpsdSource)
    assert Gpsd(server, device) == source.gpsd
    assert title == source.title
    again = loads(f'sources: [{{gpsd: "{title}"}}]\n', "t.yaml").config.sources[0]
    assert isinstance(again, GpsdSource)
    assert source.gpsd == again.gpsd


SOURCES = """\
sources:
  - {pps: /dev/pps0, pairs_with: "%s"}
  - gpsd: localhost:2947
  - {nmea: /dev/ttyAMA0, name: gpsdish}
  - {nmea: /dev/ttyAMA1}
  - {ntp: A.example, noselect: true}
  - {shm: 3}
  - {sock: /run/s}
  - {ntp: shm, name: other}
"""


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ("gpsd", 1),
        ("localhost", 1),
        ("localhost:2947", 1),
        ("gpsd://localhost", 1),
        ("gpsdish", 2),
        ("/dev/ttyAMA0", 2),
        ("/dev/ttyAMA1", 3),
        ("a.example", 4),
        ("A.EXAMPLE.:123", 4),
        ("shm:3", 5),
        ("sock", 6),
        ("/run/s", 6),
        ("other", 7),
        ("shm", 7),
    ],
)
def test_a_source_is_found_by_name_by_text_or_by_kind(wanted: str, index: int) -> None:
    config = loads(SOURCES % wanted, "t.yaml").config

    pulses = config.sources[0]
    assert isinstance(pulses, PpsSource)
    assert config.sources[index] is config.numbering(pulses)


def test_a_reference_that_no_check_has_seen_is_not_guessed() -> None:
    config = Config(sources=(PpsSource(pps="/dev/pps0", pairs_with="nobody"),))

    with pytest.raises(ValueError, match="names 0 sources"):
        config.numbering(config.sources[0])  # type: ignore[arg-type]  # it is the one above


@pytest.mark.parametrize(
    ("clocks", "served", "measured"),
    [
        ("{}", "system", ["system", "system", "e"]),
        ("{system: {discipline: false}}", "system", ["system", "system", "e"]),
        ("{system: {discipline: false}, v: {virtual: {}}}", "v", ["v", "v", "e"]),
    ],
)
def test_a_lone_phc_is_not_served_and_stamps_its_own_pulses(clocks: str, served: str, measured: list[str]) -> None:
    more = clocks.removesuffix("}") + (", " if len(clocks) > 2 else "")
    text = f"clocks: {more}e: {{phc: eth0}}}}\nsources: [{{ntp: a}}, {{pps: /dev/pps0}}, {{pps: e}}]\n"
    config = loads(text, "t.yaml").config

    assert served == config.served_clock()
    assert measured == [config.clock_of(source) for source in config.sources]


def test_kernel_stamps_measure_the_system_clock_when_a_phc_is_served() -> None:
    clocks = "clocks: {e: {phc: eth0}, f: {phc: eth1, discipline: false}}\nserve: {clock: e}\n"
    text = f"{clocks}sources: [{{ntp: a}}, {{nmea: /dev/ttyS0, clock: e}}, {{phc: f}}]\n"
    config = loads(text, "t.yaml").config

    assert "e" == config.served_clock()
    assert ["system", "e", "system"] == [config.clock_of(source) for source in config.sources]


def test_a_phc_as_a_source_measures_another_clock_than_itself() -> None:
    clocks = "clocks: {f: {phc: eth1, discipline: false}}\n"
    config = loads(f"{clocks}sources: [{{phc: f, clock: f}}]\n", "t.yaml").config

    assert "system" == config.clock_of(config.sources[0])


def test_the_name_of_a_ptp_device_without_its_directory_is_doubtful() -> None:
    (warning,) = loads("clocks: {a: {phc: ptp0}}\nsources: [{ntp: a}]\n", "t.yaml").warnings

    assert ("clocks.a.phc", "/dev/ptp0") == (warning.path, warning.suggestion)


def test_relative_paths_of_devices_and_sockets(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "clocks: {system: {thermometer: temp}, a: {phc: ./ptp0}, b: {phc: eth0}}\n"
        "sources: [{nmea: dev/tty}, {pps: ./pps0}, {pps: b}, {sock: run/s}]\nserve: {sock: out}\n"
    )
    config = load(path).config

    assert (f"{tmp_path}/temp", f"{tmp_path}/ptp0", "eth0", f"{tmp_path}/out") == (
        config.clocks["system"].thermometer,
        config.clocks["a"].phc,
        config.clocks["b"].phc,
        config.serve.sock,
    )
    assert [f"{tmp_path}/dev/tty", f"{tmp_path}/pps0", "b", f"{tmp_path}/run/s"] == [
        getattr(source, source.kind) for source in config.sources
    ]


# The face of the product


def test_the_stratum_1_file_is_short_and_says_what_it_uses() -> None:
    assert len(FACE.read_text().splitlines()) <= 25
    config = load(FACE).config

    receiver, pulses = config.sources
    assert isinstance(receiver, NmeaSource)
    assert isinstance(pulses, PpsSource)
    assert receiver is config.numbering(pulses)
    assert config.serve.ntp is not None
    assert config.serve.ntp.rate_limit is not None
    assert (None, "system") == (config.serve.local_stratum, config.served_clock())


def test_the_stratum_1_profile_asks_nobody_outside_and_answers_private_networks() -> None:
    loaded = load(None, "stratum1-gps-pps")

    assert ["nmea", "pps"] == [source.kind for source in loaded.config.sources]
    serve = loaded.config.serve.ntp
    assert serve is not None
    assert serve.rate_limit is not None
    assert all(network.is_private for network in serve.allow)
    assert "pool" not in "".join(write(loaded.tree, lambda _: ""))
    assert "stratum1-gps-pps" in shipped()


def test_the_commented_variants_of_the_stratum_1_file_are_fine_too(tmp_path: Path) -> None:
    text = FACE.read_text()
    path = tmp_path / "t.yaml"
    path.write_text("".join(f"{line.replace('#  - ntp', '  - ntp', 1)}\n" for line in text.splitlines()))
    checked = load(path)
    assert ((), ["nmea", "pps", "ntp", "ntp"]) == (checked.warnings, [source.kind for source in checked.config.sources])

    start, other, end = text.index("sources:"), text.index("# sources:"), text.index("serve:")
    shown = "".join(f"{line.removeprefix('# ').removeprefix('#')}\n" for line in text[other:end].splitlines())
    path.write_text(text[:start] + shown + text[end:])
    gpsd = load(path)
    receiver, pulses = gpsd.config.sources
    assert isinstance(receiver, GpsdSource)
    assert isinstance(pulses, PpsSource)
    assert receiver is gpsd.config.numbering(pulses)
