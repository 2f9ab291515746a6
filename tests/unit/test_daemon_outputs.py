"""What other programs and wires get of us: SOCK, shared memory, pulses out of a card."""

from __future__ import annotations

from functools import partial

from group_support import SYSTEM, Stand
from sim_devices_support import CARD, Scene

from timesync.base.ids import ClockId
from timesync.base.measure import Coarse, Leap
from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.config.schema import Config
from timesync.daemon.outputs import Outputs
from timesync.devices import KernelPulses
from timesync.host import ClockError, Trouble
from timesync.sim.hardware import Fault, FromOutput, Gauss, Hardware, PhcHardware, PulseHardware
from timesync.wire import shm, sock

PATH = "/run/chrony/ref.sock"
LOOP = "/dev/pps0"


def _config(serve: str = "", clocks: str = "") -> Config:
    text = f"clocks: {{{clocks}}}\nsources:\n  - ntp: ntp1\nserve: {{{serve}}}\n"
    return loads(text, "out.yaml").config


class Bench:
    """Outputs that are ticked; the served clock is known to be ``ahead_s`` ahead."""

    def __init__(self, config: Config, ahead_s: float = 0.25, hardware: Hardware | None = None) -> None:
        hardware = hardware or Hardware(
            phcs={CARD: PhcHardware(offset=Duration.from_s(ahead_s), read_noise_s=0.0, n_pins=2)},
            pulses={LOOP: PulseHardware(origin=FromOutput(CARD, 0), noise=Gauss(0.0))},
        )
        self.stand = Stand(Scene(hardware))
        self.scene = self.stand.scene
        self.scene.system.disturb(Duration.from_s(ahead_s))
        self.outputs = Outputs(self.stand.around)
        self.known: Coarse | None = Coarse(ahead_s, 1e-6, "itself")
        self.leap = Leap.NONE
        self.got: list[sock.SockSample] = []
        self.config = config
        self.outputs.configure(config)

    def listen(self) -> None:
        self.scene.devices.listen(PATH, lambda data: self.got.append(sock.decode(data)))

    def tick(self) -> None:
        self.scene.world.run_for(Duration.from_s(1))
        self.outputs.tick(lambda _: self.known, lambda _: (self.leap, 37))

    def shm(self) -> shm.ShmSample:
        return shm.decode(self.scene.devices.segments[3])


def test_chrony_gets_true_time_minus_the_systems() -> None:
    bench = Bench(_config(f"sock: {PATH}"))
    bench.listen()
    bench.leap = Leap.INSERT
    bench.tick()
    (sample,) = bench.got
    assert abs(sample.offset_s + 0.25) < 1e-8, "the system clock is ahead of the truth"
    assert 0 <= bench.scene.system.utc_ns() // 1000 - sample.kernel_us <= 1
    assert (False, Leap.INSERT) == (sample.pulse, sample.leap)


def test_nobody_who_listens_is_a_trouble_until_somebody_does() -> None:
    bench = Bench(_config(f"sock: {PATH}"))
    bench.tick()
    (trouble,) = bench.outputs.troubles()
    assert PATH in trouble
    assert "is chronyd running?" in trouble
    bench.listen()
    bench.tick()
    assert () == bench.outputs.troubles()
    assert 1 == len(bench.got)


def test_what_is_not_known_is_not_told() -> None:
    bench = Bench(_config(f"sock: {PATH}, shm: 3"))
    bench.listen()
    bench.known = None
    bench.tick()
    assert [] == bench.got
    assert bytes(96) == bench.scene.devices.segments[3]


def test_shared_memory_has_both_times_and_a_count() -> None:
    bench = Bench(_config("shm: 3"))
    bench.tick()
    first = bench.shm()
    bench.tick()
    second = bench.shm()
    for sample in (first, second):
        assert abs((sample.clock_ns - sample.kernel_ns) / 1e9 + 0.25) < 1e-8
        assert sample.valid
    assert second.count == first.count + 1
    assert abs(second.clock_ns - bench.stand.true_ns()) < 1000


def test_a_segment_that_somebody_removes_is_made_again() -> None:
    bench = Bench(_config("shm: 3"))
    bench.tick()
    del bench.scene.devices.segments[3]
    bench.tick()
    assert "shared memory unit 3 is gone" in bench.outputs.troubles()[0]
    bench.tick()
    assert () == bench.outputs.troubles()
    assert bench.shm().valid


def test_the_time_of_a_card_is_told_on_the_systems_scale() -> None:
    """Readers compare with CLOCK_REALTIME, whichever clock we serve."""
    bench = Bench(_config("clock: eth0, shm: 3", "eth0: {phc: eth0}"), ahead_s=0.125)
    bench.tick()
    assert abs(bench.shm().clock_ns - bench.stand.true_ns()) < 5_000
    assert abs((bench.shm().clock_ns - bench.shm().kernel_ns) / 1e9 + 0.125) < 5e-6


def test_a_card_that_has_vanished_is_told_nothing_of_and_breaks_nothing() -> None:
    bench = Bench(_config("clock: eth0, shm: 3", "eth0: {phc: eth0}"))
    bench.tick()
    before = bench.shm()
    bench.scene.devices.switch(CARD, Fault.UNPLUGGED, on=True)
    bench.tick()
    assert before == bench.shm()
    bench.scene.devices.switch(CARD, Fault.UNPLUGGED, on=False)
    bench.tick()
    assert bench.shm().count > before.count


def test_a_card_gives_out_its_seconds_while_it_is_asked_to() -> None:
    bench = Bench(_config(clocks="eth0: {phc: eth0, pulse_out: {channel: 0, width: 10ms}}"), ahead_s=0.25)
    pulses = bench.scene.devices.open_pulses(KernelPulses(LOOP), SYSTEM)
    bench.scene.world.run_for(Duration.from_s(3))
    (newest,) = pulses.pulses()
    # The system clock and the card are equally far ahead.
    assert abs(bench.scene.error_s(newest.stamp)) < 1e-6
    bench.outputs.close()
    bench.scene.world.run_for(Duration.from_s(3))
    assert [] == list(pulses.pulses())


def test_what_a_card_cannot_give_out_is_a_trouble_in_words() -> None:
    bench = Bench(_config(clocks="eth0: {phc: eth0, pulse_out: {channel: 5}}"))
    (trouble,) = bench.outputs.troubles()
    assert trouble.startswith("clock eth0 gives out no pulse: ")
    bench.outputs.configure(_config())
    assert () == bench.outputs.troubles()


def test_another_configuration_ends_what_the_last_one_gave() -> None:
    bench = Bench(_config(f"sock: {PATH}, shm: 3"))
    bench.listen()
    bench.outputs.configure(_config())
    bench.tick()
    assert [] == bench.got
    assert bytes(96) == bench.scene.devices.segments[3]


def test_a_loop_of_ticks_needs_no_served_extras() -> None:
    bench = Bench(_config())
    for _ in range(3):
        partial(bench.tick)()
    assert () == bench.outputs.troubles()


TWO = "eth0: {phc: eth0, pulse_out: {channel: 0, width: 10ms}}, eth1: {phc: eth1, pulse_out: {channel: 0, width: 10ms}}"


class Asked:
    """Who asked for an output, and when; ``refused`` cards say no."""

    def __init__(self, bench: Bench) -> None:
        self.refused: set[str] = set()
        self.opened: list[tuple[float, str]] = []
        self.closed: list[str] = []
        self.bench = bench
        bench.scene.devices.open_output = self.open  # type: ignore[method-assign, assignment]

    def open(self, phc: ClockId, channel: int, pin: int | None, width: Duration) -> Output:
        self.opened.append((round(self.bench.scene.world.elapsed.s(), 3), phc))
        if phc in self.refused:
            raise ClockError(Trouble.UNSUPPORTED, "the pin is busy", "use another one")
        return Output(self, phc)


class Output:
    def __init__(self, asked: Asked, phc: ClockId) -> None:
        self._asked = asked
        self._phc = phc
        self.why: str | None = None
        self.stuck = False
        self.tended: list[float] = []

    def trouble(self) -> str | None:
        return self.why

    def tend(self) -> bool:
        self.tended.append(round(self._asked.bench.scene.world.elapsed.s(), 3))
        return not self.stuck

    def close(self) -> None:
        self._asked.closed.append(self._phc)


def _pulsing(*refused: str) -> tuple[Bench, Asked]:
    hardware = Hardware(phcs={ClockId(name): PhcHardware() for name in ("eth0", "eth1")})
    bench = Bench(_config(), hardware=hardware)
    asked = Asked(bench)
    asked.refused.update(refused)
    bench.outputs.configure(_config(clocks=TWO))
    return bench, asked


def test_an_output_that_is_refused_is_asked_for_again_ever_less_often_and_the_other_one_goes_on() -> None:
    bench, asked = _pulsing("eth1")
    for _ in range(300):
        bench.tick()
    assert [0.0] == [at for at, phc in asked.opened if phc == "eth0"]
    # After 2, 4, 8 ... and at last every 64 s.
    assert [0, 2, 6, 14, 30, 62, 126, 190, 254] == [at for at, phc in asked.opened if phc == "eth1"]
    assert ("clock eth1 gives out no pulse: the pin is busy; use another one",) == bench.outputs.troubles()
    asked.refused.clear()
    for _ in range(64):
        bench.tick()
    assert () == bench.outputs.troubles()
    assert 10 == len([at for at, phc in asked.opened if phc == "eth1"])
    assert [] == asked.closed


def test_a_card_that_comes_back_gives_out_pulses_at_once_and_no_other_output_is_interrupted() -> None:
    bench, asked = _pulsing()
    bench.tick()
    bench.outputs.clocks_came([ClockId("eth1")])
    assert [(0.0, "eth0"), (0.0, "eth1"), (1.0, "eth1")] == asked.opened
    assert ["eth1"] == asked.closed


def test_another_configuration_of_the_rest_does_not_interrupt_pulses() -> None:
    bench, asked = _pulsing()
    bench.outputs.configure(_config("shm: 3", TWO))
    assert [] == asked.closed
    bench.outputs.configure(_config("shm: 3", TWO.replace("width: 10ms", "width: 20ms", 1)))
    assert ["eth0"] == asked.closed
    assert ["eth0", "eth1", "eth0"] == [phc for _, phc in asked.opened]
    bench.outputs.configure(_config("shm: 3"))
    assert ["eth0", "eth0", "eth1"] == sorted(asked.closed)


def test_what_an_output_says_of_itself_is_a_trouble() -> None:
    bench, _ = _pulsing()
    (output, _other) = bench.outputs._pulses._open.values()
    assert isinstance(output, Output)
    output.why = "the card took another width"
    assert ("the card took another width",) == bench.outputs.troubles()


def test_an_output_that_cannot_be_begun_anew_is_tended_ever_less_often_though_nobody_asks_and_is_said_once() -> None:
    bench, _ = _pulsing()
    (output, other) = bench.outputs._pulses._open.values()
    assert isinstance(output, Output)
    assert isinstance(other, Output)
    output.stuck = True
    output.why = "no right pulse comes out"
    for _ in range(300):
        bench.tick()
    assert [1, 3, 7, 15, 31, 63, 127, 191, 255] == output.tended
    assert 300 == len(other.tended)
    assert ["pulse-out: no right pulse comes out"] == bench.stand.lines()
    output.stuck = False
    output.why = None
    for _ in range(64):
        bench.tick()
    output.why = "no right pulse comes out"
    bench.tick()
    assert ["pulse-out: no right pulse comes out"] * 2 == bench.stand.lines(), "it is new again"
    assert [364, 365] == output.tended[-2:]


def test_what_a_card_refuses_to_give_out_is_said_once() -> None:
    bench, _ = _pulsing("eth1")
    for _ in range(10):
        bench.tick()
    assert ["pulse-out: clock eth1 gives out no pulse: the pin is busy; use another one"] == bench.stand.lines()
