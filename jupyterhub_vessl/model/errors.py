"""What can go wrong, and which part of it a person may read.

::

    VesslError
    ├── PublicError            code, message, hint and field may be shown to the person who asked
    │   ├── BadInput      400  the request itself is wrong
    │   ├── NotSignedIn   401  nobody is signed in
    │   ├── NoCredits     402  the organization cannot pay for it
    │   ├── NotAllowed    403  this person may not do that
    │   ├── NotFound      404  there is no such thing, or not for this person
    │   ├── Conflict      409  it contradicts what is already recorded
    │   └── Unavailable   503  a part that is needed does not answer
    └── OfferError             vessl.yaml is wrong; carries every problem found

Anything that is not a `PublicError` is shown as an internal error with an id that the log explains.
"""

from __future__ import annotations

from dataclasses import dataclass

MESSAGE_CHARACTERS_MAX = 600


class VesslError(Exception):
    """Root of every error that this project raises on purpose."""


class PublicError(VesslError):
    """An error whose words may be shown to the person who caused it.

    Parameters
    ----------
    message
        One plain sentence: what happened and what it means. Never HTML.
    code
        A small fixed ASCII word for programs and metrics, for example ``no_credits``.
    hint
        What to do about it; empty when the message says it already.
    field
        The part of the request it belongs to (``spec``, ``storage``, ``ports`` …), empty for the whole.
    """

    status = 400
    default_code = "error"

    def __init__(self, message: str, *, code: str = "", hint: str = "", field: str = "") -> None:
        message = message[:MESSAGE_CHARACTERS_MAX]
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint[:MESSAGE_CHARACTERS_MAX]
        self.field = field

    def sentence(self) -> str:
        """Message and hint as one line of text."""
        return f"{self.message} {self.hint}".strip()


class BadInput(PublicError):
    """The request itself is wrong: malformed, out of range, or outside the offer."""

    status = 400
    default_code = "bad_input"


class NotSignedIn(PublicError):
    """The caller did not prove who they are."""

    status = 401
    default_code = "not_signed_in"


class NoCredits(PublicError):
    """The organization's credits do not allow it."""

    status = 402
    default_code = "no_credits"


class NotAllowed(PublicError):
    """The person's role does not allow it."""

    status = 403
    default_code = "not_allowed"


class NotFound(PublicError):
    """There is no such thing, or this person may not know of it."""

    status = 404
    default_code = "not_found"


class Conflict(PublicError):
    """It contradicts what is already recorded."""

    status = 409
    default_code = "conflict"


class Unavailable(PublicError):
    """A part of the system that is needed does not answer; trying again later may work."""

    status = 503
    default_code = "unavailable"


PUBLIC_ERRORS: dict[int, type[PublicError]] = {
    error.status: error for error in (BadInput, NotSignedIn, NoCredits, NotAllowed, NotFound, Conflict, Unavailable)
}


@dataclass(frozen=True)
class Problem:
    """One mistake in a document: where it is and what is wrong and right.

    ``path`` is the keys from the top joined by dots; ``line`` counts from 1, 0 when it is not known.
    """

    path: str
    message: str
    line: int = 0


class OfferError(VesslError):
    """vessl.yaml cannot be used; ``problems`` lists every mistake, in the order of the file."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """``FILE:LINE: path: what is wrong, what is right``, one line for each problem."""
        return [f"{self.source}:{p.line or 1}: {p.path or '(document)'}: {p.message}" for p in self.problems]
