"""The NTS side of the library's server: cookies whose master keys change, and key establishment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from timesync.base.ids import Endpoint
from timesync.base.time import Instant, Utc
from timesync.config.address import parse_listen
from timesync.config.nts import KE_PORT, ServeNts
from timesync.daemon.leap import load_leap_table
from timesync.daemon.nts_server import CookieKeys, told_port
from timesync.daemon.query import SYSTEM_CLOCK, measuring_host
from timesync.host import NtsKeService, NtsSpec
from timesync.lib.trust import NtsCertificate
from timesync.nts.certificates import CertificateError, load_pair
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.master import MasterKeys
from timesync.runtime.ke_service import log_note


class ServedNts:
    """Master keys in this process, key establishment in one of its own. The keys end with this object.

    Attributes:
        cookies: The master keys.
    """

    def __init__(self, certificate: NtsCertificate) -> None:
        """Nothing is served yet. Raises OSError, and ValueError for files that are no certificate and its key."""
        files = Path(certificate.certificate), Path(certificate.private_key)
        try:
            load_pair(files[0].read_bytes(), files[1].read_bytes())
        except CertificateError as error:
            raise CertificateError(f"{files[0]}, {files[1]}: {error}") from None
        self._files = str(files[0].absolute()), str(files[1].absolute())
        self._listen = [parse_listen(address, KE_PORT) for address in certificate.listen]
        self._table, _ = load_leap_table()
        self._host = measuring_host(self._table)
        self.cookies = CookieKeys(self._host, None, self._utc(), log_note)
        self._service: NtsKeService | None = None

    def open(self, ntp: Sequence[Endpoint]) -> None:
        """Establish keys for the server on these addresses. Raises OSError."""
        listen = self._listen or list(dict.fromkeys(Endpoint(one.address, KE_PORT) for one in ntp))
        spec = NtsSpec(
            listen=listen,
            certificates=[self._files],
            offer=KeServerSettings(port=told_port(ntp)),
            connections=ServeNts.model_fields["connections"].default,
            clients=0,
        )
        self._service = self._host.serve_nts(spec, self.cookies.keys, self._utc, log_note)

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """Where keys are established."""
        return () if self._service is None else self._service.addresses

    def tick(self) -> MasterKeys | None:
        """Once a second: other master keys for the NTP server, when it is time for them."""
        if not self.cookies.tick(self._utc()):
            return None
        if self._service is not None:
            self._service.publish(self.cookies.keys)
        return self.cookies.keys

    def close(self) -> None:
        """Establish no more keys."""
        if self._service is not None:
            self._service.close()

    def _utc(self) -> Instant[Utc]:
        return self._table.utc(self._host.clocks[SYSTEM_CLOCK].read().at)
