"""What JupyterLab shows of a workspace: what the service says, what is used, and the ports with their links."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol
from urllib.parse import quote

from jupyterhub_vessl.model.plan import Mount
from jupyterhub_vessl.model.wire import PortView
from jupyterhub_vessl.model.wire_status import StatusView

from .asking import WAIT_SECONDS, Asking
from .gpus import Gpu, GpuMeter
from .listening import Listener, Listening
from .processes import OwnProcesses
from .settings import Place, VesslLab
from .threads import Watched
from .usage import Given, Usage, UsageMeter
from .volumes import VolumesMeter

CACHE_SECONDS = 3.0
GPU_SECONDS = 5.0


class Jupyter(Protocol):
    """What is asked of the notebook server."""

    @property
    def base_url(self) -> str:
        """Its base path."""

    def own_ports(self) -> Collection[int]:
        """The ports of the server itself."""

    def kernel_ports(self) -> Collection[int]:
        """The ports over which it talks to its kernels."""


class LabStatus:
    """Puts the answer together, once for all tabs that ask within three seconds."""

    def __init__(self, place: Place, settings: VesslLab, jupyter: Jupyter, asking: Asking) -> None:
        self._settings, self._jupyter, self._asking = settings, jupyter, asking
        self._hub_url = place.hub_url
        own = OwnProcesses(place.workspace_id, keep_seconds=1)
        self._usage_meter, self._gpu_meter = UsageMeter(own.find), GpuMeter()
        self._usage = Watched(self._usage_meter.measure, every_seconds=1, wait_seconds=2)
        self._gpus = Watched(self._gpu_meter.measure, every_seconds=GPU_SECONDS, wait_seconds=1)
        self._listening = Watched(Listening(own.find).find, every_seconds=1, wait_seconds=2)
        self._volumes = VolumesMeter(measure_folders=settings.measure_folders)
        self._made: dict[str, Any] | None = None
        self._begun_at, self._made_at = -1e9, -1e9
        self._making: asyncio.Lock = asyncio.Lock()

    async def get(self, *, fresh: bool = False) -> dict[str, Any]:
        """The status; ``fresh`` after something was done."""
        asked_at = time.monotonic()
        async with self._making:
            # Whoever waited for another's answer takes it; a fresh one must have been begun after the question.
            is_old = self._begun_at < asked_at if fresh else time.monotonic() - self._made_at > CACHE_SECONDS
            if self._made is None or is_old:
                self._begun_at = time.monotonic()
                self._made = await self._make(fresh, asked_at + WAIT_SECONDS)
                self._made_at = time.monotonic()
            return self._made

    async def _make(self, fresh: bool, until: float) -> dict[str, Any]:
        self._know(self._asking.view)
        _, usage, gpus, listeners = await asyncio.gather(
            self._asking.look(fresh=fresh, until=until),
            self._usage.value(),
            self._gpus.value(),
            self._listening.value(),
        )
        view = self._asking.view
        self._know(view)
        mounts = view.workspace.mounts if view is not None else ()
        used = await asyncio.gather(*(watched.value() for watched in self._volumes.watch(mounts)))
        return {
            "at_ms": self._asking.now_ms(),
            "problem": self._asking.problem,
            "service": _service(view, self._hub_url) if view is not None else None,
            "usage": usage_answer(usage, gpus or (), self._usage_meter.given),
            "volumes": [_volume(mount, used_bytes) for mount, used_bytes in zip(mounts, used, strict=True)],
            "ports": list_ports(
                view.ports if view is not None else (),
                listeners or [],
                base_url=self._jupyter.base_url,
                is_hidden=self._is_hidden(),
            ),
        }

    def _is_hidden(self) -> Callable[[int], bool]:
        internal = {*self._jupyter.own_ports(), *self._jupyter.kernel_ports()}
        return lambda port: port in internal or self._settings.hides(port)

    def _know(self, view: StatusView | None) -> None:
        if view is not None:
            spec = view.spec
            self._usage_meter.given = Given(spec.cpu_millis, spec.memory_bytes)
            self._gpu_meter.given = spec.gpu_count


def list_ports(
    declared: Sequence[PortView],
    listeners: Sequence[Listener],
    *,
    base_url: str,
    is_hidden: Callable[[int], bool],
) -> list[dict[str, Any]]:
    """The declared ports in their order, then those that were only found, by number."""
    by_port = {listener.port: listener for listener in listeners}
    ports = [_port(base_url, port, by_port.get(port.port)) for port in declared]
    taken = {port.port for port in declared}
    for listener in listeners:
        if listener.port not in taken and not listener.internal and not is_hidden(listener.port):
            ports.append(_port(base_url, PortView(name="", type="http", port=listener.port), listener))
    return ports


def _port(base_url: str, port: PortView, listener: Listener | None) -> dict[str, Any]:
    url, other_url = None, None
    if port.type == "http":
        # The base URL is quoted already where a person's name needs it.
        base = quote(base_url.rstrip("/"), safe="/%!$&'()*+,;=:@~") + "/proxy/"
        links = {"stripped": f"{base}{port.port}/", "absolute": f"{base}absolute/{port.port}/"}
        own = "absolute" if port.path == "absolute" else "stripped"
        url, other_url = links.pop(own), *links.values()
    return {
        "name": port.name,
        "port": port.port,
        "type": port.type,
        "path": port.path,
        "declared": bool(port.name),
        "listening": listener is not None,
        "process": listener.process if listener is not None else "",
        "url": url,
        "other_url": other_url,
        "address": port.address,
        "note": port.note,
    }


def pages_address(said: str, hub_url: str) -> str:
    """Where a browser in this workspace finds the pages of the service; empty where that is not known.

    ``said`` is what the service calls the path of its pages.  Where the hub has another host name than the workspace
    (``hub_url``), each service has one too; what it is, an operator may choose and a workspace is not told.  The hub's
    own page lists services as links, so it is that page then.  The service never decides which host a link leads to.
    """
    if hub_url:
        return hub_url.rstrip("/") + "/home"
    return said if said.startswith("/") and said[1:2] not in ("/", "\\") else ""


def _service(view: StatusView, hub_url: str) -> dict[str, Any]:
    return view.model_dump(mode="json") | {"pages_url": pages_address(view.pages_url, hub_url)}


def usage_answer(usage: Usage | None, gpus: Sequence[Gpu], given: Given) -> dict[str, Any] | None:
    """What is used; None for a number that could not be measured, and for all of it when nothing could."""
    if usage is None and not gpus:
        return None
    usage = usage or Usage(None, None, None, None)
    return {
        "cpu_percent": usage.cpu_percent,
        "cpu_millis_limit": given.cpu_millis if usage.cpu_millis_limit is None else usage.cpu_millis_limit,
        "memory_bytes": usage.memory_bytes,
        "memory_bytes_limit": given.memory_bytes if usage.memory_bytes_limit is None else usage.memory_bytes_limit,
        "gpus": [dataclasses.asdict(gpu) for gpu in gpus],
    }


def _volume(mount: Mount, used_bytes: int | None) -> dict[str, Any]:
    return {
        "mount_path": mount.mount_path,
        "kind": mount.kind.value,
        "name": mount.volume,
        "read_only": mount.read_only,
        "size_bytes": mount.size_bytes,
        "used_bytes": used_bytes,
    }
