"""Which level of isolation a machine reaches, and whether it says so honestly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest
from hub_parts import MIB, StandInService, TestHub, eventually, make_plan, need
from jupyterhub_vessl_spawner import isolation as isolation_module
from jupyterhub_vessl_spawner.control_groups import (
    candidates,
    create_groups,
    group_members,
    joining,
    ran_out_of_memory,
    remove_groups,
)
from jupyterhub_vessl_spawner.isolation import Isolation, find_isolation, isolation

from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import PlannedSpec

V1_MOUNTS = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
"""
V2_MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\nproc /proc proc rw 0 0\n"


def test_own_groups_come_before_the_root_of_each_hierarchy():
    own = "5:pids:/hub\n4:memory:/hub\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/\n"
    assert candidates(V1_MOUNTS, own) == [
        (
            "/sys/fs/cgroup/memory/hub/jupyterhub-vessl",
            "/sys/fs/cgroup/cpu,cpuacct/jupyterhub-vessl",
            "/sys/fs/cgroup/pids/hub/jupyterhub-vessl",
        ),
        (
            "/sys/fs/cgroup/memory/jupyterhub-vessl",
            "/sys/fs/cgroup/cpu,cpuacct/jupyterhub-vessl",
            "/sys/fs/cgroup/pids/jupyterhub-vessl",
        ),
    ]


def test_the_unified_hierarchy_is_one_group():
    assert candidates(V2_MOUNTS, "0::/user.slice/hub.service\n") == [
        ("/sys/fs/cgroup/user.slice/hub.service/jupyterhub-vessl",),
        ("/sys/fs/cgroup/jupyterhub-vessl",),
    ]
    assert candidates("", "") == []


@pytest.mark.parametrize(
    ("level", "sentence"),
    [
        (
            Isolation("bubblewrap", "cgroup1", sized_tmpfs=True),
            "Own file system (bubblewrap), memory and CPU limited by cgroups.",
        ),
        (
            Isolation("folder", "rlimit", why_folder="bubblewrap is not installed"),
            "Own home folder only: bubblewrap is not installed; limits by rlimit cover one process at a time. "
            "Programs run under the hub's own account and can read what it can read.",
        ),
        (
            Isolation("bubblewrap", "none"),
            "Own file system (bubblewrap), memory and CPU are not limited. Temporary storage has no limit of its own.",
        ),
        (
            Isolation("bubblewrap", "cgroup1", sized_tmpfs=True, account_id=61000),
            "Own file system (bubblewrap), memory and CPU limited by cgroups.",
        ),
        (
            Isolation("bubblewrap", "cgroup1", sized_tmpfs=True, why_root="setpriv is not installed"),
            "Own file system (bubblewrap), memory and CPU limited by cgroups. "
            "To the kernel, programs are this machine's root: setpriv is not installed.",
        ),
        (
            Isolation("folder", "none", why_folder="bubblewrap is not allowed here", account_id=61000),
            "Own home folder only: bubblewrap is not allowed here; memory and CPU are not limited. "
            "Programs of all workspaces run under one account, which is not the hub's: "
            "they can read each other's files and what every account may read.",
        ),
        (
            Isolation("folder", "none", why_folder="bubblewrap is not installed", why_root="setpriv is not installed"),
            "Own home folder only: bubblewrap is not installed; memory and CPU are not limited. "
            "Programs run as root and can read and change everything on this machine: setpriv is not installed.",
        ),
    ],
)
def test_the_sentence_says_what_is_separated_and_what_is_not(level, sentence):
    assert level.sentence() == sentence


def test_without_the_programs_the_level_is_a_folder_without_limits(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(isolation_module, "candidates", lambda mounts, own: [])
    why_root = "setpriv is not installed" if os.geteuid() == 0 else ""
    expected = Isolation("folder", "none", why_folder="bubblewrap is not installed", why_root=why_root)
    assert find_isolation() == expected


def broken(monkeypatch, tmp_path, name: str) -> None:
    """Put a program of this name that always fails before the real one."""
    program = tmp_path / name
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_a_bubblewrap_that_is_not_allowed_does_not_count(monkeypatch, tmp_path):
    broken(monkeypatch, tmp_path, "bwrap")
    found = find_isolation()
    assert (found.files, found.why_folder) == ("folder", "bubblewrap is not allowed here")


@pytest.mark.bwrap
def test_a_hub_that_is_root_gives_workspaces_another_account(as_root, bubblewrap):
    assert (bubblewrap.account_id, bubblewrap.why_root) == (61000, "")
    assert find_isolation(61001).account_id == 61001


@pytest.mark.bwrap
def test_a_python_that_the_account_cannot_read_does_not_count(as_root, bubblewrap, monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    program.parent.chmod(0o755)
    looked = isolation_module.look_at_machine
    monkeypatch.setattr(
        isolation_module,
        "look_at_machine",
        lambda *, data_dir, readable: replace(looked(data_dir=data_dir, readable=[str(tmp_path)]), python=str(program)),
    )
    found = find_isolation()
    assert (found.files, found.account_id) == ("bubblewrap", None)
    assert found.why_root == "account 61000 cannot be used here"


def test_without_bubblewrap_the_account_must_reach_python_and_the_volumes(as_root, monkeypatch, tmp_path):
    """Proven with the system's own Python, which every account may read."""
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("the system has no Python of its own")
    broken(monkeypatch, tmp_path, "bwrap")
    looked = isolation_module.look_at_machine
    monkeypatch.setattr(
        isolation_module,
        "look_at_machine",
        lambda *, data_dir, readable: replace(looked(data_dir=data_dir, readable=readable), python="/usr/bin/python3"),
    )
    (tmp_path / "closed").mkdir(mode=0o700)
    closed = find_isolation(data_dir=str(tmp_path / "closed" / "data"))
    assert (closed.files, closed.account_id) == ("folder", None)
    assert "Programs run as root" in closed.sentence()
    reached = find_isolation(data_dir="/var/vessl-data-that-nobody-made")
    assert (reached.files, reached.account_id, reached.why_root) == ("folder", 61000, "")


async def test_many_starts_at_once_try_the_machine_once_and_log_it(monkeypatch, caplog):
    tries = []
    log = logging.getLogger("test")
    caplog.set_level(logging.INFO)
    level = Isolation("folder", "none", why_folder="it is a test")
    monkeypatch.setattr(isolation_module, "_found", None)
    monkeypatch.setattr(isolation_module, "find_isolation", lambda account_id, data_dir: tries.append(1) or level)
    assert set(await asyncio.gather(*(isolation(log) for _ in range(8)))) == {level}
    assert len(tries) == 1
    assert caplog.text.count("Own home folder only: it is a test") == 1


@pytest.fixture
def groups(level: Isolation):
    """Control groups of 64 MiB and half a CPU."""
    need(level, bool(level.groups), "control groups cannot be written here")
    made = create_groups(level.groups, f"test-{os.getpid()}", memory_bytes=64 * MIB, cpu_millis=500)
    yield made
    remove_groups(made)
    assert not any(os.path.exists(group) for group in made)


def run_in(groups: tuple[str, ...], code: str) -> subprocess.Popen[bytes]:
    with joining(groups) as join:
        return subprocess.Popen([sys.executable, "-S", "-c", code], preexec_fn=join)


def test_memory_beyond_the_spec_is_killed(groups):
    assert not ran_out_of_memory(groups)
    child = run_in(groups, "hoard = [bytearray(1 << 20) for _ in range(1000)]")
    assert child.wait() == -signal.SIGKILL
    assert ran_out_of_memory(groups)


def test_memory_within_the_spec_is_not(groups):
    assert run_in(groups, "hoard = [bytearray(1 << 20) for _ in range(16)]").wait() == 0
    assert not ran_out_of_memory(groups)


def test_a_group_knows_its_members(groups):
    child = run_in(groups, "import time; time.sleep(600)")
    assert group_members(groups) == {child.pid}
    child.kill()
    child.wait()
    assert group_members(groups) == set()


async def test_a_server_out_of_memory_ends_with_that_reason(level: Isolation, hub: TestHub, service: StandInService):
    need(level, bool(level.groups), "control groups cannot be written here")
    hoarder = (
        "import runpy, signal\n"
        "signal.signal(signal.SIGUSR1, lambda *_: [bytearray(1 << 20) for _ in range(4000)])\n"
        "runpy.run_module('jupyterhub.tests.mocksu', run_name='__main__')\n"
    )
    hub.app.config.VesslLocalSpawner.cmd = [sys.executable, "-c", hoarder]
    small = PlannedSpec(name="s", title="S", cpu_millis=1000, memory_bytes=256 * MIB, temporary_bytes=MIB)
    service.plan = make_plan(spec=small)
    assert (await hub.start()).status_code == 201
    spawner = hub.spawner()
    process = psutil.Process(spawner._running.outer.pid)
    spawner._main_process().send_signal(signal.SIGUSR1)
    await eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    await spawner.poll_and_notify()
    await eventually(lambda: service.ended)
    assert [report.reason for _, report in service.ended] == [EndReason.OUT_OF_MEMORY]


def test_what_a_checkout_links_into_the_environment_can_be_read_in_a_workspace(tmp_path, monkeypatch):
    checkout, prefix = tmp_path / "checkout", tmp_path / "venv"
    for folder in (checkout / "assets", prefix / "share/jupyter/labextensions", prefix / "etc/jupyter/x.d"):
        folder.mkdir(parents=True)
    (checkout / "ours.json").write_text("{}")
    (prefix / "share/jupyter/labextensions/ours").symlink_to(checkout / "assets")
    (prefix / "etc/jupyter/x.d/ours.json").symlink_to(checkout / "ours.json")
    (prefix / "etc/jupyter/x.d/theirs.json").write_text("{}")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    readable = isolation_module.look_at_machine(data_dir=str(tmp_path / "data"), readable=[]).readable
    assert {str(checkout / "assets"), str(checkout / "ours.json")} <= set(readable)
    assert str(checkout) not in readable, "nothing beside what is needed"
    assert not any(folder.startswith(f"{prefix}/") for folder in readable)
