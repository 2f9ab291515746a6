"""Clocks and links: which clock is fed by what.

References and the clocks of this machine are nodes, links join them. ``plan`` grows the cheapest-path tree from the
clocks that have usable references over the links between clocks: a tree has no loop, and no clock has two masters.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from timesync.base.ids import ClockId, SourceId


@dataclass(frozen=True, slots=True)
class CrossLink:
    """A usable link between two clocks of this machine.

    Attributes:
        source: The identity under which its measurements are tracked.
        child: The clock that takes the reading.
        parent: The clock it is compared with.
        noise_s: Its cost: one standard deviation of a comparison.
    """

    source: SourceId
    child: ClockId
    parent: ClockId
    noise_s: float


@dataclass(frozen=True, slots=True)
class Feed:
    """What feeds one clock.

    Attributes:
        sources: The sources whose measurements enter its estimator.
        parent: The clock it follows; None when it follows references of its own.
        cost_s: Accumulated noise from the references to it.
    """

    sources: tuple[SourceId, ...]
    parent: ClockId | None
    cost_s: float


def plan(
    references: Mapping[ClockId, tuple[float, tuple[SourceId, ...]]], links: Iterable[CrossLink]
) -> dict[ClockId, Feed]:
    """Feed every clock that can be reached.

    Args:
        references: Per clock that has selected references: their combined noise in seconds, and which they are.
        links: The usable links between clocks; each may be followed from parent to child.

    Returns:
        The feed of each clock that is reached. A clock follows its own references unless a path over a
        parent is cheaper.
    """
    outgoing: dict[ClockId, list[CrossLink]] = {}
    for link in links:
        outgoing.setdefault(link.parent, []).append(link)
    queue: list[tuple[float, str, ClockId, Feed]] = [
        (cost, "", clock, Feed(sources, None, cost)) for clock, (cost, sources) in references.items()
    ]
    heapq.heapify(queue)
    feeds: dict[ClockId, Feed] = {}
    while queue:
        cost, _, clock, feed = heapq.heappop(queue)
        if clock in feeds:
            continue
        feeds[clock] = feed
        for link in outgoing.get(clock, ()):
            if link.child not in feeds:
                total = cost + link.noise_s
                heapq.heappush(queue, (total, link.source, link.child, Feed((link.source,), clock, total)))
    return feeds
