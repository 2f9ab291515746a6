"""Who is let in at the web page."""

from __future__ import annotations

import pytest

from timesync.observe.http import REQUEST_BURST, REQUEST_RATE
from timesync.observe.web.guard import HISTORY_BURST, HISTORY_BURST_EACH, Guard


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def verdict(guard: Guard, method: str = "GET", **headers: str) -> int | None:
    refusal = guard.refuse(method, "127.0.0.1", {name.replace("_", "-"): [value] for name, value in headers.items()})
    return None if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "192.0.2.7:8080", "[::1]", "[2001:db8::1]:80",
             "time.example.org", "Time.Example.Org:8080"],
)  # fmt: skip
def test_names_that_are_ours(host: str) -> None:
    assert verdict(Guard(["time.example.org"], Time()), host=host) is None


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "example.org", "127.0.0.1.evil.example", "", "localhost:99999",
             "localhost:x", "local host", "[::1", "[::1]x", "127.1", "0x7f000001", "localhost@evil.example"],
)  # fmt: skip
def test_names_that_somebody_may_have_pointed_here(host: str) -> None:
    assert verdict(Guard(["time.example.org"], Time()), host=host) == 421


def test_a_request_has_one_host() -> None:
    guard = Guard([], Time())
    for hosts in ([], ["localhost", "localhost"]):
        refusal = guard.refuse("GET", "127.0.0.1", {"host": hosts})
        assert refusal is not None
        assert refusal.status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_only_reading(method: str) -> None:
    refusal = Guard([], Time()).refuse(method, "127.0.0.1", {"host": ["localhost"]})
    assert refusal is not None
    assert (405, "GET, HEAD") == (refusal.status, refusal.headers["Allow"])


def test_other_sites_get_nothing_but_may_link() -> None:
    guard = Guard([], Time())
    assert verdict(guard, host="localhost:8080", origin="http://localhost:8080") is None
    assert verdict(guard, host="localhost:8080", origin="https://localhost:8080") is None
    assert verdict(guard, host="localhost:8080", origin="http://localhost:9090") == 403
    assert verdict(guard, host="localhost:8080", origin="https://evil.example") == 403
    assert verdict(guard, host="localhost:8080", origin="null") == 403
    assert verdict(guard, host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="no-cors") == 403
    assert verdict(guard, host="localhost", sec_fetch_site="cross-site") == 403
    assert verdict(guard, host="localhost", sec_fetch_site="cross-site", sec_fetch_mode="navigate") is None
    assert verdict(guard, host="localhost", sec_fetch_site="same-origin", sec_fetch_mode="cors") is None


def test_who_asks_too_much_waits_and_others_do_not() -> None:
    now = Time()
    guard = Guard([], now)
    headers = {"host": ["localhost"]}
    for _ in range(int(REQUEST_BURST)):
        assert guard.refuse("GET", "2001:db8::1", headers) is None
    refusal = guard.refuse("GET", "2001:db8::2", headers)
    assert refusal is not None, "the same /64"
    assert (429, "5") == (refusal.status, refusal.headers["Retry-After"])
    assert guard.refuse("GET", "2001:db8:0:1::1", headers) is None
    assert guard.refuse("GET", "192.0.2.1", headers) is None
    now.now_s += 1.0
    allowed = sum(guard.refuse("GET", "2001:db8::1", headers) is None for _ in range(100))
    assert REQUEST_RATE == allowed


def test_looking_up_is_bounded_for_all_together_and_for_each_address() -> None:
    now = Time()
    guard = Guard([], now)
    assert HISTORY_BURST_EACH == sum(guard.look_up("192.0.2.1") for _ in range(1000))
    assert guard.look_up("192.0.2.2"), "the others are not shut out by that"
    # A proxy on this machine speaks for many, and may take what is left.
    assert HISTORY_BURST - HISTORY_BURST_EACH - 1 == sum(guard.look_up("127.0.0.1") for _ in range(1000))
    now.now_s += 0.15
    assert guard.look_up("::1")
    assert not guard.look_up("192.0.2.2")
