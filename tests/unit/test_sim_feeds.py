"""Simulated receivers on their lines and behind gpsd: when bytes come, and what goes wrong with them."""

from __future__ import annotations

import errno
import json
import re
from itertools import pairwise
from statistics import fmean

import pytest
from sim_devices_support import (
    CARD,
    GPSD,
    PPS,
    START_S,
    SYSTEM,
    TTY,
    Ear,
    S,
    Scene,
    gather,
    one_receiver,
    until,
)
from sim_support import MS

from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.devices import KernelPulses, SerialLine, TcpStream
from timesync.host import ClockError
from timesync.sim.clock import ClockModel
from timesync.sim.hardware import (
    Fault,
    FixModel,
    FromReceiver,
    Gauss,
    Hardware,
    PhcHardware,
    PinHardware,
    PulseHardware,
    ReceiverHardware,
    SawtoothShape,
    TimedFault,
)
from timesync.sim.host import Machine
from timesync.sim.law import Exactly, Exponential

WATCH = b'?WATCH={"enable":true,"json":true,"pps":true};\n'


def test_a_serial_burst_arrives_as_fast_as_the_line_and_is_stamped_so() -> None:
    scene = Scene(one_receiver(sentences=("RMC",), latency=Exactly(0.1), baud=9600, fifo=16))
    ear = Ear(scene.world)

    async def main() -> None:
        feed = scene.devices.open_feed(SerialLine(TTY, 9600), SYSTEM, ear)
        await until(scene, 1.9)
        feed.close()
        await until(scene, 5)

    scene.run(main())
    assert [0.0] == ear.opened
    assert re.fullmatch(rb"\$GNRMC,000001\.00,A,[^$]*\r\n", ear.text)
    assert [16] * (len(ear.text) // 16) == [len(data) for _, data, _ in ear.got[:-1]]
    for index, (at, _, stamp) in enumerate(ear.got):
        bytes_so_far = min(16 * (index + 1), len(ear.text))
        assert 1.1 + bytes_so_far / 960 == pytest.approx(at, abs=1e-6)
        assert stamp is not None
        assert at == pytest.approx((stamp.at - scene.world.start).s(), abs=1e-8)
        assert (SYSTEM, StampSource.USER) == (stamp.clock, stamp.source)


def test_a_slow_machine_is_late_but_keeps_the_order() -> None:
    machine = Machine(slowness=Exponential(20e-3))
    scene = Scene(one_receiver(baud=115_200, fifo=8, latency=Exactly(0.1)), machine=machine)
    ear = Ear(scene.world)

    async def main() -> None:
        scene.devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        await until(scene, 20.95)

    scene.run(main())
    sentences = ear.text.split(b"\r\n")[:-1]
    assert 20 == sum(sentence.startswith(b"$GNRMC") for sentence in sentences)
    assert all(re.fullmatch(rb"\$[A-Z,0-9.\-]*\*[0-9A-F]{2}", sentence) for sentence in sentences)
    lateness = [at - int(at) - 0.1 for at, _, _ in ear.got]
    assert min(lateness) > 0
    assert fmean(lateness) > 0.02


def test_the_wrong_speed_is_heard_as_nonsense_until_it_is_set_right() -> None:
    scene = Scene(one_receiver(baud=9600))
    ear = Ear(scene.world)

    async def main() -> None:
        feed = scene.devices.open_feed(SerialLine(TTY, 38_400), SYSTEM, ear)
        await until(scene, 1.99)
        assert b"RMC" not in ear.text
        assert len(ear.text) > 100
        feed.set_baud(9600)
        await until(scene, 2.99)
        assert b"$GNRMC" in ear.text
        feed.close()
        with pytest.raises(OSError, match="descriptor"):
            feed.set_baud(4800)
        with pytest.raises(OSError, match="descriptor"):
            feed.write(b"x")

    scene.run(main())


def test_a_ubx_receiver_answers_what_is_written_to_it() -> None:
    scene = Scene(one_receiver(language="ubx", messages=("NAV-PVT",), baud=115_200))
    ear = Ear(scene.world)

    async def main() -> None:
        feed = scene.devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        feed.write(bytes.fromhex("b5620a0400000e34"))
        await until(scene, 0.5)

    scene.run(main())
    assert ear.text.startswith(b"\xb5\x62\x0a\x04")
    assert b"MOD=NEO-M8T-0" in ear.text


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.UNPLUGGED])
def test_a_receiver_falls_silent_or_is_pulled_out(fault: Fault) -> None:
    scene = Scene(one_receiver(faults=(TimedFault(fault, MS * 2900, S * 2),), baud=115_200))
    ear = Ear(scene.world)
    gone = fault is Fault.UNPLUGGED

    async def main() -> None:
        scene.devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
        await until(scene, 3.9)
        if gone:
            with pytest.raises(ClockError):
                source.pulses()
            with pytest.raises(FileNotFoundError):
                scene.devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        else:
            assert 1 == len(source.pulses())
        await until(scene, 4.95)
        if gone:
            scene.devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        await until(scene, 6.95)

    scene.run(main())
    assert [errno.EIO] * gone == [error.errno for _, error in ear.lost]
    times = re.findall(rb"RMC,(\d{6})", ear.text)
    assert [b"000001", b"000002", b"000005", b"000006"] == times


def test_pulses_with_a_wire_of_their_own_stay_when_the_receiver_goes() -> None:
    line = PulseHardware(origin=FromReceiver(TTY), on_gpio=True)
    scene = Scene(Hardware(receivers={TTY: ReceiverHardware()}, pulses={PPS: line}))
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    scene.world.run_for(MS * 1500)
    assert 1 == len(source.pulses())
    scene.devices.switch(TTY, Fault.UNPLUGGED, on=True)
    scene.world.run_for(S * 2)
    assert () == source.pulses()


def test_garbled_and_other_faults_come_and_go_on_the_line() -> None:
    scene = Scene(one_receiver(baud=115_200, sentences=("ZDA",)))
    ear = Ear(scene.world)
    devices = scene.devices

    async def main() -> None:
        devices.open_feed(SerialLine(TTY, 115_200), SYSTEM, ear)
        for index, fault in enumerate((Fault.WRONG_WEEK, Fault.JUMP, Fault.STALE)):
            devices.switch(TTY, fault, on=True)
            await until(scene, index + 1.95)
            devices.switch(TTY, fault, on=False)
        devices.switch(TTY, Fault.GARBLED, on=True)
        await until(scene, 60)

    scene.run(main())
    first = [line[7:28] for line in ear.text.split(b"\r\n")[:3]]
    # The jump to second 3 is what the stale receiver then repeats.
    assert [b"000001.00,18,05,2006,", b"000003.00,01,01,2026,", b"000003.00,01,01,2026,"] == first
    assert 10 < len(set(re.findall(rb"\$GNZDA,\d{6}\.00,01,01,2026,00,00\*[0-9A-F]{2}\r\n", ear.text))) < 50


def test_a_line_that_is_too_slow_leaves_seconds_out_and_never_falls_far_behind() -> None:
    """At 4800 baud a byte takes 2.08 ms, and all sentences of a second about 1.2 s."""
    scene = Scene(one_receiver(latency=Exactly(0.1), baud=4800))
    ear = Ear(scene.world)

    async def main() -> None:
        scene.devices.open_feed(SerialLine(TTY, 4800), SYSTEM, ear)
        await until(scene, 120)

    scene.run(main())
    bursts = re.findall(rb"RMC,(\d{6})\.00.*?(?=\$GNRMC|\Z)", ear.text, re.DOTALL)
    size = len(ear.text) / len(bursts)
    assert size > 480
    assert 0.8 < len(ear.text) / 480 / 119 <= 1.0  # the line is busy nearly all the time
    told = [int(found[2:4]) * 60 + int(found[4:]) for found in bursts]
    assert sorted(set(told)) == told
    last_s, _, _ = ear.got[-1]
    assert last_s - told[-1] < 0.1 + 0.5 + 2 * size / 480 + 0.1


def test_gpsd_sees_the_pulses_of_the_kernels_line_whatever_else_is_wired_to_the_receiver() -> None:
    pulses = PulseHardware(noise=Gauss(0.0), origin=FromReceiver(GPSD))
    late = PulseHardware(noise=Gauss(0.0), bias=MS * 7, origin=FromReceiver(GPSD))
    receivers = {GPSD: ReceiverHardware(language="gpsd", baud=115_200)}
    card = PhcHardware(inputs=(PinHardware(0, late),))
    scene = Scene(Hardware(receivers=receivers, pulses={PPS: pulses}, phcs={CARD: card}))
    ear = Ear(scene.world)

    async def main() -> None:
        feed = scene.devices.open_feed(TcpStream("localhost", 2947), SYSTEM, ear)
        feed.write(WATCH)
        await until(scene, 5.5)

    scene.run(main())
    told = reports(ear, "PPS")
    assert len(told) >= 4
    assert [0] * len(told) == [pulse["clock_nsec"] for pulse in told]


def gpsd_hardware(**figures: object) -> Hardware:
    return Hardware(
        receivers={GPSD: ReceiverHardware(language="gpsd", baud=115_200, **figures)},
        pulses={
            PPS: PulseHardware(
                noise=Gauss(50e-9), origin=FromReceiver(GPSD), sawtooth=SawtoothShape(Duration.from_ns(10))
            )
        },
    )


def reports(ear: Ear, kind: str) -> list[dict[str, int]]:
    return [found for line in ear.text.splitlines() if (found := json.loads(line))["class"] == kind]


def test_gpsd_reports_times_and_pulses_as_this_machines_clock_saw_them() -> None:
    scene = Scene(gpsd_hardware(latency=Exactly(0.12)), model=ClockModel(offset=MS * 40))
    ear = Ear(scene.world)

    async def main() -> None:
        source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
        feed = scene.devices.open_feed(TcpStream("localhost", 2947), SYSTEM, ear)
        await until(scene, 0.5)
        feed.write(WATCH)
        await until(scene, 5.5)
        (newest,) = source.pulses()
        pulses = reports(ear, "PPS")
        assert 5 == len(pulses)
        utc = scene.system.leaps.utc(newest.stamp.at).ns()
        assert utc == pulses[-1]["clock_sec"] * 10**9 + pulses[-1]["clock_nsec"]
        for pulse in pulses:
            late_ns = (pulse["clock_sec"] - pulse["real_sec"]) * 10**9 + pulse["clock_nsec"]
            # What qErr adds takes the sawtooth out, and leaves the clock's error and the noise.
            assert 40_000_000 == pytest.approx(late_ns + pulse["qErr"] / 1000, abs=300)
        for toff in reports(ear, "TOFF"):
            assert toff["real_sec"] == toff["clock_sec"]
            assert 160_000_000 == pytest.approx(toff["clock_nsec"], abs=1)

    scene.run(main())
    assert {"VERSION", "DEVICES", "WATCH", "TPV", "SKY"} <= {
        json.loads(line)["class"] for line in ear.text.splitlines()
    }


def test_gpsd_is_refused_lost_and_found_again_and_its_receiver_too() -> None:
    scene = Scene(gpsd_hardware(faults=(TimedFault(Fault.GPSD_GONE, S * 3, S * 2),)))
    ear, refused = Ear(scene.world), Ear(scene.world)

    async def main() -> None:
        feed = scene.devices.open_feed(TcpStream("localhost", 2947), SYSTEM, ear)
        feed.write(WATCH)
        await until(scene, 1.5)
        scene.devices.switch(GPSD, Fault.UNPLUGGED, on=True)
        await until(scene, 2.5)
        assert [{"class": "DEVICE", "path": "/dev/ttyACM0", "activated": 0}] == reports(ear, "DEVICE")
        scene.devices.switch(GPSD, Fault.UNPLUGGED, on=False)
        await until(scene, 3.5)
        assert 2 == len(reports(ear, "DEVICE"))
        assert [errno.ECONNRESET] == [error.errno for _, error in ear.lost]
        scene.devices.open_feed(TcpStream("localhost", 2947), SYSTEM, refused)
        scene.devices.open_feed(TcpStream("localhost", 2948), SYSTEM, refused)
        await until(scene, 5.5)
        assert [errno.ECONNREFUSED] * 2 == [error.errno for _, error in refused.lost]
        assert [] == refused.opened
        late = Ear(scene.world)
        scene.devices.open_feed(TcpStream("localhost", 2947), SYSTEM, late).write(WATCH)
        await until(scene, 7.5)
        assert 2 == len(reports(late, "TPV"))

    scene.run(main())


def test_a_receiver_without_a_fix_drifts_on_the_line_too() -> None:
    scene = Scene(one_receiver(drift=Rate(-2e-6)))
    scene.devices.switch(TTY, Fault.NO_FIX, on=True)
    assert [] == gather(scene, 3, KernelPulses(PPS))
    scene.devices.switch(TTY, Fault.NO_FIX, on=False)
    scene.world.run_for(S)
    scene.devices.switch(TTY, Fault.NO_FIX, on=True)
    lost = scene.world.units
    errors = [
        (scene.error_s(pulse.stamp), (pulse.stamp.at.scaled_ns - lost) / S.scaled_ns)
        for pulse in gather(scene, 600, KernelPulses(PPS))
    ]
    assert 590 < len(errors)
    for error, since in errors:
        assert 2e-6 * since == pytest.approx(error, abs=5e-9)


def test_a_recovered_fix_never_gives_two_pulses_to_a_second() -> None:
    scene = Scene(one_receiver(drift=Rate(1e-4)))
    gather(scene, 2, KernelPulses(PPS))
    scene.devices.switch(TTY, Fault.NO_FIX, on=True)
    gather(scene, 100, KernelPulses(PPS))
    source = scene.devices.open_pulses(KernelPulses(PPS), SYSTEM)
    found = []
    for _ in range(60):
        scene.world.run_for(MS * 97)
        found += source.pulses()
        if len(found) == 2:
            scene.devices.switch(TTY, Fault.NO_FIX, on=False)
    gaps = [(later.stamp.at - earlier.stamp.at).s() for earlier, later in pairwise(found)]
    assert min(gaps) > 0.9
    assert 0.0 == pytest.approx(scene.error_s(found[-1].stamp), abs=1e-8)


def test_a_cold_receiver_gives_pulses_with_its_first_fix() -> None:
    scene = Scene(one_receiver(fix=FixModel(first=S * 5)))
    found = gather(scene, 8, KernelPulses(PPS))
    assert [5, 6, 7, 8] == [round(pulse.stamp.at.scaled_ns / S.scaled_ns - START_S) for pulse in found]
