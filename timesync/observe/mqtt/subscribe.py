"""Listening to what all appliances of a broker publish."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from timesync.observe.mqtt.fleet import KINDS, Fleet
from timesync.observe.mqtt.link import Access, Backoff, Link, LinkError


async def listen(access: Access, root: str, fleet: Fleet, seconds: float) -> None:
    """Take for so long what comes; what the broker has kept comes first. Raises LinkError."""
    with contextlib.suppress(TimeoutError):
        await _take(access, root, fleet, seconds)


async def follow(access: Access, root: str, fleet: Fleet, say: Callable[[str | None], None]) -> None:
    """Take what comes for ever, and again when the broker is back.

    Args:
        access: To the broker.
        root: The first part of all topics.
        fleet: Takes it.
        say: Told why nothing comes at present; None when something does again.

    Raises LinkError where trying again does not help.
    """
    backoff = Backoff(random.Random())  # noqa: S311 - it only spreads tries
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await _take(access, root, fleet, None, say)
        except LinkError as error:
            if error.lasting:
                raise
            say(str(error))
        await asyncio.sleep(backoff.pause_s(loop.time() - began))


async def _take(
    access: Access, root: str, fleet: Fleet, seconds: float | None, say: Callable[[str | None], None] | None = None
) -> None:
    """Raises LinkError; TimeoutError when the time is up, which begins once the broker listens to us."""
    link = Link(access)
    await link.open()
    try:
        await link.subscribe([f"{root}/+/{kind}" for kind in KINDS])
        if say is not None:
            say(None)
        async with asyncio.timeout(seconds):
            while True:
                topic, payload, retained = await link.next()
                name, kind = topic.split("/")[-2:]
                fleet.take(name, kind, payload, retained=retained)
    finally:
        await link.close()
