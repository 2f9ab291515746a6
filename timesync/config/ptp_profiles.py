"""What PTP profiles say: the values, the ranges within which they may be changed, and where the standard says so.

Each is a file of ``timesync_profiles/ptp``. A fact that a profile does not have is one that it does not use.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from timesync.base.time import Duration
from timesync.config import yaml
from timesync.config.amounts import Span
from timesync.config.explain import explain
from timesync.config.model import Model
from timesync.config.problem import ConfigError
from timesync.config.profiles import PACKAGE
from timesync.config.ptp import ProfileName, Ptp, PtpPort, RoleName, interval_text
from timesync.config.quantity import format_duration
from timesync.config.tree import plain
from timesync.config.written import refusal

FOLDER = "ptp"

TlvName = Literal[
    "path-trace", "follow-up-information", "message-interval-request", "gptp-capable", "power-2011", "power-2017",
    "alternate-time-offset", "synchronization-metadata", "interface-rate",
]  # fmt: skip


class Fact(Model):
    """A value with where it comes from."""

    clause: Annotated[str, Field(min_length=1)]
    """Where the standard says it."""
    of: str | None = None
    """Which standard, where it is not the profile's own."""
    checked: bool = True
    """False: the value is from memory or from a secondary source, to be compared with the text of the standard."""
    range_checked: bool = True
    """The same of the range."""
    advice: bool = False
    """What lies outside of the range is done all the same, with a warning, as other programs for PTP do it."""

    def shown(self) -> str:
        """The value in words."""
        raise NotImplementedError

    def span(self) -> str | None:
        """What else is allowed, in words; None: nothing."""
        return None


class Number(Fact):
    """A whole number."""

    value: int
    range: tuple[int, int] | None = None
    """The least and the greatest that the standard allows; None: it is fixed."""

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.range is not None and not self.range[0] <= self.value <= self.range[1]:
            raise refusal("the value is not within its own range", step="value")
        if self.range is None and self.advice:
            raise refusal("a value without a range is fixed", step="advice")
        return self

    def allows(self, value: int) -> bool:
        """Whether it may be this."""
        return value == self.value if self.range is None else self.range[0] <= value <= self.range[1]

    def say(self, value: int) -> str:
        """A number as users write it."""
        return str(value)

    def shown(self) -> str:
        """See ``Fact``."""
        return self.say(self.value)

    def span(self) -> str | None:
        """See ``Fact``."""
        return None if self.range is None else f"{self.say(self.range[0])} to {self.say(self.range[1])}"


class LogInterval(Number):
    """Log2 of an interval in seconds."""

    def say(self, value: int) -> str:
        """See ``Number``."""
        return interval_text(value)


class Hexadecimal(Number):
    """A number that standards write in hexadecimal digits."""

    def say(self, value: int) -> str:
        """See ``Number``."""
        return f"0x{value:02X}"


class Length(Fact):
    """A duration."""

    value: Annotated[Duration, Span("0s", "1s")]
    range: tuple[Annotated[Duration, Span("0s", "1s")], Annotated[Duration, Span("0s", "1s")]] | None = None
    """The least and the greatest; None: it is fixed."""

    def allows(self, value: Duration) -> bool:
        """Whether it may be this."""
        return value == self.value if self.range is None else self.range[0] <= value <= self.range[1]

    def shown(self) -> str:
        """See ``Fact``."""
        return format_duration(self.value)

    def span(self) -> str | None:
        """See ``Fact``."""
        return None if self.range is None else " to ".join(map(format_duration, self.range))


class Choice(Fact):
    """One of a few; the first is the default."""

    value: Annotated[tuple[str | bool, ...], Field(min_length=1)]

    def allows(self, value: object) -> bool:
        """Whether it may be this."""
        return value in self.value

    def shown(self) -> str:
        """See ``Fact``."""
        return _word(self.value[0])

    def span(self) -> str | None:
        """See ``Fact``."""
        if len(self.value) == 1:
            return None
        *others, last = map(_word, self.value)
        return f"{', '.join(others)} or {last}"


class Transports(Choice):
    """Over what messages go."""

    value: Annotated[tuple[Literal["udp4", "udp6", "l2"], ...], Field(min_length=1)]


class Addresses(Choice):
    """Where messages go on Ethernet, but for peer-delay messages, which always go to the second of the two."""

    value: Annotated[tuple[Literal["01-1B-19-00-00-00", "01-80-C2-00-00-0E"], ...], Field(min_length=1)]


class Mechanisms(Choice):
    """How delay is measured."""

    value: Annotated[tuple[Literal["e2e", "p2p"], ...], Field(min_length=1)]


class Steps(Choice):
    """Whether Sync carries its own time; both are understood, two-step is sent."""

    value: Annotated[tuple[Literal["two-step", "one-step"], ...], Field(min_length=1)]


class Roles(Choice):
    """What an instance or a port may be."""

    value: Annotated[tuple[RoleName, ...], Field(min_length=1)]


class Switch(Choice):
    """On or off."""

    value: Annotated[tuple[bool, ...], Field(min_length=1)]


class Flag(Fact):
    """Something that is so, or not."""

    value: bool

    def shown(self) -> str:
        """See ``Fact``."""
        return _word(self.value)


class Algorithm(Fact):
    """Which best timeTransmitter algorithm decides."""

    value: Literal["1588", "g8275", "g8265", "802.1as", "none"]

    def shown(self) -> str:
        """See ``Fact``."""
        return self.value


class Identity(Fact):
    """``profileIdentity``."""

    value: Annotated[str, Field(pattern=r"^[0-9A-F]{2}(-[0-9A-F]{2}){5}$")]

    def shown(self) -> str:
        """See ``Fact``."""
        return self.value


class Tlvs(Fact):
    """What the profile hangs on messages."""

    value: tuple[TlvName, ...]

    def shown(self) -> str:
        """See ``Fact``."""
        return ", ".join(self.value)


class PtpProfile(Model):
    """A PTP profile. Fields that can be set have the names of the keys of ``ptp`` and ``ptp.ports``."""

    name: ProfileName
    title: Annotated[str, Field(min_length=1, max_length=120)]
    standard: Annotated[str, Field(min_length=1)]
    identity: Identity | None = None
    """``profileIdentity``; None where the standard gives none."""
    transport: Transports
    l2_destination: Addresses | None = None
    unicast: Flag | None = None
    """All messages are unicast and negotiated (IEEE 1588-2019, 16.1)."""
    sdo_id: Hexadecimal
    domain: Number
    minor_version: Number
    dscp: Number | None = None
    delay: Mechanisms
    steps: Steps
    announce_interval: LogInterval | None = None
    """None: no Announce is sent."""
    announce_receipt_timeout: Number | None = None
    sync_interval: LogInterval
    sync_receipt_timeout: Number | None = None
    delay_interval: LogInterval
    operational_sync_interval: LogInterval | None = None
    operational_delay_interval: LogInterval | None = None
    neighbor_threshold: Length | None = None
    allowed_lost_responses: Number | None = None
    bmca: Algorithm
    role: Roles
    priority1: Number
    priority2: Number
    local_priority: Number | None = None
    max_steps_removed: Number | None = None
    path_trace: Switch
    class_locked: Number
    class_holdover: Number
    class_degraded_a: Number
    """After that, for a clock that follows nobody."""
    class_degraded_b: Number
    """The same, for one that may."""
    class_freerun: Number
    locked_accuracy: Hexadecimal | None = None
    """``clockAccuracy`` to be said while locked, if it is true; None: what is known."""
    locked_variance: Hexadecimal | None = None
    unlocked_accuracy: Hexadecimal | None = None
    unlocked_variance: Hexadecimal | None = None
    tlvs: Tlvs | None = None
    lacks: tuple[str, ...] = ()
    """What of the profile is not done."""

    @property
    def gptp(self) -> bool:
        """The rules of IEEE 802.1AS hold; its messages are told by their ``majorSdoId`` (8.1 there)."""
        return self.sdo_id.value == 0x100

    def facts(self) -> dict[str, Fact]:
        """All facts by name, in order."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: fact for name, fact in found.items() if isinstance(fact, Fact)}

    def cite(self, fact: Fact) -> str:
        """Where a fact comes from."""
        return f"{fact.of or self.standard}, {fact.clause}"

    def has_tlv(self, name: TlvName) -> bool:
        """Whether the profile wants this TLV."""
        return self.tlvs is not None and name in self.tlvs.value


PTP_PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)


@cache
def ptp_profile(name: ProfileName) -> PtpProfile:
    """The profile of this name. Raises ConfigError when its file is wrong, and OSError when it is not there."""
    file = resources.files(PACKAGE) / FOLDER / f"{name.replace('.', '-')}.yaml"
    tree = yaml.compose(yaml.decode(file.read_bytes(), str(file)))
    try:
        return PtpProfile.model_validate(plain(tree))
    except ValidationError as error:
        raise ConfigError(explain(error, tree, PtpProfile)) from None


def domain_of(instance: Ptp) -> int:
    """``domainNumber`` of an instance."""
    return ptp_profile(instance.profile).domain.value if instance.domain is None else instance.domain


def port_title(instances: Sequence[Ptp], instance: Ptp, port: PtpPort) -> str:
    """What a port is called as a source: by its interface; of several on one interface, all but the first say more."""
    first = next(one for one in instances if any(other.interface == port.interface for other in one.ports))
    if first is instance:
        return f"ptp:{port.interface}"
    return f"ptp:{port.interface}:{instance.profile}:{domain_of(instance)}"


def refuse(profile: PtpProfile, name: str, value: object) -> str | None:
    """Why a profile does not let a key have this value; None: it does."""
    fact = profile.facts().get(name)
    if fact is None:
        return f"the profile {profile.name} has no such thing ({profile.standard})"
    outside = _outside(name, fact, value)
    if outside is None or fact.advice:
        return None
    span = fact.span()
    what = f"is fixed at {fact.shown()}" if span is None else f"can be {span}"
    return f"{outside} is not allowed: in the profile {profile.name} it {what} ({profile.cite(fact)})"


def warn(profile: PtpProfile, name: str, value: object) -> str | None:
    """What is to be said of a value that the profile lets a key have against its own advice; None: nothing."""
    fact = profile.facts().get(name)
    outside = None if fact is None or not fact.advice else _outside(name, fact, value)
    if fact is None or outside is None:
        return None
    where = f"the range of the profile {profile.name}, {fact.span()} ({profile.cite(fact)})"
    return f"{outside} is outside {where}: it is done, and other clocks may not expect it"


def _outside(name: str, fact: Fact, value: object) -> str | None:
    """A value in words, when it is not one that the fact names."""
    match fact:
        case Number() if isinstance(value, int):
            allowed, shown = fact.allows(value), fact.say(value)
        case Length() if isinstance(value, Duration):
            allowed, shown = fact.allows(value), format_duration(value)
        case Choice():
            allowed, shown = fact.allows(value), _word(value)
        case _:
            raise TypeError(f"{name} is not a {type(value).__name__}")
    return None if allowed else shown


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
