"""Comparisons of two clocks of this machine: the links of the graph, and hardware clocks as references."""

from __future__ import annotations

from collections.abc import Mapping

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Leap, Measurement, Quality, StampSource
from timesync.base.time import ZERO, Duration
from timesync.config.sources import PhcSource
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.daemon.tally import Tally
from timesync.devices import Pair
from timesync.host import ClockError
from timesync.observe.snapshot import SourceFacts
from timesync.servo.command import SourceSpec

PHC_REFERENCE = b"PHC\0"
"""Reference id of a hardware clock that something else keeps right; chrony's refclock driver has the same."""

_PRECISION_S = 1e-9


class _PairedClocks(DeviceGroup):
    """Reads two clocks together at a steady pace."""

    def __init__(
        self, source: PhcSource | None, around: Surroundings, near: ClockId, far: ClockId, every: Duration
    ) -> None:
        super().__init__(source, around, (near, far))
        self._near = near
        self._far = far
        self._every = every
        self._tally = Tally()
        self._method: str | None = None

    def specs(self) -> tuple[SourceSpec, ...]:
        """What the core is told to follow."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to compare."""
        for spec in self.specs():
            self._around.listener.added(spec)
        self._due()

    def stop(self) -> None:
        """End."""
        self._alarm.cancel()
        for spec in self.specs():
            self._around.listener.removed(spec.source)

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """What is known of them outside the core."""
        details = {} if self._method is None else {"method": self._method}
        return {
            spec.source: SourceFacts(
                kind=self.kind, address=None, status=None, drops=self._tally.drops, details=details
            )
            for spec in self.specs()
        }

    def _due(self) -> None:
        self._wake(self._every)
        before = self._tally.reach
        try:
            pair = self._around.host.devices.read_pair(self._near, self._far)
        except ClockError as error:
            self._tally.refused("unreadable")
            self._failed(f"cannot be compared: {error}; {error.advice}")
        else:
            self._works()
            self._take(pair)
        if (before == 0) != (self._tally.reach == 0) or self._tally.sent == 1:
            for spec in self.specs():
                self._around.listener.status(
                    self._tally.status(
                        spec.source, spec.reference_id, self._every.s(), timestamping=StampSource.HARDWARE
                    )
                )

    def _take(self, pair: Pair) -> None:
        self._method = pair.method
        if self._stale(pair):
            self._tally.refused("epoch")
        else:
            self._tally.good()
            self._measure(pair)

    def _stale(self, pair: Pair) -> bool:
        core = self._around.core
        return core.epoch(self._near) != pair.local.epoch or core.epoch(self._far) != pair.remote.epoch

    def _measure(self, pair: Pair) -> None:
        raise NotImplementedError

    def _send(self, spec: SourceSpec, pair: Pair, quality: Quality | None) -> None:
        self._around.listener.measured(
            spec.source,
            Measurement(
                link=spec.link,
                local=pair.local.clock,
                remote=pair.remote.clock,
                at=pair.local.at,
                epoch=pair.local.epoch,
                offset=pair.local.at - pair.remote.at,
                # What the window leaves open is to a comparison what the path is to a packet.
                delay=pair.uncertainty,
                noise_s=_PRECISION_S,
                quality=quality,
            ),
        )


class LinkGroup(_PairedClocks):
    """A link between two clocks of this machine; either may follow the other."""

    def __init__(self, around: Surroundings, near: ClockId, far: ClockId, every: Duration) -> None:
        super().__init__(None, around, near, far, every)
        self._forward = _link_spec(near, far)
        self._backward = _link_spec(far, near)

    @property
    def name(self) -> str:
        """What the operator calls it."""
        return f"clocks {self._near} and {self._far}"

    def specs(self) -> tuple[SourceSpec, ...]:
        """One direction each."""
        return self._forward, self._backward

    def _measure(self, pair: Pair) -> None:
        self._send(self._forward, pair, None)
        if self._stale(pair):
            # What was just said had one of the clocks stepped: this pair is of before.
            return
        self._send(self._backward, Pair(pair.remote, pair.local, pair.uncertainty, pair.method), None)


class PhcGroup(_PairedClocks):
    """A hardware clock that something else keeps right, as a reference for another clock."""

    def __init__(self, source: PhcSource, around: Surroundings, clock: ClockId, every: Duration) -> None:
        super().__init__(source, around, clock, ClockId(source.phc), every)
        identity = SourceId(source.title)
        self._spec = SourceSpec(
            source=identity,
            name=source.title,
            link=LinkId(identity),
            clock=clock,
            reference_id=PHC_REFERENCE,
            trusted=source.trust,
            noselect=source.noselect,
            correction=-source.offset,
            stamp_noise_s=_PRECISION_S,
        )

    def specs(self) -> tuple[SourceSpec, ...]:
        """The one source."""
        return (self._spec,)

    def _measure(self, pair: Pair) -> None:
        quality = Quality(
            stratum=0,
            leap=Leap.NONE,
            reference_id=PHC_REFERENCE,
            root_delay=ZERO,
            root_dispersion=ZERO,
            precision_s=_PRECISION_S,
            authenticated=False,
        )
        self._send(self._spec, pair, quality)


def _link_spec(child: ClockId, parent: ClockId) -> SourceSpec:
    identity = SourceId(f"{parent}->{child}")
    return SourceSpec(
        source=identity,
        name=f"clock {parent}",
        link=LinkId(identity),
        clock=child,
        parent=parent,
        stamp_noise_s=_PRECISION_S,
    )
