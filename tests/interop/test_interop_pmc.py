"""linuxptp's pmc asks our management: a clock that is made up, over a Unix socket, and the running daemon."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest
from interop_ptp import mac_of, ptp4l, star, wait_for_state
from interop_support import REQUIRED, peer_environment, timesync, wait_until

from timesync.base.ids import ClockId, ClockIdentity, LinkId, PortIdentity, SourceId
from timesync.base.time import Duration, Instant
from timesync.ptp.datasets import CurrentDS, ParentDS
from timesync.ptp.instance import Instance
from timesync.ptp.management.change import Command, SetGrandmaster, SetPriority1
from timesync.ptp.management.data import Description, ManagedClock, PortFacts
from timesync.ptp.management.responder import Responder
from timesync.ptp.management.values import Local, ManagementSettings
from timesync.ptp.settings import InstanceSettings, Intervals, LocalQuality, PortSettings
from timesync.ptp.states import PortState
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_management_np import GrandmasterSettings, PortTimestamping
from timesync.wire.ptp_message import ClockQuality, Flags, MessageType

CLOCK = ClockIdentity(bytes.fromhex("020000fffe00000b"))
PARENT = PortIdentity(ClockIdentity(bytes.fromhex("020000fffe00000a")), 3)
ME = "020000.fffe.00000b"


def made_up() -> ManagedClock:
    """A boundary clock that follows somebody by its first port."""
    ports = tuple(
        PortSettings(
            number=number,
            name=f"eth{number}",
            clock=ClockId(f"eth{number}"),
            source=SourceId(f"ptp:eth{number}"),
            link=LinkId(f"ptp:eth{number}"),
            intervals=Intervals(announce=-2, sync=-3, delay=-1),
            neighbor_threshold=Duration.from_ns(800),
            announce_receipt_timeout=4,
        )
        for number in (1, 2)
    )
    instance = Instance(InstanceSettings(identity=CLOCK, priority2=99, ports=ports), random.Random(1))
    view = instance.view()
    states = PortState.TIME_RECEIVER, PortState.TIME_TRANSMITTER
    view.ports[0].counters.received[MessageType.SYNC] = 1234
    view.ports[0].counters.sent[MessageType.DELAY_REQ] = 567
    sets = replace(
        view.sets,
        current=CurrentDS(steps_removed=2),
        parent=ParentDS(
            parent=PARENT, grandmaster=PARENT.clock, quality=ClockQuality(6, 0x21, 0x4E5D), priority1=1, priority2=2
        ),
        time_properties=replace(
            view.sets.time_properties,
            utc_offset=37,
            utc_offset_valid=True,
            time_traceable=True,
            leap61=True,
            time_source=0x20,
        ),
    )
    view = replace(
        view,
        sets=sets,
        ports=tuple(replace(port, state=state) for port, state in zip(view.ports, states, strict=True)),
    )
    facts = PortFacts(
        protocol=NetworkProtocol.UDP_IPV4,
        mac=bytes.fromhex("02000000000b"),
        address=bytes((192, 0, 2, 11)),
        timestamping=PortTimestamping.HARDWARE,
        phc_index=3,
    )
    return ManagedClock(
        view=view,
        local=LocalQuality(),
        ports={1: facts, 2: facts},
        description=Description(product="timesync;box;7", revision="1;2;3", user="rack 4"),
        offset=Duration.from_ns(-125),
        mean_delay=Duration.from_ns(4321),
        ingress=Instant.from_ns(1_800_000_037_000_000_005),
    )


class Runner:
    """Answers on two Unix sockets, as the daemon will, in a thread."""

    def __init__(self, directory: Path, clock: ManagedClock, settings: ManagementSettings) -> None:
        self.paths = directory / "ptp4l", directory / "ptp4lro"
        self.commands: list[Command] = []
        self.clock = clock
        self._responder = Responder(settings)
        self._lock = threading.Lock()
        self._sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in self.paths]
        for opened, path in zip(self._sockets, self.paths, strict=True):
            opened.bind(str(path))
        self._threads = [
            threading.Thread(target=self._serve, args=(opened, opened is self._sockets[0])) for opened in self._sockets
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for path in self.paths:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", str(path))
        for thread in self._threads:
            thread.join()
        for opened in self._sockets:
            opened.close()

    def _serve(self, opened: socket.socket, writable: bool) -> None:
        while data_and := opened.recvfrom(2048):
            data, address = data_and
            if not data:
                return
            now = Instant.from_ns(time.monotonic_ns())
            with self._lock:
                reaction = self._responder.on_message(data, Local(str(address), writable), self.clock, now)
                self.commands += reaction.commands
            for one in reaction.outgoing:
                assert isinstance(one.to, Local)
                with contextlib.suppress(OSError):
                    opened.sendto(one.data, one.to.address)


@contextmanager
def running(directory: Path, clock: ManagedClock, **settings: object) -> Iterator[Runner]:
    with ExitStack() as stack:
        yield stack.enter_context(Runner(directory, clock, ManagementSettings(forward=False, **settings)))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _pmc_is_there() -> None:
    if shutil.which("pmc", path=peer_environment()["PATH"]) is None:
        reason = "linuxptp's pmc is not installed"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


def pmc(server: Path, *words: str, options: tuple[str, ...] = ()) -> str:
    """What pmc prints, its columns made single spaces."""
    own = server.parent / f"pmc.{os.getpid()}"
    command = ["pmc", "-u", "-b", "0", "-s", str(server), "-i", str(own), *options, *words]
    done = subprocess.run(command, env=peer_environment(), check=True, capture_output=True, text=True, timeout=30)
    lines = (re.sub(r"[ \t]+", " ", line).strip() for line in done.stdout.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("sending:"))


HEAD = f"{ME}-{{}} seq 0 RESPONSE MANAGEMENT {{}}"
CLOCK_TEXTS = {
    "DEFAULT_DATA_SET": (
        "twoStepFlag 1|slaveOnly 0|numberPorts 2|priority1 128|clockClass 248|clockAccuracy 0xfe|"
        f"offsetScaledLogVariance 0xffff|priority2 99|clockIdentity {ME}|domainNumber 0"
    ),
    "CURRENT_DATA_SET": "stepsRemoved 2|offsetFromMaster -125.0|meanPathDelay 4321.0",
    "PARENT_DATA_SET": (
        "parentPortIdentity 020000.fffe.00000a-3|parentStats 0|observedParentOffsetScaledLogVariance 0xffff|"
        "observedParentClockPhaseChangeRate 0x7fffffff|grandmasterPriority1 1|gm.ClockClass 6|gm.ClockAccuracy 0x21|"
        "gm.OffsetScaledLogVariance 0x4e5d|grandmasterPriority2 2|grandmasterIdentity 020000.fffe.00000a"
    ),
    "TIME_PROPERTIES_DATA_SET": (
        "currentUtcOffset 37|leap61 1|leap59 0|currentUtcOffsetValid 1|ptpTimescale 1|timeTraceable 1|"
        "frequencyTraceable 0|timeSource 0x20"
    ),
    "USER_DESCRIPTION": "userDescription rack 4",
    "PRIORITY1": "priority1 128",
    "PRIORITY2": "priority2 99",
    "DOMAIN": "domainNumber 0",
    "SLAVE_ONLY": "slaveOnly 0",
    "CLOCK_ACCURACY": "clockAccuracy 0xfe",
    "TRACEABILITY_PROPERTIES": "timeTraceable 1|frequencyTraceable 0",
    "TIMESCALE_PROPERTIES": "ptpTimescale 1",
    "TIME_STATUS_NP": (
        "master_offset -125|ingress_time 1800000037000000005|cumulativeScaledRateOffset +0.000000000|"
        "scaledLastGmPhaseChange 0|gmTimeBaseIndicator 0|lastGmPhaseChange 0x0000'0000000000000000.0000|"
        "gmPresent true|gmIdentity 020000.fffe.00000a"
    ),
    "GRANDMASTER_SETTINGS_NP": (
        "clockClass 248|clockAccuracy 0xfe|offsetScaledLogVariance 0xffff|currentUtcOffset 37|leap61 0|leap59 0|"
        "currentUtcOffsetValid 0|ptpTimescale 1|timeTraceable 0|frequencyTraceable 0|timeSource 0xa0"
    ),
    "SUBSCRIBE_EVENTS_NP": "duration 0|NOTIFY_PORT_STATE off",
}
TYPES = (
    "Sync",
    "Delay_Req",
    "Pdelay_Req",
    "Pdelay_Resp",
    "Follow_Up",
    "Delay_Resp",
    "Pdelay_Resp_Follow_Up",
    "Announce",
    "Signaling",
    "Management",
)
PORT_TEXTS = {
    "PORT_DATA_SET": (
        f"portIdentity {ME}-1|portState SLAVE|logMinDelayReqInterval -1|peerMeanPathDelay 0|logAnnounceInterval -2|"
        "announceReceiptTimeout 4|logSyncInterval -3|delayMechanism 1|logMinPdelayReqInterval -1|versionNumber 2"
    ),
    "CLOCK_DESCRIPTION": (
        "clockType 0x4000|physicalLayerProtocol IEEE 802.3|physicalAddress 02:00:00:00:00:0b|"
        "protocolAddress 1 192.0.2.11|manufacturerId 00:00:00|productDescription timesync;box;7|revisionData 1;2;3|"
        "userDescription rack 4|profileId 00:1b:19:00:01:00"
    ),
    "LOG_ANNOUNCE_INTERVAL": "logAnnounceInterval -2",
    "ANNOUNCE_RECEIPT_TIMEOUT": "announceReceiptTimeout 4",
    "LOG_SYNC_INTERVAL": "logSyncInterval -3",
    "VERSION_NUMBER": "versionNumber 2",
    "DELAY_MECHANISM": "delayMechanism 1",
    "LOG_MIN_PDELAY_REQ_INTERVAL": "logMinPdelayReqInterval -1",
    "PORT_DATA_SET_NP": "neighborPropDelayThresh 800|asCapable 1",
    "PORT_PROPERTIES_NP": f"portIdentity {ME}-1|portState SLAVE|timestamping HARDWARE|interface eth1",
    "PORT_STATS_NP": "|".join(
        [
            f"portIdentity {ME}-1",
            *(f"rx_{kind} {1234 if kind == 'Sync' else 0}" for kind in TYPES),
            *(f"tx_{kind} {567 if kind == 'Delay_Req' else 0}" for kind in TYPES),
        ]
    ),
}


@pytest.mark.interop
@pytest.mark.parametrize("name", CLOCK_TEXTS)
def test_pmc_shows_the_clock(tmp_path: Path, name: str) -> None:
    expected = [HEAD.format(0, name), *CLOCK_TEXTS[name].split("|")]
    with running(tmp_path, made_up()) as runner:
        assert expected == pmc(runner.paths[0], f"GET {name}").splitlines()
        # An empty request asks the same (pmc -z).
        assert expected == pmc(runner.paths[0], f"GET {name}", options=("-z",)).splitlines()


@pytest.mark.interop
@pytest.mark.parametrize("name", PORT_TEXTS)
def test_pmc_shows_each_port(tmp_path: Path, name: str) -> None:
    expected = [HEAD.format(1, name), *PORT_TEXTS[name].split("|")]
    with running(tmp_path, made_up()) as runner:
        lines = pmc(runner.paths[0], f"GET {name}").splitlines()
        only = pmc(runner.paths[0], "TARGET " + f"{ME}-1", f"GET {name}").splitlines()

    assert expected == lines[: len(expected)]
    assert HEAD.format(2, name) == lines[len(expected)]
    assert 2 * len(expected) == len(lines)
    assert expected == only


@pytest.mark.interop
def test_pmc_changes_what_it_may(tmp_path: Path) -> None:
    settings = (
        "clockClass 6 clockAccuracy 0x21 offsetScaledLogVariance 0x4e5d currentUtcOffset 37 leap61 0 leap59 0 "
        "currentUtcOffsetValid 1 ptpTimescale 1 timeTraceable 1 frequencyTraceable 0 timeSource 0x20"
    )
    with running(tmp_path, made_up()) as runner:
        words = "SET PRIORITY1 5", f"SET GRANDMASTER_SETTINGS_NP {settings}", "SET PRIORITY1 6"
        lines = [pmc(runner.paths[0], word) for word in words[:2]] + [pmc(runner.paths[1], words[2])]

    assert [HEAD.format(0, "PRIORITY1"), "priority1 5"] == lines[0].splitlines()
    assert settings == " ".join(lines[1].splitlines()[1:])
    assert f"{ME}-0 seq 0 RESPONSE MANAGEMENT_ERROR_STATUS" == lines[2].splitlines()[0]
    flags = Flags.UTC_OFFSET_VALID | Flags.PTP_TIMESCALE | Flags.TIME_TRACEABLE
    set_ = SetGrandmaster(GrandmasterSettings(ClockQuality(6, 0x21, 0x4E5D), 37, flags, 0x20))
    assert [SetPriority1(5), set_] == runner.commands


@pytest.mark.interop
def test_the_read_only_socket_reads(tmp_path: Path) -> None:
    with running(tmp_path, made_up()) as runner:
        shown = pmc(runner.paths[1], "GET PRIORITY2", "GET PORT_PROPERTIES_NP").splitlines()

    assert [HEAD.format(0, "PRIORITY2"), "priority2 99"] == shown[:2]
    assert f"{ME}-0 seq 1 RESPONSE MANAGEMENT_ERROR_STATUS" == shown[2].strip()


@pytest.mark.interop
@pytest.mark.parametrize(("options", "heard"), [(("-d", "0"), True), (("-d", "1"), False), (("-t", "1"), False)])
def test_other_domains_are_not_ours(tmp_path: Path, options: tuple[str, ...], heard: bool) -> None:
    with running(tmp_path, made_up()) as runner:
        assert heard == ("priority1" in pmc(runner.paths[0], "GET PRIORITY1", options=options))


# -- the running daemon


EVERYTHING = (*CLOCK_TEXTS, *PORT_TEXTS)
"""What linuxptp's own tools ask for, but for what Debian's pmc does not know yet."""


def configuration(path: Path, *, role: str = "auto") -> str:
    """A clock in software that follows whoever is best over UDP, managed by a socket."""
    return f"""
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{offset: 1ms, frequency: 5ppm, wander: 1e-9}}}}
ptp:
  clock: bench
  role: {role}
  priority1: 200
  management: {path}
  ports:
    - {{interface: eth0, transport: udp4, timestamping: software}}
serve: {{clock: bench, ntp: {{listen: ["127.0.0.1:123"]}}}}
"""


def values(text: str) -> dict[str, str]:
    """The lines of an answer that have a name and a value."""
    pairs = (line.split(" ", 1) for line in text.splitlines()[1:])
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


@pytest.mark.interop
def test_pmc_manages_the_running_daemon(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ptp4l"
    with (
        star(1) as (hub, (spoke,)),
        ptp4l(hub, tmp_path / "gm", "-4", "-E", "--priority1", "100") as peer,
        timesync(spoke, tmp_path / "ours", configuration(path)) as daemon,
    ):
        wait_for_state(daemon, "TIME_RECEIVER", 60)
        octets, theirs = mac_of(spoke).split(":"), mac_of(hub).split(":")
        me = f"{''.join(octets[:3])}.fffe.{''.join(octets[3:])}"
        master = f"{''.join(theirs[:3])}.fffe.{''.join(theirs[3:])}"
        modes = [stat.S_IMODE(Path(f"{path}{end}").stat().st_mode) for end in ("", "ro")]
        asked = {name: pmc(path, f"GET {name}") for name in EVERYTHING}
        reader = {name: pmc(Path(f"{path}ro"), f"GET {name}") for name in ("PRIORITY1", "PORT_PROPERTIES_NP")}
        reader["SET"] = pmc(Path(f"{path}ro"), "SET PRIORITY1 7")
        pmc(path, "SET PRIORITY1 5")
        after = pmc(path, "GET PRIORITY1")
        wait_until(lambda: peer.follows() == me, 30, "ptp4l follows ours, which is first now", daemon.log)
        wait_for_state(daemon, "TIME_TRANSMITTER", 30)
        leading = pmc(path, "GET PARENT_DATA_SET")
    log = daemon.log()

    assert [0o660, 0o666] == modes
    assert {} == {name: text for name, text in asked.items() if f"RESPONSE MANAGEMENT {name}" not in text}
    assert {me} == {text.split("-")[0] for text in asked.values()}
    found = {name: values(text) for name, text in asked.items()}
    assert "SLAVE" == found["PORT_DATA_SET"]["portState"] == found["PORT_PROPERTIES_NP"]["portState"]
    assert ("eth0", "SOFTWARE") == tuple(found["PORT_PROPERTIES_NP"][name] for name in ("interface", "timestamping"))
    assert ("true", master) == tuple(found["TIME_STATUS_NP"][name] for name in ("gmPresent", "gmIdentity"))
    assert abs(int(found["TIME_STATUS_NP"]["master_offset"])) < 100_000
    assert int(found["TIME_STATUS_NP"]["ingress_time"]) > 1_700_000_000 * 10**9
    assert "1" == found["CURRENT_DATA_SET"]["stepsRemoved"]
    assert 0 < float(found["CURRENT_DATA_SET"]["meanPathDelay"]) < 1e6
    assert (me, "200") == tuple(found["DEFAULT_DATA_SET"][name] for name in ("clockIdentity", "priority1"))
    assert f"1 {spoke.address}" == found["CLOCK_DESCRIPTION"]["protocolAddress"]
    assert int(found["PORT_STATS_NP"]["rx_Sync"]) > 0
    assert "priority1 200" in reader["PRIORITY1"]
    assert "RESPONSE MANAGEMENT_ERROR_STATUS" in reader["PORT_PROPERTIES_NP"]
    assert "RESPONSE MANAGEMENT_ERROR_STATUS" in reader["SET"]
    assert "priority1 5" in after
    assert me == values(leading)["grandmasterIdentity"], log
    assert not path.exists()
    assert not Path(f"{path}ro").exists()


@pytest.mark.interop
def test_the_network_may_read_and_not_change(tmp_path: Path) -> None:
    with (
        star(1) as (hub, (spoke,)),
        timesync(spoke, tmp_path / "ours", configuration(tmp_path / "ptp4l")) as daemon,
    ):
        wait_for_state(daemon, "TIME_TRANSMITTER", 30)
        command = ["pmc", "-4", "-i", "eth0", "-b", "0", "GET PRIORITY1", "SET PRIORITY1 9", "GET PRIORITY1"]
        said = hub.peer(*command).stdout
        sent = values(pmc(tmp_path / "ptp4l", "GET PORT_STATS_NP"))

    found = re.sub(r"[ \t]+", " ", said)
    assert 2 == found.count("priority1 200"), said
    assert 1 == found.count("MANAGEMENT_ERROR_STATUS"), said
    assert ("3", "3") == (sent["rx_Management"], sent["tx_Management"])
