"""The stand-in itself: a small cluster behind a listening socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from .access import Tokens
from .claims import StorageClass
from .cluster import Cluster, Node
from .direct import DirectAccess
from .faults import Faults
from .http_door import REQUEST_BYTES_MAX, Door
from .images import Image
from .kubelet import Settings
from .problems import Json
from .processes import require_bubblewrap
from .schemas import oldest_and_newest
from .switches import Switches

_SHARED = ("ReadWriteMany", "ReadWriteOnce", "ReadOnlyMany", "ReadWriteOncePod")
CLASSES = (
    StorageClass("standard", default=True),
    StorageClass("late", late=True),
    StorageClass("fixed", expandable=False),
    StorageClass("shared", access_modes=_SHARED),
)
HOST = "127.0.0.1"
_PATIENCE_SECONDS = 0.2


class StandIn(DirectAccess, Switches):
    """A Kubernetes API server with a cluster behind it, on a port of loopback.

    Parameters
    ----------
    nodes, storage_classes, namespaces
        What is there at the start; namespaces as names, or with their labels.
    processes
        Whether pods are processes of this machine; otherwise hollow.  Raises RuntimeError without bubblewrap.
    folder
        For the data of claims and pods; None: one of its own, removed at the end.
    ready_after_seconds
        Hollow pods: from assigned to ready; None: until `make_ready`.
    grace_in_full
        Hollow pods: whether a deletion takes the whole grace period.
    crash_seconds
        The pause before a container's second restart, doubled each time.
    schemas
        Schema versions for every written object; None: the oldest and the newest; empty: no check.
    images
        What is special about some images.
    tokens
        Who may do what; None: no authentication.
    moment_seconds
        How long claims take to be bound or to go, and load balancers to have an address; else they do at once.
    """

    def __init__(
        self,
        *,
        nodes: Sequence[Node] = (Node("node-1"),),
        storage_classes: Sequence[StorageClass] = CLASSES,
        namespaces: Iterable[str] | Mapping[str, Mapping[str, str]] = ("default", "kube-system"),
        processes: bool = False,
        folder: Path | None = None,
        ready_after_seconds: float | None = 0.0,
        grace_in_full: bool = False,
        crash_seconds: float = 10.0,
        pull_seconds: float = 10.0,
        schemas: Sequence[str] | None = None,
        images: Mapping[str, Image] | None = None,
        tokens: Tokens | None = None,
        moment_seconds: float = 0.0,
    ) -> None:
        if processes:
            require_bubblewrap()
        self._own_folder = tempfile.TemporaryDirectory(prefix="kubernetes-") if folder is None else None
        self.folder = Path(self._own_folder.name) if self._own_folder else Path(folder or "")
        if not isinstance(namespaces, Mapping):
            namespaces = {name: {} for name in namespaces}
        settings = Settings(
            processes=processes,
            ready_after_seconds=ready_after_seconds,
            grace_in_full=grace_in_full,
            crash_seconds=crash_seconds,
            pull_seconds=pull_seconds,
            images=images or {},
        )
        self._cluster = Cluster(
            nodes=nodes,
            storage_classes=storage_classes,
            namespaces={"default": {}, **namespaces},
            schemas=oldest_and_newest() if schemas is None else schemas,
            settings=settings,
            folder=self.folder,
            moment_seconds=moment_seconds,
        )
        self._store, self._registry = self._cluster.store, self._cluster.registry
        self._faults = Faults()
        self._door = Door(self._cluster, self._faults, tokens)
        self._runner: web.ServerRunner | None = None
        self._site: web.TCPSite | None = None
        self._server: web.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self.port}"

    @property
    def requests(self) -> Counter[tuple[str, str]]:
        """How often each (verb, resource) was asked for, answered or not."""
        return self._door.requests

    @property
    def request_log(self) -> list[Json]:
        """The requests one by one: verb, resource, namespace, name, status."""
        return list(self._door.log)

    def forget_requests(self) -> None:
        """Start to count anew."""
        self._door.requests.clear()
        self._door.log.clear()

    async def start(self, port: int = 0) -> None:
        """Listen, in the running loop.  Raises OSError when the port is taken."""
        self.port = port
        self._cluster.start()
        self._server = web.Server(self._door.answer, request_factory=_request)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_PATIENCE_SECONDS)
        await self._runner.setup()
        await self.come_back()

    async def stop(self) -> None:
        """Stop for good: the door, the watches, all processes."""
        self.stop_hanging()
        await self._cluster.stop()
        if self._runner is not None:
            await self.go_down()
            await self._runner.cleanup()
        if self._own_folder is not None:
            self._own_folder.cleanup()

    async def go_down(self) -> None:
        """Refuse connections and break the open ones; the cluster behind goes on."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        if self._server is not None:
            for connection in list(self._server.connections):
                if connection.transport is not None:
                    connection.transport.abort()
        self.cut_watches()
        await asyncio.sleep(0)

    async def come_back(self) -> None:
        """Listen again on the same port."""
        if self._site is None and self._runner is not None:
            self._site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
            await self._site.start()
            self.port = self._runner.addresses[0][1]

    async def __aenter__(self) -> StandIn:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _request(*parts: Any) -> web.BaseRequest:
    """A request as large as a real server takes it."""
    return web.BaseRequest(*parts, asyncio.get_running_loop(), client_max_size=REQUEST_BYTES_MAX)
