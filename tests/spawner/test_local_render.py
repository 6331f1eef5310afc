"""The command of a plan: what is in it, what never is, and what it really does under bubblewrap."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hub_parts import MIB, make_plan, need
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyterhub_vessl_spawner.isolation import Isolation, look_at_machine
from jupyterhub_vessl_spawner.local_render import Command, Machine, limit_prefix, outermost, render, some_cpus

from jupyterhub_vessl.model.errors import BadInput, PublicError, Unavailable
from jupyterhub_vessl.model.local_layout import mount_folder
from jupyterhub_vessl.model.paths import check_mount_path
from jupyterhub_vessl.model.plan import Mount, MountKind, WorkspacePlan

MACHINE = Machine(
    data_dir="/srv/vessl", readable=("/opt/python",), etc=("/etc/hosts",), root_links=(("bin", "usr/bin"),)
)
BUBBLEWRAP = Isolation("bubblewrap", "none", sized_tmpfs=True)
FOLDER = Isolation("folder", "none", why_folder="bubblewrap is not installed")
SERVER = ["/opt/python/bin/python", "-m", "jupyterhub.singleuser"]


def cluster_volume(path: str, name: str = "datasets", **changes) -> Mount:
    fields = {"kind": MountKind.CLUSTER, "volume": name, "mount_path": path, "size_bytes": MIB, "organization": "acme"}
    return Mount(**{**fields, **changes})


def with_mounts(*more: Mount, **changes) -> WorkspacePlan:
    return make_plan(mounts=(*make_plan().mounts, *more), **changes)


def draw(plan: WorkspacePlan, machine: Machine = MACHINE, isolation: Isolation = BUBBLEWRAP) -> Command:
    return render(plan, machine=machine, isolation=isolation, server=SERVER)


def destinations(argv: tuple[str, ...]) -> list[tuple[str, str]]:
    """(flag, place inside) of everything that appears in the workspace's file system."""
    found, words = [], argv[: argv.index("--")]
    for index, word in enumerate(words):
        if word in ("--bind", "--ro-bind"):
            found.append((word, words[index + 2]))
        elif word in ("--tmpfs", "--proc", "--dev"):
            found.append((word, words[index + 1]))
    return found


paths = st.from_regex(r"\A(/[a-z_][a-z0-9._-]{0,6}){1,3}\Z").filter(lambda p: _is_mount_path(p))
# a mark that no flag of bubblewrap has, so that finding it anywhere is finding the text itself
plain = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=40).map("✂{}✂".format)


def _is_mount_path(path: str) -> bool:
    try:
        return check_mount_path(path) == path and not path.startswith(("/opt", "/srv", "/home", "/scratch"))
    except ValueError:
        return False


@settings(max_examples=200, deadline=None)
@given(wanted=st.sets(paths, max_size=5), title=plain, value=plain, sized=st.booleans(), read_only=st.booleans())
def test_a_command_holds_each_mount_once_and_no_text_of_a_person(wanted, title, value, sized, read_only):
    volumes = [cluster_volume(path, f"v{i}", read_only=read_only) for i, path in enumerate(sorted(wanted))]
    plan = with_mounts(*volumes, title=title, user=title, environment={"SECRET": value})
    command = draw(plan, isolation=replace(BUBBLEWRAP, sized_tmpfs=sized))
    places = [place for _, place in destinations(command.argv)]
    assert all(places.count(mount.mount_path) == 1 for mount in plan.mounts)
    assert not any(".." in Path(word).parts for word in command.argv)
    assert not any(title in word or value in word for word in command.argv)
    assert command.argv[-len(SERVER) :] == tuple(SERVER)
    folder = Path("/srv/vessl")
    for mount in volumes:
        flag = "--ro-bind" if read_only else "--bind"
        source = str(folder / mount_folder(mount, "laptop", "w1"))
        at = command.argv.index(source)
        assert command.argv[at - 1 : at + 2] == (flag, source, mount.mount_path)


def test_a_volume_inside_the_home_is_mounted_after_it():
    command = draw(with_mounts(cluster_volume("/home/jovyan/data")))
    places = [place for _, place in destinations(command.argv)]
    assert places.index("/home/jovyan") < places.index("/home/jovyan/data")


def test_only_a_plan_with_a_gpu_gets_the_machines_gpus():
    machine = replace(MACHINE, gpu_devices=("/dev/nvidia0", "/dev/nvidiactl"))
    plan = make_plan()
    assert "--dev-bind" not in draw(plan, machine=machine).argv
    spec = plan.spec.model_copy(update={"gpu_type": "H100", "gpu_count": 1})
    argv = " ".join(draw(plan.model_copy(update={"spec": spec}), machine=machine).argv)
    assert "--dev-bind /dev/nvidia0 /dev/nvidia0 --dev-bind /dev/nvidiactl /dev/nvidiactl" in argv


def test_workspaces_outlive_the_hub():
    assert "--die-with-parent" not in draw(make_plan()).argv


@pytest.mark.parametrize("path", ["/opt", "/opt/python", "/opt/python/lib/x"])
def test_a_mount_over_the_machines_programs_is_refused(path):
    with pytest.raises(BadInput, match="choose another mount path") as refused:
        draw(with_mounts(cluster_volume(path)))
    assert refused.value.field == "storage"


def test_a_data_folder_that_everybody_could_read_starts_nothing():
    with pytest.raises(Unavailable, match="all of them can read"):
        draw(make_plan(), replace(MACHINE, data_dir="/opt/python/data"))


@pytest.mark.parametrize("hostile", ["../../etc", "a/b", "", "-x", "a b"])
def test_a_workspace_id_that_is_no_name_is_refused(hostile):
    with pytest.raises(PublicError):
        draw(make_plan(workspace_id=hostile))


def test_without_bubblewrap_the_home_is_the_volume_and_shared_volumes_are_refused():
    command = draw(make_plan(), isolation=FOLDER)
    assert command.argv == tuple(SERVER)
    assert command.cwd == command.home == command.environment["HOME"] == "/srv/vessl/volumes/workspace/w1"
    assert command.environment["TMPDIR"] == command.temporary
    with pytest.raises(BadInput, match="needs bubblewrap"):
        draw(with_mounts(cluster_volume("/data")), isolation=FOLDER)


def test_temporary_storage_is_a_wiped_folder_where_a_tmpfs_cannot_have_a_size():
    command = draw(make_plan(), isolation=replace(BUBBLEWRAP, sized_tmpfs=False))
    assert ("--bind", "/scratch") in destinations(command.argv)
    assert command.temporary in command.argv
    assert "--size" not in command.argv


def test_limits_stand_before_the_command():
    spec = make_plan().spec
    assert limit_prefix(FOLDER, spec, "w1", (0,)) == []
    rlimit = limit_prefix(replace(FOLDER, limits="rlimit"), spec, "w1", (3,))
    assert rlimit == ["prlimit", f"--data={512 * MIB}", "taskset", "--cpu-list", "3"]
    systemd = limit_prefix(replace(FOLDER, limits="systemd"), spec, "w1", (0,))
    assert systemd[0] == "systemd-run"
    assert systemd[-1] == "--"
    assert {f"MemoryMax={512 * MIB}", "CPUQuota=100%", "--unit=vessl-w1"} <= set(systemd)


@given(cpus=st.sets(st.integers(0, 64), min_size=1), millis=st.integers(1, 100_000), name=st.text(min_size=1))
def test_a_workspace_gets_the_cpus_of_its_spec_as_far_as_there_are_so_many(cpus, millis, name):
    chosen = some_cpus(name, sorted(cpus), millis)
    assert len(set(chosen)) == len(chosen) == min(len(cpus), -(-millis // 1000))
    assert set(chosen) <= cpus


def test_a_folder_is_shown_once_however_often_it_is_named():
    assert outermost(["/opt/a/b", "/opt/a", "/usr/lib", "/opt/ab"]) == ["/opt/a", "/opt/ab"]


# -- the same command, really run ---------------------------------------------

LOOK = """
import json, os, sys
def can(f):
    try: f()
    except OSError: return False
    return True
def write(path): open(path, "w").write("x")
print(json.dumps({
    "home": os.listdir("/home/jovyan"), "cwd": os.getcwd(), "uid": os.getuid(), "pid": os.getpid(),
    "root": sorted(os.listdir("/")), "etc": sorted(os.listdir("/etc")), "host": os.uname().nodename,
    "shadow": can(lambda: open("/etc/shadow").read()),
    "write_home": can(lambda: write("/home/jovyan/new.txt")), "write_data": can(lambda: write("/data/new.txt")),
    "write_usr": can(lambda: write("/usr/new.txt")), "write_python": can(lambda: write(sys.prefix + "/new.txt")),
    "data": os.listdir("/data"), "mounts": open("/proc/self/mounts").read(), "others": os.path.exists(sys.argv[1]),
    "scratch_bytes": os.statvfs("/scratch").f_blocks * os.statvfs("/scratch").f_frsize,
    "pids": [p for p in os.listdir("/proc") if p.isdigit()], "capabilities": open("/proc/self/status").read(),
}))
"""


def run(plan: WorkspacePlan, data: Path, level: Isolation, code: str, *args: str) -> str:
    """Run Python inside of the rendered command, without control groups."""
    level = replace(level, limits="none", groups=())
    machine = look_at_machine(data_dir=str(data), readable=())
    command = render(plan, machine=machine, isolation=level, server=[sys.executable, "-c", code, *args])
    for folder in (data / "run", *map(Path, command.folders)):
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in command.files:
        Path(path).write_text(text)
    done = subprocess.run(command.argv, env=command.environment, cwd=command.cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.bwrap
def test_a_workspace_sees_its_volumes_and_nothing_else_of_the_machine(bubblewrap: Isolation, tmp_path: Path):
    for other in ("volumes/workspace/w2", "volumes/workspace/w1", "volumes/cluster/acme/laptop/datasets"):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / f"of-{Path(other).name}").touch()
    plan = with_mounts(cluster_volume("/data", read_only=True))
    seen = json.loads(run(plan, tmp_path, bubblewrap, LOOK, str(tmp_path)))
    assert seen["home"] == ["of-w1"]
    assert seen["cwd"] == "/home/jovyan"
    assert seen["data"] == ["of-datasets"]
    assert not seen["others"]
    assert not seen["shadow"]
    assert "ssh" not in seen["etc"]
    assert seen["uid"] == 1000
    assert seen["host"] == "ws-w1"
    assert len(seen["pids"]) <= 3
    assert "CapEff:\t0000000000000000" in seen["capabilities"]
    writable = {name: seen[name] for name in ("write_home", "write_data", "write_usr", "write_python")}
    assert writable == {"write_home": True, "write_data": False, "write_usr": False, "write_python": False}
    assert (tmp_path / "volumes/workspace/w1/new.txt").exists()
    assert set(seen["root"]) >= {"data", "home", "scratch", "usr"}
    assert not {"boot", "mnt", "media", "sys"} & set(seen["root"])


@pytest.mark.bwrap
def test_temporary_storage_has_its_size_and_is_gone_afterwards(bubblewrap: Isolation, tmp_path: Path):
    need(bubblewrap, bubblewrap.sized_tmpfs, "this bubblewrap cannot make a tmpfs of a given size")
    fill = """
import errno, sys
written = 0
try:
    with open("/scratch/full", "wb", buffering=0) as file:
        while True: written += file.write(bytes(1 << 20))
except OSError as error:
    assert error.errno == errno.ENOSPC
print(written)
"""
    assert int(run(make_plan(), tmp_path, bubblewrap, fill)) == 16 * MIB
    again = "import os; print(os.listdir('/scratch'))"
    assert run(make_plan(), tmp_path, bubblewrap, again).strip() == "[]"


@pytest.mark.bwrap
def test_a_link_that_a_person_put_in_the_way_of_a_mount_leads_nowhere(bubblewrap: Isolation, tmp_path: Path):
    home, outside = tmp_path / "volumes/workspace/w1", tmp_path / "outside"
    home.mkdir(parents=True)
    outside.mkdir()
    (home / "data").symlink_to(outside)
    plan = with_mounts(cluster_volume("/home/jovyan/data"))
    with contextlib.suppress(AssertionError):  # bubblewrap may refuse such a mount
        run(plan, tmp_path, bubblewrap, "open('/home/jovyan/data/new', 'w').write('x')")
    assert not os.listdir(outside)
