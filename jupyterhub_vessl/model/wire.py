"""What travels over the service's REST API: one set of models for the service, the client and the docs.

Money travels as integer micro-credits, instants as UTC milliseconds, so nothing is rounded on the way.
Requests refuse unknown keys; answers ignore them, so that an older client can talk to a newer service.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .identity import Membership
from .lifecycle import EndReason, State
from .plan import Mount, WorkspacePlan
from .text import bounded
from .wire_base import NAME_CHARACTERS_MAX, Inbound, Outbound
from .wire_credits import CreditsView

ShortText = Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)]


# -- the spawner's side -------------------------------------------------------


class Caller(Inbound):
    """A person as the hub knows them, passed on by the spawner."""

    user: ShortText
    groups: Annotated[tuple[ShortText, ...], Field(max_length=1000)] = ()
    server_name: ShortText = ""


class AdmissionRequest(Caller):
    """May this start?  ``options`` is the hub's untrusted ``user_options``; ``key`` is new for every start."""

    options: Any = None
    key: Annotated[str, Field(min_length=8, max_length=64)]


class Admission(Outbound):
    """Yes: this is what to start, and the id under which to report it."""

    admission_id: str
    plan: WorkspacePlan


class ReadyReport(Inbound):
    """The workspace answers; billing starts now.  ``isolation`` says what separates it from the machine."""

    isolation: Annotated[str, BeforeValidator(lambda v: bounded(v, 300))] = ""


class EndedReport(Inbound):
    """The workspace has ended; billing stops.

    ``elapsed_ms`` is how long ago it ended on the reporter's monotonic clock, so that a report that had to
    wait for the service, or a clock that is wrong, does not change the bill.
    """

    reason: EndReason
    detail: Annotated[str, BeforeValidator(lambda v: bounded(v, 300))] = ""
    elapsed_ms: Annotated[int, Field(ge=0, le=7 * 24 * 3_600_000)] = 0


class NoticeReport(Inbound):
    """Something happened to a workspace that goes on: its server ran out of memory and was started again in place.

    ``restarts`` counts how often since it was started, so that a report that is repeated tells nothing twice.
    """

    kind: Literal["out-of-memory", "restarted"]
    restarts: Annotated[int, Field(ge=1, le=1_000_000)]
    detail: Annotated[str, BeforeValidator(lambda v: bounded(v, 300))] = ""


class Recorded(Outbound):
    """What the service recorded, and when (its own clock)."""

    at_ms: int


# -- people ------------------------------------------------------------------


class TeamView(Outbound):
    """A team of the person; ``may_create`` is False for viewers."""

    organization: str
    name: str
    title: str
    role: str
    may_create: bool


class Me(Outbound):
    """Who is asking, and what they may do."""

    name: str
    memberships: tuple[Membership, ...]
    teams: tuple[TeamView, ...]
    admin_of: tuple[str, ...]
    credits: tuple[CreditsView, ...]


class SpecView(Outbound):
    """A resource spec; ``obstacles`` says for each cluster name why it cannot be chosen there ("" when it can)."""

    name: str
    title: str
    gpu_type: str = ""
    gpu_count: int = 0
    cpu_millis: int
    memory_bytes: int
    temporary_bytes: int
    rate_micros_per_hour: int
    obstacles: dict[str, str]
    teams: tuple[str, ...] | None = None


class ImageView(Outbound):
    """An image; ``obstacles`` as in `SpecView`."""

    name: str
    title: str
    description: str = ""
    obstacles: dict[str, str]
    teams: tuple[str, ...] | None = None


class CustomImagesView(Outbound):
    """Images of one's own, named by their reference; ``obstacles`` as in `SpecView`.

    ``registries`` are the beginnings that a reference may have, none when no team of the person may.
    ``credentials`` are the registry credentials that at least one of them may use, with the teams of each.
    """

    registries: tuple[str, ...]
    credentials: dict[str, tuple[str, ...] | None] = {}
    obstacles: dict[str, str]
    teams: tuple[str, ...] | None = None


class PresetView(Outbound):
    """A preset, as the request it stands for."""

    name: str
    title: str
    description: str = ""
    spec: str
    image: str
    storage: dict[str, str]
    ports: dict[str, dict[str, Any]]
    environment: dict[str, str]
    teams: tuple[str, ...] | None = None


class ClusterView(Outbound):
    """A cluster that at least one of the person's teams may use."""

    name: str
    title: str
    kind: str
    teams: tuple[str, ...] | None = None


class VolumeView(Outbound):
    """A volume that at least one of the person's teams may mount; ``access`` is ``rw`` or ``ro`` by team."""

    name: str
    title: str
    kind: str
    cluster: str | None = None
    size_bytes: int
    mount_path: str
    access: dict[str, str]


class HomeView(Outbound):
    """The workspace volume and temporary storage that every workspace gets."""

    mount_path: str
    size_bytes: int
    rate_micros_per_hour: int
    temporary_mount_path: str


class PortView(Outbound):
    """A declared port; ``path`` as in `request.PortRequest`.

    ``address`` is where a ``tcp`` port is reached, empty while that is not known; ``note`` says why, or what to do.
    """

    name: str
    type: str
    port: int
    path: str = "stripped"
    address: str = ""
    note: str = ""


class WorkspaceView(Outbound):
    """One workspace as a person sees it.

    Attributes
    ----------
    since_ms
        When it came into its present state.
    spent_micros
        All that it has cost so far, to the answer's instant.
    lasts_until_ms
        When the organization's credits pause it, at the present rate.
    message
        Why it is in this state, as a sentence; empty when there is nothing to say.
    actions
        What this person may do now: ``open``, ``start``, ``edit``, ``pause``, ``cancel``, ``terminate``.
    """

    id: str
    user: str
    server_name: str
    title: str
    organization: str
    team: str
    currency: str
    cluster: str
    cluster_title: str
    spec: str
    spec_title: str
    image_title: str
    state: State
    since_ms: int
    created_ms: int
    rate_micros_per_hour: int
    spent_micros: int
    lasts_until_ms: int | None = None
    message: str = ""
    isolation: str = ""
    mounts: tuple[Mount, ...] = ()
    ports: tuple[PortView, ...] = ()
    url: str = ""
    actions: tuple[str, ...] = ()


class OfferView(Outbound):
    """What one person may choose, with every price and every reason; the form is drawn from this alone.

    ``custom_images`` is None where nobody may start images of their own.  ``workspace`` is the existing workspace
    that the form is for, ``request`` what was last asked for it.
    """

    me: Me
    clusters: tuple[ClusterView, ...]
    specs: tuple[SpecView, ...]
    images: tuple[ImageView, ...]
    custom_images: CustomImagesView | None = None
    presets: tuple[PresetView, ...]
    volumes: tuple[VolumeView, ...]
    home: HomeView
    workspace: WorkspaceView | None = None
    request: dict[str, Any] = {}


class WorkspaceList(Outbound):
    """Workspaces, those that need attention first."""

    workspaces: tuple[WorkspaceView, ...]
    at_ms: int


class EventView(Outbound):
    """Something that happened, with its reason, as shown to the people it touches."""

    id: int
    at_ms: int
    kind: str
    message: str
    actor: str
    organization: str
    team: str = ""
    user: str = ""
    workspace_id: str = ""


class EventList(Outbound):
    """Events, oldest first; ask again with ``after`` = the last id."""

    events: tuple[EventView, ...]


class Health(Outbound):
    """Whether the service works: ``ok`` or ``degraded`` with what does not."""

    status: str
    version: str
    database: str
    hub: str
    open_spans: int
    next_deadline_ms: int | None = None
    at_ms: int


class ErrorBody(Outbound):
    """Every refusal: a word for programs, a sentence for people, what to do, and the field it belongs to."""

    code: str
    message: str
    hint: str = ""
    field: str = ""
