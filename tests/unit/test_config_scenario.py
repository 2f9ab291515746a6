"""Simulation files: what makes no sense is refused, so that no expectation is kept by chance."""

from __future__ import annotations

import pytest

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.hardware import Hardware, Phc, PulseLine, Receiver
from timesync.config.problem import ConfigError
from timesync.config.scenario import read_scenario
from timesync.sim.hardware import PHC_FAULTS, PULSE_FAULTS, ReceiverHardware

FINE = """\
name: t
description: Two servers.
duration: 60s
settle: 10s
world:
  servers:
    - {name: a.x, jitter: {exponential: 10us}}
    - {name: b.x, jitter: {normal: 10us}}
  events:
    - {at: 1s, outage: [b.x], lasting: 3s}
config:
  sources: [{ntp: a.x}, {ntp: b.x}]
"""


def test_a_scenario_and_its_configuration() -> None:
    scenario, loaded = read_scenario(FINE.encode(), "t.yaml")

    assert Duration.from_s(60) == scenario.duration
    assert ["a.x", "b.x"] == [server.name for server in scenario.world.servers]
    assert 2 == len(loaded.config.sources)


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("outage: [b.x]", "outage: [c.x]", "9:3", "an outage of c.x, which is not among the servers"),
        ("name: b.x", "name: a.x", "6:3", "servers[1] is named a.x, as another one is"),
        ("settle: 10s", "settle: 60s", "4:9", "nothing would be judged"),
        (", lasting: 3s", "", "10:7", "outage and lasting go together"),
        ("outage: [b.x], lasting: 3s", "restart: true, clock_step: 1s", "10:7", "needs one of frequency_step"),
        ("{exponential: 10us}", "{exponential: 10us, normal: 1us}", "7:19", "needs one of exponential"),
        ("config:", "config:\n  clocks: {bench: {virtual: {}}}", "12:12", "has its system clock and the phcs"),
        (
            "config:",
            "config:\n  keys: {3: {algorithm: SHA256, secret: 'ascii:0123456789'}}",
            "12:3",
            "the simulated servers know no keys",
        ),
        ("config:", "config:\n  leap: {file: /etc/leap.list}", "12:3", "leap seconds of this machine's own list"),
        ("{ntp: b.x}", "{ntp: b.x, pol: 3}", "12:36", "unknown key"),
        ("config:", "cnfig:", "1:1", "a scenario needs a configuration"),
    ],
)
def test_what_cannot_be_simulated_is_refused_at_its_place(old: str, new: str, place: str, words: str) -> None:
    assert 1 == FINE.count(old)
    with pytest.raises(ConfigError) as caught:
        read_scenario(FINE.replace(old, new).encode(), "t.yaml")

    said = [problem.headline() for problem in caught.value.problems]
    assert [line for line in said if line.startswith(f"t.yaml:{place}: error: ") and words in line], said


HARDWARE = """\
name: h
description: A receiver and its pulses.
duration: 60s
settle: 10s
world:
  hardware:
    receivers:
      /dev/ttyS0: {latency: {mean: 100ms, deviation: 10ms}, baud: 38400, fix: {first: 5s}, drift: 1ppm}
      localhost: {language: gpsd}
    pps:
      /dev/pps0: {receiver: /dev/ttyS0, noise: 50ns, missing: 0.05, sawtooth: {amplitude: 10ns}}
      /dev/pps1: {output: {clock: eth0}}
    phcs:
      eth0: {offset: 1s, wander: 1e-9, inputs: [{channel: 1, receiver: "localhost:2947", bias: -1us}]}
    thermometers:
      /sys/t: {per_degree: 0.05ppm}
  events:
    - {at: 1s, fault: jump, device: /dev/ttyS0, lasting: 3s}
    - {at: 2s, fault: unplugged, device: eth0}
config:
  clocks: {system: {thermometer: /sys/t}, eth0: {phc: eth0}}
  sources:
    - {nmea: /dev/ttyS0}
    - {gpsd: localhost}
    - {pps: /dev/pps0}
    - {pps: eth0, channel: 1}
"""


def test_hardware_and_its_faults() -> None:
    scenario, loaded = read_scenario(HARDWARE.encode(), "h.yaml")

    hardware = scenario.world.hardware
    assert ["/dev/ttyS0", "localhost:2947"] == list(hardware.receivers)
    serial = hardware.receivers["/dev/ttyS0"]
    assert ("nmea", 38400, Duration.from_ns(100_000_000), Duration.from_s(5)) == (
        serial.language,
        serial.baud,
        serial.latency.mean,
        serial.fix.first,
    )
    assert Rate(1e-6) == serial.drift
    line = hardware.pps["/dev/pps0"]
    assert line.sawtooth is not None
    assert ("/dev/ttyS0", Duration.from_ns(50), 0.05, 0.0, Duration.from_ns(10)) == (
        line.receiver,
        line.noise,
        line.missing,
        line.doubled,
        line.sawtooth.amplitude,
    )
    output = hardware.pps["/dev/pps1"].output
    assert output is not None
    assert ("eth0", 0) == (output.clock, output.channel)
    (wired,) = hardware.phcs["eth0"].inputs
    assert (1, "localhost:2947", Duration.from_ns(-1000)) == (wired.channel, wired.receiver, wired.bias)
    assert Rate(5e-8) == hardware.thermometers["/sys/t"].per_degree
    assert [("jump", "/dev/ttyS0", Duration.from_s(3)), ("unplugged", "eth0", None)] == [
        (event.fault, event.device, event.lasting) for event in scenario.world.events
    ]
    assert 4 == len(loaded.config.sources)


def test_the_faults_are_those_that_can_be_simulated() -> None:
    described = {"nmea": Receiver(), "ubx": Receiver(language="ubx"), "gpsd": Receiver(language="gpsd")}
    hardware = Hardware(
        receivers={"/dev/a": described["nmea"], "/dev/u": described["ubx"], "h:1": described["gpsd"]},
        pps={"/dev/p": PulseLine()},
        phcs={"e": Phc()},
    )

    simulated = {
        "/dev/a": ReceiverHardware(language="nmea").known_faults(),
        "/dev/u": ReceiverHardware(language="ubx").known_faults(),
        "h:1": ReceiverHardware(language="gpsd").known_faults(),
        "/dev/p": PULSE_FAULTS,
        "e": PHC_FAULTS,
    }
    assert {name: {fault.name.lower() for fault in faults} for name, faults in simulated.items()} == {
        name: set(faults) for name, faults in hardware.faults().items()
    }


RECEIVER = 'world.hardware.receivers."/dev/ttyS0"'
PULSES = 'world.hardware.pps."/dev/pps0"'


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "words"),
    [
        ("baud: 38400", "baud: auto", 8, f"{RECEIVER}.baud", "a simulated line has one speed"),
        ("baud: 38400", "sentences: []", 8, f"{RECEIVER}.sentences", "the list is empty"),
        ("fix: {first: 5s}", "fix: {used: 13}", 8, f"{RECEIVER}.fix.used", "cannot use 13 of 12"),
        ("{language: gpsd}", "{}", 7, "world.hardware.receivers", "a gpsd has a host and a port"),
        (
            "{language: gpsd}",
            "{language: gpsd, sentences: [RMC]}",
            9,
            "world.hardware.receivers.localhost.sentences",
            "only NMEA has sentences",
        ),
        (
            "receiver: /dev/ttyS0",
            "receiver: /dev/ttyS1",
            10,
            "world.hardware.pps",
            "the receiver /dev/ttyS1, which is not in receivers",
        ),
        ("missing: 0.05", "missing: 5", 11, f"{PULSES}.missing", "must be at most 1.0, not 5"),
        (
            "receiver: /dev/ttyS0",
            "output: {clock: eth0}, receiver: /dev/ttyS0",
            11,
            f"{PULSES}.output",
            "exclude each other",
        ),
        ("noise: 50ns", "nois: 50ns", 11, f"{PULSES}.nois", "unknown key"),
        (
            "{clock: eth0}",
            "{clock: eth0, channel: 1}",
            10,
            "world.hardware.pps",
            "output 1 of eth0, which is not in phcs",
        ),
        (
            "channel: 1, receiver",
            "channel: 1}, {channel: 1, receiver",
            14,
            "world.hardware.phcs.eth0.inputs",
            "one channel has one input",
        ),
        ("0.05ppm", "0ppm", 16, 'world.hardware.thermometers."/sys/t".per_degree', "shows nothing"),
        ("fault: jump", "fault: jumps", 18, "world.events[0].fault", '"jumps" is none of wrong_week, jump'),
        ("fault: jump", "fault: gpsd_gone", 17, "world.events", "/dev/ttyS0 knows no fault gpsd_gone, only wrong_week"),
        (
            "fault: jump",
            "fault: false_leap",
            17,
            "world.events",
            "/dev/ttyS0 knows no fault false_leap, only wrong_week",
        ),
        (
            "localhost: {language: gpsd}",
            'localhost: {language: gpsd}\n      "localhost:2947": {language: gpsd}',
            7,
            "world.hardware.receivers",
            "localhost:2947 is the same port as localhost",
        ),
        (
            "/dev/pps1: {output: {clock: eth0}}",
            "/dev/pps1: {receiver: /dev/ttyS0}",
            10,
            "world.hardware.pps",
            "pulses of /dev/ttyS0 with another sawtooth",
        ),
        (
            "device: eth0}",
            "device: eth1}",
            17,
            "world.events",
            "not in the hardware; there are /dev/pps0, /dev/pps1, eth0",
        ),
        ("fault: unplugged", "fault: jump", 17, "world.events", "eth0 knows no fault jump, only no_pulses, unplugged"),
        (", device: eth0}", "}", 19, "world.events[1]", "fault and device go together"),
        (
            "thermometer: /sys/t}",
            "thermometer: /sys/u}",
            21,
            "config.clocks.system.thermometer",
            "no thermometer of this",
        ),
        ("{phc: eth0}", "{phc: eth0}, b: {phc: eth1}", 21, "config.clocks.b", "and the phcs of its hardware only"),
        ("{phc: eth0}", "{phc: eth0}, b: {virtual: {}}", 21, "config.clocks.b", "and the phcs of its hardware only"),
        ("{nmea: /dev/ttyS0}", "{nmea: /dev/ttyS1}", 23, "config.sources[0].nmea", "no receiver of this name"),
        ("{gpsd: localhost}", "{gpsd: localhost:1}", 24, "config.sources[1].gpsd", "no receiver of this name"),
        ("{pps: /dev/pps0}", "{pps: /dev/pps9}", 25, "config.sources[2].pps", "no pulses of this name"),
        ("{pps: eth0, channel: 1}", "{pps: eth0}", 26, "config.sources[3].pps", "nothing is wired to channel 0"),
        ("{nmea: /dev/ttyS0}", "{shm: 0}", 23, "config.sources[0].shm", "no program of the simulated world"),
        ("{nmea: /dev/ttyS0}", "{csptp: a, interface: b}", 23, "config.sources[0].csptp", "nobody of the simulated"),
    ],
)
def test_hardware_that_makes_no_sense_is_refused_at_its_place(
    old: str, new: str, line: int, path: str, words: str
) -> None:
    assert 1 == HARDWARE.count(old)
    with pytest.raises(ConfigError) as caught:
        read_scenario(HARDWARE.replace(old, new).encode(), "h.yaml")

    (problem,) = caught.value.problems
    assert (line, path) == (problem.line, problem.path)
    assert words in problem.message


def test_a_world_needs_servers_or_hardware() -> None:
    text = (
        "name: n\ndescription: Nothing.\nduration: 60s\nsettle: 1s\nworld: {clock: {}}\nconfig: {sources: [{ntp: a}]}\n"
    )
    with pytest.raises(ConfigError, match="servers, ptp or hardware is needed"):
        read_scenario(text.encode(), "n.yaml")
