"""Sockets with kernel stamps, on loopback; the kernel there stamps both ways like a real interface."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from timesync.base.ids import Endpoint
from timesync.base.measure import StampSource
from timesync_drivers import netstamp
from timesync_drivers.netstamp import Received, StampedSocket, Transmitted

WAIT_S = 5.0


@pytest.fixture(scope="module", autouse=True)
def stamping() -> Iterator[None]:
    """Wait until the kernel has stamping switched on: it takes its time, and an early packet has none."""
    deadline = time.monotonic() + WAIT_S
    with closing(netstamp.hold_stamps()), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        while time.monotonic() < deadline:
            with closing(StampedSocket(_endpoint(probe), os.urandom)) as udp:
                probe.sendto(b"x", ("127.0.0.1", udp.local_port))
                if _received(udp).at_ns is not None:
                    yield
                    return
        pytest.fail("this kernel does not stamp received packets")


@pytest.fixture(params=["127.0.0.1", "::1"])
def peer(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    address: str = request.param
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.bind((address, 0))
        udp.settimeout(WAIT_S)
        yield udp


def _endpoint(peer: socket.socket) -> Endpoint:
    address, port, *_ = peer.getsockname()
    return Endpoint(address, port)


def _wait(udp: StampedSocket) -> None:
    readable, _, _ = select.select([udp], [], [], WAIT_S)
    assert readable, "nothing became readable"


def _transmitted(udp: StampedSocket) -> Transmitted:
    _wait(udp)
    stamp = udp.read_transmit_stamp()
    assert stamp is not None
    return stamp


def _received(udp: StampedSocket) -> Received:
    _wait(udp)
    packet = udp.recv()
    assert packet is not None
    return packet


def test_both_directions_are_stamped_by_the_kernel(peer: socket.socket) -> None:
    with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
        assert udp.kernel_stamps
        before = time.time_ns()
        called = udp.send(b"request")
        data, source = peer.recvfrom(100)
        sent = _transmitted(udp)
        peer.sendto(data.upper(), source)
        answer = _received(udp)
        after = time.time_ns()

    assert source[1] == udp.local_port
    assert (0, StampSource.KERNEL) == (sent.number, sent.source)
    assert (0, StampSource.USER) == (called.number, called.source)
    assert (b"REQUEST", StampSource.KERNEL) == (answer.data, answer.source)
    assert answer.at_ns is not None
    assert before <= sent.at_ns <= answer.at_ns <= after
    assert before <= called.at_ns <= after


def test_stamps_are_numbered_like_the_datagrams(peer: socket.socket) -> None:
    with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
        called = [udp.send(b"x").number for _ in range(3)]
        stamps = [_transmitted(udp) for _ in range(3)]

    assert called == [0, 1, 2]
    assert [stamp.number for stamp in stamps] == [0, 1, 2]
    assert stamps == sorted(stamps, key=lambda stamp: stamp.at_ns)


def test_nothing_to_read_is_none(peer: socket.socket) -> None:
    with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
        assert udp.recv() is None
        assert udp.read_transmit_stamp() is None


def test_a_stranger_is_not_heard(peer: socket.socket) -> None:
    with (
        closing(StampedSocket(_endpoint(peer), os.urandom)) as udp,
        socket.socket(peer.family, socket.SOCK_DGRAM) as stranger,
    ):
        target = (peer.getsockname()[0], udp.local_port)
        stranger.sendto(b"spoofed", target)
        peer.sendto(b"genuine", target)
        assert _received(udp).data == b"genuine"
        assert udp.recv() is None


def test_a_closed_port_is_an_error_of_recv_and_not_a_stamp(peer: socket.socket) -> None:
    remote = _endpoint(peer)
    peer.close()
    with closing(StampedSocket(remote, os.urandom)) as udp:
        udp.send(b"x")
        assert _transmitted(udp).number == 0
        _wait(udp)
        with pytest.raises(ConnectionRefusedError):
            udp.recv()
        assert udp.recv() is None


def test_an_icmp_error_in_the_error_queue_is_told_apart_from_a_stamp(peer: socket.socket) -> None:
    remote = _endpoint(peer)
    peer.close()
    with closing(StampedSocket(remote, os.urandom)) as udp:
        level, option = (socket.IPPROTO_IPV6, 25) if ":" in remote.address else (socket.IPPROTO_IP, 11)
        udp._socket.setsockopt(level, option, 1)
        udp.send(b"x")
        outcomes: list[object] = []
        while len(outcomes) < 2:
            _wait(udp)
            try:
                stamp = udp.read_transmit_stamp()
            except ConnectionRefusedError as error:
                outcomes.append(type(error))
            else:
                assert stamp is not None
                outcomes.append(stamp.number)

    assert set(outcomes) == {0, ConnectionRefusedError}


def test_a_datagram_that_is_too_long_is_seen_to_be(peer: socket.socket) -> None:
    with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
        peer.sendto(bytes(5000), (peer.getsockname()[0], udp.local_port))
        assert len(_received(udp).data) == 2049


def test_a_kernel_without_stamps_gives_user_stamps_and_says_so(
    monkeypatch: pytest.MonkeyPatch, peer: socket.socket
) -> None:
    monkeypatch.setattr(netstamp, "_WANTED", 1 << 30)  # a flag that no kernel knows: it refuses with EINVAL
    with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
        before = time.time_ns()
        sent = udp.send(b"x")
        peer.sendto(*peer.recvfrom(100))
        answer = _received(udp)
        after = time.time_ns()
        assert udp.read_transmit_stamp() is None

    assert not udp.kernel_stamps
    assert (StampSource.USER, StampSource.USER) == (sent.source, answer.source)
    assert answer.at_ns is not None
    assert before <= sent.at_ns <= answer.at_ns <= after


class _Ports:
    """Entropy that spells given ports."""

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)

    def __call__(self, size: int, /) -> bytes:
        assert size == 2
        return self.ports.pop(0).to_bytes(2, "little" if (1).to_bytes(2, "little")[0] == 1 else "big")


def test_the_port_is_what_entropy_says_without_reserved_and_busy_ones(peer: socket.socket) -> None:
    busy = peer.getsockname()[1]
    with socket.socket(peer.family, socket.SOCK_DGRAM) as other:
        other.bind((peer.getsockname()[0], 0))
        free = other.getsockname()[1]
    entropy = _Ports(0, 123, 1023, 1900, 5353, busy, free)
    with closing(StampedSocket(_endpoint(peer), entropy)) as udp:
        assert udp.local_port == free
    assert entropy.ports == []


def test_no_free_port_is_an_error_and_not_an_endless_search(peer: socket.socket) -> None:
    with pytest.raises(OSError, match="no free UDP port"):
        StampedSocket(_endpoint(peer), bytes)


def test_ports_of_successive_sockets_are_spread_over_the_whole_range(peer: socket.socket) -> None:
    ports = []
    for _ in range(200):
        with closing(StampedSocket(_endpoint(peer), os.urandom)) as udp:
            ports.append(udp.local_port)

    assert min(ports) >= 1024
    assert len(set(ports)) > 180
    # Each third of the range has 67 on average with a standard deviation of 7.
    for third in range(3):
        low = 1024 + third * 21_504
        assert 30 < sum(low <= port < low + 21_504 for port in ports) < 104


def test_no_route_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match=r"denied|unreachable|Invalid"):
        StampedSocket(Endpoint("255.255.255.255", 123), os.urandom)


def test_a_port_of_ptp_is_shared_and_a_remotes_packets_come_to_its_own_socket(peer: socket.socket) -> None:
    address = peer.getsockname()[0]
    with (
        socket.socket(peer.family, socket.SOCK_DGRAM) as server,
        socket.socket(peer.family, socket.SOCK_DGRAM) as stranger,
    ):
        if peer.family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        netstamp.share_event_port(server)
        server.bind(("", 0))
        server.settimeout(WAIT_S)
        port = server.getsockname()[1]
        with closing(StampedSocket(_endpoint(peer), os.urandom, local_port=port)) as udp:
            assert udp.local_port == port
            udp.send(b"request")
            assert peer.recvfrom(100)[1][1] == port
            stranger.sendto(b"to the server", (address, port))
            peer.sendto(b"answer", (address, port))
            assert _received(udp).data == b"answer"
            assert server.recv(100) == b"to the server"
            with closing(StampedSocket(_endpoint(stranger), os.urandom, local_port=port)) as other:
                peer.sendto(b"once more", (address, port))
                assert _received(udp).data == b"once more"
                assert other.recv() is None
        peer.sendto(b"nobody asked", (address, port))
        assert server.recv(100) == b"nobody asked"


def test_a_port_that_another_program_has_for_itself_is_an_error(peer: socket.socket) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
        StampedSocket(_endpoint(peer), os.urandom, local_port=peer.getsockname()[1])
