"""First time without a right clock: what may be believed until the time is known, and what becomes of it then."""

from __future__ import annotations

from tls_support import NOW, at_day

from timesync.base.time import Instant
from timesync.nts.bootstrap import Provisional, date_floor
from timesync.nts.certificates import Validity

BUILT = at_day(-300)
SOURCE = Provisional("time.example.org", Validity(at_day(-10), at_day(80)), BUILT)


def test_dates_are_put_off_only_while_the_clock_was_never_right() -> None:
    assert BUILT == date_floor(known=False, built=BUILT, saved=None)
    assert None is date_floor(known=True, built=BUILT, saved=None)
    assert None is date_floor(known=False, built=BUILT, saved=None, allowed=False)


def test_the_floor_is_the_latest_time_that_this_machine_knows_of() -> None:
    assert at_day(-1) == date_floor(known=False, built=BUILT, saved=at_day(-1))
    # A saved time from before an update of the program.
    assert BUILT == date_floor(known=False, built=BUILT, saved=at_day(-400))


def test_a_server_whose_time_is_outside_its_own_certificate_is_refused() -> None:
    assert None is SOURCE.refused(NOW)
    for told in (at_day(-11), at_day(81), Instant(0)):
        assert SOURCE.refused(told) is not None
    early = SOURCE.refused(at_day(-301))
    assert early is not None
    assert "says that it is 2025-11-24" in early


def test_a_source_is_verified_once_the_time_is_known() -> None:
    assert None is SOURCE.verified(NOW)


def test_a_source_that_fails_then_is_dropped_with_a_sentence() -> None:
    expired = SOURCE.verified(at_day(81))
    assert expired is not None
    assert expired.startswith("the certificate of time.example.org expired on 2026-12-10")
    assert expired.endswith("and is dropped")
