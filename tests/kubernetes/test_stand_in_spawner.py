"""Stock KubeSpawner against the stand-in, with hollow pods and with real processes, and the stand-in elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import kube_config
from kubernetes_parts import Refused, StandIn, running_in_thread, running_program, write_kubeconfig
from kubespawner import KubeSpawner, clients
from traitlets.config import Config

SERVER = [sys.executable, "-m", "http.server", "--bind", "0.0.0.0", "8888"]


@pytest.fixture
async def spawner_of(monkeypatch, tmp_path):
    """Makes stock spawners of a stand-in's URL; afterwards nothing of them is left in the process."""
    before = Configuration._default

    def make(url, **settings):
        file = write_kubeconfig(tmp_path / "config", {"here": url})
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        clients.load_config.cache_clear()
        defaults = {"image": "lab:1", "cmd": ["server"], "start_timeout": 10}
        config = Config(KubeSpawner={**defaults, **settings})
        hub = SimpleNamespace(public_host="", url="http://hub", base_url="/hub/", api_url="http://hub/api")
        user = SimpleNamespace(name="alice", id=1, url="/user/alice/", escaped_name="alice")
        spawner = KubeSpawner(_mock=True, hub=hub, user=user, config=config, api_token="t", events_enabled=True)
        spawner.get_env = lambda: {"JUPYTERHUB_SERVICE_URL": "http://0.0.0.0:8888/user/alice/"}
        return spawner

    yield make
    await KubeSpawner._stop_all_reflectors()
    for task in asyncio.all_tasks():
        if "close_client_task" in repr(task):
            task.cancel()
    await asyncio.sleep(0)
    clients.load_config.cache_clear()
    Configuration._default = before


def storage(name="home"):
    volume = {"name": name, "persistentVolumeClaim": {"claimName": "claim-alice"}}
    return {
        "storage_pvc_ensure": True,
        "pvc_name_template": "claim-alice",
        "storage_capacity": "1Gi",
        "volumes": [volume],
    }


async def test_stock_kubespawner_starts_polls_and_stops_a_hollow_pod(kubernetes_api, spawner_of):
    spawner = spawner_of(kubernetes_api.url, **storage())
    url = await spawner.start()
    pod = kubernetes_api.object("pods", "default", spawner.pod_name)
    assert url == f"http://{pod['status']['podIP']}:8888"
    assert await spawner.poll() is None
    assert kubernetes_api.object("persistentvolumeclaims", "default", "claim-alice")["status"]["phase"] == "Bound"
    assert spawner.events[0]["reason"] == "Scheduled"
    kubernetes_api.oom_kill("default", spawner.pod_name)
    await kubernetes_api.wait_for("pods", "default", spawner.pod_name, "status.containerStatuses.0.ready", True)
    assert await spawner.poll() is None, "restarted in place"
    await spawner.stop()
    assert await spawner.poll() == 1
    assert kubernetes_api.object("pods", "default", spawner.pod_name) is None


async def test_stock_kubespawner_fails_at_a_quota_with_the_servers_words(kubernetes_api, spawner_of):
    kubernetes_api.set_quota("default", {"pods": "0"})
    spawner = spawner_of(kubernetes_api.url)
    with pytest.raises(Exception, match="exceeded quota: quota, requested: pods=1, used: pods=0, limited: pods=0"):
        await spawner.start()


@pytest.mark.bwrap
async def test_stock_kubespawner_runs_a_real_process_with_its_volume(tmp_path, spawner_of):
    mounts = [{"name": "home", "mountPath": "/home/jovyan"}]
    async with StandIn(processes=True, folder=tmp_path / "kubernetes") as api:
        spawner = spawner_of(api.url, cmd=SERVER, volume_mounts=mounts, delete_grace_period=1, **storage())
        spawner.get_args = list
        url = await spawner.start()
        (api.claim_folder("default", "claim-alice") / "hello.txt").write_text("from the volume")
        async with aiohttp.ClientSession() as session:
            text = await _read(session, f"{url}/hello.txt")
        assert text == "from the volume"
        log = await spawner.api.read_namespaced_pod_log(spawner.pod_name, "default", tail_lines=1)
        assert "GET /hello.txt" in log
        # the manifest says what the spawner said; only the process was told its own address
        pod = api.object("pods", "default", spawner.pod_name)
        assert pod["spec"]["containers"][0]["args"] == SERVER
        await spawner.stop()
        assert (api.claim_folder("default", "claim-alice") / "hello.txt").exists()


async def _read(session, url):
    for _ in range(100):
        try:
            async with session.get(url) as response:
                return await response.text()
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.05)
    raise AssertionError(f"nobody listens at {url}")


def shell(name, script, container=None, **spec):
    first = {"name": "notebook", "image": "lab:1", "command": ["sh", "-c", script], **(container or {})}
    spec = {"restartPolicy": "Never", "containers": [first], **spec}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


@pytest.mark.bwrap
def test_processes_end_restart_and_see_only_what_the_pod_says(tmp_path):
    os.environ["OF_THE_TEST"] = "secret"
    try:
        with running_in_thread(processes=True, folder=tmp_path) as api:
            source = {"fieldRef": {"fieldPath": "status.podIP"}}
            env = [{"name": "A", "value": "a b"}, {"name": "B", "value": "$(A)!"}, {"name": "IP", "valueFrom": source}]
            volume = {"name": "etc", "emptyDir": {}}
            mount = {"name": "etc", "mountPath": "/etc/own", "readOnly": True}
            script = 'echo "$B" "$OF_THE_TEST" $(id -u) $(hostname); touch /etc/own/x || exit 7'
            api.create(shell("x", script, volumes=[volume], container={"env": env, "volumeMounts": [mount]}))
            ended = api.wait_for("pods", "default", "x", "status.phase", "Failed")
            assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
            assert api.pod_log("default", "x").startswith("a b!  1000 x\n")

            api.create(shell("y", "sleep 1000", restartPolicy="OnFailure"))
            api.wait_for("pods", "default", "y", "status.phase", "Running")
            api.oom_kill("default", "y")
            again = api.wait_for("pods", "default", "y", "status.containerStatuses.0.restartCount", 1)
            assert again["status"]["containerStatuses"][0]["lastState"]["terminated"]["reason"] == "OOMKilled"
            api.create(shell("z", "", {"command": ["no-such"]}))
            path = "status.containerStatuses.0.state.waiting.reason"
            api.wait_for("pods", "default", "z", path, "RunContainerError")
    finally:
        del os.environ["OF_THE_TEST"]
    assert not _processes_with(str(tmp_path)), "no process outlives the stand-in"


@pytest.mark.bwrap
async def test_a_node_port_leads_to_the_pod(tmp_path):
    async with StandIn(processes=True, folder=tmp_path) as api, aiohttp.ClientSession() as session:
        pod = shell("x", f"exec {' '.join(SERVER)}")
        pod["metadata"]["labels"] = {"app": "x"}
        api.create(pod)
        spec = {"type": "NodePort", "selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": 8888}]}
        service = api.create({"kind": "Service", "metadata": {"name": "x"}, "spec": spec})["spec"]
        await api.wait_for("pods", "default", "x", "status.phase", "Running")
        for place in (f"127.0.0.1:{service['ports'][0]['nodePort']}", f"{service['clusterIP']}:80"):
            assert "Directory listing" in await _read_when_forwarded(session, f"http://{place}/")


async def _read_when_forwarded(session, url):
    for _ in range(100):
        try:
            return await _read(session, url)
        except aiohttp.ClientError:  # the proxy listens before the pod does
            await asyncio.sleep(0.05)
    raise AssertionError(f"nobody answers at {url}")


@pytest.mark.bwrap
def test_the_program_has_the_same_methods_and_leaves_no_process(tmp_path):
    with running_program(tmp_path, processes=True, context="east", schemas="1.37") as api:
        assert "current-context: east" in Path(api.kubeconfig).read_text()
        with urllib.request.urlopen(f"{api.url}/version") as response:
            assert b"gitVersion" in response.read()
        api.create(shell("x", "sleep 1000"))
        api.wait_for("pods", "default", "x", path="status.phase", value="Running")
        with pytest.raises(Refused, match="already exists"):
            api.create(shell("x", ""))
        api.go_down()
        with pytest.raises(OSError, match="refused"):
            urllib.request.urlopen(f"{api.url}/version")
        api.come_back()
        urllib.request.urlopen(f"{api.url}/api/v1/nodes").close()
        assert api.until(lambda: api.requests) == {("list", "nodes"): 1}
        assert api.folder == tmp_path
    assert not _processes_with(str(tmp_path))


def _processes_with(text):
    """Command lines of processes that name a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line and "bwrap" in line:
            found.append(line)
    return found
