"""``jupyterhub-vessl check``: the real command on real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jupyterhub_vessl import __version__
from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.demo.settings import PACKAGED_OFFER

WRONG = """\
organizations:
  acme:
    title: Acme
    teams:
      vision: {title: Vision}
clusters:
  laptop: {kind: local}
resource_specs:
  small: {title: Small, cpu: 1, memory: 4GB, temporary: 1Gi, price_per_hour: 0.05}
  dear: {title: Dear, cpu: 1, memory: 4Gi, temporary: 1Gi, price_per_hour: -1}
images:
  plain: {title: Plain, colour: blue}
presets:
  start: {title: Start, spec: smal, image: plain}
"""


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["check", *arguments])


def test_every_mistake_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "vessl.yaml"
    file.write_text(WRONG)
    result = check(str(file))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    starts = [line.removeprefix(f"{file}:").split(": ")[:2] for line in lines]
    assert starts == [
        ["9", "resource_specs.small.memory"],
        ["10", "resource_specs.dear.price_per_hour"],
        ["12", "images.plain.colour"],
        ["14", "presets.start.spec"],
    ]
    assert "4Gi" not in lines[0]
    assert "20Gi" in lines[0]  # says what is right
    assert "known here: title, description, url, pull_policy, credential, teams" in lines[2]
    assert "defined here: dear, small" in lines[3]


def test_a_right_file_is_summed_up_in_one_line() -> None:
    result = check(str(PACKAGED_OFFER))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{PACKAGED_OFFER}: ok: 1 organization, 2 teams, 1 cluster, 8 resource specs, ")
    assert result.stdout.count("\n") == 1


def test_an_offer_inside_helm_values_is_checked_with_the_lines_of_the_values_file(tmp_path: Path) -> None:
    offer = PACKAGED_OFFER.read_text()
    nested = "hub:\n  extraFiles:\n    vessl:\n      data:\n" + "".join(
        f"        {line}\n" for line in offer.splitlines()
    )
    file = tmp_path / "values.yaml"
    file.write_text(nested)
    assert check(str(file)).exit_code == 0

    file.write_text(nested.replace("price_per_hour: 0.05", "price_per_hour: cheap"))
    result = check(str(file))
    assert result.exit_code == 1
    wrong_line = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if "cheap" in line)
    assert result.stdout.startswith(f"{file}:{wrong_line}: resource_specs.cpu-small.price_per_hour: ")


def test_helm_values_without_an_offer_say_where_it_belongs(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("hub:\n  config: {}\n")
    result = check(str(file))
    assert result.exit_code == 1
    assert "hub.extraFiles.vessl.data" in result.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe\x00bad", "is not UTF-8 text"),
        (b"a: [1, 2", "is not YAML"),
        (b"# nothing\n", ""),
        (b"x" * (4 * 1024 * 1024 + 1), "is larger than 4 MiB"),
        (b"[" * 100_000, "is not YAML"),
    ],
    ids=["missing", "binary", "broken", "empty", "huge", "deep"],
)
def test_a_file_that_is_no_offer_gets_a_sentence_and_no_traceback(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "vessl.yaml"
    if content is not None:
        file.write_bytes(content)
    result = check(str(file))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout.startswith(f"{file}:1: ")
    assert sentence in result.stdout
    assert len(result.stdout) < 2000


def test_a_folder_gets_a_sentence(tmp_path: Path) -> None:
    result = check(str(tmp_path))
    assert result.exit_code == 1
    assert "directory" in result.stdout


def test_json_says_the_same_for_programs(tmp_path: Path) -> None:
    file = tmp_path / "vessl.yaml"
    file.write_text(WRONG)
    result = check(str(file), "-o", "json")
    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert answer["ok"] is False
    assert [problem["line"] for problem in answer["problems"]] == [9, 10, 12, 14]
    good = json.loads(check(str(PACKAGED_OFFER), "-o", "json").stdout)
    assert good["ok"] is True
    assert good["counts"]["resource specs"] == 8


def test_the_program_runs_as_a_module_and_says_its_version() -> None:
    command = [sys.executable, "-m", "jupyterhub_vessl.cli", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"jupyterhub-vessl {__version__}\n"


def test_importing_the_package_does_not_import_jupyterhub() -> None:
    code = "import sys, jupyterhub_vessl.hub_setup; print('jupyterhub' in sys.modules, 'traitlets' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False False\n"
