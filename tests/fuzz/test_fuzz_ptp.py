"""A short run of the PTP fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import random

import fuzz_ptp
from targets import fuzz

from timesync.wire.error import WireError
from timesync.wire.ptp import decode
from timesync.wire.ptp_message import MessageType, Tlv
from timesync.wire.ptp_tlv_read import read


def test_the_codec_raises_wire_error_or_returns() -> None:
    count = 10_000
    refused = fuzz(fuzz_ptp.CODEC, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


def test_noise_does_no_harm() -> None:
    assert fuzz(fuzz_ptp.NOISE, 5_000, seed=1) > 0


def test_tlvs_raise_wire_error_or_return() -> None:
    count = 20_000
    refused = fuzz(fuzz_ptp.TLV, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


def test_the_fuzzer_reaches_all_messages_and_tlvs() -> None:
    """Else the runs above would prove little."""
    rng = random.Random(1)
    messages = set()
    for _ in range(1_000):
        try:
            messages.add(type(decode(fuzz_ptp.message(rng))).__name__)
        except WireError:
            continue
    tlvs = set()
    for _ in range(30_000):
        data = fuzz_ptp.tlv(rng)
        try:
            tlvs.add(type(read(Tlv(int.from_bytes(data[:2], "big"), data[2:]))).__name__)
        except WireError:
            continue
    assert len(MessageType) == len(messages)
    assert {
        "PathTrace",
        "Organization",
        "UnicastRequest",
        "UnicastGrant",
        "UnicastCancel",
        "AlternateTimeOffset",
        "Authentication",
        "Pad",
        "PowerProfile2011",
        "PowerProfile2017",
        "SynchronizationMetadata",
        "InterfaceRate",
        "FollowUpInformation",
        "MessageIntervalRequest",
        "GptpCapable",
        "GptpCapableIntervalRequest",
        "CsptpRequest",
        "CsptpResponse",
        "CsptpStatus",
        "ManagementTlv",
        "ManagementError",
        "Tlv",
    } <= tlvs
