"""A Roughtime server in ``timesync sources``: no source of the core, and yet an entry of the same shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from timesync.base.ids import ClockId
from timesync.observe.track import track_object
from timesync.servo.view import SourceState

REPORT_FILE: Final = "roughtime-malfeasance.json"
"""In the state directory: the last proof that a server has lied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoughtimeFacts:
    """What is known of one server.

    Attributes:
        name: As the operator calls it.
        address: Whom it asks; None while its name has no address.
        clock: The clock of ``offset_s``.
        state: What became of it.
        reason: Why, in one sentence.
        reach: Of the last eight rounds, so many were answered.
        offset_s: The clock minus the middle of what the server allows now; None before its first response.
        error_bound_s: Half of that span.
        delay_s: Round trip of the last response.
        poll_s: How often it is asked.
        age_s: Since its last response.
        sent: Requests sent.
        received: Responses whose signatures are good.
        radius_s: As it last said of itself.
        malfeasance_age_s: Since a round with it proved that some server had lied; None: none did.
    """

    name: str
    address: str | None
    clock: ClockId
    state: SourceState
    reason: str
    reach: int
    offset_s: float | None
    error_bound_s: float | None
    delay_s: float | None
    poll_s: float
    age_s: float | None
    sent: int
    received: int
    radius_s: float | None
    malfeasance_age_s: float | None


def entry(facts: RoughtimeFacts) -> dict[str, Any]:
    """The entry of ``timesync sources --json``.

    A span has no standard deviation, and a server of Roughtime no stratum: such fields are null.
    """
    unknown = (
        "uncertainty_s", "jitter_s", "stratum", "reference_id", "leap", "version", "draft", "timestamping",
        "reach_register", "root_delay_s", "root_dispersion_s", "trouble",
    )  # fmt: skip
    return {
        "name": facts.name,
        "kind": "roughtime",
        "address": facts.address,
        "clock": facts.clock,
        "state": facts.state.value,
        "reason": facts.reason,
        "reach": facts.reach,
        "offset_s": facts.offset_s,
        "error_bound_s": facts.error_bound_s,
        "delay_s": facts.delay_s,
        "poll_s": facts.poll_s,
        # What has not the right signatures is no response.
        "authenticated": facts.received > 0,
        "interleaved": False,
        "last_sample_age_s": facts.age_s,
        "samples": facts.received,
        "outliers": 0,
        "sent": facts.sent,
        "received": facts.received,
        "drops": {},
        "details": {"roughtime": {"radius_s": facts.radius_s, "malfeasance_age_s": facts.malfeasance_age_s}},
        "trusted": False,
        "noselect": False,
        **track_object(None),
        **dict.fromkeys(unknown),
    }
