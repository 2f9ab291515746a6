"""A source over PTP and the server that speaks it, in simulated time: the daemon's own code on both sides."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest
from ntp_server_support import state
from sim_support import INSTANT, STILL, leap_table, make_host

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Measurement, SourceStatus
from timesync.base.time import Duration
from timesync.config.sources import NtpSource
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.ntp.server import ServerCounters, ServerSettings
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.world import World

SYSTEM = ClockId("system")
AT = "192.0.2.7"
SECONDS = 60


def ask(domain: int, **entry: object) -> tuple[list[Measurement], ServerCounters, SourceStatus, Mapping[str, object]]:
    """What a source measures in a minute, what the server counted, and what is known of the source."""
    world = World(1)
    network = Network(world)
    host = make_host(world, network)
    node = network.node("server", AT)
    network.connect(host.node, node, STILL)
    server = SimHost(world, node, [host.system], INSTANT)
    found: list[Measurement] = []
    core: Any = None  # NTP asks the core nothing
    listener = Listener(
        lambda _: None, lambda _: None, lambda _, one: found.append(one), lambda _: None, lambda _: None
    )
    source = NtpSource.model_validate({"ntp": AT, "poll": ["1s", "1s"], **entry})
    group = NtpGroup(source, SYSTEM, Surroundings(host, leap_table(), listener, core), {})

    async def story() -> tuple[ServerCounters, SourceStatus, Mapping[str, object]]:
        settings = ServerSettings(allow=(ip_network("0.0.0.0/0"),), ptp_domain=domain)
        service = server.serve_ntp(settings, [Endpoint(AT, 123)], None, [Endpoint(AT, 319)])
        service.publish(
            state(
                at=host.mono(),
                valid_until=host.mono() + Duration.from_s(1000),
                serving_map=host.system.serving_map(),
                epoch=host.system.epoch,
            )
        )
        group.start()
        await asyncio.sleep(SECONDS)
        (asked,) = group.servers.values()
        status = asked.client.status()
        (facts,) = group.facts().values()
        group.stop()
        service.close()
        return service.counters(), status, facts.details

    return found, *run(world, story(), host.system)


def test_a_source_over_ptp_measures_as_one_of_plain_ntp() -> None:
    plain, counted, status, told = ask(123)
    over_ptp, carried, status_too, told_too = ask(123, transport="ptp")
    assert (0, counted.answered) == (counted.over_ptp, counted.received)
    assert carried.over_ptp == carried.answered == carried.received == counted.received > SECONDS / 2
    assert carried.interleaved > 0
    assert (status.sent, status.received) == (status_too.sent, status_too.received)
    assert "over_ptp" not in told
    assert "organization" == told_too["over_ptp"]
    assert len(plain) == len(over_ptp)
    assert [abs(one.offset.ns()) < 100 for one in over_ptp] == [True] * len(over_ptp)


@pytest.mark.parametrize("domain", [0, 124])
def test_another_domain_is_not_answered(domain: int) -> None:
    found, counted, _, told = ask(domain, transport="ptp")
    assert ([], None) == (found, told["over_ptp"])
    assert 0 < counted.bad == counted.received
    found, counted, _, _ = ask(domain, transport="ptp", ptp_domain=domain)
    assert found
    assert 0 == counted.bad


def test_plain_ntp_on_the_port_of_ptp_is_not_answered() -> None:
    found, counted, _, _ = ask(123, ntp=f"{AT}:319")
    assert [] == found
    assert 0 < counted.bad == counted.received
