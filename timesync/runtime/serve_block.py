"""The memory that the daemon shares with its server workers: one state for all, counters of each.

The state is guarded by a sequence that is odd while it is written. A checksum goes with it, because neither
Python nor every processor promises in which order another process sees two stores.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from typing import Final

from timesync.base.measure import Leap
from timesync.base.serving import CardMap, ServingMap
from timesync.base.time import Duration, Instant
from timesync.ntp.server import Count, ServerCounters, ServeState
from timesync.ntp.v5.bloom import BloomFilter
from timesync.ntp.v5.serving import Scales, Serving
from timesync.wire.ntp5 import Timescale
from timesync.wire.ntp5_ext import FILTER_SIZE

# Native alignment: Python then stores a field with one instruction, not octet by octet.
_SEQUENCE = struct.Struct("@Q")
_STATE = struct.Struct("=?BB4sqqdqqQbqqdQB")
_CARD = struct.Struct("=Iqqd")
MAX_CARDS: Final = 16
"""Interfaces whose network card's stamps are used; those of further ones are the kernel's."""
_TOLD = struct.Struct(f"=??BBBdq{FILTER_SIZE}s")
"""Whether clients of NTPv5 are told anything, and reference ids; the served timescale, how many others there are; the
leap second that is announced in those, the rate of their shifts and since when; the filter of reference ids."""
_NO_LEAP: Final = 0xFF
_SHIFT = struct.Struct("=B?q")
_CHECK = struct.Struct("=I")
_STATE_AT: Final = 64
_CARDS_SIZE: Final = MAX_CARDS * _CARD.size
_STATE_SIZE: Final = _STATE.size + _CARDS_SIZE + _TOLD.size + len(Timescale) * _SHIFT.size
_CHECK_AT: Final = _STATE_AT + _STATE_SIZE
_SLOTS_AT: Final = 2048
_COUNTERS = struct.Struct(f"@{len(Count)}Q")
_SLOT: Final = 256
_TRIES: Final = 1000

assert _CHECK_AT + _CHECK.size <= _SLOTS_AT
assert _COUNTERS.size <= _SLOT


def encode_state(state: ServeState) -> bytes:
    """A state as octets of a fixed length."""
    cards = state.cards[:MAX_CARDS]
    head = _STATE.pack(
        state.synchronized,
        state.leap.value,
        state.stratum,
        state.reference_id,
        state.root_delay.scaled_ns,
        state.root_dispersion.scaled_ns,
        state.dispersion_rate,
        state.at.scaled_ns >> 16,
        state.valid_until.scaled_ns >> 16,
        state.reference_time,
        state.precision,
        state.serving_map.base_ns,
        state.serving_map.offset_ns,
        state.serving_map.rate,
        state.epoch,
        len(cards),
    )
    tail = b"".join(_CARD.pack(card.interface, card.base_ns, card.offset_ns, card.rate) for card in cards)
    return ((head + tail).ljust(_STATE.size + _CARDS_SIZE, b"\0") + _encode_told(state.ntpv5)).ljust(_STATE_SIZE, b"\0")


def _encode_told(told: Serving | None) -> bytes:
    """What clients of NTPv5 are told, apart from what workers know by their settings; its end may be missing."""
    if told is None:
        return b""
    references, shifts = told.references, told.scales.shifts_ns
    octets = b"" if references is None else references.to_bytes()
    scales, leap = told.scales, _NO_LEAP if told.leap is None else told.leap.value
    head = _TOLD.pack(True, references is not None, scales.served, len(shifts), leap, scales.rate, scales.at_ns, octets)
    return head + b"".join(_SHIFT.pack(scale, shift is not None, shift or 0) for scale, shift in shifts.items())


def _decode_told(data: bytes) -> Serving | None:
    there, with_references, served, count, leap, rate, at_ns, octets = _TOLD.unpack_from(data)
    if not there:
        return None
    shifts: dict[Timescale, int | None] = {}
    for index in range(count):
        scale, known, shift = _SHIFT.unpack_from(data, _TOLD.size + index * _SHIFT.size)
        shifts[Timescale(scale)] = shift if known else None
    references = BloomFilter.from_bytes(octets) if with_references else None
    scales = Scales(Timescale(served), shifts, rate, at_ns)
    return Serving(references=references, scales=scales, leap=None if leap == _NO_LEAP else Leap(leap))


def decode_state(data: bytes) -> ServeState:
    """The state of ``encode_state``; the monotonic times come back in whole nanoseconds."""
    (
        synchronized,
        leap,
        stratum,
        reference_id,
        root_delay,
        root_dispersion,
        dispersion_rate,
        at_ns,
        valid_until_ns,
        reference_time,
        precision,
        base_ns,
        offset_ns,
        rate,
        epoch,
        card_count,
    ) = _STATE.unpack_from(data)
    cards = [CardMap(*_CARD.unpack_from(data, _STATE.size + _CARD.size * index)) for index in range(card_count)]
    return ServeState(
        synchronized=synchronized,
        leap=Leap(leap),
        stratum=stratum,
        reference_id=reference_id,
        root_delay=Duration(root_delay),
        root_dispersion=Duration(root_dispersion),
        dispersion_rate=dispersion_rate,
        at=Instant.from_ns(at_ns),
        valid_until=Instant.from_ns(valid_until_ns),
        reference_time=reference_time,
        precision=precision,
        serving_map=ServingMap(base_ns, offset_ns, rate),
        epoch=epoch,
        cards=tuple(cards),
        ntpv5=_decode_told(data[_STATE.size + _CARDS_SIZE :]),
    )


class SharedBlock:
    """The block, in the daemon and in each worker.

    Attributes:
        descriptor: Of the memory file; to be passed to workers.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SLOTS_AT + _SLOT * workers)

    @classmethod
    def create(cls, workers: int) -> SharedBlock:
        """A new block with room for so many workers' counters. Raises OSError."""
        descriptor = os.memfd_create("timesync-serve", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, _SLOTS_AT + _SLOT * workers)
            return cls(descriptor, workers)
        except OSError:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Unmap and close."""
        self._memory.close()
        os.close(self.descriptor)

    def sequence(self) -> int:
        """Changes whenever a state is written; odd while that goes on; 0 before the first."""
        (sequence,) = _SEQUENCE.unpack_from(self._memory)
        return int(sequence)

    def write_state(self, state: ServeState) -> None:
        """Replace the state; the daemon alone does."""
        data = encode_state(state)
        sequence = self.sequence() | 1
        _SEQUENCE.pack_into(self._memory, 0, sequence)
        self._memory[_STATE_AT : _STATE_AT + len(data)] = data
        _CHECK.pack_into(self._memory, _CHECK_AT, zlib.crc32(data))
        _SEQUENCE.pack_into(self._memory, 0, sequence + 1)

    def read_state(self, known: int) -> tuple[int, ServeState] | None:
        """The sequence and the state when it is not ``known`` any more, else None.

        None too when it is being written for an unlikely time, as when the writer died half-way: the old
        state then serves until it expires.
        """
        for _ in range(_TRIES):
            before = self.sequence()
            if before == known:
                return None
            data = self._memory[_STATE_AT:_CHECK_AT]
            (check,) = _CHECK.unpack_from(self._memory, _CHECK_AT)
            if not before & 1 and before == self.sequence() and check == zlib.crc32(data):
                return before, decode_state(data)
        return None

    def write_counters(self, slot: int, counts: list[int]) -> None:
        """Store the counters of one worker; it alone does. Each is one aligned store: none is ever torn."""
        _COUNTERS.pack_into(self._memory, _SLOTS_AT + slot * _SLOT, *counts)

    def read_counters(self, slot: int) -> ServerCounters:
        """The counters of one worker; each is right, though not all of the very same moment."""
        return ServerCounters(*_COUNTERS.unpack_from(self._memory, _SLOTS_AT + slot * _SLOT))
