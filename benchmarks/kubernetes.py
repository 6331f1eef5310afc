"""What workspaces on Kubernetes cost the hub, side by side with stock KubeSpawner.

    python benchmarks/kubernetes.py [--quick] [--json FILE] [--peers-only] [--only WORD]

All sides speak in turn to one stand-in of the Kubernetes API, which is a program of its own.  What they do is in
`kubernetes_sides`, how they are compared is in `harness`; sizes and goals are here.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import Goal, Measure, Section, measure, parser, run
from kubernetes_sides import Child, plan_for, seeded_pod

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from kubernetes_parts import running_program

MS, CPU_SECONDS, MIB = "ms", "CPU s", "MiB"
Measures = Iterator[Sequence[Measure]]


@dataclass(frozen=True)
class Sizes:
    """How much of everything one run takes."""

    starts: int
    pods: int
    changes: int
    idle_seconds: int


FULL = Sizes(starts=40, pods=10_000, changes=1_000, idle_seconds=12)
# with fewer pods the garbage collector does not yet go through all that KubeSpawner keeps, as it does in a real hub
QUICK = Sizes(starts=12, pods=1_200, changes=100, idle_seconds=0)


@dataclass
class Setting:
    """One run: the stand-in that all sides speak to, one at a time, and its sizes."""

    api: Any
    sizes: Sizes
    numbers: Iterator[int]
    _seeded: bool = False

    def seed(self) -> None:
        """Have all pods there, once."""
        if not self._seeded:
            self.api.seed_pods(self.sizes.pods, template=seeded_pod())
        self._seeded = True


def starting(setting: Setting) -> Section:
    count = setting.sizes.starts
    stock, ours = "KubeSpawner: start, CPU of the hub for each", "ours: start of the plan, CPU of the hub for each"
    whole = "ours: the same with admission, first answer and report"
    stock_life, our_life = "KubeSpawner: start and stop", "ours: all of the start, and stop"

    def taken(side: str, **traits: Any) -> dict[str, float]:
        first, kubeconfig = next(setting.numbers) * 1000, str(setting.api.kubeconfig)
        child = Child("start", side=side, kubeconfig=kubeconfig, first=first, count=count, traits=traits)
        return {name: 1000 * value for name, value in child.result().items()}

    @contextmanager
    def peer_side() -> Measures:
        def take() -> dict[str, float]:
            found = taken("stock")
            return {stock: found["start"], stock_life: found["start"] + found["stop"]}

        yield [Measure({stock: MS, stock_life: MS}, take)]

    @contextmanager
    def our_side() -> Measures:
        with answering() as (service, port):

            def take_whole() -> dict[str, float]:
                found = taken("whole", service_url=service, port=port)
                return {whole: found["start"], our_life: found["start"] + found["stop"]}

            # no goal is about the plan alone, so a quick run does without it
            plan = [] if setting.sizes is QUICK else [measure(ours, MS, lambda: taken("plan")["start"])]
            yield [*plan, Measure({whole: MS, our_life: MS}, take_whole)]

    goals = (
        Goal(
            "start with admission, first answer and report / KubeSpawner",
            ours=whole,
            over=whole,
            under=stock,
            at_most=1.1,
        ),
        Goal("all of start and stop, ours / KubeSpawner", ours=our_life, over=our_life, under=stock_life, at_most=1.1),
    )
    return Section("starting", goals, our_side, peer_side)


def watching(setting: Setting) -> Section:
    sizes = setting.sizes
    each = f"{sizes.pods:,} pods"
    names = {
        side: {
            "cpu": f"{who}: first list of {each} and {sizes.changes:,} changes",
            "rss": f"{who}: memory for {each}",
            "list": f"{who}: first list of {each}",
        }
        | ({"idle": f"{who}: {sizes.idle_seconds} s without a change, {each}"} if sizes.idle_seconds else {})
        for side, who in (("stock", "KubeSpawner"), ("ours", "ours"))
    }
    units = {"cpu": CPU_SECONDS, "rss": MIB, "list": CPU_SECONDS, "idle": CPU_SECONDS}

    def side(kind: str) -> Any:
        @contextmanager
        def opened() -> Measures:
            api = setting.api
            setting.seed()

            def take() -> dict[str, float]:
                child = Child("watch", side=kind, kubeconfig=str(api.kubeconfig), idle_seconds=sizes.idle_seconds)
                child.expect("listed")
                api.annotate_pods(sizes.pods, sizes.changes)
                api.seed_pods(1, prefix="last", template=seeded_pod())
                found = child.result()
                api.delete("pods", "default", "last-0", grace_seconds=0)
                found["rss"] /= 1 << 20
                return {name: found[key] for key, name in names[kind].items()}

            yield [Measure({name: units[key] for key, name in names[kind].items()}, take)]

        return opened

    ours, stock = names["ours"], names["stock"]
    goals = [
        Goal("CPU of a watch, ours / KubeSpawner", ours=ours["cpu"], over=ours["cpu"], under=stock["cpu"], at_most=0.5),
        Goal(
            "memory of a watch, ours / KubeSpawner", ours=ours["rss"], over=ours["rss"], under=stock["rss"], at_most=0.5
        ),
    ]
    if sizes.idle_seconds:
        name = "CPU of an idle watch, ours / KubeSpawner"
        goals.append(Goal(name, ours=ours["idle"], over=ours["idle"], under=stock["idle"], at_most=0.5))
    return Section("watching", tuple(goals), side("ours"), side("stock"))


def polling(setting: Setting) -> Section:
    count = setting.sizes.pods
    requests, cpu = f"requests for one poll of {count:,} workspaces", f"one poll of {count:,} workspaces"

    @contextmanager
    def our_side() -> Measures:
        api = setting.api
        setting.seed()
        child = Child("poll", kubeconfig=str(api.kubeconfig), count=count)
        child.expect("ready")
        api.until(lambda: api.open_watches("pods"))

        def take() -> dict[str, float]:
            api.forget_requests()
            found = child.again()
            if found["running"] != count:
                raise RuntimeError(f"of {count} workspaces {found['running']:g} run")
            return {requests: sum(api.requests.values()), cpu: found["cpu"]}

        yield [Measure({requests: "", cpu: CPU_SECONDS}, take)]
        child.stop()

    return Section("polling", (Goal(requests, ours=requests, over=requests, at_most=0),), our_side)


@contextmanager
def cluster() -> Iterator[Any]:
    """A stand-in of the API as a program."""
    folder = tempfile.TemporaryDirectory(prefix="kubernetes-benchmark-")
    with folder as path, running_program(Path(path), no_schemas=True) as api:
        yield api


@contextmanager
def answering() -> Iterator[tuple[str, int]]:
    """A service that admits everybody, and a server that answers at every pod's address: (its URL, the port)."""
    import asyncio

    from aiohttp import web

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/admissions"):
            number = int((await request.json())["user"].removeprefix("user-"))
            plan = plan_for(number).model_dump(mode="json")
            return web.json_response({"admission_id": f"admission-{number}", "plan": plan})
        return web.json_response({"at_ms": 1})

    loop, ready = asyncio.new_event_loop(), threading.Event()
    port = 0

    async def serve() -> None:
        nonlocal port
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", 0).start()  # noqa: S104 - all of loopback
        port = runner.addresses[0][1]
        ready.set()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{port}/services/vessl/", port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


COMPARISONS = (starting, watching, polling)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, show, and return the exit status."""
    chosen = parser("What workspaces on Kubernetes cost the hub, beside stock KubeSpawner.").parse_args(arguments)
    sizes = QUICK if chosen.quick else FULL
    with cluster() as api:
        setting = Setting(api, sizes, itertools.count(1))
        return run("kubernetes", asdict(sizes), COMPARISONS, lambda: nullcontext(setting), chosen)


if __name__ == "__main__":
    sys.exit(main())
