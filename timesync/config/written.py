"""Values with a written form: annotations for pydantic that read, describe and refuse them.

Each is a small frozen class that validates one value, says its form to JSON Schema, and describes itself for
the reference. All of them take ready values too, so that code can build a configuration without text. Amounts are in
``amounts``, texts such as addresses and names in ``fields``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

ERROR_TYPE = "timesync"
"""The type of every error raised here; its context has ``message``, ``suggestion`` and ``step``."""


def refusal(message: str, suggestion: str | None = None, step: str | int | None = None) -> PydanticCustomError:
    """A complaint whose words go to the user as they are; ``step``: which part of the value it is about."""
    context = {"message": message, "suggestion": suggestion, "step": step}
    return PydanticCustomError(ERROR_TYPE, "{message}", context)


class Written(ABC):
    """A value with a written form."""

    @abstractmethod
    def parse(self, value: object) -> object:
        """The value. Raises the error of ``refusal``."""

    @abstractmethod
    def json_schema(self) -> JsonSchemaValue:
        """The form of what is written."""

    @abstractmethod
    def describe(self) -> str:
        """Kind and range in a few words, for the reference."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Pydantic's hook (``handler`` would read the Python type, which has no written form)."""
        del source, handler
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Pydantic's hook for JSON Schema."""
        del schema, handler
        return self.json_schema()
