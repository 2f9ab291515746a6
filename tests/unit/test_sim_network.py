"""Path laws, loss, order, outages, ports and names."""

from __future__ import annotations

import math
import socket
from itertools import pairwise
from statistics import fmean, median, pstdev

import pytest
from sim_support import MS, STILL, US, Box

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.sim.law import DelayLaw, Exactly, Exponential, Lognormal, Normal, Spikes
from timesync.sim.network import LAN, Network, Path
from timesync.sim.world import World

S = Duration.from_s(1)
PORT = 123


class Pair:
    """Two nodes; the second listens."""

    def __init__(self, path: Path, back: Path | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.near = self.network.node("near", "192.0.2.1", "2001:db8::1")
        self.far = self.network.node("far", "192.0.2.2", "2001:db8::2")
        self.network.connect(self.near, self.far, path, back)
        self.box, self.home = Box(self.world), Box(self.world)
        self.far.bind(self.box, "0.0.0.0", PORT)
        self.far.bind(self.box, "::", PORT)
        self.socket = self.near.bind(self.home, "192.0.2.1")
        self.target = Endpoint("192.0.2.2", PORT)

    def delays_s(self, count: int, apart: Duration = S) -> list[float]:
        """One-way delays of so many datagrams."""
        sent = {}
        for index in range(count):
            sent[index.to_bytes(4, "big")] = self.world.elapsed.ns()
            self.socket.send(index.to_bytes(4, "big"), self.target)
            self.world.run_for(apart)
        self.world.run_for(S * 10)
        return [(when - sent[datagram.data]) / 1e9 for when, datagram in self.box.got]


def test_a_datagram_arrives_with_its_addresses() -> None:
    pair = Pair(STILL)
    pair.socket.send(b"hello", pair.target)
    pair.world.run_for(S)
    ((when, datagram),) = pair.box.got
    assert 1_000_000 == when
    assert b"hello" == datagram.data
    assert pair.socket.local == datagram.source
    assert pair.target == datagram.target
    assert (1, 0) == (pair.network.delivered, pair.network.lost)


def test_each_direction_has_its_own_law() -> None:
    pair = Pair(STILL, Path(base=MS * 7, jitter=Exactly()))
    (delay,) = pair.delays_s(1)
    assert 1e-3 == delay
    ((_, datagram),) = pair.box.got
    pair.far.bind(Box(pair.world), "192.0.2.2", 999).send(b"back", datagram.source)
    start = pair.world.elapsed.ns()
    pair.world.run_for(S)
    ((when, _),) = pair.home.got
    assert 7_000_000 == when - start


def test_addresses_of_either_family_and_of_no_common_one() -> None:
    pair = Pair(STILL)
    wild = pair.near.bind(pair.home, "::")
    wild.send(b"6", Endpoint("2001:0db8:0:0::2", PORT))
    pair.world.run_for(S)
    ((_, datagram),) = pair.box.got
    assert "2001:db8::1" == datagram.source.address
    only6 = pair.network.node("only6", "2001:db8::6")
    with pytest.raises(OSError, match="unreachable"):
        only6.bind(pair.home, "::").send(b"", pair.target)


@pytest.mark.parametrize(
    ("law", "mean_s", "sigma_s"),
    [
        (Exactly(1e-3), 1e-3, 0.0),
        (Exponential(2e-4), 2e-4, 2e-4),
        (Normal(1e-3, 1e-5), 1e-3, 1e-5),
        (
            Lognormal(1e-4, 0.5),
            1e-4 * math.exp(0.125),
            1e-4 * math.exp(0.125) * math.sqrt(math.exp(0.25) - 1),
        ),
        (Spikes(Exactly(1e-4), Exactly(1e-2), 0.1), 1.1e-3, 1e-2 * 0.3),
    ],
)
def test_laws_have_their_moments(law: DelayLaw, mean_s: float, sigma_s: float) -> None:
    delays = Pair(Path(base=MS * 5, jitter=law)).delays_s(4_000)
    assert mean_s + 5e-3 == pytest.approx(fmean(delays), abs=4 * sigma_s / math.sqrt(4_000) + 1e-9)
    assert sigma_s == pytest.approx(pstdev(delays), rel=0.1, abs=1e-9)
    assert min(delays) >= 5e-3


def test_half_of_lognormal_delays_are_below_the_median() -> None:
    delays = Pair(Path(base=MS, jitter=Lognormal(1e-4, 1.0))).delays_s(2_000)
    assert 1.1e-3 == pytest.approx(median(delays), abs=1e-5)


def test_a_normal_law_never_gives_a_negative_delay() -> None:
    rng = World(1).stream("x")
    assert all(Normal(0.0, 1.0).draw(rng) >= 0 for _ in range(1_000))
    with pytest.raises(ValueError, match="mean delay"):
        Normal(-1.0, 1.0)


def test_loss_and_duplicates_come_at_their_rates() -> None:
    pair = Pair(Path(base=MS, jitter=Exactly(), loss=0.2))
    assert 1_600 == pytest.approx(len(pair.delays_s(2_000)), abs=4 * math.sqrt(2_000 * 0.2 * 0.8))
    assert 2_000 == pair.network.lost + pair.network.delivered
    pair = Pair(Path(base=MS, jitter=Exponential(1e-4), duplicate=0.3))
    assert 2_600 == pytest.approx(len(pair.delays_s(2_000)), abs=4 * math.sqrt(2_000 * 0.3 * 0.7))


def test_a_loss_rate_does_not_change_other_delays() -> None:
    without = Pair(LAN).delays_s(50)
    with_loss = Pair(Path(base=LAN.base, jitter=LAN.jitter, loss=0.3)).delays_s(50)
    assert len(with_loss) < 50
    assert set(with_loss) < set(without)


@pytest.mark.parametrize("fifo", [False, True])
def test_datagrams_overtake_each_other_unless_fifo(fifo: bool) -> None:
    pair = Pair(Path(base=MS, jitter=Exponential(5e-3), fifo=fifo))
    pair.delays_s(500, apart=US * 100)
    order = [int.from_bytes(datagram.data, "big") for _, datagram in pair.box.got]
    assert 500 == len(order)
    assert fifo == all(a < b for a, b in pairwise(order))


def test_an_outage_ends() -> None:
    pair = Pair(STILL)
    pair.network.outage(pair.near, pair.far, pair.world.start + S * 10, pair.world.start + S * 20)
    pair.delays_s(30)
    assert [*range(10), *range(20, 30)] == [int.from_bytes(got.data, "big") for _, got in pair.box.got]
    assert 10 == pair.network.lost


def test_isolation_cuts_all_of_a_nodes_paths_and_no_other() -> None:
    pair = Pair(STILL)
    third = pair.network.node("third", "192.0.2.3")
    pair.network.isolate(pair.near, pair.world.start, pair.world.start + S)
    pair.socket.send(b"cut", pair.target)
    third.bind(Box(pair.world), "192.0.2.3").send(b"whole", pair.target)
    pair.world.run_for(S)
    assert [b"whole"] == [got.data for _, got in pair.box.got]


def test_a_closed_port_refuses_and_an_unknown_address_is_silent() -> None:
    pair = Pair(STILL)
    pair.socket.send(b"", Endpoint("192.0.2.2", 4460))
    pair.socket.send(b"", Endpoint("192.0.2.99", PORT))
    pair.world.run_for(MS * 2 - US)
    assert [] == pair.home.refused
    pair.world.run_for(US)
    assert [Endpoint("192.0.2.2", 4460)] == pair.home.refused
    assert 1 == pair.network.lost


def test_loopback_belongs_to_every_node() -> None:
    pair = Pair(STILL)
    for node in (pair.near, pair.far):
        box = Box(pair.world)
        node.bind(box, "127.0.0.1", 5000)
        node.bind(box, "0.0.0.0").send(node.name.encode(), Endpoint("127.0.0.1", 5000))
        pair.world.run_for(S)
        ((_, datagram),) = box.got
        assert node.name.encode() == datagram.data
        assert "127.0.0.1" == datagram.source.address


def test_ports_are_random_free_and_exclusive() -> None:
    pair = Pair(STILL)
    ports = {pair.near.bind(pair.home, "192.0.2.1").local.port for _ in range(200)}
    assert 200 == len(ports)
    assert min(ports) >= 1024
    with pytest.raises(OSError, match="in use"):
        pair.far.bind(pair.home, "0.0.0.0", PORT)
    with pytest.raises(OSError, match="assign"):
        pair.near.bind(pair.home, "192.0.2.77", PORT)
    taken = pair.near.bind(pair.home, "192.0.2.1", 5000)
    taken.close()
    pair.near.bind(pair.home, "192.0.2.1", 5000)
    with pytest.raises(ValueError, match="belongs to near"):
        pair.network.node("other", "192.0.2.1")
    with pytest.raises(ValueError, match="already"):
        pair.network.node("near", "192.0.2.9")


def test_names() -> None:
    dns = Network(World(1)).dns
    dns.set("ntp.example.org", "2001:db8:0::9", "192.0.2.9")
    assert ("2001:db8::9", "192.0.2.9") == dns.lookup("ntp.example.org")
    dns.set("ntp.example.org", "192.0.2.10")
    assert ("192.0.2.10",) == dns.lookup("ntp.example.org")
    with pytest.raises(socket.gaierror) as caught:
        dns.lookup("nowhere.example.org")
    assert socket.EAI_NONAME == caught.value.errno
    dns.dead = True
    with pytest.raises(socket.gaierror) as caught:
        dns.lookup("ntp.example.org")
    assert socket.EAI_AGAIN == caught.value.errno
    assert ("::1",) == dns.lookup("0::1")
    assert Duration(0) == dns.waits("::1")
    assert dns.patience == dns.waits("ntp.example.org")
