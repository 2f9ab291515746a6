"""States of an appliance as the daemon's stream has them, for what is published of them."""

from __future__ import annotations

from typing import Any

HELLO = {"type": "hello", "schema": 1, "version": "1.2.3", "host": "rack", "pid": 7}


def clock(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "offset_s": 2e-6, "offset_uncertainty_s": 1e-7, "error_bound_s": 1e-4, "frequency_ppm": 1.25,
        "celsius": None, **changed,
    }  # fmt: skip


def source(name: str, address: str | None = None, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "kind": "ntp", "address": address, "clock": "system", "state": "selected", "stratum": 1,
        "reference_id": "GPS", "offset_s": 0.0, "uncertainty_s": 1e-6, "delay_s": 2e-4, "details": {}, **changed,
    }  # fmt: skip


def port(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": name, "domain": 0, "state": "TIME_RECEIVER", "identity": "000000.0000.000001-1", "parent": None,
        "offset_s": 1e-7, "mean_delay_s": 1e-6, **changed,
    }  # fmt: skip


def state(*sources: dict[str, Any], ports: list[dict[str, Any]] | None = None, **changed: Any) -> dict[str, Any]:
    status = {
        "state": "locked", "reason": "follows a", "holdover_s": None, "served_clock": "system", "stratum": 2,
        "reference_id": "192.0.2.1", "leap": "none", "error_bound_s": 1e-4, "uptime_s": 10.0,
        "clocks": [clock("system")], "serving": {"ntp": [], "addresses": [], "counters": None}, "warnings": [],
    }  # fmt: skip
    status.update(changed)
    return {"type": "state", "utc_ns": 10**18, "status": status, "sources": list(sources), "ports": ports or []}
