"""A request: what a person asked for, parsed once, strict and frozen.

It arrives as the hub's ``user_options``, which anybody may set to any JSON (hub-api.md A2), so this is the
door: unknown keys, wrong types and hostile text are refused here with one sentence (DESIGN §4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import BadInput
from .paths import check_mount_path
from .text import bounded, check_name, check_plain_text

REQUEST_BYTES_MAX = 64 * 1024
STORAGE_MAX = 16
PORTS_MAX = 20
VARIABLES_MAX = 64
TITLE_CHARACTERS_MAX = 80
VALUE_CHARACTERS_MAX = 4096
PORT_MIN, PORT_MAX = 1024, 65535

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,254}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED_PREFIXES = (
    "JUPYTERHUB_",
    "JUPYTER_",
    "JPY_",
    "VESSL_",
    "LD_",
    "PYTHON",
    "BASH_",
    "SLURM_",
    "KUBERNETES_",
)
DEVICE_VARIABLES = (
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_MIG_CONFIG_DEVICES",
    "NVIDIA_MIG_MONITOR_DEVICES",
    "NVIDIA_IMEX_CHANNELS",
    "AMD_VISIBLE_DEVICES",
    "HABANA_VISIBLE_DEVICES",
    "ASCEND_VISIBLE_DEVICES",
    "AWS_NEURON_VISIBLE_DEVICES",
)
"""Variables by which container runtimes give devices to a container, past what was admitted."""

_RESERVED = frozenset(DEVICE_VARIABLES) | frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "ENV", "IFS", "TMPDIR", "XDG_RUNTIME_DIR"}
)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write text")
    return check_plain_text(value, characters_max=TITLE_CHARACTERS_MAX)


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write a name as text")
    return check_name(value)


def _path(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write an absolute path such as /data")
    return check_mount_path(value)


def _image_url(value: object) -> str:
    if not isinstance(value, str) or not _IMAGE.fullmatch(value) or ".." in value:
        raise ValueError("write an image reference such as quay.io/jupyter/scipy-notebook:2026-10-20")
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not PORT_MIN <= value <= PORT_MAX:
        raise ValueError(f"a port is a whole number from {PORT_MIN} to {PORT_MAX}")
    return value


def check_environment(value: object) -> dict[str, str]:
    """Names and values of environment variables, or ValueError with one sentence.

    Variables that the hub, the loader, Python or a backend act upon are reserved: setting them would reach
    past the workspace's own programs.
    """
    if not isinstance(value, Mapping):
        raise ValueError("write variables as NAME: value")
    if len(value) > VARIABLES_MAX:
        raise ValueError(f"at most {VARIABLES_MAX} variables")
    checked: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise ValueError("a variable's name is letters, digits and _, such as WANDB_PROJECT")
        if name in _RESERVED or name.startswith(_RESERVED_PREFIXES):
            raise ValueError(f"{name} is set by the system; choose another name")
        if not isinstance(text, str):
            raise ValueError(f"the value of {name} is text; put it in quotes")
        try:
            checked[name] = check_plain_text(text, characters_max=VALUE_CHARACTERS_MAX)
        except ValueError as error:
            raise ValueError(f"the value of {name}: {error}") from None
    return checked


def _storage(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("write storage as VOLUME: /mount/path")
    if len(value) > STORAGE_MAX:
        raise ValueError(f"at most {STORAGE_MAX} volumes")
    return dict(value)


def _ports(value: object) -> object:
    if not isinstance(value, Mapping):
        raise ValueError("write ports as NAME: {type: http, port: 8888}")
    if len(value) > PORTS_MAX:
        raise ValueError(f"at most {PORTS_MAX} ports")
    return dict(value)


Text = Annotated[str, BeforeValidator(_text)]
Name = Annotated[str, BeforeValidator(_name)]
Path = Annotated[str, BeforeValidator(_path)]
ImageUrl = Annotated[str, BeforeValidator(_image_url)]


class PortRequest(BaseModel):
    """One endpoint that the workspace exposes.

    ``path`` is what an http program sees of the address under which it is opened: ``stripped`` gives it ``/`` for its
    own first page, ``absolute`` the whole path, for programs that are told their base URL.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: Literal["http", "tcp"] = "http"
    port: Annotated[int, BeforeValidator(_port)]
    path: Literal["stripped", "absolute"] = "stripped"

    @model_validator(mode="after")
    def _only_http_has_a_path(self) -> PortRequest:
        if self.type == "tcp" and self.path != "stripped":
            raise ValueError("a tcp port has no path")
        return self


class WorkspaceRequest(BaseModel):
    """What a person asked for.  Everything may be left out; `plan.resolve` finds the default or says what is missing.

    Attributes
    ----------
    name
        A free title, shown in lists.
    team, cluster, preset, spec, image
        Names in the offer.
    image_url, credential_name
        Instead of ``image``: any image of a registry that the offer allows, and the name of the credential that
        its registry needs.
    storage
        Mount path by volume name; None takes the preset's, an empty map takes none.
    ports, environment
        None takes the preset's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Text | None = None
    team: Name | None = None
    cluster: Name | None = None
    preset: Name | None = None
    spec: Name | None = None
    image: Name | None = None
    image_url: ImageUrl | None = None
    credential_name: Name | None = None
    storage: Annotated[dict[Name, Path], BeforeValidator(_storage)] | None = None
    ports: Annotated[dict[Name, PortRequest], BeforeValidator(_ports)] | None = None
    environment: Annotated[dict[str, str], BeforeValidator(check_environment)] | None = Field(default=None)

    def as_options(self) -> dict[str, Any]:
        """The JSON form, as it is kept in the hub's ``user_options``."""
        options: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        for port in options.get("ports", {}).values():
            if port["path"] == "stripped":
                del port["path"]  # as people write it
        return options


def parse_request(options: object) -> WorkspaceRequest:
    """Parse untrusted ``user_options``; raises `BadInput` naming the field, never anything else."""
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise BadInput("A workspace request is a map of options.", hint='For example: {"spec": "cpu-small"}.')
    try:
        size_bytes = len(json.dumps(options, default=str))
    except (TypeError, ValueError, RecursionError):
        raise BadInput("A workspace request is plain JSON.") from None
    if size_bytes > REQUEST_BYTES_MAX:
        raise BadInput(f"A workspace request is larger than {REQUEST_BYTES_MAX // 1024} KiB.")
    try:
        return WorkspaceRequest.model_validate(dict(options))
    except (ValidationError, RecursionError) as error:
        raise _bad_input(error) from None


def _bad_input(error: ValidationError | RecursionError) -> BadInput:
    if isinstance(error, RecursionError):
        return BadInput("A workspace request is not nested that deeply.")
    first = error.errors(include_url=False, include_input=False)[0]
    where = [bounded(part, 40) for part in first["loc"] if part != "[key]"]
    field = where[0] if where else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(WorkspaceRequest.model_fields)
        if len(where) > 1:
            return BadInput(f"There is no option {where[-1]!r} in {field}.", field=field)
        return BadInput(f"There is no option {field!r}; options are {known}.", field="")
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message if message[1:2].isupper() else message[:1].lower() + message[1:]
    kinds = {"storage": "volume", "ports": "port"}
    subject = f"{kinds[field]} {where[1]}" if field in kinds and len(where) > 1 else field or "the request"
    subject = subject.replace("_", " ")
    return BadInput(f"{subject[:1].upper()}{subject[1:]}: {message}.", field=field)
