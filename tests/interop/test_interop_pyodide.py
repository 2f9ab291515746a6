"""The codecs' own tests pass where there is no operating system: CPython for WebAssembly, under Node."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="Node and npm are not on this machine"
)
def test_the_codecs_pass_their_tests_under_pyodide() -> None:
    done = subprocess.run(
        [ROOT / "tests" / "pyodide" / "run"],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert 0 == done.returncode, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(r"^Python 3\.\d+\.\d+ on emscripten$", done.stdout, re.MULTILINE), done.stdout
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) > 500
