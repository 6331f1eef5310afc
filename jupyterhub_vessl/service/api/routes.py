"""The route table: every path and verb of the API, who may call it, and what goes in and out.

Handlers, the OpenAPI document and the security tests are all made from this table, so a route cannot exist
without a row here.
"""

from __future__ import annotations

from ...model.request import PortRequest
from ...model.wire import (
    Admission,
    AdmissionRequest,
    Caller,
    EndedReport,
    EventList,
    Health,
    Me,
    NoticeReport,
    OfferView,
    ReadyReport,
    Recorded,
    WorkspaceList,
    WorkspaceView,
)
from ...model.wire_credits import (
    BalanceAt,
    BudgetList,
    BudgetRequest,
    CreditsView,
    Granted,
    GrantList,
    GrantRequest,
    LedgerPage,
    RefundRequest,
    TopUp,
    TopUpRequest,
    VoidRequest,
)
from ...model.wire_series import SeriesView
from ...model.wire_statements import AuditView, Statement
from ...model.wire_status import AddressReport, StatusView
from ...model.wire_volumes import VolumeChange, VolumeDetail, VolumeList, VolumeRequest
from . import credit_handlers, handlers, series_handlers, statement_handlers, volume_handlers
from .base import ApiHandler
from .route import ANYBODY, PERSON, SPAWNER, WORKSPACE, Route

API = "api/v1/"
ROUTES = (
    Route("GET", "me", handlers.MeHandler, PERSON, "Who I am, my teams and credits", Me),
    Route("GET", "offer", handlers.OfferHandler, PERSON, "What I may choose, with prices", OfferView),
    Route("GET", "workspaces", handlers.WorkspacesHandler, PERSON, "Workspaces", WorkspaceList, query=("scope",)),
    Route("GET", "workspaces/{workspace}", handlers.WorkspaceHandler, WORKSPACE, "One workspace", WorkspaceView),
    Route(
        "DELETE",
        "workspaces/{workspace}",
        handlers.WorkspaceHandler,
        PERSON,
        "Terminate a workspace and delete its volume",
        WorkspaceView,
        status=202,
    ),
    Route(
        "POST",
        "workspaces/{workspace}/start",
        handlers.StartHandler,
        PERSON,
        "Start a workspace again, as it was last asked for",
        WorkspaceView,
        status=202,
    ),
    Route(
        "POST",
        "workspaces/{workspace}/pause",
        handlers.PauseHandler,
        WORKSPACE,
        "Pause a workspace: compute stops, volumes are kept",
        WorkspaceView,
        status=202,
    ),
    Route(
        "GET",
        "workspaces/{workspace}/status",
        handlers.StatusHandler,
        WORKSPACE,
        "What it costs, what will pause it, its ports and notices",
        StatusView,
    ),
    Route(
        "PUT",
        "workspaces/{workspace}/ports/{port}",
        handlers.PortHandler,
        WORKSPACE,
        "Declare a port, or change it",
        StatusView,
        PortRequest,
    ),
    Route(
        "DELETE",
        "workspaces/{workspace}/ports/{port}",
        handlers.PortHandler,
        WORKSPACE,
        "Declare a port no longer",
        StatusView,
    ),
    Route(
        "GET",
        "organizations/{organization}/balance",
        credit_handlers.BalanceHandler,
        PERSON,
        "Credits, burn rate and when they run out",
        CreditsView,
    ),
    Route(
        "GET",
        "organizations/{organization}/ledger",
        credit_handlers.LedgerHandler,
        PERSON,
        "Movements of credits, newest first",
        LedgerPage,
        query=("cursor", "limit", "kind", "team", "user", "from", "to"),
    ),
    Route(
        "GET",
        "organizations/{organization}/series",
        series_handlers.SeriesHandler,
        PERSON,
        "Credits over time, for charts",
        SeriesView,
        query=("days", "by"),
    ),
    Route(
        "POST",
        "organizations/{organization}/top-ups",
        credit_handlers.TopUpsHandler,
        PERSON,
        "Record credits that were paid for (admins)",
        TopUp,
        TopUpRequest,
        201,
    ),
    Route(
        "GET",
        "organizations/{organization}/balance-at",
        credit_handlers.BalanceAtHandler,
        PERSON,
        "The balance at a past instant",
        BalanceAt,
        query=("at",),
    ),
    Route(
        "POST",
        "organizations/{organization}/refunds",
        credit_handlers.RefundsHandler,
        PERSON,
        "Give back a top-up or a part of it (admins)",
        TopUp,
        RefundRequest,
        201,
    ),
    Route("GET", "organizations/{organization}/grants", credit_handlers.GrantsHandler, PERSON, "Grants", GrantList),
    Route(
        "POST",
        "organizations/{organization}/grants",
        credit_handlers.GrantsHandler,
        PERSON,
        "Give promotional credits (admins)",
        Granted,
        GrantRequest,
        201,
    ),
    Route(
        "POST",
        "organizations/{organization}/grants/{grant}/void",
        credit_handlers.VoidHandler,
        PERSON,
        "Take back what is left of a grant (admins)",
        Granted,
        VoidRequest,
    ),
    Route(
        "GET",
        "organizations/{organization}/budgets",
        credit_handlers.BudgetsHandler,
        PERSON,
        "Budgets and caps, with what is used of them",
        BudgetList,
    ),
    Route(
        "PUT",
        "organizations/{organization}/budgets",
        credit_handlers.BudgetsHandler,
        PERSON,
        "Set the limits of a team or a person (managers, admins)",
        BudgetList,
        BudgetRequest,
    ),
    Route(
        "GET",
        "organizations/{organization}/statement",
        statement_handlers.StatementHandler,
        PERSON,
        "Opening, what moved the credits, and closing",
        Statement,
        query=("from", "to", "team", "user", "workspace"),
    ),
    Route(
        "GET",
        "organizations/{organization}/export",
        statement_handlers.ExportHandler,
        PERSON,
        "What moved the credits, line by line, as a file",
        None,
        query=("format", "from", "to", "team", "user", "workspace"),
    ),
    Route(
        "GET",
        "organizations/{organization}/audit",
        statement_handlers.AuditHandler,
        PERSON,
        "Whether the books are in order (admins)",
        AuditView,
    ),
    Route(
        "GET",
        "volumes",
        volume_handlers.VolumesHandler,
        PERSON,
        "Volumes, and what may be made",
        VolumeList,
        query=("organization",),
    ),
    Route(
        "POST",
        "volumes",
        volume_handlers.VolumesHandler,
        PERSON,
        "Make a volume",
        VolumeDetail,
        VolumeRequest,
        201,
    ),
    Route(
        "GET",
        "volumes/{organization}/{volume}",
        volume_handlers.VolumeHandler,
        PERSON,
        "One volume",
        VolumeDetail,
    ),
    Route(
        "PATCH",
        "volumes/{organization}/{volume}",
        volume_handlers.VolumeHandler,
        PERSON,
        "Change a volume, or let it grow",
        VolumeDetail,
        VolumeChange,
    ),
    Route(
        "DELETE",
        "volumes/{organization}/{volume}",
        volume_handlers.VolumeHandler,
        PERSON,
        "Delete a volume and what is in it",
        VolumeDetail,
        status=202,
    ),
    Route("GET", "events", handlers.EventsHandler, PERSON, "What happened", EventList, query=("after",)),
    Route("POST", "form", handlers.FormHandler, SPAWNER, "What a person may choose", OfferView, Caller),
    Route(
        "POST",
        "admissions",
        handlers.AdmissionsHandler,
        SPAWNER,
        "Ask whether a workspace may start",
        Admission,
        AdmissionRequest,
        201,
    ),
    Route(
        "POST",
        "admissions/{admission}/ready",
        handlers.ReadyHandler,
        SPAWNER,
        "Report that it answers; billing starts",
        Recorded,
        ReadyReport,
    ),
    Route(
        "POST",
        "admissions/{admission}/ended",
        handlers.EndedHandler,
        SPAWNER,
        "Report that it has ended; billing stops",
        Recorded,
        EndedReport,
    ),
    Route(
        "POST",
        "admissions/{admission}/notice",
        handlers.NoticeHandler,
        SPAWNER,
        "Report that it was restarted in place",
        Recorded,
        NoticeReport,
    ),
    Route(
        "POST",
        "admissions/{admission}/addresses",
        handlers.AddressesHandler,
        SPAWNER,
        "Report where its tcp ports are reached",
        Recorded,
        AddressReport,
    ),
    Route("GET", "health", handlers.HealthHandler, ANYBODY, "Whether the service works", Health),
    Route("GET", "openapi.json", handlers.OpenApiHandler, ANYBODY, "This description", None),
)

PATTERNS = {
    "workspace": "([0-9a-f]{32})",
    "admission": "([0-9a-f]{32})",
    "organization": "([a-z0-9-]{1,63})",
    "grant": "([0-9a-f]{32})",
    "volume": "([a-z0-9-]{1,63})",
    "port": "([^/]{1,200})",
}


def pattern(path: str) -> str:
    """A route's path as a regular expression."""
    for name, expression in PATTERNS.items():
        path = path.replace("{" + name + "}", expression)
    return path.replace("openapi.json", r"openapi\.json")


def url_patterns(prefix: str) -> list[tuple[str, type[ApiHandler]]]:
    """(pattern, handler) pairs for tornado; the last one answers 404 as JSON."""
    paths = dict.fromkeys((route.path, route.handler) for route in ROUTES)
    return [
        *((f"{prefix}{API}{pattern(path)}", handler) for path, handler in paths),
        (f"{prefix}{API}.*", handlers.UnknownHandler),
    ]
