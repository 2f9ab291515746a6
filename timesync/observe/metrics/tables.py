"""All metrics that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from timesync.observe.metrics.compat_chrony import CHRONY
from timesync.observe.metrics.compat_ntpd_rs import NTPD_RS
from timesync.observe.metrics.compat_openshift import OPENSHIFT
from timesync.observe.metrics.compat_statime import STATIME
from timesync.observe.metrics.own_clocks import APPLIANCE, CLOCKS
from timesync.observe.metrics.own_observer import DAEMON, OBSERVER
from timesync.observe.metrics.own_ptp import PORTS
from timesync.observe.metrics.own_serving import SERVING
from timesync.observe.metrics.own_sources import PULSES, RECEIVERS, SOURCES
from timesync.observe.metrics.table import Described, Scene, families

OWN: Final[Mapping[str, tuple[Described, ...]]] = {
    "The appliance": APPLIANCE,
    "Clocks": CLOCKS,
    "Sources": SOURCES,
    "Pulses": PULSES,
    "Satellite receivers": RECEIVERS,
    "PTP": PORTS,
    "Serving": SERVING,
    "The processes": (*OBSERVER, *DAEMON),
}
"""Those of our own, by chapter."""

COMPAT: Final[Mapping[str, tuple[Described, ...]]] = {
    "chrony": CHRONY,
    "ntpd-rs": NTPD_RS,
    "ptp": (*STATIME, *OPENSHIFT),
}
"""Those of other exporters, as ``observe.metrics.compat`` names them."""

_SILENT: Final = frozenset({"chrony_up"})


class Picture(Collector):
    """What is collected of one scene."""

    def __init__(self, scene: Scene, compat: Collection[str]) -> None:
        """Own metrics, and these others."""
        self._scene = scene
        self._compat = compat

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client. A state that is too old is not shown: only that it is."""
        wanted = [table for name, table in COMPAT.items() if name in self._compat]
        if not self._scene.own.fresh:
            yield from families(OBSERVER, self._scene)
            yield from families((one for table in wanted for one in table if one.name in _SILENT), self._scene)
            return
        for table in (*OWN.values(), *wanted):
            yield from families(table, self._scene)
