"""The largest workspace that the nodes of a Kubernetes cluster can hold, where they may be listed.

Every start asks for it, so it is answered from memory and looked up in the background.  An operator whose cluster
adds nodes when they are needed does not let this service list them: what no node has yet could not be chosen.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ...model.availability import Capacity
from .errors import ClusterUnreachable
from .kubernetes_api import BROKEN, Api, Refused
from .kubernetes_quantities import amount, cpu_millis, size_bytes

FRESH_SECONDS = 60.0
NOT_ALLOWED_SECONDS = 600.0
"""For how long it is believed that nodes may not be listed."""
UNREACHABLE_SECONDS = 10.0
FIRST_SECONDS = 1.0
"""How long the very first caller waits; after that nobody does."""

GPU_TYPE_LABELS = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
    "k8s.amazonaws.com/accelerator",
    "karpenter.k8s.aws/instance-gpu-name",
)
"""Labels that say what kind of GPU a node has: of device plugins, and of clouds that set none of theirs."""
_WORDS_MAX = 8

UNKNOWN = Capacity(gpus=None)


class Capacities:
    """The capacity of one cluster, kept in memory.

    Parameters
    ----------
    gpu_resources
        What GPUs are called in the offer, such as ``nvidia.com/gpu``.
    """

    def __init__(self, api: Api, gpu_resources: frozenset[str]) -> None:
        self._api = api
        self._gpu_resources = gpu_resources
        self._known: Capacity | None = None
        self._until = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def capacity(self) -> Capacity:
        """What is known; unknown until the first answer, unreachable only after the API did not answer."""
        if self._task is None and time.monotonic() >= self._until:
            self._task = asyncio.create_task(self._refresh())
        if self._known is None and self._task is not None:
            await asyncio.wait([self._task], timeout=FIRST_SECONDS)
        return self._known or UNKNOWN

    async def close(self) -> None:
        """Look up nothing more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _refresh(self) -> None:
        fresh_seconds = UNREACHABLE_SECONDS
        try:
            nodes = await self._api.items("/api/v1/nodes")
            self._known, fresh_seconds = capacity_of(nodes, self._gpu_resources), FRESH_SECONDS
        except Refused as refused:
            if refused.status == 403:
                self._known, fresh_seconds = UNKNOWN, NOT_ALLOWED_SECONDS
            else:
                self._known = _unreachable(BROKEN)
        except ClusterUnreachable as error:
            self._known = _unreachable(error.reason)
        finally:
            self._until = time.monotonic() + fresh_seconds
            self._task = None


def _unreachable(reason: str) -> Capacity:
    return Capacity(reachable=False, why=f"this cluster cannot be used: {reason}", gpus=None)


def capacity_of(nodes: Iterable[Mapping[str, Any]], gpu_resources: frozenset[str]) -> Capacity:
    """The most of everything that any node has.

    GPUs are counted by every word of their type's name, and by words that follow each other: a spec's ``H100`` and
    ``A100-80GB`` both find theirs.  Where a node does not say what GPUs it has, types are unknown.
    """
    cpu, memory = 0, 0
    gpus: dict[str, int] | None = {}
    for node in nodes:
        has = (node.get("status") or {}).get("allocatable") or {}
        cpu, memory = max(cpu, cpu_millis(has.get("cpu"))), max(memory, size_bytes(has.get("memory")))
        count = int(max((amount(has.get(resource)) for resource in gpu_resources), default=0))
        labels = (node.get("metadata") or {}).get("labels") or {}
        kind = next((labels[label] for label in GPU_TYPE_LABELS if labels.get(label)), "")
        if not count or gpus is None:
            continue
        if not kind:
            gpus = None
            continue
        for name in gpu_names(kind):
            gpus[name] = max(gpus.get(name, 0), count)
    # without any node nothing is known either: it has none yet
    return Capacity(cpu_millis=cpu or None, memory_bytes=memory or None, gpus=gpus if cpu else None)


def gpu_names(kind: str) -> frozenset[str]:
    """What a GPU can be called: words of its name, in capitals, one or several in a row."""
    words = re.findall(r"[A-Z0-9]+", kind.upper())[:_WORDS_MAX]
    rows = [words[first:last] for first in range(len(words)) for last in range(first + 1, len(words) + 1)]
    return frozenset(sign.join(row) for row in rows for sign in ("-", " "))
