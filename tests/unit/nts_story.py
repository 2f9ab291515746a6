"""A client with NTS in time that only the test moves, and the gate of its server."""

from __future__ import annotations

import random

from ntp_client_support import Request, Story, entropy, settings
from nts_support import Stream, agreed, jar, keys_for

from timesync.ntp.authenticator import NtsAuthenticator
from timesync.ntp.client import Client
from timesync.nts.aead import AeadId
from timesync.nts.serve import Authentic, NtsGate
from timesync.nts.session import NtsSession

AEAD = AeadId.AES_SIV_CMAC_256


class NtsStory(Story):
    """A client of NTS and the gate of its server."""

    def __init__(self, cookies: int = 8) -> None:
        super().__init__()
        self.jar = jar()
        self.gate = NtsGate(self.jar, Stream("server"))
        self.authenticator = NtsAuthenticator(self.session(cookies))
        self.client = Client(settings(), self.scales, random.Random(1), entropy(1), self.precision, self.authenticator)

    def session(self, cookies: int, seed: str = "keys") -> NtsSession:
        keys = keys_for(AEAD, seed)
        return NtsSession(agreed(keys, tuple(self.jar.make(keys) for _ in range(cookies))), Stream(f"client {seed}"))

    def answer(self, request: Request, plain: bytes) -> bytes:
        found = self.gate.examine(request.data)
        assert isinstance(found, Authentic)
        sealed = self.gate.seal(found, plain)
        assert sealed is not None
        return sealed
