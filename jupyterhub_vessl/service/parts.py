"""The service's parts as the handlers see them; `app` puts them together."""

from __future__ import annotations

from dataclasses import dataclass

from .admission import Admissions
from .budgets import Budgets
from .core import Core
from .credits import Credits
from .incidents import Incidents
from .movements import Movements
from .ports import Ports
from .statements import Statements
from .status import Statuses
from .views import Views
from .volumes import Volumes
from .workspaces import Workspaces


@dataclass(frozen=True)
class Parts:
    """Everything that a handler may use.  ``base_url`` is the hub's, ``prefix`` the service's own path."""

    core: Core
    admissions: Admissions
    budgets: Budgets
    credits: Credits
    incidents: Incidents
    movements: Movements
    ports: Ports
    statements: Statements
    statuses: Statuses
    views: Views
    volumes: Volumes
    workspaces: Workspaces
    base_url: str
    prefix: str
