"""Option types under every click that is allowed."""

from __future__ import annotations

import importlib.util
from typing import Any, NoReturn

import click
import pytest

from timesync.base.time import Duration
from timesync.cli import params


class OldParamType:
    """As in click 8.1: no generic class."""

    name: str

    def fail(self, message: str, param: object = None, ctx: object = None) -> NoReturn:
        raise click.BadParameter(message)


def _loaded_anew() -> Any:
    """A second copy of the module; the one that others have imported stays as it is."""
    assert params.__file__ is not None
    spec = importlib.util.spec_from_file_location("params_again", params.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("old", [True, False])
def test_the_type_of_an_older_click_cannot_be_subscripted(monkeypatch: pytest.MonkeyPatch, old: bool) -> None:
    if old:
        monkeypatch.setattr(click, "ParamType", OldParamType)
    module = _loaded_anew()

    assert old == issubclass(module.Parsed, OldParamType)
    assert Duration.from_s(90) == module.DURATION.convert("90s", None, None)
    assert Duration(7) == module.POSITIVE.convert(Duration(7), None, None)
    with pytest.raises(click.BadParameter, match="longer than 0s"):
        module.POSITIVE.convert("0s", None, None)
