"""What the NTP server is told: the view, the leap second by vote, the smear; and nothing of a clock that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from group_support import SYSTEM, Stand
from sim_devices_support import CARD, Scene
from sim_support import leap_table

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.config.load import loads
from timesync.config.schema import Config
from timesync.daemon.leap_book import LeapBook, LiveTable
from timesync.daemon.publish import Publisher
from timesync.gnss.leap_vote import Ballot
from timesync.host import ServerCounters, ServerSettings, ServeState
from timesync.ntp.client_log import ClientRecord
from timesync.ntp.v5.bloom import BloomFilter
from timesync.ntp.v5.serving import Scales, Serving
from timesync.servo.view import CoreView, ServoState
from timesync.sim.hardware import Fault, Hardware, PhcHardware
from timesync.wire.ntp5 import Timescale

DECEMBER: Instant[Utc] = Instant.from_ns(1_797_000_000 * 10**9)
"""2026-12-11, in a month that may end with a leap second, while the shipped table is vouched for."""
LAST_DAY: Instant[Utc] = Instant.from_ns(1_798_718_400 * 10**9)
"""2026-12-31 12:00:00."""


REFERENCES = BloomFilter(5)


class Service:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.states: list[ServeState] = []
        self.closed = False

    @property
    def addresses(self) -> Sequence[Endpoint]:
        return [Endpoint("10.0.0.1", 123)]

    def publish(self, state: ServeState) -> None:
        self.states.append(state)

    def counters(self) -> ServerCounters:
        raise AssertionError

    def close(self) -> list[ClientRecord]:
        self.closed = True
        return []


class Bench:
    def __init__(self, extra: str = "", table: LeapTable | None = None, start: Instant[Tai] | None = None) -> None:
        hardware = Hardware(phcs={CARD: PhcHardware(read_noise_s=0.0)})
        self.stand = Stand(Scene(hardware))
        if start is not None:
            # The machine's own idea of the time: what is published goes by that.
            by = start - self.stand.scene.system.exact()
            self.stand.scene.system.step(by)
        self.host = self.stand.scene.host
        self.table = LiveTable.of(table or leap_table())
        self.leaps = LeapBook(self.table)
        self.publisher = Publisher(self.host, self.table, self.leaps, lambda _: None, lambda: REFERENCES)
        self.services: list[Service] = []
        self.refusal: OSError | None = None
        self.host.serve_ntp = self._serve  # type: ignore[method-assign, assignment]
        self.served = SYSTEM
        self.view: CoreView = self.make()
        self.config: Config = loads(
            "clocks: {eth0: {phc: eth0}}\nsources:\n  - ntp: ntp1\n"
            f'serve: {{ntp: {{listen: ["10.0.0.1:123"]{extra}}}}}\n',
            "p.yaml",
        ).config

    def _serve(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        workers: int | None,
        ptp_listen: Sequence[Endpoint],
        clients: Sequence[ClientRecord],
    ) -> Service:
        if self.refusal is not None:
            raise self.refusal
        self.services.append(Service())
        return self.services[-1]

    def make(self, *, stratum: int = 1, clock: ClockId | None = None) -> CoreView:
        return CoreView(
            at=self.host.mono(),
            served=clock or self.served,
            state=ServoState.LOCKED,
            reason="",
            stratum=stratum,
            reference_id=b"PPS\0",
            leap=Leap.NONE,
            root_delay=Duration.from_ns(2_000),
            root_dispersion=Duration.from_ns(7_000),
            dispersion_rate=1e-6,
            reference_time=None,
            sources=(),
            links=(),
            clocks=(),
        )

    def open(self) -> str | None:
        return self.publisher.open(self.config, {}, lambda: self.view)

    @property
    def state(self) -> ServeState:
        return self.services[-1].states[-1]

    def run(self, act: Callable[[], None]) -> None:
        """On a loop, for the alarm."""

        async def story() -> None:
            act()
            self.publisher.close()

        self.stand.scene.run(story())


def test_the_view_is_told_with_the_time_it_is_good_for() -> None:
    bench = Bench()

    def act() -> None:
        assert bench.open() is None
        state = bench.state
        assert (True, Leap.NONE, 1, b"PPS\0") == (state.synchronized, state.leap, state.stratum, state.reference_id)
        assert (Duration.from_ns(2_000), Duration.from_ns(7_000)) == (state.root_delay, state.root_dispersion)
        assert state.at + Duration.from_s(10) == state.valid_until
        assert ("10.0.0.1:123",) == bench.publisher.addresses

    bench.run(act)
    assert bench.services[0].closed
    assert not bench.publisher.running


def test_clients_of_ntpv5_are_told_reference_ids_and_timescales_where_that_is_served() -> None:
    plain = {Timescale.TAI: 37 * 10**9}
    for extra, scales in (
        ("", None),
        (", versions: [4, 5]", Scales(Timescale.UTC, plain)),
        (", versions: [5], leap_smear: 24h", Scales(Timescale.SMEARED, {Timescale.UTC: 0, **plain})),
    ):
        leap = Leap.NONE if "smear" in extra else None
        bench = Bench(extra)

        def act(bench: Bench = bench, scales: Scales | None = scales, leap: Leap | None = leap) -> None:
            bench.open()
            told = bench.state.ntpv5
            expected = None if scales is None else Serving(references=REFERENCES, scales=scales, leap=leap)
            assert expected == told

        bench.run(act)


def test_an_unsynchronized_clock_is_told_as_one() -> None:
    bench = Bench()

    def act() -> None:
        bench.open()
        bench.publisher.publish(bench.make(stratum=16))
        assert (False, Leap.UNKNOWN) == (bench.state.synchronized, bench.state.leap)

    bench.run(act)


def test_nothing_may_be_believed_of_a_clock_that_has_vanished() -> None:
    bench = Bench()

    def act() -> None:
        bench.open()
        card = bench.make(clock=CARD)
        bench.publisher.publish(card)
        assert bench.state.synchronized
        bench.stand.scene.devices.switch(CARD, Fault.UNPLUGGED, on=True)
        bench.publisher.publish(card)
        assert (False, Leap.UNKNOWN, 16) == (bench.state.synchronized, bench.state.leap, bench.state.stratum)
        bench.stand.scene.devices.switch(CARD, Fault.UNPLUGGED, on=False)
        bench.publisher.publish(card)
        assert bench.state.synchronized

    bench.run(act)


def test_a_clock_that_was_never_there_is_not_served_at_all() -> None:
    bench = Bench()
    bench.served = CARD
    bench.view = bench.make()
    bench.stand.scene.devices.switch(CARD, Fault.UNPLUGGED, on=True)

    def act() -> None:
        assert bench.open() is None
        assert [] == bench.services[0].states

    bench.run(act)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "need root or CAP_NET_BIND_SERVICE"),
        (OSError(98, "Address already in use"), "another NTP server runs there"),
        (OSError(99, "Cannot assign requested address"), "Cannot assign requested address"),
    ],
)
def test_a_port_that_cannot_be_had_is_explained_and_the_rest_runs(error: OSError, words: str) -> None:
    bench = Bench()
    bench.refusal = error

    def act() -> None:
        said = bench.open()
        assert said is not None
        assert words in said
        assert "the rest keeps running" in said
        assert not bench.publisher.running
        bench.publisher.publish(bench.view)

    bench.run(act)


def _ballots(*leaps: Leap) -> list[Ballot]:
    return [Ballot(f"s{index}", leap) for index, leap in enumerate(leaps)]


def test_a_leap_second_that_the_majority_announces_is_served_and_told_the_kernel_on_its_day() -> None:
    table = LiveTable.of(replace(leap_table(), expires=Instant[Utc].from_ns(0)))
    book = LeapBook(table)
    december, last_day = table.tai(DECEMBER), table.tai(LAST_DAY)
    (said,) = book.vote(_ballots(Leap.INSERT, Leap.INSERT, Leap.NONE), december)
    assert "two of three sources (s0, s1) announce a leap second" in said
    assert "believed" in said
    assert Leap.INSERT is book.month(december)
    assert (Leap.NONE, 37) == book.today(SYSTEM, december)
    assert [] == book.vote(_ballots(Leap.INSERT, Leap.INSERT, Leap.NONE), last_day), "said once"
    assert (Leap.INSERT, 37) == book.today(SYSTEM, last_day)


def test_a_table_that_is_vouched_for_is_not_outvoted() -> None:
    book = LeapBook(LiveTable.of(leap_table()))
    december = leap_table().tai(DECEMBER)
    book.vote(_ballots(Leap.INSERT, Leap.INSERT, Leap.INSERT), december)
    assert Leap.NONE is book.month(december)
    assert (Leap.NONE, 37) == book.today(SYSTEM, leap_table().tai(LAST_DAY))


def test_a_leap_second_of_the_table_needs_no_vote() -> None:
    table = LiveTable.of(replace(leap_table(), steps=(*leap_table().steps, (1_798_761_600, 38))))
    book = LeapBook(table)
    assert Leap.INSERT is book.month(table.tai(DECEMBER))
    assert (Leap.NONE, 37) == book.today(SYSTEM, table.tai(DECEMBER))
    assert (Leap.INSERT, 37) == book.today(ClockId("other"), table.tai(LAST_DAY))


@pytest.mark.parametrize(("inserted", "sign"), [(38, -1), (36, 1)])
def test_a_smear_is_served_instead_of_an_announcement(inserted: int, sign: int) -> None:
    table = replace(leap_table(), steps=(*leap_table().steps, (1_798_761_600, inserted)))
    six = table.tai(Instant[Utc].from_ns((1_798_761_600 - 6 * 3600) * 10**9))
    bench = Bench(", leap_smear: 24h", table=table, start=six)

    def act() -> None:
        bench.open()
        state = bench.state
        assert Leap.NONE is state.leap
        kernel_ns = bench.table.utc(bench.stand.scene.system.exact()).ns()
        # A quarter of the way: 0.25 s of the whole second are done.
        assert abs((state.serving_map.utc_ns(kernel_ns) - kernel_ns) / 1e9 - sign * 0.25) < 1e-4
        assert state.serving_map.rate == pytest.approx(1 + sign / 86_400, abs=1e-9)

    bench.run(act)


@pytest.mark.parametrize(("inserted", "leap"), [(38, Leap.INSERT), (36, Leap.DELETE)])
def test_who_asks_for_utc_by_ntpv5_during_a_smear_gets_utc(inserted: int, leap: Leap) -> None:
    table = replace(leap_table(), steps=(*leap_table().steps, (1_798_761_600, inserted)))
    six = table.tai(Instant[Utc].from_ns((1_798_761_600 - 6 * 3600) * 10**9))
    bench = Bench(", versions: [5], leap_smear: 24h", table=table, start=six)

    def act() -> None:
        bench.open()
        told = bench.state.ntpv5
        assert told is not None
        assert leap is told.leap
        kernel_ns = bench.table.utc(bench.stand.scene.system.exact()).ns()
        for later_ns in (0, 7 * 10**9):
            smeared_ns = bench.state.serving_map.utc_ns(kernel_ns + later_ns)
            assert abs(smeared_ns - kernel_ns) > 2 * 10**8
            utc_ns = smeared_ns + (told.scales.shift_ns(Timescale.UTC, smeared_ns) or 0)
            tai_ns = smeared_ns + (told.scales.shift_ns(Timescale.TAI, smeared_ns) or 0)
            # The clock's own reading noise.
            assert abs(utc_ns - kernel_ns - later_ns) < 1_000
            assert 37 * 10**9 == tai_ns - utc_ns

    bench.run(act)


def test_without_a_smear_the_same_day_is_announced_and_served_as_it_is() -> None:
    table = replace(leap_table(), steps=(*leap_table().steps, (1_798_761_600, 38)))
    bench = Bench(table=table, start=table.tai(LAST_DAY))

    def act() -> None:
        bench.open()
        assert Leap.INSERT is bench.state.leap
        assert 1.0 == bench.state.serving_map.rate

    bench.run(act)


def test_a_smear_is_published_anew_the_moment_it_begins() -> None:
    table = replace(leap_table(), steps=(*leap_table().steps, (1_798_761_600, 38)))
    begin = table.tai(Instant[Utc].from_ns((1_798_761_600 - 12 * 3600) * 10**9))
    bench = Bench(", leap_smear: 24h", table=table, start=begin - Duration.from_s(1.5))
    rates: list[tuple[float, float]] = []

    async def story() -> None:
        bench.open()
        await asyncio.sleep(3)
        rates.extend(
            ((state.at - bench.services[0].states[0].at).s(), state.serving_map.rate)
            for state in bench.services[0].states
        )
        bench.publisher.close()

    bench.stand.scene.run(story())
    assert [1.0, pytest.approx(1 - 1 / 86_400, abs=1e-9)] == [rate for _, rate in rates]


def test_a_leap_second_by_vote_is_smeared_like_one_of_the_table() -> None:
    expired = replace(leap_table(), expires=Instant[Utc].from_ns(0))
    six = leap_table().tai(Instant[Utc].from_ns((1_798_761_600 - 6 * 3600) * 10**9))
    bench = Bench(", leap_smear: 24h", table=expired, start=six)

    def ahead_s() -> float:
        kernel_ns = bench.table.utc(bench.stand.scene.system.exact()).ns()
        return (bench.state.serving_map.utc_ns(kernel_ns) - kernel_ns) / 1e9

    def act() -> None:
        bench.open()
        assert 0.0 == ahead_s()
        bench.leaps.vote(_ballots(Leap.INSERT, Leap.INSERT, Leap.INSERT), six)
        bench.publisher.publish(bench.view)
        assert abs(ahead_s() + 0.25) < 1e-4
        # Half a smear is not taken back, whatever is announced from then on.
        assert bench.leaps.settle(six) is not None
        bench.leaps.vote(_ballots(Leap.NONE, Leap.NONE, Leap.NONE), six)
        bench.publisher.publish(bench.view)
        assert abs(ahead_s() + 0.25) < 1e-4

    bench.run(act)


def test_a_smear_is_published_anew_when_one_by_vote_begins() -> None:
    expired = replace(leap_table(), expires=Instant[Utc].from_ns(0))
    begin = leap_table().tai(Instant[Utc].from_ns((1_798_761_600 - 12 * 3600) * 10**9))
    bench = Bench(", leap_smear: 24h", table=expired, start=begin - Duration.from_s(1.5))

    async def story() -> None:
        bench.leaps.vote(_ballots(Leap.INSERT, Leap.INSERT), begin - Duration.from_s(1.5))
        bench.open()
        await asyncio.sleep(3)
        bench.publisher.close()

    bench.stand.scene.run(story())
    rates = [state.serving_map.rate for state in bench.services[0].states]
    assert [1.0, pytest.approx(1 - 1 / 86_400, abs=1e-9)] == rates


def test_a_clock_that_has_not_been_there_yet_is_not_served() -> None:
    bench = Bench()
    bench.served = ClockId("eth1")
    bench.view = bench.make()

    def act() -> None:
        assert bench.open() is None
        bench.publisher.publish(bench.view)
        assert [] == bench.services[0].states

    bench.run(act)
