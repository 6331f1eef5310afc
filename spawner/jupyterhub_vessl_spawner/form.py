"""The form on the hub's spawn page: drawn from the service's offer, read back into a request.

``Spawner.options_form`` is `render_form` and ``Spawner.options_from_form`` is `options_from_form`.

A refused start comes back to the form as it was.  The hub (6.1, handlers/pages.py) then asks the person's
*default* server for the form and hands over no form data, so the attempt is remembered here, in a context
variable: the hub calls `options_from_form` in the request's own task, starts the workspace in a task that
inherits the context, and draws the form again in another one.  All of them see the same record.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jupyterhub_vessl.model.errors import BadInput, PublicError
from jupyterhub_vessl.model.identity import membership_from_group
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.wire import Caller, OfferView

from .form_fields import Draft, FormData, PortRow, VariableRow, draft_from_form, draft_from_request, request_from_form
from .form_scene import Notice
from .form_view import FROM_LINK, FormView, form_view
from .refusal import VesslSpawnRefused

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
"""The folder for ``JupyterHub.template_paths``: the hub's own pages, in our words."""


@dataclass
class _Attempt:
    """What one request tried to start, and why it was refused."""

    spawner: Any
    formdata: FormData
    refused: PublicError | None = None


_attempt: ContextVar[_Attempt | None] = ContextVar("vessl_form_attempt", default=None)


def options_from_form(formdata: FormData, spawner: Any = None) -> dict[str, Any]:
    """The hub's ``options_from_form``: remember the attempt, then `parse_form`.

    It must not be a coroutine: the hub would run it in a task of its own, and the attempt would be forgotten.
    Without a ``spawner`` the hub is reading the query of a link, which fills in the form but starts nothing:
    a start costs credits, so it takes a press on Start.
    """
    attempt = _Attempt(spawner, {key: list(values) for key, values in formdata.items()})
    _attempt.set(attempt)
    if spawner is None:
        attempt.refused = BadInput(
            "A link starts nothing by itself.", code=FROM_LINK, hint="Check the choices and press Start."
        )
        raise VesslSpawnRefused(attempt.refused)
    return parse_form(formdata)


def parse_form(formdata: FormData) -> dict[str, Any]:
    """What a browser sent, as the hub's ``user_options``; raises `VesslSpawnRefused` with the field's reason."""
    try:
        return request_from_form(formdata).as_options()
    except BadInput as error:
        note_refusal(error)
        raise VesslSpawnRefused(error) from None


def note_refusal(error: PublicError) -> None:
    """Tell the form why a start was refused, so that the reason stands at its field when the form comes back.

    Call it wherever a `VesslSpawnRefused` is raised while a workspace starts.  Outside of a start from the
    form (the REST API, a start that went on in the background) it does nothing.
    """
    attempt = _attempt.get()
    if attempt is not None:
        attempt.refused = error


async def render_form(spawner: Any) -> str:
    """The hub's ``options_form``: HTML of the form for this person and server, or a notice in its place."""
    attempt = _attempt.get()
    if attempt is not None and attempt.spawner is not None:
        spawner = attempt.spawner
    groups = tuple(g.name for g in spawner.user.groups if membership_from_group(g.name) is not None)
    try:
        offer = await spawner.service_client().form(
            Caller(user=spawner.user.name, groups=groups, server_name=spawner.name)
        )
    except PublicError as error:
        return render(Notice("Workspaces", error.sentence(), try_again=True))
    draft = draft_from_form(attempt.formdata) if attempt else _last_asked(spawner, offer)
    return render(form_view(offer, draft, attempt.refused if attempt else None, time.time_ns() // 1_000_000))


def _last_asked(spawner: Any, offer: OfferView) -> Draft:
    """What was last asked for, also when it was refused and so never reached the service; else an empty form."""
    for options in (spawner.user_options, offer.request):
        try:
            if options:
                return draft_from_request(parse_request(options))
        except BadInput:  # anybody may write anything there; the form then starts afresh
            continue
    return Draft()


def render(view: FormView | Notice) -> str:
    """A view as HTML.  Everything in it is escaped; only our own style and script are not."""
    return _environment().get_template("vessl_form.html").render(view=view, notice=isinstance(view, Notice))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name, file in (("style", "vessl.css"), ("script", "form.js")):
        environment.globals[name] = Markup((HERE / "static" / file).read_text("utf-8"))  # noqa: S704  our own file
    environment.globals.update(blank_port=PortRow(), blank_variable=VariableRow())
    return environment
