"""NTPv5 (draft-ietf-ntp-ntpv5), experimental: its client, server, negotiation and reference ids, without any IO."""
