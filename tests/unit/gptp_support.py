"""Time-aware systems on links: what the tests of gPTP have in common."""

from __future__ import annotations

from ptp_support import Clock, Net, Node, Path, grandmaster, identity, port_settings

from timesync.base.ids import ClockId
from timesync.base.time import Duration
from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Intervals
from timesync.wire import ptp
from timesync.wire.ptp_message import Message, MessageType

INTERVALS = Intervals(announce=0, sync=-3, delay=0)


def system(number: int, *, ports: int = 1, bmca: Bmca = Bmca.GPTP, **changes: object) -> InstanceSettings:
    """A time-aware system: with several ports a bridge, whose ports share one clock."""
    ours = {
        name: changes.pop(name) for name in tuple(changes) if name in ("domain", "priority1", "slave_only", "relay")
    }
    port = {
        "mechanism": DelayMechanism.P2P,
        "intervals": INTERVALS,
        "sync_receipt_timeout": 3,
        "neighbor_threshold": Duration.from_ns(800_000),
        "clock": ClockId("local"),
        **changes,
    }
    return InstanceSettings(
        identity=identity(number),
        sdo_id=0x100,
        bmca=bmca,
        gptp=True,
        path_trace=bmca is Bmca.GPTP,
        **{"priority1": 248, "relay": ports > 1, **ours},  # type: ignore[arg-type]  # the tests' own keywords
        ports=tuple(port_settings(one, **port) for one in range(1, ports + 1)),
    )


def two(net: Net, there: Path | None = None, back: Path | None = None) -> tuple[Node, Node]:
    """A grandmaster and an endpoint."""
    first = net.node(system(1, priority1=100), quality=grandmaster())
    last = net.node(system(2), Clock(0.1, 3e-5))
    net.link(first, 1, last, 1, there, back)
    return first, last


def sent(node: Node, kind: MessageType, port: int = 1) -> list[tuple[float, Message]]:
    """What left by a port: when, in seconds, and what."""
    return [(at / 1e9, ptp.decode(data)) for at, by, data in node.sent if by == port and data[0] & 0x0F == kind]


def errors_s(node: Node, since_s: float = 0.0) -> list[float]:
    """How far its measured offsets are from the true ones."""
    return [
        measurement.offset.s() - node.clock.ahead_s - node.clock.rate * at / 1e9
        for at, measurement in node.measurements
        if at >= since_s * 1e9
    ]
