"""Two clocks read together: links in both directions, and a hardware clock as a reference."""

from __future__ import annotations

from functools import partial

import pytest
from group_support import SYSTEM, Stand
from sim_devices_support import CARD, Scene, one_card

from timesync.base.ids import SourceId
from timesync.base.measure import Measurement
from timesync.base.time import Duration
from timesync.config.sources import PhcSource
from timesync.daemon.pair_group import LinkGroup, PhcGroup
from timesync.sim.hardware import Fault

FORWARD, BACKWARD = SourceId("system->eth0"), SourceId("eth0->system")
EVERY = Duration.from_ns(250_000_000)


def _stand(offset_s: float = 3.0) -> Stand:
    return Stand(Scene(one_card(offset=Duration.from_s(offset_s), read_noise_s=0.0)))


def test_one_reading_serves_both_directions_with_the_sign_turned() -> None:
    stand = _stand()
    stand.play(LinkGroup(stand.around, CARD, SYSTEM, EVERY), 10.1)
    assert {FORWARD, BACKWARD} == set(stand.added) == set(stand.removed)
    assert 41 * 2 == len(stand.heard)
    for (_, first, one), (_, second, other) in zip(stand.heard[::2], stand.heard[1::2], strict=True):
        assert (FORWARD, BACKWARD) == (first, second)
        assert (CARD, SYSTEM) == (one.local, one.remote)
        assert (SYSTEM, CARD) == (other.local, other.remote)
        assert one.offset == -other.offset
        assert abs(one.offset.s() - 3.0) < 2e-6
        assert one.quality is None, "of a clock of this machine only the core knows the quality"
        assert one.delay is not None
        assert one.delay.s() < 5e-6


def test_a_pair_that_one_direction_has_made_stale_is_not_used_for_the_other() -> None:
    """The core steps the card at once on what it hears: what was read before is of another epoch then."""
    stand = _stand(-86_400.0)
    stepped: list[int] = []

    def hear(source: SourceId, measurement: Measurement) -> None:
        if source == FORWARD and not stepped:
            stepped.append(len(stand.heard))
            stand.scene.cards[CARD].step(-measurement.offset)

    keep = stand.around.listener.measured
    listener = stand.around.listener.__class__(
        stand.around.listener.added,
        stand.around.listener.removed,
        lambda source, m: (keep(source, m), hear(source, m))[0],
        stand.around.listener.status,
        stand.around.listener.note,
    )
    around = stand.around.__class__(stand.around.host, stand.around.leap_table, listener, stand.core)
    stand.play(LinkGroup(around, CARD, SYSTEM, EVERY), 5.1)
    assert 1 == len(stepped)
    backward = [m for _, source, m in stand.heard if source == BACKWARD]
    assert all(abs(m.offset.s()) < 1e-3 for m in backward)
    assert 1 == len([m for _, source, m in stand.heard if source == FORWARD and abs(m.offset.s()) > 1])


def test_a_card_that_vanishes_is_said_once_and_comes_back() -> None:
    stand = _stand()
    group = LinkGroup(stand.around, CARD, SYSTEM, EVERY)
    switch = partial(stand.scene.devices.switch, CARD, Fault.UNPLUGGED)
    stand.play(group, 30.1, (10.1, partial(switch, on=True)), (20.1, partial(switch, on=False)))
    assert ["device-lost", "device-back"] == [note.name for note in stand.notes]
    assert stand.notes[0].text.startswith("clocks eth0 and system: cannot be compared: eth0 is gone")
    assert not [at for at, _, _ in stand.heard if 10.2 < at < 20.1]
    assert max(at for at, _, _ in stand.heard) > 29
    reaches = [(status.source, status.reach > 0) for status in stand.statuses]
    assert [
        (FORWARD, True),
        (BACKWARD, True),
        (FORWARD, False),
        (BACKWARD, False),
        (FORWARD, True),
        (BACKWARD, True),
    ] == reaches


def test_pairs_of_an_epoch_that_the_core_has_not_noticed_wait_for_it() -> None:
    stand = _stand()
    noticed = stand.core.epoch
    stand.core.epoch = lambda clock: 7 if clock == CARD else noticed(clock)  # type: ignore[method-assign]
    group = LinkGroup(stand.around, CARD, SYSTEM, EVERY)
    stand.play(group, 2.1)
    assert [] == stand.heard
    assert group.facts()[FORWARD].drops["epoch"] > 5


@pytest.mark.parametrize("every_s", [0.1, 1.0])
def test_a_card_that_something_else_keeps_right_is_a_reference_of_its_own(every_s: float) -> None:
    stand = _stand(0.0)
    source = PhcSource.model_validate({"phc": "eth0", "offset": "1us"})
    group = PhcGroup(source, stand.around, SYSTEM, Duration.from_s(every_s))
    stand.play(group, 10.05)
    assert ["phc:eth0"] == stand.added
    assert round(10 / every_s) + 1 == len(stand.heard)
    for _, identity, m in stand.heard:
        assert SourceId("phc:eth0") == identity
        assert (SYSTEM, CARD) == (m.local, m.remote)
        assert m.quality is not None
        assert (0, b"PHC\0") == (m.quality.stratum, m.quality.reference_id)
        assert abs(m.offset.s()) < 2e-6
    assert {"method": "extended"} == group.facts()[SourceId("phc:eth0")].details
