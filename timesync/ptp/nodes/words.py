"""What PTP talkers are and say, in words: qualities, roles, and which profile they seem to follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from timesync.ptp.nodes.talker import Talker
from timesync.wire.gptp_tlv import FOLLOW_UP_INFORMATION, GPTP_CAPABLE
from timesync.wire.ptp_message import Flags, MessageType
from timesync.wire.ptp_tlv_profile import INTERFACE_RATE, POWER_2011, POWER_2017, SYNCHRONIZATION_METADATA

GPTP_SDO, CMLDS_SDO, CSPTP_SDO = 0x1, 0x2, 0x3
"""``majorSdoId`` (802.1AS-2020, 8.1; the last by the draft of IEEE 1588.1)."""
UNKNOWN_VARIANCE = 0xFFFF

_CLASSES = {
    6: "locked to a primary reference",
    7: "in holdover, still within its specification",
    13: "locked to an application-specific time",
    14: "in holdover from an application-specific time, still within its specification",
    52: "in holdover, beyond its specification (degradation A)",
    58: "in holdover from an application-specific time, beyond its specification (degradation A)",
    135: "telecom boundary clock in holdover",
    140: "telecom, in holdover beyond its specification (category 1)",
    150: "telecom, in holdover beyond its specification (category 2)",
    160: "telecom, in holdover beyond its specification (category 3)",
    165: "telecom boundary clock in holdover beyond its specification",
    187: "in holdover, beyond its specification (degradation B)",
    193: "in holdover from an application-specific time, beyond its specification (degradation B)",
    248: "free-running: no reference",
    255: "timeReceiver only",
}
"""IEEE 1588-2019, table 4; those of telecom are of ITU-T G.8275.1, table 2 [from memory]."""
_QUALITY_LEVELS = {80: "PRS", 82: "PRC", 84: "PRC", 90: "SSU-A", 96: "SSU-B", 104: "SEC", 110: "do not use"}
"""ITU-T G.8265.1, table 1 [from memory]."""
_ACCURACY = (
    "1 ps", "2.5 ps", "10 ps", "25 ps", "100 ps", "250 ps", "1 ns", "2.5 ns", "10 ns", "25 ns", "100 ns", "250 ns",
    "1 µs", "2.5 µs", "10 µs", "25 µs", "100 µs", "250 µs", "1 ms", "2.5 ms", "10 ms", "25 ms", "100 ms", "250 ms",
    "1 s", "10 s",
)  # fmt: skip
"""IEEE 1588-2019, table 5: from 0x17 to 0x30."""
_FIRST_ACCURACY = 0x17
_TIME_SOURCES = {
    0x10: "atomic clock",
    0x20: "GNSS",
    0x30: "terrestrial radio",
    0x39: "serial time code",
    0x40: "PTP",
    0x50: "NTP",
    0x60: "set by hand",
    0x90: "other",
    0xA0: "internal oscillator",
}
"""IEEE 1588-2019, table 6."""
_FLAG_WORDS = {
    Flags.PTP_TIMESCALE: "PTP timescale (TAI)",
    Flags.UTC_OFFSET_VALID: "UTC offset valid",
    Flags.LEAP_61: "a leap second will be inserted today",
    Flags.LEAP_59: "a leap second will be left out today",
    Flags.TIME_TRACEABLE: "time traceable",
    Flags.FREQUENCY_TRACEABLE: "frequency traceable",
    Flags.SYNCHRONIZATION_UNCERTAIN: "synchronisation uncertain",
    Flags.ALTERNATE_TIME_TRANSMITTER: "alternate timeTransmitter",
    Flags.UNICAST: "unicast",
}


def class_text(clock_class: int) -> str:
    """``clockClass`` and its meaning."""
    meaning = _CLASSES.get(clock_class)
    if meaning is None and clock_class in _QUALITY_LEVELS:
        meaning = f"frequency of quality level {_QUALITY_LEVELS[clock_class]}"
    if meaning is None:
        meaning = "for a profile to define" if 68 <= clock_class <= 122 or 133 <= clock_class <= 247 else "reserved"
    return f"{clock_class} ({meaning})"


def accuracy_text(accuracy: int) -> str:
    """``clockAccuracy`` in words."""
    index = accuracy - _FIRST_ACCURACY
    if 0 <= index < len(_ACCURACY):
        return f"within {_ACCURACY[index]}"
    if accuracy == 0x31:
        return "worse than 10 s"
    if 0x80 <= accuracy <= 0xFD:
        return f"0x{accuracy:02X}, of the profile's own"
    return "unknown" if accuracy == 0xFE else f"0x{accuracy:02X}, reserved"


def deviation_s(variance: int) -> float | None:
    """The Allan deviation, in seconds, that ``offsetScaledLogVariance`` stands for (7.6.3.3); None where unknown."""
    return None if variance == UNKNOWN_VARIANCE else 2.0 ** ((variance - 0x8000) / 512)


def time_source_text(source: int) -> str:
    """``timeSource`` in words."""
    found = _TIME_SOURCES.get(source)
    if found is None:
        return f"0x{source:02X}, " + ("of the profile's own" if 0xF0 <= source <= 0xFE else "reserved")
    return found


def flag_texts(flags: Flags) -> list[str]:
    """What the flags of an Announce say."""
    words = [text for flag, text in _FLAG_WORDS.items() if flags & flag]
    return words if flags & Flags.PTP_TIMESCALE else ["arbitrary timescale", *words]


def sender(talker: Talker) -> str:
    """How a talker is called in sentences."""
    return f"{talker.key.port} ({talker.found.address})"


def major_sdo(talker: Talker) -> int:
    """``majorSdoId``."""
    return talker.key.sdo_id >> 8


def is_transmitter(talker: Talker) -> bool:
    """Whether it gives time."""
    return bool(talker.count(MessageType.ANNOUNCE, MessageType.SYNC, MessageType.FOLLOW_UP))


def is_grandmaster(talker: Talker) -> bool:
    """Whether it announces itself."""
    announce = talker.said.announce
    return announce is not None and announce.grandmaster == talker.key.port.clock


def mechanisms(talkers: Iterable[Talker]) -> set[str]:
    """How these measure delay: ``e2e``, ``p2p``, both, or neither so far."""
    found = set()
    for talker in talkers:
        if talker.count(MessageType.DELAY_REQ, MessageType.DELAY_RESP):
            found.add("e2e")
        if talker.count(MessageType.PDELAY_REQ, MessageType.PDELAY_RESP, MessageType.PDELAY_RESP_FOLLOW_UP):
            found.add("p2p")
    return found


def roles(talker: Talker) -> list[str]:
    """What it does on this wire, as far as it was heard doing it."""
    found = []
    if is_transmitter(talker):
        found.append("timeTransmitter")
        announce = talker.said.announce
        if announce is not None:
            found.append("grandmaster" if is_grandmaster(talker) else "boundary clock")
    if talker.count(MessageType.DELAY_REQ):
        found.append("timeReceiver")
    if talker.count(MessageType.PDELAY_REQ, MessageType.PDELAY_RESP):
        found.append("peer")
    if talker.asked.unicast.asked:
        found.append("unicast client")
    if talker.said.grants:
        found.append("unicast server")
    if talker.asked.managed:
        found.append("management client")
    elif talker.count(MessageType.MANAGEMENT):
        found.append("managed")
    return found or ["signaling"]


@dataclass(frozen=True, slots=True)
class Guess:
    """Which profile a talker seems to follow.

    Attributes:
        profile: Its name.
        why: What speaks for it.
    """

    profile: str
    why: str


_BY_EXTENSION = {
    POWER_2011: "IEEE C37.238-2011 (power)",
    POWER_2017: "IEEE C37.238-2017 (power)",
    SYNCHRONIZATION_METADATA: "SMPTE ST 2059-2",
    INTERFACE_RATE: "ITU-T G.8275.2",
}


def guess(talker: Talker, neighbours: Iterable[Talker]) -> Guess:
    """The profile, from what it sends; ``neighbours`` are the talkers of its domain and transport."""
    found = _by_sdo(talker)
    if found is not None:
        return found
    for extension, profile in _BY_EXTENSION.items():
        if extension in talker.said.organizations:
            return Guess(profile, "its TLV")
    how = mechanisms([talker]) or mechanisms(neighbours)
    return _by_domain(talker, how) or _by_interval(talker, how)


def _by_sdo(talker: Talker) -> Guess | None:
    major = major_sdo(talker)
    if major == GPTP_SDO:
        informed = {FOLLOW_UP_INFORMATION, GPTP_CAPABLE} & talker.said.organizations
        why = "majorSdoId 1" + (" and its TLVs" if informed else "")
        if talker.said.announce is None and talker.count(MessageType.SYNC) >= 8:
            return Guess("gPTP, automotive (Avnu)", f"{why}; Sync, but no Announce")
        return Guess("gPTP (IEEE 802.1AS)", why)
    if major == CMLDS_SDO:
        return Guess("common mean link delay service (IEEE 802.1AS)", "majorSdoId 2")
    if major == CSPTP_SDO:
        return Guess("CSPTP (draft IEEE 1588.1)", "majorSdoId 3")
    return None if major == 0 else Guess("unknown", f"majorSdoId {major}")


def _by_domain(talker: Talker, how: set[str]) -> Guess | None:
    domain, ethernet = talker.key.domain, talker.key.transport == "l2"
    why = f"domain {domain} over {'Ethernet' if ethernet else 'UDP'}"
    if 24 <= domain <= 43 and ethernet:
        return Guess("ITU-T G.8275.1", why)
    unicast = bool(talker.unicast) and not talker.multicast
    if 44 <= domain <= 63 and not ethernet and unicast:
        return Guess("ITU-T G.8275.2", f"{why}, unicast")
    if 4 <= domain <= 23 and not ethernet and unicast:
        return Guess("ITU-T G.8265.1", f"{why}, unicast")
    if domain == 127 and not ethernet:
        return Guess("SMPTE ST 2059-2", why)
    if domain == 254 and ethernet and how != {"e2e"}:
        return Guess("IEEE C37.238-2017 (power)", why)
    return None


def _by_interval(talker: Talker, how: set[str]) -> Guess:
    announce, sync = (
        None if flow is None else flow.log_interval
        for flow in (talker.flow(MessageType.ANNOUNCE), talker.flow(MessageType.SYNC))
    )
    if talker.key.transport == "l2" and how == {"p2p"} and (announce, sync) == (0, 0):
        return Guess("IEC/IEEE 61850-9-3", "Ethernet, peer delay, Announce and Sync each second")
    if talker.key.transport == "udp4" and (announce, sync) == (1, -3):
        return Guess("AES67 media", "UDP/IPv4, Sync eight times a second")
    if how == {"e2e"}:
        return Guess("IEEE 1588 default, end-to-end (I.3)", "Delay_Req")
    if how == {"p2p"}:
        return Guess("IEEE 1588 default, peer-to-peer (I.4)", "Pdelay_Req")
    return Guess("IEEE 1588 default", "no sign of another")
