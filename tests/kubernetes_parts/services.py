"""Addresses of Services, and forwarding of their ports to pods when pods are real processes."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

from .checks import NODE_PORTS
from .problems import Json, Problem, invalid
from .selecting import labels_match
from .store import Store

NODE_ADDRESS = "127.0.0.1"
"""Where node ports and load balancers listen: every node of the small cluster is this machine."""
BALANCED: Json = {"loadBalancer": {"ingress": [{"ip": NODE_ADDRESS, "ipMode": "VIP"}]}}


class Addresses:
    """Who has which address of loopback: pods in 127.64.0.0/10, Services in 127.128.0.0/9; and which node port.

    It starts somewhere at random, so that several stand-ins at the same time do not meet.
    """

    def __init__(self, store: Store, moment_seconds: float = 0.0) -> None:
        self._store = store
        self.balancers_are_late = False
        self.moment_seconds = moment_seconds
        self._next_pod = random.randrange(1 << 22)
        self._next_service = random.randrange(1 << 23)

    def pod(self) -> str:
        """A new podIP."""
        self._next_pod = (self._next_pod + 1) % (1 << 22)
        return _address(127 << 24 | 64 << 16, self._next_pod)

    def give(self, service: Json, old: Json | None) -> None:
        """Fill in clusterIP and node ports, in place.  Raises `Refused` (422) for a port that is taken."""
        spec: Json = service["spec"]
        if spec["type"] == "ExternalName":
            spec.pop("clusterIP", None)
            return
        if not spec.get("clusterIP"):
            kept = old["spec"].get("clusterIP") if old else None
            if kept is None:
                self._next_service = (self._next_service + 1) % (1 << 23)
                kept = _address(127 << 24 | 128 << 16, self._next_service)
            spec["clusterIP"] = kept
        spec["clusterIPs"] = [spec["clusterIP"]]
        if spec["type"] == "ClusterIP":
            for port in spec.get("ports") or []:
                port.pop("nodePort", None)
            return
        self._give_node_ports(service, old)
        if spec["type"] == "LoadBalancer" and not self.balancers_are_late and not self.moment_seconds:
            service["status"] = dict(BALANCED)

    def _give_node_ports(self, service: Json, old: Json | None) -> None:
        own = service["metadata"].get("namespace"), service["metadata"]["name"]
        taken: set[int] = set()
        for other in self._store.all("services"):
            if (other["metadata"].get("namespace"), other["metadata"]["name"]) != own:
                taken |= {port["nodePort"] for port in other["spec"].get("ports") or [] if port.get("nodePort")}
        before = {p["port"]: p.get("nodePort") for p in (old["spec"].get("ports") or [] if old else [])}
        for index, port in enumerate(service["spec"].get("ports") or []):
            number = port.get("nodePort") or before.get(port["port"])
            if number in taken:
                words = "provided port is already allocated"
                problem = Problem(f"spec.ports[{index}].nodePort", "Invalid value", words, number)
                raise invalid("Service", service["metadata"]["name"], [problem])
            if not number:
                number = random.choice([one for one in NODE_PORTS if one not in taken])
            taken.add(number)
            port["nodePort"] = number


def _address(base: int, offset: int) -> str:
    number = base + offset
    # an address that ends in .0 or .255 is fine on loopback
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


class Forwarding:
    """A small kube-proxy: listens at a Service's addresses and passes connections to a ready pod behind it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: dict[tuple[str, str], list[asyncio.Server]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def follow(self, namespace: str, name: str) -> None:
        """Listen, or stop to listen, as a Service now says."""
        task = asyncio.get_running_loop().create_task(self._follow(namespace, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Close everything."""
        for task in list(self._tasks):
            task.cancel()
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
        self._listeners.clear()

    async def _follow(self, namespace: str, name: str) -> None:
        for listener in self._listeners.pop((namespace, name), []):
            listener.close()
        service = self._store.get("services", namespace, name)
        if service is None or not service["spec"].get("selector"):
            return
        found = self._listeners.setdefault((namespace, name), [])
        for port in service["spec"].get("ports") or []:
            places = [(service["spec"].get("clusterIP"), port["port"]), (NODE_ADDRESS, port.get("nodePort"))]
            if service["spec"]["type"] == "LoadBalancer":
                places.append((NODE_ADDRESS, port["port"]))
            for address, number in places:
                if number and address and address != "None":
                    with contextlib.suppress(OSError):  # a port that somebody else has
                        found.append(await asyncio.start_server(self._passer(service, port), address, number))

    def _passer(self, service: Json, port: Json) -> Any:
        async def passes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._tasks.add(asyncio.current_task())  # type: ignore[arg-type]
            try:
                place = self._endpoint(service, port)
                if place is not None:
                    to_reader, to_writer = await asyncio.open_connection(*place)
                    with contextlib.closing(to_writer):
                        await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))
            except OSError:
                pass
            finally:
                self._tasks.discard(asyncio.current_task())  # type: ignore[arg-type]
                writer.close()

        return passes

    def _endpoint(self, service: Json, port: Json) -> tuple[str, int] | None:
        for pod in self._store.all("pods", service["metadata"]["namespace"]):
            status = pod.get("status") or {}
            if "deletionTimestamp" in pod["metadata"] or not status.get("podIP"):
                continue
            if status.get("phase") != "Running" or not all(one["ready"] for one in status["containerStatuses"]):
                continue
            if labels_match(service["spec"]["selector"], pod["metadata"].get("labels") or {}):
                target = port["targetPort"]
                for container in pod["spec"]["containers"]:
                    for one in container.get("ports") or []:
                        target = one["containerPort"] if one.get("name") == target else target
                if isinstance(target, int):
                    return status["podIP"], target
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
