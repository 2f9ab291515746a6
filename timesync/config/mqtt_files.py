"""The files that a connection to an MQTT broker needs, looked at before they are used."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from timesync.config.look import complain
from timesync.config.observe import Mqtt
from timesync.config.problem import Problem
from timesync.config.tree import Mapping

MAX_FILE: Final = 1 << 20
"""Octets; the authorities of a whole system are a quarter of that."""

Judge = Callable[[os.stat_result], str | None]
Read = Callable[[Path, Judge, int], tuple[bytes, str | None]]
"""Reads so many octets of a file that the judge finds fit, or says why it does not. Raises OSError."""

_PRIVATE: Final = ("password_file", "private_key")
_PEM: Final = {"ca": b"CERTIFICATE-----", "certificate": b"CERTIFICATE-----", "private_key": b"PRIVATE KEY-----"}
FILES: Final = ("password_file", "ca", "certificate", "private_key")


def examine(mqtt: Mqtt, root: Mapping, read: Read) -> tuple[list[Problem], OSError | None]:
    """What is wrong with them, and the system's error if there was one."""
    problems: list[Problem] = []
    cause: OSError | None = None
    for key in FILES:
        path = getattr(mqtt, key)
        if path is None:
            continue
        try:
            data, complaint = read(Path(path), _others if key in _PRIVATE else _anybody, MAX_FILE + 1)
        except OSError as error:
            complaint, cause = error.strerror or str(error), error
        else:
            complaint = complaint or _unfit(key, data)
        if complaint is not None:
            problems.append(complain(root, ("observe", "mqtt", key), f"{path}: {complaint}"))
    return problems, cause


def doubts(mqtt: Mqtt, root: Mapping) -> Iterator[Problem]:
    """What is allowed but probably not meant."""
    remote = mqtt.broker.remote
    near = ipaddress.ip_address(remote.host).is_loopback if remote.numeric else remote.host == "localhost"
    if mqtt.password_file is not None and not mqtt.broker.tls and not near:
        message = "the password crosses the network where all can read it"
        yield complain(root, ("observe", "mqtt", "broker"), message, f"mqtts://{remote.host}")


def password(data: bytes) -> str | None:
    """The first line of a file; None when it is none."""
    try:
        return data.partition(b"\n")[0].removesuffix(b"\r").decode() or None
    except UnicodeDecodeError:
        return None


def _unfit(key: str, data: bytes) -> str | None:
    if len(data) > MAX_FILE:
        return f"is longer than {MAX_FILE} octets"
    if key == "password_file":
        return "its first line is no password in UTF-8" if password(data) is None else None
    if b"-----BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data:
        return "the key has a passphrase, and nobody is there to type it"
    if b"-----BEGIN " not in data or _PEM[key] not in data:
        return f"there is no {'private key' if key == 'private_key' else 'certificate'} in PEM form in it"
    return None


def _others(status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IRWXO:
        return "others can read or write it; take that away with chmod o-rwx"
    return None


def _anybody(status: os.stat_result) -> str | None:
    del status
    return None
