"""What the daemon costs as a PTP clock, beside ptp4l doing the same in the same run.

``python bench/ptp_daemon.py [--seconds 20] [--clients 200] [NAME...]``; as root

Both run in network namespaces joined by veth, with software timestamps, and without the right to set the clock. The
processor time is utime and stime in ``/proc/PID/stat``. Over veth that has in it what the kernel does to bring a
message to its receiver. Each situation is measured with ours and ptp4l at work at the same time, on wires of their own;
but the unicast clients, which one process plays, ask ours first and ptp4l then. NAME: only situations with that in
their name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_rate import cpu_model, cpu_seconds

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from interop_ptp import ptp4l, star, wait_for_state  # noqa: E402  # found by the line above
from interop_support import Node, missing, our_environment, timesync, wait_until  # noqa: E402  # as above

FAST, TELECOM = -7, -4
SETTLE_S = 10.0
PATIENCE_S = 60.0
AIM = 1 / 3
_FIRST_CLIENT = "10.77.0.1"
_SERVER = "10.77.7.254"


@dataclass(frozen=True)
class Used:
    """Processor time as a share of one processor, and what went on meanwhile, in words."""

    share: float
    what: str = ""


def pid_in(node: Node, word: str) -> int:
    """The process in a namespace with this word in its command line."""
    for pid in node.peer("ip", "netns", "pids", node.name).stdout.split():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if any(word in one for one in command) and "setpriv" not in command[0]:
            return int(pid)
    raise SystemExit(f"ptp_daemon: no {word} runs in {node.name}")


def watch(pids: list[int], seconds: float) -> list[float]:
    """Shares of one processor."""
    before, begun = [cpu_seconds([pid]) for pid in pids], time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - begun
    return [(cpu_seconds([pid]) - used) / passed for pid, used in zip(pids, before, strict=True)]


def configuration(role: str, port: str, profile: str = "default-e2e") -> str:
    """Ours, with one port; a clock in software, so the machine's is not touched."""
    return f"""
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{}}}}
ptp:
  profile: {profile}
  domain: 0
  clock: bench
  role: {role}
  ports:
    - {{interface: eth0, transport: udp4, timestamping: software{port}}}
"""


def transmitter(directory: Path, options: argparse.Namespace) -> tuple[Used, Used]:
    """128 multicast Sync and 4 Announce a second to one receiver, which asks 16 times a second."""
    keys = f", sync_interval: {10**9 >> -FAST}ns, delay_interval: {10**9 >> -TELECOM}ns"
    rates = ["--logSyncInterval", str(FAST), "--logMinDelayReqInterval", str(TELECOM), "--logAnnounceInterval", "-2"]
    with ExitStack() as stack:
        pids = []
        for ours in (True, False):
            hub, (spoke,) = stack.enter_context(star(1))
            where = directory / f"{ours}"
            if ours:
                daemon = stack.enter_context(timesync(spoke, where, configuration("timeTransmitter", keys, "smpte")))
                wait_for_state(daemon, "TIME_TRANSMITTER", PATIENCE_S)
            else:
                stack.enter_context(ptp4l(spoke, where, "-4", "-E", "--priority1", "100", *rates))
            other = stack.enter_context(ptp4l(hub, where / "peer", "-4", "-E", "--slaveOnly", "1"))
            wait_until(other.offsets, PATIENCE_S, "the receiver follows", other.log)
            pids.append(pid_in(spoke, "timesync.cli" if ours else "ptp4l"))
        time.sleep(SETTLE_S)
        ours_used, theirs_used = watch(pids, options.seconds)
    return Used(ours_used), Used(theirs_used)


def receiver(directory: Path, options: argparse.Namespace) -> tuple[Used, Used]:
    """128 multicast Sync a second come, and 16 Delay_Req a second go out."""
    rates = ["--logSyncInterval", str(FAST), "--logMinDelayReqInterval", str(TELECOM)]
    with (
        star(2) as (hub, (spoke, other)),
        ptp4l(hub, directory / "gm", "-4", "-E", "--priority1", "100", *rates, interfaces=("eth0", "eth1")),
        ptp4l(other, directory / "peer", "-4", "-E", "--slaveOnly", "1") as peer,
        timesync(spoke, directory / "ours", configuration("timeReceiver", "")) as daemon,
    ):
        wait_for_state(daemon, "TIME_RECEIVER", PATIENCE_S)
        wait_until(peer.offsets, PATIENCE_S, "ptp4l follows", peer.log)
        time.sleep(SETTLE_S)
        ours, theirs = watch([pid_in(spoke, "timesync.cli"), pid_in(other, "ptp4l")], options.seconds)
    return Used(ours), Used(theirs)


@contextmanager
def clients(node: Node, count: int, *, delay: bool) -> Iterator[subprocess.Popen[str]]:
    """The process that plays the clients; ready when it is given."""
    command = node.command([sys.executable, ROOT / "bench/peers/ptp_clients.py"])
    words = [_SERVER, _FIRST_CLIENT, str(count), str(TELECOM), str(int(delay))]
    environment = our_environment()
    with subprocess.Popen(
        [*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("ptp_daemon: the clients ended")
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> dict[str, int]:
    """What the clients have got so far."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    found: dict[str, int] = json.loads(process.stdout.readline())
    return found


def unicast(directory: Path, options: argparse.Namespace, *, delay: bool) -> tuple[Used, Used]:
    """A Sync 16 times a second to each client, by unicast; and with ``delay`` as many answers to its Delay_Req."""
    found = []
    for ours in (True, False):
        with ExitStack() as stack:
            hub, (spoke,) = stack.enter_context(star(1))
            _give_addresses(hub, spoke, options.clients)
            where = directory / f"{ours}"
            if ours:
                port = f", unicast: {{clients: {options.clients}, multicast: false}}"
                daemon = stack.enter_context(timesync(spoke, where, configuration("timeTransmitter", port)))
                wait_for_state(daemon, "TIME_TRANSMITTER", PATIENCE_S)
            else:
                words = ["--unicast_listen", "1", "--inhibit_multicast_service", "1", "--hybrid_e2e", "1"]
                stack.enter_context(ptp4l(spoke, where, "-4", "-E", "--priority1", "100", *words))
            pid = pid_in(spoke, "timesync.cli" if ours else "ptp4l")
            process = stack.enter_context(clients(hub, options.clients, delay=delay))
            time.sleep(SETTLE_S / 2)
            before = told(process)
            (share,) = watch([pid], options.seconds)
            after = told(process)
        kinds = ("SYNC", "FOLLOW_UP", "DELAY_RESP") if delay else ("SYNC", "FOLLOW_UP")
        rates = [f"{(after.get(kind, 0) - before.get(kind, 0)) / options.seconds:.0f}" for kind in kinds]
        found.append(Used(share, f"{' + '.join(rates)} messages/s"))
    return found[0], found[1]


def _give_addresses(hub: Node, spoke: Node, count: int) -> None:
    network = _FIRST_CLIENT.rsplit(".", 2)[0]
    wanted = [f"ip address add {network}.{number // 256}.{number % 256}/16 dev eth0" for number in range(1, count + 1)]
    hub.peer("sh", "-e", "-c", "\n".join(wanted))
    spoke.peer("ip", "address", "add", f"{_SERVER}/16", "dev", "eth0")


SITUATIONS: dict[str, Callable[[Path, argparse.Namespace], tuple[Used, Used]]] = {
    "transmitter": transmitter,
    "receiver": receiver,
    "unicast": lambda directory, options: unicast(directory, options, delay=False),
    "unicast, Delay_Req": lambda directory, options: unicast(directory, options, delay=True),
}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each is watched, 5 to 600")
    parser.add_argument("--clients", type=int, default=200, help="of unicast, 1 to 1000")
    parser.add_argument("names", nargs="*", metavar="NAME", help="situations with this in their name")
    options = parser.parse_args()
    if not 5 <= options.seconds <= 600 or not 1 <= options.clients <= 1000:
        parser.error("--seconds is 5 to 600, --clients 1 to 1000")
    if (why := missing()) is not None:
        print(f"ptp_daemon: not measured: {why}")
        return 0
    print(f"CPU: {cpu_model()}; {len(os.sched_getaffinity(0))} processors")
    print(f"kernel {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f}\n")
    print(f"{'situation':20} {'ours':>8} {'ptp4l':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory(prefix="timesync-bench-") as name:
        for number, (situation, measure) in enumerate(SITUATIONS.items()):
            if options.names and not any(one in situation for one in options.names):
                continue
            ours, theirs = measure(Path(name) / str(number), options)
            ratio = ours.share / theirs.share if theirs.share else float("inf")
            print(f"{situation:20} {ours.share:8.2%} {theirs.share:8.2%} {ratio:6.1f}  {ours.what}", flush=True)
            if theirs.what:
                print(f"{'':20} {'':8} {'':8} {'':6}  ptp4l: {theirs.what}", flush=True)
            if situation == "unicast":
                print(f"{'':20} {'met' if ours.share < AIM else 'MISSED'}: the aim is a third of a processor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
