"""A plan: what a request means exactly.  It is all that a renderer sees; `resolving` makes it."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict

from .catalog import ClusterKind
from .catalog_kubernetes import PullPolicy, TcpService, Toleration


class Frozen(BaseModel):
    """Base of the plan's parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MountKind(str, Enum):
    """The four kinds of storage of DESIGN §2."""

    WORKSPACE = "workspace"
    CLUSTER = "cluster"
    OBJECT = "object"
    TEMPORARY = "temporary"


class Mount(Frozen):
    """One volume at its place.

    ``volume`` is its name in the registry, ``claim`` what backs it on Kubernetes; both are empty for workspace
    and temporary storage.  ``sub_path`` is the folder of ``claim`` that is mounted, empty for all of it.
    """

    kind: MountKind
    mount_path: str
    size_bytes: int
    volume: str = ""
    read_only: bool = False
    organization: str = ""
    rate_micros_per_hour: int = 0
    claim: str = ""
    sub_path: str = ""


class Port(Frozen):
    """A named endpoint that the workspace exposes; ``path`` as in `request.PortRequest`."""

    name: str
    type: str
    port: int
    path: str = "stripped"


class PlannedSpec(Frozen):
    """The resource spec as it was at admission: a snapshot, so that a later change of the offer cannot reach it."""

    name: str
    title: str
    gpu_type: str = ""
    gpu_count: int = 0
    cpu_millis: int
    memory_bytes: int
    temporary_bytes: int


class KubernetesPlan(Frozen):
    """Where and how a pod runs: the operator's settings as they were at admission.

    ``context`` is a kubeconfig context, empty for the cluster of the hub itself; ``namespace`` is empty for the
    hub's own; ``storage_class`` is the workspace volume's, None for the cluster's default.
    """

    context: str = ""
    namespace: str = ""
    tcp_service: TcpService = "ClusterIP"
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: dict[str, str] = {}
    node_names: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    storage_class: str | None = None
    pull_policy: PullPolicy | None = None
    pull_secret: str = ""


class WorkspacePlan(Frozen):
    """What a request means exactly.  ``rate_micros_per_hour`` is the compute price while it runs."""

    workspace_id: str
    user: str
    server_name: str
    title: str
    organization: str
    team: str
    currency: str
    cluster: str
    cluster_kind: ClusterKind
    preset: str = ""
    spec: PlannedSpec
    image: str
    image_title: str
    image_url: str = ""
    mounts: tuple[Mount, ...]
    ports: tuple[Port, ...] = ()
    environment: dict[str, str] = {}
    rate_micros_per_hour: int
    stop_grace_seconds: int = 5
    kubernetes: KubernetesPlan | None = None

    @property
    def home(self) -> Mount:
        """The workspace volume."""
        return next(m for m in self.mounts if m.kind is MountKind.WORKSPACE)


class Owner(Frozen):
    """The workspace a plan is for; ``organization`` and ``team`` are set once it exists and cannot change."""

    workspace_id: str
    user: str
    server_name: str
    title: str = ""
    organization: str | None = None
    team: str | None = None
