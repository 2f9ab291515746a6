"""Datagrams, shared memory, conversions and thermometers of the simulated machine, and the machine as a whole."""

from __future__ import annotations

import asyncio
from statistics import pstdev
from time import perf_counter

import pytest
from sim_devices_support import (
    CARD,
    PPS,
    SYSTEM,
    TTY,
    Ear,
    S,
    Scene,
    gather,
    one_card,
    one_line,
    one_receiver,
)
from sim_support import MS

from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.devices import DatagramInbox, KernelPulses, PinPulses, SerialLine
from timesync.host import ClockError, Trouble
from timesync.sim.clock import ClockModel
from timesync.sim.hardware import (
    Fault,
    FromReceiver,
    Hardware,
    PhcHardware,
    PinHardware,
    PulseHardware,
    ReceiverHardware,
    Thermometer,
    TimedFault,
)
from timesync.sim.host import Machine
from timesync.sim.oscillator import Quartz, Temperature


def test_datagrams_go_from_an_outbox_to_an_inbox() -> None:
    scene = Scene(Hardware())
    ear = Ear(scene.world)

    async def main() -> None:
        outbox = scene.devices.open_outbox("/run/ref.sock")
        with pytest.raises(FileNotFoundError):
            outbox.send(b"nobody")
        feed = scene.devices.open_feed(DatagramInbox("/run/ref.sock"), SYSTEM, ear)
        outbox.send(b"one")
        outbox.send(b"")
        outbox.send(b"two")
        await asyncio.sleep(0.1)
        feed.close()
        with pytest.raises(FileNotFoundError):
            outbox.send(b"late")
        outbox.close()

    scene.run(main())
    assert [b"one", b"", b"two"] == [data for _, data, _ in ear.got]
    heard: list[bytes] = []
    scene.devices.listen("/run/chrony.sock", heard.append)
    scene.devices.open_outbox("/run/chrony.sock").send(b"sample")
    assert [b"sample"] == heard


def test_shared_memory_is_shared() -> None:
    devices = Scene(Hardware()).devices
    with pytest.raises(ClockError) as caught:
        devices.open_segment(2, create=False)
    assert Trouble.GONE is caught.value.trouble
    writer = devices.open_segment(2, create=True)
    reader = devices.open_segment(2, create=False)
    assert bytes(96) == reader.read()
    writer.write(b"x" * 96)
    assert b"x" * 96 == reader.read()
    devices.writing.add(2)
    assert reader.read() is None
    devices.writing.clear()
    with pytest.raises(ValueError, match="96"):
        writer.write(b"short")
    writer.close()
    del devices.segments[2]
    with pytest.raises(ClockError):
        reader.read()


def test_kernel_time_and_stamps_turn_into_each_other() -> None:
    scene = Scene(
        one_card(offset=MS * 5, frequency_error=Rate.from_ppm(-20), wander=1e-8),
        quartz=Quartz(frequency_error=Rate.from_ppm(30), wander=1e-8),
        model=ClockModel(offset=-MS * 2),
    )
    devices, card = scene.devices, scene.cards[CARD]
    scene.world.run_for(S * 3)
    kernel_ns, shown = scene.system.utc_ns(), card.stamp(StampSource.KERNEL, 0.0)
    scene.system.adjust_frequency(Rate.from_ppm(-100))
    scene.world.run_for(S * 4)
    stamp = devices.stamp(CARD, kernel_ns)
    assert stamp is not None
    assert (CARD, 0) == (stamp.clock, stamp.epoch)
    assert abs((stamp.at - shown.at).ns()) <= 1
    back = devices.kernel_ns(CARD, shown)
    assert back is not None
    assert abs(back - kernel_ns) <= 1
    own = devices.stamp(SYSTEM, kernel_ns)
    assert own is not None
    assert kernel_ns == devices.kernel_ns(SYSTEM, own)
    soon = devices.stamp(CARD, scene.system.utc_ns() + 100)
    assert soon is not None
    assert 100 == pytest.approx((soon.at - card.exact()).ns(), abs=2)


def test_kernel_times_that_are_unknown_or_of_another_epoch_are_none() -> None:
    scene = Scene(one_card())
    devices, system = scene.devices, scene.system
    scene.world.run_for(S * 20)
    now = system.utc_ns()
    old = system.stamp(StampSource.KERNEL, 0.0)
    assert devices.stamp(CARD, now - 60 * 10**9) is None
    assert devices.stamp(CARD, now + 60 * 10**9) is None
    system.step(S * 100)
    scene.world.run_for(S)
    # The reading is still known, and belongs to the first epoch.
    found = devices.stamp(SYSTEM, now)
    assert found is not None
    assert 0 == found.epoch
    assert now == devices.kernel_ns(SYSTEM, old)
    assert devices.kernel_ns(SYSTEM, type(old)(SYSTEM, 1, old.at)) is None
    assert devices.stamp(SYSTEM, now + 50 * 10**9) is None


def test_times_beside_a_leap_second_are_unknown() -> None:
    scene = Scene(Hardware())
    # 2016-12-31 23:59:59.5 UTC comes twice.
    assert scene.devices.stamp(SYSTEM, 1_483_228_799_500_000_000) is None


def test_a_thermometer_shows_what_the_oscillator_feels() -> None:
    sine = Temperature(amplitude=Rate.from_ppb(200), period=S * 600)
    quartz = Quartz(frequency_error=Rate.from_ppm(5), temperature=(sine,))
    meter = Thermometer(mean_c=45.0, swings=(sine,), per_degree=Rate.from_ppb(100))
    scene = Scene(Hardware(thermometers={"/sys/temp": meter}), quartz=quartz)
    for _ in range(50):
        scene.world.run_for(S * 37)
        warm = scene.devices.temperature("/sys/temp") - 45.0
        # The oscillator is drawn on a grid of a second, so between its points it differs a little.
        assert 5.0 + warm * 0.1 == pytest.approx(scene.system.true_frequency().ppm(), abs=2e-4)
    assert abs(warm) > 0.01
    with pytest.raises(FileNotFoundError):
        scene.devices.temperature("/sys/other")


def test_a_thermometer_has_noise_and_steps() -> None:
    meter = Thermometer(noise_c=0.5, resolution_c=0.25)
    scene = Scene(Hardware(thermometers={"/sys/temp": meter}))
    seen = [scene.devices.temperature("/sys/temp") for _ in range(3000)]
    assert 0.5 == pytest.approx(pstdev(seen), rel=0.08)
    assert all(degrees % 0.25 == 0 for degrees in seen)


# --- the whole


def test_names_and_faults_that_are_not_there_are_errors() -> None:
    scene = Scene(one_receiver())
    with pytest.raises(KeyError):
        scene.devices.switch("/dev/nothing", Fault.SILENT, on=True)
    with pytest.raises(ValueError, match="no fault"):
        scene.devices.switch(PPS, Fault.STALE, on=True)
    with pytest.raises(ValueError, match="no fault"):
        scene.devices.switch(TTY, Fault.GPSD_GONE, on=True)


def story(seed: int) -> list[str]:
    """All there is to see of a noisy machine in 30 s."""
    hardware = Hardware(
        receivers={TTY: ReceiverHardware(faults=(TimedFault(Fault.GARBLED, S * 9, S * 9),))},
        pulses={PPS: PulseHardware(origin=FromReceiver(TTY), missing=0.1, doubled=0.1, wild=0.1)},
        phcs={CARD: PhcHardware(wander=1e-9, inputs=(PinHardware(0, PulseHardware(origin=FromReceiver(TTY))),))},
        thermometers={"/sys/temp": Thermometer(noise_c=0.1)},
    )
    scene = Scene(hardware, seed, Machine(stamp_noise_s=1e-6), Quartz(wander=1e-9))
    ear, told = Ear(scene.world), []

    async def main() -> None:
        scene.devices.open_feed(SerialLine(TTY, 9600), SYSTEM, ear)
        inputs = [scene.devices.open_pulses(spec, SYSTEM) for spec in (KernelPulses(PPS), PinPulses(CARD))]
        for _ in range(60):
            await asyncio.sleep(0.5)
            told.append(repr([source.pulses() for source in inputs]))
            told.append(repr(scene.devices.read_pair(SYSTEM, CARD)))
            told.append(repr(scene.devices.temperature("/sys/temp")))

    scene.run(main())
    return [*told, repr(ear.got)]


def test_the_same_seed_tells_the_same_story() -> None:
    first = story(5)
    assert first == story(5)
    assert first != story(6)


def test_hours_of_pulses_take_seconds() -> None:
    scene = Scene(one_line(missing=0.01, doubled=0.01), quartz=Quartz(wander=1e-9))
    begun = perf_counter()
    pulses = gather(scene, 7200, KernelPulses(PPS))
    # Two hours: about 0.5 s on a slow machine; the limit only catches what is ten times worse.
    assert perf_counter() - begun < 10
    assert len(pulses) > 7000


def test_a_host_needs_the_clocks_of_its_cards() -> None:
    scene = Scene(Hardware())
    with pytest.raises(ValueError, match="eth0"):
        type(scene.devices)(scene.world, "x", {SYSTEM: scene.system}, scene.system, scene.devices._tempo, one_card())
