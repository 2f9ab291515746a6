"""What docs/how-to/library.md shows runs, the names of servers apart, and a type checker finds nothing wrong in it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from lib_support import ROOT, Papers, claim, environment, papers, roughtime_servers

from timesync.lib import serve

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = _BLOCK.findall((ROOT / "docs" / "how-to" / "library.md").read_text())
MISSPELT = "from timesync.lib import qurey\nqurey('a')\n"
MISUSED = 'from timesync.lib import query_blocking\nquery_blocking("a", nts="yes").offset_s\n'


def program(block: str) -> str:
    """A whole program of a piece of one: what awaits stands in a coroutine."""
    try:
        compile(block, "block", "exec")
    except SyntaxError:
        return (
            f"import asyncio\n\n\nasync def main() -> None:\n{textwrap.indent(block, '    ')}\n\nasyncio.run(main())\n"
        )
    return block


@asynccontextmanager
async def servers(made: Papers) -> AsyncIterator[dict[str, str]]:
    """What to write in the place of names that are nobody's."""
    with roughtime_servers(0) as rough:
        async with (
            serve("127.0.0.1:0", claim=claim, nts=made.certificate) as one,
            serve("127.0.0.1:0", claim=claim) as two,
        ):
            yield {
                # Before the name that is a part of it.
                "roughtime.example.org:2002": rough[0].address.address,
                "pool.ntp.org": str(one.addresses[0]),
                "time.example.org": str(one.nts_addresses[0]),
                "ntp1.example.org": str(one.addresses[0]),
                "ntp2.example.org": str(two.addresses[0]),
                "poll_s=(16, 64)": "poll_s=(0.0625, 1)",
                '"0.0.0.0", "::"': '"127.0.0.1:0", "[::1]:0"',
                '"key.pem")': '"key.pem", ["127.0.0.1:0"])',
                "bytes(32)": repr(rough[0].address.public_key),
            }


def given(tmp_path: Path) -> Papers:
    """Papers, with the names that the page has, where the program runs."""
    made = papers(tmp_path)
    for name, file in (("lab-ca", "ca"), ("cert", "certificate")):
        (tmp_path / f"{name}.pem").write_bytes((tmp_path / f"{file}.pem").read_bytes())
    return made


async def run(block: str, tmp_path: Path) -> tuple[int | None, str, str]:
    """How it ends, and what it writes."""
    made = given(tmp_path)
    async with servers(made) as names:
        for name, real in names.items():
            block = block.replace(name, real)
        # The authority is one of the system's here.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", program(block), cwd=tmp_path,
            env={**environment(), "SSL_CERT_FILE": str(made.trust.ca)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_piece_of_the_page_runs(block: str, tmp_path: Path) -> None:
    code, out, errors = asyncio.run(run(block, tmp_path))
    assert (0, "") == (code, errors)
    assert out.strip(), "each of them prints something"
    assert "no time" not in out
    assert "no keys" not in out
    assert "no answer" not in out


def test_there_are_pieces() -> None:
    assert len(BLOCKS) == 6


def test_a_type_checker_knows_the_library(tmp_path: Path) -> None:
    files = [*sorted((ROOT / "examples").glob("*.py"))]
    for number, block in enumerate(BLOCKS):
        files.append(tmp_path / f"piece{number}.py")
        files[-1].write_text(program(block))
    for name, text in (("misspelt", MISSPELT), ("misused", MISUSED)):
        files.append(tmp_path / f"{name}.py")
        files[-1].write_text(text)
    # Without the project's plugins and settings, as in a project of somebody else.
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary", "--follow-imports=silent",
            f"--cache-dir={tmp_path / 'cache'}", *map(str, files),
        ],
        cwd=tmp_path, env={**environment(), "MYPYPATH": environment()["PYTHONPATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert {"misspelt.py:1", "misused.py:2"} == {":".join(line.split(":")[:2]) for line in errors}, done.stdout
    assert any('has no attribute "qurey"' in line for line in errors)
    assert any('"Reply" has no attribute "offset_s"' in line for line in errors)
    assert any('"nts" to "query_blocking" has incompatible type "str"' in line for line in errors)
