"""Ports that are declared and removed while a workspace runs, and what is said about each.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

from .catalog import ClusterKind
from .errors import BadInput, Conflict, NotFound
from .plan import Port, WorkspacePlan
from .request import PORTS_MAX, PortRequest
from .text import check_name
from .wire import PortView


def with_port(ports: tuple[Port, ...], name: str, wanted: PortRequest) -> tuple[Port, ...]:
    """The ports with one more, or with one changed in its place.

    Raises `BadInput` for a name that is none, `Conflict` when its number has another name or there are too many.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise BadInput(f"Name: {error}.", field="name") from None
    taken = next((p.name for p in ports if p.port == wanted.port and p.name != name), None)
    if taken is not None:
        raise Conflict(f"Port {wanted.port} is declared as {taken} already.", field="port")
    port = Port(name=name, type=wanted.type, port=wanted.port, path=wanted.path)
    if any(p.name == name for p in ports):
        return tuple(port if p.name == name else p for p in ports)
    if len(ports) >= PORTS_MAX:
        raise Conflict(f"A workspace has at most {PORTS_MAX} ports.", hint="Remove one first.")
    return (*ports, port)


def without_port(ports: tuple[Port, ...], name: str) -> tuple[Port, ...]:
    """The ports without one; raises `NotFound` when there is none of that name."""
    left = tuple(p for p in ports if p.name != name)
    if len(left) == len(ports):
        raise NotFound("There is no port of that name.", field="name")
    return left


def port_views(plan: WorkspacePlan, addresses: Mapping[str, str], *, running: bool) -> tuple[PortView, ...]:
    """Every declared port; ``addresses`` is where the cluster says that ``tcp`` ports are reached."""
    return tuple(_port_view(plan, port, addresses, running) for port in plan.ports)


def _port_view(plan: WorkspacePlan, port: Port, addresses: Mapping[str, str], running: bool) -> PortView:
    address, note = "", ""
    if port.type == "tcp" and running:
        if plan.cluster_kind is ClusterKind.LOCAL:
            address, note = f"localhost:{port.port}", "It is reached from the same machine only."
        elif f"{port.name}:{port.port}" not in addresses:
            note = "It gets an address at the next start: pause the workspace, then resume it."
        else:
            address = addresses[f"{port.name}:{port.port}"]
            note = "" if address else "The cluster has not given it an address yet."
    return PortView(name=port.name, type=port.type, port=port.port, path=port.path, address=address, note=note)
