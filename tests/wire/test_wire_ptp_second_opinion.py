"""scapy and tshark read what we encode, for all message types and TLVs that they know."""

from __future__ import annotations

import functools
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from ptp_strategies import MESSAGES, messages

from timesync.base.ids import ALL_PORTS, ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.wire import ptp_management_data as data_sets
from timesync.wire.gptp_tlv import FollowUpInformation, GptpCapable, MessageIntervalRequest
from timesync.wire.ptp import decode, encode
from timesync.wire.ptp_management import ErrorId, ManagementError, ManagementId, with_data
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
from timesync.wire.ptp_tlv import AlternateTimeOffset, PathTrace, UnicastCancel, UnicastGrant, UnicastRequest
from timesync.wire.ptp_tlv_profile import InterfaceRate, PowerProfile2011, PowerProfile2017, SynchronizationMetadata

# -- tshark

A = ClockIdentity(bytes.fromhex("001b19fffe000001"))
PORT = PortIdentity(A, 1)
PEER = PortIdentity(ClockIdentity(bytes.fromhex("001b19fffe000002")), 2)
S = 1_000_000_000


def header(sequence_id: int, **fields: Any) -> Header:
    return Header(source=PORT, sequence_id=sequence_id, **fields)


def managed(tlv: Tlv) -> Message:
    return Management(header=header(7), target=PEER, starting_hops=1, hops=1, action=Action.RESPONSE, tlvs=(tlv,))


def announce(*tlvs: Tlv) -> Message:
    return Announce(
        header=header(7, flags=Flags.PTP_TIMESCALE | Flags.TIME_TRACEABLE, log_interval=1),
        utc_offset=37,
        priority1=101,
        quality=ClockQuality(6, 0x21, 0x4E5D),
        priority2=102,
        grandmaster=A,
        steps_removed=3,
        time_source=0x20,
        tlvs=tlvs,
    )


AT = Instant.from_ns(1_790_000_000 * S + 123_456_789)
SHOWN: list[tuple[Message, dict[str, str]]] = [
    (
        Sync(
            header(7, domain=24, flags=Flags.TWO_STEP | Flags.UNICAST, correction=Duration.from_ns(5), log_interval=-4)
        ),
        {
            "ptp.v2.messagetype": "0x00",
            "ptp.v2.messagelength": "44",
            "ptp.v2.domainnumber": "24",
            "ptp.v2.flags": "0x0600",
            "ptp.v2.correction.ns": "5",
            "ptp.v2.clockidentity": "0x001b19fffe000001",
            "ptp.v2.sourceportid": "1",
            "ptp.v2.sequenceid": "7",
            "ptp.v2.logmessageperiod": "-4",
            "ptp.v2.minorversionptp": "1",
        },
    ),
    (
        FollowUp(header(7), AT),
        {
            "ptp.v2.fu.preciseorigintimestamp.seconds": "1790000000",
            "ptp.v2.fu.preciseorigintimestamp.nanoseconds": "123456789",
        },
    ),
    (DelayReq(header(8), AT), {"ptp.v2.sdr.origintimestamp.nanoseconds": "123456789"}),
    (
        DelayResp(header(8), AT, PEER),
        {
            "ptp.v2.dr.receivetimestamp.nanoseconds": "123456789",
            "ptp.v2.dr.requestingsourceportidentity": "0x001b19fffe000002",
            "ptp.v2.dr.requestingsourceportid": "2",
        },
    ),
    (PdelayReq(header(9)), {"ptp.v2.messagetype": "0x02", "ptp.v2.messagelength": "54"}),
    (
        PdelayResp(header(9, flags=Flags.TWO_STEP), AT, PEER),
        {"ptp.v2.pdrs.requestreceipttimestamp.nanoseconds": "123456789", "ptp.v2.pdrs.requestingsourceportid": "2"},
    ),
    (
        PdelayRespFollowUp(header(9), AT, PEER),
        {"ptp.v2.pdfu.responseorigintimestamp.nanoseconds": "123456789", "ptp.v2.pdfu.requestingsourceportid": "2"},
    ),
    (
        announce(),
        {
            "ptp.v2.flags": "0x0018",
            "ptp.v2.an.origincurrentutcoffset": "37",
            "ptp.v2.an.priority1": "101",
            "ptp.v2.an.grandmasterclockclass": "6",
            "ptp.v2.an.grandmasterclockaccuracy": "0x21",
            "ptp.v2.an.grandmasterclockvariance": "20061",
            "ptp.v2.an.priority2": "102",
            "ptp.v2.an.grandmasterclockidentity": "0x001b19fffe000001",
            "ptp.v2.an.localstepsremoved": "3",
            "ptp.v2.timesource": "0x20",
        },
    ),
    (announce(PathTrace((A,)).to_tlv()), {"ptp.v2.an.pathsequence": "0x001b19fffe000001"}),
    (
        announce(AlternateTimeOffset(3, -3600, 3600, 0x1_0000_0002, "CET").to_tlv()),
        {
            "ptp.v2.an.atoi.keyField": "3",
            "ptp.v2.an.atoi.currentOffset": "-3600",
            "ptp.v2.an.atoi.jumpSeconds": "3600",
            "ptp.v2.an.atoi.timeOfNextJump": "00:01:00:00:00:02",
            "ptp.v2.an.atoi.displayName": "CET",
        },
    ),
    (
        announce(PowerProfile2011(42, 100, 150).to_tlv()),
        {
            "ptp.v2.an.oe.grandmasterID": "42",
            "ptp.v2.an.oe.grandmasterTimeInaccuracy": "100",
            "ptp.v2.an.oe.networkTimeInaccuracy": "150",
        },
    ),
    (
        announce(PowerProfile2017(42, 250).to_tlv()),
        {"ptp.v2.an.oe.grandmasterID": "42", "ptp.v2.an.oe.totalTimeInaccuracy": "250"},
    ),
    (
        FollowUp(header(7, sdo_id=0x100, log_interval=-3), AT, (FollowUpInformation(5, 6, Duration(7), 8).to_tlv(),)),
        {
            "ptp.v2.majorsdoid": "0x01",
            "ptp.as.fu.cumulativeScaledRateOffset": "5",
            "ptp.as.fu.gmTimeBaseIndicator": "6",
            "ptp.as.fu.scaledLastGmFreqChange": "8",
        },
    ),
    (
        Signaling(header(7, sdo_id=0x100), ALL_PORTS, (MessageIntervalRequest(2, 0, 127).to_tlv(),)),
        {
            "ptp.as.sig.tlv.linkdelayinterval": "2",
            "ptp.as.sig.tlv.timesyncinterval": "0",
            "ptp.as.sig.tlv.announceinterval": "127",
        },
    ),
    (
        Signaling(header(7, sdo_id=0x100), ALL_PORTS, (GptpCapable(-2).to_tlv(),)),
        {"ptp.as.sig.tlv.gptpcapablemessageinterval": "-2"},
    ),
    (
        Signaling(header(7), PEER, (UnicastRequest(MessageType.ANNOUNCE, 1, 60).to_tlv(),)),
        {
            "ptp.v2.sig.targetportidentity": "0x001b19fffe000002",
            "ptp.v2.sig.targetportid": "2",
            "ptp.v2.sig.tlv.messageType": "0x0b",
            "ptp.v2.sig.tlv.logInterMessagePeriod": "1",
            "ptp.v2.sig.tlv.durationField": "60",
        },
    ),
    (
        Signaling(
            header(7),
            PEER,
            (UnicastGrant(MessageType.SYNC, -4, 300).to_tlv(), InterfaceRate(10**9, 64, 720).to_tlv()),
        ),
        {
            "ptp.v2.sig.tlv.logInterMessagePeriod": "-4",
            "ptp.v2.sig.tlv.renewalInvited": "1",
            "ptp.as.sig.tlv.interfaceBitPeriod": "0x000000003b9aca00",
            "ptp.as.sig.tlv.numberBitsBeforeTimestamp": "64",
            "ptp.as.sig.tlv.numberBitsAfterTimestamp": "720",
        },
    ),
    (
        Signaling(header(7), PEER, (UnicastCancel(MessageType.SYNC).to_tlv(),)),
        {"ptp.v2.sig.tlv.tlvType": "6"},
    ),
    (
        managed(with_data(ManagementId.PRIORITY1, data_sets.Octet(77))),
        {
            "ptp.v2.mm.action": "2",
            "ptp.v2.mm.managementId": "8197",
            "ptp.v2.mm.priority1": "77",
            "ptp.v2.mm.startingboundaryhops": "1",
        },
    ),
    (
        managed(
            with_data(
                ManagementId.CURRENT_DATA_SET,
                data_sets.CurrentDataSet(2, Duration.from_ns(5), Duration.from_ns(6)),
            )
        ),
        {"ptp.v2.mm.stepsRemoved": "2", "ptp.v2.mm.offset.ns": "5", "ptp.v2.mm.pathDelay.ns": "6"},
    ),
    (
        managed(
            with_data(
                ManagementId.CLOCK_DESCRIPTION,
                data_sets.ClockDescription(
                    clock_type=data_sets.ClockType.BOUNDARY,
                    physical_layer="IEEE 802.3",
                    physical_address=bytes(6),
                    protocol_address=data_sets.PortAddress(1, bytes((192, 0, 2, 1))),
                    product="a;b;c",
                    revision="1;2;3",
                    user="lab",
                    profile=bytes.fromhex("001b19000100"),
                ),
            )
        ),
        {
            "ptp.v2.mm.clockType": "0x4000",
            "ptp.v2.mm.productDescription": "a;b;c",
            "ptp.v2.mm.revisionData": "1;2;3",
            "ptp.v2.mm.userDescription": "lab",
        },
    ),
    (
        managed(ManagementError(ErrorId.NOT_SUPPORTED, ManagementId.TIME, "no").to_tlv()),
        {"ptp.v2.mm.managementErrorId": "6", "ptp.v2.mm.displayData": "no"},
    ),
    (
        Management(
            header=header(7),
            target=ALL_PORTS,
            action=Action.COMMAND,
            tlvs=(
                SynchronizationMetadata(
                    frame_rate=(30_000, 1001), locking_status=4, local_offset_s=-18_037, next_jam_s=5
                ).to_tlv(),
            ),
        ),
        {
            "ptp.v2.oe.smpte.defaultsystemframerate.numerator": "30000",
            "ptp.v2.oe.smpte.defaultsystemframerate.denominator": "1001",
            "ptp.v2.oe.smpte.masterlockingstatus": "4",
            "ptp.v2.oe.smpte.currentlocaloffset": "-18037",
            "ptp.v2.oe.smpte.timeofnextjam": "5",
        },
    ),
]
EXCUSED = {
    "ptp.v2.sync_no_fup",
    "ptp.v2.sync_no_fup_tlv",
    "ptp.v2.fup_without_sync",
    "ptp.v2.pdelay_req_without_resp",
    "ptp.v2.pdelay_resp_without_req",
    "ptp.v2.pdelay_resp_without_fup",
    "ptp.v2.pdelay_fup_without_resp",
}
"""What tshark misses in a file of single messages: their partners."""


@functools.cache
def tshark() -> tuple[str, dict[str, str]] | None:
    """The program and its environment: installed, or unpacked by tests/interop/install-peers.sh."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timesync" / "peers"
    root = Path(os.environ.get("TIMESYNC_PEERS") or cache) / "root"
    libraries = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    for path, environment in (
        (shutil.which("tshark"), dict(os.environ)),
        (shutil.which("tshark", path=str(root / "usr/bin")), {**os.environ, "LD_LIBRARY_PATH": str(libraries)}),
    ):
        if (
            path is not None
            and subprocess.run([path, "-v"], env=environment, capture_output=True, check=False).returncode == 0
        ):
            return path, environment
    return None


def pcap(path: Path, payloads: list[bytes]) -> None:
    """Ethernet frames of type 0x88F7."""
    frames = [bytes.fromhex("011b19000000 020000000001 88f7") + data for data in payloads]
    records = [struct.pack("<IIII", 1, number, len(one), len(one)) + one for number, one in enumerate(frames)]
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + b"".join(records))


def flatten(tree: Any, found: dict[str, list[str]]) -> dict[str, list[str]]:
    """All fields of a dissection by name, whatever they are inside of."""
    for pairs in tree if isinstance(tree, list) else [tree]:
        if isinstance(pairs, dict):
            for name, value in pairs.items():
                if isinstance(value, str):
                    found.setdefault(name, []).append(value)
                else:
                    if isinstance(value, list) and all(isinstance(one, str) for one in value):
                        found.setdefault(name, []).extend(value)
                    found.setdefault(name, [])
                    flatten(value, found)
    return found


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[str]]]:
    """What tshark says of each message in SHOWN."""
    program = tshark()
    if program is None:
        pytest.skip("tshark, the second opinion, is not installed")
    path = tmp_path_factory.mktemp("tshark") / "ours.pcap"
    pcap(path, [encode(message) for message, _ in SHOWN])
    command = [program[0], "-n", "-r", str(path), "-T", "json", "--no-duplicate-keys"]
    run = subprocess.run(command, env=program[1], capture_output=True, check=True, timeout=60)
    return [flatten(packet["_source"]["layers"], {}) for packet in json.loads(run.stdout)]


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_tshark_reads_what_we_encode(dissected: list[dict[str, list[str]]], number: int) -> None:
    _, expected = SHOWN[number]
    found = dissected[number]
    assert expected == {name: found.get(name, ["not there"])[0] for name in expected}


@pytest.mark.parametrize("number", range(len(SHOWN)))
def test_tshark_has_nothing_to_complain_of(dissected: list[dict[str, list[str]]], number: int) -> None:
    found = dissected[number]
    assert "ptp.v2.messagetype" in found
    assert not [name for name in found if "malformed" in name]
    assert len(EXCUSED & found.keys()) == len(found.get("_ws.expert.message", ())), found


def test_tshark_sees_all_message_types() -> None:
    assert set(MESSAGES) == {MessageType(encode(message)[0] & 0xF) for message, _ in SHOWN}


# -- scapy

scapy_ptp: Any = pytest.importorskip("scapy.contrib.ptp_v2", reason="scapy, the second opinion, is not installed")

STAMPS = {
    MessageType.SYNC: "originTimestamp",
    MessageType.DELAY_REQ: "originTimestamp",
    MessageType.PDELAY_REQ: "originTimestamp",
    MessageType.ANNOUNCE: "originTimestamp",
    MessageType.FOLLOW_UP: "preciseOriginTimestamp",
    MessageType.PDELAY_RESP: "requestReceiptTimestamp",
    MessageType.DELAY_RESP: "receiveTimestamp",
    MessageType.PDELAY_RESP_FOLLOW_UP: "responseOriginTimestamp",
}


def our_stamp(message: Message) -> Instant[Any] | None:
    match message:
        case Sync() | DelayReq() | PdelayReq() | Announce():
            return message.origin
        case FollowUp():
            return message.precise_origin
        case DelayResp():
            return message.receive
        case PdelayResp():
            return message.request_receipt
        case PdelayRespFollowUp():
            return message.response_origin
        case _:
            return None


@given(messages)
def test_scapy_reads_the_header_and_the_timestamp_that_we_encode(message: Message) -> None:
    data = encode(message)
    theirs = scapy_ptp.PTP(data)
    ours = message.header
    assert (
        ours.sdo_id >> 8,
        data[0] & 0xF,
        ours.minor_version,
        2,
        len(data),
        ours.domain,
        ours.sdo_id & 0xFF,
        ours.correction.scaled_ns & 0xFFFF_FFFF_FFFF_FFFF,
        int.from_bytes(ours.source.clock, "big"),
        ours.source.port,
        ours.sequence_id,
        ours.log_interval & 0xFF,
    ) == (
        theirs.transportSpecific,
        theirs.messageType,
        theirs.reserved1,
        theirs.version,
        theirs.messageLength,
        theirs.domainNumber,
        theirs.reserved2,
        theirs.correctionField & 0xFFFF_FFFF_FFFF_FFFF,
        theirs.clockIdentity,
        theirs.portNumber,
        theirs.sequenceId,
        theirs.logMessageInterval & 0xFF,
    )
    stamp = our_stamp(message)
    if stamp is not None:
        name = STAMPS[MessageType(data[0] & 0xF)]
        seconds, nanoseconds = getattr(theirs, f"{name}_seconds"), getattr(theirs, f"{name}_nanoseconds")
        assert stamp == Instant.from_ns(seconds * S + nanoseconds)


@given(MESSAGES[MessageType.ANNOUNCE])
def test_scapy_reads_the_announce_that_we_encode(message: Message) -> None:
    assert isinstance(message, Announce)
    theirs = scapy_ptp.PTP(encode(message))
    assert (
        message.utc_offset & 0xFFFF,
        message.priority1,
        message.quality,
        message.priority2,
        int.from_bytes(message.grandmaster, "big"),
        message.steps_removed,
        message.time_source,
    ) == (
        theirs.currentUtcOffset & 0xFFFF,
        theirs.grandmasterPriority1,
        ClockQuality(theirs.grandmasterClockClass, theirs.grandmasterClockAccuracy, theirs.grandmasterClockVariance),
        theirs.grandmasterPriority2,
        theirs.grandmasterIdentity,
        theirs.stepsRemoved,
        theirs.timeSource,
    )


def test_we_read_what_scapy_builds() -> None:
    built = scapy_ptp.PTP(
        transportSpecific=1,
        messageType=0xB,
        domainNumber=24,
        flags=0x0800,
        clockIdentity=int.from_bytes(A, "big"),
        portNumber=3,
        sequenceId=9,
        logMessageInterval=1,
        currentUtcOffset=37,
        grandmasterPriority1=1,
        grandmasterClockClass=6,
        grandmasterClockAccuracy=0x21,
        grandmasterClockVariance=0x4E5D,
        grandmasterPriority2=2,
        grandmasterIdentity=int.from_bytes(A, "big"),
        stepsRemoved=4,
        timeSource=0x20,
    )
    expected = Announce(
        header=Header(
            source=PortIdentity(A, 3),
            sequence_id=9,
            domain=24,
            sdo_id=0x100,
            log_interval=1,
            minor_version=0,
        ),
        utc_offset=37,
        priority1=1,
        quality=ClockQuality(6, 0x21, 0x4E5D),
        priority2=2,
        grandmaster=A,
        steps_removed=4,
        time_source=0x20,
    )
    # 0x0800 is a reserved bit of flagField: scapy names the octets of it the other way round.
    assert expected == decode(bytes(built))
