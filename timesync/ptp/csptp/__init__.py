"""The Client-Server Precision Time Protocol: a client that asks, and a server that keeps nothing of whom it answers.

Experimental: it follows the draft D0.6 of IEEE P1588.1 as far as ntpd-rs shows it, and the standard may come out
otherwise. Pure: bytes and stamps go in, effects come out.
"""
