"""Whose time it is that is measured and given on: TAI, what is announced as ARB, and what nobody announces."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ptp_support import Clock, Net, grandmaster, identity, port_settings

from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Intervals, LocalQuality, Role

AHEAD_S = 0.1
ARB = replace(grandmaster(248), ptp_timescale=False)


def settings(number: int, *, ports: int = 1, slave_only: bool = False) -> InstanceSettings:
    return InstanceSettings(
        identity=identity(number),
        slave_only=slave_only,
        ports=tuple(port_settings(one) for one in range(1, ports + 1)),
    )


@pytest.mark.parametrize("quality", [grandmaster(), ARB], ids=["TAI", "ARB"])
def test_a_boundary_clock_gives_on_the_timescale_that_it_announces(quality: LocalQuality) -> None:
    net = Net()
    top = net.node(settings(1), quality=quality)
    middle = net.node(settings(2, ports=2))
    bottom = net.node(settings(3, slave_only=True), Clock(AHEAD_S))
    net.link(top, 1, middle, 1)
    net.link(middle, 2, bottom, 1)
    net.start()
    net.run(60)
    assert quality.ptp_timescale is bottom.instance.view().sets.time_properties.ptp_timescale
    assert {True} == {abs(one.offset.s()) < 1e-9 for _, one in middle.measurements}
    assert {True} == {abs(one.offset.s() - AHEAD_S) < 1e-9 for _, one in bottom.measurements}


def test_without_announce_the_time_is_tai_and_its_quality_unknown_whatever_we_claim_ourselves() -> None:
    net = Net()

    def fixed(number: int, role: Role) -> InstanceSettings:
        port = port_settings(role=role, intervals=Intervals(announce=None, sync=-3, delay=0))
        return InstanceSettings(
            identity=identity(number), bmca=Bmca.NONE, slave_only=role is Role.TIME_RECEIVER, ports=(port,)
        )

    leader = net.node(fixed(1, Role.TIME_TRANSMITTER), quality=grandmaster())
    follower = net.node(fixed(2, Role.TIME_RECEIVER), Clock(AHEAD_S))
    net.link(leader, 1, follower, 1)
    net.start()
    for claim in (ARB, grandmaster()):
        net.perform(follower, follower.instance.set_quality(claim, net.mono()))
        net.run(10)
    found = [one for _, one in follower.measurements]
    assert len(found) >= 10
    assert {True} == {abs(one.offset.s() - AHEAD_S) < 1e-9 for one in found}
    assert {(10, 1e-3)} == {
        (one.quality.stratum, round(one.quality.root_dispersion.s(), 9)) for one in found if one.quality is not None
    }


def test_a_link_stays_capable_while_a_clock_slews() -> None:
    net = Net()

    def system(number: int) -> InstanceSettings:
        port = port_settings(mechanism=DelayMechanism.P2P, intervals=Intervals(announce=0, sync=-3, delay=0))
        return InstanceSettings(identity=identity(number), sdo_id=0x100, gptp=True, bmca=Bmca.GPTP, ports=(port,))

    leader = net.node(system(1), quality=grandmaster())
    follower = net.node(system(2), Clock(AHEAD_S, rate=5e-3))
    net.link(leader, 1, follower, 1)
    net.start()
    net.run(10)
    assert follower.instance.view().ports[0].as_capable
    assert leader.instance.view().ports[0].as_capable
