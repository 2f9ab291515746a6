"""What all commands share: exit codes, JSON, and how errors are said."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    from timesync.config.problem import ConfigError

JSON_SCHEMA = 1
"""The version of the form of every ``--json`` object; goes up when a key changes its meaning or goes away."""

Command = TypeVar("Command", bound=Callable[..., object])


class ExitCode(enum.IntEnum):
    """Why a command ended; scripts rely on it."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_PERMITTED = 3
    MISSING = 4


def json_option(command: Command) -> Command:
    """``--json``, as every reading command has it; arrives as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")(command)


def print_json(content: Mapping[str, object]) -> None:
    """One object with the version of its form; not-a-number would not be JSON and is refused."""
    click.echo(json.dumps({"schema": JSON_SCHEMA, **content}, indent=2, allow_nan=False))


def fail(code: ExitCode, message: str) -> NoReturn:
    """Say what is wrong on standard error and end the command."""
    click.echo(f"timesync: {message}", err=True)
    raise click.exceptions.Exit(int(code))


def fail_config(error: ConfigError) -> NoReturn:
    """Say everything that is wrong with a configuration and end the command."""
    click.echo(str(error), err=True)
    raise click.exceptions.Exit(int(config_exit_code(error)))


def config_exit_code(error: ConfigError) -> ExitCode:
    """NOT_PERMITTED when a file could not be read for want of rights, else USAGE."""
    return ExitCode.NOT_PERMITTED if isinstance(error.cause, PermissionError) else ExitCode.USAGE
