"""Which clock is fed by what."""

from __future__ import annotations

from timesync.base.ids import ClockId, SourceId
from timesync.servo.graph import CrossLink, Feed, plan

SYS, PHC0, PHC1 = ClockId("sys"), ClockId("phc0"), ClockId("phc1")
NTP, PTP = SourceId("ntp"), SourceId("ptp")


def _link(child: ClockId, parent: ClockId, noise: float = 1e-8) -> CrossLink:
    return CrossLink(SourceId(f"{child}<{parent}"), child, parent, noise)


BOTH_WAYS = [_link(SYS, PHC0), _link(PHC0, SYS), _link(SYS, PHC1), _link(PHC1, SYS)]


def test_a_boundary_clock_is_a_chain_from_its_reference() -> None:
    feeds = plan({PHC0: (1e-7, (PTP,))}, BOTH_WAYS)
    assert Feed((PTP,), None, 1e-7) == feeds[PHC0]
    assert (PHC0, SYS) == (feeds[SYS].parent, feeds[PHC1].parent)
    assert (SourceId("phc1<sys"),) == feeds[PHC1].sources
    assert 1e-7 + 2e-8 == feeds[PHC1].cost_s


def test_own_references_are_used_unless_the_way_over_a_parent_is_cheaper() -> None:
    cheap = {SYS: (1e-4, (NTP,)), PHC0: (1e-7, (PTP,))}
    assert PHC0 == plan(cheap, BOTH_WAYS)[SYS].parent
    dear = {SYS: (1e-7, (NTP,)), PHC0: (1e-7, (PTP,))}
    assert plan(dear, BOTH_WAYS)[SYS].parent is None
    assert plan(dear, BOTH_WAYS)[PHC0].parent is None


def test_clocks_that_nothing_reaches_have_no_feed() -> None:
    assert {} == plan({}, BOTH_WAYS)
    assert {SYS} == set(plan({SYS: (1.0, (NTP,))}, [_link(SYS, PHC0)]))
