"""Faults of the demonstration as a user writes them."""

from __future__ import annotations

import pytest

from timesync.base.time import Duration
from timesync.config.quantity import QuantityError
from timesync.daemon.demo_faults import PlannedFault, ReceiverKind, parse_fault
from timesync.sim.hardware import Fault


@pytest.mark.parametrize(
    ("text", "device", "fault", "at_s", "lasting_s"),
    [
        ("no-fix@20s", "receiver", Fault.NO_FIX, 20, None),
        ("unplug@30s+10s", "receiver", Fault.UNPLUGGED, 30, 10),
        ("wrong_week@0s+1.5s", "receiver", Fault.WRONG_WEEK, 0, 1.5),
        ("receiver:Silent@1min", "receiver", Fault.SILENT, 60, None),
        ("pps:no-pulses@500ms+2s", "pps", Fault.NO_PULSES, 0.5, 2),
        ("nic:unplugged@5s", "nic", Fault.UNPLUGGED, 5, None),
    ],
)
def test_a_fault_has_a_device_a_name_a_start_and_a_length(
    text: str, device: str, fault: Fault, at_s: float, lasting_s: float | None
) -> None:
    lasting = None if lasting_s is None else Duration.from_s(lasting_s)

    assert PlannedFault(device, fault, Duration.from_s(at_s), lasting) == parse_fault(text)


@pytest.mark.parametrize(
    ("text", "says", "suggestion"),
    [
        ("no-fix", "expected a fault and when it begins, such as no-fix@20s+15s", "no-fix@20s"),
        ("no-fix@20", "20 has no unit; expected a duration such as 16s", "no-fix@20s"),
        ("no-fix@20s+5sec", "", "no-fix@20s+5s"),
        ("no-fix@20s+", '"" is not a duration such as 16s', None),
        ("no-fix@-1s", "a fault begins after the start, and lasts", None),
        ("no-fix@1s+0s", "a fault begins after the start, and lasts", None),
        ("nofix@1s", "receiver has no fault 'nofix', only wrong-week, jump, stale, no-fix", "no-fix@1s"),
        ("no@1s", "receiver has no fault 'no', only ", None),
        ("@1s", "receiver has no fault '', only ", None),
        ("pps:no-fix@1s", "pps has no fault 'no-fix', only no-pulses, unplugged", None),
        ("nick:unplugged@1s", "there is no device nick, only receiver, pps, nic", "nic:unplugged@1s"),
    ],
)
def test_what_is_none_is_refused_with_what_there_is(text: str, says: str, suggestion: str | None) -> None:
    with pytest.raises(QuantityError) as refused:
        parse_fault(text)

    assert refused.value.message.startswith(says)
    assert suggestion == refused.value.suggestion


def test_every_fault_has_a_name_that_is_read_again_and_words() -> None:
    read = [parse_fault(f"{fault.value.replace(' ', '-')}@1s") for fault in Fault]

    assert list(Fault) == [one.fault for one in read]
    assert len(Fault) == len({one.words for one in read})


@pytest.mark.parametrize(
    ("text", "kind", "objection"),
    [
        ("false-leap@1s", "nmea", "false-leap needs a receiver of the kind ubx: --receiver ubx"),
        ("gpsd-gone@1s", "ubx", "gpsd-gone needs a receiver of the kind gpsd: --receiver gpsd"),
        ("silent@60s", "nmea", "silent would begin after the end; make --duration longer"),
        ("false-leap@1s", "ubx", None),
        ("gpsd-gone@59s", "gpsd", None),
        ("nic:unplugged@1s", "nmea", None),
    ],
)
def test_a_fault_that_nobody_would_see_is_objected_to(text: str, kind: ReceiverKind, objection: str | None) -> None:
    assert objection == parse_fault(text).objection(kind, Duration.from_s(60))
