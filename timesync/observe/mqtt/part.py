"""The part of the observer that publishes to an MQTT broker."""

from __future__ import annotations

import asyncio
import contextlib
import platform
import random
from collections.abc import Callable
from typing import Final

from timesync.config.mqtt_files import FILES
from timesync.observe import stream
from timesync.observe.mqtt.home_assistant import Announcement
from timesync.observe.mqtt.link import Backoff, Link, LinkError, access
from timesync.observe.mqtt.outbox import Outbox
from timesync.observe.mqtt.topics import OFFLINE, ONLINE, Topics, level
from timesync.observe.parts import Desk

SILENCE_S: Final = 10.0
"""A daemon that says nothing for so long is offline, whatever its process does."""

_LEAVE_S: Final = 1.0


class MqttPart:
    """Publishes for as long as it runs; a broker that is away costs a try now and then, and nothing else."""

    def __init__(self, desk: Desk, rng: random.Random | None = None) -> None:
        """Nothing is opened before ``start``; ``rng`` spreads the tries of many appliances."""
        mqtt = desk.settings.observe.mqtt
        assert mqtt is not None
        self._desk = desk
        self._mqtt = mqtt
        self._topics = Topics(mqtt.topic, mqtt.name or level(platform.node()), mqtt.interval.s())
        self._backoff = Backoff(rng or random.Random())  # noqa: S311 - it only spreads tries
        self._link: Link | None = None
        self._outage = _Outage(desk)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to publish. Raises OSError for files that are of no use."""
        files = self._desk.settings.secrets
        for key in FILES:
            if getattr(self._mqtt, key) is not None and key not in files:
                raise OSError(f"{key}: {getattr(self._mqtt, key)} could not be read")
        allowed = access(self._mqtt.broker, self._mqtt.username, files)
        web = self._desk.settings.observe.web
        announcement = (
            Announcement(self._topics, self._mqtt.discovery_topic, web) if self._mqtt.home_assistant else None
        )
        loop = asyncio.get_running_loop()
        outbox = Outbox(self._desk.hub, self._topics, announcement, loop.time)
        self._desk.hub.on(stream.STATE, outbox.state)
        self._desk.hub.on(stream.EVENT, outbox.event)

        def link() -> Link:
            # By its name, so that the broker ends a connection of ours that broke, and its will comes before our word.
            name = f"{self._topics.root}/{self._topics.name}"
            return Link(allowed, name, self._topics.availability(OFFLINE))

        self._task = self._desk.begin("observe-mqtt", self._keep(link, outbox))

    async def stop(self) -> None:
        """Say that nobody is here any more, and end; within a second."""
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._link is not None:
            with contextlib.suppress(LinkError, TimeoutError):
                async with asyncio.timeout(_LEAVE_S):
                    await self._link.publish(self._topics.availability(OFFLINE))
                    await self._link.close()

    async def _keep(self, connect: Callable[[], Link], outbox: Outbox) -> None:
        """Be connected, and again whenever that ends."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._converse(connect(), outbox)
            except LinkError as error:
                self._outage.say(error)
            await asyncio.sleep(self._backoff.pause_s(loop.time() - began))

    async def _converse(self, link: Link, outbox: Outbox) -> None:
        """From the beginning of a connection to its end. Raises LinkError."""
        await link.open()
        self._link = link
        self._outage.over(f"publishing to {self._mqtt.broker} under {self._topics.root}/{self._topics.name}")
        outbox.anew()
        tasks = [asyncio.ensure_future(work) for work in (self._tell(link, outbox), link.end())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        # Not where it was cancelled: there is still something to say on it.
        self._link = None
        await link.close()
        raise next(end for end in ends if isinstance(end, Exception))

    async def _tell(self, link: Link, outbox: Outbox) -> None:
        """Publish what is new for as long as the connection lasts. Raises LinkError."""
        online = False
        while True:
            news = await outbox.wait(SILENCE_S)
            if online is not outbox.heard_within(SILENCE_S):
                online = not online
                await link.publish(self._topics.availability(ONLINE if online else OFFLINE))
            if not news:
                continue
            for publication in outbox.picture():
                await link.publish(publication)
            while (event := outbox.next_event()) is not None:
                try:
                    await link.publish(event)
                except LinkError:
                    outbox.give_back(event)
                    raise


class _Outage:
    """What is said of a broker that is away: why, once, and when it is back."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._since: float | None = None
        self._lasting = False

    def say(self, error: LinkError) -> None:
        """A try has failed, or a connection has ended; what somebody must mend may come to light later than that."""
        if self._since is not None and (self._lasting or not error.lasting):
            return
        self._since = self._since or asyncio.get_running_loop().time()
        self._lasting = error.lasting
        self._desk.note("warning", "mqtt", f"the broker {error}; it is tried again, seldom")

    def over(self, text: str) -> None:
        """It is there."""
        if self._since is not None:
            text += f", after {asyncio.get_running_loop().time() - self._since:.0f} s without"
        self._since, self._lasting = None, False
        self._desk.note("info", "mqtt", text)
