"""Messages of ptp4l, read by hand against the figures of clause 13, and what its TLVs and management data say."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from ptp_captures import MANAGEMENT, MESSAGES, SECRETS, UDP6_SYNC

from timesync.base.ids import ALL_PORTS, ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.wire import ptp_management_data as data_sets
from timesync.wire import ptp_management_np as np
from timesync.wire.error import WireError
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp import decode, encode, icv_input, set_icv
from timesync.wire.ptp_management import (
    ErrorId,
    ManagementData,
    ManagementError,
    ManagementId,
    ManagementTlv,
    read_data,
    with_data,
)
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
from timesync.wire.ptp_tlv import (
    AlternateTimeOffset,
    Authentication,
    PathTrace,
    UnicastGrant,
    UnicastRequest,
)
from timesync.wire.ptp_tlv_profile import InterfaceRate, PowerProfile2011, PowerProfile2017
from timesync.wire.ptp_tlv_read import TypedTlv, read

GM = ClockIdentity(bytes.fromhex("020000fffe00000a"))
CLIENT = ClockIdentity(bytes.fromhex("020000fffe00000b"))
GM_PORT = PortIdentity(GM, 1)
CLIENT_PORT = PortIdentity(CLIENT, 1)
DEFAULTS = ClockQuality(248, 0xFE, 0xFFFF)
S = 1_000_000_000

READ: dict[str, Message] = {
    "UDPv4 E2E, Sync": Sync(Header(source=GM_PORT, sequence_id=0x12, flags=Flags.TWO_STEP, log_interval=-1)),
    "UDPv4 E2E, Delay_Req": DelayReq(Header(source=CLIENT_PORT, sequence_id=9)),
    "UDPv4 E2E, Follow_Up": FollowUp(
        Header(source=GM_PORT, sequence_id=0x12, log_interval=-1), Instant.from_ns(0x6B0150BE * S + 0x264A6E9D)
    ),
    "UDPv4 E2E, Delay_Resp": DelayResp(
        Header(source=GM_PORT, sequence_id=9, log_interval=0), Instant.from_ns(0x6B0150BE * S + 0x22C13963), CLIENT_PORT
    ),
    "UDPv4 E2E, Announce": Announce(
        header=Header(source=GM_PORT, sequence_id=9, log_interval=0), quality=DEFAULTS, grandmaster=GM
    ),
    "2008, Follow_Up": FollowUp(
        Header(source=GM_PORT, sequence_id=0x10, log_interval=-1, minor_version=0),
        Instant.from_ns(0x6B0150CC * S + 0x28EFFB9E),
    ),
    "UDPv4 P2P, Pdelay_Req": PdelayReq(Header(source=CLIENT_PORT, sequence_id=6)),
    "UDPv4 P2P, Pdelay_Resp": PdelayResp(
        Header(source=GM_PORT, sequence_id=6, flags=Flags.TWO_STEP),
        Instant.from_ns(0x6B01503C * S + 0x17E596EB),
        CLIENT_PORT,
    ),
    "UDPv4 P2P, Pdelay_Resp_Follow_Up": PdelayRespFollowUp(
        Header(source=GM_PORT, sequence_id=6), Instant.from_ns(0x6B01503C * S + 0x17E6153E), CLIENT_PORT
    ),
    "gPTP, Sync": Sync(Header(source=GM_PORT, sequence_id=0x2E, sdo_id=0x100, flags=Flags.TWO_STEP, log_interval=-3)),
    "gPTP, Pdelay_Req": PdelayReq(Header(source=GM_PORT, sequence_id=7, sdo_id=0x100, log_interval=0)),
    "unicast, Sync": Sync(
        Header(source=GM_PORT, sequence_id=8, flags=Flags.TWO_STEP | Flags.UNICAST, log_interval=0x7F)
    ),
    "unicast, first request": Signaling(
        Header(source=CLIENT_PORT, sequence_id=0, flags=Flags.UNICAST),
        ALL_PORTS,
        (Tlv(4, bytes.fromhex("b0010000003c")),),
    ),
    "ptp4l, RESPONSE NULL_MANAGEMENT": Management(
        header=Header(source=CLIENT_PORT, sequence_id=0),
        target=GM_PORT,
        starting_hops=1,
        hops=1,
        action=Action.RESPONSE,
        tlvs=(Tlv(1, b"\0\0"),),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_message_says_what_the_standard_says(name: str) -> None:
    assert READ[name] == decode(bytes.fromhex(MESSAGES[name]))


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_encoded_to_the_octets_that_ptp4l_sent(name: str) -> None:
    """Also ``controlField``, which the two editions fill differently, and reserved octets."""
    data = bytes.fromhex(MESSAGES[name])
    assert data == encode(decode(data))


def test_the_octets_after_a_message_over_udp6_are_padding() -> None:
    data = bytes.fromhex(UDP6_SYNC)
    message = decode(data)
    assert isinstance(message, Sync)
    assert data == encode(message, pad=2)


TLVS: dict[str, tuple[TypedTlv, ...]] = {
    "L2 with path trace, Announce": (PathTrace((GM,)),),
    "gPTP, Follow_Up": (FollowUpInformation(),),
    "gPTP, Announce": (PathTrace((GM,)),),
    "unicast, first request": (UnicastRequest(MessageType.ANNOUNCE, 1, 60),),
    "unicast, three requests": (
        UnicastRequest(MessageType.ANNOUNCE, 1, 60),
        UnicastRequest(MessageType.SYNC, 0, 60),
        UnicastRequest(MessageType.DELAY_RESP, 0, 60),
    ),
    "unicast, grant with interface rate": (
        UnicastGrant(MessageType.DELAY_RESP, 0, 60, renewal_invited=True),
        InterfaceRate(bit_period_as=100_000_000, bits_before=64, bits_after=720),
    ),
    "C37.238-2011, Announce": (PowerProfile2011(42, 100, 150),),
    "C37.238-2017, Announce": (PowerProfile2017(42, 250),),
    "alternate time offset, Announce": (PathTrace((GM,)), AlternateTimeOffset(3, 3600 - 37, 0, 0, "Berlin")),
    "pmc, GET NULL_MANAGEMENT": (ManagementTlv(0),),
}


@pytest.mark.parametrize("name", TLVS)
def test_a_tlv_says_what_ptp4l_was_told(name: str) -> None:
    tlvs = decode(bytes.fromhex(MESSAGES[name])).tlvs
    assert TLVS[name] == tuple(map(read, tlvs))
    assert tlvs == tuple(one.to_tlv() for one in TLVS[name])


def code(name: str, data: bytes, size: int) -> bytes:
    """The ICV, by an implementation that is not ours."""
    secret = bytes.fromhex(SECRETS[name])
    if name.startswith("HMAC"):
        return hmac.digest(secret, data, hashlib.sha256)[:size]
    cmac = CMAC(AES(secret))
    cmac.update(data)
    return cmac.finalize()


SEALED = [name for name in MESSAGES if name.partition(",")[0] in SECRETS]


def test_there_are_sealed_messages() -> None:
    assert {"HMAC-SHA256-128", "AES-CMAC-128"} == {name.partition(",")[0] for name in SEALED}


@pytest.mark.parametrize("name", SEALED)
def test_the_icv_covers_what_comes_before_it(name: str) -> None:
    data = bytes.fromhex(MESSAGES[name])
    algorithm, _, _ = name.partition(",")
    authentication = read(decode(data).tlvs[-1])
    assert isinstance(authentication, Authentication)
    assert (0 if algorithm.startswith("HMAC") else 1, 1, 16) == (
        authentication.spp,
        authentication.key_id,
        len(authentication.rest),
    )
    # Two octets more stand for what annex D puts behind a message.
    assert authentication.rest == code(algorithm, icv_input(data + b"\0\0", 16), 16)
    blank = data[:-16] + bytes(16)
    assert data + b"\1\2" == set_icv(blank + b"\1\2", authentication.rest)


def test_a_correction_that_may_change_is_read_as_zero() -> None:
    data = bytes.fromhex(MESSAGES["HMAC-SHA256-128, Sync"])
    changed = data[:8] + b"\1" * 8 + data[16:]
    assert icv_input(data, 16) == icv_input(changed, 16, mutable_correction=True)
    assert icv_input(data, 16) != icv_input(changed, 16)


def test_an_icv_needs_room() -> None:
    data = bytes.fromhex(MESSAGES["UDPv4 E2E, Sync"])
    with pytest.raises(WireError, match="no room"):
        icv_input(data, 11)
    with pytest.raises(WireError, match="in 20 octets"):
        set_icv(data[:20], bytes(4))


DATA: dict[ManagementId, ManagementData] = {
    ManagementId.NULL_MANAGEMENT: data_sets.Empty(),
    ManagementId.CLOCK_DESCRIPTION: data_sets.ClockDescription(
        clock_type=data_sets.ClockType.ORDINARY,
        physical_layer="IEEE 802.3",
        physical_address=bytes.fromhex("02000000000b"),
        protocol_address=data_sets.PortAddress(data_sets.NetworkProtocol.UDP_IPV4, bytes((10, 9, 0, 2))),
        profile=bytes.fromhex("001b19000100"),
    ),
    ManagementId.USER_DESCRIPTION: data_sets.Text("lab clock"),
    ManagementId.DEFAULT_DATA_SET: data_sets.DefaultDataSet(
        flags=data_sets.DefaultFlags.TWO_STEP | data_sets.DefaultFlags.TIME_RECEIVER_ONLY,
        number_ports=1,
        priority1=128,
        quality=ClockQuality(255, 0xFE, 0xFFFF),
        priority2=128,
        clock=CLIENT,
        domain=0,
    ),
    ManagementId.CURRENT_DATA_SET: data_sets.CurrentDataSet(1, Duration.from_ns(-773), Duration.from_ns(2095)),
    ManagementId.PARENT_DATA_SET: data_sets.ParentDataSet(
        parent=GM_PORT, priority1=128, quality=DEFAULTS, priority2=128, grandmaster=GM
    ),
    ManagementId.TIME_PROPERTIES_DATA_SET: data_sets.TimePropertiesDataSet(37, Flags(0), 0xA0),
    ManagementId.PORT_DATA_SET: data_sets.PortDataSet(
        port=CLIENT_PORT,
        state=8,
        log_min_delay_req=0,
        mean_link_delay=Duration(0),
        log_announce=1,
        announce_receipt_timeout=3,
        log_sync=0,
        delay_mechanism=1,
        log_min_pdelay_req=0,
    ),
    ManagementId.PRIORITY1: data_sets.Octet(128),
    ManagementId.LOG_ANNOUNCE_INTERVAL: data_sets.SignedOctet(1),
    ManagementId.DELAY_MECHANISM: data_sets.Octet(1),
    ManagementId.ALTERNATE_TIME_OFFSET_NAME: data_sets.AlternateTimeOffsetName(0, ""),
    ManagementId.ALTERNATE_TIME_OFFSET_PROPERTIES: data_sets.AlternateTimeOffsetProperties(0, 0, 0, 0),
    ManagementId.TIME_STATUS_NP: np.TimeStatus(
        offset_ns=-835, ingress_ns=0x18EA00FFB574BF85, grandmaster_present=True, grandmaster=GM
    ),
    ManagementId.GRANDMASTER_SETTINGS_NP: np.GrandmasterSettings(ClockQuality(255, 0xFE, 0xFFFF), 37, Flags(0), 0xA0),
    ManagementId.PORT_DATA_SET_NP: np.PortDataSetNp(20_000_000, as_capable=True),
    ManagementId.SUBSCRIBE_EVENTS_NP: np.SubscribeEvents.of(60, np.Event.PORT_STATE, np.Event.TIME_SYNC),
    ManagementId.PORT_PROPERTIES_NP: np.PortProperties(CLIENT_PORT, 8, np.PortTimestamping.SOFTWARE, "veth1"),
    ManagementId.PORT_STATS_NP: np.PortStats(
        CLIENT_PORT,
        received=(94, 0, 0, 0, 0, 0, 0, 0, 94, 46, 0, 73, 6, 0, 0, 0),
        sent=(0, 46, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0),
    ),
    ManagementId.SYNCHRONIZATION_UNCERTAIN_NP: data_sets.Octet(0xFF),
    ManagementId.PORT_SERVICE_STATS_NP: np.PortServiceStats(
        port=CLIENT_PORT, delay_timeout=47, unicast_request_timeout=52
    ),
    ManagementId.UNICAST_MASTER_TABLE_NP: np.UnicastTable(
        (
            np.UnicastTimeTransmitter(
                port=GM_PORT,
                quality=DEFAULTS,
                selected=True,
                state=3,
                priority1=128,
                priority2=128,
                address=data_sets.PortAddress(data_sets.NetworkProtocol.UDP_IPV4, bytes((10, 9, 0, 1))),
            ),
        )
    ),
    ManagementId.PORT_HWCLOCK_NP: np.PortHardwareClock(CLIENT_PORT, -1),
    ManagementId.POWER_PROFILE_SETTINGS_NP: np.PowerProfileSettings(2, 42, 0xFFFF_FFFF, 0xFFFF_FFFF, 250),
    ManagementId.CMLDS_INFO_NP: np.CmldsInfo(Duration(0), 0, as_capable=True),
    ManagementId.PORT_CORRECTIONS_NP: np.PortCorrections(Duration.from_ns(5), Duration.from_ns(7), Duration(0)),
    ManagementId.EXTERNAL_GRANDMASTER_PROPERTIES_NP: np.ExternalGrandmaster(ClockIdentity(bytes(8)), 0),
}


def tlv_of(name: str) -> Tlv:
    data = bytes.fromhex(MANAGEMENT[name])
    assert len(data) == 4 + int.from_bytes(data[2:4], "big")
    return Tlv(int.from_bytes(data[:2], "big"), data[4:])


@pytest.mark.parametrize("id_", DATA, ids=lambda id_: id_.name)
def test_management_data_says_what_ptp4l_says(id_: ManagementId) -> None:
    tlv = tlv_of(id_.name)
    managed = read(tlv)
    assert isinstance(managed, ManagementTlv)
    assert (id_, DATA[id_]) == (managed.id, read_data(managed))
    assert tlv == with_data(id_, DATA[id_])


def test_every_capture_of_management_is_looked_at() -> None:
    assert set(MANAGEMENT) == {id_.name for id_ in DATA} | {"error, no such id", "error, TIME"}


def test_management_errors_say_what_and_why() -> None:
    expected = ManagementError(ErrorId.NO_SUCH_ID, 0xCFFF)
    tlv = tlv_of("error, no such id")
    assert expected == read(tlv)
    assert tlv == expected.to_tlv()
    assert ManagementError(ErrorId.NOT_SUPPORTED, ManagementId.TIME) == read(tlv_of("error, TIME"))
