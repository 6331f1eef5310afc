"""Notebook servers outside of a workspace, JupyterLab's page inside of one, and kernels whose ports are nobody's."""

from __future__ import annotations

import html
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fake_service import HUB_TOKEN, WORKSPACE_ID, FakeService
from jupyter_client.blocking.client import BlockingKernelClient
from lab_parts import ROOT, Notebook, in_workspace

ASSETS = ROOT / "labextension/jupyterhub_vessl_lab/labextension"


def page_config(notebook: Notebook) -> dict[str, Any]:
    """The options of JupyterLab's page."""
    page = notebook.ask("GET", "lab").body.decode()
    found = re.search(r'<script id="jupyter-config-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found
    return dict(json.loads(html.unescape(found[1])))


@pytest.fixture(scope="module")
def servers(_service: FakeService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Notebook]]:
    """A server for each variable that is missing, and JupyterLab with all of them; they start together."""
    running = {}
    for missing in (*in_workspace(_service), ""):
        environment = {key: value for key, value in in_workspace(_service).items() if key != missing}
        folder = tmp_path_factory.mktemp(missing or "lab") / "home"
        running[missing] = Notebook(folder, environment, lab=missing in ("VESSL_WORKSPACE_ID", ""))
    yield running
    for notebook in running.values():
        notebook.end()
    for notebook in running.values():
        notebook.stop()


@pytest.mark.parametrize("missing", ["VESSL_WORKSPACE_ID", "VESSL_SERVICE_URL", "JUPYTERHUB_API_TOKEN"])
def test_outside_of_a_workspace_it_is_silent(service: FakeService, servers: dict[str, Notebook], missing: str) -> None:
    notebook = servers[missing].ready()
    for method, path in (
        ("GET", "vessl/api/status"),
        ("POST", "vessl/api/pause"),
        ("PUT", "vessl/api/ports/web"),
        ("DELETE", "vessl/api/ports/web"),
    ):
        assert notebook.ask(method, path, {} if method == "PUT" else None).status == 404
    if missing == "VESSL_WORKSPACE_ID":
        assert "vesslWorkspace" not in page_config(notebook)
    assert not service.asked
    assert "vessl" not in notebook.log.replace("jupyterhub_vessl_lab", "").replace("vessl/api/", "")


@pytest.fixture
def lab(servers: dict[str, Notebook]) -> Notebook:
    """JupyterLab in a workspace; the others listen by then, too."""
    for notebook in servers.values():
        notebook.ready()
    return servers[""]


def test_jupyterlab_s_page_names_the_workspace_and_no_token(lab: Notebook, service: FakeService) -> None:
    assert page_config(lab)["vesslWorkspace"] == WORKSPACE_ID
    assert HUB_TOKEN not in lab.ask("GET", "lab").body.decode()
    assert not service.asked, "nobody looks, nobody asks"


def test_browsers_keep_the_files_of_the_extension_and_ask_for_them_once(lab: Notebook) -> None:
    [own] = [each for each in page_config(lab)["federated_extensions"] if each["name"] == "jupyterhub-vessl-lab"]
    files = [own["load"], *(f"static/{file.name}" for file in (ASSETS / "static").glob("*.*.js"))]
    assert len(files) > 4
    for file in files:
        answer = lab.ask("GET", f"lab/extensions/jupyterhub-vessl-lab/{file}")
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable"), file
    page = lab.ask("GET", "lab")
    assert "immutable" not in (page.headers["Cache-Control"] or "")


SERVE = """
import subprocess, sys
app = subprocess.Popen([sys.executable, "-m", "http.server", "{port}", "--bind", "127.0.0.1"])
"""


def run(client: BlockingKernelClient, code: str) -> None:
    answer = client.execute_interactive(code, timeout=30, store_history=False)
    assert answer["content"]["status"] == "ok", answer


def test_a_web_app_of_a_kernel_is_found_and_the_kernel_s_own_ports_are_not(lab: Notebook, service: FakeService) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # the other servers of these tests are of the same workspace
    others = {p["port"] for p in lab.status(fresh=True)["ports"]}
    assert lab.port not in others

    def new_ports() -> list[Any]:
        return [p for p in lab.status(fresh=True)["ports"] if p["port"] not in others]

    kernel = lab.ask("POST", "api/kernels", {"name": "python3"}).json["id"]
    file = lab.log_file.parent / "runtime" / f"kernel-{kernel}.json"
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        run(client, "import debugpy; debugpy.listen(('127.0.0.1', 0))")  # as JupyterLab's debugger does
        run(client, SERVE.format(port=port))
        found: list[Any] = []
        for _ in range(100):
            found = new_ports()
            if port in {p["port"] for p in found}:
                break
            time.sleep(0.2)
        ours = next(p for p in found if p["port"] == port)
        assert (ours["listening"], ours["declared"], ours["url"]) == (True, False, f"/user/mia%20x/proxy/{port}/")
        assert ours["process"].startswith("python")
        assert [p["port"] for p in found] == [port], "neither the kernel's, nor the debugger's, nor Jupyter's own"
        run(client, "app.kill(); app.wait()")
    finally:
        client.stop_channels()
        lab.ask("DELETE", f"api/kernels/{kernel}")
    time.sleep(1.1)
    assert not new_ports()
