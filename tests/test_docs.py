"""The documentation says what is: links lead somewhere, commands exist, offers parse, sums are right."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
import yaml
from jupyterhub_vessl_spawner.isolation import Isolation
from test_house import TRAITS

from jupyterhub_vessl.cli.app import cli
from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.demo.settings import PACKAGED_OFFER
from jupyterhub_vessl.model.balance import running_balance
from jupyterhub_vessl.model.errors import OfferError, Unavailable
from jupyterhub_vessl.model.money import MICROS, Accrual
from jupyterhub_vessl.model.wire import Caller
from jupyterhub_vessl.offer import parse_offer
from jupyterhub_vessl.service.api.routes import ROUTES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SKIPPED = (".venv", "node_modules", "build", "dist")


def markdown_files():
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.startswith(".")]
        found += [Path(folder, name) for name in files if name.endswith(".md")]
    return sorted(found)


FILES = markdown_files()
NAMES = [str(file.relative_to(ROOT)) for file in FILES]
every_file = pytest.mark.parametrize("file", FILES, ids=NAMES)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, its language, its text."""

    where: str
    language: str
    text: str


@cache
def blocks(*languages):
    found = []
    for file, name in zip(FILES, NAMES, strict=True):
        text = file.read_text()
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{name}:{line}", match[1], match[2]))
    return [block for block in found if block.language in languages]


def code_of(text):
    """What stands as code in Markdown: fenced blocks line by line, and spans."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(file):
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- the reference ------------------------------------------------------------


@pytest.fixture(scope="module")
def make_reference():
    sys.path.insert(0, str(DOCS))
    try:
        return importlib.import_module("make_reference")
    finally:
        sys.path.remove(str(DOCS))


def test_the_reference_is_fresh():
    command = [sys.executable, "docs/make_reference.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_reference_is_told_in_one_sentence(make_reference, tmp_path, capsys):
    assert make_reference.main([], folder=tmp_path) == 0
    assert make_reference.main(["--check"], folder=tmp_path) == 0
    (tmp_path / "rest-api.md").write_text("old")
    (tmp_path / "left-over.md").write_text("old")
    capsys.readouterr()
    assert make_reference.main(["--check"], folder=tmp_path) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "left-over.md, rest-api.md" in said


def test_a_key_without_words_is_told(make_reference, monkeypatch, capsys):
    monkeypatch.delitem(make_reference.KEYS, "Team.title")
    assert make_reference.main(["--check"]) == 1
    assert "needs words for Team.title" in capsys.readouterr().err


@pytest.mark.parametrize("name", TRAITS)
def test_every_config_trait_has_a_heading(name):
    assert f"\n### {name}\n" in (DOCS / "reference/configuration.md").read_text()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.verb} {route.path}")
def test_every_route_has_a_heading(route):
    assert f"\n### {route.verb} {route.path}\n" in (DOCS / "reference/rest-api.md").read_text()


def commands(group, before=()):
    """Every command by its words, those of groups too."""
    for name, command in group.commands.items():
        yield (*before, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*before, name))


COMMANDS = dict(commands(cli))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_listed(words):
    heading = f"\n{'#' * (len(words) + 1)} {' '.join(words)}\n"
    section = (DOCS / "reference/command-line.md").read_text().split(heading)[1].split("\n##")[0]
    for parameter in COMMANDS[words].params:
        assert (parameter.metavar or parameter.opts[-1]).lower() in section.lower()


# -- links and names ----------------------------------------------------------


@every_file
def test_every_relative_link_leads_somewhere(file):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(file.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (file.parent / path).resolve() if path else file
        assert linked.exists(), f"{target} is not there"
        assert linked.is_relative_to(ROOT), f"{target} leads out of the repository"
        if anchor:
            assert anchor in anchors(linked), f"{target}: there is no such heading"


def test_the_index_leads_to_every_page():
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\(([^)#]+)", (DOCS / "index.md").read_text())}
    assert set(DOCS.rglob("*.md")) - {DOCS / "index.md"} <= linked


@every_file
def test_every_make_target_exists(file):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in code_of(file.read_text()):
        if match := re.match(r"(?:\$ )?make\b(.*)", line):
            words = [word for word in re.sub(r'"[^"]*"', "", match[1]).split() if re.fullmatch(r"[a-z]+", word)]
            assert set(words) <= targets, line


@every_file
def test_every_command_and_its_options_exist(file):
    for line in code_of(file.read_text()):
        match = re.match(r"(?:\$ )?jupyterhub-vessl +(?=[a-z])(.*)", line)
        if match is None:
            continue
        words = match[1].split()
        named = next((tuple(words[:n]) for n in range(len(words), 0, -1) if tuple(words[:n]) in COMMANDS), None)
        assert named, line
        known = {option for p in COMMANDS[named].params if isinstance(p, click.Option) for option in p.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", match[1])) <= known, line


@every_file
def test_every_file_that_is_named_exists(file):
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    for span in code_of(file.read_text()):
        if re.fullmatch(r"[\w.-]+/[\w./-]*", span) and span.split("/")[0] in tops:
            assert (ROOT / span).exists(), span


def test_the_tutorial_uses_the_words_of_the_pages():
    """Words in italics are what people see: on a page, in the form, or in the demo's offer."""
    folders = [ROOT / "jupyterhub_vessl/service/pages", ROOT / "spawner/jupyterhub_vessl_spawner"]
    files = [f for folder in folders for f in folder.rglob("*") if f.suffix in (".html", ".py", ".js")]
    seen = "".join(file.read_text() for file in [*files, PACKAGED_OFFER]).replace("{{ login_service }}", "SSO")
    words = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", (DOCS / "tutorial.md").read_text())
    assert len(words) > 10
    for word in words:
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", seen), word


# -- snippets -----------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.where)
def test_python_compiles(block):
    compile(block.text, block.where, "exec")


def is_whole(block):
    return {"organizations", "clusters", "resource_specs", "images"} <= set(yaml.safe_load(block.text))


@pytest.mark.parametrize("block", [block for block in blocks("yaml") if is_whole(block)], ids=lambda block: block.where)
def test_a_whole_offer_parses(block):
    parse_offer(block.text)


def merged(base, other):
    if not isinstance(base, dict) or not isinstance(other, dict):
        return other
    return {key: merged(base.get(key), other[key]) if key in other else base[key] for key in base | other}


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.where)
def test_a_part_of_an_offer_fits_into_a_whole_one(block):
    base = yaml.safe_load(PACKAGED_OFFER.read_text())
    base["clusters"]["seoul"] = {"kind": "kubernetes"}
    parse_offer(yaml.safe_dump(merged(base, yaml.safe_load(block.text))))


def test_there_are_offers_to_look_at():
    assert any(map(is_whole, blocks("yaml")))
    assert len(blocks("yaml")) >= 4
    assert blocks("python")


def test_the_mistake_in_the_readme_is_told_like_that():
    text = re.sub(r"memory: \w+", "memory: 2", PACKAGED_OFFER.read_text(), count=1)
    with pytest.raises(OfferError) as caught:
        parse_offer(text)
    (line,) = caught.value.lines()
    assert line.split(".memory: ")[1] in (ROOT / "README.md").read_text()


# -- what the explanations claim -----------------------------------------------

MONEY = DOCS / "explanation/money.md"


def test_the_sums_of_money_are_right():
    results = doctest.testfile(str(MONEY), module_relative=False)
    assert results.attempted >= 10
    assert results.failed == 0


def test_the_table_of_money_is_right():
    rows = re.findall(r"^\| (\d+) h \| ([\d.]+) \|$", MONEY.read_text(), re.MULTILINE)
    spans = [Accrual(2_390_000, 0), Accrual(50_000, 2 * 3_600_000)]
    assert len(rows) == 5
    for hours, balance in rows:
        exact = running_balance(50 * MICROS, spans).micros(int(hours) * 3_600_000)
        assert balance == f"{exact // MICROS}.{exact % MICROS:06d}"


def test_the_sentences_about_isolation_are_what_people_read():
    text = " ".join((DOCS / "explanation/isolation-of-local-workspaces.md").read_text().split())
    best = Isolation("bubblewrap", "cgroup2", sized_tmpfs=True).sentence()
    assert best in text
    assert Isolation("bubblewrap", "cgroup2").sentence().removeprefix(best).strip() in text
    assert "can read what it can read" in Isolation("folder", "none", why_folder="").sentence()
    assert "memory and CPU are not limited" in Isolation("bubblewrap", "none", sized_tmpfs=True).sentence()


async def test_the_refusal_without_a_service_is_what_people_read():
    client = ServiceClient("http://127.0.0.1:1/", "token", tries=1)
    with pytest.raises(Unavailable) as caught:
        await client.form(Caller(user="mia"))
    assert caught.value.message in (DOCS / "explanation/how-a-start-works.md").read_text()
