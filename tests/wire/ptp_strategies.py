"""Hypothesis strategies for PTP messages and TLVs; every field over its whole range."""

from __future__ import annotations

from hypothesis import strategies as st

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.wire import csptp_tlv as csptp
from timesync.wire import gptp_tlv as gptp
from timesync.wire import ptp_tlv as ptp
from timesync.wire import ptp_tlv_profile as profile
from timesync.wire.ptp_management import ManagementError, ManagementTlv
from timesync.wire.ptp_message import (
    Action,
    Announce,
    ClockQuality,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Management,
    Message,
    MessageType,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
    Tlv,
)
from timesync.wire.ptp_tlv_read import TypedTlv

u8 = st.integers(0, 0xFF)
i8 = st.integers(-0x80, 0x7F)
u16 = st.integers(0, 0xFFFF)
i16 = st.integers(-0x8000, 0x7FFF)
u32 = st.integers(0, 0xFFFF_FFFF)
i32 = st.integers(-(1 << 31), (1 << 31) - 1)
u48 = st.integers(0, (1 << 48) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
identities = st.binary(min_size=8, max_size=8).map(ClockIdentity)
ports = st.builds(PortIdentity, identities, u16)
qualities = st.builds(ClockQuality, u8, u8, u16)
instants = st.builds(lambda s, ns: Instant.from_ns(s * 1_000_000_000 + ns), u48, st.integers(0, 999_999_999))
durations = st.builds(Duration, i64)
even_octets = st.binary(max_size=40).filter(lambda value: len(value) % 2 == 0)
texts = st.text(max_size=20).filter(lambda text: len(text.encode()) <= 255)
booleans = st.booleans()


@st.composite
def flags(draw: st.DrawFn) -> Flags:
    """Any set of known flags."""
    return Flags(sum(draw(st.sets(st.sampled_from(list(Flags))))))


headers = st.builds(
    Header,
    source=ports,
    sequence_id=u16,
    domain=u8,
    sdo_id=st.integers(0, 0xFFF),
    flags=flags(),
    correction=durations,
    log_interval=i8,
    minor_version=st.integers(0, 15),
    message_specific=u32,
)

unknown_tlvs = st.builds(Tlv, u16, even_octets)
chains = st.lists(unknown_tlvs, max_size=3).map(tuple)

MESSAGES: dict[MessageType, st.SearchStrategy[Message]] = {
    MessageType.SYNC: st.builds(Sync, headers, instants, chains),
    MessageType.DELAY_REQ: st.builds(DelayReq, headers, instants, chains),
    MessageType.PDELAY_REQ: st.builds(PdelayReq, headers, instants, chains),
    MessageType.PDELAY_RESP: st.builds(PdelayResp, headers, instants, ports, chains),
    MessageType.FOLLOW_UP: st.builds(FollowUp, headers, instants, chains),
    MessageType.DELAY_RESP: st.builds(DelayResp, headers, instants, ports, chains),
    MessageType.PDELAY_RESP_FOLLOW_UP: st.builds(PdelayRespFollowUp, headers, instants, ports, chains),
    MessageType.ANNOUNCE: st.builds(
        Announce,
        header=headers,
        origin=instants,
        utc_offset=i16,
        priority1=u8,
        quality=qualities,
        priority2=u8,
        grandmaster=identities,
        steps_removed=u16,
        time_source=u8,
        tlvs=chains,
    ),
    MessageType.SIGNALING: st.builds(Signaling, headers, ports, chains),
    MessageType.MANAGEMENT: st.builds(
        Management,
        header=headers,
        target=ports,
        starting_hops=u8,
        hops=u8,
        action=st.sampled_from(Action),
        tlvs=chains,
    ),
}
messages: st.SearchStrategy[Message] = st.one_of(*MESSAGES.values())

types = st.sampled_from(MessageType)
typed_tlvs: st.SearchStrategy[TypedTlv] = st.one_of(
    st.builds(ptp.PathTrace, st.lists(identities, max_size=5).map(tuple)),
    st.builds(
        ptp.Organization,
        st.sampled_from(sorted(ptp.ORGANIZATION_KINDS)),
        st.just(b"\x08\x00\x30"),
        st.integers(0, (1 << 24) - 1),
        even_octets,
    ),
    st.builds(ptp.UnicastRequest, types, i8, u32),
    st.builds(ptp.UnicastGrant, types, i8, u32, booleans),
    st.builds(ptp.UnicastCancel, types, booleans, booleans, booleans),
    st.builds(ptp.AlternateTimeOffset, u8, i32, i32, u48, texts),
    st.builds(
        ptp.Authentication,
        u8,
        u32,
        st.binary(min_size=2, max_size=40),
        st.integers(0, 7).map(ptp.SecurityIndicator),
    ),
    st.builds(ptp.Pad, st.integers(0, 100).map(lambda half: 2 * half)),
    st.builds(profile.PowerProfile2011, u16, u32, u32),
    st.builds(profile.PowerProfile2017, u16, u32),
    st.builds(
        profile.SynchronizationMetadata,
        frame_rate=st.tuples(u32, u32),
        locking_status=u8,
        address_flags=st.integers(0, 3).map(profile.TimeAddressFlags),
        local_offset_s=i32,
        jump_s=i32,
        next_jump_s=u48,
        next_jam_s=u48,
        previous_jam_s=u48,
        previous_jam_offset_s=i32,
        daylight_saving=st.integers(0, 7).map(profile.DaylightSaving),
        leap_second_jump=booleans,
    ),
    st.builds(profile.InterfaceRate, st.integers(0, (1 << 64) - 1), u16, u16),
    st.builds(gptp.FollowUpInformation, i32, u16, st.integers(-(1 << 95), (1 << 95) - 1).map(Duration), i32),
    st.builds(gptp.MessageIntervalRequest, i8, i8, i8, st.integers(0, 7).map(gptp.IntervalFlags)),
    st.builds(gptp.GptpCapable, i8, u8),
    st.builds(gptp.GptpCapableIntervalRequest, i8),
    st.builds(csptp.CsptpRequest, booleans, booleans),
    st.builds(csptp.CsptpResponse, instants, durations),
    st.builds(
        csptp.CsptpStatus,
        priority1=u8,
        quality=qualities,
        priority2=u8,
        steps_removed=u16,
        utc_offset=i16,
        grandmaster=identities,
    ),
    st.builds(ManagementTlv, u16, even_octets),
    st.builds(ManagementError, u16, u16, texts),
)
