"""What a workspace shows about itself inside JupyterLab: the small server extension.

It asks the service with the token of its own server, so that no token of the hub reaches a browser, and looks at what
the workspace uses and at which ports its programs listen.  Nothing runs while nobody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_vessl_lab"}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jupyterhub-vessl-lab"}]


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    from .app import load  # asking for the names above must not cost the imports

    load(serverapp)
