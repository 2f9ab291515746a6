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
from timesync.ntp.server import Reply, Server, ServerCounters, ServerSettings
from timesync.sim.host import SimHost
from timesync.sim.law import DelayLaw, Exactly, Normal
from timesync.sim.loop import run
from timesync.sim.network import Network, Path, Switch
from timesync.sim.world import World

SYSTEM = ClockId("system")
AT = "192.0.2.7"
SECONDS = 60


QUEUES = Normal(230e-6, 15e-6)
"""Of a switch, on the way to the server; there are none on the way back."""


def ask(
    domain: int, *, there: Path = STILL, back: Path | None = None, **entry: object
) -> tuple[list[Measurement], ServerCounters, SourceStatus, Mapping[str, object]]:
    """What a source measures in a minute, what the server counted, and what is known of the source."""
    world = World(1)
    network = Network(world)
    host = make_host(world, network)
    node = network.node("server", AT)
    network.connect(host.node, node, there, back)
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


def way(queues: DelayLaw, *, transparent: bool, cable_ns: int = 5_000) -> Path:
    """A cable and a switch."""
    return Path(base=Duration.from_ns(cable_ns), jitter=Exactly(), switch=Switch(queues, transparent=transparent))


@pytest.mark.parametrize(("interleaved", "cable_ns"), [("never", 5_000), ("always", 5_000), ("always", 300_000_000)])
def test_what_transparent_clocks_say_takes_the_queues_out(interleaved: str, cable_ns: int) -> None:
    """Queues of 230 us there and 100 us back are an error of 65 us to who does not know of them.

    With the long cable an interleaved sample has the stamps of the present request and of the answer before.
    """
    errors: list[list[int]] = []
    for transparent in (False, True):
        there = way(QUEUES, transparent=transparent, cable_ns=cable_ns)
        back = way(Exactly(100e-6), transparent=transparent, cable_ns=cable_ns)
        found, counted, _, _ = ask(123, there=there, back=back, transport="ptp", interleaved=interleaved)
        assert counted.answered > SECONDS / 2
        assert (counted.interleaved > 0) is (interleaved == "always")
        errors.append([one.offset.ns() for one in found])
        delays = [one.delay.ns() for one in found if one.delay is not None]
        # The bound of the error does not get smaller by what nobody vouches for.
        bounds = [delay + one.quality.root_delay.ns() // 2 for delay, one in zip(delays, found, strict=True)]
        assert min(bounds) > cable_ns + 130_000
        assert (max(delays) < cable_ns + 100) is transparent
    plain, corrected = errors
    assert len(plain) == len(corrected) > SECONDS / 2
    assert -95_000 < min(plain) < sum(plain) / len(plain) < -60_000
    assert max(abs(error) for error in corrected) < 20


def test_one_direction_alone_is_left_as_it_is() -> None:
    there, back = way(Exactly(50e-6), transparent=True), way(Exactly(0.0), transparent=True)
    found, _, _, _ = ask(123, there=there, back=back, transport="ptp", interleaved="never")
    assert {-25} == {round(one.offset.ns() / 1000) for one in found}


def test_version_3_has_no_field_for_it_and_is_answered_all_the_same() -> None:
    there, back = way(Exactly(50e-6), transparent=True), way(Exactly(10e-6), transparent=True)
    found, counted, _, _ = ask(123, there=there, back=back, transport="ptp", version=3)
    assert counted.version_3 == counted.answered > 0
    assert {-20} == {round(one.offset.ns() / 1000) for one in found}


@pytest.mark.parametrize("knows", [False, True])
def test_a_server_that_knows_nothing_of_transparent_clocks_gets_short_requests(
    knows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    respond = Server.respond

    def heard(self: Server, request: bytes, *others: Any) -> Reply | None:
        sizes.append(len(request))
        return respond(self, request, *(others if knows else others[:-1]))

    monkeypatch.setattr(Server, "respond", heard)
    ask(123, transport="ptp")
    assert [76] * (len(sizes) if knows else 4) + [48] * (0 if knows else len(sizes) - 4) == sizes
