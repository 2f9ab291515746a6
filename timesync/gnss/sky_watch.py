"""What a receiver said of its sky, as long as that stands, and what of it is worth a line in the log."""

from __future__ import annotations

from dataclasses import dataclass, replace

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import FixMode, FixReport, Satellite

_OLD_REPORT = Duration.from_s(60)
"""A report so old says nothing any more; the times themselves still carry their own flag.

A receiver that was reset forgets that it was asked for the messages which would take back what it said.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """The receiver's last words on its sky; None where it said nothing."""

    mode: FixMode | None = None
    used: int | None = None
    seen: int | None = None
    hdop: float | None = None
    tdop: float | None = None
    jamming: str | None = None
    spoofing: str | None = None
    antenna: str | None = None
    satellites: tuple[Satellite, ...] | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Worth a line in the log.

    Attributes:
        level: ``info`` or ``warning``.
        name: A short fixed name in kebab case.
        text: For the operator.
    """

    level: str
    name: str
    text: str


class SkyWatch:
    """Joins the reports on a receiver's sky. What its detectors said ends a while after they fall silent."""

    def __init__(self) -> None:
        self._sky = Sky()
        self._reported: Instant[Mono] | None = None
        self._jamming: Instant[Mono] | None = None
        self._spoofing: Instant[Mono] | None = None
        self._antenna: Instant[Mono] | None = None
        self._satellites: Instant[Mono] | None = None
        self._remarks: list[Remark] = []

    def remarks(self) -> list[Remark]:
        """What its detectors changed their minds about since the last call."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def sky(self, now: Instant[Mono]) -> Sky:
        """As it stands."""
        return replace(
            self._sky,
            jamming=self._sky.jamming if _stands(self._jamming, now) else None,
            spoofing=self._sky.spoofing if _stands(self._spoofing, now) else None,
            antenna=self._sky.antenna if _stands(self._antenna, now) else None,
            satellites=self._sky.satellites if _stands(self._satellites, now) else None,
        )

    def on_fix(self, report: FixReport, now: Instant[Mono]) -> None:
        """The receiver described its sky."""
        before = self.sky(now)
        self._reported = now
        self._sky = after = Sky(
            mode=report.mode or before.mode,
            used=before.used if report.used is None else report.used,
            seen=before.seen if report.seen is None else report.seen,
            hdop=before.hdop if report.hdop is None else report.hdop,
            tdop=before.tdop if report.tdop is None else report.tdop,
            jamming=report.jamming or before.jamming,
            spoofing=report.spoofing or before.spoofing,
            antenna=report.antenna or before.antenna,
            satellites=before.satellites if report.satellites is None else report.satellites,
        )
        self._jamming = self._jamming if report.jamming is None else now
        self._spoofing = self._spoofing if report.spoofing is None else now
        self._antenna = self._antenna if report.antenna is None else now
        self._satellites = self._satellites if report.satellites is None else now
        self._remark(before.jamming, after.jamming, "ok", "gnss-jamming", "its jamming detector says")
        self._remark(before.spoofing, after.spoofing, "none", "gnss-spoofing", "its spoofing detector says")
        self._remark(before.antenna, after.antenna, "ok", "gnss-antenna", "its antenna is")

    def without_fix(self, now: Instant[Mono]) -> bool:
        """It said lately that it has no fix."""
        return self._sky.mode is FixMode.NONE and _stands(self._reported, now)

    def spoofed(self, now: Instant[Mono]) -> bool:
        """Its detector said lately that several signs speak for forged signals."""
        return self._sky.spoofing == "multiple" and _stands(self._spoofing, now)

    def _remark(self, before: str | None, now: str | None, good: str, name: str, text: str) -> None:
        if now == before or now is None or (before is None and now == good):
            return
        level = "info" if now == good else "warning"
        self._remarks.append(Remark(level, name, f"{text} {now}"))


def _stands(said: Instant[Mono] | None, now: Instant[Mono]) -> bool:
    return said is not None and now - said <= _OLD_REPORT
