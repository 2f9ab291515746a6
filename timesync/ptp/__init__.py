"""The Precision Time Protocol: ports and clocks as sans-IO machines (IEEE 1588-2019, IEEE 802.1AS-2020). Pure.

Bytes, stamps and expired timers go in, effects come out. Nothing here knows a servo: what a port measures leaves as
``Measurement``, and what a grandmaster may claim of its time comes in as ``LocalQuality``.
"""
