"""The AUTHENTICATION TLV between us and a ptp4l that signs: linuxptp 4.4, of a newer Debian than this machine's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from interop_ptp import capture, hub_address, mac_of, port_of, ptp4l, star, wait_for_state
from interop_support import PEERS, REQUIRED, Node, Timesync, timesync, wait_until

pytestmark = pytest.mark.interop

PROGRAM = PEERS / "linuxptp-signing-1" / "ptp4l"
LOCK_S = 60
OFTEN = ("--logAnnounceInterval", "0", "--logSyncInterval", "-1")
OURS_OFTEN = "announce_interval: 1s, sync_interval: 500ms"
"""Half as long to wait as by default."""
REFUSALS = 12
"""Of five messages each second one is Announce: two of these qualify a grandmaster."""
RIGHT_NS = 100_000
"""All namespaces have one clock. How exact a veth is has tests of its own."""


@pytest.fixture(autouse=True)
def _ptp4l_signs() -> None:
    if not PROGRAM.exists():
        reason = f"{PROGRAM} is not there: run tests/interop/install-peers.sh as root"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


@dataclass(frozen=True)
class Key:
    """A key as both write it.

    Attributes:
        ours: The algorithm in our words.
        theirs: In those of ptp4l.
        secret: In the form that both read.
        number: Its id.
        spp: Of the security association.
    """

    ours: str
    theirs: str
    secret: str
    number: int = 7
    spp: int = 1

    def configuration(self) -> str:
        """Our keys."""
        return f'keys: {{{self.number}: {{algorithm: {self.ours}, secret: "{self.secret}"}}}}'

    def options(self, directory: Path) -> tuple[str, ...]:
        """Those of ptp4l."""
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "sa.conf"
        file.write_text(f"[security_association]\nspp {self.spp}\n{self.number} {self.theirs} {self.secret}\n")
        return "--sa_file", str(file), "--spp", str(self.spp), "--active_key_id", str(self.number), *OFTEN


HMAC_SHORT = Key("HMAC-SHA256-128", "SHA256-128", "HEX:000102030405060708090a0b0c0d0e0f1011121314151617")
HMAC_WHOLE = Key("HMAC-SHA256", "SHA256", "ASCII:not-much-of-a-secret")
CMAC_SHORT = Key("AES128", "AES128", "HEX:2b7e151628aed2a6abf7158809cf4f3c", number=0xFFFF_FFFF, spp=0)
CMAC_LONG = Key("AES256", "AES256", "HEX:603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", spp=255)


@dataclass(frozen=True)
class Way:
    """A key, and how messages go.

    Attributes:
        name: For people.
        key: That both have.
        port: Keys of our port.
        profile: Ours.
        peer: Options of ptp4l.
        types: What the follower sends, and the one who is followed.
        unicast: Messages are negotiated.
    """

    name: str
    key: Key
    port: str
    profile: str
    peer: tuple[str, ...]
    types: tuple[set[int], set[int]]
    unicast: bool = False


SYNC, DELAY_REQ, PDELAY_REQ, PDELAY_RESP = 0, 1, 2, 3
FOLLOW_UP, DELAY_RESP, PDELAY_RESP_FOLLOW_UP, ANNOUNCE, SIGNALING = 8, 9, 0xA, 0xB, 0xC
GIVEN = {SYNC, FOLLOW_UP, ANNOUNCE}
LINK = {PDELAY_REQ, PDELAY_RESP, PDELAY_RESP_FOLLOW_UP}
E2E = ({DELAY_REQ}, GIVEN | {DELAY_RESP})
UNICAST = ("--hybrid_e2e", "1", "--inhibit_multicast_service", "1", "--unicast_listen", "1")

WAYS = [
    Way("UDPv4, HMAC-SHA256-128", HMAC_SHORT, "transport: udp4", "default-e2e", ("-4", "-E"), E2E),
    Way("UDPv6, HMAC-SHA256", HMAC_WHOLE, "transport: udp6", "default-e2e", ("-6", "-E"), E2E),
    Way("L2 peer to peer, AES128", CMAC_SHORT, "transport: l2", "default-p2p", ("-2", "-P"), (LINK, GIVEN | LINK)),
    Way(
        "unicast, AES256",
        CMAC_LONG,
        "transport: udp4",
        "default-e2e",
        ("-4", "-E", *UNICAST),
        ({DELAY_REQ, SIGNALING}, GIVEN | {DELAY_RESP, SIGNALING}),
        unicast=True,
    ),
]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(", ", "-").replace(" ", "-"))


def identity(node: Node) -> str:
    """The clock identity that ptp4l and we make of its card."""
    digits = mac_of(node).replace(":", "")
    return f"{digits[:6]}.fffe.{digits[6:]}"


def configuration(
    role: str, port: str, *, key: Key | None, profile: str = "default-e2e", more: str = "", wrong: bool = True
) -> str:
    """Ours, with one port, and a clock that is wrong, or is that of the system."""
    virtual = "{offset: 10ms, frequency: 20ppm}" if wrong else "{}"
    lines = [f"clocks: {{system: {{discipline: false}}, bench: {{virtual: {virtual}}}}}"]
    signed = "" if key is None else f", authentication: {{keys: [{key.number}], spp: {key.spp}{more}}}"
    port = f"{{interface: eth0, {port}, {OURS_OFTEN}}}"
    lines.append(f"ptp: {{profile: {profile}, clock: bench, role: {role}, ports: [{port}]{signed}}}")
    lines.append("serve: {clock: bench}")
    if key is not None:
        lines.append(key.configuration())
    return "\n".join(lines)


def signatures(file: Path, mac: str) -> dict[int, set[tuple[int, int, int, int] | None]]:
    """By type of message from an address: the end of the message as an AUTHENTICATION TLV (IEEE 1588-2019, 16.14.3).

    Each is its length, SPP, indicator and keyID; None: the message ends with something else. tshark 4.0 reads the TLVs
    of some messages only.
    """
    found: dict[int, set[tuple[int, int, int, int] | None]] = {}
    for frame in frames(file):
        message = ptp_of(frame) if frame[6:12].hex(":") == mac else None
        if message is None:
            continue
        end = int.from_bytes(message[2:4], "big")
        ends = found.setdefault(message[0] & 15, set())
        for icv in (16, 32):
            tlv = message[end - icv - 10 : end]
            if tlv[:4] == bytes.fromhex("8009") + (icv + 6).to_bytes(2, "big"):
                ends.add((icv, tlv[4], tlv[5], int.from_bytes(tlv[6:10], "big")))
                break
        else:
            ends.add(None)
    return found


def frames(file: Path) -> Iterator[bytes]:
    """The frames of a capture in the form of libpcap, written on this machine."""
    data = file.read_bytes()
    at = 24
    while at + 16 <= len(data):
        size = int.from_bytes(data[at + 8 : at + 12], sys.byteorder)
        yield data[at + 16 : at + 16 + size]
        at += 16 + size


def ptp_of(frame: bytes) -> bytes | None:
    """A PTP message over Ethernet, or over UDP without options of IP."""
    kind, packet = frame[12:14], frame[14:]
    if kind == bytes.fromhex("88f7"):
        return packet
    ip, protocol = (20, packet[9]) if kind == bytes.fromhex("0800") else (40, packet[6])
    if kind not in (bytes.fromhex("0800"), bytes.fromhex("86dd")) or protocol != 17:
        return None
    return packet[ip + 8 :] if int.from_bytes(packet[ip + 2 : ip + 4], "big") in (319, 320) else None


def drops(daemon: Timesync) -> dict[str, int]:
    """What our port threw away, by reason."""
    return dict(port_of(daemon)["drops"])


def all_signed(key: Key, types: set[int]) -> dict[int, set[tuple[int, int, int, int] | None]]:
    """What ``signatures`` finds where all is well."""
    size = 32 if key.ours == "HMAC-SHA256" else 16
    return {kind: {(size, key.spp, 0, key.number)} for kind in types}


@each_way
def test_ours_follows_a_ptp4l_that_signs(way: Way, tmp_path: Path) -> None:
    options = way.key.options(tmp_path / "gm")
    servers = f", unicast: {{servers: [{hub_address(0)}], multicast: false}}" if way.unicast else ""
    ours = configuration("timeReceiver", way.port + servers, key=way.key, profile=way.profile)
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(hub, tmp_path / "gm", *way.peer, *options, "--priority1", "100", program=PROGRAM) as peer,
        capture(spoke, tmp_path) as packets,
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        mac, their_mac = mac_of(spoke), mac_of(hub)
        port = wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        wait_until(daemon.locked, LOCK_S, "the clock is locked", daemon.log)
        grandmaster = identity(hub)
        dropped, said = drops(daemon), peer.log()

    assert grandmaster == port["grandmaster"]
    # ptp4l begins to ask for the delay before it is granted.
    assert set(dropped) <= {"unicast-stranger"}
    assert "bad message" not in said
    asks, gives = way.types
    assert all_signed(way.key, asks) == signatures(tmp_path / "capture.pcap", mac)
    assert all_signed(way.key, gives) == signatures(tmp_path / "capture.pcap", their_mac)
    assert packets.wrong(mac) == []


@each_way
def test_a_ptp4l_that_wants_signatures_follows_ours(way: Way, tmp_path: Path) -> None:
    options = way.key.options(tmp_path / "peer")
    grants = ", unicast: {clients: 4, multicast: false}" if way.unicast else ""
    ours = configuration("timeTransmitter", way.port + grants, key=way.key, profile=way.profile, wrong=False)
    with (
        star(1) as (hub, (spoke,)),
        capture(hub, tmp_path) as packets,
        ptp4l(
            hub,
            tmp_path / "peer",
            *way.peer,
            *options,
            "--clientOnly",
            "1",
            servers=(spoke.address,) if way.unicast else (),
            program=PROGRAM,
        ) as peer,
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        mac = mac_of(spoke)
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S)
        wait_until(lambda: len(peer.offsets()) >= 5, LOCK_S, "ptp4l measures our time", peer.log)
        grandmaster, dropped = port_of(daemon)["grandmaster"], drops(daemon)

    assert grandmaster == peer.follows()
    # ptp4l begins to ask for the delay before it is granted.
    assert set(dropped) <= {"unicast-stranger"}
    assert "bad message" not in peer.log()
    assert all_signed(way.key, way.types[1]) == signatures(tmp_path / "capture.pcap", mac)
    assert packets.wrong(mac) == []
    # 0x8009; tshark shows it in Announce only.
    shown = packets.read("-Y", f"eth.src == {mac} && ptp.v2.an.tlvType", "-e", "ptp.v2.an.tlvType")
    assert ["32777"] in shown
    assert all(abs(offset) < RIGHT_NS for _, offset in peer.offsets()[2:])


@dataclass(frozen=True)
class Quarrel:
    """Two that do not trust each other.

    Attributes:
        name: For people.
        ours: Our key; None: we do not sign.
        theirs: The key of ptp4l; None: it does not sign.
        reason: Under which we count what comes; None: we take it.
    """

    name: str
    ours: Key | None
    theirs: Key | None
    reason: str | None


OTHER_SECRET = replace(HMAC_SHORT, secret=HMAC_SHORT.secret.replace("00", "01"))
QUARRELS = [
    Quarrel("the secrets differ", HMAC_SHORT, OTHER_SECRET, "signature"),
    Quarrel("the ids of the keys differ", HMAC_SHORT, replace(HMAC_SHORT, number=8), "signature-key"),
    Quarrel("the security associations differ", HMAC_SHORT, replace(HMAC_SHORT, spp=2), "signature-key"),
    Quarrel("the lengths differ", HMAC_SHORT, replace(HMAC_SHORT, theirs="SHA256"), "signature-form"),
]


@pytest.mark.parametrize("quarrel", QUARRELS, ids=lambda quarrel: quarrel.name.replace(" ", "-"))
def test_neither_believes_the_other_where(quarrel: Quarrel, tmp_path: Path) -> None:
    """Both stay grandmasters, and say why."""
    assert quarrel.theirs is not None
    options = quarrel.theirs.options(tmp_path / "peer")
    ours = configuration("auto", "transport: udp4", key=quarrel.ours, wrong=False)
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(hub, tmp_path / "peer", *options, program=PROGRAM) as peer,
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S)
        wait_until(lambda: drops(daemon).get(quarrel.reason, 0) >= REFUSALS, LOCK_S, "ours has refused", daemon.log)
        wait_until(lambda: peer.log().count("auth: bad message") >= REFUSALS, LOCK_S, "ptp4l has refused", peer.log)
        port, theirs, said = port_of(daemon), peer.state(), peer.log()

    assert ("TIME_TRANSMITTER", {quarrel.reason}) == (port["state"], set(port["drops"]))
    assert theirs in ("MASTER", "GRAND_MASTER")
    assert "new foreign master" not in said


def test_ours_refuses_a_ptp4l_that_does_not_sign(tmp_path: Path) -> None:
    """It would be the better grandmaster."""
    ours = configuration("auto", "transport: udp4", key=HMAC_SHORT, wrong=False)
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(hub, tmp_path / "gm", *OFTEN, "--priority1", "1", program=PROGRAM),
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S)
        wait_until(lambda: drops(daemon).get("unsigned", 0) >= REFUSALS, LOCK_S, "ours has refused", daemon.log)
        assert "TIME_TRANSMITTER" == port_of(daemon)["state"]


def test_a_ptp4l_that_wants_signatures_refuses_ours_without(tmp_path: Path) -> None:
    ours = configuration("timeTransmitter", "transport: udp4", key=None, wrong=False)
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(
            hub, tmp_path / "peer", *HMAC_SHORT.options(tmp_path / "peer"), "--clientOnly", "1", program=PROGRAM
        ) as peer,
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S)
        wait_until(lambda: peer.log().count("auth: bad message") >= REFUSALS, LOCK_S, "ptp4l has refused", peer.log)
        assert ("LISTENING", []) == (peer.state(), peer.offsets())


def test_ours_takes_an_unsigned_ptp4l_while_keys_are_rolled_out(tmp_path: Path) -> None:
    ours = configuration("timeReceiver", "transport: udp4", key=HMAC_SHORT, more=", unsigned: accept")
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(hub, tmp_path / "gm", *OFTEN, "--priority1", "100"),
        timesync(spoke, tmp_path / "ours", ours) as daemon,
    ):
        port = wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        assert identity(hub) == port["grandmaster"]


def test_a_new_key_takes_over_without_a_gap(tmp_path: Path) -> None:
    """Ours verifies by the old and by the new key; ptp4l, started anew, signs by the new one."""
    new = replace(HMAC_SHORT, number=8, secret="HEX:ff02030405060708090a0b0c0d0e0f10")
    ours = f"""
clocks: {{system: {{discipline: false}}, bench: {{virtual: {{offset: 10ms, frequency: 20ppm}}}}}}
ptp:
  clock: bench
  role: timeReceiver
  ports: [{{interface: eth0, transport: udp4, {OURS_OFTEN}}}]
  authentication: {{keys: [7, 8]}}
serve: {{clock: bench}}
keys:
  7: {{algorithm: HMAC-SHA256-128, secret: "{HMAC_SHORT.secret}"}}
  8: {{algorithm: HMAC-SHA256-128, secret: "{new.secret}"}}
"""
    both = tmp_path / "both.conf"
    both.write_text(f"[security_association]\nspp 1\n7 SHA256-128 {HMAC_SHORT.secret}\n8 SHA256-128 {new.secret}\n")
    options = *OFTEN, "--sa_file", str(both), "--spp", "1", "--active_key_id"
    with star(1) as (hub, (spoke,)), ExitStack() as stack:
        before = stack.enter_context(ExitStack())
        before.enter_context(ptp4l(hub, tmp_path / "old", *options, "7", program=PROGRAM))
        daemon = stack.enter_context(timesync(spoke, tmp_path / "ours", ours))
        wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        wait_until(daemon.locked, LOCK_S, "the clock is locked", daemon.log)
        before.close()
        begun = port_of(daemon)["received"]["sync"]
        peer = stack.enter_context(ptp4l(hub, tmp_path / "new", *options, "8", program=PROGRAM))

        def follows_on() -> bool:
            port = port_of(daemon)
            return bool(port["state"] == "TIME_RECEIVER" and port["received"]["sync"] >= begun + 10)

        wait_until(follows_on, LOCK_S, "ours follows the new key", daemon.log)
        assert set(drops(daemon)) <= {"replay"}
        assert "bad message" not in peer.log()
