"""Option types: what a configuration takes as text, the command line takes in the same words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import click
from click.shell_completion import CompletionItem

from timesync.base.ids import Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.address import NTP_PORT, AddressError, HostPort, parse_host_port, parse_listen
from timesync.config.quantity import QuantityError, parse_duration, parse_frequency
from timesync.wire.ntp5_ext import check_draft

T = TypeVar("T")


if TYPE_CHECKING:

    class _ParamType(click.ParamType[T], Generic[T]):
        pass

else:
    # The type of older clicks, which are allowed, cannot be subscripted.
    class _ParamType(click.ParamType, Generic[T]):
        pass


class Parsed(_ParamType[T]):
    """A text that one of the configuration's parsers reads; its complaint becomes a usage error."""

    def __init__(self, name: str, parse: Callable[[str], T]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> T:
        """The value; a default that is no text is one already."""
        if not isinstance(value, str):
            return value  # type: ignore[return-value]  # click hands an already converted default back in
        try:
            return self._parse(value)
        except (QuantityError, AddressError) as error:
            hint = f' (did you mean "{error.suggestion}"?)' if error.suggestion else ""
            self.fail(f"{error.message}{hint}", param, ctx)


def _positive(value: str) -> Duration:
    span = parse_duration(value)
    if span.scaled_ns <= 0:
        raise QuantityError("must be longer than 0s")
    return span


def _not_negative(value: str) -> Duration:
    span = parse_duration(value)
    if span.scaled_ns < 0:
        raise QuantityError("must not be negative")
    return span


def _draft(value: str) -> str:
    try:
        return check_draft(value)
    except ValueError as error:
        raise QuantityError(str(error)) from None


DURATION: Parsed[Duration] = Parsed("DURATION", parse_duration)
POSITIVE: Parsed[Duration] = Parsed("DURATION", _positive)
NOT_NEGATIVE: Parsed[Duration] = Parsed("DURATION", _not_negative)
FREQUENCY: Parsed[Rate] = Parsed("FREQUENCY", parse_frequency)
SERVER: Parsed[HostPort] = Parsed("HOST[:PORT]", lambda text: parse_host_port(text, 0))
"""Port 0 where none is written: which one is meant, other options say."""

DRAFT: Parsed[str] = Parsed("NAME", _draft)
LISTEN: Parsed[Endpoint] = Parsed("ADDRESS[:PORT]", lambda text: parse_listen(text, NTP_PORT))


def profile_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the names of the shipped profiles."""
    del ctx, param
    from timesync.config.profiles import shipped

    return [CompletionItem(name) for name in shipped() if name.startswith(incomplete)]
