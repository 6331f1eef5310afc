"""The handlers behind `routes`: parse, call one part, answer."""

from __future__ import annotations

from ...ledger.meters import count_open_spans
from ...model.errors import NotFound
from ...model.identity import Principal, principal_from_groups
from ...model.request import PortRequest
from ...model.text import bounded
from ...model.units import MIB, format_bytes
from ...model.wire import AdmissionRequest, Caller, EndedReport, Health, NoticeReport, ReadyReport
from ...model.wire_status import AddressReport
from ..core import log
from .base import ApiHandler
from .openapi import document

FREE_BYTES_MIN = 64 * MIB
NO_ANSWER = "does not answer"


class AdmissionsHandler(ApiHandler):
    """May this start?  The spawner asks before every start."""

    async def post(self) -> None:
        """Admit or refuse."""
        self.check_spawner()
        self.answer(await self.parts.admissions.admit(self.body(AdmissionRequest)), 201)


class ReadyHandler(ApiHandler):
    """An admitted workspace answers."""

    async def post(self, admission_id: str) -> None:
        """Billing starts."""
        self.check_spawner()
        self.answer(await self.parts.admissions.ready(admission_id, self.body(ReadyReport)))


class EndedHandler(ApiHandler):
    """An admitted workspace has ended."""

    async def post(self, admission_id: str) -> None:
        """Billing stops."""
        self.check_spawner()
        self.answer(await self.parts.admissions.ended(admission_id, self.body(EndedReport)))


class NoticeHandler(ApiHandler):
    """Something happened to a workspace that goes on."""

    async def post(self, admission_id: str) -> None:
        """Tell its people."""
        self.check_spawner()
        self.answer(await self.parts.incidents.notice(admission_id, self.body(NoticeReport)))


class FormHandler(ApiHandler):
    """What a person may choose for one of their servers, for the hub's spawn page."""

    async def post(self) -> None:
        """The offer as that person sees it."""
        self.check_spawner()
        caller = self.body(Caller)
        principal = principal_from_groups(caller.user, caller.groups)
        self.answer(await self.parts.views.offer(principal, caller.server_name))


class MeHandler(ApiHandler):
    """Who is asking."""

    async def get(self) -> None:
        """Name, memberships, teams and credits."""
        self.answer(await self.parts.views.me(self.principal))


class OfferHandler(ApiHandler):
    """What the person who is asking may choose."""

    async def get(self) -> None:
        """Specs, images, presets, volumes and prices, with the reason where something cannot be chosen."""
        self.answer(await self.parts.views.offer(self.principal))


class WorkspacesHandler(ApiHandler):
    """Workspaces of the person, of their teams, or of the organization."""

    async def get(self) -> None:
        """A list; ``scope`` is mine (default), team or all."""
        self.answer(await self.parts.views.workspaces(self.principal, self.query("scope", "mine") or ""))


class WorkspaceHandler(ApiHandler):
    """One workspace."""

    async def get(self, workspace_id: str) -> None:
        """Its state, price, spending and reason."""
        await self._answer(await self.asking_about(workspace_id), workspace_id)

    async def delete(self, workspace_id: str) -> None:
        """Terminate it: its own volume is deleted."""
        await self.parts.workspaces.terminate(self.principal, workspace_id)
        await self._answer(self.principal, workspace_id, 202)

    async def _answer(self, principal: Principal, workspace_id: str, status: int = 200) -> None:
        workspace = await self.parts.workspaces.get(principal, workspace_id)
        self.answer(await self.parts.views.workspace(principal, workspace), status)


class StartHandler(WorkspaceHandler):
    """Start a workspace."""

    SUPPORTED_METHODS = ("POST",)

    async def post(self, workspace_id: str) -> None:
        """As it was last asked for."""
        await self.parts.workspaces.start(self.principal, workspace_id)
        await self._answer(self.principal, workspace_id, 202)


class PauseHandler(WorkspaceHandler):
    """Pause a workspace."""

    SUPPORTED_METHODS = ("POST",)

    async def post(self, workspace_id: str) -> None:
        """Stop compute and keep the volumes."""
        principal = await self.asking_about(workspace_id)
        await self.parts.workspaces.pause(principal, workspace_id)
        await self._answer(principal, workspace_id, 202)


class StatusHandler(ApiHandler):
    """One workspace from the inside, for JupyterLab."""

    async def get(self, workspace_id: str) -> None:
        """What it costs, what will pause it, its ports and what its people should be told."""
        await self.answer_status(await self.asking_about(workspace_id), workspace_id)

    async def answer_status(self, principal: Principal, workspace_id: str) -> None:
        """Finish with how a workspace is now."""
        workspace = await self.parts.workspaces.get(principal, workspace_id)
        self.answer(await self.parts.statuses.status(principal, workspace))


class PortHandler(StatusHandler):
    """A declared port."""

    SUPPORTED_METHODS = ("PUT", "DELETE")

    async def put(self, workspace_id: str, name: str) -> None:
        """Declare it, or change it."""
        principal = await self.asking_about(workspace_id)
        await self.parts.workspaces.get(principal, workspace_id)
        await self.parts.ports.put(principal, workspace_id, name, self.body(PortRequest))
        await self.answer_status(principal, workspace_id)

    async def delete(self, workspace_id: str, name: str) -> None:
        """Declare it no longer."""
        principal = await self.asking_about(workspace_id)
        await self.parts.workspaces.get(principal, workspace_id)
        await self.parts.ports.delete(principal, workspace_id, name)
        await self.answer_status(principal, workspace_id)


class AddressesHandler(ApiHandler):
    """Where the ports of an admitted workspace are reached."""

    async def post(self, admission_id: str) -> None:
        """Tell its people."""
        self.check_spawner()
        self.answer(await self.parts.ports.report(admission_id, self.body(AddressReport)))


class EventsHandler(ApiHandler):
    """What happened."""

    async def get(self) -> None:
        """Events that touch the person, after an id."""
        self.answer(await self.parts.views.events(self.principal, self.query_number("after", 0)))


class HealthHandler(ApiHandler):
    """Whether the service works; for probes, without signing in."""

    async def prepare(self) -> None:
        """Nobody needs to be identified."""

    async def get(self) -> None:
        """200 with what does not work, if anything; 503 when the database does not answer."""
        health = await read_health(self)
        self.answer(health, 503 if health.database == NO_ANSWER else 200)


async def read_health(handler: ApiHandler) -> Health:
    """Look at the database and at what the reconciler last heard of the hub."""
    core = handler.parts.core
    spans, database = 0, "ok"
    try:
        spans = await core.database.run(count_open_spans)
        free_bytes = core.database.free_bytes()
        if free_bytes is not None and free_bytes < FREE_BYTES_MIN:
            database = f"has only {format_bytes(free_bytes)} of disk left"
    except Exception as error:
        log.error("the database does not answer: %s", bounded(error))
        database = NO_ANSWER
    hub = "ok" if core.hub_answers else NO_ANSWER
    return Health(
        status="ok" if (database, hub) == ("ok", "ok") else "degraded",
        version=handler.settings["version"],
        database=database,
        hub=hub,
        open_spans=spans,
        next_deadline_ms=core.next_deadline_ms,
        at_ms=core.clock.now_ms(),
    )


class OpenApiHandler(ApiHandler):
    """The description of this API."""

    async def prepare(self) -> None:
        """Nobody needs to be identified: it tells nothing about anybody."""

    async def get(self) -> None:
        """OpenAPI 3.1, made from the route table."""
        self.set_header("Content-Type", "application/json")
        self.finish(document(self.settings["routes"], self.settings["version"], self.parts.prefix))


class UnknownHandler(ApiHandler):
    """Everything under the API's path that is not in the route table."""

    async def prepare(self) -> None:
        """404, for any verb and anybody."""
        raise NotFound("There is nothing at this path.", hint="See api/v1/openapi.json.")
