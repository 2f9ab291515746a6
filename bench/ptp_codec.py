"""What the PTP codec costs: microseconds to parse and to build one message of each kind.

``python bench/ptp_codec.py [--seconds 0.3]``

Each figure is processor time, the best of five runs of so many seconds; nothing is sent. The last lines give the share
of one core that a port needs for the codec alone at 128 Sync and Follow_Up a second, and what a whole instance, without
its sockets, needs for 10,000 Announces a second from clocks that it has never heard of.
"""

from __future__ import annotations

import argparse
import platform
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from server_rate import cpu_model

from timesync.base.ids import ALL_PORTS, ClockId, ClockIdentity, LinkId, PortIdentity, SourceId
from timesync.base.time import Duration, Instant
from timesync.ptp.instance import Instance
from timesync.ptp.settings import InstanceSettings, PortSettings
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp import decode, encode
from timesync.wire.ptp_management import ManagementId, with_data
from timesync.wire.ptp_management_data import CurrentDataSet
from timesync.wire.ptp_message import (
    Action,
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Management,
    Message,
    MessageType,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
)
from timesync.wire.ptp_tlv import PathTrace, UnicastRequest
from timesync.wire.ptp_tlv_read import find

CLOCK = ClockIdentity(bytes.fromhex("001b19fffe000001"))
PORT = PortIdentity(CLOCK, 1)
AT = Instant.from_ns(1_790_000_000_123_456_789)
EVENT = Header(source=PORT, sequence_id=7, flags=Flags.TWO_STEP, correction=Duration.from_ns(250), log_interval=-3)
GENERAL = Header(source=PORT, sequence_id=7, correction=Duration.from_ns(250), log_interval=-3)
STRANGER = PortIdentity(ClockIdentity(bytes.fromhex("001b19fffe000002")), 1)
RUNS = 5
STORM = 20_000


def messages() -> dict[str, Message]:
    """One of each kind, and those with the TLVs that are common."""
    data = with_data(ManagementId.CURRENT_DATA_SET, CurrentDataSet(1, Duration(1), Duration(2)))
    return {
        "Sync": Sync(EVENT),
        "Follow_Up": FollowUp(GENERAL, AT),
        "Follow_Up, gPTP": FollowUp(GENERAL, AT, (FollowUpInformation(1, 2).to_tlv(),)),
        "Delay_Req": DelayReq(GENERAL),
        "Delay_Resp": DelayResp(GENERAL, AT, PORT),
        "Pdelay_Req": PdelayReq(GENERAL),
        "Pdelay_Resp": PdelayResp(EVENT, AT, PORT),
        "Pdelay_Resp_Follow_Up": PdelayRespFollowUp(GENERAL, AT, PORT),
        "Announce": Announce(header=GENERAL, grandmaster=CLOCK),
        "Announce, path trace": Announce(header=GENERAL, grandmaster=CLOCK, tlvs=(PathTrace((CLOCK,)).to_tlv(),)),
        "Signaling": Signaling(GENERAL, PORT, (UnicastRequest(MessageType.SYNC, -3, 300).to_tlv(),)),
        "Management": Management(header=GENERAL, target=ALL_PORTS, action=Action.RESPONSE, tlvs=(data,)),
    }


def microseconds(call: Callable[[], object], seconds: float) -> float:
    """The best of some runs, each of about so many seconds."""
    count = 1000
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        for _ in range(count):
            call()
        each = (time.process_time() - start) / count
        best = min(best, each)
        count = max(1000, int(seconds / each))
    return best * 1e6


def storm_microseconds() -> float:
    """For one Announce of an unknown clock, each 100 us after the last."""
    port = PortSettings(
        number=1, name="eth0", clock=ClockId("local"), source=SourceId("ptp:eth0"), link=LinkId("ptp:eth0")
    )
    rng = random.Random(1)
    instance = Instance(InstanceSettings(identity=CLOCK, slave_only=True, ports=(port,)), rng)
    instance.on_link(1, Instant.from_ns(0), up=True)
    data = encode(Announce(header=replace(GENERAL, source=STRANGER), grandmaster=STRANGER.clock))
    storm = [data[:20] + rng.randbytes(8) + data[28:] for _ in range(STORM)]
    start = time.process_time()
    for number, one in enumerate(storm):
        instance.on_message(1, one, None, "192.0.2.1", Instant.from_ns(number * 100_000))
    return (time.process_time() - start) / STORM * 1e6


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="length of one run")
    seconds = parser.parse_args().seconds
    print(f"{cpu_model()}, Python {platform.python_version()}")
    print(f"{'message':24} {'parse us':>9} {'build us':>9}")
    costs: dict[str, tuple[float, float]] = {}
    for name, message in messages().items():
        data = encode(message)
        costs[name] = (
            microseconds(lambda data=data: decode(data), seconds),  # type: ignore[misc]  # bound in the loop
            microseconds(lambda message=message: encode(message), seconds),  # type: ignore[misc]  # as above
        )
        print(f"{name:24} {costs[name][0]:9.2f} {costs[name][1]:9.2f}")
    tlvs = (FollowUpInformation(1, 2).to_tlv(),)
    cost = microseconds(lambda: find(tlvs, FollowUpInformation), seconds)
    print(f"{'Follow_Up information':24} {cost:9.2f}")
    for column, word in ((0, "received"), (1, "sent")):
        share = 128 * (costs["Sync"][column] + costs["Follow_Up"][column]) / 1e6
        print(f"128 Sync and Follow_Up a second {word}: {share:.3%} of a core")
    cost = min(storm_microseconds() for _ in range(RUNS))
    print(f"10000 Announce a second of unknown clocks: {cost:.2f} us each, {cost * 1e-2:.1%} of a core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
