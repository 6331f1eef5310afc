"""Where tcp ports are reached, reported to the service in the background for as long as the pod is followed.

A workspace starts and runs without it: what cannot be asked or reported now is tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.model.errors import BadInput, Conflict, NotFound, PublicError
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.model.wire_base import NAME_CHARACTERS_MAX
from jupyterhub_vessl.model.wire_status import AddressReport

from .kubernetes_clusters import ApiRefusal
from .kubernetes_objects import Json, Objects
from .kubernetes_render import tcp_addresses
from .kubernetes_watch import FORBIDDEN, scattered

FIRST_PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 30.0
"""Between two tries; each pause is half as long again as the one before."""
LATE_SECONDS_MAX = 900.0
"""How long the cluster may take to give an address: clouds need minutes for a load balancer, some never make one."""
RESUMED_SECONDS = 20.0
"""Before a hub that was just started asks, so that it does not ask about all workspaces at the same instant."""


def has_tcp_ports(plan: WorkspacePlan) -> bool:
    """Whether a plan has ports that a cluster gives addresses to."""
    return any(port.type == "tcp" for port in plan.ports)


@dataclass(frozen=True)
class AddressNews:
    """The addresses of one admission.

    Attributes
    ----------
    client
        Makes one try per call; the pauses are up to `tell`.
    made
        The Service as the cluster answered when it was made, so that it need not be asked at once; None when an
        earlier hub made it.
    """

    objects: Objects
    plan: WorkspacePlan
    admission_id: str
    client: ServiceClient
    made: Json | None

    async def tell(self) -> None:
        """Until every port has an address and the service knows all of them, or nothing more is to be expected."""
        if self.made is None:
            await asyncio.sleep(scattered(RESUMED_SECONDS))
        late_seconds, pause_seconds = time.monotonic() + LATE_SECONDS_MAX, FIRST_PAUSE_SECONDS
        service, warned = self.made, False
        found: dict[str, str] = {}
        told: dict[str, str] | None = None
        while True:
            try:
                service = service or await self.objects.find_service()
                if service is None:
                    return  # somebody removed it, and with it what was reached there
                found = await self._addresses(service)
                if found != told:
                    await self.client.addresses(self.admission_id, AddressReport(addresses=found))
                    told = found
                if all(found.values()):
                    return
                service = None
                if time.monotonic() > late_seconds:
                    self._log.warning("The cluster gives the tcp ports of %s no address", self._name)
                    return
            except Exception as error:
                if _is_final(error):
                    self._log.error("No address of %s is shown: %s", self._name, _why(error))
                    return
                if not warned:
                    self._log.warning("The addresses of %s are not shown yet: %s", self._name, _why(error))
                warned = True
                service = service if all(found.values()) else None
            await asyncio.sleep(scattered(pause_seconds))
            pause_seconds = min(pause_seconds * 1.5, PAUSE_SECONDS_MAX)

    async def _addresses(self, service: Json) -> dict[str, str]:
        """What to report: each tcp port, with empty text while the cluster does not say where it is reached."""
        node_ip = ""
        if service["spec"]["type"] == "NodePort":
            pod = await self.objects.find_pod()  # who may see nodes is not the hub
            node_ip = ((pod or {}).get("status") or {}).get("hostIP") or ""
        known = tcp_addresses(self.plan, service, node_ip=node_ip)
        known = {name: address for name, address in known.items() if len(address) <= NAME_CHARACTERS_MAX}
        return {port.name: known.get(port.name, "") for port in self.plan.ports if port.type == "tcp"}

    @property
    def _log(self) -> Any:
        return self.objects.cluster.log

    @property
    def _name(self) -> str:
        return bounded(self.objects.place.name)


def _is_final(error: Exception) -> bool:
    """Whether the same request cannot succeed later; a token that is refused may be repaired while this hub lives."""
    if isinstance(error, ApiRefusal):
        return error.status == FORBIDDEN
    return isinstance(error, NotFound | Conflict | BadInput)


def _why(error: Exception) -> str:
    """For the log: words of the service or ours, never those of a cluster."""
    if isinstance(error, ApiRefusal):
        lacking = " (the hub's Role lacks the verb get of services or pods)" if error.status == FORBIDDEN else ""
        return f"{error}{lacking}"
    return bounded(error.message, 200) if isinstance(error, PublicError) else type(error).__name__
