"""Simulated time: a virtual event loop, oscillators and a network, deterministic by seed."""
