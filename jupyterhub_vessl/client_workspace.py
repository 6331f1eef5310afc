"""What a workspace asks the service about itself, with the token of its own server."""

from __future__ import annotations

from urllib.parse import quote

from .client import ServiceClient
from .model.request import PortRequest
from .model.wire import WorkspaceView
from .model.wire_status import StatusView


class WorkspaceClient(ServiceClient):
    """Talks to one service about one workspace; a person's hub token does as well.

    Every method raises the `PublicError` that the service refused with, and may be called again without harm.
    """

    no_answer = "The service that keeps credits does not answer, so what is shown may be old."
    no_answer_hint = "Billing goes on as before. If it stays so, tell an admin."

    async def status(self, workspace_id: str) -> StatusView:
        """What it costs, what will pause it, its ports, and what its people should be told."""
        return StatusView.model_validate(await self._ask("GET", f"workspaces/{workspace_id}/status"))

    async def pause(self, workspace_id: str) -> WorkspaceView:
        """Stop compute and keep the volumes."""
        return WorkspaceView.model_validate(await self._ask("POST", f"workspaces/{workspace_id}/pause", {}))

    async def put_port(self, workspace_id: str, name: str, port: PortRequest) -> StatusView:
        """Declare a port, or change what it is."""
        path = f"workspaces/{workspace_id}/ports/{quote(name, safe='')}"
        return StatusView.model_validate(await self._ask("PUT", path, port.model_dump(mode="json")))

    async def delete_port(self, workspace_id: str, name: str) -> StatusView:
        """Declare a port no longer; what listens on it goes on."""
        path = f"workspaces/{workspace_id}/ports/{quote(name, safe='')}"
        return StatusView.model_validate(await self._ask("DELETE", path))
