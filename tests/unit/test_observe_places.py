"""Places shared by users."""

from __future__ import annotations

from timesync.observe.places import Place, Places, Refusal

ROOT = 0


class Hall:
    """Eight places, of which two are kept for root."""

    def __init__(self) -> None:
        self.places = Places(8, {ROOT})
        self.left: list[str] = []
        self.idle: set[str] = set()

    def enter(self, user: int, name: str) -> Place | Refusal:
        place = Place(user, lambda: name in self.idle, lambda: self.left.append(name))
        return self.places.take(place) or place

    def names(self, user: int, names: str) -> list[Place | Refusal]:
        return [self.enter(user, name) for name in names]


def test_a_user_holds_half_and_root_all() -> None:
    hall = Hall()
    assert Refusal.SHARE is hall.names(1, "abcde")[-1]
    hall = Hall()
    assert Refusal.FULL is hall.names(ROOT, "abcdefghi")[-1]
    assert 8 == len(hall.places)


def test_a_quarter_is_kept_for_root() -> None:
    hall = Hall()
    for user in range(1, 7):
        assert isinstance(hall.enter(user, "a"), Place)
    assert Refusal.FULL is hall.enter(7, "b")
    assert [] == [one for one in hall.names(ROOT, "rs") if isinstance(one, Refusal)]
    assert Refusal.FULL is hall.enter(ROOT, "t")
    assert [] == hall.left


def test_the_oldest_idle_place_gives_way_first_of_all() -> None:
    hall = Hall()
    hall.names(1, "abc")
    hall.names(2, "def")
    hall.idle = {"f", "e"}
    assert isinstance(hall.enter(3, "g"), Place)
    assert isinstance(hall.enter(3, "h"), Place)
    assert ["e", "f"] == hall.left


def test_at_ones_share_only_ones_own_idle_places_give_way() -> None:
    hall = Hall()
    hall.enter(2, "x")
    hall.names(1, "abcd")
    hall.idle = {"x"}
    assert Refusal.SHARE is hall.enter(1, "e")
    hall.idle = {"x", "c"}
    assert isinstance(hall.enter(1, "e"), Place)
    assert ["c"] == hall.left


def test_who_holds_the_most_gives_way_until_all_hold_as_much() -> None:
    hall = Hall()
    hall.names(1, "abcd")
    hall.names(2, "ef")
    assert [] == [one for one in hall.names(3, "gh") if isinstance(one, Refusal)]
    assert ["a", "b"] == hall.left
    assert Refusal.FULL is hall.enter(3, "i")


def test_root_is_not_displaced_and_displaces_as_others_do() -> None:
    hall = Hall()
    hall.names(ROOT, "abcdef")
    assert Refusal.FULL is hall.enter(1, "x")
    hall = Hall()
    hall.names(1, "abcd")
    hall.names(2, "ef")
    assert [] == [one for one in hall.names(ROOT, "rst") if isinstance(one, Refusal)]
    assert ["a"] == hall.left


def test_a_place_is_free_once_only() -> None:
    hall = Hall()
    first = hall.enter(1, "a")
    assert isinstance(first, Place)
    hall.places.free(first)
    hall.places.free(first)
    assert 0 == len(hall.places)
