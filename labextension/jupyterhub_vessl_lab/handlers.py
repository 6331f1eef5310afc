"""The extension's REST endpoints, below ``vessl/api/`` of the notebook server.

A hub's usual proxy counts as activity of the server every answer with a status below 300 and every request with a body,
so that a workspace with an open tab would never be idle.  Our answers carry 300 with a JSON body and no ``Location``,
which a browser hands on as it is; what is asked is in the address.
"""

from __future__ import annotations

import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from jupyterhub_vessl.model.errors import BadInput, PublicError
from jupyterhub_vessl.model.request import PortRequest, parse_request
from jupyterhub_vessl.model.text import bounded, check_name

from .asking import Asking
from .status import Jupyter, LabStatus

ANSWERED = 300
BODY_BYTES_MAX = 16 * 1024
_WORDS = {
    403: ("This is not allowed from here.", "Load the page again and sign in if you are asked to."),
    404: ("There is no such thing here.", ""),
    405: ("This cannot be done here.", ""),
}
_WRONG = ("Something went wrong inside the notebook server.", "Try again; if it stays so, tell an admin.")


class VesslHandler(APIHandler):
    """What all of them share: how they answer, and that they count as nobody's activity."""

    _track_activity = False
    auth_resource = "vessl"

    def initialize(self, asking: Asking, status: LabStatus, jupyter: Jupyter) -> None:
        self.asking, self.status, self.jupyter = asking, status, jupyter

    def answer(self, body: object) -> None:
        """Send what was asked for."""
        self.set_status(ANSWERED)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(body))

    def refuse(self, error: PublicError) -> None:
        """Send why not."""
        self.set_status(error.status)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"message": error.message, "hint": error.hint, "field": bounded(error.field, 100)}))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        message, hint = _WORDS.get(status_code, _WRONG)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"message": message, "hint": hint, "field": ""}))

    def _log(self) -> None:
        if self.get_status() == ANSWERED:
            # The usual log would write a line for each look of each tab.
            self.log.debug("%s %s %.0f ms", self.request.method, self.request.path, self.request.request_time() * 1000)
        else:
            super()._log()


class StatusHandler(VesslHandler):
    """What JupyterLab shows."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        self.answer(await self.status.get(fresh=self.get_query_argument("fresh", "") == "1"))


class PauseHandler(VesslHandler):
    """*Pause now*."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        try:
            await self.asking.pause()
        except PublicError as error:
            self.refuse(error)
        else:
            self.answer({"paused": True})


class PortHandler(VesslHandler):
    """One declared port."""

    @web.authenticated
    @authorized
    async def put(self, name: str) -> None:
        try:
            await self.asking.put_port(name, self._port(name))
        except PublicError as error:
            self.refuse(error)
        else:
            self.answer(await self.status.get(fresh=True))

    @web.authenticated
    @authorized
    async def delete(self, name: str) -> None:
        try:
            await self.asking.delete_port(_checked_name(name))
        except PublicError as error:
            self.refuse(error)
        else:
            self.answer(await self.status.get(fresh=True))

    def _port(self, name: str) -> PortRequest:
        # the proxy counts every request with a body as activity, so JupyterLab sends none
        described = self.get_query_argument("choice", "").encode() or self.request.body
        if len(described) > BODY_BYTES_MAX:
            raise BadInput(f"A port is described in at most {BODY_BYTES_MAX // 1024} KiB.")
        try:
            body = json.loads(described)
        except (ValueError, RecursionError):
            raise BadInput(
                "A port is described as JSON.", hint='For example: {"type": "http", "port": 3000}.'
            ) from None
        ports = parse_request({"ports": {_checked_name(name): body}}).ports or {}
        port = ports[name]
        if port.port in self.jupyter.own_ports():
            raise BadInput(f"Port {port.port} is JupyterLab's own; choose another.", field="port")
        return port


def _checked_name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise BadInput(f"A port's name: {error}.", field="name") from None


def make_handlers(base_url: str, shared: dict[str, Any]) -> list[tuple[str, type[VesslHandler], dict[str, Any]]]:
    """The endpoints with their addresses."""
    return [
        (url_path_join(base_url, "vessl/api/status"), StatusHandler, shared),
        (url_path_join(base_url, "vessl/api/pause"), PauseHandler, shared),
        (url_path_join(base_url, "vessl/api/ports/([^/]+)"), PortHandler, shared),
    ]
