"""One pod on its node: pull, start, restart, end.  The kubelet has one worker for each."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from . import pod_status
from .images import Image, find_image, pull_problem
from .pod_files import NotYet, bound_at, expand
from .problems import Json
from .processes import Container, Process
from .services import NODE_ADDRESS

if TYPE_CHECKING:
    from .kubelet import Kubelet

_AGAIN_SECONDS = 0.05
_CRASH_MAX_SECONDS = 300.0


class Worker:
    """Writes the status of one pod.  Does nothing more once `abandon` was called."""

    def __init__(self, kubelet: Kubelet, pod: Json) -> None:
        self._kubelet = kubelet
        self._namespace: str = pod["metadata"]["namespace"]
        self._name: str = pod["metadata"]["name"]
        self._uid: str = pod["metadata"]["uid"]
        status = pod.get("status") or {}
        self.address: str = status.get("podIP") or kubelet.addresses.pod()
        known = (status.get("containerStatuses") or [{}])[0]
        self._restarts: int = known.get("restartCount", 0)
        self._last: Json = known.get("lastState", {})
        self._state: Json = known.get("state", {})
        self._process: Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = False
        self._over = status.get("phase") in ("Succeeded", "Failed")
        self._oom = False
        self._blocked = False

    # helpers -----------------------------------------------------------------------------------------------------

    def _pod(self) -> Json | None:
        pod = self._kubelet.registry.store.get("pods", self._namespace, self._name)
        return pod if pod is not None and pod["metadata"]["uid"] == self._uid else None

    def _later(self, seconds: float, what: Any, *args: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, what, *args)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._kubelet.tasks.add(task)
        task.add_done_callback(self._kubelet.tasks.discard)

    def _write(
        self,
        pod: Json,
        phase: str,
        state: Json,
        *,
        ready: bool = False,
        why: str = "",
        others_run: bool = False,
        **more: Any,
    ) -> None:
        self._state = state
        first, *others = pod["spec"]["containers"]
        options: Json = {"restarts": self._restarts, "last": self._last}
        statuses = [pod_status.container_status(first, state, ready=ready, **options)]
        beside = pod_status.running() if others_run else state
        statuses += [pod_status.container_status(one, beside, ready=ready or others_run) for one in others]
        address = self.address if "waiting" not in state or self._restarts else None
        status = pod_status.whole(pod, phase, statuses, address, NODE_ADDRESS, why=why, **more)
        self._kubelet.registry.settle({**pod, "status": status})

    def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        pod = self._pod()
        if pod is not None:
            self._kubelet.event(pod, reason, message, warning=warning)

    def _image(self, pod: Json) -> Image:
        return find_image(self._kubelet.settings.images, pod["spec"]["containers"][0]["image"])

    # start -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The pod was assigned: try to start it."""
        pod = self._pod()
        if pod is None or self._ending or self._over:
            return
        container, image, self._blocked = pod["spec"]["containers"][0], self._image(pod), False
        if (pod["status"].get("containerStatuses") or [None])[0] is None:
            self._write(pod, "Pending", pod_status.waiting("ContainerCreating"))
            pod = self._pod() or pod
        problem = pull_problem(
            image, container["image"], self._kubelet.secret_names(pod), container.get("imagePullPolicy", "IfNotPresent")
        )
        if problem is not None:
            self._cannot_pull(container["image"], *problem)
            return
        try:
            volumes = self._kubelet.files.volumes(pod) if self._kubelet.settings.processes else {}
            environment = self._kubelet.files.variables(pod, container, image.variables())
            self._check_user(pod, container, image)
        except NotYet as error:
            self._wait(error)
            return
        self._event("Pulled", f'Container image "{container["image"]}" already present on machine')
        if self._kubelet.settings.processes:
            self._spawn(self._start_process(pod, self._container(pod, image, volumes, environment)))
        elif self._kubelet.settings.ready_after_seconds == 0:
            self.make_ready()
        elif self._kubelet.settings.ready_after_seconds is not None:
            self._later(self._kubelet.settings.ready_after_seconds, self.make_ready)

    def _check_user(self, pod: Json, container: Json, image: Image) -> None:
        context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
        if context.get("runAsNonRoot") and context.get("runAsUser", image.user_id) == 0:
            message = "container has runAsNonRoot and image will run as root"
            raise NotYet("CreateContainerConfigError", message, "Failed")

    def _wait(self, error: NotYet) -> None:
        pod = self._pod()
        if pod is None:
            return
        self._blocked = True  # until a Secret or a ConfigMap changes
        message = str(error) if error.event == "FailedMount" else f"Error: {error}"
        self._event(error.event, message, warning=True)
        shown = "" if error.reason == "ContainerCreating" else str(error)
        self._write(pod, "Pending", pod_status.waiting(error.reason, shown))

    def _cannot_pull(self, image: str, reason: str, message: str) -> None:
        pod = self._pod()
        if pod is None:
            return
        self._blocked = True
        if reason == "ErrImagePull":
            self._event("Pulling", f'Pulling image "{image}"')
            self._event("Failed", f'Failed to pull image "{image}": {message}', warning=True)
        self._event("Failed", f"Error: {reason}", warning=True)
        self._write(pod, "Pending", pod_status.waiting(reason, message))
        if reason == "ErrImagePull":
            self._later(_AGAIN_SECONDS, self._back_off, image, message)

    def _back_off(self, image: str, why: str) -> None:
        pod = self._pod()
        if pod is None or not self._blocked or self._ending:
            return
        message = f'Back-off pulling image "{image}"'
        self._event("BackOff", message)
        self._event("Failed", "Error: ImagePullBackOff", warning=True)
        self._write(pod, "Pending", pod_status.waiting("ImagePullBackOff", f"{message}: ErrImagePull: {why}"))
        self._later(self._kubelet.settings.pull_seconds, self.begin)

    def look_again(self) -> None:
        """Something that the pod may wait for has changed."""
        if self._blocked and not self._ending:
            self._later(0, self.begin)

    def make_ready(self) -> None:
        """The container runs and is ready."""
        pod = self._pod()
        if pod is None or self._ending or self._over:
            return
        name = pod["spec"]["containers"][0]["name"]
        self._event("Created", f"Created container: {name}")
        self._event("Started", f"Started container {name}")
        self._write(self._pod() or pod, "Running", pod_status.running(), ready=True)

    # processes ---------------------------------------------------------------------------------------------------

    def _container(self, pod: Json, image: Image, volumes: Any, environment: dict[str, str]) -> Container:
        container = pod["spec"]["containers"][0]
        words = [*(container.get("command") or []), *(container.get("args") or [])] or list(image.command)
        own = {entry["name"]: environment[entry["name"]] for entry in container.get("env") or []}
        words = [bound_at(expand(word, own), self.address) for word in words]
        if "JUPYTERHUB_SERVICE_URL" in environment:
            url = bound_at(environment["JUPYTERHUB_SERVICE_URL"], self.address)
            environment = {**environment, "JUPYTERHUB_SERVICE_URL": url}
        context = {**(pod["spec"].get("securityContext") or {}), **(container.get("securityContext") or {})}
        return Container(
            argv=words,
            environment=environment,
            mounts=self._kubelet.files.mounts(pod, container, volumes),
            working_dir=container.get("workingDir") or image.working_dir,
            user_id=context.get("runAsUser", image.user_id),
            group_id=context.get("runAsGroup", image.group_id),
            hostname=(pod["spec"].get("hostname") or self._name)[:63],
        )

    async def _start_process(self, pod: Json, container: Container) -> None:
        folder = self._kubelet.files.folder / self._uid
        process = Process(container, folder, self._kubelet.log_file(pod), self._ended)
        self._oom, self._process = False, process
        if not container.argv:
            self._failed_to_start(pod, "no command specified")
            return
        try:
            await process.start()
        except (OSError, ValueError) as error:
            self._failed_to_start(pod, str(error))
            return
        if self._ending or self._over or self._pod() is None:
            await process.kill()
            self._finish()
        else:
            self.make_ready()

    def _failed_to_start(self, pod: Json, why: str) -> None:
        message = f"failed to create containerd task: failed to create shim task: OCI runtime create failed: {why}"
        self._event("Failed", f"Error: {message}", warning=True)
        self._write(self._pod() or pod, "Pending", pod_status.waiting("RunContainerError", message))

    # end ---------------------------------------------------------------------------------------------------------

    def _ended(self, code: int) -> None:
        self._process = None
        if self._ending:
            self._finish(code)
        else:
            self.exited(code)

    def exited(self, code: int, reason: str = "", *, others_run: bool = False) -> None:
        """The container ended by itself: restart it in place, or the pod has ended unless its other containers run."""
        pod = self._pod()
        if pod is None or self._over:
            return
        reason = reason or (pod_status.OOM_KILLED if self._oom else pod_status.ERROR if code else pod_status.COMPLETED)
        started = (self._state.get("running") or {}).get("startedAt")
        state = pod_status.terminated(code, reason, started)
        policy = pod["spec"].get("restartPolicy", "Always")
        if policy == "Never" or (policy == "OnFailure" and code == 0):
            self._over = True
            goes_on = others_run and len(pod["spec"]["containers"]) > 1
            phase = "Running" if goes_on else "Failed" if code else "Succeeded"
            self._write(pod, phase, state, others_run=goes_on)
            return
        self._write(pod, "Running", state)
        self._last = state
        pause = 0.0 if not self._restarts else self._kubelet.settings.crash_seconds * 2 ** (self._restarts - 1)
        self._restarts += 1
        if pause:
            container = pod["spec"]["containers"][0]["name"]
            where = f"{container} pod={self._name}_{self._namespace}({self._uid})"
            message = f"Back-off restarting failed container {where}"
            self._event("BackOff", message, warning=True)
            crash = pod_status.waiting("CrashLoopBackOff", f"back-off {pause:.0f}s restarting failed container={where}")
            self._write(self._pod() or pod, "Running", crash)
        self._later(min(pause, _CRASH_MAX_SECONDS), self.begin)

    def kill_for_memory(self) -> None:
        """End the container as the kernel does that has no memory left for it."""
        if self._process is not None:
            self._oom = True
            self._process.send(signal.SIGKILL)
        else:
            self.exited(137, pod_status.OOM_KILLED)

    def evict(self, message: str) -> None:
        """End the pod because its node needs what it uses."""
        pod = self._pod()
        if pod is None or self._over:
            return
        self._over = True
        self._event("Evicted", message, warning=True)
        pod = self._pod() or pod
        disrupted = pod_status.disruption("TerminationByKubelet", message)
        before = [one for one in pod["status"].get("conditions") or [] if one["type"] != "DisruptionTarget"]
        pod = {**pod, "status": {**pod["status"], "conditions": [*before, disrupted]}}
        started = (self._state.get("running") or {}).get("startedAt")
        state = pod_status.terminated(137, pod_status.ERROR, started)
        self._write(pod, "Failed", state, why="PodFailed", reason="Evicted", message=message)
        self._spawn(self.kill())

    def terminate(self, grace_seconds: float) -> None:
        """The pod was deleted: end it within its grace period."""
        if self._ending:
            self._soon_kill(grace_seconds)
            return
        self._ending = True
        pod = self._pod()
        if pod is not None and "running" in self._state:
            name = pod["spec"]["containers"][0]["name"]
            self._event("Killing", f"Stopping container {name}")
        if self._process is not None:
            self._process.send(signal.SIGTERM)
            self._soon_kill(grace_seconds)
        elif self._kubelet.settings.grace_in_full and not self._over:
            self._later(grace_seconds, self._finish)
        else:
            self._finish()

    def _soon_kill(self, grace_seconds: float) -> None:
        if self._process is not None:
            self._later(grace_seconds, self._process.send, signal.SIGKILL)

    def _finish(self, code: int = 0) -> None:
        pod = self._pod()
        if pod is None:
            return
        if "running" in self._state and not self._over:
            reason = pod_status.ERROR if code else pod_status.COMPLETED
            state = pod_status.terminated(code, reason, self._state["running"].get("startedAt"))
            self._write(pod, "Failed" if code else "Succeeded", state)
            self._over = True
        if "deletionTimestamp" in pod["metadata"]:
            self._kubelet.finish(pod)

    def abandon(self) -> None:
        """The object is gone: nothing of it may go on."""
        self._over = self._ending = True
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None:
            self._spawn(self.kill())

    def vanish(self) -> None:
        """The node is lost: the process ends, and nobody tells the server."""
        self._over = True
        self._spawn(self.kill())

    async def kill(self) -> None:
        """End the process, if there is one, and wait until it is gone."""
        if self._timer is not None:
            self._timer.cancel()
        process, self._process = self._process, None
        if process is not None:
            await process.kill()
