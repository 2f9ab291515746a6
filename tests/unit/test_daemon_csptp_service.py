"""The daemon's server of CSPTP over simulated cards: who is answered, what is counted, what is said."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from csptp_bench import CLIENT_ADDRESS, Bench, served

from timesync.config.schema import Config
from timesync.ntp.client_log import ClientList


def _count(bench: Bench) -> list[tuple[int, dict[str, int]]]:
    return [(facts.answered, dict(facts.drops)) for facts in bench.service.facts()]


def _run(seconds: float = 10, **serve: Any) -> tuple[Bench, tuple[int, dict[str, int]]]:
    """A client that asks every second; what the server counted a little before the end."""
    bench = Bench(serve=serve, poll=["1s", "1s"])
    counted: list[tuple[int, dict[str, int]]] = []
    bench.play(seconds, (seconds - 0.01, lambda: counted.extend(_count(bench))))
    return bench, counted[0]


def test_clients_are_answered_and_counted() -> None:
    bench, (answered, drops) = _run()
    assert (len(bench.stand.heard), {}) == (answered, drops)
    assert answered >= 9
    assert [] == bench.notes


def test_it_tells_where_it_serves() -> None:
    bench = Bench(serve={"transports": ["udp4", "udp6"], "domain": 130}, domain=130)
    seen: list[tuple[object, ...]] = []

    def look() -> None:
        seen.extend((one.interface, one.transport, one.domain, one.timestamping) for one in bench.service.facts())

    bench.play(4, (3, look))
    assert [("eth0", "udp4", 130, "software"), ("eth0", "udp6", 130, "software")] == seen
    assert len(bench.stand.heard) >= 2


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        ({"deny": [f"{CLIENT_ADDRESS}/32"]}, "denied"),
        ({"allow": ["198.51.100.0/24"]}, "denied"),
    ],
)
def test_who_may_not_ask_gets_nothing(serve: dict[str, Any], why: str) -> None:
    bench, (answered, drops) = _run(**serve)
    assert (0, [why], []) == (answered, list(drops), bench.stand.heard)


def test_a_client_of_another_domain_is_not_even_heard() -> None:
    bench, counted = _run(domain=129)
    assert ((0, {}), []) == (counted, bench.stand.heard)


def test_who_asks_too_often_is_answered_now_and_then() -> None:
    bench, (answered, drops) = _run(400, rate_limit={"interval": "10s", "burst": 2})
    asked = answered + drops["rate"]
    assert asked >= 380
    # One in 10 s, and one in four of the others, so that nobody can be silenced in his own name.
    assert 80 <= answered <= 180
    assert len(bench.stand.heard) == answered


def test_an_interface_that_comes_late_is_served_from_then_on() -> None:
    bench = Bench(poll=["1s", "1s"])
    card = bench.far.cards.pop("eth0")
    troubles: list[tuple[str, ...]] = []
    bench.play(
        20,
        (5, lambda: troubles.append(bench.service.troubles())),
        (6, lambda: bench.far.cards.update(eth0=card)),
        (15, lambda: troubles.append(bench.service.troubles())),
    )
    why = "CSPTP cannot be served on eth0 over udp4: there is no such interface; trying again"
    assert [(why,), ()] == troubles
    assert [why] == [note.text for note in bench.notes]
    assert len(bench.stand.heard) >= 8


def test_an_interface_that_goes_is_said() -> None:
    bench = Bench(poll=["1s", "1s"])

    def pull() -> None:
        bench.far_card.remove()
        del bench.far.cards["eth0"]

    seen: list[object] = []
    bench.play(10, (4.2, pull), (5, lambda: seen.extend((bench.service.facts(), len(bench.service.troubles())))))
    assert [(), 1] == seen
    assert ["csptp-serve"] == sorted({note.name for note in bench.notes})


def test_a_clock_that_is_not_there_serves_nobody() -> None:
    bench = Bench(serve={"interfaces": ["eth1"]})
    cards = {"clocks": {"far": {"virtual": {}}, "nic": {"phc": "eth1"}}}
    bench.config = bench.config.model_copy(update={"clocks": Config.model_validate(cards).clocks})
    bench.play(5)
    assert ["CSPTP cannot be served on eth1 over udp4: clock nic is not there; trying again"] == [
        note.text for note in bench.notes
    ]


def test_a_reload_changes_what_is_served_and_leaves_the_rest_alone() -> None:
    bench = Bench(poll=["1s", "1s"])
    counted: list[object] = []

    def same() -> None:
        bench.service.configure(served())
        counted.extend(_count(bench))

    def other() -> None:
        bench.service.configure(served(deny=["0.0.0.0/0"]))

    def nothing() -> None:
        bench.service.configure(Config.model_validate({}))
        counted.append(bench.service.facts())

    bench.play(12, (4.2, same), (6.2, other), (10, nothing))
    first = counted[0]
    assert isinstance(first, tuple)
    assert first[0] >= 4  # the count goes on
    assert () == counted[1]
    assert 6.2 > max(at for at, _, _ in bench.stand.heard)


def test_who_asks_is_noted_and_known_after_a_reload() -> None:
    bench = Bench(poll=["1s", "1s"])
    seen: list[tuple[int, int, int]] = []

    def look() -> None:
        (found,) = bench.service.clients().records
        assert CLIENT_ADDRESS == str(ip_address(found.address))
        seen.append((found.requests, found.answered, found.dropped))

    def deny() -> None:
        bench.service.configure(served(deny=["0.0.0.0/0"]))

    bench.play(12, (5.5, look), (5.6, deny), (11.5, look))
    (before, answered, none), (after, still, dropped) = seen
    assert (before, 0) == (answered, none)
    assert before >= 4
    assert (after - dropped, answered) == (still, still)
    assert dropped >= 4


def test_nobody_is_noted_where_that_is_not_wanted() -> None:
    bench = Bench(serve={"clients": 0}, poll=["1s", "1s"])
    seen: list[object] = []
    bench.play(6, (5, lambda: seen.append(bench.service.clients())))
    assert [ClientList([], 0)] == seen
    assert bench.stand.heard
