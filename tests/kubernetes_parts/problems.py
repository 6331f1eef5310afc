"""What a real API server says when it refuses: `Status` bodies and the wording of every kind of refusal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_CAUSES = {
    "Invalid value": "FieldValueInvalid",
    "Required value": "FieldValueRequired",
    "Duplicate value": "FieldValueDuplicate",
    "Unsupported value": "FieldValueNotSupported",
    "Forbidden": "FieldValueForbidden",
    "Not found": "FieldValueNotFound",
    "Too long": "FieldValueTooLong",
}


class Refused(Exception):
    """A request that the server refuses.

    Attributes
    ----------
    status
        The HTTP status.
    body
        The `Status` object of the answer.
    """

    def __init__(self, status: int, message: str, *, reason: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = details.get("retryAfterSeconds")
        reason = _REASONS.get(status, "Unknown") if reason is None else reason
        self.body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        self.body |= {"message": message, "reason": reason, "details": details, "code": status}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an object.

    Attributes
    ----------
    field
        Where, for example ``spec.containers[0].name``.
    kind
        How the server calls it: one of `_CAUSES`.
    detail
        What is said after it.
    value
        The refused value; Go's way of writing it is chosen by its type.
    """

    field: str
    kind: str
    detail: str = ""
    value: Any = None

    def text(self) -> str:
        """The sentence after the field's name."""
        if self.kind in ("Required value", "Forbidden", "Too long"):
            return f"{self.kind}: {self.detail}" if self.detail else self.kind
        shown = json.dumps(self.value, ensure_ascii=False)
        return f"{self.kind}: {shown}: {self.detail}" if self.detail else f"{self.kind}: {shown}"


def invalid(kind: str, name: str, problems: Sequence[Problem], group: str = "") -> Refused:
    """422 with everything that is wrong."""
    texts = [f"{problem.field}: {problem.text()}" for problem in problems]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    causes = [{"reason": _CAUSES[p.kind], "message": p.text(), "field": p.field} for p in problems]
    full = f"{kind}.{group}" if group else kind
    return Refused(422, f'{full} "{name}" is invalid: {joined}', name=name, kind=kind, causes=causes)


def not_found(resource: str, name: str) -> Refused:
    """404 for one object."""
    return Refused(404, f'{resource} "{name}" not found', name=name, kind=resource)


def already_exists(resource: str, name: str) -> Refused:
    """409 when a name is taken."""
    return Refused(409, f'{resource} "{name}" already exists', reason="AlreadyExists", name=name, kind=resource)


def conflict(resource: str, name: str, why: str) -> Refused:
    """409 when somebody else was faster, or a precondition does not hold."""
    return Refused(409, f'Operation cannot be fulfilled on {resource} "{name}": {why}', name=name, kind=resource)


def forbidden(resource: str, name: str, why: str) -> Refused:
    """403 by an admission plugin."""
    return Refused(403, f'{resource} "{name}" is forbidden: {why}', name=name, kind=resource)


def bad_request(message: str) -> Refused:
    """400."""
    return Refused(400, message)


def expired(message: str) -> Refused:
    """410: what the request starts from is not remembered any more."""
    return Refused(410, message)


def success(resource: str, name: str, uid: str) -> Json:
    """The answer to a deletion that returns no object."""
    body: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return body | {"details": {"name": name, "kind": resource, "uid": uid}}
