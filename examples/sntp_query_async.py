"""Several servers asked at once: python examples/sntp_query_async.py SERVER..."""

import asyncio
import sys

from timesync.lib import QueryError, query


async def main() -> None:
    answers = await asyncio.gather(*(query(server, count=2) for server in sys.argv[1:]), return_exceptions=True)
    for server, answer in zip(sys.argv[1:], answers, strict=True):
        if isinstance(answer, QueryError):
            print(f"{server}: no time ({answer})")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            print(f"{server}: stratum {answer.stratum}, this clock minus it: {answer.offset}")


asyncio.run(main())
