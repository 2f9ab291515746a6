"""A TCP server in software: clients come and go, it goes and comes back, and it waits for nobody."""

from __future__ import annotations

import asyncio

import pytest

from timesync.runtime.virtual_stream import StreamClient, VirtualStream

PATIENCE_S = 10.0
LOOPBACK = "127.0.0.1"


class Echo:
    """Greets, and says back what it hears."""

    def __init__(self, client: StreamClient) -> None:
        self.client = client
        self.is_over = False

    def begun(self) -> None:
        self.client.send(b"hello\n")

    def heard(self, data: bytes) -> None:
        self.client.send(data.upper())

    def ended(self) -> None:
        self.is_over = True


class Rig:
    """A server that echoes."""

    def __init__(self) -> None:
        self.talks: list[Echo] = []
        self.server = VirtualStream(LOOPBACK, self._talk)

    def _talk(self, client: StreamClient) -> Echo:
        self.talks.append(Echo(client))
        return self.talks[-1]


async def _ended(talk: Echo) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not talk.is_over:  # noqa: ASYNC110 - a talk is told, and is no event
            await asyncio.sleep(0.005)


def test_clients_are_greeted_and_answered_each_for_itself() -> None:
    async def story() -> None:
        rig = Rig()
        async with asyncio.timeout(PATIENCE_S):
            one = await asyncio.open_connection(LOOPBACK, rig.server.port)
            two = await asyncio.open_connection(LOOPBACK, rig.server.port)
            assert [b"hello\n", b"hello\n"] == [await one[0].readline(), await two[0].readline()]
            two[1].write(b"two\n")
            one[1].write(b"one\n")
            assert [b"ONE\n", b"TWO\n"] == [await one[0].readline(), await two[0].readline()]
        one[1].close()
        await _ended(rig.talks[0])
        assert not rig.talks[1].is_over
        two[1].close()
        rig.server.stop()

    asyncio.run(story())


def test_it_ends_connections_refuses_new_ones_and_comes_back_on_the_same_port() -> None:
    async def story() -> None:
        rig = Rig()
        port = rig.server.port
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        assert b"hello\n" == await reader.readline()
        rig.server.stop()
        rig.server.stop()
        assert b"" == await reader.read()
        assert rig.talks[0].is_over
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port)

        rig.server.start()
        rig.server.start()
        assert port == rig.server.port
        again, other = await asyncio.open_connection(LOOPBACK, port)
        assert b"hello\n" == await again.readline()
        writer.close()
        other.close()
        rig.server.stop()

    asyncio.run(story())


def test_while_another_program_has_the_port_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        monkeypatch.setattr("timesync.runtime.virtual_stream._AGAIN_S", 0.01)
        rig = Rig()
        port = rig.server.port
        rig.server.stop()
        other = await asyncio.start_server(lambda *_: None, LOOPBACK, port)
        rig.server.start()
        await asyncio.sleep(0.05)
        other.close()
        await other.wait_closed()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    reader, writer = await asyncio.open_connection(LOOPBACK, port)
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)
            assert b"hello\n" == await reader.readline()
        writer.close()
        rig.server.stop()

    asyncio.run(story())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    async def story() -> None:
        rig = Rig()
        reader, writer = await asyncio.open_connection(LOOPBACK, rig.server.port, limit=1)
        assert b"h" == await reader.readexactly(1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a transport that reads
        talk = rig.talks[0]
        for _ in range(10_000):
            talk.client.send(b"x" * 10_000)
            if talk.is_over:
                break
        assert talk.is_over
        talk.client.send(b"nothing")
        writer.close()
        rig.server.stop()

    asyncio.run(story())
