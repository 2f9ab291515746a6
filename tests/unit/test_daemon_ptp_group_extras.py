"""A PTP instance at work on a simulated machine: what of the core comes to be said in the TLVs of its profile."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import pytest
from group_support import Core, Stand
from sim_devices_support import START_S, SYSTEM, Scene

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap
from timesync.base.time import ZERO, Duration
from timesync.config.load import loads
from timesync.daemon.ptp_group import PtpGroup
from timesync.daemon.ptp_quality import Known
from timesync.observe.ptp_instances import instance_object
from timesync.ptp.view import InstanceView
from timesync.servo.view import ServoState, SourceView
from timesync.sim.hardware import Hardware
from timesync.sim.ptp_network import CardModel, PtpSegment
from timesync.transport import PtpPortSpec
from timesync.wire import ptp
from timesync.wire.ptp_message import Announce, Flags, FollowUp, Management, Message, Sync
from timesync.wire.ptp_tlv import AlternateTimeOffset
from timesync.wire.ptp_tlv_profile import PowerProfile2017, SynchronizationMetadata
from timesync.wire.ptp_tlv_read import find

LOCKED = Known(
    state=ServoState.LOCKED,
    primary=True,
    was_locked=True,
    reference_id=b"PPS\0",
    bound_s=80e-9,
    deviation_s=10e-9,
    tai_utc=37,
    tai_utc_known=True,
    leap=Leap.NONE,
)
T = TypeVar("T")


class Knower(Core):
    """A core that says of its clocks what it is told to: set ``claim`` and ``step``."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.claim = LOCKED
        self.step = ZERO

    def claims(self, clock: ClockId) -> Known:
        return self.claim

    def last_step(self, clock: ClockId) -> Duration:
        return self.step

    def seen(self, source: SourceId) -> SourceView | None:
        return None


class Bench:
    """A grandmaster of ours, and an ear on its segment; with a model, its card stamps, by the system clock."""

    def __init__(self, entry: str, transport: str, model: CardModel | None = None, port: str = "") -> None:
        scene = Scene(Hardware())
        self.stand = Stand(scene)
        self.core = Knower(scene)
        segment = PtpSegment(scene.world)
        scene.host.cards["eth0"] = segment.card("host", phc=None if model is None else scene.system, model=model)
        self._ear = segment.card("ear")
        self._scene, self._transport = scene, transport
        self.heard: list[tuple[float, Message]] = []
        text = f"ptp: {{{entry}, role: timeTransmitter, ports: [{{interface: eth0{port}}}]}}\n"
        config = loads(text, "t.yaml").config
        around = replace(self.stand.around, core=self.core)
        self.group = PtpGroup(config, config.ptp_instances[0], around)

    def start(self) -> None:
        spec = PtpPortSpec(interface="eth0", transport=self._transport, clock=SYSTEM, timestamping="software")  # type: ignore[arg-type]  # one of the three
        self._socket = self._ear.open_ptp(spec, self._scene.system, self)
        self.group.start()

    def stop(self) -> None:
        self.group.stop()
        self._socket.close()

    def on_message(self, data: bytes, stamp: object, source: str) -> None:
        self.heard.append((self._scene.world.elapsed.s(), ptp.decode(data)))

    def on_sent(self, token: int, stamp: object) -> None: ...

    def on_link(self, *, up: bool) -> None: ...

    def on_error(self, error: OSError) -> None: ...

    def said(self, message: type[Message], kind: type[T]) -> list[tuple[float, T | None]]:
        """What each message of a type said in a TLV, with its second."""
        return [(at, find(one.tlvs, kind)) for at, one in self.heard if isinstance(one, message)]


def test_the_bound_of_the_core_and_the_time_zone_come_to_be_announced() -> None:
    bench = Bench("profile: power, grandmaster_id: 5, network_inaccuracy: 20ns, alternate_time: [Asia/Tokyo]", "l2")

    def drift() -> None:
        bench.core.claim = replace(LOCKED, state=ServoState.HOLDOVER, bound_s=3e-6)

    bench.stand.play(bench, 12, (6.5, drift))

    power = bench.said(Announce, PowerProfile2017)
    assert {PowerProfile2017(5, 100)} == {one for at, one in power if 2 < at < 6.5}
    # Known within a second, and said with the next Announce.
    assert {PowerProfile2017(5, 3020)} == {one for at, one in power if at > 9}
    (zone,) = {one for _, one in bench.said(Announce, AlternateTimeOffset)}
    assert AlternateTimeOffset(0, 9 * 3600 - 37, 0, 0, "JST") == zone


@pytest.mark.parametrize(
    ("able", "port", "one_step"),
    [(True, ", steps: one-step", True), (False, ", steps: one-step", False), (True, "", False)],
)
def test_one_step_is_sent_where_it_is_wanted_and_the_card_can(*, able: bool, port: str, one_step: bool) -> None:
    bench = Bench("profile: default-e2e", "udp4", CardModel(one_step=able), port)

    bench.stand.play(bench, 8)

    syncs = [one for _, one in bench.heard if isinstance(one, Sync)]
    follow_ups = [one for _, one in bench.heard if isinstance(one, FollowUp)]
    assert len(syncs) >= 3
    assert {not one_step} == {Flags.TWO_STEP in one.header.flags for one in syncs}
    assert one_step == (follow_ups == [])


@pytest.mark.parametrize(
    ("model", "port", "says"),
    [
        (
            None,
            "",
            ["ptp-stamps: ptp port eth0: the kernel stamps: packets of eth0 are not stamped by the clock system"],
        ),
        (None, ", timestamping: software", []),
        (CardModel(), "", []),
    ],
)
def test_why_a_card_does_not_stamp_is_said_once(model: CardModel | None, port: str, says: list[str]) -> None:
    bench = Bench("profile: default-e2e", "udp4", model, port)

    bench.stand.play(bench, 8)

    assert says == [one for one in bench.stand.lines() if one.startswith("ptp-stamps")]


def test_an_instance_shows_its_data_sets_as_soon_as_it_has_an_identity() -> None:
    bench = Bench("profile: default-e2e, domain: 7", "udp4")
    assert bench.group.seen() is None
    shown: list[InstanceView | None] = []

    bench.stand.play(bench, 8, (7.5, lambda: shown.append(bench.group.seen())))

    (view,) = shown
    assert view is not None
    told = instance_object(view)
    # Locked to a primary reference, and followed by itself alone.
    assert (7, 6, 0, ["eth0"]) == tuple(told[key] for key in ("domain", "clock_class", "steps_removed", "ports"))
    assert told["identity"] == told["grandmaster"]["identity"]
    assert (37, True) == tuple(told["time_properties"][key] for key in ("utc_offset_s", "time_traceable"))


def test_studios_are_told_each_second_by_the_clock_that_is_given_out() -> None:
    bench = Bench('profile: smpte, metadata: {frame_rate: 50, daily_jam: "12:00"}', "udp4")

    bench.stand.play(bench, 10)

    said = [one for _, one in bench.said(Management, SynchronizationMetadata) if one is not None]
    assert 8 <= len(said) <= 10
    # The world begins on 2026-01-01 at 00:00:00 UTC.
    noon_s = START_S + 12 * 3600
    assert {(noon_s, noon_s - 86_400, -37, 4)} == {
        (one.next_jam_s, one.previous_jam_s, one.local_offset_s, one.locking_status) for one in said
    }


def test_a_step_of_the_clock_that_is_given_out_is_told_with_its_size() -> None:
    bench = Bench("profile: gptp", "l2")
    bench.core.step = Duration.from_ns(-250_000_000)

    def stepped() -> None:
        bench.group.clock_stepped(SYSTEM)

    def others() -> None:
        bench.core.step = Duration.from_ns(7)
        bench.group.clock_stepped(ClockId("another"))

    bench.stand.play(bench, 3, (1.0, stepped), (2.0, others))

    assert bench.group.instance is not None
    context = bench.group.instance.context
    # Nobody on the segment speaks gPTP, so no Follow_Up left that could be looked at; see test_ptp_extras.
    assert (1, Duration.from_ns(-250_000_000)) == (context.time_base, context.phase_change)
