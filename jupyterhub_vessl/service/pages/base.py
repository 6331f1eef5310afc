"""What every page's handler shares: who is looking, the bar on top, templates, and errors as pages."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...model.errors import BadInput, NotAllowed, NotFound
from ...model.wire import Me
from ...model.wire_credits import CreditsView
from ..api.base import VesslHandler
from .topbar import pill

HERE = Path(__file__).parent
TEMPLATES, STATIC = HERE / "templates", HERE / "static"
QUERY_CHARACTERS_MAX = 200
HEADINGS = {
    400: "That did not work",
    401: "Sign in first",
    402: "No credits left",
    403: "Not allowed",
    404: "Not found",
    405: "That did not work",
    409: "That did not work",
    503: "Not available just now",
}


@cache
def templates() -> Environment:
    """The pages' templates; everything in them is escaped."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class PageHandler(VesslHandler):
    """Base of the pages.

    Who is not signed in is sent to the hub and comes back here.  Forms carry the argument ``_xsrf``, which the
    hub's code checks for everybody who comes with a cookie: without it nobody is identified.
    """

    me: Me | None = None

    def set_default_headers(self) -> None:
        """Like every answer of the service; Bootstrap draws its small icons from ``data:`` images."""
        super().set_default_headers()
        self.set_header(
            "Content-Security-Policy",
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
        )

    async def prepare(self) -> None:
        """Find out who is looking; send strangers to the hub."""
        await super().prepare()
        if self._hub_auth_user_cache is not None:
            self.me = await self.parts.views.me(self.principal)
            return
        if self._hub_model:
            raise NotAllowed(
                "You are signed in, but not allowed to use this service.", hint="Ask an admin of the hub for access."
            )
        # a script cannot sign anybody in, and a form that is sent again after signing in would surprise
        mode = self.request.headers.get("Sec-Fetch-Mode", "navigate")
        if self.request.method in ("GET", "HEAD") and mode in ("navigate", "unspecified"):
            self.redirect(self.get_login_url())
            return
        raise NotAllowed(
            "You are signed out, or this form was open for too long.", hint="Open the page again and repeat it."
        )

    def query(self, name: str) -> str:
        """One query argument, "" when it is not given; raises `BadInput` for a long one."""
        return _bounded(name, self.get_query_argument(name, ""))

    def sent(self, name: str) -> str:
        """One field of a form, "" when it is not given; raises `BadInput` for a long one."""
        return _bounded(name, self.get_body_argument(name, ""))

    def link(self, path: str = "", **query: str) -> str:
        """A path of the service with a query, leaving out what is empty."""
        arguments = urlencode({key: value for key, value in query.items() if value})
        return f"{self.parts.prefix}{path}{'?' if arguments else ''}{arguments}"

    def see_other(self, url: str) -> None:
        """After something was done: show a page that can be loaded again without doing it twice."""
        self.redirect(url, status=303)

    def credits_shown(self) -> CreditsView | None:
        """The credits that the bar on top tells of: the first organization's."""
        return next(iter(self.me.credits), None) if self.me else None

    def page(self, name: str, status: int = 200, *, address: str = "", **values: Any) -> None:
        """Finish with a template.  ``address`` is where to look for news of it, when it is an answer to a form."""
        credits = self.credits_shown()
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(
            templates()
            .get_template(name)
            .render(
                base_url=self.parts.base_url,
                prefix=self.parts.prefix,
                hub_static=f"{self.parts.base_url}hub/static/",
                static_url=self.static_url,
                xsrf_token=_text(self.xsrf_token) if self.me else "",
                address=address,
                person=self.me.name if self.me else "",
                brand=credits.title if credits else "Workspaces",
                pill=pill(credits) if credits else None,
                **values,
            )
        )

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error is a page: one sentence, and what to do."""
        failure = kwargs.get("exc_info")
        status, body = self.public_error(failure[1] if failure else None)
        self.page(
            "error.html",
            status,
            section="",
            heading=HEADINGS.get(status, "Something went wrong"),
            message=body.message,
            hint=body.hint,
            number=status,
        )


class UnknownPageHandler(PageHandler):
    """Everything under the service's path that is not a page."""

    async def prepare(self) -> None:
        """404, with the bar on top for who is signed in."""
        await super().prepare()
        if not self._finished:
            raise NotFound("There is no such page.", hint="Workspaces and Credits are one click away.")


def _bounded(name: str, value: str) -> str:
    if len(value) > QUERY_CHARACTERS_MAX:
        raise BadInput(f"Use at most {QUERY_CHARACTERS_MAX} characters.", field=name)
    return value


def _text(token: bytes | str) -> str:
    return token.decode("ascii") if isinstance(token, bytes) else token
