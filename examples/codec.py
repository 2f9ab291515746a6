"""The codec alone, with nobody asked: a request is written, an answer is read."""

from timesync.base.time import Instant
from timesync.wire.error import WireError
from timesync.wire.ntp import Mode, NtpPacket, decode, encode, timestamp_to_utc

request = encode(NtpPacket(mode=Mode.CLIENT, transmit=0x0123456789ABCDEF))
print("request:", request.hex())

answer = bytes.fromhex(
    "240106e8 00000000 00000010 47505300"  # version 4, server, stratum 1, GPS
    "ee6b2800 00000000 0123456789abcdef ee6b2810 80000000 ee6b2810 80001000"
)
packet = decode(answer)
received = timestamp_to_utc(packet.receive, pivot=Instant.from_ns(1_790_000_000 * 10**9))
print("stratum", packet.stratum, packet.reference_id, "received at", received)

try:
    decode(answer[:40])
except WireError as error:
    print("refused:", error)
