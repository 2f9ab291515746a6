"""An NTP server in ten lines: python examples/server.py 127.0.0.1:11123."""

import asyncio
import sys

from timesync.base.time import Duration
from timesync.lib import Claim, serve


async def main() -> None:
    claim = Claim(stratum=3, reference_id=b"\xc0\x00\x02\x01", root_dispersion=Duration.from_s(0.001))
    async with serve(*sys.argv[1:], claim=lambda: claim) as server:
        print("answering on", *server.addresses, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
