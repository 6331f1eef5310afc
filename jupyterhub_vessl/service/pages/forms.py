"""Forms: what stands in their fields, what is wrong with it, and reading them as the models of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel

from ...model.errors import BadInput, PublicError
from ..api.base import parse_body

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True)
class Form:
    """What stands in a form; ``errors`` by field, ``""`` for the form as a whole."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> str:
        """What stands in a field."""
        return self.values.get(name, "")

    def error(self, name: str) -> str:
        """What is wrong with a field, "" when nothing is."""
        return self.errors.get(name, "")


def refused(values: Mapping[str, str], error: PublicError) -> Form:
    """The form as it was, with the reason at the field it is about."""
    name = error.field if error.field in values else ""
    return Form(values, {name: error.sentence()})


def read_form(model: type[Body], values: Mapping[str, object]) -> Body:
    """A form's values, checked; raises `BadInput` with one sentence about one field."""
    try:
        return parse_body(model, dict(values))
    except BadInput as error:
        name = error.field.split(".", 1)[0]
        what = error.message.removeprefix(f"{error.field}: ")
        if what.startswith("Input should be"):  # the words of the checker, for programmers
            what = "Write a whole number, such as 4." if "integer" in what else what.replace("Input", "The number", 1)
        raise BadInput(what[:1].upper() + what[1:], field=name) from None
