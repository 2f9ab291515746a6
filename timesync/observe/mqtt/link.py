"""A connection to an MQTT broker, with TLS and passwords: the one place that knows aiomqtt."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see below
import contextlib
import encodings.idna  # noqa: F401 - both would be imported by the first connection, when it is too late to read files
import logging
import os
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiomqtt import Client, MqttCodeError, MqttError, Will

from timesync.config.mqtt_files import password
from timesync.config.observe import BrokerUrl
from timesync.observe.mqtt.topics import Publication

KEEPALIVE_S: Final = 20
"""A broker that hears nothing for half as long again publishes the last will."""

TIMEOUT_S: Final = 10.0
FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 30.0
STABLE_S: Final = 60.0
"""A connection that lasted this long ended for a new reason: the next one is tried without delay."""

QOS: Final = 1
_REFUSED_WORDS: Final = {
    1: "it speaks another version of MQTT", 2: "it does not like our client identifier", 3: "it is not available",
    4: "wrong user name or password", 5: "wrong user name or password, or no right to connect",
    132: "it speaks another version of MQTT", 133: "it does not like our client identifier",
    134: "wrong user name or password", 135: "wrong user name or password, or no right to connect",
    136: "it is not available",
}  # fmt: skip
"""By the return code of CONNACK (MQTT 3.1.1, 3.2.2.3), or the reason code of MQTT 5 that the library makes of it."""

_UNTRUSTED: Final = "its certificate is not trusted"
_NOT_ALLOWED: Final = frozenset({4, 5, 134, 135})

# What is to be said, the parts say; the library would say it once a try.
_SILENT = logging.Logger("mqtt", logging.CRITICAL + 1)  # noqa: LOG001 - nobody else's


class LinkError(Exception):
    """There is no connection, or no longer; the message is for the user.

    Attributes:
        lasting: The broker is there, and somebody must change something before it works.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class RefusedError(LinkError):
    """The broker does not want us: user, password or rights are wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message, lasting=True)


@dataclass(frozen=True, slots=True)
class Access:
    """A broker, and what it takes to be let in.

    Attributes:
        broker: Where.
        username: Who we are.
        password: And that it is true.
        tls: Whom we trust and who we are, where it is encrypted.
    """

    broker: BrokerUrl
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None


def access(broker: BrokerUrl, username: str | None, files: Mapping[str, bytes]) -> Access:
    """What it takes to be let in.

    Args:
        broker: Where.
        username: Who we are.
        files: The content of files, by the keys of ``observe.mqtt`` that name them.

    Raises OSError for one that is of no use.
    """
    secret = password(files["password_file"]) if "password_file" in files else None
    if "password_file" in files and secret is None:
        raise OSError("password_file: its first line is no password in UTF-8")
    tls = context(files.get("ca"), files.get("certificate"), files.get("private_key")) if broker.tls else None
    return Access(broker, username, secret, tls)


def context(ca: bytes | None, certificate: bytes | None, private_key: bytes | None) -> ssl.SSLContext:
    """For a connection to a broker whose name is in its certificate. Raises OSError for what is no PEM.

    Args:
        ca: Certificates to trust; None: the system's.
        certificate: Our own.
        private_key: Its key.
    """
    try:
        made = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise OSError(f"ca: no certificate in PEM form ({error.reason or error})") from None
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None and private_key is not None:
        # OpenSSL reads them from a file only, and nobody may write them to one: this one is memory without a name.
        descriptor = os.memfd_create("mqtt", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(certificate.rstrip() + b"\n" + private_key)
            file.flush()
            try:
                made.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_passphrase)
            except ssl.SSLError as error:
                why = error.reason or "not in PEM form"
                raise OSError(f"certificate and private_key do not work together: {why}") from None
    return made


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal.
    raise OSError("private_key: the key has a passphrase, and nobody is there to type it")


class Link:
    """A connection, between entering and leaving it as a context.

    A process that looks a name up or waits for a distant broker does so in a thread; everything else is asynchronous.
    """

    def __init__(self, access: Access, identifier: str | None = None, will: Publication | None = None) -> None:
        """Nothing is opened yet.

        Args:
            access: Where and how.
            identifier: Whose connection this is: the broker ends another one of the same; None: anybody's.
            will: What the broker publishes when the connection is lost.
        """
        self._broker = access.broker
        last = None if will is None else Will(will.topic, will.payload, QOS, will.retain)
        self._client = Client(
            access.broker.remote.host,
            access.broker.remote.port,
            username=access.username,
            password=access.password,
            tls_context=access.tls,
            identifier=identifier,
            will=last,
            keepalive=KEEPALIVE_S,
            timeout=TIMEOUT_S,
            logger=_SILENT,
            max_queued_incoming_messages=10_000,
        )

    async def open(self) -> None:
        """Connect. Raises LinkError."""
        try:
            await self._client.__aenter__()
        except MqttCodeError as error:
            code: Any = getattr(error.rc, "value", error.rc)
            text = f"{self._broker} refuses us: {_REFUSED_WORDS.get(code, _reason(error))}"
            raise (RefusedError if code in _NOT_ALLOWED else LinkError)(text) from None
        except (MqttError, OSError, ValueError) as error:
            reason = _reason(error)
            raise LinkError(f"{self._broker} cannot be reached: {reason}", lasting=_UNTRUSTED in reason) from None

    async def close(self) -> None:
        """Take leave; the last will is not published then."""
        self._client.timeout = 1.0
        with contextlib.suppress(MqttError):
            await self._client.__aexit__(None, None, None)

    async def publish(self, publication: Publication) -> None:
        """Send, and wait until the broker has it. Raises LinkError."""
        try:
            await self._client.publish(publication.topic, publication.payload, QOS, publication.retain)
        except ValueError as error:
            raise LinkError(f"{self._broker} cannot be told: {error}") from None
        except MqttError:
            raise LinkError(f"{self._broker} was lost") from None

    async def subscribe(self, topics: list[str]) -> None:
        """Ask for messages. Raises LinkError."""
        try:
            granted = await self._client.subscribe([(topic, QOS) for topic in topics])
        except MqttError:
            raise LinkError(f"{self._broker} was lost") from None
        if any(getattr(code, "value", code) >= 0x80 for code in granted):
            raise RefusedError(f"{self._broker} does not let us read {', '.join(topics)}")

    async def end(self) -> None:
        """Wait for the end of the connection; whatever the broker sends is dropped. Raises LinkError."""
        while True:
            await self.next()

    async def next(self) -> tuple[str, bytes, bool]:
        """The next message: topic, payload, and whether the broker had kept it. Raises LinkError at the end."""
        try:
            message = await anext(self._client.messages)
        except MqttError:
            raise LinkError(f"{self._broker} was lost") from None
        payload = message.payload if isinstance(message.payload, bytes) else b""
        return str(message.topic), payload, message.retain


def _reason(error: BaseException) -> str:
    """What the library passes on of an error: its text, without the numbers in front and behind."""
    text = str(error)
    text = (text.partition("] ")[2] if text.startswith("[") else text).partition(" (_ssl.c")[0]
    return text.replace("certificate verify failed", _UNTRUSTED) or type(error).__name__


class Backoff:
    """How long to wait before the next try: longer each time, and not all at the same moment."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next_s = FIRST_BACKOFF_S

    def pause_s(self, lasted_s: float) -> float:
        """Seconds to wait after a connection, or a try, that lasted so long: half to all of what is due."""
        if lasted_s >= STABLE_S:
            self._next_s = FIRST_BACKOFF_S
        due_s, self._next_s = self._next_s, min(2 * self._next_s, MAX_BACKOFF_S)
        return due_s * self._rng.uniform(0.5, 1.0)
