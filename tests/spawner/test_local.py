"""The life of a workspace on this machine: a real hub, real processes, and a stand-in for the service."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from hub_parts import TOKEN, StandInService, TestHub, eventually, make_plan
from jupyterhub_vessl_spawner import local
from jupyterhub_vessl_spawner.isolation import Isolation
from jupyterhub_vessl_spawner.local import VesslLocalSpawner
from jupyterhub_vessl_spawner.refusal import VesslSpawnRefused

from jupyterhub_vessl.model.catalog import ClusterKind
from jupyterhub_vessl.model.errors import NoCredits
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import Mount, MountKind


def outer(hub: TestHub) -> psutil.Process:
    """The process that the hub started for alice."""
    return psutil.Process(hub.spawner()._running.outer.pid)


def lives(process: psutil.Process) -> bool:
    """A zombie does not: it only waits for the machine's first process to take note of its end."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_refusal_reaches_the_person_through_rest_and_the_hub_lives_on(hub: TestHub, service: StandInService):
    service.refusal = NoCredits("Not started: Acme has USD -1.00 credits left, 100% used.", hint="Ask ada <top up>.")
    for _ in range(3):
        answer = await hub.start()
        assert answer.status_code == 402
        assert answer.json()["message"] == "Not started: Acme has USD -1.00 credits left, 100% used. Ask ada <top up>."
    assert service.calls == ["admit"] * 3
    assert hub.alice().settings["failure_count"] == 0
    service.refusal = None
    assert (await hub.start()).status_code == 201


async def test_ready_is_reported_before_the_start_is_over_and_the_end_after_the_stop(
    hub: TestHub, service: StandInService
):
    answer = await hub.start({"preset": "notebook"})
    assert answer.status_code == 201
    assert service.calls == ["admit", "ready"]
    asked = service.asked[0]
    assert (asked.user, asked.server_name, asked.options) == ("alice", "", {"preset": "notebook"})
    assert service.ready[0].isolation.endswith(".")
    assert service.tokens == {f"token {TOKEN}"}
    process = outer(hub)
    assert (await hub.stop()).status_code == 204
    assert not lives(process)
    assert [(id, report.reason) for id, report in service.ended] == [("admission-1", EndReason.USER)]


async def test_every_start_asks_with_a_new_key_and_the_groups_of_the_person(hub: TestHub, service: StandInService):
    await hub.request("groups", "a group of the hub's own", method="post")
    await hub.request("groups", "a group of the hub's own", "users", method="post", json={"users": ["alice"]})
    await hub.request("groups", "vessl:acme:vision:member", method="post")
    await hub.request("groups", "vessl:acme:vision:member", "users", method="post", json={"users": ["alice"]})
    for _ in range(2):
        assert (await hub.start()).status_code == 201
        assert (await hub.stop()).status_code == 204
    assert len({asked.key for asked in service.asked}) == 2
    assert service.asked[0].groups == ("vessl:acme:vision:member",)


async def test_the_environment_is_the_plans_and_never_holds_the_services_token(hub: TestHub, service: StandInService):
    service.plan = make_plan(environment={"GREETING": "hi there", "LANG": "de_DE.UTF-8"})
    assert (await hub.start({"environment": {"EVIL": "1"}})).status_code == 201
    async with aiohttp.ClientSession() as session, session.get(f"{hub.spawner().server.url}env") as response:
        environment = json.loads(await response.text())
    assert environment["GREETING"] == "hi there"
    assert environment["LANG"] == "de_DE.UTF-8"
    assert environment["HOME"] == environment["JUPYTERHUB_ROOT_DIR"]
    assert environment["VESSL_WORKSPACE_ID"] == "w1"
    assert environment["VESSL_SERVICE_URL"] == service.url
    assert "EVIL" not in environment
    assert TOKEN not in environment.values()
    assert environment["JUPYTERHUB_API_TOKEN"] not in " ".join(
        word for p in [outer(hub), *outer(hub).children(recursive=True)] for word in p.cmdline()
    )


@pytest.mark.bwrap
async def test_a_persons_variables_do_not_reach_programs_outside_of_the_workspace(
    hub: TestHub, service: StandInService, bubblewrap: Isolation
):
    service.plan = make_plan(environment={"GCONV_PATH": "/home/jovyan/evil"})
    await hub.start()
    assert set(outer(hub).environ()) == {"PATH", "LANG"}
    assert hub.spawner()._main_process().environ()["GCONV_PATH"] == "/home/jovyan/evil"


async def test_files_on_the_machine_are_closed_to_its_other_users(
    hub: TestHub, service: StandInService, tmp_path: Path
):
    (tmp_path / "data" / "volumes").mkdir(parents=True)
    await hub.start()
    for name in ("volumes", "volumes/workspace", "volumes/workspace/w1", "logs", "run", "temporary"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "logs" / "w1.log").stat().st_mode) == 0o600


async def test_a_plan_for_another_kind_of_cluster_is_refused(hub: TestHub, service: StandInService):
    service.plan = make_plan(cluster="big", cluster_kind=ClusterKind.SLURM)
    answer = await hub.start()
    assert answer.status_code == 400
    assert answer.json()["message"] == "Cluster big is not this machine. Ask an admin."


async def test_without_the_service_nothing_is_started_and_the_person_is_told(
    hub: TestHub, service: StandInService, tmp_path: Path
):
    await service.down()
    answer = await hub.start()
    assert answer.status_code == 503
    assert answer.json()["message"].startswith("The service that keeps credits does not answer")
    assert not (tmp_path / "data").exists()


async def test_a_workspace_that_cannot_be_reported_ready_is_stopped(hub: TestHub, service: StandInService):
    spawner = hub.app.users["alice"].get_spawner("")
    learn, seen = spawner._wait_until_it_answers, []

    async def then_lose_the_service(*arguments: Any) -> None:
        await learn(*arguments)
        seen.append(outer(hub))
        await service.down()

    spawner._wait_until_it_answers = then_lose_the_service
    answer = await hub.start()
    assert answer.status_code == 503
    assert not lives(seen[0])
    await service.up()
    await eventually(lambda: service.ended)
    assert [report.reason for _, report in service.ended] == [EndReason.FAILED]


async def test_a_process_that_is_killed_is_noticed_and_nothing_of_it_is_left(
    hub: TestHub, service: StandInService, tmp_path: Path
):
    await hub.start()
    process = outer(hub)
    family = [process, *process.children(recursive=True)]
    os.kill(process.pid, signal.SIGKILL)
    await eventually(lambda: not lives(process))
    await hub.spawner().poll_and_notify()
    await eventually(lambda: service.ended)
    assert [(r.reason, r.detail) for _, r in service.ended] == [(EndReason.EXITED, "ended by SIGKILL")]
    assert not [p for p in family if lives(p)]
    assert not os.listdir(tmp_path / "data" / "run")


async def test_an_end_during_an_outage_is_reported_later_with_the_time_since(hub: TestHub, service: StandInService):
    await hub.start()
    await service.down()
    loop = asyncio.get_running_loop()
    assert (await asyncio.wait_for(hub.stop(), 30)).status_code == 204
    stopped = loop.time()
    await asyncio.sleep(1)
    outage_ms = int((loop.time() - stopped) * 1000)
    await service.up()
    await eventually(lambda: service.ended)
    assert len(service.ended) == 1
    assert service.ended[0][1].reason is EndReason.USER
    assert service.ended[0][1].elapsed_ms >= outage_ms


async def test_a_restarted_hub_finds_the_living_process_and_its_end(hub: TestHub, service: StandInService):
    await hub.start()
    before = hub.spawner()
    state = json.loads(json.dumps(before.get_state()))
    assert "user_options" not in json.dumps(state)
    after = VesslLocalSpawner(
        user=before.user, hub=before.hub, orm_spawner=before.orm_spawner, config=hub.app.config, parent=None
    )
    after.load_state(state)
    assert await after.poll() is None
    os.kill(outer(hub).pid, signal.SIGKILL)
    await eventually(lambda: not lives(outer(hub)))
    assert await after.poll() == 0
    await eventually(lambda: service.ended)
    assert [(i, r.reason, r.detail) for i, r in service.ended] == [
        ("admission-1", EndReason.EXITED, "exit code unknown")
    ]


async def test_a_reused_process_id_is_not_taken_for_the_workspace(hub: TestHub, service: StandInService):
    await hub.start()
    state = hub.spawner().get_state()
    state["vessl_local"]["outer"] = {"pid": os.getpid(), "created": psutil.Process().create_time() - 5}
    state["vessl_local"]["inner"], state["vessl_local"]["groups"] = None, []
    other = VesslLocalSpawner(user=hub.alice(), hub=hub.app.hub, config=hub.app.config)
    other.load_state(state)
    assert await other.poll_plan() is not None
    assert psutil.Process().is_running()


async def test_garbage_in_the_state_counts_as_nothing(hub: TestHub):
    for garbage in ({}, {"vessl": 3, "vessl_local": "x"}, {"vessl": {"plan": {}}}, {"vessl_local": {"outer": None}}):
        spawner = VesslLocalSpawner(user=hub.alice(), hub=hub.app.hub, config=hub.app.config)
        spawner.load_state(garbage)
        assert await spawner.poll() == 0
        await spawner.stop()
        assert set(spawner.get_state()) == set()


async def test_a_process_that_a_crashed_hub_left_is_ended_before_the_next_start(hub: TestHub, service: StandInService):
    await hub.start()
    spawner = hub.spawner()
    left = outer(hub)
    spawner.stop_polling()
    spawner.clear_state()  # as if the hub had died before it saved the state
    spawner.server = None
    hub.app.db.commit()
    assert (await hub.start()).status_code == 201
    assert not lives(left)
    assert outer(hub).pid != left.pid


async def test_a_server_that_dies_at_once_is_refused_with_one_sentence_and_its_log(
    hub: TestHub, service: StandInService, caplog
):
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", "print('no such kernel'); raise SystemExit(3)"]
    with caplog.at_level(logging.WARNING):
        answer = await hub.start()
    assert answer.status_code == 500
    assert answer.json()["message"].startswith("The workspace did not start: it ended while starting (exit code 3).")
    assert "no such kernel" in caplog.text
    await eventually(lambda: service.ended)
    assert [report.reason for _, report in service.ended] == [EndReason.FAILED]
    assert "ready" not in service.calls
    assert hub.alice().settings["failure_count"] == 0


async def test_a_server_that_never_answers_is_given_up(hub: TestHub, service: StandInService):
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", "import time; time.sleep(600)"]
    hub.app.config.VesslLocalSpawner.ready_timeout_seconds = 1
    answer = await hub.start()
    assert "did not answer within 1 seconds" in answer.json()["message"]
    await eventually(lambda: service.ended)
    assert hub.spawner()._running is None


async def test_a_cancelled_start_is_undone_and_reported(hub: TestHub, service: StandInService):
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", "import time; time.sleep(600)"]
    starting = asyncio.ensure_future(hub.start())
    process = await eventually(lambda: hub.spawner()._running and outer(hub))
    assert (await hub.stop()).status_code in (202, 204)
    await starting
    await eventually(lambda: service.ended)
    assert [report.reason for _, report in service.ended] == [EndReason.FAILED]
    assert not lives(process)


async def test_the_page_that_waits_is_told_each_step(hub: TestHub, service: StandInService):
    service.slow_seconds = 0.3
    starting = asyncio.ensure_future(hub.start())
    spawner = await eventually(lambda: hub.app.users["alice"].spawners.get(""))
    steps = []
    async for event in spawner.progress():
        steps.append(event)
        if event["progress"] == 90:
            break
    assert (await starting).status_code == 201
    assert [s["message"] for s in steps] == [
        "Asking for admission",
        "Starting JupyterLab",
        "Waiting for it to answer",
        "It answers",
    ]


async def test_a_server_that_ignores_the_polite_signal_is_killed_after_the_grace(
    hub: TestHub, service: StandInService, folder_only: Isolation
):
    stubborn = "import signal, runpy; signal.signal(15, signal.SIG_IGN); "
    hub.app.config.VesslLocalSpawner.cmd = [
        sys.executable,
        "-c",
        stubborn + "runpy.run_module('jupyterhub.tests.mocksu', run_name='__main__')",
    ]
    service.plan = make_plan(stop_grace_seconds=1)
    assert (await hub.start()).status_code == 201
    process = outer(hub)
    assert (await hub.stop()).status_code == 204
    assert not lives(process)


async def test_the_polite_signal_reaches_the_server_itself(
    hub: TestHub, service: StandInService, folder_only: Isolation, tmp_path: Path
):
    polite = "import os, signal, runpy\ndef save(*_):\n    open('saved', 'w').close()\n    os._exit(0)\n"
    loop = "signal.signal(15, save)\nsignal.signal = lambda *_: None\n"
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", polite + loop + SERVE]
    assert (await hub.start()).status_code == 201
    assert (await hub.stop()).status_code == 204
    assert (tmp_path / "data/volumes/workspace/w1/saved").exists()


async def test_a_child_that_hides_from_its_parents_ends_with_the_workspace(
    hub: TestHub, service: StandInService, folder_only: Isolation, tmp_path: Path
):
    seconds = str(600 + os.getpid())
    hiding = (
        "import os, subprocess, sys, runpy\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import os, subprocess, sys\\n"
        f'subprocess.Popen(["sleep", "{seconds}"], start_new_session=True)\'])\n'
        "child.wait()\n"
        "runpy.run_module('jupyterhub.tests.mocksu', run_name='__main__')\n"
    )
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", hiding]
    await hub.start()
    hidden = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", seconds]]
    assert hidden
    await hub.stop()
    assert not [p for p in hidden if lives(p)]


ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        os.execve(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(float('SECONDS'))"], {})
    os._exit(0)
os.wait()
AFTER
"""
SERVE = "import runpy; runpy.run_module('jupyterhub.tests.mocksu', run_name='__main__')"


def escaping(seconds: int, after: str) -> list[str]:
    """A server that leaves a process without parent, session or environment behind, and then goes on."""
    return [sys.executable, "-c", ESCAPE.replace("SECONDS", str(seconds)).replace("AFTER", after)]


def escaped(seconds: int) -> list[psutil.Process]:
    mark = f"import time; time.sleep(float('{seconds}'))"
    return [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [""])[-1] == mark]


async def test_a_process_without_parent_session_or_environment_ends_with_the_workspace(
    hub: TestHub, service: StandInService, folder_only: Isolation
):
    seconds = 700_000 + os.getpid()
    hub.app.config.VesslLocalSpawner.cmd = escaping(seconds, SERVE)
    assert (await hub.start()).status_code == 201
    loose = await eventually(lambda: escaped(seconds))
    assert loose[0].environ() == {}
    assert (await hub.stop()).status_code == 204
    assert not [p for p in loose if lives(p)]


async def test_what_a_server_leaves_behind_when_it_exits_by_itself_ends_too(
    hub: TestHub, service: StandInService, folder_only: Isolation
):
    seconds = 800_000 + os.getpid()
    hub.app.config.VesslLocalSpawner.cmd = escaping(seconds, "raise SystemExit(7)")
    answer = await hub.start()
    assert "it ended while starting (exit code 7)" in answer.json()["message"]
    assert not [p for p in escaped(seconds) if lives(p)]


async def test_temporary_storage_ends_with_the_workspace_even_when_it_was_closed(
    hub: TestHub, service: StandInService, folder_only: Isolation, tmp_path: Path
):
    assert (await hub.start()).status_code == 201
    (tmp_path / "data/temporary/w1/closed").mkdir()
    (tmp_path / "data/temporary/w1/closed/file").touch()
    (tmp_path / "data/temporary/w1/closed").chmod(0o500)
    assert (await hub.stop()).status_code == 204
    assert not (tmp_path / "data/temporary/w1").exists()


@pytest.mark.bwrap
async def test_what_is_in_the_way_of_a_mount_is_told_to_the_person(
    hub: TestHub, service: StandInService, bubblewrap: Isolation, tmp_path: Path
):
    (tmp_path / "data/volumes/workspace/w1").mkdir(parents=True)
    (tmp_path / "data/volumes/workspace/w1/data").symlink_to("/etc")
    data = Mount(kind=MountKind.CLUSTER, volume="d", mount_path="/home/jovyan/data", size_bytes=1, organization="acme")
    service.plan = make_plan(mounts=(*make_plan().mounts, data))
    answer = await hub.start()
    assert answer.status_code == 400
    assert answer.json()["message"] == ("Your home has something else at data; remove it or choose another mount path.")


@pytest.mark.bwrap
async def test_no_process_of_a_workspace_is_root_on_the_machine(
    hub: TestHub, service: StandInService, bubblewrap: Isolation, as_root: None
):
    assert (await hub.start()).status_code == 201
    server = hub.spawner()._main_process()
    family = [server, *server.children(recursive=True)]
    assert {number for p in family for ids in (p.uids(), p.gids()) for number in ids} == {61000}


@pytest.mark.bwrap
async def test_killing_the_recorded_process_ends_the_whole_workspace(
    hub: TestHub, service: StandInService, bubblewrap: Isolation, tmp_path: Path
):
    assert (await hub.start()).status_code == 201
    recorded = json.loads((tmp_path / "data/run/w1.json").read_text())
    family = [outer(hub), *outer(hub).children(recursive=True)]
    assert len(family) >= 3
    psutil.Process(recorded["pid"]).kill()
    await eventually(lambda: not [p for p in family if lives(p)])


async def test_a_hub_that_dies_before_the_workspace_is_written_down_leaves_nothing(
    hub: TestHub, service: StandInService, tmp_path: Path, monkeypatch
):
    """The end of the pipe is what the death of a hub looks like to the process."""
    recorded, marker = tmp_path / "data/run/w1.json", tmp_path / "data/volumes/workspace/w1/ran"
    seen = []

    def die(child, environment: bytes) -> None:
        seen.append((json.loads(recorded.read_text())["pid"], marker.exists()))
        child.stdin.close()
        child.wait()

    monkeypatch.setattr(local, "_enter", die)
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", "open('ran', 'w').close()"]
    answer = await hub.start()
    assert "it ended while starting" in answer.json()["message"]
    assert len(seen) == 1
    assert not seen[0][1]
    assert not marker.exists()


KERNEL = """
import os, subprocess, sys
for folder in (os.path.expanduser("~"), "/scratch", "/tmp", "/dev/shm"):
    with open(folder + "/written", "w") as file: file.write("x")
print("done", os.getuid())
"""


@pytest.mark.bwrap
async def test_a_kernel_and_a_terminal_work_in_jupyterlab_itself(
    hub: TestHub, service: StandInService, bubblewrap: Isolation
):
    hub.app.config.VesslLocalSpawner.pop("cmd")
    assert (await hub.start()).status_code == 201
    url = hub.spawner().server.url
    token = hub.spawner()._main_process().environ()["JUPYTERHUB_API_TOKEN"]
    async with aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as session:
        async with session.post(f"{url}api/kernels", json={}) as response:
            kernel = (await response.json())["id"]
        async with session.ws_connect(f"{url}api/kernels/{kernel}/channels") as socket:
            header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
            content = {"code": KERNEL, "silent": False, "store_history": False, "user_expressions": {}}
            rest = {"parent_header": {}, "metadata": {}, "channel": "shell", "buffers": []}
            await socket.send_json({"header": header, "content": content, **rest})
            said = await asyncio.wait_for(until_idle(socket), 60)
        assert said == f"done {bubblewrap.account_id or 1000}\n"
        async with session.post(f"{url}api/terminals", json={}) as response:
            terminal = (await response.json())["name"]
        async with session.ws_connect(f"{url}terminals/websocket/{terminal}") as socket:
            await socket.send_json(
                ["stdin", "echo $((6 * 7)) $(id -un) $(tty) > /tmp/from-terminal; cat /tmp/from-*\r"]
            )
            async for message in socket:
                if "42 jovyan /dev/pts/" in message.data:
                    break


async def until_idle(socket: aiohttp.ClientWebSocketResponse) -> str:
    """What a kernel printed, until it has nothing more to do."""
    said = ""
    async for raw in socket:
        message = raw.json()
        if message.get("parent_header", {}).get("msg_id") != "1":
            continue
        if message["msg_type"] == "stream":
            said += message["content"]["text"]
        elif message["msg_type"] == "error":
            raise AssertionError(message["content"])
        elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    return said


async def test_volumes_without_bubblewrap_are_refused_rather_than_put_elsewhere(
    hub: TestHub, service: StandInService, folder_only: Isolation
):
    data = Mount(kind=MountKind.CLUSTER, volume="datasets", mount_path="/data", size_bytes=1, organization="acme")
    service.plan = make_plan(mounts=(*make_plan().mounts, data))
    answer = await hub.start()
    assert answer.status_code == 400
    assert "needs bubblewrap" in answer.json()["message"]
    await eventually(lambda: service.ended)


async def test_a_workspace_cannot_be_renamed(hub: TestHub):
    spawner = hub.alice().get_spawner("")
    with pytest.raises(VesslSpawnRefused) as refused:
        await spawner.rename("a", "b")
    assert refused.value.status_code == 400
    assert "keeps its name" in refused.value.jupyterhub_message


async def test_jupyterlab_itself_comes_up_and_asks_for_a_sign_in(hub: TestHub, service: StandInService):
    hub.app.config.VesslLocalSpawner.pop("cmd")
    assert (await hub.start()).status_code == 201
    server = hub.spawner().server
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}lab", allow_redirects=False) as response:
        assert response.status == 302
        assert "/hub/api/oauth2/authorize" in response.headers["Location"]
    assert (await hub.stop()).status_code == 204
