"""The fields of the form, both ways: HTTP form data → request, and form data or request → what stands in the fields.

What is left empty means "as in the preset"; what is entered replaces the preset's; ``none.SECTION`` says that an
empty section is meant to be empty.  So the form means the same with and without JavaScript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.request import VALUE_CHARACTERS_MAX, WorkspaceRequest, parse_request
from jupyterhub_vessl.model.text import bounded

FIELDS_MAX = 600
FIELD_CHARACTERS_MAX = VALUE_CHARACTERS_MAX
FORM_CHARACTERS_MAX = 128 * 1024
CUSTOM_FIELDS = ("image_url", "credential_name")
SINGLE = ("name", "team", "cluster", "preset", "spec", "image", *CUSTOM_FIELDS)
CUSTOM_IMAGE = "custom:"
"""What the list of images sends for an image of one's own; no image of an offer can be called so."""
SECTIONS = ("storage", "ports", "environment")

_ROW = re.compile(r"(port|variable)\.(\d{1,3})\.(name|type|number|value)")
_ROW_PARTS = {"port": ("name", "type", "number"), "variable": ("name", "value")}
_SECTION_OF_ROW = {"port": "ports", "variable": "environment"}
HTTP_ABSOLUTE = "http-absolute"
"""The form's word for an http port whose program sees the whole path."""
_VOLUME = re.compile(r"(mount|mount_path)\.([a-z0-9-]{1,63})")
_NUMBER = re.compile(r"[0-9]{1,6}")

FormData = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class PortRow:
    """One port as it stands in the form; ``number`` is still text."""

    name: str = ""
    type: str = "http"
    number: str = ""


@dataclass(frozen=True)
class VariableRow:
    """One environment variable as it stands in the form."""

    name: str = ""
    value: str = ""


@dataclass(frozen=True)
class Draft:
    """What stands in the form's fields, right or wrong.

    Attributes
    ----------
    team, cluster, preset, spec, image
        None when nothing was said about it; an empty preset is "choose yourself", an empty spec or image
        "as in the preset".
    image_url, credential_name
        What stands in the fields of an image of one's own; they count when ``image`` is `CUSTOM_IMAGE`.
    mounted
        Names of the volumes that are ticked.
    mount_paths
        What stands in the path fields, ticked or not.
    emptied
        Sections that are meant to be empty when they are.
    """

    name: str = ""
    team: str | None = None
    cluster: str | None = None
    preset: str | None = None
    spec: str | None = None
    image: str | None = None
    image_url: str = ""
    credential_name: str = ""
    mounted: frozenset[str] = frozenset()
    mount_paths: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[PortRow, ...] = ()
    environment: tuple[VariableRow, ...] = ()
    emptied: frozenset[str] = frozenset()


def draft_from_request(request: WorkspaceRequest) -> Draft:
    """The form filled in as this request."""
    given = {"storage": request.storage, "ports": request.ports, "environment": request.environment}
    image = CUSTOM_IMAGE if request.image_url else request.image
    chosen = bool(request.spec or image or request.preset)
    return Draft(
        name=request.name or "",
        team=request.team,
        cluster=request.cluster,
        preset=request.preset if request.preset else ("" if chosen else None),
        spec=request.spec,
        image=image,
        image_url=request.image_url or "",
        credential_name=request.credential_name or "",
        mounted=frozenset(request.storage or {}),
        mount_paths=dict(request.storage or {}),
        ports=tuple(PortRow(name, port_word(p.type, p.path), str(p.port)) for name, p in (request.ports or {}).items()),
        environment=tuple(VariableRow(name, value) for name, value in (request.environment or {}).items()),
        emptied=frozenset(name for name, value in given.items() if value is not None and not value),
    )


def draft_from_form(formdata: FormData) -> Draft:
    """The form filled in as it was sent, however wrong; unknown fields are left out, long values cut."""
    single: dict[str, str] = {}
    mounted: set[str] = set()
    paths: dict[str, str] = {}
    for key, values in list(formdata.items())[:FIELDS_MAX]:
        value = _first_text(values)
        if key in SINGLE:
            single[key] = value
        elif match := _VOLUME.fullmatch(key):
            if match[1] == "mount":
                mounted.add(match[2])
            else:
                paths[match[2]] = value
    rows = _rows({key: _first_text(values) for key, values in list(formdata.items())[:FIELDS_MAX]})
    ports = (PortRow(row["name"], row["type"] or "http", row["number"]) for row in rows["port"] if _is_filled(row))
    variables = (VariableRow(row["name"], row["value"]) for row in rows["variable"] if _is_filled(row))
    return Draft(
        name=single.get("name", ""),
        team=single.get("team"),
        cluster=single.get("cluster"),
        preset=single.get("preset"),
        spec=single.get("spec"),
        image=single.get("image") or (CUSTOM_IMAGE if single.get("image_url") else single.get("image")),
        image_url=single.get("image_url", ""),
        credential_name=single.get("credential_name", ""),
        mounted=frozenset(mounted),
        mount_paths=paths,
        ports=tuple(ports),
        environment=tuple(variables),
        emptied=frozenset(section for section in SECTIONS if f"none.{section}" in formdata),
    )


def request_from_form(formdata: FormData) -> WorkspaceRequest:
    """Parse what a browser sent; raises `BadInput` naming the field of the request it belongs to."""
    values = _single_values(formdata)
    options: dict[str, Any] = {}
    for key in SINGLE:
        value = values.get(key, "").strip(" ")
        if value:
            options[key] = value
    for key, what in (("spec", "a resource spec"), ("image", "an image")):
        if key not in values:
            raise BadInput(f"Choose {what}.", field=key)
    _choose_image(options)
    rows = _rows(values)
    sections = {
        "storage": _storage(values),
        "ports": _ports(rows["port"]),
        "environment": _environment(rows["variable"]),
    }
    for section, entered in sections.items():
        if entered or f"none.{section}" in values:
            options[section] = entered
    return parse_request(options)


def _choose_image(options: dict[str, Any]) -> None:
    """An image of one's own replaces the preset's; beside an image of the list it is a contradiction."""
    listed, url = options.get("image"), options.get("image_url")
    if listed == CUSTOM_IMAGE:
        del options["image"]
        if not url:
            raise BadInput("Write which image, such as quay.io/acme/notebook:2026-10-20.", field="image_url")
    elif listed and url:
        raise BadInput(
            "An image of the list is chosen and an image of your own is written.",
            hint="Choose Custom image… in the list, or leave the reference empty.",
            field="image_url",
        )
    if "credential_name" in options and not url:
        raise BadInput(
            "A registry credential belongs to an image of your own.",
            hint="Choose none, or write the image that needs it.",
            field="credential_name",
        )


def _single_values(formdata: FormData) -> dict[str, str]:
    if len(formdata) > FIELDS_MAX:
        raise BadInput(f"The form has more than {FIELDS_MAX} fields.")
    values: dict[str, str] = {}
    characters = 0
    for key, sent in formdata.items():
        if key == "_xsrf":
            continue
        where = _field_of(key)
        if where is None:
            raise BadInput(f"The form has no field {bounded(key, 60)!r}.")
        if len(sent) != 1:
            raise BadInput(f"The field {bounded(key, 60)!r} was sent {len(sent)} times.", field=where)
        if not isinstance(sent[0], str):
            raise BadInput(f"The field {bounded(key, 60)!r} is text.", field=where)
        if len(sent[0]) > FIELD_CHARACTERS_MAX:
            raise BadInput(f"Use at most {FIELD_CHARACTERS_MAX} characters.", field=where)
        characters += len(key) + len(sent[0])
        if characters > FORM_CHARACTERS_MAX:
            raise BadInput(f"The form is larger than {FORM_CHARACTERS_MAX // 1024} KiB.")
        values[key] = sent[0]
    return values


def _field_of(key: str) -> str | None:
    """The field of the request that a form field belongs to; None for a field that the form does not have."""
    if key in SINGLE:
        return key
    if _VOLUME.fullmatch(key):
        return "storage"
    if key.startswith("none.") and key[5:] in SECTIONS:
        return key[5:]
    match = _ROW.fullmatch(key)
    if match and match[3] in _ROW_PARTS[match[1]]:
        return _SECTION_OF_ROW[match[1]]
    return None


def _rows(values: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    """Rows by kind, in the order of their numbers; a part that was not sent is empty."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for key, value in values.items():
        match = _ROW.fullmatch(key)
        if match and match[3] in _ROW_PARTS[match[1]]:
            row = found.setdefault((match[1], int(match[2])), dict.fromkeys(_ROW_PARTS[match[1]], ""))
            row[match[3]] = value
    rows: dict[str, list[dict[str, str]]] = {kind: [] for kind in _ROW_PARTS}
    for kind, index in sorted(found):
        rows[kind].append(found[kind, index])
    return rows


def _is_filled(row: Mapping[str, str]) -> bool:
    return any(value.strip() for part, value in row.items() if part != "type")


def _filled(rows: Sequence[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    return (row for row in rows if _is_filled(row))


def _storage(values: Mapping[str, str]) -> dict[str, str]:
    mounts: dict[str, str] = {}
    for key in values:
        match = _VOLUME.fullmatch(key)
        if match and match[1] == "mount":
            path = values.get(f"mount_path.{match[2]}", "").strip(" ")
            if not path:
                raise BadInput(f"Write where {match[2]} is to be mounted, such as /data.", field="storage")
            mounts[match[2]] = path
    return mounts


def _ports(rows: Sequence[Mapping[str, str]]) -> dict[str, dict[str, Any]]:
    ports: dict[str, dict[str, Any]] = {}
    for row in _filled(rows):
        name, number = row["name"].strip(" "), row["number"].strip(" ")
        if not name:
            raise BadInput(f"Port {bounded(number, 20)} needs a name, such as app.", field="ports")
        if not _NUMBER.fullmatch(number):
            raise BadInput(f"Port {bounded(name, 63)} needs a number, such as 3000.", field="ports")
        if name in ports:
            raise BadInput(f"Two ports are called {bounded(name, 63)}.", field="ports")
        if row["type"] == HTTP_ABSOLUTE:
            ports[name] = {"type": "http", "port": int(number), "path": "absolute"}
        else:
            ports[name] = {"type": row["type"] or "http", "port": int(number)}
    return ports


def port_word(type_: str, path: str) -> str:
    """What the form's list of types says of a port."""
    return HTTP_ABSOLUTE if (type_, path) == ("http", "absolute") else type_


def _environment(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for row in _filled(rows):
        name = row["name"].strip(" ")
        if not name:
            raise BadInput("Every variable needs a name, such as WANDB_PROJECT.", field="environment")
        if name in variables:
            raise BadInput(f"The variable {bounded(name, 63)} is there twice.", field="environment")
        variables[name] = row["value"]
    return variables


def _first_text(values: Sequence[str]) -> str:
    return values[0][:FIELD_CHARACTERS_MAX] if values and isinstance(values[0], str) else ""
