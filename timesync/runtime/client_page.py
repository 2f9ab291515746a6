"""The memory in which one server worker tells the daemon who has asked, and its successor finds it again.

The worker writes when it is told to, and says so over its control socket; the daemon reads only then, or when the
worker is gone. What an ended writer left half-written counts as nothing.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

from timesync.ntp.client_log import ClientList, ClientRecord

_HEAD: Final = struct.Struct("@QQ")
"""How many records follow, and how many clients are known."""

_RECORD: Final = struct.Struct("@16s7qB7x")
"""Address and the fields of ``ClientRecord`` behind it, in their order; how long the address is."""

_LENGTHS: Final = (4, 16)


def encode_clients(clients: ClientList) -> bytes:
    """A list in one piece, for a socket."""
    records = [_RECORD.pack(address, *numbers, len(address)) for address, *numbers in clients.records]
    return b"".join([_HEAD.pack(len(records), clients.known), *records])


def decode_clients(data: bytes | memoryview) -> ClientList:
    """The reverse; what is behind the last whole record is left out."""
    count, known = _HEAD.unpack_from(data)
    there = (len(data) - _HEAD.size) // _RECORD.size
    found = []
    for address, *numbers, length in _RECORD.iter_unpack(data[_HEAD.size :][: min(count, there) * _RECORD.size]):
        if length in _LENGTHS:
            found.append(ClientRecord(address[:length], *numbers))
    return ClientList(found, known)


class ClientPage:
    """The memory, in the daemon or in the worker.

    Attributes:
        descriptor: Of the memory file; to be passed to the worker.
    """

    def __init__(self, descriptor: int) -> None:
        """Map a memory file that ``create`` has made. Raises OSError."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._capacity = (len(self._memory) - _HEAD.size) // _RECORD.size

    @classmethod
    def create(cls, capacity: int) -> ClientPage:
        """A new one with room for so many records; what is never written takes no memory. Raises OSError."""
        descriptor = os.memfd_create("timesync-clients", os.MFD_CLOEXEC)
        try:
            os.ftruncate(descriptor, _HEAD.size + capacity * _RECORD.size)
            return cls(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def close(self) -> None:
        """Unmap and close."""
        self._memory.close()
        os.close(self.descriptor)

    def write(self, clients: ClientList) -> None:
        """Replace what is there, by as many records as there is room for."""
        memory, pack, size = self._memory, _RECORD.pack_into, _RECORD.size
        chosen = clients.records[: self._capacity]
        _HEAD.pack_into(memory, 0, 0, 0)
        for place, (address, *numbers) in zip(range(_HEAD.size, len(memory), size), chosen, strict=False):
            pack(memory, place, address, *numbers, len(address))
        _HEAD.pack_into(memory, 0, len(chosen), clients.known)

    def read(self) -> ClientList:
        """What was written last. Whatever a worker puts there, this ends soon and gives records."""
        with memoryview(self._memory) as memory:
            return decode_clients(memory)
