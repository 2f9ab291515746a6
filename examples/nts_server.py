"""An NTP server with NTS: python examples/nts_server.py CERTIFICATE KEY 127.0.0.1:11123 127.0.0.1:4460."""

import asyncio
import sys

from timesync.base.time import Duration
from timesync.lib import Claim, NtsCertificate, serve


async def main(certificate: str, key: str, ntp: str, ke: str) -> None:
    nts = NtsCertificate(certificate, key, listen=[ke])
    claim = Claim(stratum=3, reference_id=b"\xc0\x00\x02\x01", root_dispersion=Duration.from_s(0.001))
    async with serve(ntp, claim=lambda: claim, nts=nts) as server:
        print("keys are made on", *server.nts_addresses, "for", *server.addresses, flush=True)
        await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
