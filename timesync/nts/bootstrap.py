"""The first time of a board without a right clock: certificates whose dates cannot be judged yet.

To verify a certificate one must know the time, and NTS gives the time only after that. While the clock has not been
synchronised since the machine started, a certificate may be wrong in its dates, and in nothing else. What is gained
so is provisional:

- The true time is not before ``floor``: when the program was built, or the last time that this machine knew. A
  certificate that ended before it is refused at once.
- A server whose time lies outside its own certificate's dates, or before the floor, contradicts itself: refused.
- A provisional source counts as unauthenticated. Beside any other source that can be used it has no vote
  (``timesync.servo.suffrage``).
- Once the time is known, dates are judged by it. A source that fails is dropped, and that is said as an error.
- Where Roughtime servers are configured, they are waited for. What more than half of them say needs no certificate:
  then nothing is provisional, and dates are judged by our clock as far as it agrees with them.

The danger: whoever has the key of a certificate that expired after the floor (an old key that leaked) can give such a
machine, if he is on its way to the server, a time within that certificate's dates. Two servers with ``minimum_sources:
2``, a saved time of yesterday, or Roughtime servers make that hard; ``bootstrap: false`` forbids it.
"""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.time import Instant, Utc
from timesync.nts.certificates import Dates, Validity, dates_wrong, utc_text


def date_floor(
    *, known: bool, built: Instant[Utc], saved: Instant[Utc] | None, allowed: bool = True
) -> Instant[Utc] | None:
    """The floor for certificates now; None: their dates must fit our clock.

    Args:
        known: The clock has been right at some time since the machine started, or others say what the time can be.
        built: When the program was made.
        saved: The last time that this machine knew, as stored; None: it never did.
        allowed: The user wants dates to be put off at all.
    """
    if known or not allowed:
        return None
    return built if saved is None else max(built, saved)


@dataclass(frozen=True, slots=True)
class Provisional:
    """A source that is believed until the time is known.

    Attributes:
        server: As the user calls it.
        validity: When every certificate of its chain is valid.
        floor: The true time is not before this.
    """

    server: str
    validity: Validity
    floor: Instant[Utc]

    def refused(self, told: Instant[Utc]) -> str | None:
        """Why the time that the source itself tells cannot be, in a sentence; None when it can."""
        if told < self.floor:
            return f"{self.server} says that it is {utc_text(told)}; it is later than {utc_text(self.floor)}"
        if self.validity.at(told) is Dates.WITHIN:
            return None
        return f"{self.server} says that it is {utc_text(told)}, when its own certificate is not valid"

    def verified(self, now: Instant[Utc]) -> str | None:
        """Why the source must be dropped now that the time is known, in a sentence; None: it is no longer provisional.

        Args:
            now: The time, from sources that agree.
        """
        wrong = dates_wrong(f"the certificate of {self.server}", self.validity, now)
        if wrong is None:
            return None
        return f"{wrong}; it was believed only until the time was known, and is dropped"
