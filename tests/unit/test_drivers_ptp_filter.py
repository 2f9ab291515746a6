"""Which setting of a card stamps PTP and takes nothing from its other users (``linux/net_tstamp.h``)."""

from __future__ import annotations

import errno

import pytest

from timesync_drivers import nic, ptp_filter
from timesync_drivers.nic import HARDWARE, Setting, Stamping
from timesync_drivers.ptp_filter import PtpClaim, UdpClaim, covers, widened

OFF, ON, ONE_STEP, ONE_STEP_P2P = range(4)
NONE, ALL, V1, L4, L2, EVENT, NTP = 0, 1, 3, 6, 9, 12, 15


def card(*filters: int, tx: tuple[int, ...] = (OFF, ON)) -> Stamping:
    return Stamping(HARDWARE, 0, sum(1 << kind for kind in tx), sum(1 << kind for kind in filters))


@pytest.mark.parametrize(
    ("present", "filters", "ethernet", "expected"),
    [
        (NONE, (NONE, ALL, L4, L2, EVENT), True, EVENT),
        (NONE, (NONE, ALL, L4, L2), True, L2),
        (NONE, (NONE, ALL, L4, L2), False, L4),
        (NONE, (NONE, ALL), True, ALL),
        (ALL, (NONE, ALL, EVENT), False, ALL),
        (EVENT, (NONE, ALL, EVENT), True, EVENT),
        (L4, (NONE, L4, L2, EVENT), True, EVENT),
        (L4, (NONE, L4, L2, ALL), True, ALL),
        (L4, (NONE, L4, L2), False, L4),
        (NTP, (NONE, NTP, EVENT, ALL), True, ALL),
        (V1, (NONE, V1, EVENT, ALL), False, ALL),
    ],
)
def test_the_filter_is_as_narrow_as_it_may_be(
    present: int,
    filters: tuple[int, ...],
    ethernet: bool,
    expected: int,
) -> None:
    found = widened(Setting(0, OFF, present), card(*filters), ethernet=ethernet, one_step=False)
    assert found == Setting(0, ON, expected)


@pytest.mark.parametrize(
    ("present", "filters", "code"),
    [(NTP, (NONE, NTP, EVENT), errno.EBUSY), (L4, (NONE, L4, L2), errno.EBUSY), (NONE, (NONE, L4), errno.EOPNOTSUPP)],
)
def test_what_the_card_cannot_do_is_told(present: int, filters: tuple[int, ...], code: int) -> None:
    with pytest.raises(OSError, match=r"card") as caught:
        widened(Setting(0, ON, present), card(*filters), ethernet=True, one_step=False)
    assert code == caught.value.errno


def test_one_step_is_taken_only_where_it_is_asked_for_and_there() -> None:
    able = card(EVENT, tx=(OFF, ON, ONE_STEP))
    for present in (None, Setting(0, ONE_STEP, EVENT)):
        assert widened(present, able, ethernet=True, one_step=True).tx_type == ONE_STEP
        # Without stamps of Sync a two-step port could not live: one-step is switched off.
        assert widened(present, able, ethernet=True, one_step=False).tx_type == ON
    assert widened(None, card(EVENT, tx=(OFF, ON, ONE_STEP_P2P)), ethernet=True, one_step=True).tx_type == ONE_STEP_P2P
    assert widened(None, card(EVENT), ethernet=True, one_step=True).tx_type == ON


def test_the_flags_of_others_stay() -> None:
    assert widened(Setting(1, ON, ALL), card(ALL), ethernet=True, one_step=False) == Setting(1, ON, ALL)


def test_filters_cover_what_the_kernel_says_they_do() -> None:
    assert all(covers(ALL, kind) for kind in range(16))
    assert [kind for kind in range(16) if covers(EVENT, kind)] == [0, *range(6, 15)]
    assert [kind for kind in range(16) if covers(NTP, kind)] == [0, NTP]


class Driver:
    """A card's driver with the settings that were made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, present: Setting | None) -> None:
        self.present = present
        self.known = present is not None
        self.takes: int | None = None
        self.made: list[Setting] = []
        for module in (ptp_filter, nic):
            monkeypatch.setattr(module, "setting", self.get)
            monkeypatch.setattr(module, "change", self.set)

    def get(self, interface: str) -> Setting | None:
        assert interface == "eth7"
        return self.present if self.known else None

    def set(self, interface: str, wanted: Setting) -> Setting:
        assert interface == "eth7"
        self.made.append(wanted)
        rx_filter = wanted.rx_filter if self.takes is None or not wanted.rx_filter else self.takes
        self.present = Setting(wanted.flags, wanted.tx_type, rx_filter)
        return self.present


def test_a_claim_widens_for_each_transport_and_puts_back_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    claim = PtpClaim("eth7", card(L4, L2, ALL))
    claim.need(ethernet=True, one_step=False)
    assert driver.present == Setting(0, ON, L2)
    claim.need(ethernet=False, one_step=False)
    assert driver.present == Setting(0, ON, ALL)
    claim.need(ethernet=True, one_step=False)
    assert len(driver.made) == 2
    claim.release()
    assert driver.present == Setting(0, OFF, NONE)


def test_a_claim_leaves_what_somebody_else_has_set_since(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    claim = PtpClaim("eth7", card(EVENT, ALL))
    claim.need(ethernet=True, one_step=False)
    driver.present = Setting(0, ON, ALL)
    claim.release()
    assert driver.present == Setting(0, ON, ALL)


def test_a_claim_sets_the_card_again_when_it_was_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, ON, NTP))
    claim = PtpClaim("eth7", card(EVENT, NTP, ALL))
    claim.need(ethernet=True, one_step=False)
    assert not claim.renew()
    driver.present = Setting(0, OFF, NONE)
    assert claim.renew()
    assert driver.present == Setting(0, ON, EVENT)
    claim.release()
    assert driver.present == Setting(0, OFF, NONE)


def test_a_wider_filter_than_asked_for_is_taken_and_a_narrower_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    driver.takes = ALL
    PtpClaim("eth7", card(EVENT)).need(ethernet=True, one_step=False)
    assert driver.present == Setting(0, ON, ALL)

    driver.present, driver.takes = Setting(0, OFF, NONE), L4
    with pytest.raises(OSError, match="took 6"):
        PtpClaim("eth7", card(EVENT)).need(ethernet=True, one_step=False)
    assert driver.present == Setting(0, OFF, NONE)


def test_a_driver_that_does_not_tell_is_set_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, None)
    claim = PtpClaim("eth7", card(EVENT, tx=(OFF, ON, ONE_STEP)))
    claim.need(ethernet=True, one_step=True)
    assert claim.one_step
    assert not claim.renew()
    claim.release()
    assert driver.made == [Setting(0, ONE_STEP, EVENT)]


# --- for NTP over PTP


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (None, Setting(0, ON, EVENT)),
        (Setting(0, OFF, NONE), Setting(0, ON, EVENT)),
        (Setting(1, ON, L2), Setting(1, ON, EVENT)),
        (Setting(0, OFF, ALL), Setting(0, ON, ALL)),
        # Some port of PTP needs it so.
        (Setting(0, ONE_STEP, L2), Setting(0, ONE_STEP, EVENT)),
    ],
)
def test_a_claim_over_udp_sets_what_is_missing_and_puts_it_back(
    present: Setting | None, expected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(monkeypatch, present)
    claim = UdpClaim("eth7", card(L4, L2, EVENT))
    assert expected == driver.present
    claim.release()
    assert (present or expected) == driver.present


def test_a_claim_over_udp_leaves_the_transmit_type_to_a_port_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, OFF, NONE))
    able = card(EVENT, tx=(OFF, ON, ONE_STEP))
    claim, port = UdpClaim("eth7", able), PtpClaim("eth7", able)
    port.need(ethernet=False, one_step=True)
    for _ in range(2):
        assert not claim.renew(), "it holds"
        assert not port.renew()
    assert [Setting(0, ON, EVENT), Setting(0, ONE_STEP, EVENT)] == driver.made
    driver.present = Setting(0, ONE_STEP, NONE)
    assert claim.renew()
    assert Setting(0, ONE_STEP, EVENT) == driver.present


def test_a_claim_over_udp_takes_no_filter_from_others_and_believes_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(monkeypatch, Setting(0, ON, NTP))
    with pytest.raises(OSError, match="stamp other packets") as caught:
        UdpClaim("eth7", card(NTP, EVENT))
    assert errno.EBUSY == caught.value.errno
    driver.present, driver.takes = Setting(0, ON, NONE), L2
    with pytest.raises(OSError, match="asked for filter 12, took 9"):
        UdpClaim("eth7", card(EVENT))
    assert Setting(0, ON, NONE) == driver.present


@pytest.mark.parametrize(
    ("filters", "every", "over_udp"),
    [((ALL,), True, True), ((EVENT,), False, True), ((L4,), False, True), ((L2, NTP), False, False)],
)
def test_what_a_card_says_it_stamps(filters: tuple[int, ...], every: bool, over_udp: bool) -> None:
    assert (every, over_udp) == (card(*filters).every_packet, card(*filters).ptp_over_udp)
