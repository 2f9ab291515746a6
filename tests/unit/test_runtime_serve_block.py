from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ntp_server_support import state

from timesync.base.measure import Leap
from timesync.base.serving import CardMap, ServingMap
from timesync.base.time import Duration, Instant
from timesync.ntp.server import Count, ServerCounters
from timesync.ntp.v5.bloom import BloomFilter
from timesync.ntp.v5.serving import Scales, Serving
from timesync.runtime.serve_block import _STATE_AT, MAX_CARDS, SharedBlock, decode_state, encode_state
from timesync.wire.ntp5 import Timescale

FULL = state(
    leap=Leap.DELETE,
    stratum=15,
    root_delay=Duration(-5),
    dispersion_rate=1.5e-5,
    at=Instant.from_ns(2**62),
    precision=-31,
    serving_map=ServingMap(-1, -(10**18), 1.000_1),
    epoch=2**63,
)


@pytest.fixture
def block() -> Iterator[SharedBlock]:
    made = SharedBlock.create(3)
    yield made
    made.close()


def test_a_state_comes_back_whole() -> None:
    assert decode_state(encode_state(FULL)) == FULL


@pytest.mark.parametrize(
    "told",
    [
        Serving(),
        Serving(references=BloomFilter((1 << 4095) | 5)),
        Serving(scales=Scales(Timescale.SMEARED, {Timescale.UTC: None, Timescale.TAI: -37 * 10**9, Timescale.UT1: 3})),
        Serving(scales=Scales(Timescale.SMEARED, {Timescale.UTC: 5}, -1 / 86_400, 1 << 62), leap=Leap.INSERT),
        Serving(leap=Leap.NONE),
    ],
)
def test_what_clients_of_ntpv5_are_told_comes_back(told: Serving) -> None:
    cards = tuple(CardMap(index, 1 << 62, -(10**18), 1.5) for index in range(MAX_CARDS))
    full = replace(FULL, ntpv5=told, cards=cards)
    assert decode_state(encode_state(full)) == full
    assert len(encode_state(FULL)) == len(encode_state(full))


def test_another_mapping_of_the_same_memory_sees_the_state_once(block: SharedBlock) -> None:
    other = SharedBlock(os.dup(block.descriptor), 3)
    assert other.read_state(0) is None

    block.write_state(FULL)
    found = other.read_state(0)
    assert found is not None
    sequence, read = found
    assert read == FULL
    assert other.read_state(sequence) is None

    block.write_state(state())
    again = other.read_state(sequence)
    assert again is not None
    assert again[1] == state()
    other.close()


def test_a_state_that_is_half_written_is_not_taken(block: SharedBlock) -> None:
    block.write_state(FULL)
    block._memory[0] |= 1  # as a writer that died between its two stores would leave it

    assert block.read_state(0) is None

    block.write_state(state())
    found = block.read_state(0)
    assert found is not None
    assert found[1] == state()


def test_a_torn_state_is_not_taken_even_if_the_sequence_looks_right(block: SharedBlock) -> None:
    block.write_state(FULL)
    block._memory[_STATE_AT + 3] ^= 0xFF

    assert block.read_state(0) is None


def test_counters_are_per_worker(block: SharedBlock) -> None:
    block.write_counters(0, list(range(len(Count))))
    block.write_counters(2, [2**64 - 1] * len(Count))

    assert block.read_counters(0) == ServerCounters(*range(len(Count)))
    assert block.read_counters(1) == ServerCounters()
    assert block.read_counters(2).restarts == 2**64 - 1
