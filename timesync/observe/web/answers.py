"""What the interface answers, as values: no HTTP here."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from timesync.observe import stability
from timesync.observe.history.store import History
from timesync.observe.hub import Hub, Message
from timesync.observe.snapshot import SCHEMA

STALE_S: Final = 10.0
"""A state so old is not given as that of now."""

SERIES_AT_ONCE: Final = 12
POINTS: Final = 2000
STABILITY_POINTS: Final = 3600
LONGEST_S: Final = 100 * 366 * 86_400
EVENTS: Final = 500

_CURVE: Final = 48
"""Points of a mask's line."""


_COMPARED: Final = 100
"""Names that an unknown one is compared with: each costs up to 0.4 ms, and anybody may ask, ten times a second."""


class AskedWronglyError(Exception):
    """The question makes no sense; the message is for who asked."""


class UnknownSeriesError(Exception):
    """There is no such series; the message is for who asked.

    Attributes:
        known: The names of all that there are.
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        near = difflib.get_close_matches(name[:200], known[:_COMPARED], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        super().__init__(f"there is no series {name[:200] or 'without a name'}{hint}")
        self.known = known


class NothingKnownError(Exception):
    """There is no present state; the message is for who asked."""


class Present:
    """The last state of the daemon, as long as it is one of now."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._at_s: float | None = None

    @property
    def clients(self) -> Message | None:
        """Who has asked us for the time, as it was last told."""
        return self._hub.clients

    def came(self, now_s: float) -> None:
        """There is another state, at this monotonic moment."""
        self._at_s = now_s

    def state(self, now_s: float) -> Message:
        """It. Raises NothingKnownError."""
        if self._hub.state is None or self._at_s is None:
            raise NothingKnownError("the daemon has said nothing yet")
        if now_s - self._at_s > STALE_S:
            raise NothingKnownError(f"the daemon has said nothing for {now_s - self._at_s:.0f} s")
        return self._hub.state


def status(state: Message) -> dict[str, Any]:
    """The object of ``timesync status --json``."""
    return dict(state["status"])


def sources(state: Message) -> dict[str, Any]:
    """The object of ``timesync sources --json``."""
    return {"schema": SCHEMA, "sources": state["sources"]}


def ports(state: Message) -> dict[str, Any]:
    """The object of ``timesync ports --json``."""
    return {"schema": SCHEMA, "ports": state["ports"]}


def clients(said: Message | None) -> dict[str, Any]:
    """The object of ``timesync clients --json``. Raises NothingKnownError."""
    if said is None:
        raise NothingKnownError("nobody has said who asks")
    return {name: value for name, value in said.items() if name not in ("type", "utc_ns")}


def health(state: Message) -> tuple[bool, str]:
    """Whether the served clock may be relied upon, and a line that says why."""
    said = state["status"]
    return said["state"] in ("locked", "holdover"), f"{said['state']}: {said['reason']}\n"


def now(state: Message, utc_ns: int) -> str:
    """The system clock's time in plain lines, with what is claimed of it.

    Args:
        state: The daemon's.
        utc_ns: What the clock reads, ns since 1970, UTC.
    """
    seconds, ns = divmod(utc_ns, 10**9)
    said = state["status"]
    clock = next((one for one in said["clocks"] if one["name"] == "system"), None)
    bound_s = None if clock is None else clock["error_bound_s"]
    lines = [f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1000:06}Z"]
    lines.append("error bound unknown" if bound_s is None else f"error bound {bound_s:.9f} s")
    lines.append(f"TAI - UTC {said['tai_utc_offset_s']} s")
    return "\n".join(lines) + "\n"


# -- history


def series(history: History) -> dict[str, Any]:
    """The names of all that is kept."""
    return {"schema": SCHEMA, "series": list(history.series())}


def must_be_known(history: History, names: Iterable[str]) -> None:
    """Raises UnknownSeriesError for the first of them that has never had a value."""
    known = history.series()
    for name in names:
        if name not in known:
            raise UnknownSeriesError(name, known)


def past(history: History, names: list[str], span: tuple[int, int], points: int) -> dict[str, Any]:
    """Series over time, as columns. ``low`` and ``high`` are left out where a step has one value.

    A series that there is not gives columns without a value; see ``must_be_known``.
    """
    found: dict[str, Any] = {}
    step_s, at_s = 1, []
    for name in names:
        columns = history.query(name, *span, points)
        step_s, at_s = columns.step_s, columns.at_s
        found[name] = {"mean": _short(columns.mean)}
        if step_s > 1:
            found[name] |= {"low": _short(columns.low), "high": _short(columns.high)}
    return {"schema": SCHEMA, "step_s": step_s, "at_s": at_s, "series": found}


def stable(history: History, name: str, kind: str, span: tuple[int, int]) -> dict[str, Any]:
    """ADEV, MDEV, TDEV or MTIE of a series of offsets, and the masks that it is held against.

    Raises AskedWronglyError.
    """
    statistic = stability.STATISTICS.get(kind)
    if statistic is None:
        raise AskedWronglyError(f"kind is one of {', '.join(stability.STATISTICS)}")
    if not name.endswith("/offset_s"):
        raise AskedWronglyError("only series of offsets have a stability; their names end with /offset_s")
    columns = history.query(name, *span, STABILITY_POINTS)
    times_ns = [at * 10**9 for at in columns.at_s]
    run = stability.longest_run(times_ns, columns.mean, columns.step_s * 10**9)
    points = statistic(run.phase_s, run.tau0_s)
    shown = [point for point in points if math.isfinite(point.value)]
    return {
        "schema": SCHEMA,
        "series": name,
        "kind": kind,
        "unit": "s" if kind in ("tdev", "mtie") else "ratio",
        "tau0_s": run.tau0_s,
        # A value of more than a second is a mean over it, which makes short times look better than they are.
        "averaged": columns.step_s > 1,
        "values": len(run.phase_s),
        "whole": run.whole,
        "points": [{"tau_s": one.tau_s, "value": one.value, "count": one.count} for one in shown],
        "masks": [_mask(mask, shown) for mask in stability.MASKS if mask.statistic == kind],
    }


def _mask(mask: stability.Mask, points: list[stability.Point]) -> dict[str, Any]:
    taus = [point.tau_s for point in points]
    curve = list(_curve(mask, taus[0], taus[-1])) if taus else []
    return {
        "name": mask.name,
        "clause": mask.clause,
        "curve": curve,
        "broken_at_s": [point.tau_s for point in mask.broken(points)],
    }


def _curve(mask: stability.Mask, first_s: float, last_s: float) -> Iterator[dict[str, float]]:
    """The mask as a line, at even distances of the logarithm of time."""
    for index in range(_CURVE + 1):
        tau_s = first_s * (last_s / first_s) ** (index / _CURVE)
        limit_s = mask.limit(tau_s)
        if limit_s is not None:
            yield {"tau_s": tau_s, "limit_s": limit_s}


def events(history: History, span_ns: tuple[int, int], most: int) -> dict[str, Any]:
    """The last events, the newest last."""
    found = [
        {"utc_ns": one.utc_ns, "level": one.level, "name": one.name, "source": one.source, "text": one.text}
        for one in history.events(*span_ns, most)
    ]
    return {"schema": SCHEMA, "events": found}


# -- questions


def whole(asked: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """An integer of a question. Raises AskedWronglyError."""
    text = asked.get(name)
    if text is None:
        return default
    try:
        value = int(text) if len(text) <= 20 else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise AskedWronglyError(f"{name} is an integer from {low} to {high}")
    return value


def span_of(asked: Mapping[str, str], now_s: int, default_s: int) -> tuple[int, int]:
    """``from`` and ``to``: UTC seconds since 1970, or before now where they are negative. Raises AskedWronglyError."""
    begin = whole(asked, "from", -default_s, -LONGEST_S, 1 << 33)
    end = whole(asked, "to", now_s, -LONGEST_S, 1 << 33)
    begin, end = (now_s + at if at < 0 else at for at in (begin, end))
    if not 0 <= begin < end <= begin + LONGEST_S:
        raise AskedWronglyError("from is before to")
    return begin, end


def _short(values: list[float | None]) -> list[float | None]:
    """Seven digits, which is all that history keeps."""
    return [None if value is None else float(f"{value:.7g}") for value in values]
