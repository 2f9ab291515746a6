"""The data sets and what the decisions write into them (IEEE 1588-2019, tables 30 and 33)."""

from __future__ import annotations

from bmca_support import OWN, announce, identity, instance_settings, port_of, port_settings

from timesync.base.ids import PortIdentity
from timesync.ptp.datasets import (
    LONGEST_PATH,
    CurrentDS,
    DataSets,
    DefaultDS,
    ParentDS,
    TimePropertiesDS,
    announced,
    as_grandmaster,
    as_time_receiver,
    path_of,
)
from timesync.ptp.settings import InstanceSettings, LocalQuality
from timesync.wire.ptp_message import Announce, ClockQuality, Flags, Header, Tlv

GNSS = LocalQuality(
    quality=ClockQuality(6, 0x21, 0x4E5D),
    utc_offset=37,
    utc_offset_valid=True,
    leap59=True,
    time_traceable=True,
    frequency_traceable=True,
    time_source=0x20,
    synchronized=True,
)


def default(local: LocalQuality = GNSS) -> DefaultDS:
    settings = InstanceSettings(
        identity=identity(OWN),
        domain=24,
        sdo_id=0x100,
        priority1=100,
        priority2=101,
        local_priority=102,
        maximum_steps_removed=9,
        ports=(port_settings(1), port_settings(2)),
    )
    return DefaultDS.of(settings, local)


def test_the_default_data_set_is_what_is_configured_and_what_the_clock_may_claim() -> None:
    assert (
        DefaultDS(
            clock_identity=identity(OWN),
            number_ports=2,
            quality=ClockQuality(6, 0x21, 0x4E5D),
            priority1=100,
            priority2=101,
            domain=24,
            sdo_id=0x100,
            time_receiver_only=False,
            local_priority=102,
            max_steps_removed=9,
        )
        == default()
    )


def test_a_receiver_only_clock_has_class_255_whatever_it_may_claim() -> None:
    data = DefaultDS.of(instance_settings(port_settings(), slave_only=True), GNSS)

    assert ClockQuality(255, 0x21, 0x4E5D) == data.quality
    assert data.time_receiver_only


def test_m1_and_m2_make_the_clock_its_own_parent_with_port_number_0() -> None:
    sets = as_grandmaster(default(), GNSS)

    assert 0 == sets.current.steps_removed
    assert (
        ParentDS(
            parent=port_of(OWN, 0),
            grandmaster=identity(OWN),
            quality=ClockQuality(6, 0x21, 0x4E5D),
            priority1=100,
            priority2=101,
        )
        == sets.parent
    )
    assert (
        TimePropertiesDS(
            utc_offset=37,
            utc_offset_valid=True,
            leap61=False,
            leap59=True,
            ptp_timescale=True,
            time_traceable=True,
            frequency_traceable=True,
            time_source=0x20,
        )
        == sets.time_properties
    )
    assert () == sets.path


def test_s1_takes_over_what_the_parent_announces_and_counts_one_step_more() -> None:
    message = announce(
        port_of(7, 3),
        grandmaster=5,
        steps=2,
        priority1=1,
        clock_class=7,
        accuracy=0x22,
        variance=3,
        priority2=4,
        flags=Flags.LEAP_61 | Flags.PTP_TIMESCALE,
        path=(5, 6, 7),
    )

    assert DataSets(
        current=CurrentDS(steps_removed=3),
        parent=ParentDS(
            parent=port_of(7, 3),
            grandmaster=identity(5),
            quality=ClockQuality(7, 0x22, 3),
            priority1=1,
            priority2=4,
        ),
        time_properties=TimePropertiesDS(
            utc_offset=37,
            utc_offset_valid=False,
            leap61=True,
            leap59=False,
            ptp_timescale=True,
            time_traceable=False,
            frequency_traceable=False,
            time_source=0xA0,
        ),
        path=(identity(5), identity(6), identity(7)),
    ) == as_time_receiver(message)


def test_each_flag_of_the_time_properties_goes_through_an_announce_unchanged() -> None:
    for flag in (
        Flags.LEAP_61,
        Flags.LEAP_59,
        Flags.UTC_OFFSET_VALID,
        Flags.PTP_TIMESCALE,
        Flags.TIME_TRACEABLE,
        Flags.FREQUENCY_TRACEABLE,
    ):
        assert flag == TimePropertiesDS.announced(announce(7, flags=flag)).flags()


def passed_on(message: Announce, *, path_trace: bool) -> Announce:
    """What a boundary clock announces that follows the sender of a message."""
    header = Header(source=PortIdentity(identity(OWN), 2), sequence_id=77, domain=24, flags=Flags.UNICAST)
    return announced(as_time_receiver(message), header, path_trace=path_trace)


def test_a_boundary_clock_announces_its_grandmaster_one_step_further() -> None:
    message = announce(7, grandmaster=5, steps=2, priority1=1, clock_class=7, flags=Flags.PTP_TIMESCALE, path=(5, 7))

    sent = passed_on(message, path_trace=True)

    assert (identity(5), 3, 1, 7) == (sent.grandmaster, sent.steps_removed, sent.priority1, sent.quality.clock_class)
    assert Flags.UNICAST | Flags.PTP_TIMESCALE == sent.header.flags
    assert (port_of(OWN, 2), 77, 24) == (sent.header.source, sent.header.sequence_id, sent.header.domain)
    assert (Tlv(0x0008, identity(5) + identity(7) + identity(OWN)),) == sent.tlvs


def test_no_path_is_sent_unless_it_is_asked_for() -> None:
    assert () == passed_on(announce(7, path=(7,)), path_trace=False).tlvs


def test_a_path_too_long_for_a_frame_is_left_out() -> None:
    longest = passed_on(announce(7, path=tuple(range(1, LONGEST_PATH))), path_trace=True)
    longer = passed_on(announce(7, path=tuple(range(1, LONGEST_PATH + 1))), path_trace=True)

    assert LONGEST_PATH == len(path_of(longest))
    assert () == longer.tlvs


def with_tlvs(*tlvs: Tlv) -> Announce:
    return Announce(header=announce(7).header, grandmaster=identity(7), tlvs=tlvs)


def test_a_path_trace_of_broken_length_tells_nothing() -> None:
    assert () == path_of(with_tlvs(Tlv(8, identity(1) + b"\x00\x00")))


def test_tlvs_that_are_to_propagate_are_passed_on_and_no_others() -> None:
    """14.2.2.2, table 52: 0x4000 to 0x7FFF and the alternate time offset propagate, 0x0003 and 0x8000 do not."""
    offset, unknown = Tlv(0x0009, b"\x00" * 20), Tlv(0x7000, b"ab")
    message = with_tlvs(Tlv(0x0003, b"xx"), offset, Tlv(0x0008, identity(7)), unknown, Tlv(0x8000, b"xx"))

    assert (offset, unknown) == passed_on(message, path_trace=False).tlvs
    assert (Tlv(0x0008, identity(7) + identity(OWN)), offset, unknown) == passed_on(message, path_trace=True).tlvs


def test_a_grandmaster_passes_on_nothing_of_a_former_parent() -> None:
    assert () == as_grandmaster(default(), GNSS).propagated


def test_tlvs_that_do_not_fit_into_a_frame_are_left_out() -> None:
    small, large = Tlv(0x7000, b"ab"), Tlv(0x7001, b"x" * 1432)

    assert (small,) == passed_on(with_tlvs(small, large), path_trace=False).tlvs
    assert (large,) == passed_on(with_tlvs(large, small), path_trace=False).tlvs
