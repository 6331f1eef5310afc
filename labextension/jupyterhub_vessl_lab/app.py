"""What the notebook server loads: the hardened port proxy everywhere, and the rest where there is a workspace."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from .settings import VesslLab, find_place

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

ASSETS = "lab/extensions/jupyterhub-vessl-lab/static/"
"""Where JupyterLab serves the files of the browser's part, after its base URL."""
PAGE_OPTION = "vesslWorkspace"
"""The option of JupyterLab's page that holds the workspace's id; without it the browser's part stays silent."""


class JupyterServer:
    """What is asked of the notebook server."""

    def __init__(self, serverapp: ServerApp) -> None:
        self._serverapp = serverapp

    @property
    def base_url(self) -> str:
        """Its base path."""
        return str(self._serverapp.base_url)

    def own_ports(self) -> Collection[int]:
        """The ports of the server itself."""
        ports = {int(self._serverapp.port)}
        with contextlib.suppress(Exception):  # there is no public way to ask which port a port of 0 became
            for socket in self._serverapp.http_server._sockets.values():
                name = socket.getsockname()
                if isinstance(name, tuple):
                    ports.add(int(name[1]))
        return ports - {0}

    def kernel_ports(self) -> Collection[int]:
        """The ports over which it talks to its kernels."""
        ports: set[int] = set()
        kernels = self._serverapp.kernel_manager
        for kernel_id in kernels.list_kernel_ids():
            with contextlib.suppress(Exception):  # it ended just now, or runs elsewhere and has none
                ports.update(int(port) for port in kernels.get_kernel(kernel_id).ports)
        return ports


def load(serverapp: ServerApp) -> None:
    """Add what this extension serves; a proxy that cannot be added keeps neither the rest nor JupyterLab away."""
    try:
        from .proxy import add_proxy

        add_proxy(serverapp)
    except Exception:
        serverapp.log.exception("The port proxy of jupyterhub-vessl could not be added")
    _keep_assets(serverapp)
    place = find_place(os.environ)
    if place is None:
        return
    from .asking import Asking
    from .handlers import make_handlers
    from .status import LabStatus

    settings = VesslLab(parent=serverapp)
    jupyter = JupyterServer(serverapp)
    asking = Asking(place, serverapp.log, every_seconds=settings.ask_seconds)
    status = LabStatus(place, settings, jupyter, asking)
    atexit.register(asking.abandon)
    shared = {"asking": asking, "status": status, "jupyter": jupyter}
    serverapp.web_app.add_handlers(".*$", make_handlers(serverapp.base_url, shared))
    serverapp.web_app.settings.setdefault("page_config_data", {})[PAGE_OPTION] = place.workspace_id


def _keep_assets(serverapp: ServerApp) -> None:
    """Let browsers keep the extension's files without asking again: their names change with what they hold.

    JupyterLab means to do this for every extension, but forgets the base URL, which a workspace always has
    (jupyterlab_server/app.py, ``initialize_settings``); so each start asks three times whether they are still the same.
    """
    settings = serverapp.web_app.settings
    kept = [*settings.get("static_immutable_cache", ()), f"{serverapp.base_url}{ASSETS}"]
    settings["static_immutable_cache"] = list(dict.fromkeys(kept))
