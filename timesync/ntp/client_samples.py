"""What the answer to a request of the client completes: a sample, in basic or in interleaved mode (RFC 9769, 4)."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Tai
from timesync.ntp.client_interleaved import Previous, pair_stamps
from timesync.ntp.exchange import (
    MAX_RESPONSE,
    Answer,
    DropReason,
    Limits,
    Residence,
    Sample,
    Timescales,
    measure,
    precision_of,
    server_time,
)
from timesync.ntp.residence import without


@dataclass(frozen=True, slots=True)
class Found:
    """A sample, and what the server said that goes with it.

    Attributes:
        sample: What the stamps say.
        response: How long the server took to answer.
        root_delay: Round trip from the server to its root.
        root_dispersion: Its bound.
    """

    sample: Sample
    response: Duration
    root_delay: Duration
    root_dispersion: Duration


def evaluate(
    t1: Stamp | None, answer: Answer, previous: Previous | None, limits: Limits, scales: Timescales
) -> tuple[Found | DropReason | None, Previous | None]:
    """What an answer gives, and what is to be kept for the next one.

    Args:
        t1: When the request left; None when that is not known.
        answer: The answer.
        previous: What was kept of the exchange before.
        limits: What samples are measured against.
        scales: The leap table.

    Returns:
        What was found; or a reason to drop; or None when the answer is fine but completes no sample.
    """
    packet, said = answer.packet, answer.said
    t2 = server_time(packet.receive, answer.t4, scales, said.pivot)
    if isinstance(t2, DropReason):
        return t2, None
    found: Found | DropReason | None
    if answer.interleaved:
        found = _interleaved(previous, t1, t2, answer, limits, scales)
    elif t1 is None:
        found = DropReason.STAMP
    else:
        stamps = t1, t2, answer.t4
        found = _found(stamps, answer, t2, answer.residence, limits, scales)
    kept = Previous(
        receive=packet.receive,
        t1=t1,
        t2=t2,
        t4=answer.t4,
        root_delay=said.root_delay,
        root_dispersion=said.root_dispersion,
        used=not answer.interleaved and isinstance(found, Found),
        residence=answer.residence,
    )
    return found, kept


def _interleaved(
    previous: Previous | None,
    t1: Stamp | None,
    t2: Instant[Tai],
    answer: Answer,
    limits: Limits,
    scales: Timescales,
) -> Found | DropReason | None:
    """The sample that the answer's transmit timestamp completes; the worse words of both answers go with it."""
    stamps = pair_stamps(previous, t1, t2, answer.t4)
    if not isinstance(stamps, tuple) or previous is None:
        return stamps if isinstance(stamps, DropReason) else None
    there = answer.residence.there if stamps[1] is t2 else previous.residence.there
    found = _found(stamps, answer, previous.t2, Residence(there, previous.residence.back), limits, scales)
    if isinstance(found, DropReason):
        return found
    return Found(
        found.sample,
        found.response,
        max(found.root_delay, previous.root_delay),
        max(found.root_dispersion, previous.root_dispersion),
    )


def _found(
    stamps: tuple[Stamp, Instant[Tai], Stamp],
    answer: Answer,
    asked: Instant[Tai],
    residence: Residence,
    limits: Limits,
    scales: Timescales,
) -> Found | DropReason:
    """What T1, T2 and T4 say together with the transmit timestamp of ``answer``.

    ``asked`` is when the server had received the request that was answered then; ``residence`` is of the two packets
    whose stamps these are.
    """
    t1, t2, t4 = stamps
    packet, said = answer.packet, answer.said
    t3 = server_time(packet.transmit, t4, scales, said.pivot)
    if isinstance(t3, DropReason):
        return t3
    response = t3 - asked
    if response > MAX_RESPONSE or response < -precision_of(packet.precision):
        return DropReason.RESPONSE
    sample = measure(t1, t2, t3, t4, packet.precision, limits, scales)
    if isinstance(sample, DropReason):
        return sample
    return Found(without(sample, residence), response, said.root_delay, said.root_dispersion)
