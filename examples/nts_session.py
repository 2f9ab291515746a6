"""Keys once, then many questions: python examples/nts_session.py QUESTIONS SERVER [CA-FILE]."""

import asyncio
import sys

from timesync.lib import NtsSession, NtsTrust, QueryError


async def main(count: int, server: str, *ca: str) -> None:
    async with NtsSession(server, trust=NtsTrust(*ca)) as session:
        print(f"keys for {session.server}, {session.cookies} cookies, {session.established.tls.version}")
        for _ in range(count):
            try:
                reply = await session.query()
            except QueryError as error:
                print(f"no time: {error}")
            else:
                print(f"this clock minus it: {reply.offset}")
            await asyncio.sleep(2)


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
