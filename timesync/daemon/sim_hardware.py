"""From the time hardware that a simulation file describes to the simulated devices."""

from __future__ import annotations

from collections.abc import Sequence

from timesync.base.ids import ClockId
from timesync.base.time import Duration
from timesync.config import hardware as written
from timesync.config.ptp_world import Jitter
from timesync.config.scenario import Temperature as Swing
from timesync.config.scenario import World, WorldEvent
from timesync.sim.hardware import (
    Fault,
    FixModel,
    FromOutput,
    FromReceiver,
    Gauss,
    Hardware,
    PhcHardware,
    PinHardware,
    PulseHardware,
    PulseOrigin,
    ReceiverHardware,
    SawtoothShape,
    Thermometer,
    TimedFault,
)
from timesync.sim.law import DelayLaw, Exponential, Lognormal, Normal
from timesync.sim.oscillator import Temperature


def simulated_hardware(world: World) -> Hardware:
    """All that is plugged into the simulated machine, with the faults that come to it."""
    described, events = world.hardware, world.events
    return Hardware(
        receivers={name: _receiver(one, _faults(name, events)) for name, one in described.receivers.items()},
        pulses={name: _pulses(line, _faults(name, events)) for name, line in described.pps.items()},
        phcs={ClockId(name): _phc(phc, _faults(name, events)) for name, phc in described.phcs.items()},
        thermometers={name: _thermometer(one, world.clock.temperature) for name, one in described.thermometers.items()},
    )


def swing(temperature: Swing | None) -> tuple[Temperature, ...]:
    """What the temperature does to an oscillator."""
    if temperature is None:
        return ()
    return (Temperature(amplitude=temperature.amplitude, period=temperature.period),)


def delay_law(delay: Duration, jitter: Jitter) -> tuple[Duration, DelayLaw]:
    """Least delay and what is added; a normal law lies around the delay, so the delay is its mean."""
    if jitter.exponential is not None:
        return delay, Exponential(jitter.exponential.s())
    if jitter.lognormal is not None:
        return delay, Lognormal(jitter.lognormal.s(), 1.0)
    assert jitter.normal is not None
    return Duration(0), Normal(delay.s(), jitter.normal.s())


def _faults(name: str, events: Sequence[WorldEvent]) -> tuple[TimedFault, ...]:
    return tuple(
        TimedFault(Fault[event.fault.upper()], event.at, event.lasting)
        for event in events
        if event.fault is not None and event.device == name
    )


def _receiver(described: written.Receiver, faults: tuple[TimedFault, ...]) -> ReceiverHardware:
    assert described.baud is not None
    fix = described.fix
    return ReceiverHardware(
        language=described.language,
        latency=Normal(described.latency.mean.s(), described.latency.deviation.s()),
        baud=described.baud,
        sentences=described.sentences,
        fix=FixModel(
            first=fix.first,
            seen=fix.seen,
            used=fix.used,
            hdop=fix.hdop,
            tdop=fix.tdop,
            accuracy_s=fix.accuracy.s(),
            fixed_position=fix.fixed_position,
        ),
        drift=described.drift,
        faults=faults,
    )


def _pulses(line: written.PulseLine, faults: tuple[TimedFault, ...]) -> PulseHardware:
    origin: PulseOrigin = None
    if line.receiver is not None:
        origin = FromReceiver(line.receiver)
    elif line.output is not None:
        origin = FromOutput(ClockId(line.output.clock), line.output.channel)
    teeth = line.sawtooth
    return PulseHardware(
        origin=origin,
        noise=Gauss(line.noise.s()),
        bias=line.bias,
        missing=line.missing,
        doubled=line.doubled,
        wild=line.wild,
        sawtooth=SawtoothShape() if teeth is None else SawtoothShape(teeth.amplitude, teeth.period.s()),
        width=line.width,
        faults=faults,
    )


def _phc(phc: written.Phc, faults: tuple[TimedFault, ...]) -> PhcHardware:
    return PhcHardware(
        offset=phc.offset,
        frequency_error=phc.frequency,
        wander=phc.wander,
        white_fm=phc.white_fm,
        read_noise_s=phc.read_noise.s(),
        pair_window=phc.pair_window,
        pair_excess=Exponential(phc.pair_excess.s()),
        pair_method=phc.pair_method,
        max_adj=phc.max_adjustment,
        n_pins=phc.pins,
        n_outputs=phc.outputs,
        inputs=tuple(PinHardware(line.channel, _pulses(line, ())) for line in phc.inputs),
        faults=faults,
    )


def _thermometer(described: written.Thermometer, temperature: Swing | None) -> Thermometer:
    return Thermometer(
        mean_c=described.mean,
        swings=swing(temperature),
        per_degree=described.per_degree,
        noise_c=described.noise,
        resolution_c=described.resolution,
    )
