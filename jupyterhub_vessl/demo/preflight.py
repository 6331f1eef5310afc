"""What must be true before anything is started.  Each failure is one sentence that says what to do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ..model.catalog import Offer
from ..model.errors import OfferError
from ..model.text import bounded
from ..offer import load_offer
from .settings import Ports, Secrets

PACKAGES = {
    "aiohttp": "aiohttp",
    "jupyterhub": "jupyterhub",
    "jupyterhub_traefik_proxy": "jupyterhub-traefik-proxy",
    "jupyterlab": "jupyterlab",
    "oauthenticator": "oauthenticator",
    "oidc_provider_mock": "oidc-provider-mock",
    "psutil": "psutil",
    "rich": "rich",
    "sqlalchemy": "SQLAlchemy",
}
PORT_MAX = 65535
PORTS_MIN, PORTS_MAX = 18000, 32000
"""Below the ports that systems hand out by themselves (32768 on Linux), so that no workspace takes one of ours."""
_PORT_TRIES = 200


class CannotStart(Exception):
    """The demo cannot start, or cannot go on; the message is one sentence for a person."""


def check_packages(search_path: str) -> None:
    """Raise `CannotStart` when a package or the proxy's program is missing.

    ``search_path`` is a PATH value in which the program ``traefik`` must be found.
    """
    for module, distribution in PACKAGES.items():
        if find_spec(module) is None:
            raise CannotStart(f"the package {distribution} is missing; pip install 'jupyterhub-vessl[demo]'")
    if shutil.which("traefik", path=search_path) is None:
        raise CannotStart("the program traefik is missing; pip install 'jupyterhub-vessl[demo]'")


def check_offer(path: Path) -> Offer:
    """The parsed offer.  Raises `CannotStart` with the first mistake and how to see the others."""
    try:
        return load_offer(path)
    except OfferError as error:
        lines = error.lines()
        more = f"; {len(lines) - 1} more: jupyterhub-vessl check {path}" if len(lines) > 1 else ""
        raise CannotStart(f"the offer is wrong: {lines[0]}{more}") from None


def parse_port(text: str) -> int:
    """The public port as a number; raises `CannotStart` when it is none."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= PORT_MAX):
        raise CannotStart(f"{bounded(text, 40)!r} is not a port; write a number from 1 to {PORT_MAX}, such as 8000")
    return int(text)


def check_port(port: int) -> None:
    """Raise `CannotStart` when the public port cannot be opened."""
    try:
        _open(port)
    except PermissionError:
        raise CannotStart(f"port {port} needs root; choose one above 1023, such as --port 8000") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"port {port} is taken by another program; choose another with --port or make demo PORT=…"
            ) from None
        raise CannotStart(f"port {port} cannot be opened: {error.strerror}") from None


@contextmanager
def data_folder(path: Path) -> Iterator[Path]:
    """Make the folder (0700) and hold it: only one demo at a time may use it.  Yields its absolute path."""
    folder = path.expanduser().absolute()
    lock = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotStart(
            f"the folder {path} cannot be used: {error.strerror}; choose another with --data or make demo DATA=…"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise CannotStart(
            f"the folder {path} is in use by another demo (process {holder}); stop that one, "
            "or choose another with --data or make demo DATA=…"
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield folder
    finally:
        os.close(lock)


def load_secrets(folder: Path) -> Secrets:
    """The secrets of this folder, made at the first run."""
    path = folder / "secrets.json"
    try:
        return Secrets.model_validate_json(path.read_text())
    except FileNotFoundError:
        made = Secrets()
    except (OSError, UnicodeDecodeError, ValidationError):
        raise CannotStart(f"{path} cannot be read; restore it, or delete it (everybody signs in again)") from None
    _write(path, made)
    return made


def load_ports(folder: Path, public_port: int) -> Ports:
    """The inner ports of this folder: those of the last run as long as they are free."""
    path = folder / "ports.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    taken, chosen = {public_port}, {}
    for name in Ports.model_fields:
        port = known.get(name) if isinstance(known, dict) else None
        if not isinstance(port, int) or port in taken or not _is_free(port):
            port = _free_port(taken)
        taken.add(port)
        chosen[name] = port
    ports = Ports(**chosen)
    _write(path, ports)
    return ports


def rotate_logs(folder: Path, names: Iterable[str]) -> None:
    """Keep the logs of the previous run as ``NAME.log.1``."""
    folder.mkdir(exist_ok=True)
    for name in names:
        log = folder / f"{name}.log"
        if log.exists():
            log.replace(folder / f"{name}.log.1")


def _write(path: Path, content: BaseModel) -> None:
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _open(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def _is_free(port: int) -> bool:
    try:
        _open(port)
    except (OSError, OverflowError):
        return False
    return True


def _free_port(taken: set[int]) -> int:
    for _ in range(_PORT_TRIES):
        port = random.randint(PORTS_MIN, PORTS_MAX)  # noqa: S311 - not a secret
        if port not in taken and _is_free(port):
            return port
    raise CannotStart(f"no free port between {PORTS_MIN} and {PORTS_MAX} on this machine")
