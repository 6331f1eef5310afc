"""Keeping programs running and leaving none behind, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jupyterhub_vessl.demo import leftovers
from jupyterhub_vessl.demo.keeper import Keeper, how_it_ended, restart_delay
from jupyterhub_vessl.demo.people import who_may_what
from jupyterhub_vessl.demo.preflight import CannotStart
from jupyterhub_vessl.demo.programs import Program, common_environment, programs, proxy_static_config
from jupyterhub_vessl.demo.settings import PACKAGED_OFFER, Ports, Secrets, Settings
from jupyterhub_vessl.offer import load_offer

PATIENCE_SECONDS = 20


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    ports = Ports(hub=18001, service=18002, provider=18003, proxy_api=18004)
    return Settings(port=8000, data=tmp_path, offer=PACKAGED_OFFER, ports=ports, secrets=Secrets())


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[str], Keeper]]:
    keepers: list[Keeper] = []

    def make(code: str) -> Keeper:
        program = Program("sleeper", (sys.executable, "-c", code), stop_seconds=2)
        keepers.append(Keeper(program, dict(os.environ), tmp_path, tmp_path / "sleeper.log"))
        return keepers[-1]

    yield make
    for keeper in keepers:
        keeper.stop()


def test_a_program_that_dies_is_started_again(keep: Callable[[str], Keeper]) -> None:
    lines: list[str] = []
    keeper = keep("import time; time.sleep(600)")
    assert keeper.tend(lines.append) is None
    first = keeper.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: keeper.tend(lines.append) is None and keeper.pid not in (None, first))
    assert lines == ["sleeper was killed by SIGKILL; starting it again"]


def test_a_program_that_keeps_dying_is_given_up_with_a_sentence(keep: Callable[[str], Keeper]) -> None:
    keeper = keep("raise SystemExit(3)")
    lines: list[str] = []

    def tend_often() -> None:
        while True:
            time.sleep(min(keeper.tend(lines.append) or 0.02, 0.5))

    with pytest.raises(CannotStart, match=r"sleeper ended 5 times within a minute.*sleeper\.log"):
        tend_often()
    assert lines == ["sleeper exited with 3; starting it again"] * 4


def test_the_first_restart_is_quick_and_later_ones_wait_longer() -> None:
    delays = [restart_delay(range(count), 5.0) for count in (1, 2, 3, 4)]
    assert delays == sorted(delays)  # type: ignore[type-var]
    assert delays[0] is not None
    assert delays[0] < 1
    assert restart_delay([0, 1, 2, 3, 4], 5.0) is None
    assert restart_delay([0, 1, 2, 3, 64], 65.0) is not None


def test_an_exit_is_told_in_words() -> None:
    assert how_it_ended(1) == "exited with 1"
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-63) == "was killed by signal 63"


def test_stopping_ends_a_stubborn_program_and_its_children(keep: Callable[[str], Keeper], tmp_path: Path) -> None:
    keeper = keep(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"if child: open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child}} ')\n"
        "time.sleep(600)\n"
    )
    keeper.tend(print)
    file = tmp_path / "pids"
    eventually(lambda: file.exists() and file.read_text().endswith(" "))
    pids = [int(pid) for pid in file.read_text().split()]
    assert all(lives(pid) for pid in pids)
    keeper.stop()
    eventually(lambda: not any(lives(pid) for pid in pids))


def test_a_program_takes_interrupts_even_when_the_demo_was_started_in_the_background(
    keep: Callable[[str], Keeper], tmp_path: Path
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        keeper = keep(
            "import signal\n"
            f"open({str(tmp_path / 'answer')!r}, 'w').write(str(signal.getsignal(signal.SIGINT) != signal.SIG_IGN))\n"
            "signal.pause()\n"
        )
        keeper.tend(print)
    finally:
        signal.signal(signal.SIGINT, before)
    eventually(lambda: (tmp_path / "answer").exists() and (tmp_path / "answer").read_text())
    assert (tmp_path / "answer").read_text() == "True"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child that its parent died")
def test_programs_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys, time\n"
        "from jupyterhub_vessl.demo.keeper import Keeper\n"
        "from jupyterhub_vessl.demo.programs import Program\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "program = Program('sleeper', (sys.executable, '-c', 'import time; time.sleep(600)'))\n"
        "keeper = Keeper(program, dict(os.environ), folder, folder / 'log')\n"
        "keeper.tend(print)\n"
        "print(keeper.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert lives(child)
        supervisor.kill()
    eventually(lambda: not lives(child))


def test_workspaces_that_outlived_their_hub_are_ended_with_what_they_started(tmp_path: Path) -> None:
    # a workspace without bubblewrap, and a program in it that cut itself loose
    code = (
        "import subprocess, sys, time\n"
        "sleeper = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(sleeper, start_new_session=True).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = {**os.environ, "VESSL_WORKSPACE_ID": "w1"}
    workspace = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with workspace:
        assert workspace.stdout is not None
        loose = int(workspace.stdout.readline())
        (tmp_path / "run").mkdir()
        recorded = {"pid": workspace.pid, "created": psutil.Process(workspace.pid).create_time()}
        (tmp_path / "run" / "w1.json").write_text(json.dumps(recorded))
        assert leftovers.stop(tmp_path) == 1
    eventually(lambda: not lives(workspace.pid) and not lives(loose))


def test_a_process_that_only_has_the_id_of_an_old_workspace_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    recorded = {"pid": os.getpid(), "created": psutil.Process().create_time() - 60}
    (tmp_path / "run" / "w1.json").write_text(json.dumps(recorded))
    (tmp_path / "run" / "w2.json").write_text("{")
    assert leftovers.stop(tmp_path) == 0


def test_no_secret_is_on_a_command_line_or_in_the_environment_of_the_hub(settings: Settings) -> None:
    secrets = set(settings.secrets.model_dump().values())
    for program in programs(settings):
        assert not secrets & set(program.argv)
        expected = {settings.secrets.service_token} if program.name == "service" else set()
        assert secrets & set(program.environment.values()) == expected
        assert not any(secret in repr(program) for secret in secrets)
    assert not any(secret in proxy_static_config(settings) for secret in secrets)


def test_the_hub_reads_the_settings_that_the_supervisor_wrote(settings: Settings) -> None:
    (settings.data / "ports.json").write_text(settings.ports.model_dump_json())
    (settings.data / "secrets.json").write_text(settings.secrets.model_dump_json())
    assert Settings.from_environment(settings.to_environment()) == settings


def test_an_outer_jupyterhub_does_not_leak_into_the_demo() -> None:
    inherited = {"JUPYTERHUB_API_TOKEN": "outer", "VESSL_SERVICE_TOKEN": "outer", "HOME": "/h", "NO_PROXY": "x.example"}
    environment = common_environment(inherited)
    assert "outer" not in environment.values()
    assert environment["HOME"] == "/h"
    assert environment["NO_PROXY"] == "x.example,127.0.0.1,localhost"


def test_the_table_says_what_the_rules_of_the_offer_give() -> None:
    rows = {name: (membership, may) for name, membership, may in who_may_what(load_offer(PACKAGED_OFFER))}
    assert rows["ada"][0] == "admin of acme"
    assert rows["max"][0] == "manager of vision"
    assert rows["mia"][0] == "member of speech, member of vision"
    assert rows["vic"][0] == "viewer of speech"
    assert rows["zoe"] == ("in no team", "is refused at sign-in, and told whom to ask")
