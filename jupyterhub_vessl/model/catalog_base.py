"""What every part of the offer is made of: the frozen base model, and values as people write them.

Keys in the document are the words people write (``memory: 4Gi``); attributes carry units (``memory_bytes``).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from .errors import BadInput
from .money import MICROS, parse_credit_micros
from .notify import check_target
from .paths import check_mount_path
from .request import check_environment
from .text import check_name, check_plain_text
from .units import parse_cpu_millis, parse_duration_seconds, parse_size_bytes

PRICE_MICROS_MAX = 10**6 * MICROS
"""So that the sum of many spans over many years fits the 64 bits of a database."""


def _price(value: object) -> int:
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError("write a price as a number such as 2.39 (at most six decimals)") from error
    if not 0 <= micros <= PRICE_MICROS_MAX:
        raise ValueError("a price is 0 or more, and at most 1,000,000")
    return micros


def _amount(value: object) -> int:
    try:
        micros = parse_credit_micros(value)
    except BadInput as error:
        raise ValueError("write an amount of credits such as 10 (at most six decimals)") from error
    if micros < 0:
        raise ValueError("an amount of credits is 0 or more")
    return micros


def _title(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a title as text")
    return check_plain_text(value, characters_max=120)


def _mount_path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write an absolute path such as /data")
    return check_mount_path(value)


def _grace(value: object) -> int | None:
    """A duration, or ``never``."""
    return None if value is None or value == "never" else parse_duration_seconds(value)


def _target(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write where to send notices, such as mailto:ops@acme.example or env:SLACK_URL")
    return check_target(value)


Name = Annotated[str, BeforeValidator(lambda value: check_name(value) if isinstance(value, str) else value)]
Title = Annotated[str, BeforeValidator(_title)]
Price = Annotated[int, BeforeValidator(_price)]
Amount = Annotated[int, BeforeValidator(_amount)]
Size = Annotated[int, BeforeValidator(parse_size_bytes)]
Cpu = Annotated[int, BeforeValidator(parse_cpu_millis)]
Seconds = Annotated[int, BeforeValidator(parse_duration_seconds)]
Grace = Annotated[int | None, BeforeValidator(_grace)]
Target = Annotated[str, BeforeValidator(_target)]
MountPath = Annotated[str, BeforeValidator(_mount_path)]
Variables = Annotated[dict[str, str], BeforeValidator(check_environment)]


class Part(BaseModel):
    """Base of every part of the offer: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False)
