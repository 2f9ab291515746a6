"""NTP as sans-IO machines: client association, server, access and rate limits (RFC 5905, RFC 9769)."""
