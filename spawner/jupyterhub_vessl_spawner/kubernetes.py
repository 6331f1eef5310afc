"""Workspaces as pods: KubeSpawner, told by an admitted plan, on any number of clusters.

What an operator sets for KubeSpawner holds here too, as far as the plan does not decide it.  Not used is how
KubeSpawner asks and watches: one client for all clusters, reflectors that keep whole pods and give up when the API
is gone for a minute, requests that log the pod with its token; and everything that it makes of ``user_options``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

from jupyterhub.utils import maybe_future
from kubespawner import KubeSpawner
from pydantic import ValidationError
from traitlets import Enum, Float, Int, Unicode, default

from jupyterhub_vessl.model import kubernetes_names as names
from jupyterhub_vessl.model.errors import BadInput
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.model.units import GIB

from .base import End, VesslSpawnerMixin, not_started
from .kubernetes_addresses import has_tcp_ports
from .kubernetes_clusters import CLUSTERS, Address, ApiRefusal, Cluster, Pace
from .kubernetes_credentials import Access, NoAccess
from .kubernetes_objects import Place, bury
from .kubernetes_operator import pod_settings, refuse_unusable, unusable
from .kubernetes_pods import Pod
from .kubernetes_refusals import why_refused
from .kubernetes_render import NOTEBOOK_PORT, Json, notebook_port, render_home_claim, render_pod, render_service
from .kubernetes_session import Session
from .kubernetes_settings import PodSettings
from .kubernetes_telling import Telling
from .kubernetes_waiting import Watchdog

STATE_KEY = "vessl_kubernetes"
TOLD_KEY = "restarts_told"
DEFAULT_PORT = 8888
NOT_RUNNING = End(EndReason.EXITED, "it is not running")


class VesslKubernetesSpawner(Telling, VesslSpawnerMixin, KubeSpawner):
    """Runs admitted workspaces as pods."""

    kubeconfig = Unicode(
        help="""The kubeconfig file with the contexts that clusters of the offer name.

        Empty takes the one of the environment variable KUBECONFIG, or else ~/.kube/config.  A cluster without a
        context is the one that the hub runs in; outside of a cluster it is the file's current context.

        Example: c.VesslKubernetesSpawner.kubeconfig = "/etc/jupyterhub/kubeconfig"
        """,
    ).tag(config=True)

    pod_security = Enum(
        ("restricted", "baseline"),
        "restricted",
        help="""The level of Kubernetes' pod security standards that every workspace keeps to.

        With baseline an image may run as root and use sudo.

        Example: c.VesslKubernetesSpawner.pod_security = "baseline"
        """,
    ).tag(config=True)

    writable_bytes = Int(
        10 * GIB,
        min=0,
        help="""How much a workspace may write outside of its volumes: what it installs into its image, /tmp, its log.

        The node keeps that much disk free for it.  A workspace that writes more is ended by its node.

        Example: c.VesslKubernetesSpawner.writable_bytes = 20 * 1024**3
        """,
    ).tag(config=True)

    shared_memory_bytes = Int(
        None,
        allow_none=True,
        min=0,
        help="""The size of /dev/shm, through which processes that train together exchange data.

        None makes it half of the memory of the resource spec, of which it is a part; 0 leaves the 64 MiB of the
        container runtime.

        Example: c.VesslKubernetesSpawner.shared_memory_bytes = 8 * 1024**3
        """,
    ).tag(config=True)

    unschedulable_grace_seconds = Float(
        180.0,
        help="""How long a start waits for a node with room, or for a volume to be made, before it is given up.

        The person is told what is missing, and nothing is charged.  While an autoscaler says that it adds a node,
        it waits longer: until shortly before start_timeout.

        Example: c.VesslKubernetesSpawner.unschedulable_grace_seconds = 60
        """,
    ).tag(config=True)

    node_silence_seconds = Float(
        300.0,
        help="""How long the node of a workspace may say nothing to its cluster before the workspace counts as lost.

        It ends as of when the node fell silent, so nobody pays for a dead node.  A shorter time ends workspaces whose
        node was only cut off for a moment.

        Example: c.VesslKubernetesSpawner.node_silence_seconds = 600
        """,
    ).tag(config=True)

    watch_seconds = Float(
        60.0,
        help="""How long one watch of a cluster's pods lasts before it is renewed.

        It bounds for how long a connection that died silently can go unnoticed.  A renewal is one small request.

        Example: c.VesslKubernetesSpawner.watch_seconds = 120
        """,
    ).tag(config=True)

    watch_retry_seconds_max = Float(
        30.0,
        help="""The longest pause between two tries while a cluster's API does not answer.

        The first is half a second, each further one twice as long.  The hub goes on trying for as long as it runs.

        Example: c.VesslKubernetesSpawner.watch_retry_seconds_max = 10
        """,
    ).tag(config=True)

    _ended_as = NOT_RUNNING
    _address = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # not KubeSpawner's own: it reads the credentials of one cluster before any plan says which, and names the
        # pod after the person instead of the workspace
        super(KubeSpawner, self).__init__(*args, **kwargs)
        self.pod_name = self.dns_name = self.secret_name = self.pvc_name = ""
        self.api = self._start_future = None
        self._unusable = unusable(self)
        self._pvc_exists = self.services_enabled = self.enable_user_namespaces = False
        self._own_namespace = self.namespace
        self._own_port = self.port or DEFAULT_PORT

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return ["jupyterhub-singleuser"]

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        return 600  # a new node with GPUs, and a large image on it

    @default("ready_timeout_seconds")
    def _default_ready_timeout_seconds(self) -> float:
        return 120.0

    async def load_user_options(self) -> None:
        """Nothing: options go to the service, and what comes back is the plan."""

    async def delete_forever(self) -> None:
        """Nothing: the service knows which volumes belong to nobody any more."""

    # -- start ----------------------------------------------------------------

    async def start(self) -> str:
        """Refuses what cannot work here before the service is asked."""
        try:
            refuse_unusable(self, self._unusable)
            self._starting = True
            url = await super().start()
            self._tell_addresses()
            return url
        except BadInput as error:
            raise self._refusal(error) from None
        finally:
            self._starting = False

    async def start_plan(self, plan: WorkspacePlan) -> str:
        """Make home, pod and Service, and wait until the pod runs.  Raises `PublicError` with the reason when not."""
        if plan.kubernetes is None:
            raise BadInput(f"Cluster {plan.cluster} is not Kubernetes.", hint="Ask an admin.", field="cluster")
        if not plan.kubernetes.namespace and self._own_namespace != self.trait_defaults("namespace"):
            # the service looks where the offer says, and would take pods elsewhere for gone
            why = f"vessl.yaml does not say that cluster {plan.cluster} uses another namespace than the hub"
            raise not_started(why, hint="Tell an admin to write it there.")
        place = Place(
            context=plan.kubernetes.context,
            namespace=plan.kubernetes.namespace or self._own_namespace,
            name=names.pod_name(plan),
            admission=self._admission_id,
        )
        self._session = session = self._open(place)
        self._name(place)
        self.port = notebook_port(plan, self._own_port)
        settings = await pod_settings(self)
        try:
            made = await session.make(
                await self._manifest(plan, settings, session.cluster),
                render_home_claim(plan),
                lambda uid: render_service(plan, owner_uid=uid, settings=settings),
                self._show,
            )
            if self.after_pod_created_hook:
                await maybe_future(self.after_pod_created_hook(self, made))
            watchdog = Watchdog(
                plan,
                unschedulable_seconds=self.unschedulable_grace_seconds,
                give_up_seconds=self._give_up_seconds,
            )
            pod = await session.wait(watchdog, plan, self._show)
        except (ApiRefusal, NoAccess) as error:
            self._refused(error)
        self._restarts_told, self._address = pod.restarts, pod.ip
        return self._url(pod)

    async def _manifest(self, plan: WorkspacePlan, settings: PodSettings, cluster: Cluster) -> Json:
        command = [*self.cmd, *self.get_args()] if self.cmd else []
        manifest = render_pod(
            plan,
            environment=self.get_env(),
            command=command,
            port=self.port,
            settings=settings,
            admission_id=self._admission_id,
        )
        if not self.modify_pod_hook:
            return manifest
        changed = await maybe_future(self.modify_pod_hook(self, await cluster.model(manifest, "V1Pod")))
        return dict(await cluster.plain(changed))

    def _refused(self, error: ApiRefusal | NoAccess) -> NoReturn:
        words = (error.words if isinstance(error, ApiRefusal) else "").replace(self.api_token or "\0", "…")
        self.log.error("Workspace %s is refused: %s: %s", bounded(self._log_name), error, bounded(words, 600))
        if isinstance(error, NoAccess):
            raise not_started("the hub has no access to its cluster", hint="Tell an admin.") from None
        refused = why_refused(error.status, error.words)
        raise not_started(refused.why, hint=refused.hint) from None

    def _show(self, step: Any) -> None:
        if step != self._step:
            self._go(step.percent, step.sentence)

    def _url(self, pod: Pod) -> str:
        """Where the hub reaches the server, by KubeSpawner's rules (``get_pod_url``, ``pod_connect_ip``)."""
        ports = [{"name": NOTEBOOK_PORT, "containerPort": self.port}]
        return str(
            self._get_pod_url(
                {
                    "metadata": {"name": self.pod_name, "namespace": self.namespace, "uid": pod.uid},
                    "spec": {"containers": [{"ports": ports}]},
                    "status": {"podIP": pod.ip, "phase": pod.phase},
                }
            )
        )

    def get_env(self) -> dict[str, Any]:
        """The plan's variables and sizes instead of those that KubeSpawner's own settings would give."""
        env: dict[str, Any] = super().get_env()
        if self._plan is not None:
            spec, image = self._plan.spec, self._plan.image_url or self.image
            env |= {"JUPYTER_IMAGE": image, "JUPYTER_IMAGE_SPEC": image}
            env |= dict.fromkeys(("MEM_LIMIT", "MEM_GUARANTEE"), str(spec.memory_bytes))
            env |= dict.fromkeys(("CPU_LIMIT", "CPU_GUARANTEE"), str(spec.cpu_millis / 1000))
        return env

    # -- cluster --------------------------------------------------------------

    def _open(self, place: Place, *, resumed: bool = False) -> Session:
        access = Access(
            kubeconfig=self.kubeconfig,
            host=self.k8s_api_host,
            ca_file=self.k8s_api_ssl_ca_cert,
            verify_tls=self.k8s_api_verify_ssl,
        )
        pace = Pace(
            request_seconds=self.k8s_api_request_timeout,
            patience_seconds=self.k8s_api_request_retry_timeout,
            watch_seconds=self.watch_seconds,
            retry_seconds_max=self.watch_retry_seconds_max,
        )
        address = Address(place.context, place.namespace)
        cluster = CLUSTERS.get(address, access, pace, self.log.getChild("kubernetes"))
        silence_seconds = self.node_silence_seconds
        changed = self._pod_changed
        return Session(cluster, place, changed=changed, resumed=resumed, node_silence_seconds=silence_seconds)

    def _name(self, place: Place) -> None:
        """What KubeSpawner's templates and hooks read."""
        self.namespace, self.pod_name = place.namespace, place.name
        self.dns_name = self.dns_name_template.format(namespace=place.namespace, name=place.name)

    # -- running --------------------------------------------------------------

    async def poll_plan(self) -> End | None:
        """None while the pod runs, as the watch knows it; the API is not asked."""
        session, plan = self._session, self._plan
        if session is None or plan is None:
            return self._ended_as
        session.attach()
        await session.cluster.pods.first_list(self.k8s_api_request_timeout)
        end = session.end(plan)
        if end is None:
            self._take_up_address(session)
            self._tell_restart(session.last)
            if not self._starting:
                self._tell_addresses()  # of a pod that an earlier hub started
        elif not self._starting:
            # the hub calls stop for what still runs only
            self._ended_as, self._session = end, None
            self._ended_ms_ago = session.silence.lasted_ms if end.reason is EndReason.LOST else 0
            session.detach()
            bury(session.objects, grace_seconds=max(1, plan.stop_grace_seconds) if self._ended_ms_ago else 1)
        return end

    def _pod_changed(self, pod: Pod | None) -> None:
        """Called by the watch: what ends is told to the hub now, not at its next poll."""
        session, plan = self._session, self._plan
        if session is None or plan is None or self._starting or self._stopping:
            return
        if pod is not None:
            self._tell_restart(pod)
        if self._poll_callback is not None and not self.pending and session.end(plan) is not None:
            task = asyncio.get_running_loop().create_task(self.poll_and_notify())
            _underway.add(task)
            task.add_done_callback(_underway.discard)

    def _take_up_address(self, session: Session) -> None:
        """A pod whose node was started anew has a new address."""
        pod = session.last
        if self._starting or pod is None or pod.ip == self._address or not pod.running or not self.server:
            return
        self._address = pod.ip
        now, known = urlsplit(self._url(pod)), urlsplit(self.server.url)
        if now.hostname and (now.hostname, now.port) != (known.hostname, known.port):
            self.log.warning("The address of %s has changed", bounded(self._log_name))
            self.server.ip, self.server.port = now.hostname, now.port or 80
            self.user.db.commit()

    async def isolation_sentence(self) -> str:
        """What separates workspaces on a cluster."""
        return f"A pod of its own, at Kubernetes' pod security level {self.pod_security}."

    # -- stop -----------------------------------------------------------------

    async def stop_plan(self, *, now: bool) -> None:
        """Delete the pod and wait until it is gone; its home stays."""
        session, plan = self._session, self._plan
        if session is None:
            return
        grace_seconds = 1 if now or plan is None else max(1, plan.stop_grace_seconds)
        await session.remove(grace_seconds, with_service=plan is not None and has_tcp_ports(plan))
        self._ended_ms_ago, self._session = session.silence.lasted_ms, None

    # -- state ----------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Adds where the pod is."""
        state: dict[str, Any] = super().get_state()
        if self._session is not None:
            state[STATE_KEY] = self._session.place.model_dump() | {TOLD_KEY: self._restarts_told}
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes up the pod that an earlier hub started; nothing is asked before the first poll."""
        super().load_state(state)
        saved = state.get(STATE_KEY)
        if not isinstance(saved, Mapping):
            return
        try:
            place = Place.model_validate(saved)
        except ValidationError:
            self.log.warning("The saved place of %s makes no sense and is ignored", bounded(self._log_name))
            return
        self._session = self._open(place, resumed=True)
        self._restarts_told = told if isinstance(told := saved.get(TOLD_KEY), int) else 0
        self._name(place)

    def clear_state(self) -> None:
        """Forgets the pod."""
        super().clear_state()
        if self._session is not None:
            self._session.detach()
        self._session, self._ended_as, self._restarts_told, self._address = None, NOT_RUNNING, 0, ""
        self._ended_ms_ago = 0
        self.namespace, self.pod_name, self.dns_name = self._own_namespace, "", ""


_underway: set[asyncio.Task[Any]] = set()
"""Polls on their way; kept here because a spawner object is dropped as soon as its server has stopped."""
