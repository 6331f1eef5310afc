"""Real notebook servers with the extension, each a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fake_service import HUB_TOKEN, WORKSPACE_ID, FakeService

ROOT = Path(__file__).parents[2]
USER_TOKEN = "the-token-of-the-notebook-server"
BASE_URL = "/user/mia%20x/"
OTHER_EXTENSIONS = ("jupyter_lsp", "jupyter_server_proxy", "jupyter_server_terminals", "notebook", "notebook_shim")


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Notebook:
    """A real notebook server in a process of its own; it answers once `ready` has returned.

    Of the extensions that are installed it loads ours, unless ``extension`` is False, and JupyterLab's where ``lab``
    says so: the rest costs a second.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *,
        config: str = "",
        lab: bool = False,
        extension: bool = True,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        folder.mkdir(parents=True)
        (folder / "files").mkdir()
        extensions = dict.fromkeys(OTHER_EXTENSIONS, False) | {"jupyterlab": lab, "jupyterhub_vessl_lab": extension}
        (folder / "jupyter_server_config.py").write_text(
            f"c = get_config()\n"
            f"c.ServerApp.jpserver_extensions = {extensions!r}\n"
            f"c.ServerApp.port, c.ServerApp.port_retries, c.ServerApp.open_browser = {self.port}, 0, False\n"
            f"c.ServerApp.base_url, c.ServerApp.allow_root = {BASE_URL!r}, True\n"
            f"c.ServerApp.root_dir = {str(folder / 'files')!r}\n"
            f"c.IdentityProvider.token = {USER_TOKEN!r}\n"
            f"{config}\n"
        )
        self.log_file = folder / "log"
        self._children: list[psutil.Process] = []
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("VESSL_", "JUPYTER"))}
        own = {
            "JUPYTER_CONFIG_DIR": str(folder),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "PYTHONPATH": f"{ROOT / 'labextension'}:{ROOT}",
            "HOME": str(folder),
        }
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server"],
                env=inherited | own | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )

    def ready(self) -> Notebook:
        """Wait until it answers."""
        for _ in range(600):
            with contextlib.suppress(OSError):
                if self.ask("GET", "api/status").status == 200:
                    return self
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        raise AssertionError(self.log)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        token: bool = True,
        port: int = 0,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=20)
        try:
            sent = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            own = {"Authorization": f"token {USER_TOKEN}"} if token else {}
            connection.request(method, BASE_URL + path, sent, own | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def status(self, *, fresh: bool = False) -> Any:
        answer = self.ask("GET", "vessl/api/status" + ("?fresh=1" if fresh else ""))
        assert answer.status == 300, answer.body
        return answer.json

    def last_activity(self) -> str:
        return str(self.ask("GET", "api/status").json["last_activity"])

    def end(self) -> None:
        """Tell it to end, and do not wait for it."""
        with contextlib.suppress(psutil.Error):
            self._children += psutil.Process(self.process.pid).children(recursive=True)
        self.process.terminate()

    def stop(self) -> None:
        """End it with everything that it started."""
        self.end()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in self._children:
            with contextlib.suppress(psutil.Error):
                child.kill()


def in_workspace(service: FakeService) -> dict[str, str]:
    """The environment that the spawner sets."""
    return {
        "VESSL_WORKSPACE_ID": WORKSPACE_ID,
        "VESSL_SERVICE_URL": service.url,
        "JUPYTERHUB_API_TOKEN": HUB_TOKEN,
    }
