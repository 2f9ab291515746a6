"""The demonstration's hardware: a receiver, its pulses, a network card with a clock, and a local NTP server.

All of it is made of software, and all of it is met by the daemon where it would meet the real thing: at a serial port
or a TCP port, at a PPS device, at a PTP hardware clock, at a UDP port.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.daemon.demo_faults import PlannedFault, ReceiverKind
from timesync.daemon.demo_receiver import Connection, LivePulses, LiveReceiver
from timesync.daemon.linux import ClockSpec, LinuxHost, PhcSpec
from timesync.daemon.testserver import Misbehaviour, TrialServer
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync.runtime.virtual_card import VirtualSlot
from timesync.runtime.virtual_devices import VirtualDevices, VirtualPps
from timesync.runtime.virtual_port import VirtualPort
from timesync.runtime.virtual_pulses import Edges, PulseLine
from timesync.runtime.virtual_stream import StreamClient, VirtualStream
from timesync.sim.hardware import Fault, ReceiverHardware, SawtoothShape
from timesync.sim.receiver_gpsd import GpsdVoice
from timesync_drivers.clock import KernelClock

LOOPBACK: Final = "127.0.0.1"
CARD: Final = ClockId("nic")
PULSES: Final = "/dev/pps-demo"
CARD_DEVICE: Final = "/dev/ptp-demo"
CARD_SETTINGS: Final = VirtualSettings(Duration.from_ns(5_000_000), Rate(-8e-6), 2e-10)
"""The clock of the card: 5 ms and 8 ppm off."""

_TRUTH = ClockId("system")
_PULSE_NOISE_S = 1e-6
"""Of a kernel that answers an interrupt."""
_CARD_NOISE_S = 8e-9
"""Of a card that counts in steps of 8 ns."""
_SAWTOOTH = SawtoothShape(Duration.from_ns(11))


class Receiver:
    """The simulated receiver where the daemon finds it: a serial port, or the TCP port of a gpsd.

    Attributes:
        player: It.
    """

    def __init__(self, kind: ReceiverKind, folder: Path, table: LeapTable, rng: Random) -> None:
        """Switch it on, on the running loop. Raises OSError."""
        self.player = LiveReceiver(ReceiverHardware(language=kind), table, rng)
        self.player.receiver.sawtooth = _SAWTOOTH
        self._kind = kind
        self._path = folder / "gps"
        self._port: VirtualPort | None = None
        self._stream: VirtualStream | None = None
        if kind == "gpsd":
            self._stream = VirtualStream(LOOPBACK, self._on_client)
            self.player.tell_pulses(Edges(LivePulses(self.player.receiver), table, _PULSE_NOISE_S, rng))
        else:
            self._port = VirtualPort(self._path, self._on_data)
            self._line = self.player.connect(self._port)

    @property
    def source(self) -> str:
        """Its entry of ``sources``, as YAML in flow style."""
        if self._stream is not None:
            return f"{{gpsd: '{LOOPBACK}:{self._stream.port}', name: gps}}"
        return f"{{nmea: '{self._path}', name: gps}}"

    @property
    def words(self) -> str:
        """What it is, for people."""
        if self._stream is not None:
            return f"a satellite receiver behind a gpsd on {LOOPBACK}:{self._stream.port}"
        return f"a satellite receiver that speaks {self._kind.upper()} on {self._path} ({self._path.readlink()})"

    def switch(self, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault. Raises OSError when it cannot be plugged in again."""
        self.player.switch(fault, on=on)
        if fault is Fault.UNPLUGGED and self._port is not None:
            if on:
                self._port.unplug()
            else:
                self._port.plug()
        elif fault is Fault.UNPLUGGED:
            for end in self.player.connections():
                assert isinstance(end.voice, GpsdVoice)
                end.say(end.voice.unplugged() if on else end.voice.plugged(self.player.told()))
        elif fault is Fault.GPSD_GONE and self._stream is not None:
            if on:
                self._stream.stop()
            else:
                self._stream.start()

    def close(self) -> None:
        """Switch it off, and remove its port."""
        self.player.close()
        if self._port is not None:
            self._port.close()
        if self._stream is not None:
            self._stream.stop()

    def _on_data(self, data: bytes) -> None:
        self._line.heard(data)

    def _on_client(self, client: StreamClient) -> Connection:
        return self.player.connect(client)


class Bench:
    """All hardware of the demonstration."""

    def __init__(self, kind: ReceiverKind, folder: Path, table: LeapTable) -> None:
        """Start it, on the running loop. Raises OSError."""
        self._table = table
        self._rng = Random(os.urandom(32))  # noqa: S311 - noise of simulated hardware, guards no secret
        self._truth = SystemClock(_TRUTH, KernelClock(), table)
        # One port for each clock that is compared with it: a source measures one clock.
        self._server = TrialServer([Endpoint(LOOPBACK, 0), Endpoint(LOOPBACK, 0)], Misbehaviour())
        try:
            self._receiver = Receiver(kind, folder, table, self._rng)
        except OSError:
            self._server.close()
            raise
        self._wire = LivePulses(self._receiver.player.receiver)
        self._card_wire = LivePulses(self._receiver.player.receiver)
        self._slot = VirtualSlot(CARD_DEVICE, self._make_clock, partial(self._edges, self._card_wire, _CARD_NOISE_S))

    @property
    def clocks(self) -> str:
        """The entries of ``clocks``, as YAML in flow style."""
        return f"{{{CARD}: {{phc: {CARD_DEVICE}}}}}"

    @property
    def sources(self) -> Sequence[str]:
        """The entries of ``sources``, as YAML in flow style.

        The server is a cross-check alone, so that without satellites there is a holdover to be seen. It is asked often,
        because a minute is all that there is, and in interleaved mode, because loopback takes no time: what a server
        can only guess, when its answer leaves, would be most of the delay.
        """
        asked, for_card = self._server.addresses
        how = "poll: [1s, 4s], interleaved: always, timestamping: software, noselect: true"
        return (
            self._receiver.source,
            f"{{pps: {PULSES}, name: pps, pairs_with: gps}}",
            f"{{ntp: '{asked}', name: ntp, {how}}}",
            f"{{pps: {CARD}, name: {CARD}-pps, pin: 0}}",
            f"{{ntp: '{for_card}', name: {CARD}-ntp, clock: {CARD}, {how}}}",
        )

    @property
    def words(self) -> Sequence[str]:
        """What there is, for people."""
        return (
            self._receiver.words,
            f"its pulse a second, on {PULSES} and on a pin of the network card whose clock is {CARD_DEVICE}",
            f"an NTP server on {self._server.addresses[0]} with the system's time, as a cross-check",
        )

    def host(self, specs: Sequence[ClockSpec], table: LeapTable, state: Path) -> LinuxHost:
        """The machine with this hardware plugged in."""
        pulses = {PULSES: VirtualPps(self._wire, partial(self._edges, self._wire, _PULSE_NOISE_S))}
        return _DemoHost(specs, table, state, self._slot, pulses)

    def card_offset(self) -> Duration | None:
        """True offset of the card's clock; None while the card is unplugged."""
        return None if self._slot.clock is None else self._slot.clock.true_offset()

    def switch(self, planned: PlannedFault, *, on: bool) -> None:
        """Begin or end a fault now. Raises OSError when a device cannot be made again."""
        match planned.device:
            case "receiver":
                self._receiver.switch(planned.fault, on=on)
            case "pps":
                self._wire.switch(planned.fault, on=on)
            case _ if planned.fault is Fault.UNPLUGGED:
                self._slot.switch(plugged=not on)
            case _:
                self._card_wire.switch(planned.fault, on=on)

    def close(self) -> None:
        """Switch everything off."""
        self._receiver.close()
        self._server.close()

    def _make_clock(self) -> VirtualClock:
        return VirtualClock(CARD, self._truth, self._table, CARD_SETTINGS, self._rng)

    def _edges(self, line: PulseLine, noise_s: float) -> Edges:
        return Edges(line, self._table, noise_s, self._rng)


class _DemoHost(LinuxHost):
    """The machine, with hardware that is made of software."""

    def __init__(
        self,
        specs: Sequence[ClockSpec],
        table: LeapTable,
        state: Path,
        slot: VirtualSlot,
        pulses: dict[str, VirtualPps],
    ) -> None:
        def open_card(spec: PhcSpec, table: LeapTable) -> PhcClock:
            return PhcClock(spec.clock, spec.device, table, timescale=spec.timescale, open_device=slot.open)

        super().__init__(specs, table, state, open_phc=open_card)
        self._devices = VirtualDevices(self.clocks, table, pulses)
