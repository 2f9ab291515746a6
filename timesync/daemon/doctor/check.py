"""What a check finds, as a value, and what many of them come to."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from timesync.daemon.doctor.catalogue import CATALOGUE


class State(enum.Enum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


class Cause(enum.Enum):
    """Why a check fails, as far as the exit code cares."""

    OTHER = "other"
    CONFIG = "configuration"
    PERMISSION = "permission"
    MISSING = "hardware or kernel feature missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one thing.

    Attributes:
        id: Which check, such as ``TS-PPS-003``: a key of the catalogue.
        subject: What was looked at, such as ``/dev/pps0``.
        state: How it went.
        evidence: What was seen: a path, an errno, a number.
        meaning: What follows from it, in one sentence.
        remedy: The command or the line that mends it; empty where nothing is to be mended.
        cause: Why it fails; None unless it does.
    """

    id: str
    subject: str
    state: State
    evidence: str
    meaning: str
    remedy: str = ""
    cause: Cause | None = None


def ok(check: str, subject: str, evidence: str, meaning: str | None = None) -> Finding:
    """It is as it should be."""
    fine = CATALOGUE[check].fine
    return Finding(id=check, subject=subject, state=State.OK, evidence=evidence, meaning=meaning or fine)


def warn(check: str, subject: str, evidence: str, remedy: str, meaning: str | None = None) -> Finding:
    """It works, or may, but not well or not for long."""
    wrong = meaning or CATALOGUE[check].wrong
    return Finding(id=check, subject=subject, state=State.WARN, evidence=evidence, meaning=wrong, remedy=remedy)


def fail(
    check: str, subject: str, evidence: str, remedy: str, meaning: str | None = None, cause: Cause = Cause.OTHER
) -> Finding:
    """It must be mended."""
    wrong = meaning or CATALOGUE[check].wrong
    return Finding(
        id=check, subject=subject, state=State.FAIL, evidence=evidence, meaning=wrong, remedy=remedy, cause=cause
    )


def skip(check: str, subject: str, evidence: str, remedy: str = "") -> Finding:
    """It could not be looked at, and why."""
    return Finding(
        id=check, subject=subject, state=State.SKIP, evidence=evidence, meaning="This was not checked.", remedy=remedy
    )


def nobody(check: str, subject: str, user: str) -> Finding:
    """A permission that cannot be looked at, because the user of the service does not exist."""
    return skip(check, subject, f"there is no user {user}, whom the unit names; see TS-CFG-003")


def exit_code(findings: Iterable[Finding]) -> int:
    """The exit code of the contract.

    0 when nothing fails, 2 when the configuration does; 3 and 4 when all that fails is a missing permission, or
    missing hardware; else 1.
    """
    causes = {finding.cause for finding in findings if finding.state is State.FAIL}
    if not causes:
        return 0
    if Cause.CONFIG in causes:
        return 2
    if causes == {Cause.PERMISSION}:
        return 3
    return 4 if causes == {Cause.MISSING} else 1
