"""The only caller of the hub's REST API.

Lists active servers page by page, starts, stops and removes servers.  Facts about the API that this rests on
are in the hub's REST reference: ``GET /users`` needs the pagination media type, or the list is silently cut.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import quote

import aiohttp

from ..connections import open_session
from ..model.errors import BadInput, Conflict, NoCredits, NotAllowed, NotFound, PublicError, Unavailable
from ..model.reconcile import HubServer
from ..model.text import bounded

log = logging.getLogger("jupyterhub_vessl")
PAGE = 200
PAGINATION = "application/jupyterhub-pagination+json"


class HubUnreachable(Unavailable):
    """The hub does not answer, or answers with an error of its own; trying again later may work.

    ``detail`` is for the log.
    """

    def __init__(self, detail: str) -> None:
        super().__init__("The hub does not answer, so nothing was started or stopped.", hint="Try again in a minute.")
        self.detail = detail


class HubClient:
    """Talks to one hub with the service's token.

    Parameters
    ----------
    api_url
        For example ``http://127.0.0.1:8081/hub/api``.
    token
        The service's token; sent in a header, never logged.
    timeout_seconds
        For one call. A stop answers within the hub's ``slow_stop_timeout`` (10 s) or says that it goes on.
    """

    def __init__(self, api_url: str, token: str, *, timeout_seconds: float = 30) -> None:
        self._url = api_url.rstrip("/")
        self._headers = {"Authorization": f"token {token}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        self._major: int | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def active_servers(self) -> dict[tuple[str, str], HubServer]:
        """Every server that is starting, ready or stopping, by (user, server name).

        Raises `HubUnreachable` when any page cannot be had: half a list would look like half the servers gone.
        """
        servers: dict[tuple[str, str], HubServer] = {}
        offset = 0
        while True:
            path = f"/users?state=active&limit={PAGE}&offset={offset}"
            status, body = await self._call("GET", path, accept=PAGINATION)
            if status != 200:
                raise HubUnreachable(f"GET /users answered {status}")
            for user in body["items"]:
                for name, model in (user.get("servers") or {}).items():
                    server = HubServer(user["name"], name, bool(model.get("ready")))
                    servers[server.key] = server
            following = body["_pagination"].get("next")
            if not following:
                return servers
            offset = following["offset"]

    async def start(self, user: str, server_name: str, options: dict[str, Any]) -> None:
        """Start a server with options of its own, whatever the hub keeps for it from a start that was refused.

        Raises the refusal as a `PublicError` when the hub answers with one at once; a start that takes longer
        goes on, and its end is seen in the workspace's state.
        """
        named = {"user_options": options} if await self._version_major() >= 6 else options
        status, body = await self._call("POST", _server(user, server_name), named)
        if status in (201, 202):
            return
        raise _refusal(status, body)

    async def stop(self, user: str, server_name: str, *, remove: bool = False) -> bool:
        """Stop a server, and with ``remove`` make the hub forget it.  True when it is over, False while it goes on.

        A server that is not running, or a user that is gone, is over.
        """
        remove = remove and bool(server_name)  # the hub cannot forget a default server
        status, body = await self._call("DELETE", _server(user, server_name), {"remove": True} if remove else None)
        if status in (204, 404):
            return True
        if status == 202:
            return False
        if status == 400:
            log.warning("server %s/%s is not stopped yet: %s", bounded(user), bounded(server_name), bounded(body))
            return False
        raise HubUnreachable(f"stopping answered {status}: {bounded(body)}")

    async def _version_major(self) -> int:
        if self._major is None:
            status, body = await self._call("GET", "/")
            if status != 200:
                raise HubUnreachable(f"GET / answered {status}")
            self._major = int(body["version"].split(".")[0])
        return self._major

    async def _call(
        self, method: str, path: str, body: Any = None, *, accept: str = "application/json"
    ) -> tuple[int, Any]:
        if self._session is None:
            self._session = open_session(headers=self._headers, timeout=self._timeout)
        try:
            async with self._session.request(
                method, self._url + path, json=body, headers={"Accept": accept}
            ) as response:
                if response.status >= 502:
                    raise HubUnreachable(f"{method} answered {response.status}")
                data = await response.json(content_type=None) if response.status not in (202, 204) else None
                return response.status, data
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
            raise HubUnreachable(f"{method} {bounded(path)}: {type(error).__name__}") from error


def _server(user: str, server_name: str) -> str:
    path = f"/users/{quote(user, safe='')}"
    return f"{path}/servers/{quote(server_name, safe='')}" if server_name else f"{path}/server"


def _refusal(status: int, body: Any) -> PublicError:
    message = bounded(body.get("message", ""), 600) if isinstance(body, dict) else ""
    kinds: dict[int, type[PublicError]] = {402: NoCredits, 403: NotAllowed, 404: NotFound, 409: Conflict}
    if status >= 500:
        return Unavailable(message or "The hub could not start it.", hint="Try again in a minute.")
    return kinds.get(status, BadInput)(message or "The hub refused to start it.")
