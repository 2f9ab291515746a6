"""Files of symmetric keys: chrony's, ntpd's, and the security associations of ptp4l."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from timesync.config.importing.draft import Draft, ImportedKey
from timesync.config.importing.lines import Line, Section, split
from timesync.config.importing.numbers import UnreadableError, whole
from timesync.config.source import Source
from timesync.ntp.auth import MIN_SECRET, SECRET_SIZES

_CHRONY = {name: name for name in ("AES128", "AES256", "SHA256", "SHA384", "SHA512", "SHA1", "MD5")}
_NTPD = {"AES": "AES128", "AES128": "AES128", "AES128CMAC": "AES128", "AES-128": "AES128", "AES256": "AES256",
         "AES256CMAC": "AES256", "SHA": "SHA1", "SHA1": "SHA1", "SHA256": "SHA256", "SHA384": "SHA384",
         "SHA512": "SHA512", "MD5": "MD5", "M": "MD5"}  # fmt: skip
_PTP = {"SHA256": "HMAC-SHA256", "SHA256-128": "HMAC-SHA256-128", "AES128": "AES128", "AES256": "AES256"}
_HEXADECIMAL = re.compile(r"([0-9A-Fa-f]{2})+", re.ASCII)
_LONGEST_TEXT = 20
"""A key of ntpd that is longer is written in hexadecimal digits."""
_MOST_ID = 0xFFFF_FFFF


def chrony_keys(draft: Draft, source: Source) -> None:
    """``ID [TYPE] KEY`` in each line (chrony.conf(5), keyfile)."""
    for line in split(source, "#!;%"):
        with_type = len(line.words) > 2
        kind = line.words[1].upper() if with_type else "MD5"
        _add(draft, line, _CHRONY.get(kind), kind, line.words[-1] if len(line.words) > 1 else "")


def ntpd_keys(draft: Draft, source: Source) -> None:
    """``ID TYPE KEY`` in each line, with comments behind it (ntp.keys(5))."""
    for line in split(source, "#", "#"):
        if len(line.words) < 3:
            draft.missing(line.mark, "key", "not of the form ID TYPE KEY")
            continue
        kind, text = line.words[1].upper(), line.words[2]
        algorithm = _NTPD.get(kind)
        if len(text) > _LONGEST_TEXT:
            text = f"HEX:{text}"
        elif algorithm is not None and algorithm in SECRET_SIZES:
            # ntpd fills up what is too short for the cipher.
            text = f"HEX:{text.encode().ljust(SECRET_SIZES[algorithm], bytes(1)).hex()}"
        _add(draft, line, algorithm, kind, text)


def association_keys(draft: Draft, section: Section) -> Iterator[int]:
    """The keys of one ``[security_association]``: ``ID TYPE [LENGTH] KEY`` (ptp4l(8)); gives their ids."""
    for line in section.lines:
        if not line.words[0].isdecimal():
            continue
        kind, text = (line.words[1].upper(), line.words[-1]) if len(line.words) > 2 else ("", "")
        if text.upper().startswith("B64:"):
            try:
                text = f"HEX:{base64.b64decode(text[4:], validate=True).hex()}"
            except binascii.Error:
                text = "HEX:?"
        if _add(draft, line, _PTP.get(kind), kind, text):
            yield whole(line.words[0])


def _add(draft: Draft, line: Line, algorithm: str | None, kind: str, text: str) -> bool:
    """Take a key over; says why not, without a word of the secret."""
    try:
        number = whole(line.words[0])
        secret = _octets(text)
    except UnreadableError as error:
        draft.missing(line.mark, "key", str(error))
        return False
    size, needed = len(secret), SECRET_SIZES.get(algorithm or "")
    why = None
    if algorithm is None:
        why = f"there is no {kind[:20]} here; AES128 is what to change to, on both sides"
    elif not 1 <= number <= _MOST_ID:
        why = "ids are 1 to 4294967295"
    elif size < MIN_SECRET:
        why = f"{size} octets can be found by trying: here a secret has at least {MIN_SECRET}"
    elif needed is not None and size != needed:
        why = f"{algorithm} needs {needed} octets, not {size}"
    elif number in draft.keys:
        why = f"{draft.keys[number].mark} has this id; change one of them, on both sides"
    if why is not None:
        draft.missing(line.mark, f"key {number}", why)
        return False
    assert algorithm is not None
    draft.keys[number] = ImportedKey(algorithm, f"HEX:{secret.hex()}", line.mark)
    return True


def _octets(text: str) -> bytes:
    prefix, colon, rest = text.partition(":")
    if colon and prefix.upper() == "HEX":
        if not _HEXADECIMAL.fullmatch(rest):
            raise UnreadableError("the secret is not in hexadecimal digits")
        return bytes.fromhex(rest)
    if colon and prefix.upper() == "ASCII":
        text = rest
    if not text.isascii():
        raise UnreadableError("the secret is not in ASCII")
    return text.encode("ascii")
