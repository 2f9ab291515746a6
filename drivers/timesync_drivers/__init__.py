"""Synchronous system-call wrappers for Linux: no asyncio, no threads, no policy."""
