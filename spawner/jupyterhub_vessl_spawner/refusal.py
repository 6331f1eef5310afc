"""One exception for every start that is refused: the person reads one sentence wherever the hub shows it.

The hub shows a refusal in four places and each reads other attributes of the exception (hub 6.1: utils.py
`format_exception`, apihandlers/base.py `write_error`); this class sets them all, in plain text and never HTML.
"""

from __future__ import annotations

from tornado import web

from jupyterhub_vessl.model.errors import PUBLIC_ERRORS, PublicError

try:
    from jupyterhub.spawner import SpawnException

    HUB_COUNTS_REFUSALS = False
except ImportError:
    HUB_COUNTS_REFUSALS = True
    """JupyterHub 5 counts a refusal as a failure of its own, and stops itself after a few in a row."""

    class SpawnException(web.HTTPError):  # type: ignore[no-redef]
        """What JupyterHub 6 calls a start that policy refuses, for JupyterHub 5."""

        def __init__(self, message: str, *, reason: str, status_code: int = 400) -> None:
            self.message = message
            super().__init__(status_code, message, reason=reason)


OTHER_REASON = "refused"
REASONS = frozenset({error.default_code for error in PUBLIC_ERRORS.values()} | {OTHER_REASON, "not_started"})
"""``reason`` becomes a Prometheus label and the reason phrase of HTTP, so it comes from this set alone."""


class NotStarted(PublicError):
    """The workspace was admitted, but the machine could not bring it up."""

    status = 500
    default_code = "not_started"


class VesslSpawnRefused(SpawnException):
    """A start that was refused, made from the `PublicError` that says why."""

    def __init__(self, error: PublicError) -> None:
        sentence = error.sentence()
        reason = error.code if error.code in REASONS else OTHER_REASON
        super().__init__(sentence, reason=reason, status_code=error.status)
        self.jupyterhub_message = sentence
