"""What a workspace listens on, how full its volumes are, and what an operator may set."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyterhub_vessl_lab import sockets, volumes
from jupyterhub_vessl_lab.listening import Listener, Listening
from jupyterhub_vessl_lab.processes import OwnProcesses
from jupyterhub_vessl_lab.settings import VesslLab, find_place
from jupyterhub_vessl_lab.status import list_ports, pages_address
from jupyterhub_vessl_lab.threads import Watched
from traitlets import TraitError
from traitlets.config import Config

from jupyterhub_vessl.model.plan import Mount, MountKind
from jupyterhub_vessl.model.wire import PortView

OURS, OTHERS = "0" * 32, "f" * 32
LISTEN = """
import ctypes, os, socket, sys, time
kind, address = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_INET6 if kind == "6" else socket.AF_INET)
s.bind((address, 0)); s.listen()
print(s.getsockname()[1], flush=True)
if len(sys.argv) > 3:
    ctypes.CDLL(None).prctl(15, os.fsencode(sys.argv[3]), 0, 0, 0)
    print(flush=True)
time.sleep(60)
"""


def listening_program(
    stack: contextlib.ExitStack, workspace_id: str, kind: str, address: str, name: str = ""
) -> tuple[int, int]:
    """A process that listens: its id and port."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, kind, address, *([name] if name else [])],
        env={"PATH": os.environ["PATH"]} | ({"VESSL_WORKSPACE_ID": workspace_id} if workspace_id else {}),
        stdout=subprocess.PIPE,
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    port = int(process.stdout.readline())
    if name:
        process.stdout.readline()
    return process.pid, port


# -- processes and ports ------------------------------------------------------


def test_ports_of_our_own_processes_are_found_and_nobody_else_s() -> None:
    with contextlib.ExitStack() as stack:
        _, four = listening_program(stack, OURS, "4", "127.0.0.1")
        _, any_four = listening_program(stack, OURS, "4", "0.0.0.0")
        _, six = listening_program(stack, OURS, "6", "::1")
        _, any_six = listening_program(stack, OURS, "6", "::")
        _, silent = listening_program(stack, "", "4", "127.0.0.1")  # it belongs where we belong
        _, elsewhere = listening_program(stack, OURS, "4", "127.0.0.2")  # a proxy to 127.0.0.1 does not get there
        _, other = listening_program(stack, OTHERS, "4", "127.0.0.1")
        finder = Listening(OwnProcesses(OURS).find)
        ports = {listener.port for listener in finder.find()}
        assert {four, any_four, six, any_six, silent} <= ports
        assert not {elsewhere, other} & ports
    assert not {four, any_four, six, any_six, silent} & {listener.port for listener in finder.find()}


def test_a_program_s_name_is_bounded_and_printable() -> None:
    with contextlib.ExitStack() as stack:
        _, port = listening_program(stack, OURS, "4", "127.0.0.1", "<b>\x1b[31m\n\u202ex")
        found = {listener.port: listener for listener in Listening(OwnProcesses(OURS).find).find()}
        assert found[port].process == "<b>[31mx"


def test_what_is_known_is_not_looked_for_again() -> None:
    looks = []
    own = OwnProcesses(OURS)

    def find() -> list[int]:
        looks.append(1)
        return own.find()

    finder = Listening(find)
    for _ in range(5):
        finder.find()
    before = len(looks)
    finder.find()
    assert len(looks) == before
    with contextlib.ExitStack() as stack:
        _, port = listening_program(stack, OURS, "4", "127.0.0.1")
        assert port in {listener.port for listener in finder.find()}


def test_a_sandbox_that_answers_no_questions_is_read_from_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(family: int) -> dict[int, int]:
        raise PermissionError

    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ours = {os.fstat(s.fileno()).st_ino: s.getsockname()[1] for s in (four, six)}
        asked = sockets.listening_sockets()
        monkeypatch.setattr(sockets, "_asked", refuse)
        read = sockets.listening_sockets()
    assert ours.items() <= asked.items()
    assert ours.items() <= read.items()
    (tmp_path / "self/net").mkdir(parents=True)
    (tmp_path / "self/net/tcp").write_text("sl\n 0: zz:0BB8 x 0A 0 0 0 0 0 7\n 0: 0100007F:0BB8 x 01 0 0 0 0 0 8\nx\n")
    assert sockets.listening_sockets(tmp_path) == {}


def test_a_machine_without_proc_has_no_ports(tmp_path: Path) -> None:
    assert Listening(OwnProcesses(OURS).find, proc=tmp_path).find() == []


def test_links_are_quoted_and_of_the_right_kind() -> None:
    declared = [
        PortView(name="web", type="http", port=3000),
        PortView(name="app", type="http", port=3001, path="absolute"),
        PortView(name="db", type="tcp", port=5432, address="10.0.0.1:5432", note="Inside the cluster only."),
    ]
    found = [Listener(3001, "node"), Listener(4000, "x"), Listener(4001), Listener(4002, internal=True)]
    ports = list_ports(declared, found, base_url="/user/j%C3%B6 <x>/", is_hidden=lambda port: port == 4001)
    assert [(p["name"], p["port"], p["listening"], p["declared"]) for p in ports] == [
        ("web", 3000, False, True),
        ("app", 3001, True, True),
        ("db", 5432, False, True),
        ("", 4000, True, False),
    ]
    assert ports[0]["url"] == "/user/j%C3%B6%20%3Cx%3E/proxy/3000/"
    assert ports[1]["url"] == "/user/j%C3%B6%20%3Cx%3E/proxy/absolute/3001/"
    assert ports[1]["other_url"] == "/user/j%C3%B6%20%3Cx%3E/proxy/3001/"
    assert (ports[2]["url"], ports[2]["other_url"], ports[2]["address"]) == (None, None, "10.0.0.1:5432")
    assert ports[3]["type"] == "http"


# -- volumes ------------------------------------------------------------------


def test_a_folder_is_counted_as_du_does(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").write_bytes(b"x" * 100_000)
    (tmp_path / "a/b/other").write_bytes(b"x" * 50_000)
    os.link(tmp_path / "a/file", tmp_path / "a/b/again")
    (tmp_path / "a/b/loop").symlink_to(tmp_path)
    (tmp_path / "a/b/away").symlink_to("/usr")
    counted = volumes.used_bytes(str(tmp_path), 1 << 30)
    du = int(subprocess.check_output(["du", "-s", "--block-size=1", str(tmp_path)]).split()[0])
    assert counted is not None
    assert abs(counted - du) <= 8192, "the top folder itself is not counted"
    assert volumes.used_bytes(str(tmp_path), 1 << 30, walk=False) is None


def test_counting_ends_at_its_bounds(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert volumes.count_bytes(str(tmp_path), files_max=10) is None
    assert volumes.count_bytes(str(tmp_path), seconds_max=0) is None
    assert volumes.count_bytes(str(tmp_path / "nothing")) is None
    assert volumes.count_bytes(str(tmp_path / "0")) is None


def test_only_a_whole_file_system_of_its_own_counts_as_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 8:2 / /home/mia\\040x rw shared:1 - xfs /dev/sdb rw\n"
        "3 1 8:1 /srv/data /data rw - ext4 /dev/sda rw\n"
        "4 1 0:5 / /bucket rw - fuse.s3 s3 rw\n"
    )
    assert volumes.mount_point("/home/mia x", table) == volumes.MountPoint(True, "xfs")
    assert volumes.mount_point("/data/", table) == volumes.MountPoint(False, "ext4")
    assert volumes.mount_point("/data/sub", table) is None
    bucket = volumes.mount_point("/bucket", table)
    monkeypatch.setattr(volumes, "mount_point", lambda path: bucket)
    assert volumes.used_bytes(str(tmp_path), 1 << 30) is None, "listing a bucket costs requests"
    whole = volumes.MountPoint(True, "ext4")
    monkeypatch.setattr(volumes, "mount_point", lambda path: whole)
    stat = os.statvfs(tmp_path)
    total = stat.f_blocks * stat.f_frsize
    used = volumes.used_bytes(str(tmp_path), total)
    assert used is not None
    assert used > 1 << 20, "the whole file system's"
    walked = volumes.used_bytes(str(tmp_path), total // 100)
    assert walked is not None
    assert walked < 1 << 20, "a file system far larger than the volume is not it"


async def test_a_dead_file_server_holds_nobody_up_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, tries = threading.Event(), []

    def used(path: str, size_bytes: int, *, walk: bool) -> int:
        if path == "/dead":
            tries.append(path)
            answer.wait(20)
        return 5

    monkeypatch.setattr(volumes, "used_bytes", used)
    meter = volumes.VolumesMeter()
    mounts = [Mount(kind=MountKind.CLUSTER, mount_path=path, size_bytes=1) for path in ("/dead", "/alive")]
    began = time.monotonic()
    for _ in range(5):
        assert await asyncio.gather(*(watched.value() for watched in meter.watch(mounts))) == [None, 5]
    assert time.monotonic() - began < 5
    assert tries == ["/dead"]
    answer.set()
    for _ in range(100):
        if await meter.watch(mounts)[0].value() == 5:
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("it answers again and that is not seen")


# -- threads and settings -----------------------------------------------------


async def test_a_look_that_fails_has_no_value_and_a_new_one_waits_its_time() -> None:
    looks: Iterator[int] = iter([1, 2])
    watched = Watched(lambda: next(looks), every_seconds=0.2, wait_seconds=1)
    assert await asyncio.gather(watched.value(), watched.value()) == [1, 1]
    await asyncio.sleep(0.25)
    assert await watched.value() == 2
    await asyncio.sleep(0.25)
    assert await watched.value() is None


def test_who_belongs_is_asked_once_in_a_while_and_by_several_threads() -> None:
    own = OwnProcesses(OURS, keep_seconds=60)
    assert os.getpid() in own.find()
    assert own.find() is own.find()


def test_only_a_complete_environment_names_a_workspace() -> None:
    whole = {"VESSL_WORKSPACE_ID": OURS, "VESSL_SERVICE_URL": "http://h:1/services/vessl/", "JUPYTERHUB_API_TOKEN": "t"}
    place = find_place(whole)
    assert place is not None
    assert (place.workspace_id, place.service_url) == (OURS, "http://h:1/services/vessl/")
    for name in whole:
        assert find_place({**whole, name: ""}) is None
        assert find_place({key: value for key, value in whole.items() if key != name}) is None
    for url in ("/services/vessl/", "file:///etc/passwd", "http://", "http://[", "http://h:99999/"):
        assert find_place({**whole, "VESSL_SERVICE_URL": url}) is None
    for workspace_id in ("../../hub", OURS + "/x", OURS.upper() + "A"):
        assert find_place({**whole, "VESSL_WORKSPACE_ID": workspace_id}) is None
    assert find_place({**whole, "JUPYTERHUB_API_TOKEN": "a\nb"}) is None


@pytest.mark.parametrize(
    ("hub", "own", "said", "address"),
    [
        # what JupyterHub 5.5 and 6.1 put into a server's environment: without a public URL, with one, with subdomains
        ("", "", "/services/vessl/", "/services/vessl/"),
        ("https://h.example/hub/", "https://h.example/user/mia/", "/services/vessl/", "/services/vessl/"),
        ("https://h.example/hub/", "https://mia.h.example/user/mia/", "/services/vessl/", "https://h.example/hub/home"),
        ("http://h.example:8000/x/hub/", "http://mia.h.example:8000/x/", "/x", "http://h.example:8000/x/hub/home"),
        ("https://h.example/hub/", "", "/services/vessl/", "/services/vessl/"),
        ("javascript:alert(1)//h", "https://mia.h.example/", "/services/vessl/", "/services/vessl/"),
        ("https://[", "https://mia.h.example/", "/services/vessl/", "/services/vessl/"),
        ("", "", "javascript:alert(1)", ""),
        ("", "", "//evil.example/", ""),
        ("", "", "/\\evil.example/", ""),
        ("", "", "https://evil.example/", ""),
    ],
)
def test_the_service_s_pages_are_on_the_hub_s_host(hub: str, own: str, said: str, address: str) -> None:
    environment = {
        "VESSL_WORKSPACE_ID": OURS,
        "VESSL_SERVICE_URL": "http://h:1/services/vessl/",
        "JUPYTERHUB_API_TOKEN": "t",
        "JUPYTERHUB_PUBLIC_HUB_URL": hub,
        "JUPYTERHUB_PUBLIC_URL": own,
    }
    place = find_place(environment)
    assert place is not None
    assert pages_address(said, place.hub_url) == address


def test_hidden_ports_are_numbers_and_ranges() -> None:
    settings = VesslLab(config=Config({"VesslLab": {"hidden_ports": ["9100", "15000-15100"]}}))
    assert [settings.hides(port) for port in (9100, 9101, 15000, 15100, 15101)] == [True, False, True, True, False]
    for wrong in ("x", "0", "2-1", "70000", "-1"):
        with pytest.raises(TraitError, match="no port or range"):
            VesslLab(hidden_ports=[wrong])


def test_a_port_of_ours_is_a_socket_that_really_listens() -> None:
    """A socket that is bound and does not listen yet is no port to open."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        finder = Listening(OwnProcesses(OURS).find)
        assert port not in {listener.port for listener in finder.find()}
        bound.listen()
        assert port in {listener.port for listener in finder.find()}
