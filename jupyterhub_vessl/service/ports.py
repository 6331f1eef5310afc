"""Ports of a workspace while it lives: declared and removed by its owner, given addresses by its cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import sqlalchemy as sa

from ..ledger import records
from ..ledger.events import list_events, record_event
from ..ledger.schema import events
from ..model.errors import Conflict, NotAllowed, NotFound
from ..model.identity import Principal
from ..model.lifecycle import State
from ..model.money import HOUR_MS
from ..model.plan import Port
from ..model.ports import with_port, without_port
from ..model.request import PortRequest, parse_request
from ..model.wire import Recorded
from ..model.wire_status import AddressReport
from .core import Core

CHANGES_MAX = 60
"""Changes of a workspace's ports in an hour: each is an event, and a program may make them as fast as it likes."""


class Ports:
    """What is declared holds at once for http, and from the next start on for what a cluster has to provide."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def put(self, principal: Principal, workspace_id: str, name: str, wanted: PortRequest) -> None:
        """Declare a port, or change it.  Raises `BadInput`, or `Conflict` when the number is taken."""
        what = f"port {name} is {wanted.type} {wanted.port} now"
        await self._change(principal, workspace_id, lambda ports: with_port(ports, name, wanted), what)

    async def delete(self, principal: Principal, workspace_id: str, name: str) -> None:
        """Declare a port no longer; what listens on it goes on.  Raises `NotFound` when it is not declared."""
        what = f"port {name} is not declared any more"
        await self._change(principal, workspace_id, lambda ports: without_port(ports, name), what)

    async def _change(
        self,
        principal: Principal,
        workspace_id: str,
        change: Callable[[tuple[Port, ...]], tuple[Port, ...]],
        what: str,
    ) -> None:
        def work(connection: sa.Connection) -> None:
            workspace = records.workspace_by_id(connection, workspace_id)
            if workspace is None or workspace.state is State.TERMINATED:
                raise NotFound("There is no such workspace.")
            if workspace.person != principal.name:
                raise NotAllowed("Only the owner of a workspace can change its ports.")
            if workspace.intent == records.TERMINATE:
                raise Conflict("This workspace is being terminated.")
            ports = change(workspace.plan.ports)
            if ports == workspace.plan.ports:
                return
            wanted = {p.name: PortRequest.model_validate(p.model_dump(exclude={"name"})) for p in ports}
            request = parse_request(json.loads(workspace.request)).model_copy(update={"ports": wanted})
            changed = replace(
                workspace,
                plan=workspace.plan.model_copy(update={"ports": ports}),
                request=json.dumps(request.as_options()),
            )
            now_ms = self._core.clock.now_ms()
            recent = (
                events.c.workspace_id == workspace.id,
                events.c.kind == "ports",
                events.c.at_ms > now_ms - HOUR_MS,
            )
            if len(list_events(connection, *recent, limit=CHANGES_MAX)) >= CHANGES_MAX:
                raise Conflict(f"Ports can be changed {CHANGES_MAX} times in an hour.", hint="Try again later.")
            event = records.workspace_event(workspace, now_ms, "ports", f"{workspace.title}: {what}.", principal.name)
            records.save_workspace(connection, changed)
            record_event(connection, event)

        await self._core.database.run(work)

    async def report(self, admission_id: str, report: AddressReport) -> Recorded:
        """The spawner says where tcp ports are reached; of an admission that is over it changes nothing.

        Raises `NotFound` for an admission that was never given.
        """

        def work(connection: sa.Connection) -> int:
            record = records.admission_by_id(connection, admission_id)
            workspace = records.workspace_by_id(connection, record.workspace_id) if record else None
            if record is None or workspace is None:
                raise NotFound("There is no such admission.")
            if record.ended_ms is None and workspace.admission_id == admission_id:
                # by name and number: a name that is given to another number meanwhile is not reached there
                given = {
                    f"{p.name}:{p.port}": report.addresses[p.name]
                    for p in record.plan.ports
                    if p.name in report.addresses
                }
                records.save_workspace(connection, replace(workspace, addresses=json.dumps(given)))
            return self._core.clock.now_ms()

        return Recorded(at_ms=await self._core.database.run(work))
