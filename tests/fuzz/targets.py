"""The table of what is fuzzed: a name, who makes the bytes, and who must withstand them.

A target returns, or raises an error that its row allows; any other exception is a finding. A module adds its
rows with ``register``; ``run.py`` imports all ``fuzz_*.py`` beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One parser or machine.

    Attributes:
        name: For the command line and the report.
        generate: Makes one input from the stream of random numbers.
        target: Is given the input; raises on a finding.
        allowed: Errors that are an answer and no finding.
    """

    name: str
    generate: Callable[[random.Random], bytes]
    target: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...] = ()


TARGETS: list[Target] = []


def register(*targets: Target) -> None:
    """Add rows to the table."""
    TARGETS.extend(targets)


class FindingError(AssertionError):
    """An input broke a target; the text has what is needed to see it again."""


def fuzz(target: Target, count: int, seed: int) -> int:
    """Give ``count`` inputs to a target; the same seed gives the same. Returns how many were refused."""
    rng = random.Random(f"{target.name}/{seed}")
    refused = 0
    for number in range(count):
        data = target.generate(rng)
        try:
            target.target(data)
        except target.allowed:
            refused += 1
        except Exception as error:  # whatever it is, it is the finding, and the input must be in the report
            raise FindingError(f"{target.name}, seed {seed}, input {number}: {error!r}\n{data.hex()}") from error
    return refused


def mutate(rng: random.Random, data: bytes, *, protect: frozenset[int] = frozenset()) -> bytes:
    """Flip, overwrite, cut, repeat or extend; octets at the positions in ``protect`` keep their value."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        kind = rng.randrange(6)
        position = rng.randrange(len(out)) if out else 0
        if kind <= 2 and out and position not in protect:
            new = (
                out[position] ^ 1 << rng.randrange(8),
                rng.randrange(256),
                rng.choice((0, 1, 127, 128, 255)),
            )
            out[position] = new[kind]
        elif kind == 3 and position > max(protect, default=-1):
            del out[position:]
        elif kind == 4:
            out += rng.randbytes(rng.choice((1, 4, 16, 20, 24, 28, 64, 1500)))
        elif kind == 5:
            size = rng.choice((4, 16, 20, 28, 36))
            out += rng.randbytes(2) + size.to_bytes(2, "big") + bytes(size - 4)
    return bytes(out)
