"""Mutated files, any text, any tokens: loaded, or refused in words that can be shown."""

from __future__ import annotations

import contextlib

import pytest
from fuzz_config import SEEDS, WORDS, examine, fuzz_config
from hypothesis import given, settings
from hypothesis import strategies as st

from timesync.config.problem import ConfigError


def attempt(data: bytes) -> None:
    with contextlib.suppress(ConfigError):
        examine(data)


@pytest.mark.parametrize("index", range(len(SEEDS)))
def test_what_is_mutated_is_valid(index: int) -> None:
    examine(SEEDS[index])


def test_mutations_of_valid_files() -> None:
    refused = fuzz_config(300, seed=5)

    assert 0 < refused < 300


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    attempt(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_sequence_of_tokens(words: list[bytes]) -> None:
    attempt(b"".join(words))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=120))
def test_any_octets(data: bytes) -> None:
    attempt(data)
