"""One question whose answer is proved to be the server's: python examples/nts_query.py SERVER [CA-FILE]."""

import sys

from timesync.lib import NtsError, NtsTrust, QueryError, query_blocking

try:
    reply = query_blocking(sys.argv[1], nts=NtsTrust(*sys.argv[2:]))
except NtsError as error:
    sys.exit(f"no keys ({error.kind}): {error}")
except QueryError as error:
    sys.exit(f"no answer that is proved: {error}")
print(f"this clock minus {reply.server}: {reply.offset}, give or take {reply.error_bound}")
