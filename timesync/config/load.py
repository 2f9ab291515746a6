"""Reading a configuration: file, profile, schema, checks; every problem at once.

The file must be named by the user, is never looked for, and must not be writable by others (threat V26).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Lookup
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from timesync.base.time import Instant
from timesync.config import mqtt_files, yaml
from timesync.config.checks import check, doubts
from timesync.config.explain import explain
from timesync.config.fields import Secret, SecretText
from timesync.config.problem import ConfigError, Problem, format_path
from timesync.config.profiles import inherit, shipped
from timesync.config.ptp_look import ptp_locations
from timesync.config.schema import Config, Key, check_secret
from timesync.config.source import Mark, Source
from timesync.config.tree import Location, Mapping, Scalar, Sequence, find, leaves, mark_of, plain, substitute
from timesync.config.written import refusal

DEFAULT_FILE = "/etc/timesync/timesync.yaml"
_PATHS: tuple[Location, ...] = (
    ("observe", "control"),
    ("observe", "state"),
    ("observe", "chronyc", "socket"),
    ("observe", "measurements"),
    ("observe", "measurements", "directory"),
    ("observe", "mqtt", "password_file"),
    ("observe", "mqtt", "ca"),
    ("observe", "mqtt", "certificate"),
    ("observe", "mqtt", "private_key"),
    ("leap", "file"),
    ("serve", "sock"),
    ("serve", "nts", "certificate"),
    ("serve", "nts", "private_key"),
    ("serve", "nts", "seed"),
)
# A word without a slash is no path there, but the name of a clock or of an interface, or a mistake.
_DEVICES = {"pps", "nmea", "phc"}
_MAX_SECRET_FILE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that is fit for use.

    Attributes:
        config: The values; secrets are read, paths are absolute.
        origins: Where each given value stands, by its path; defaults are not in it.
        warnings: What is allowed but probably not meant.
        tree: The values as written, file over profile.
    """

    config: Config
    origins: Lookup[str, Mark]
    warnings: tuple[Problem, ...]
    tree: Mapping


def load(
    path: str | Path | None,
    profile: str | None = None,
    library: Lookup[str, Source] | None = None,
    *,
    private_keys: bool = True,
) -> Loaded:
    """Read a configuration file over its profile; without a file, the profile alone.

    Args:
        path: The file; None: ``profile`` must be given.
        profile: Takes the place of the profile that the file names.
        library: Profiles by name; None: the shipped ones.
        private_keys: Also open the files of TLS keys, to say whether they fit. The daemon leaves that to the process
            that serves with them.

    Raises ConfigError with every problem.
    """
    if path is None:
        if profile is None:
            raise ConfigError([Problem("", None, None, "-", "neither a file nor a profile is given")])
        return finish(Mapping({}, Mark(Source(f"profile {profile}", ""), 1, 1)), profile, library)
    return finish(yaml.compose(_read(Path(path))), profile, library, private_keys=private_keys)


def loads(
    text: str | bytes, name: str, profile: str | None = None, library: Lookup[str, Source] | None = None
) -> Loaded:
    """The same for a text that stands in no file; relative paths in it are refused. Raises ConfigError."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return finish(yaml.compose(yaml.decode(data, name)), profile, library)


def finish(
    own: Mapping, profile: str | None, library: Lookup[str, Source] | None, *, private_keys: bool = True
) -> Loaded:
    """From the tree of a file, or of a part of one, to the configuration. Raises ConfigError."""
    names_one = profile is not None or "profile" in own.entries
    if library is None:
        library = shipped() if names_one else {}
    try:
        root = inherit(own, library, profile)
    except ConfigError as error:
        # What the profile would have given is not known; what is written is checked all the same.
        raise ConfigError(_in_order([*error.problems, *_without_profile(own)])) from None
    root = _absolute_paths(root)
    problems: list[Problem] = []
    config: Config | None = None
    doubtful: list[Problem] = []
    cause: OSError | None = None
    try:
        config = Config.model_validate(plain(root))
    except ValidationError as error:
        problems += explain(error, root)
    problems += check(root)
    if config is not None:
        keys, wrong, cause = _read_secrets(config, root)
        problems += wrong
        config = config.model_copy(update={"keys": keys, "profile": profile or config.profile})
        wrong, doubtful, unread = _examine_nts(config, root, private_keys=private_keys)
        problems += wrong
        cause = cause or unread
        wrong, doubted, unread = _examine_mqtt(config, root)
        problems += wrong
        doubtful += doubted
        cause = cause or unread
    if problems or config is None:
        raise ConfigError(_in_order(problems), cause)
    origins = {format_path(location): scalar.mark for location, scalar in leaves(root)}
    return Loaded(
        config=config, origins=origins, warnings=tuple(_in_order([*doubts(config, root), *doubtful])), tree=root
    )


def _without_profile(own: Mapping) -> list[Problem]:
    """What the schema says of a file whose profile cannot be had."""
    root = _absolute_paths(own)
    try:
        Config.model_validate(plain(root))
    except ValidationError as error:
        return explain(error, root)
    return []


def _in_order(problems: Iterator[Problem] | list[Problem]) -> list[Problem]:
    """By file, line and column; one line for what was found twice."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line or 0, p.column or 0, p.path))


def _read(path: Path) -> Source:
    """Read a file that is fit to be a configuration. Raises ConfigError."""
    try:
        data, complaint = _read_judged(path, _complaint, yaml.MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError([Problem("", None, None, str(path), f"cannot be read: {reason}")], error) from None
    if complaint is not None:
        raise ConfigError([Problem("", None, None, str(path), complaint)])
    return yaml.decode(data, str(path), str(path.absolute().parent))


def _read_judged(path: Path, judge: Callable[[os.stat_result], str | None], most: int) -> tuple[bytes, str | None]:
    """The first octets of a regular file, or why it is not read; what is judged is what is read."""
    # O_NONBLOCK: a FIFO without a writer would keep us here for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        complaint = judge(status) if stat.S_ISREG(status.st_mode) else "is not a regular file"
        if complaint is not None:
            return b"", complaint
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most), None
    finally:
        os.close(descriptor)


def _complaint(status: os.stat_result) -> str | None:
    """Why a file must not be trusted, if so: who can write it can steer our clocks (threat V26)."""
    if status.st_mode & stat.S_IWOTH:
        return "refused: everybody can write it; take that away with chmod o-w"
    ours = status.st_uid == os.geteuid()
    if status.st_mode & stat.S_IWGRP and not (ours and status.st_gid == os.getegid()):
        return "refused: others of its group can write it; take that away with chmod g-w"
    return None


def _absolute_paths(root: Mapping) -> Mapping:
    """Relative file names become absolute, each from the directory of the file that it stands in."""
    absolute: dict[Location, Scalar] = {}
    for location in _paths(root):
        node = find(root, location)
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
            continue
        if location[-1] in _DEVICES and "/" not in node.value:
            continue
        directory = node.mark.source.directory
        if directory is not None and not node.value.startswith("/"):
            full = os.path.normpath(f"{directory}/{node.value}")
            absolute[location] = Scalar(full, node.text, node.mark)
    changed = substitute(root, absolute)
    assert isinstance(changed, Mapping)
    return changed


def _paths(root: Mapping) -> Iterator[Location]:
    """Where file names can stand."""
    yield from _PATHS
    for section, names in (("keys", ("file",)), ("clocks", ("phc", "thermometer"))):
        below = find(root, (section,))
        for key in below.entries if isinstance(below, Mapping) else ():
            yield from ((section, key, name) for name in names)
    sources = find(root, ("sources",))
    for index in range(len(sources.items)) if isinstance(sources, Sequence) else ():
        yield from (("sources", index, name) for name in ("pps", "nmea", "sock", "ca"))
    more = find(root, ("serve", "nts", "more"))
    for index in range(len(more.items)) if isinstance(more, Sequence) else ():
        yield from (("serve", "nts", "more", index, name) for name in ("certificate", "private_key"))
    yield from ((*instance, "management") for instance in ptp_locations(root))


def _examine_nts(
    config: Config, root: Mapping, *, private_keys: bool
) -> tuple[list[Problem], list[Problem], OSError | None]:
    """What is wrong with the files of NTS, what is doubtful by this machine's clock, and the system's error if any."""
    if config.serve.nts is None and not any(getattr(source, "ca", None) for source in config.sources):
        return [], [], None
    # Only who has NTS waits for what reads certificates.
    from timesync.config.nts_files import examine

    found = examine(config, root, Instant.from_ns(time.time_ns()), _read_judged, private_keys=private_keys)
    return found.errors, found.doubts, found.cause


def _examine_mqtt(config: Config, root: Mapping) -> tuple[list[Problem], list[Problem], OSError | None]:
    """The same for the files of a connection to an MQTT broker."""
    mqtt = config.observe.mqtt
    if mqtt is None:
        return [], [], None
    wrong, cause = mqtt_files.examine(mqtt, root, _read_judged)
    return wrong, list(mqtt_files.doubts(mqtt, root)), cause


def _read_secrets(config: Config, root: Mapping) -> tuple[dict[int, Key], list[Problem], OSError | None]:
    """The keys with the secrets of their files; what went wrong, and the system's error if any."""
    keys: dict[int, Key] = {}
    problems: list[Problem] = []
    cause: OSError | None = None
    for number, key in config.keys.items():
        keys[number] = key
        if key.file is None:
            continue
        location = ("keys", str(number), "file")
        try:
            secret = _secret(Path(key.file))
            check_secret(key.algorithm, secret)
        except (OSError, PydanticCustomError) as error:
            cause = error if isinstance(error, OSError) else cause
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else error.message()
            problems.append(Problem.at(mark_of(root, location), format_path(location), f"{key.file}: {reason}"))
        else:
            keys[number] = key.model_copy(update={"secret": secret})
    return keys, problems, cause


def _secret(path: Path) -> Secret:
    """The secret in a file: one line, in the form of ``secret``. Raises OSError, PydanticCustomError."""
    data, complaint = _read_judged(path, _secret_complaint, _MAX_SECRET_FILE + 1)
    if complaint is not None:
        raise refusal(complaint)
    try:
        text = data.decode("ascii").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise refusal("is not ASCII") from None
    return SecretText().parse(text)


def _secret_complaint(status: os.stat_result) -> str | None:
    if status.st_mode & stat.S_IRWXO:
        return "others can read or write it; take that away with chmod o-rwx"
    return None
