"""Which ports the programs of a workspace listen on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .sockets import listening_sockets

FILES_MAX = 50_000
FOUND_MAX = 200
LOOKS_MAX = 3
"""How often the holder of one socket is looked for; a program that is just starting may not be seen the first time."""

NAME_CHARACTERS_MAX = 40
_KERNEL = re.compile(rb"ipykernel|(^|/)kernel-[^/]*\.json$")


@dataclass(frozen=True)
class Listener:
    """A port with the name of the program that listens on it, empty where it is not known.

    ``internal`` marks what belongs to Jupyter's own works, such as a kernel's debugger.
    """

    port: int
    process: str = ""
    internal: bool = False


class Listening:
    """Finds the ports that a workspace's own processes listen on, where the proxy reaches them.

    On a machine whose network is shared with others, what somebody else's processes listen on is left out.
    """

    def __init__(self, own: Callable[[], Iterable[int]], *, proc: Path = Path("/proc")) -> None:
        self._own = own
        self._proc = proc
        self._holders: dict[int, Listener] = {}
        self._looks: dict[int, int] = {}

    def find(self) -> list[Listener]:
        """The ports by number, each once."""
        sockets = listening_sockets(self._proc)
        self._looks = {inode: self._looks.get(inode, 0) for inode in sockets}
        self._holders = {inode: holder for inode, holder in self._holders.items() if inode in sockets}
        unknown = {inode for inode, looks in self._looks.items() if looks < LOOKS_MAX} - set(self._holders)
        if unknown:  # to go through all open files is what costs most of the time
            self._find_holders({inode: sockets[inode] for inode in unknown})
        found: dict[int, Listener] = {}
        for listener in self._holders.values():
            if listener.port not in found or found[listener.port].internal:
                found[listener.port] = listener
        return [found[port] for port in sorted(found)][:FOUND_MAX]

    def _find_holders(self, sockets: dict[int, int]) -> None:
        links = {f"socket:[{inode}]": inode for inode in sockets}
        for inode in sockets:
            self._looks[inode] += 1
        left = FILES_MAX
        any_ports = random_ports(self._proc)
        for pid in self._own():
            folder = self._proc / str(pid)
            try:
                files = os.listdir(folder / "fd")
            except OSError:
                continue
            left -= len(files)
            if left < 0:
                return
            for file in files:
                try:
                    target = os.readlink(folder / "fd" / file)
                except OSError:
                    continue
                if target in links:
                    inode = links[target]
                    port = sockets[inode]
                    self._holders[inode] = Listener(port, process_name(folder), is_internal(folder, port, any_ports))


def process_name(folder: Path) -> str:
    """The program's name, printable and of bounded length; empty when it is not known."""
    try:
        text = (folder / "comm").read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""
    return "".join(c for c in text if c.isprintable() and c != "�")[:NAME_CHARACTERS_MAX]


def is_internal(folder: Path, port: int, any_ports: range) -> bool:
    """Whether a port is no program's to be opened: a debugger's helper, or one that a kernel took at random.

    Each Python kernel listens on one port more than it tells its server, for the output of processes that it forks.
    A web app inside of a kernel has a port of its own choice, and so is found.
    """
    try:
        with open(folder / "cmdline", "rb") as file:
            arguments = file.read(8192).split(b"\0")[:16]
    except OSError:
        return False
    if any(argument.rstrip(b"/").endswith(b"debugpy/adapter") for argument in arguments):
        return True
    return port in any_ports and any(_KERNEL.search(argument) for argument in arguments)


def random_ports(proc: Path) -> range:
    """The ports that the system gives out to those who do not care."""
    try:
        first, last = (proc / "sys/net/ipv4/ip_local_port_range").read_text().split()
        return range(int(first), int(last) + 1)
    except (OSError, ValueError):
        return range(32768, 61000)
