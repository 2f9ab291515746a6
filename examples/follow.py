"""A continuous client, no clock touched: python examples/follow.py STATES SERVER..."""

import asyncio
import sys

from timesync.lib import follow


async def main(count: int, servers: list[str]) -> None:
    async with follow(*servers, poll_s=(1, 16)) as states:
        async for state in states:
            print(state.reason)
            if state.offset_s is not None and state.error_bound_s is not None:
                print(f"  this clock is {state.offset_s:+.6f} s off, give or take {state.error_bound_s:.6f} s")
                count -= 1
            for source in state.sources:
                print(f"  {source.source}: {source.state.value}, {source.reason}")
            if count <= 0:
                break


asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
