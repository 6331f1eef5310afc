"""The command of a plan: what is in it, what never is, and what it really does under bubblewrap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hub_parts import MIB, make_plan, need
from hypothesis import given, settings
from hypothesis import strategies as st
from jupyterhub_vessl_spawner import local_folders
from jupyterhub_vessl_spawner.isolation import Isolation, look_at_machine
from jupyterhub_vessl_spawner.local_folders import give, prepare
from jupyterhub_vessl_spawner.local_render import (
    ENTER,
    Command,
    Machine,
    limit_prefix,
    outermost,
    render,
    some_cpus,
)

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
    assert command.argv[-len(SERVER) :] == tuple(SERVER)
    assert "bwrap" not in command.argv
    assert command.home_folder == command.home == command.environment["HOME"] == "/srv/vessl/volumes/workspace/w1"
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
    prepare(command, data, level.account_id)
    done = subprocess.run(
        command.argv,
        env=command.outer_environment,
        cwd="/",
        input=json.dumps(command.environment),
        capture_output=True,
        text=True,
    )
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
    assert seen["uid"] == (bubblewrap.account_id or 1000)
    assert seen["host"] == "ws-w1"
    assert len(seen["pids"]) <= 3
    assert "CapEff:\t0000000000000000" in seen["capabilities"]
    writable = {name: seen[name] for name in ("write_home", "write_data", "write_usr", "write_python")}
    assert writable == {"write_home": True, "write_data": False, "write_usr": False, "write_python": False}
    assert (tmp_path / "volumes/workspace/w1/new.txt").exists()
    assert set(seen["root"]) >= {"data", "home", "scratch", "usr"}
    assert not {"boot", "mnt", "media", "sys"} & set(seen["root"])


def ways_in(level: Isolation) -> list[Isolation]:
    """The level, and how a hub that is root does without setpriv."""
    if level.account_id is None:
        return [level]
    return [level, replace(level, account_id=None, why_root="setpriv is not installed")]


# asks only; nothing is ever opened for writing
WRITABLE_IN_PROC = """
import os
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [name for name in folders if not name.isdigit() and name not in ("self", "thread-self")]
    for path in (os.path.join(folder, name) for name in (*folders, *files)):
        if not os.path.islink(path) and os.access(path, os.W_OK):
            print(path)
"""


@pytest.mark.bwrap
def test_nothing_of_the_kernel_can_be_written(bubblewrap: Isolation, tmp_path: Path):
    for number, level in enumerate(ways_in(bubblewrap)):
        assert run(make_plan(), tmp_path / str(number), level, WRITABLE_IN_PROC) == ""


@pytest.mark.bwrap
def test_a_namespace_of_ones_own_gives_no_other_view_of_the_kernel(bubblewrap: Isolation, tmp_path: Path):
    code = f"""
import subprocess, sys
words = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
done = subprocess.run([*words, {WRITABLE_IN_PROC!r}], capture_output=True, text=True)
print(done.stdout, end="")
"""
    for number, level in enumerate(ways_in(bubblewrap)):
        assert run(make_plan(), tmp_path / str(number), level, code) == ""


RIGHTS = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
places = ["/home/jovyan", "/scratch", "/tmp", "/dev/shm", "/run"]
closed = ["/", "/etc", "/home", "/dev", "/usr", "/proc/1", "/etc/passwd"]
with open("/scratch/x", "w") as file: file.write("x")
print(json.dumps({
    "status": status, "groups": os.getgroups(), "ids": [*os.getresuid(), *os.getresgid()],
    "open": [path for path in places if os.access(path, os.W_OK)],
    "closed": [path for path in closed if os.access(path, os.W_OK)],
    "name": __import__("pwd").getpwuid(os.getuid()).pw_name, "pty": os.ttyname(os.openpty()[1]),
}))
"""


@pytest.mark.bwrap
@pytest.mark.parametrize("sized", [True, False])
def test_a_workspace_of_a_hub_that_is_root_has_an_account_and_no_rights(bubblewrap: Isolation, tmp_path: Path, sized):
    need(bubblewrap, bubblewrap.account_id is not None, "the hub is not root here")
    level = replace(bubblewrap, sized_tmpfs=sized and bubblewrap.sized_tmpfs)
    seen = json.loads(run(make_plan(), tmp_path, level, RIGHTS))
    assert seen["ids"] == [61000] * 6
    assert seen["groups"] == []
    sets = {name: value for name, value in seen["status"].items() if name.startswith("Cap")}
    assert len(sets) == 5
    assert {int(value, 16) for value in sets.values()} == {0}
    assert seen["status"]["NoNewPrivs"] == "1"
    assert seen["open"] == ["/home/jovyan", "/scratch", "/tmp", "/dev/shm", "/run"]
    assert seen["closed"] == []
    assert seen["name"] == "jovyan"
    assert seen["pty"].startswith("/dev/pts/")


def test_a_persons_variables_reach_nothing_before_the_rights_are_given_away():
    for isolation in (replace(BUBBLEWRAP, account_id=61000), replace(FOLDER, account_id=61000), BUBBLEWRAP, FOLDER):
        command = draw(make_plan(environment={"GCONV_PATH": "/home/jovyan/evil"}), isolation=isolation)
        assert set(command.outer_environment) == {"PATH", "LANG"}
        assert "--setenv" not in command.argv
        if isolation.account_id is not None:
            assert "--unshare-user" not in command.argv
            assert command.argv.index("setpriv") < command.argv.index(ENTER)


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
    with pytest.raises(BadInput, match="something else at data; remove it or choose another"):
        run(plan, tmp_path, bubblewrap, "open('/home/jovyan/data/new', 'w').write('x')")
    assert not os.listdir(outside)


@pytest.mark.bwrap
@pytest.mark.parametrize("point", ["data", "deep/er/data"])
def test_a_mount_inside_the_home_can_be_written_and_leaves_the_persons_own_folders(
    bubblewrap: Isolation, tmp_path: Path, point: str
):
    plan = with_mounts(cluster_volume(f"/home/jovyan/{point}"))
    for _ in range(2):
        run(plan, tmp_path, bubblewrap, f"open('/home/jovyan/{point}/new', 'w').write('x')")
    assert (tmp_path / "volumes/cluster/acme/laptop/datasets/new").exists()
    owner = bubblewrap.account_id if bubblewrap.account_id is not None else os.geteuid()
    home = tmp_path / "volumes/workspace/w1"
    assert {path.stat().st_uid for path in [home, *home.rglob("*")]} == {owner}


@pytest.mark.bwrap
@pytest.mark.parametrize("obstacle", ["file", "link", "link to a folder in the home", "link on the way"])
def test_what_lies_where_a_volume_is_to_be_mounted_is_refused_in_words(
    bubblewrap: Isolation, tmp_path: Path, obstacle: str
):
    home = tmp_path / "volumes/workspace/w1"
    (home / "real" / "data").mkdir(parents=True)
    point = "way/data" if obstacle == "link on the way" else "data"
    if obstacle == "file":
        (home / "data").touch()
    else:
        target = {"link": "/nonexistent", "link on the way": "real"}.get(obstacle, "real/data")
        (home / point.split("/")[0]).symlink_to(target)
    with pytest.raises(BadInput, match=f"something else at {point}; remove it") as refused:
        run(with_mounts(cluster_volume(f"/home/jovyan/{point}")), tmp_path, bubblewrap, "pass")
    assert refused.value.field == "storage"


def test_volumes_that_root_wrote_are_given_to_the_account_once_and_no_link_is_followed(as_root, tmp_path: Path):
    outside, volume = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    (outside / "file").touch()
    (volume / "inner").mkdir(parents=True)
    (volume / "inner" / "link").symlink_to(outside)
    (volume / "link").symlink_to(outside / "file")
    give(volume, 61000)
    assert {path.lstat().st_uid for path in [volume, *volume.rglob("*")]} == {61000}
    assert {path.lstat().st_uid for path in [outside, *outside.rglob("*")]} == {0}
    os.chown(volume / "inner", 0, 0)
    give(volume, 61000)  # the folder itself is the account's: what is in it is the person's business
    assert (volume / "inner").stat().st_uid == 0


def test_a_home_of_another_account_is_refused_in_words(as_root, tmp_path: Path):
    command = draw(make_plan(), replace(MACHINE, data_dir=str(tmp_path)), replace(BUBBLEWRAP, account_id=61000))
    prepare(command, tmp_path, 61000)
    with pytest.raises(Unavailable, match="its home belongs to account 61000, and workspaces run as 61001"):
        prepare(command, tmp_path, 61001)


def test_a_link_in_place_of_a_volume_is_not_given_away(as_root, tmp_path: Path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "volume").symlink_to(tmp_path / "outside")
    give(tmp_path / "volume", 61000)
    assert (tmp_path / "outside").stat().st_uid == (tmp_path / "volume").lstat().st_uid == 0


def test_without_bubblewrap_the_account_reaches_its_home_and_no_other_folder_of_the_hub(as_root):
    """With the system's own Python, which every account may read, in a folder that every account may reach."""
    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("the system has no Python of its own")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as parent:
        os.chmod(parent, 0o755)
        data = Path(parent, "data")
        (data / "ledger").mkdir(parents=True)
        data.chmod(0o700)
        (data / "ledger").chmod(0o700)
        code = """
import json, os, sys
open("made", "w").close()
open(os.environ["TMPDIR"] + "/made", "w").close()
print(json.dumps([os.getcwd(), os.getuid(), [p for p in sys.argv[1:] if os.access(p, os.R_OK)]]))
"""
        level = replace(FOLDER, account_id=61000)
        machine = replace(look_at_machine(data_dir=str(data), readable=()), python="/usr/bin/python3")
        closed = [str(data), str(data / "ledger"), str(data / "volumes"), str(data / "run"), "/etc/shadow"]
        server = ["/usr/bin/python3", "-c", code, *closed]
        command = render(make_plan(), machine=machine, isolation=level, server=server)
        prepare(command, data, 61000)
        # the supervisor is the hub's own: it alone runs with the hub's Python
        argv = [sys.executable, *command.argv[1:]]
        assert command.argv[:2] == ("/usr/bin/python3", "-I")
        given = json.dumps(command.environment)
        done = subprocess.run(argv, env=command.outer_environment, input=given, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [command.home_folder, 61000, []]
        assert (data / "volumes/workspace/w1/made").stat().st_uid == 61000


def test_temporary_storage_is_emptied_however_deep_and_closed_it_is(tmp_path: Path):
    command = draw(make_plan(), replace(MACHINE, data_dir=str(tmp_path)), FOLDER)
    deep = Path(command.temporary)
    deep.mkdir(parents=True)
    here = os.open(deep, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    (deep / "d").chmod(0o500)
    prepare(command, tmp_path, None)
    assert not os.listdir(deep)


def test_temporary_storage_that_cannot_be_emptied_refuses_the_start(monkeypatch, tmp_path: Path):
    def stay(path: Path) -> None:
        raise OSError(f"{path.name} could not be deleted")

    monkeypatch.setattr(local_folders, "remove_tree", stay)
    with pytest.raises(Unavailable, match="temporary storage of the last run cannot be emptied"):
        prepare(draw(make_plan(), replace(MACHINE, data_dir=str(tmp_path)), FOLDER), tmp_path, None)
