"""Own metrics of what is served: NTP, NTS and CSPTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timesync.observe.metrics.table import Described, Message, Row, Rows, Scene, each, number, one

_RESULTS: Final = ("answered", "denied", "limited", "bad", "late", "auth_failed")
"""Every datagram received is one of these."""

_FEATURES: Final = {
    "interleaved": "interleaved",
    "authenticated": "authenticated",
    "nts": "nts",
    "over_ptp": "over_ptp",
    "hardware": "hardware_timestamp",
}
_VERSIONS: Final = (1, 2, 3, 4, 5)
_NO_RESULTS: Final = ("connections", "post-quantum")


def _counters(scene: Scene) -> Message:
    """Empty when nothing is served."""
    counters: Message | None = scene.status["serving"]["counters"]
    return {} if counters is None else counters


def _named(names: dict[str, str]) -> Rows:
    """Some of the counters, with a label each."""

    def rows(scene: Scene) -> Iterator[Row]:
        counters = _counters(scene)
        for key, label in names.items():
            if key in counters:
                yield (label,), float(counters[key])

    return rows


def _count(key: str) -> Rows:
    def rows(scene: Scene) -> Iterator[Row]:
        yield (), number(key)(_counters(scene))

    return rows


def _established(scene: Scene) -> Iterator[Row]:
    nts = scene.status["nts"]
    for result, count in ({} if nts is None else nts["counters"]).items():
        if result not in _NO_RESULTS:
            yield (result,), float(count)


def _certificates(scene: Scene) -> Iterator[tuple[tuple[str, ...], Message]]:
    nts = scene.status["nts"]
    for certificate in [] if nts is None else nts["certificates"]:
        yield (certificate["file"],), certificate


def _refused(status: Message) -> float | None:
    return None if status["nts"] is None else float(len(status["nts"]["refused"]))


def _csptp(scene: Scene) -> Iterator[Row]:
    for served in scene.status["serving"]["csptp"]:
        labels = (served["interface"], str(served["domain"]))
        yield (*labels, "answered"), float(served["answered"])
        for reason, count in served["drops"].items():
            yield (*labels, reason), float(count)


SERVING: Final = (
    Described(
        "timesync_ntp_requests_total", "Datagrams that came to the NTP server, by what became of them.",
        _named({name: name for name in _RESULTS}), ("result",), kind="counter",
    ),
    Described(
        "timesync_ntp_responses_total", "Answers of the NTP server, by version.",
        _named({f"version_{version}": str(version) for version in _VERSIONS}), ("version",), kind="counter",
    ),
    Described(
        "timesync_ntp_featured_responses_total", "Answers of the NTP server that had something special.",
        _named(_FEATURES), ("feature",), kind="counter",
    ),
    Described("timesync_ntp_kisses_total", "Kiss-o'-death answers.", _count("kod"), kind="counter"),
    Described(
        "timesync_ntp_nts_naks_total", "Requests whose NTS cookie does not open.", _count("nts_nak"), kind="counter"
    ),
    Described("timesync_ntp_unsent_total", "Answers that the kernel did not take.", _count("unsent"), kind="counter"),
    Described(
        "timesync_ntp_worker_restarts_total", "Worker processes that died and were started again.",
        _count("restarts"), kind="counter",
    ),
    Described(
        "timesync_nts_ke_connections_total", "Connections to NTS-KE.", one(number("nts.counters.connections")),
        kind="counter",
    ),
    Described(
        "timesync_nts_ke_total", "Connections to NTS-KE, by what became of them.", _established, ("result",),
        kind="counter",
    ),
    Described(
        "timesync_nts_ke_post_quantum_total", "Of these, with a key exchange that no quantum computer breaks.",
        one(number("nts.counters.post-quantum")), kind="counter",
    ),
    Described(
        "timesync_nts_master_key_age_seconds", "Since the key of the cookies was changed.",
        one(number("nts.master_key.age_s")), unit="seconds",
    ),
    Described(
        "timesync_nts_master_key_remaining_seconds", "Until the key of the cookies is changed.",
        one(number("nts.master_key.changes_in_s")), unit="seconds",
    ),
    Described(
        "timesync_certificate_remaining_seconds", "Until a served certificate expires; negative when it has.",
        each(_certificates, number("expires_in_s")), ("file",), "seconds",
    ),
    Described("timesync_certificates_refused", "Certificates that cannot be served.", one(_refused)),
    Described(
        "timesync_csptp_requests_total", "Requests of CSPTP, by what became of them.", _csptp,
        ("interface", "domain", "result"), kind="counter",
    ),
)  # fmt: skip
