"""Who may hold a conversation when there is not room for all: shares of users, a reserve, and who gives way.

It knows nothing of sockets: users are numbers, and the time is an argument.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto


class Refusal(Enum):
    """Why somebody gets no place."""

    SHARE = auto()
    """The user holds all that one may."""
    FULL = auto()
    """All places are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What somebody holds.

    Attributes:
        user: Whose it is.
        idle: Whether nothing is done there for anybody, so that it gives way to all who come.
        leave: Ends what goes on there; called when it has given way.
    """

    user: int
    idle: Callable[[], bool]
    leave: Callable[[], None]


class Places:
    """A number of places, divided among users.

    A user holds half of them at most. A quarter is kept for ``keepers``, for whom there is no such bound. Where there
    is no room the oldest idle place gives way; and where none is idle, the oldest of the user who holds the most, for
    somebody who then holds no more than that user still does. So who comes for the first time is let in, unless all
    who are there hold one place each.

    Args:
        total: How many there are.
        keepers: Users who keep the machine.
    """

    def __init__(self, total: int, keepers: Collection[int]) -> None:
        self._total = total
        self._keepers = frozenset(keepers)
        self._held: list[Place] = []  # the oldest first

    def __len__(self) -> int:
        return len(self._held)

    def take(self, place: Place) -> Refusal | None:
        """Let somebody in, though another one may have to leave for that; or why not."""
        keeper = place.user in self._keepers
        mine = [held for held in self._held if held.user == place.user]
        if not keeper and len(mine) >= self._total // 2:
            refusal, giving_way = Refusal.SHARE, _oldest_idle(mine)
        elif len(self._held) >= self._total - (0 if keeper else self._total // 4):
            refusal, giving_way = Refusal.FULL, _oldest_idle(self._held) or self._of_most(len(mine))
        else:
            self._held.append(place)
            return None
        if giving_way is None:
            return refusal
        self._held.remove(giving_way)
        self._held.append(place)
        giving_way.leave()
        return None

    def free(self, place: Place) -> None:
        """Somebody has left; nothing to do if he had to give way."""
        if place in self._held:
            self._held.remove(place)

    def _of_most(self, mine: int) -> Place | None:
        """The oldest place of the user who holds the most, when that are at least two more than ``mine``."""
        counts = Counter(held.user for held in self._held if held.user not in self._keepers)
        user, most = max(counts.items(), key=lambda item: item[1], default=(0, 0))
        return next(held for held in self._held if held.user == user) if most >= mine + 2 else None


def _oldest_idle(places: Collection[Place]) -> Place | None:
    return next((place for place in places if place.idle()), None)
