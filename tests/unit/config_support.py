"""What `timesync check` must say of a malformed configuration."""

from __future__ import annotations

import pytest

from timesync.config.load import loads
from timesync.config.problem import ConfigError

Case = tuple[str, str, str, str, str, str | None]
"""Name, text, line:column, path, words that must be in the message, suggestion or None."""


def assert_mistake(text: str, place: str, path: str, words: str, suggestion: str | None) -> None:
    """The text has one mistake, which is named in these words at this place."""
    with pytest.raises(ConfigError) as caught:
        loads(text, "t.yaml")

    (problem,) = caught.value.problems
    headline = problem.headline()
    prefix = f"t.yaml:{place}: error: {path}: " if path else f"t.yaml:{place}: error: "
    assert headline.startswith(prefix), headline
    assert words in headline
    assert suggestion == problem.suggestion
