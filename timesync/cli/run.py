"""``timesync run``: the daemon in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from timesync.cli.params import profile_names
from timesync.cli.render import ExitCode, fail, fail_config
from timesync.config.load import DEFAULT_FILE, load
from timesync.config.problem import ConfigError


@click.command()
@click.option(
    "-c", "--config", "file", metavar="FILE", type=click.Path(),
    help=f"The configuration. [default: {DEFAULT_FILE}, or none with --profile]",
)  # fmt: skip
@click.option(
    "--profile",
    metavar="NAME",
    shell_complete=profile_names,
    help="The shipped profile to start from; alone, or under FILE.",
)
@click.option("--initial-step-anything", is_flag=True, help="The first correction may be larger than steering.panic.")
def run(file: str | None, profile: str | None, initial_step_anything: bool) -> None:
    """Keep clocks right and serve time, until SIGTERM.

    SIGHUP reads the configuration again; a bad one is refused and the old one stays in force. Ends with 1 when
    another timesync runs already, 2 when the configuration is wrong, 3 when a clock may not be read, 4 when the
    kernel lacks what is needed.
    """
    path = Path(file) if file is not None else None if profile is not None else Path(DEFAULT_FILE)
    try:
        loaded = load(path, profile, private_keys=False)
    except ConfigError as error:
        if file is None and isinstance(error.cause, FileNotFoundError):
            fail(ExitCode.USAGE, f"there is no {path}; write one, name one with -c, or try --profile ntp-client")
        fail_config(error)
    # Not before: a wrong configuration is said at once, without loading the daemon.
    from timesync.daemon.run import run as run_daemon
    from timesync.host import ClockError, Trouble
    from timesync.observe.control import AnotherDaemonError

    try:
        run_daemon(loaded, path, profile, initial_step_anything=initial_step_anything)
    except AnotherDaemonError as error:
        fail(ExitCode.NO, str(error))
    except ClockError as error:
        permission = error.trouble is Trouble.PERMISSION
        fail(ExitCode.NOT_PERMITTED if permission else ExitCode.MISSING, f"{error}; {error.advice}")
