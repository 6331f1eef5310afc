"""*Workspaces* with its actions, and the confirmation before termination."""

from __future__ import annotations

from urllib.parse import quote

from ...model.errors import BadInput, NotAllowed, NotFound, PublicError
from ...model.identity import Role
from .base import PageHandler
from .workspace_view import farewell, free_server_name, scopes_of, workspaces_page


class WorkspacesHandler(PageHandler):
    """The page people land on after sign-in."""

    async def get(self) -> None:
        """The list; ``scope`` is mine, team or all, ``q`` what to look for."""
        await self.show(self.query("scope") or "mine", self.query("q"))

    async def show(self, scope: str, search: str, refused: PublicError | None = None, workspace_id: str = "") -> None:
        """The list, with the reason at the row where something was refused."""
        if scope not in ("mine", "team", "all"):
            raise BadInput("A list of workspaces is mine, team or all.")
        if scope not in scopes_of(self.principal):
            raise NotAllowed("That list is for managers and admins.", hint="Your own workspaces are in Workspaces.")
        found = await self.parts.views.workspaces(self.principal, scope)
        view = workspaces_page(
            found,
            self.principal,
            scope=scope,
            search=search,
            base_url=self.parts.base_url,
            prefix=self.parts.prefix,
            contact=self._contact(),
        )
        shown = any(row.id == workspace_id for row in view.rows)
        self.page(
            "workspaces.html",
            refused.status if refused else 200,
            address=self._address(scope, search),
            section="workspaces",
            view=view,
            refusal=refused.sentence() if refused else "",
            refused_id=workspace_id if refused and shown else "",
        )

    def _address(self, scope: str, search: str) -> str:
        return self.link(scope="" if scope == "mine" else scope, q=search)

    def _contact(self) -> str:
        credits = self.credits_shown()
        return credits.contact if credits else self.parts.core.offer.identity.contact or "an admin"


class WorkspaceActionHandler(WorkspacesHandler):
    """A button of a row."""

    SUPPORTED_METHODS = ("POST",)

    async def post(self, workspace_id: str, action: str) -> None:
        """``start``, ``pause`` or ``cancel``; then the list again, with the reason if it was refused."""
        scope, search = self.sent("scope") or "mine", self.sent("q")
        try:
            if action == "start":
                await self.parts.workspaces.start(self.principal, workspace_id)
            else:  # taking back a start is pausing what does not run yet
                await self.parts.workspaces.pause(self.principal, workspace_id)
        except NotFound:
            raise
        except PublicError as refused:
            await self.show(scope, search, refused, workspace_id)
        else:
            self.see_other(self._address(scope, search))


class TerminateHandler(PageHandler):
    """The confirmation before a workspace is ended for good."""

    async def get(self, workspace_id: str) -> None:
        """What is lost and what is kept."""
        await self._show(workspace_id)

    async def post(self, workspace_id: str) -> None:
        """Do it."""
        try:
            await self.parts.workspaces.terminate(self.principal, workspace_id)
        except NotFound:
            raise
        except PublicError as refused:
            await self._show(workspace_id, refused)
        else:
            scope = self.sent("scope")
            self.see_other(self.link(scope=scope if scope in scopes_of(self.principal) else ""))

    async def _show(self, workspace_id: str, refused: PublicError | None = None) -> None:
        workspace = await self.parts.workspaces.get(self.principal, workspace_id)
        view = await self.parts.views.workspace(self.principal, workspace)
        if "terminate" not in view.actions and refused is None:
            self.see_other(self.link())  # it is gone, going, or not there yet: the list says which
            return
        mine = view.user == self.principal.name
        self.page(
            "terminate.html",
            refused.status if refused else 200,
            section="workspaces",
            view=farewell(view, self.principal),
            scope="" if mine else ("all" if "all" in scopes_of(self.principal) else "team"),
            refusal=refused.sentence() if refused else "",
        )


class NewHandler(PageHandler):
    """The way to the hub's form."""

    async def get(self) -> None:
        """To the form of the first server that is free; changes nothing."""
        if not any(m.role is not Role.VIEWER for m in self.principal.memberships):
            raise NotAllowed("Only members, managers and admins can start workspaces.", hint="Ask an admin for a role.")
        found = await self.parts.views.workspaces(self.principal)
        name = free_server_name(found.workspaces)
        path = f"/{quote(self.principal.name, safe='')}/{name}" if name else ""
        self.redirect(f"{self.parts.base_url}hub/spawn{path}")
