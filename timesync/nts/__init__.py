"""Network Time Security (RFC 8915) without IO, and the AES-CMAC of symmetric keys (RFC 8573).

Key establishment is in ``ke_client`` and ``ke_server``, packets are in ``session`` (client) and ``serve`` (server), a
server's secrets in ``master`` and ``cookies``, a client's in ``stash`` and ``saved``.
"""
