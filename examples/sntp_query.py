"""One question, one answer: python examples/sntp_query.py SERVER."""

import sys
import time

from timesync.lib import QueryError, query_blocking

try:
    reply = query_blocking(sys.argv[1])
except QueryError as error:
    sys.exit(str(error))
side = "ahead of" if reply.offset.scaled_ns > 0 else "behind"
print(f"this clock is {abs(reply.offset)} {side} {reply.server}, give or take {reply.error_bound}")
print(f"by that server it is {reply.right_ns(time.time_ns())} ns since 1970")
