"""What every handler of the service shares: who is asking, how errors are answered, and one door for bodies."""

from __future__ import annotations

import json
import uuid
from typing import Any, TypeVar

from jupyterhub.services.auth import HubOAuthenticated
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import OperationalError
from tornado import web

from ...model.errors import BadInput, NotAllowed, NotFound, NotSignedIn, PublicError, Unavailable
from ...model.identity import Principal, own_servers, principal_from_groups
from ...model.lifecycle import State
from ...model.text import bounded
from ...model.wire import ErrorBody
from ..core import log
from ..parts import Parts

Body = TypeVar("Body", bound=BaseModel)
BODY_BYTES_MAX = 256 * 1024
SPAWNER_SERVICE = "vessl-spawner"


class VesslHandler(HubOAuthenticated, web.RequestHandler):
    """Base of API and pages.  The hub says who is asking; browsers come through OAuth, programs with hub tokens.

    Cross-site request forgery is checked by the hub's own code for everybody who comes with a cookie, so
    tornado's ``xsrf_cookies`` stays off: it would refuse tokens (and checking twice deadlocks).
    """

    @property
    def parts(self) -> Parts:
        """The service's parts."""
        return self.settings["parts"]

    async def prepare(self) -> None:
        """Ask the hub who this is, without blocking everybody else meanwhile."""
        try:
            model = await self.hub_auth.get_user(self, sync=False)
        except web.HTTPError as error:
            raise Unavailable("The hub does not answer, so nobody can be identified.", hint="Try again.") from error
        self._hub_model = model
        # `current_user` and tornado's decorators read this instead of asking again, blocking
        self._hub_auth_user_cache = model if self._may_enter(model) else None

    def _may_enter(self, model: dict[str, Any] | None) -> bool:
        """Whether the token that was shown may be used here: rights are memberships ∩ token scopes."""
        if not model or model.get("kind") != "user":
            return False
        scopes, needed = set(model.get("scopes", ())), set(self.hub_auth.access_scopes)
        return not needed or bool(scopes & needed)

    @property
    def principal(self) -> Principal:
        """The person who is asking; raises `NotSignedIn`."""
        model = self._hub_auth_user_cache
        if model is None:
            raise NotSignedIn("Sign in to see this.")
        return principal_from_groups(model["name"], model.get("groups", ()))

    async def asking_about(self, workspace_id: str) -> Principal:
        """Who is asking about one workspace: a person, or the workspace itself with the token of its server.

        Raises `NotSignedIn`, and `NotFound` where a server asks about another workspace.
        """
        model = self._hub_model
        if self._hub_auth_user_cache is not None or not model or model.get("kind") != "user":
            return self.principal
        servers = own_servers(model["name"], model.get("scopes", ()))
        if not servers:
            return self.principal
        workspace = await self.parts.workspaces.find(workspace_id)
        if workspace is None or workspace.person != model["name"] or workspace.server_name not in servers:
            raise NotFound("There is no such workspace.")
        if workspace.state not in (State.RUNNING, State.PENDING):  # a server that is over has nothing to ask any more
            raise NotFound("There is no such workspace.")
        return principal_from_groups(model["name"], model.get("groups", ()))

    def check_spawner(self) -> None:
        """Only the hub's spawner may go on; a person's or a notebook's token may not, whoever they are."""
        model = self._hub_model
        if not model:
            raise NotSignedIn("A token is needed.")
        if model.get("kind") != "service" or model.get("name") != SPAWNER_SERVICE:
            raise NotAllowed("Only the hub's spawner may do that.")

    def set_default_headers(self) -> None:
        """Nothing of ours may be framed by, sniffed by or cached for somebody else."""
        self.set_header("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    def public_error(self, error: BaseException | None) -> tuple[int, ErrorBody]:
        """The status and words for any exception; what is not public is logged under an id and not shown."""
        if isinstance(error, PublicError):
            return error.status, ErrorBody(code=error.code, message=error.message, hint=error.hint, field=error.field)
        if isinstance(error, OperationalError):
            log.error("the database refused at %s: %s", bounded(self.request.path), bounded(error.__cause__))
            return 503, ErrorBody(
                code="unavailable",
                message="The books cannot be read or written just now, so nothing was changed.",
                hint="Try again in a minute; if it stays so, tell an admin.",
            )
        if isinstance(error, web.HTTPError) and error.status_code < 500:
            message = {
                403: "That is not allowed here.",
                404: "There is no such page.",
                405: "That cannot be done here.",
            }
            text = message.get(error.status_code, "The request makes no sense.")
            return error.status_code, ErrorBody(code="http", message=text)
        number = uuid.uuid4().hex[:12]
        log.error("error %s at %s %s", number, self.request.method, bounded(self.request.path), exc_info=error)
        return 500, ErrorBody(
            code="internal",
            message="Something went wrong on our side; nothing was changed.",
            hint=f"Tell an admin this number: {number}.",
        )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Expected refusals are not errors; everything else is logged once, by `public_error`."""


class ApiHandler(VesslHandler):
    """Base of the JSON handlers."""

    def answer(self, model: BaseModel, status: int = 200) -> None:
        """Finish with a model as JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(model.model_dump_json())

    def body(self, model: type[Body]) -> Body:
        """Parse the request's body strictly; raises `BadInput` with one sentence naming the field."""
        if len(self.request.body) > BODY_BYTES_MAX:
            raise BadInput(f"The request is larger than {BODY_BYTES_MAX // 1024} KiB.")
        try:
            data = json.loads(self.request.body or b"{}")
        except (ValueError, RecursionError):
            raise BadInput("The request is not JSON.") from None
        return parse_body(model, data)

    def query(self, name: str, default: str | None = None) -> str | None:
        """One query argument of bounded length."""
        value = self.get_query_argument(name, None)
        if value is not None and len(value) > 200:
            raise BadInput(f"{name} is too long.", field=name)
        return default if value is None else value

    def query_number(self, name: str, default: int) -> int:
        """One query argument that is a whole number from 0 on."""
        value = self.query(name)
        if value is None:
            return default
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise BadInput(f"{name} is a whole number.", field=name)
        return int(value)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error is a JSON `ErrorBody`."""
        failure = kwargs.get("exc_info")
        status, body = self.public_error(failure[1] if failure else None)
        self.answer(body, status)


def parse_body(model: type[Body], data: object) -> Body:
    """Validate JSON as a model; raises `BadInput` for the first thing that is wrong."""
    try:
        return model.model_validate(data)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise BadInput("The request is nested too deeply.") from None
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(bounded(part, 40) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise BadInput(f"There is no field {field!r}; fields are {known}.", field=field) from None
        if not field and first["type"] in ("dict_type", "model_type", "model_attributes_type"):
            raise BadInput("The request is not a JSON object.") from None
        message = str(first["msg"]).removeprefix("Value error, ")
        raise BadInput(f"{field or 'The request'}: {message}.", field=field) from None
