"""Fuzz every registered parser by hand: ``python tests/fuzz/run.py COUNT [SEED] [NAME...]``.

COUNT inputs for each target whose name contains one of NAME (without: for all). A finding is printed with its
input, and makes the exit code 1.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Run, print a line for each target, return the exit code."""
    if not arguments or not all(word.isdigit() for word in arguments[:2]):
        print(__doc__, file=sys.stderr)
        return 2
    count, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1
    sys.path[:0] = [str(HERE), str(HERE.parent.parent)]
    targets = importlib.import_module("targets")
    for module in sorted(HERE.glob("fuzz_*.py")):
        importlib.import_module(module.stem)
    chosen = [t for t in targets.TARGETS if not arguments[2:] or any(name in t.name for name in arguments[2:])]
    failed = not chosen
    for target in chosen:
        try:
            refused = targets.fuzz(target, count, seed)
        except targets.FindingError as finding:
            print(f"FINDING  {finding}")
            failed = True
        else:
            print(f"ok       {target.name}: {count} inputs, {refused} refused")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
