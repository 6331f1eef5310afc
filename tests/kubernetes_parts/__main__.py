"""The stand-in as a program: ``python tests/kubernetes_parts/__main__.py --help``.

It prints one line of JSON when it listens (url, control_url, kubeconfig), and ends with all its pods at SIGTERM.
A second port takes the switches: ``POST /test/<method of StandIn>`` with a JSON object of keyword arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

if __package__ in (None, ""):  # started by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from kubernetes_parts import Image, Node, Refused, Rule, StandIn, StorageClass, write_kubeconfig


def _seconds(text: str) -> float | None:
    return None if text == "never" else float(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A Kubernetes API for tests, with pods as local processes.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--kubeconfig", type=Path, help="write a kubeconfig here")
    parser.add_argument("--context", default="stand-in", help="its context's name")
    parser.add_argument("--folder", type=Path, help="for the data of claims and pods")
    parser.add_argument("--processes", action="store_true", help="pods are processes, not hollow")
    parser.add_argument("--namespaces", default="default,kube-system")
    parser.add_argument("--nodes", type=json.loads, help='JSON: [{"name": "a", "cpu": "8"}]')
    parser.add_argument("--storage-classes", type=json.loads, help='JSON: [{"name": "standard", "default": true}]')
    parser.add_argument(
        "--images", type=json.loads, default={}, help='JSON: {"x:1": {"pull": "private", "secret": "s"}}'
    )
    parser.add_argument("--tokens", type=json.loads, help='JSON: {"token": null or a list of rules}')
    parser.add_argument("--schemas", help="versions, for example 1.31,1.37")
    parser.add_argument("--no-schemas", action="store_true", help="check no schemas")
    parser.add_argument("--ready-after-seconds", type=_seconds, default=0.0, help="or never")
    parser.add_argument("--grace-in-full", action="store_true")
    parser.add_argument("--crash-seconds", type=float, default=10.0)
    return parser.parse_args()


def _stand_in(options: argparse.Namespace) -> StandIn:
    settings: dict[str, Any] = {}
    if options.nodes:
        settings["nodes"] = [Node(**one) for one in options.nodes]
    if options.storage_classes:
        settings["storage_classes"] = [StorageClass(**one) for one in options.storage_classes]
    if options.tokens is not None:
        settings["tokens"] = {
            token: None if rules is None else [Rule(**rule) for rule in rules]
            for token, rules in options.tokens.items()
        }
    if options.no_schemas or options.schemas:
        settings["schemas"] = () if options.no_schemas else options.schemas.split(",")
    return StandIn(
        namespaces=options.namespaces.split(","),
        processes=options.processes,
        folder=options.folder,
        ready_after_seconds=options.ready_after_seconds,
        grace_in_full=options.grace_in_full,
        crash_seconds=options.crash_seconds,
        images={name: Image(**one) for name, one in options.images.items()},
        **settings,
    )


class Control:
    """Calls the methods of a stand-in for whoever asks at the control port."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The result of one call as JSON."""
        name = request.path.removeprefix("/test/")
        if not request.path.startswith("/test/") or name.startswith("_") or not hasattr(self._stand_in, name):
            return web.json_response({"error": f"there is no {request.path}"}, status=404)
        try:
            found = getattr(self._stand_in, name)
            result = found(**json.loads(await request.read() or b"{}")) if callable(found) else found
            result = await result if inspect.isawaitable(result) else result
        except Refused as refused:
            return web.json_response({"refused": refused.body}, status=400)
        except (asyncio.TimeoutError, KeyError, OSError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        if name == "requests":
            result = {" ".join(key): count for key, count in result.items()}
        return web.Response(text=json.dumps({"result": result}, default=str), content_type="application/json")


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stand_in = _stand_in(options)
    await stand_in.start(options.port)
    runner = web.ServerRunner(web.Server(Control(stand_in).answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.control_port).start()
    try:
        if options.kubeconfig:
            tokens = {options.context: next(iter(options.tokens))} if options.tokens else {}
            write_kubeconfig(options.kubeconfig, {options.context: stand_in.url}, tokens=tokens)
        hello = {"url": stand_in.url, "control_url": f"http://127.0.0.1:{runner.addresses[0][1]}"}
        print(json.dumps(hello | {"kubeconfig": str(options.kubeconfig or "")}), flush=True)
        await stop.wait()
    finally:
        await stand_in.stop()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main(_arguments()))
