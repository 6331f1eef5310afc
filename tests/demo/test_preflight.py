"""What stops the demo before it starts anything: one sentence each, exit 1."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.demo import preflight
from jupyterhub_vessl.demo.preflight import CannotStart


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["demo", *arguments])


def the_only_sentence(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_taken_port_is_one_sentence(tmp_path: Path, taken_port: int) -> None:
    sentence = the_only_sentence(demo("--port", str(taken_port), "--data", str(tmp_path / "data")))
    assert f"port {taken_port} is taken" in sentence


@pytest.mark.parametrize("port", ["0", "65536", "99999999999999999999", "-1", "http", "", "8000 "])
def test_what_is_no_port_is_one_sentence(port: str) -> None:
    assert "is not a port" in the_only_sentence(demo("--port", port))


def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "file").write_text("")
    for data in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"{data} cannot be used" in the_only_sentence(demo("--port", str(free_port), "--data", str(data)))


def test_a_file_where_the_logs_should_be_is_one_sentence(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "logs").write_text("")
    assert "cannot be used" in the_only_sentence(demo("--port", str(free_port), "--data", str(tmp_path)))


def test_a_folder_in_use_by_another_demo_is_one_sentence(tmp_path: Path, free_port: int) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        sentence = the_only_sentence(demo("--port", str(free_port), "--data", str(tmp_path)))
    assert "in use by another demo (process 4711)" in sentence


def test_a_wrong_offer_is_one_sentence_with_its_first_mistake(tmp_path: Path, free_port: int) -> None:
    offer = tmp_path / "wrong.yaml"
    offer.write_text("organisations: {}\n")
    sentence = the_only_sentence(demo("--port", str(free_port), "--data", str(tmp_path / "d"), "--offer", str(offer)))
    assert f"{offer}:1: clusters: is missing; 4 more: " in sentence
    assert f"jupyterhub-vessl check {offer}" in sentence
    assert not (tmp_path / "d").exists()


def test_a_missing_offer_is_one_sentence(tmp_path: Path) -> None:
    assert "cannot be read" in the_only_sentence(demo("--offer", str(tmp_path / "none.yaml")))


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preflight.PACKAGES, "no_such_module", "no-such-package")
    assert "the package no-such-package is missing" in the_only_sentence(demo())


def test_a_missing_traefik_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="traefik is missing"):
        preflight.check_packages(str(tmp_path))


def test_damaged_secrets_are_not_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_text('{"cookie_secret": 1')
    with pytest.raises(CannotStart, match=r"secrets\.json"):
        preflight.load_secrets(tmp_path)
    assert (tmp_path / "secrets.json").read_text() == '{"cookie_secret": 1'


def test_secrets_are_made_once_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with preflight.data_folder(tmp_path / "data") as folder:
            secrets = preflight.load_secrets(folder)
            assert preflight.load_secrets(folder) == secrets
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "secrets.json").stat().st_mode) == 0o600
    assert len({*secrets.model_dump().values()}) == 6
    assert all(value not in repr(secrets) for value in secrets.model_dump().values())


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    first = preflight.load_ports(tmp_path, 8000)
    assert preflight.load_ports(tmp_path, 8000) == first
    assert len({*first.model_dump().values()}) == 4
    with socket.socket() as other:
        other.bind(("127.0.0.1", first.hub))
        other.listen()
        second = preflight.load_ports(tmp_path, 8000)
    assert second.hub != first.hub
    assert second.model_copy(update={"hub": first.hub}) == first


def test_an_inner_port_never_equals_the_public_one(tmp_path: Path) -> None:
    first = preflight.load_ports(tmp_path, 8000)
    assert first.service not in preflight.load_ports(tmp_path, first.service).model_dump().values()


@pytest.mark.parametrize("content", ["", "[]", '{"hub": "x"}', '{"hub": -1}', '{"hub": 700000}'])
def test_damaged_ports_are_chosen_anew(tmp_path: Path, content: str) -> None:
    (tmp_path / "ports.json").write_text(content)
    ports = preflight.load_ports(tmp_path, 8000)
    assert preflight.PORTS_MIN <= ports.hub <= preflight.PORTS_MAX


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    preflight.rotate_logs(logs, ["hub"])
    (logs / "hub.log").write_text("first run")
    preflight.rotate_logs(logs, ["hub"])
    assert (logs / "hub.log.1").read_text() == "first run"
    assert not (logs / "hub.log").exists()
