"""The network cards of this machine that stamp packets by clocks of the configuration."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Stamp
from timesync.base.serving import CardMap
from timesync.base.time import NS_PER_S
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.stamping import StampClock
from timesync_drivers import abi
from timesync_drivers.nic import Claim, Nics, Stamping
from timesync_drivers.ptp_filter import UdpClaim
from timesync_drivers.route import route_interface

_SCAN_NS = 10 * NS_PER_S
"""How often all interfaces are looked at anew, for those that come, go, or change their card (bonds)."""
_LOST_LIMIT = 8
_DISTRUST_NS = 600 * NS_PER_S
_Kind = Literal["NTP", "NTP over PTP"]
_FILTERS: dict[_Kind, int] = {"NTP": abi.HWTSTAMP_FILTER_ALL, "NTP over PTP": abi.HWTSTAMP_FILTER_PTP_V2_EVENT}
_GENERIC_ADVICE = "`timesync doctor` shows what each card can do; `timestamping: software` needs nothing of it"


@dataclass(slots=True)
class Losses:
    """Stamps of one interface that did not come, in a row, and until when it is not asked again.

    Attributes:
        sent: Transmit stamps.
        received: Receive stamps.
        until_ns: Monotonic time; 0 while it is trusted.
    """

    sent: int = 0
    received: int = 0
    until_ns: int = 0


@dataclass(frozen=True, slots=True)
class Card:
    """An interface whose packets are stamped by a clock of ours.

    Attributes:
        index: Of the interface.
        interface: Its name.
        clock: The hardware clock of its card.
        covers: Whether a stamp taken at the interface of that index is of the same clock.
        losses: Stamps that did not come.
    """

    index: int
    interface: str
    clock: PhcClock
    covers: Callable[[int], bool]
    losses: Losses = field(default_factory=Losses)

    def stamp(self, card_ns: int, interface: int) -> Stamp | None:
        """A raw stamp on the clock's TAI; None when it is of another card, or may be of before a step.

        Args:
            card_ns: On the hardware's own scale.
            interface: Where it was taken; 0 where that is not known, which is then this interface.
        """
        if interface and interface != self.index and not self.covers(interface):
            return None
        return self.clock.stamp_raw(card_ns)


class Cards:
    """Finds them, sets them to stamp packets of NTP, and puts their settings back.

    A card is touched when it is first asked for: by a source whose packets go there, or by the server. One that stamps
    nothing but messages of PTP does for NTP over PTP.
    """

    def __init__(
        self,
        clocks: Mapping[ClockId, StampClock],
        *,
        nics: Nics | None = None,
        claim_ptp: Callable[[str, Stamping], Claim] = UdpClaim,
        route: Callable[[str, int], int] = route_interface,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Nothing is asked yet.

        Args:
            clocks: The clocks of the host; it may grow.
            nics: The calls about cards.
            claim_ptp: Has one stamp messages of PTP.
            route: The interface towards an address.
            mono_ns: Monotonic time.
        """
        self._clocks = clocks
        self._nics = nics or Nics()
        self._claim_ptp = claim_ptp
        self._route = route
        self._mono_ns = mono_ns
        self._claims: dict[tuple[str, _Kind], Claim] = {}
        self._losses: dict[int, Losses] = {}
        self._serving: list[Card] = []
        self._scanned_ns: int | None = None
        self._findings: list[str] = []

    def towards(self, remote: Endpoint, *, over_ptp: bool = False) -> Card:
        """The card that packets to a remote leave by, ready to stamp them. Raises ClockError with why there is none."""
        try:
            index = self._route(remote.address, remote.scope)
            name = self._nics.name(index)
        except OSError as error:
            why = f"no interface is known for packets to {remote.address}: {error.strerror or error}"
            raise ClockError(Trouble.UNSUPPORTED, why, "it is looked for again") from error
        card = self._card(index, name, over_ptp=over_ptp)
        if card.losses.until_ns > self._mono_ns():
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"the card of {name} is set to stamp packets, but the stamps do not come",
                "it is tried again after ten minutes",
            )
        return card

    def lost(self, card: Card, *, sent: bool) -> None:
        """A stamp did not come. After several in a row the card is not believed to give any for some time."""
        losses = card.losses
        if sent:
            losses.sent += 1
        else:
            losses.received += 1
        if max(losses.sent, losses.received) >= _LOST_LIMIT:
            losses.sent = losses.received = 0
            losses.until_ns = self._mono_ns() + _DISTRUST_NS

    def came(self, card: Card, *, sent: bool) -> None:
        """A stamp came."""
        if sent:
            card.losses.sent = 0
        else:
            card.losses.received = 0

    def maps(self, *, over_ptp: bool = False) -> tuple[CardMap, ...]:
        """How the stamps of all cards become kernel timestamps, as of now, for a server; by interface.

        With ``over_ptp`` of those, too, that stamp messages of PTP only.
        """
        now_ns = self._mono_ns()
        if self._scanned_ns is None or now_ns - self._scanned_ns >= _SCAN_NS:
            self._scanned_ns = now_ns
            self._serving = list(self._scan(over_ptp=over_ptp))
        return tuple(self._mapped())

    def check(self) -> str | None:
        """Whether somebody changed what the cards stamp, in sentences; it is set again. Call it every second or so."""
        for (name, kind), claim in list(self._claims.items()):
            try:
                changed = claim.renew()
            except OSError as error:
                # Gone, or of somebody who needs it otherwise; it is asked for again when it is needed.
                del self._claims[name, kind]
                if error.errno != errno.ENODEV:
                    self._findings.append(f"the card of {name} stamps no packets of {kind} any more: {_reason(error)}")
            else:
                if changed:
                    self._findings.append(f"something else set what the card of {name} stamps; it was widened again")
        findings, self._findings = self._findings, []
        return ". ".join(findings) or None

    def close(self) -> None:
        """Put the cards back to what they were set to."""
        claims, self._claims = self._claims, {}
        # In the other direction than they were set: a VLAN has the card of the interface that it lies on.
        for claim in reversed(claims.values()):
            with suppress(OSError):
                claim.release()

    def _scan(self, *, over_ptp: bool) -> Iterator[Card]:
        if not any(isinstance(clock, PhcClock) for clock in self._clocks.values()):
            return
        for index, name in self._nics.interfaces():
            found: dict[int, Card] = {}
            for ptp in (False, True) if over_ptp else (False,):
                with suppress(ClockError):
                    found[index] = self._card(index, name, over_ptp=ptp)
            yield from found.values()

    def _mapped(self) -> Iterator[CardMap]:
        for card in self._serving:
            found = card.clock.kernel_map()
            if found is not None:
                yield CardMap(card.index, found.base_ns, found.offset_ns, found.rate)

    def _card(self, index: int, name: str, *, over_ptp: bool) -> Card:
        try:
            able = self._nics.stamping(name)
        except OSError as error:
            why = f"the interface {name} tells nothing of timestamps: {_reason(error)}"
            raise ClockError(Trouble.UNSUPPORTED, why, _GENERIC_ADVICE) from error
        clock = self._clock(name, able)
        kind: _Kind = "NTP over PTP" if over_ptp and not able.every_packet else "NTP"
        if kind == "NTP" and not able.any_packet:
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"the card of {name} stamps packets of PTP only, and none of NTP",
                "another card, `timestamping: software`, or a server that speaks NTP over PTP is needed for NTP",
            )
        if kind != "NTP" and not able.ptp_over_udp:
            raise ClockError(
                Trouble.UNSUPPORTED, f"the card of {name} stamps no packets of PTP over UDP", _GENERIC_ADVICE
            )
        self._claim(name, able, kind)
        losses = self._losses.setdefault(index, Losses())
        return Card(index, name, clock, lambda other: self._same_clock(other, able), losses)

    def _clock(self, name: str, able: Stamping) -> PhcClock:
        if able.phc is None or not able.hardware:
            why = f"the interface {name} has no hardware timestamps"
            raise ClockError(Trouble.UNSUPPORTED, why, _GENERIC_ADVICE)
        path = f"/dev/ptp{able.phc}"
        for clock in self._clocks.values():
            if isinstance(clock, PhcClock) and clock.present and os.path.realpath(clock.hardware.path) == path:
                return clock
        raise ClockError(
            Trouble.UNSUPPORTED,
            f"packets of {name} are stamped by {path}, which is none of the clocks that are there",
            f"add it to `clocks`, such as `clocks: {{{name}: {{phc: {name}}}}}`",
        )

    def _claim(self, name: str, able: Stamping, kind: _Kind) -> None:
        if (name, kind) in self._claims:
            return
        take = self._nics.claim if kind == "NTP" else self._claim_ptp
        try:
            self._claims[name, kind] = take(name, able)
        except OSError as error:
            permission = error.errno in (errno.EPERM, errno.EACCES)
            trouble = Trouble.PERMISSION if permission else Trouble.UNSUPPORTED
            by_hand = f"hwstamp_ctl -i {name} -t 1 -r {_FILTERS[kind]}"
            advice = (
                f"give the daemon CAP_NET_ADMIN, or set the card before it starts: `{by_hand}`"
                if permission
                else _GENERIC_ADVICE
            )
            why = f"the card of {name} cannot be set to stamp packets of {kind}: {_reason(error)}"
            raise ClockError(trouble, why, advice) from error

    def _same_clock(self, index: int, able: Stamping) -> bool:
        try:
            return self._nics.stamping(self._nics.name(index)).phc == able.phc
        except OSError:
            return False


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
