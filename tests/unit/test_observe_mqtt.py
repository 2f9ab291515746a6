"""What an MQTT broker is told, when, and how Home Assistant sees it."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from mqtt_support import HELLO, clock, port, source, state
from tls_support import make_identity

from timesync.config.observe import Mqtt, Observe, Web, parse_broker
from timesync.observe.hub import Hub
from timesync.observe.mqtt.home_assistant import Announcement, page_url
from timesync.observe.mqtt.link import (
    MAX_BACKOFF_S,
    STABLE_S,
    Access,
    Backoff,
    Link,
    LinkError,
    RefusedError,
    access,
    context,
)
from timesync.observe.mqtt.outbox import EVENTS_KEPT, Outbox
from timesync.observe.mqtt.part import MqttPart
from timesync.observe.mqtt.topics import Publication, Summarizer, Topics, level, outline
from timesync.observe.parts import Settings

TOPICS = Topics("timesync", "rack", 10.0)
WEB = Web(listen="0.0.0.0:8080")


def told(publications: list[Publication]) -> list[str]:
    return [one.topic.removeprefix("timesync/rack/") for one in publications]


# -- what


def test_a_picture_is_state_sources_and_ports_kept_by_the_broker() -> None:
    one = state(source("a"), ports=[port("eth0")])
    published = list(TOPICS.picture(HELLO, one, Summarizer().summary(one)))
    assert ["timesync/rack/state", "timesync/rack/sources", "timesync/rack/ports"] == [it.topic for it in published]
    assert all(it.retain for it in published)
    status, sources, ports = (json.loads(it.payload) for it in published)
    assert one["status"].items() <= status.items()
    assert ("rack", "rack", "1.2.3", 10.0, 10**18) == tuple(
        status[key] for key in ("name", "host", "version", "interval_s", "utc_ns")
    )
    assert one["sources"] == sources["sources"]
    assert one["ports"] == ports["ports"]


def test_events_are_not_kept_and_those_for_developers_not_told() -> None:
    event = {"utc_ns": 5, "level": "warning", "name": "step", "source": None, "text": "it stepped"}
    published = TOPICS.event({"type": "event", **event})
    assert published is not None
    assert ("timesync/rack/event", False) == (published.topic, published.retain)
    assert {"schema": 1, "appliance": "rack", **event} == json.loads(published.payload)
    assert TOPICS.event({"type": "event", **event, "level": "debug"}) is None


def test_a_summary_has_one_number_of_each_kind() -> None:
    receiver = source("sky", details={"satellites_used": 9, "antenna": "ok", "spoofing": None})
    one = state(
        source("a", state="candidate"),
        receiver,
        state="holdover",
        holdover_s=12.5,
        clocks=[clock("system", celsius=41.5)],
    )
    summary = Summarizer().summary(one)
    expected = {
        "locked": False, "offset_s": 2e-6, "error_bound_s": 1e-4, "source": "sky", "sources_used": 1, "sources": 2,
        "holdover_s": 12.5, "celsius": 41.5, "satellites_used": 9, "antenna": "ok", "spoofing": None,
        "requests_per_min": None,
    }  # fmt: skip
    assert expected.items() <= summary.items()


def test_requests_are_counted_between_two_states() -> None:
    summarizer = Summarizer()

    def rate(seconds: int, answered: int) -> float | None:
        one = state(serving={"counters": {"answered": answered}})
        one["utc_ns"] = seconds * 10**9
        found: float | None = summarizer.summary(one)["requests_per_min"]
        return found

    assert rate(0, 100) is None
    assert 30.0 == rate(10, 105)
    assert 0.0 == rate(20, 105)
    assert rate(30, 3) is None, "the server began anew"
    assert rate(20, 10) is None, "the clock was set back"


@pytest.mark.parametrize(
    ("name", "expected"), [("rack-1.example", "rack-1.example"), ("a/b+c#d$e\n", "a-b-c-d-e-"), ("", "timesync")]
)
def test_a_host_name_becomes_one_level(name: str, expected: str) -> None:
    assert expected == level(name)


def test_numbers_within_a_reason_are_no_change() -> None:
    def of(reason: str) -> object:
        return outline(state(reason=reason))

    assert of("no usable source for 12.5 s: none answers") == of("no usable source for 2 min: none answers")
    assert of("follows a") != of("follows b")


# -- when


class Pace:
    """A clock in the test's hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_change_is_told_at_once_and_all_else_at_its_interval() -> None:
    async def main() -> None:
        hub, pace = Hub(), Pace()
        outbox = Outbox(hub, TOPICS, None, pace)
        hub.on("state", outbox.state)

        def after(seconds: float, message: dict[str, Any]) -> list[str]:
            pace.now += seconds
            hub.take(message)
            return told(outbox.picture())

        first = ["state", "sources", "ports"]
        assert first == after(0, state(source("a")))
        assert [] == after(1, state(source("a")))
        assert not await outbox.wait(0.0) or told(outbox.picture()) == []
        assert first == after(1, state(source("a", state="candidate")))
        for _ in range(9):
            assert [] == after(1, state(source("a", state="candidate")))
        assert first == after(0.7, state(source("a", state="candidate"))), "nearly ten seconds"
        assert first == after(1, state(source("a"), state="holdover"))
        assert first == after(1, state(source("a"), state="holdover", ports=[port("e", state="FAULTY")]))
        outbox.anew()
        assert first == told(outbox.picture()), "somebody else is told"

    asyncio.run(main())


def test_nothing_grows_while_nobody_listens() -> None:
    async def main() -> None:
        hub = Hub()
        outbox = Outbox(hub, TOPICS, None, Pace())
        hub.on("state", outbox.state)
        hub.on("event", outbox.event)
        for number in range(5000):
            hub.take(state(source("a"), uptime_s=float(number)))
            hub.take({"type": "event", "utc_ns": number, "level": "info", "name": "n", "source": None, "text": "t"})
        outbox.anew()
        assert 4999.0 == json.loads(outbox.picture()[0].payload)["uptime_s"], "the last one, not all"
        kept = list(iter(outbox.next_event, None))
        assert list(range(5000 - EVENTS_KEPT, 5000)) == [json.loads(one.payload)["utc_ns"] for one in kept]

    asyncio.run(main())


def test_a_daemon_that_says_nothing_is_noticed() -> None:
    async def main() -> None:
        hub, pace = Hub(), Pace()
        outbox = Outbox(hub, TOPICS, None, pace)
        hub.on("state", outbox.state)
        assert not outbox.heard_within(10)
        hub.take(state())
        assert outbox.heard_within(10)
        pace.now += 10
        assert not outbox.heard_within(10)

    asyncio.run(main())


def test_tries_are_further_apart_each_time_and_never_all_at_once() -> None:
    backoff = Backoff(random.Random(5))
    pauses = [backoff.pause_s(0.1) for _ in range(12)]
    dues = [min(2.0**number, MAX_BACKOFF_S) for number in range(12)]
    assert all(due / 2 <= pause <= due for due, pause in zip(dues, pauses, strict=True))
    assert len(set(pauses)) == 12
    assert backoff.pause_s(STABLE_S) <= 1.0, "it was well meanwhile"


# -- Home Assistant

# What its documentation allows: device discovery payload, sensor and binary sensor by MQTT, device registry.
DEVICE_KEYS = {
    "identifiers", "connections", "manufacturer", "model", "model_id", "name", "hw_version", "serial_number",
    "sw_version", "via_device", "suggested_area", "configuration_url",
}  # fmt: skip
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
SHARED_KEYS = {
    "device", "origin", "components", "availability", "availability_mode", "availability_template",
    "availability_topic", "payload_available", "payload_not_available", "state_topic", "command_topic", "qos",
    "encoding",
}  # fmt: skip
ENTITY_KEYS = {
    "platform", "unique_id", "name", "value_template", "expire_after", "device_class", "entity_category", "icon",
    "enabled_by_default", "json_attributes_topic", "json_attributes_template", "force_update",
}  # fmt: skip
SENSOR_KEYS = ENTITY_KEYS | {"state_class", "unit_of_measurement", "options", "suggested_display_precision"}
BINARY_KEYS = ENTITY_KEYS | {"payload_on", "payload_off", "off_delay"}
DEVICE_CLASSES = {"sensor": {"enum", "duration", "temperature"}, "binary_sensor": {"problem"}}


def announced(one: dict[str, Any], web: Web | None = WEB, topics: Topics = TOPICS) -> dict[str, Any]:
    publication = Announcement(topics, "homeassistant", web).publication(HELLO, one, Summarizer().summary(one))
    assert publication.retain
    assert "homeassistant/device/timesync_timesync_rack/config" == publication.topic
    payload = json.loads(publication.payload)
    assert isinstance(payload, dict)
    return payload


def full_state() -> dict[str, Any]:
    said = {"satellites_used": 9, "satellites_seen": 12, "antenna": "ok", "jamming": "ok", "spoofing": "none"}
    return state(
        source("sky", details=said), clocks=[clock("system", celsius=40.0)], serving={"counters": {"answered": 1}}
    )


def test_the_announcement_has_the_documented_form() -> None:
    payload = announced(full_state())
    assert {"device", "origin", "components"} <= payload.keys() <= SHARED_KEYS
    assert payload["device"].keys() <= DEVICE_KEYS
    assert payload["device"]["identifiers"]
    assert {"name"} <= payload["origin"].keys() <= ORIGIN_KEYS
    assert "http://rack:8080/" == payload["device"]["configuration_url"]
    assert ("timesync/rack/availability", "online", "offline") == tuple(
        payload[key] for key in ("availability_topic", "payload_available", "payload_not_available")
    )
    components = payload["components"]
    assert 12 <= len(components) <= 20
    assert len(components) == len({one["unique_id"] for one in components.values()})
    for one in components.values():
        assert one.keys() <= {"sensor": SENSOR_KEYS, "binary_sensor": BINARY_KEYS}[one["platform"]]
        assert one.get("entity_category", "diagnostic") == "diagnostic"
        assert isinstance(one["expire_after"], int)
        assert one.get("device_class") in {None, *DEVICE_CLASSES[one["platform"]]}
        # An enum has options, and neither unit nor state class; other sensors have no options.
        assert ("options" in one) is (one.get("device_class") == "enum")
        assert not ("options" in one and {"unit_of_measurement", "state_class"} & one.keys())
        assert "unit_of_measurement" not in one or one["platform"] == "sensor"


def test_every_template_names_what_is_published() -> None:
    one = full_state()
    summary = Summarizer().summary(one)
    status = json.loads(next(TOPICS.picture(HELLO, one, summary)).payload)
    for key, entity in announced(one)["components"].items():
        for word in entity["value_template"].replace("(", " ").replace(")", " ").split():
            if word.startswith("value_json."):
                found: Any = status
                for step in word.split(".")[1:]:
                    assert step in found, f"{key}: {word}"
                    found = found[step]


def test_values_expire_after_three_intervals_but_not_too_soon() -> None:
    assert 30 == announced(state())["components"]["locked"]["expire_after"]
    assert 180 == announced(state(), topics=Topics("timesync", "rack", 60.0))["components"]["locked"]["expire_after"]


def test_what_is_not_there_is_announced_when_it_comes_and_not_taken_back() -> None:
    announcement = Announcement(TOPICS, "homeassistant", None)

    def components(one: dict[str, Any]) -> set[str]:
        return set(json.loads(announcement.publication(HELLO, one, Summarizer().summary(one)).payload)["components"])

    extra = {"satellites", "antenna", "jamming", "spoofing", "temperature", "requests"}
    assert not extra & components(state())
    assert extra <= components(full_state())
    assert extra <= components(state())


@pytest.mark.parametrize(
    ("listen", "hosts", "expected"),
    [
        ("127.0.0.1:8080", (), None),
        ("127.0.0.1:8080", ("time.example",), "http://time.example:8080/"),
        ("192.0.2.7:80", (), "http://192.0.2.7:80/"),
        ("[2001:db8::7]:8080", (), "http://[2001:db8::7]:8080/"),
        ("[::]:8080", (), "http://rack:8080/"),
    ],
)
def test_the_page_is_linked_where_others_can_open_it(listen: str, hosts: tuple[str, ...], expected: str | None) -> None:
    assert expected == page_url(Web(listen=listen, hosts=hosts), "rack")


# -- the connection


def test_certificate_and_key_are_taken_from_memory() -> None:
    authority = make_identity("authority", authority=True, now_s=time.time())
    client = make_identity("client", issuer=authority, now_s=time.time())
    made = context(authority.pem, client.pem, client.key_pem)
    assert (ssl.CERT_REQUIRED, True) == (made.verify_mode, made.check_hostname)
    assert 1 == made.cert_store_stats()["x509_ca"], "those of the system are not trusted beside it"
    stranger = make_identity("stranger", now_s=time.time())
    with pytest.raises(OSError, match="do not work together"):
        context(authority.pem, client.pem, stranger.key_pem)
    with pytest.raises(OSError, match="no certificate in PEM form"):
        context(b"nonsense", None, None)


def test_the_password_is_the_first_line() -> None:
    broker = parse_broker("mqtt://localhost")
    assert Access(broker, "a", "wört", None) == access(broker, "a", {"password_file": "wört\r\nsecond\n".encode()})
    with pytest.raises(OSError, match="no password"):
        access(broker, "a", {"password_file": b"\nsecond\n"})


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """Takes connections, and says nothing on them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_nobody_there_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        where = f"mqtt://127.0.0.1:{free.getsockname()[1]}"

    async def main() -> None:
        with pytest.raises(LinkError, match=f"{where} cannot be reached: Connection refused"):
            await Link(Access(parse_broker(where))).open()

    asyncio.run(main())


class Desk:
    """A part's desk that keeps its notes."""

    def __init__(self, mqtt: Mqtt) -> None:
        self.settings = Settings(Observe(mqtt=mqtt), None, {}, {})
        self.hub = Hub()
        self.notes: list[tuple[str, str, str]] = []

    def note(self, level: str, name: str, text: str) -> None:
        self.notes.append((level, name, text))

    def begin(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)


def test_a_file_that_could_not_be_read_is_said_by_its_key() -> None:
    async def main() -> None:
        desk = Desk(Mqtt(broker="mqtt://localhost", username="a", password_file="/secret"))
        with pytest.raises(OSError, match="password_file: /secret could not be read"):
            await MqttPart(desk).start()  # type: ignore[arg-type]

    asyncio.run(main())


def test_hours_without_a_broker_cost_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    enough = asyncio.Event()

    async def refused(self: Link) -> None:
        nonlocal tries
        tries += 1
        if tries == 1000:
            enough.set()
        if tries > 500:
            raise RefusedError("mqtt://b refuses us: wrong user name or password")
        raise LinkError("mqtt://b cannot be reached: Connection refused")

    async def main() -> None:
        monkeypatch.setattr(Link, "open", refused)
        monkeypatch.setattr(Backoff, "pause_s", lambda self, lasted_s: 0.0)
        desk = Desk(Mqtt(broker="mqtt://b"))
        part = MqttPart(desk)  # type: ignore[arg-type]
        await part.start()
        await enough.wait()
        await part.stop()
        # What somebody must mend is said when it comes to light, and once.
        assert ["cannot be reached", "refuses us"] == [
            note[2].split("//b ")[1].partition(":")[0] for note in desk.notes
        ]

    asyncio.run(main())


def test_ending_does_not_wait_for_a_broker_that_says_nothing(deaf: socket.socket) -> None:
    async def main() -> None:
        desk = Desk(Mqtt(broker=f"mqtt://127.0.0.1:{deaf.getsockname()[1]}"))
        part = MqttPart(desk)  # type: ignore[arg-type]
        await part.start()
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await part.stop()
        assert time.monotonic() - began < 1.5

    asyncio.run(main())
