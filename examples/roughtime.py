"""A check of the system clock: python examples/roughtime.py SERVER=BASE64KEY..., three or more servers."""

import base64
import sys

from timesync.lib import RoughtimeServerAddress, roughtime_blocking

servers = []
for argument in sys.argv[1:]:
    address, _, key = argument.partition("=")
    servers.append(RoughtimeServerAddress(address, base64.b64decode(key)))
answer = roughtime_blocking(servers)
for address, trouble in answer.troubles.items():
    print(f"{address}: {trouble}")
if answer.malfeasance is not None:
    print("one of the servers has lied, and here is the proof:", answer.malfeasance, sep="\n")
if answer.agreement is None:
    sys.exit("no majority of the servers agrees")
bound = answer.agreement.bound
print(f"it is between {bound.earliest} and {bound.latest} s since 1970, say {bound.server}")
sys.exit(answer.contradiction and f"the system clock {answer.contradiction}")
