"""The appliance as a device of Home Assistant: one retained announcement of all entities (device discovery)."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from timesync.config.observe import Web
from timesync.observe.hub import Message
from timesync.observe.mqtt.topics import AVAILABILITY, OFFLINE, ONLINE, RECEIVER, STATE, Publication, Topics
from timesync.servo.view import ServoState

_NOT_IN_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_LEAST_EXPIRY_S: Final = 30
_INTERVALS: Final = 3
"""So many publications may be missed before the last one counts for nothing."""

_LEAPS: Final = ("none", "insert", "delete")
_DIAGNOSTIC: Final = {"entity_category": "diagnostic"}
_MEASURED: Final = {"state_class": "measurement"}


class Announcement:
    """What Home Assistant is told of an appliance.

    What only some appliances have is announced from when it is first seen: a receiver, a thermometer, an NTP server.
    """

    def __init__(self, topics: Topics, prefix: str, web: Web | None) -> None:
        """Nothing is announced yet.

        Args:
            topics: Where the appliance publishes.
            prefix: Where Home Assistant looks.
            web: The appliance's page.
        """
        self._topics = topics
        self._prefix = prefix
        self._web = web
        self._seen: set[str] = set()

    def publication(self, hello: Message | None, state: Message, summary: Mapping[str, Any]) -> Publication:
        """The announcement as it is right for this state and those before."""
        self._seen.update(key for key in (*RECEIVER, "celsius") if summary[key] is not None)
        if state["status"]["serving"]["counters"] is not None:
            self._seen.add("requests_per_min")
        identity = f"timesync_{_NOT_IN_AN_ID.sub('_', f'{self._topics.root}_{self._topics.name}')}"
        payload = json.dumps(self._device(identity, hello), allow_nan=False, separators=(",", ":"))
        return Publication(f"{self._prefix}/device/{identity}/config", payload.encode(), retain=True)

    def _device(self, identity: str, hello: Message | None) -> dict[str, Any]:
        version = {} if hello is None else {"sw_version": hello["version"]}
        page = page_url(self._web, None if hello is None else hello["host"])
        expiry_s = max(math.ceil(_INTERVALS * self._topics.interval_s), _LEAST_EXPIRY_S)
        return {
            "device": {
                "identifiers": [identity],
                "name": self._topics.name,
                "manufacturer": "timesync",
                "model": "NTP and PTP time service",
                **version,
                **({} if page is None else {"configuration_url": page}),
            },
            "origin": {"name": "timesync", **version},
            "availability_topic": self._topics.of(AVAILABILITY),
            "payload_available": ONLINE,
            "payload_not_available": OFFLINE,
            "state_topic": self._topics.of(STATE),
            "qos": 1,
            "components": {
                key: {"unique_id": f"{identity}_{key}", "expire_after": expiry_s, **entity}
                for key, entity in self._entities()
            },
        }

    def _entities(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "locked", _binary("Locked", "value_json.summary.locked", icon="mdi:clock-check-outline")
        states = [state.value for state in ServoState]
        yield "state", _sensor("State", "value_json.state", device_class="enum", options=states)
        yield "error_bound", _micro("Error bound", "error_bound_s", icon="mdi:arrow-expand-horizontal")
        yield "offset", _micro("Offset", "offset_s", icon="mdi:arrow-left-right")
        yield "source", _sensor("Source", "value_json.summary.source", icon="mdi:antenna")
        yield "holdover", _seconds("Holdover", "value_json.summary.holdover_s", **_MEASURED)
        if "satellites_used" in self._seen:
            yield (
                "satellites",
                _sensor(
                    "Satellites used", "value_json.summary.satellites_used", icon="mdi:satellite-variant", **_MEASURED
                ),
            )
        for key in ("antenna", "jamming", "spoofing"):
            if key in self._seen:
                yield key, _sensor(key.capitalize(), f"value_json.summary.{key}", **_DIAGNOSTIC)
        if "celsius" in self._seen:
            yield "temperature", _sensor(
                "Oscillator temperature", "value_json.summary.celsius",
                device_class="temperature", unit_of_measurement="°C", **_MEASURED, **_DIAGNOSTIC,
            )  # fmt: skip
        if "requests_per_min" in self._seen:
            yield "requests", _sensor(
                "NTP requests", _rounded("requests_per_min", 1, 1),
                unit_of_measurement="1/min", icon="mdi:swap-horizontal", **_MEASURED, **_DIAGNOSTIC,
            )  # fmt: skip
        yield "frequency", _sensor(
            "Frequency error", _rounded("frequency_ppm", 1, 4),
            unit_of_measurement="ppm", icon="mdi:sine-wave", **_MEASURED, **_DIAGNOSTIC,
        )  # fmt: skip
        yield "stratum", _sensor("Stratum", "value_json.stratum", icon="mdi:layers-outline", **_DIAGNOSTIC)
        yield "leap", _sensor(
            "Leap second", "value_json.leap if value_json.leap != 'unknown' else none",
            device_class="enum", options=list(_LEAPS), **_DIAGNOSTIC,
        )  # fmt: skip
        yield "uptime", _seconds("Running for", "value_json.uptime_s | round(0)", **_DIAGNOSTIC)
        yield "warnings", _binary(
            "Warnings", "value_json.warnings", device_class="problem",
            json_attributes_topic=self._topics.of(STATE),
            json_attributes_template="{{ {'warnings': value_json.warnings} | to_json }}", **_DIAGNOSTIC,
        )  # fmt: skip


def _sensor(name: str, value: str, **more: Any) -> dict[str, Any]:
    """A number or a word; null becomes None, which Home Assistant shows as unknown."""
    return {"platform": "sensor", "name": name, "value_template": f"{{{{ {value} }}}}", **more}


def _binary(name: str, condition: str, **more: Any) -> dict[str, Any]:
    template = f"{{{{ 'ON' if {condition} else 'OFF' }}}}"
    return {"platform": "binary_sensor", "name": name, "value_template": template, **more}


def _micro(name: str, key: str, **more: Any) -> dict[str, Any]:
    return _sensor(
        name, _rounded(key, 1_000_000, 3), unit_of_measurement="µs", suggested_display_precision=3, **_MEASURED, **more
    )


def _seconds(name: str, value: str, **more: Any) -> dict[str, Any]:
    return _sensor(name, value, device_class="duration", unit_of_measurement="s", **more)


def _rounded(key: str, factor: int, digits: int) -> str:
    value = f"value_json.summary.{key}"
    scaled = value if factor == 1 else f"({value} * {factor})"
    return f"{scaled} | round({digits}) if {value} is not none else none"


def page_url(web: Web | None, host: str | None) -> str | None:
    """Where others open the page; None when there is none, or none that others can reach."""
    if web is None:
        return None
    address = ipaddress.ip_address(web.listen.address)
    if web.hosts:
        name = web.hosts[0]
    elif address.is_loopback or (address.is_unspecified and not host):
        return None
    elif address.is_unspecified:
        name = str(host)
    else:
        name = f"[{address}]" if address.version == 6 else str(address)
    return f"http://{name}:{web.listen.port}/"
