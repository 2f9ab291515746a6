"""Asking the running daemon: which socket, and what an answer that does not come means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from timesync.cli.render import ExitCode, fail, fail_config
from timesync.observe.control import ControlError, RefusedError, ask

DEFAULT_SOCKET = "/run/timesync/control.sock"

Command = TypeVar("Command", bound=Callable[..., object])


def socket_options(command: Command) -> Command:
    """``--control`` and ``-c``; arrive as ``control`` and ``file``."""
    config = click.option(
        "-c", "--config", "file", metavar="FILE", type=click.Path(), help="Ask the daemon that runs with this file."
    )
    control = click.option("--control", metavar="PATH", help=f"The daemon's socket. [default: {DEFAULT_SOCKET}]")
    return control(config(command))


def socket_path(control: str | None, file: str | None) -> str:
    """The socket that the options name. Ends the command when the configuration cannot be read."""
    if control is not None:
        return control
    if file is None:
        return DEFAULT_SOCKET
    from timesync.config.load import load
    from timesync.config.problem import ConfigError

    try:
        return load(file, private_keys=False).config.observe.control
    except ConfigError as error:
        fail_config(error)


def answer(path: str, command: str, **arguments: str) -> dict[str, Any]:
    """The daemon's answer. Ends the command when there is none, with its reason."""
    try:
        return ask(path, command, **arguments)
    except ControlError as error:
        fail(exit_code(error), str(error))


def exit_code(error: ControlError) -> ExitCode:
    """USAGE for a question that the daemon refuses, NOT_PERMITTED for a socket that is not ours to open."""
    if isinstance(error, RefusedError):
        return ExitCode.USAGE
    return ExitCode.NOT_PERMITTED if isinstance(error.__cause__, PermissionError) else ExitCode.NO
