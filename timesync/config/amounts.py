"""How the schema reads amounts with their units: spans, poll intervals, frequencies, ratios."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic.json_schema import JsonSchemaValue

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config import quantity
from timesync.config.written import Written, refusal


@dataclass(frozen=True, slots=True)
class Span(Written):
    """A duration within bounds, both included."""

    least: str
    most: str

    def parse(self, value: object) -> Duration:
        """See ``Written``."""
        try:
            span = value if isinstance(value, Duration) else quantity.parse_duration(value)
        except quantity.QuantityError as error:
            raise refusal(error.message, error.suggestion) from None
        if not quantity.parse_duration(self.least) <= span <= quantity.parse_duration(self.most):
            raise refusal(f"{quantity.format_duration(span)} is not in {self.least} to {self.most}")
        return span

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": quantity.DURATION_PATTERN}

    def describe(self) -> str:
        """See ``Written``."""
        return f"duration, {self.least} to {self.most}"


LEAST_POLL = -4
MOST_POLL = 17


@dataclass(frozen=True, slots=True)
class Poll:
    """A range of poll intervals, as log2 of seconds (RFC 5905, 7.3 "poll"): 4 is 16 s, -4 is 62.5 ms.

    Attributes:
        least: The shortest interval.
        most: The longest.
    """

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class PollRange(Written):
    """The shortest and the longest poll interval, powers of two."""

    def parse(self, value: object) -> Poll:
        """See ``Written``."""
        if isinstance(value, Poll):
            return value
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            shown = f"[{value}, {value}]" if isinstance(value, str) and len(value) < 20 else None
            raise refusal("expected the shortest and the longest interval, such as [16s, 1024s]", shown)
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise refusal("expected the shortest and the longest interval, such as [16s, 1024s]")
        least, most = (self._log2(item, index) for index, item in enumerate(value))
        if least > most:
            raise refusal("the shortest interval comes first", f"[{_seconds(most)}, {_seconds(least)}]")
        return Poll(least, most)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        item = {"type": "string", "pattern": quantity.DURATION_PATTERN}
        return {"type": "array", "items": item, "minItems": 2, "maxItems": 2}

    def describe(self) -> str:
        """See ``Written``."""
        return f"[shortest, longest], powers of two from {_seconds(LEAST_POLL)} to {_seconds(MOST_POLL)}"

    @staticmethod
    def _log2(item: object, index: int) -> int:
        try:
            span = quantity.parse_duration(item)
        except quantity.QuantityError as error:
            raise refusal(error.message, error.suggestion, index) from None
        fitting = min(range(LEAST_POLL, MOST_POLL + 1), key=lambda log2: abs(_power(log2) - span))
        if _power(fitting) != span:
            shown = quantity.format_duration(span)
            low, high = _seconds(LEAST_POLL), _seconds(MOST_POLL)
            message = f"{shown} is not a power of two of a second from {low} to {high}"
            raise refusal(message, _seconds(fitting), index)
        return fitting


@dataclass(frozen=True, slots=True)
class Frequency(Written):
    """A frequency within bounds, both included."""

    least: str
    most: str

    def parse(self, value: object) -> Rate:
        """See ``Written``."""
        try:
            rate = value if isinstance(value, Rate) else quantity.parse_frequency(value)
        except quantity.QuantityError as error:
            raise refusal(error.message, error.suggestion) from None
        if not quantity.parse_frequency(self.least) <= rate <= quantity.parse_frequency(self.most):
            raise refusal(f"{quantity.format_frequency(rate)} is not in {self.least} to {self.most}")
        return rate

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": quantity.FREQUENCY_PATTERN}

    def describe(self) -> str:
        """See ``Written``."""
        return f"frequency, {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Ratio(Written):
    """A dimensionless number from 0 to ``most``, or the same as a frequency."""

    most: float

    def parse(self, value: object) -> float:
        """See ``Written``."""
        try:
            ratio = quantity.parse_ratio(value)
        except quantity.QuantityError as error:
            raise refusal(error.message, error.suggestion) from None
        if not 0 <= ratio <= self.most:
            raise refusal(f"{ratio:g} is not in 0 to {self.most:g}")
        return ratio

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        number = {"type": "number", "minimum": 0, "maximum": self.most}
        return {"anyOf": [number, {"type": "string", "pattern": quantity.FREQUENCY_PATTERN}]}

    def describe(self) -> str:
        """See ``Written``."""
        return f"ratio, 0 to {self.most:g}"


def _power(log2: int) -> Duration:
    one = Duration.from_s(1)
    return one * (1 << log2) if log2 >= 0 else one // (1 << -log2)


def _seconds(log2: int) -> str:
    """An interval as it is written in examples: seconds, or less with the unit that fits."""
    if log2 >= 0:
        return f"{1 << log2}s"
    return {-1: "500ms", -2: "250ms", -3: "125ms", -4: "62.5ms"}[log2]
