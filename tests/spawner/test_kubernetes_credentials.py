"""How the hub signs in to clusters: credentials that do not work, that change, and plug-ins that hang."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from aiohttp import web
from certipy import Certipy
from hub_parts import eventually
from jupyterhub_vessl_spawner import kubernetes_clusters, kubernetes_credentials
from jupyterhub_vessl_spawner.kubernetes_clusters import Address, ApiRefusal, Cluster, Pace
from jupyterhub_vessl_spawner.kubernetes_credentials import Access, NoAccess
from kubernetes_parts import StandIn
from kubernetes_parts.fixtures import kubernetes_api  # noqa: F401


def cluster_with(folder: Path, user: dict[str, Any], cluster: dict[str, Any]) -> Cluster:
    """A cluster whose kubeconfig has these."""
    file = folder / "kubeconfig"
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": cluster}],
        "users": [{"name": "one", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
    }
    file.write_text(yaml.safe_dump(whole))
    pace = Pace(request_seconds=1, patience_seconds=0, watch_seconds=5, retry_seconds_max=1)
    return Cluster(Address("one", "default"), Access(kubeconfig=str(file)), pace, logging.getLogger("test"))


@pytest.mark.parametrize("of_file", [True, False])
async def test_a_token_with_a_newline_at_its_end_is_a_token(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    of_file: bool,
):
    (tmp_path / "token").write_text("t0ken\n")
    user = {"tokenFile": str(tmp_path / "token")} if of_file else {"token": "t0ken\n"}
    cluster = cluster_with(tmp_path, user, {"server": kubernetes_api.url})
    assert (await cluster.ask("list_namespaced_pod", "default"))["items"] == []
    await cluster.close()


HTTPS = {"server": "https://127.0.0.1:1"}
PLUG_IN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["3"]}


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"token": "in\nside"}, {}),
        ({"token": "t0ken"}, {**HTTPS, "certificate-authority-data": base64.b64encode(b"garbage").decode()}),
        ({"token": "t0ken"}, {**HTTPS, "certificate-authority": "/no/such/file"}),
        ({"client-certificate-data": base64.b64encode(b"garbage").decode()}, HTTPS),
        ({"exec": PLUG_IN}, HTTPS),
    ],
    ids=["token", "authority", "no authority", "certificate", "plug-in that hangs"],
)
async def test_credentials_that_cannot_be_used_give_no_access_to_anybody_who_waits(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    user: dict[str, Any],
    cluster: dict[str, Any],
):
    monkeypatch.setattr(kubernetes_credentials, "CREDENTIALS_SECONDS", 0.4)
    broken = cluster_with(tmp_path, user, {"server": kubernetes_api.url, **cluster})
    asked = [broken.ask("list_namespaced_pod", "default") for _ in range(20)]
    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
    assert {type(answer) for answer in answers} == {NoAccess}
    await broken.close()


# -- plug-ins -----------------------------------------------------------------

LEAVES_A_CHILD = """
sleep 100 & echo $! > child
echo $$ > plug-in
{then}
"""


def plug_in(folder: Path, script: str) -> dict[str, Any]:
    """A user whose credentials come from a shell script that runs in ``folder``."""
    words = ["sh", "-c", f"cd '{folder}'\n{script}"]
    return {"exec": {**PLUG_IN, "command": words[0], "args": words[1:], "env": [{"name": "MORE", "value": "ok"}]}}


def is_over(file: Path) -> bool:
    """Whether the process whose number a file holds has ended."""
    try:
        return psutil.Process(int(file.read_text())).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("then", ["wait", "exit 1"], ids=["hangs", "fails"])
async def test_nothing_of_a_plug_in_outlives_its_time(
    kubernetes_api: StandIn,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    then: str,
):
    monkeypatch.setattr(kubernetes_credentials, "CREDENTIALS_SECONDS", 0.5)
    script = LEAVES_A_CHILD.format(then=then)
    broken = cluster_with(tmp_path, plug_in(tmp_path, script), {"server": kubernetes_api.url})
    with pytest.raises(NoAccess):
        await broken.ask("list_namespaced_pod", "default")
    await eventually(lambda: is_over(tmp_path / "plug-in") and is_over(tmp_path / "child"))
    await broken.close()


async def test_a_plug_in_is_asked_again_when_what_it_gave_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kubernetes_clusters, "SIGN_IN_PAUSE_SECONDS", 0)
    credential = {"apiVersion": PLUG_IN["apiVersion"], "kind": "ExecCredential", "status": {"token": "old"}}
    (tmp_path / "credential").write_text(json.dumps(credential))
    user = plug_in(tmp_path, 'echo "$KUBERNETES_EXEC_INFO" > "$MORE"; cat credential')
    async with StandIn(folder=tmp_path / "closed", tokens={"new": None}) as api:
        cluster = cluster_with(tmp_path, user, {"server": api.url})
        with pytest.raises(ApiRefusal):
            await cluster.ask("list_namespaced_pod", "default")
        (tmp_path / "credential").write_text(json.dumps({**credential, "status": {"token": "new"}}))
        assert (await cluster.ask("list_namespaced_pod", "default"))["items"] == []
        await cluster.close()
    asked = json.loads((tmp_path / "ok").read_text())
    assert (asked["apiVersion"], asked["kind"]) == (PLUG_IN["apiVersion"], "ExecCredential")


@pytest.mark.parametrize(
    "answer",
    [
        "{}",
        "no json",
        '{"apiVersion": "v0", "status": {"token": "t0ken"}}',
        '{"apiVersion": "client.authentication.k8s.io/v1", "status": {}}',
    ],
)
async def test_a_plug_in_that_answers_nonsense_gives_no_access(tmp_path: Path, answer: str):
    broken = cluster_with(tmp_path, plug_in(tmp_path, f"echo '{answer}'"), HTTPS)
    with pytest.raises(NoAccess):
        await broken.ask("list_namespaced_pod", "default")


# -- certificates -------------------------------------------------------------


class Authority:
    """Signs the certificate of a server at loopback."""

    def __init__(self, folder: Path) -> None:
        store = Certipy(store_dir=str(folder))
        self.certificate = Path(store.create_ca("ca")["files"]["cert"]).read_text()
        signed = store.create_signed_pair("api", "ca", alt_names=["IP:127.0.0.1"])["files"]
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(signed["cert"], signed["key"])


@asynccontextmanager
async def serving(authority: Authority, port: int = 0) -> AsyncIterator[int]:
    """An API over TLS that has no pods; yields its port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=authority.context, reuse_address=True).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_another_authority_is_trusted_as_soon_as_the_hub_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kubernetes_clusters, "SIGN_IN_PAUSE_SECONDS", 0)
    old, new, file = Authority(tmp_path / "old"), Authority(tmp_path / "new"), tmp_path / "ca.crt"
    file.write_text(old.certificate)
    async with serving(old) as port:
        server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(file)}
        cluster = cluster_with(tmp_path, {"token": "t0ken"}, server)
        assert (await cluster.ask("list_namespaced_pod", "default"))["items"] == []
    async with serving(new, port):
        with pytest.raises(ApiRefusal) as refused:  # nobody has told us
            await cluster.ask("list_namespaced_pod", "default")
        assert refused.value.status == 0
        file.write_text(new.certificate)
        assert (await cluster.ask("list_namespaced_pod", "default"))["items"] == []
        cluster.pods.start()
        assert await cluster.pods.first_list(10)
    await cluster.close()
