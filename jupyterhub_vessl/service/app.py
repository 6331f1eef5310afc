"""The service's process: reads the offer, opens the books, starts the loops, and listens.  All wiring is here."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import sqlalchemy as sa
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler
from tornado import httpserver, netutil, web

from .._version import __version__
from ..ledger.database import Database
from ..ledger.records import latest_ms
from ..model.catalog import Offer
from ..model.errors import VesslError
from ..model.text import bounded
from ..offer import load_offer
from .admission import Admissions
from .api.base import BODY_BYTES_MAX
from .api.routes import ROUTES, url_patterns
from .budgets import Budgets
from .carrier import Carrier
from .clock import Clock
from .clusters import Clusters
from .core import Core, log
from .credits import Credits
from .enforcer import Enforcer
from .hub_client import HubClient
from .incidents import Incidents
from .metrics import Metrics, MetricsHandler
from .movements import Movements
from .notifications import Notifier
from .openings import open_books
from .pages.routes import page_patterns, page_settings
from .parts import Parts
from .ports import Ports
from .reconciler import Reconciler
from .sightings import Sightings
from .statements import Statements
from .status import Statuses
from .views import Views
from .volume_keeper import VolumeKeeper
from .volumes import Volumes
from .workspaces import Workspaces

RECEIVED_BYTES_MAX = 16 * BODY_BYTES_MAX
"""What is larger is cut off; what is smaller but too large is answered with a sentence."""

BIND_TRIES, BIND_WAIT_SECONDS = 40, 0.25
WHO_IS_CACHED_SECONDS = 30
"""How long the hub's word on who a token belongs to is believed: a revoked right lasts at most this long."""


class CannotServe(VesslError):
    """The service cannot start; the message says why and what to do, in one sentence."""


@dataclass(frozen=True)
class HubEnvironment:
    """What the hub tells a service through its environment (the hub's reference calls them JUPYTERHUB_*)."""

    api_url: str
    api_token: str
    prefix: str
    base_url: str
    service_url: str

    @classmethod
    def read(cls) -> HubEnvironment:
        """From this process's environment; raises `CannotServe` naming what is missing."""
        names = ("JUPYTERHUB_API_URL", "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_URL")
        missing = [name for name in names if not os.environ.get(name)]
        if missing:
            raise CannotServe(f"{', '.join(missing)} is not set; the hub sets it when it starts the service.")
        api_url, api_token, prefix, service_url = (os.environ[name] for name in names)
        base_url = os.environ.get("JUPYTERHUB_BASE_URL", "/")
        return cls(api_url, api_token, prefix.rstrip("/") + "/", base_url.rstrip("/") + "/", service_url)


def serve(
    *,
    offer: str,
    database: str,
    data_dir: str,
    kubernetes_identity: str | None = None,
    port: int | None = None,
    ip: str = "127.0.0.1",
) -> int:
    """Run the service until SIGTERM or SIGINT; returns the process's exit code.

    While another service keeps the books in the same database it stands by, without listening.

    Parameters
    ----------
    offer
        Path of vessl.yaml.
    database
        SQLAlchemy URL of the ledger.
    data_dir
        Folder of the local backend's volumes.
    kubernetes_identity
        Folder with the service's own credentials for the Kubernetes cluster that the hub is in; None for the pod's.
    port
        None takes the port of ``JUPYTERHUB_SERVICE_URL``.
    """
    logging.basicConfig(format="[%(levelname)1.1s %(asctime)s %(name)s] %(message)s", level=logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        identity = Path(kubernetes_identity) if kubernetes_identity else None
        asyncio.run(_serve(offer, database, Path(data_dir), port, ip, identity))
    except VesslError as error:
        print(error, file=sys.stderr)
        return 1
    except sa.exc.SQLAlchemyError as error:
        print(f"The database cannot be used: {bounded(error.__cause__ or error)}", file=sys.stderr)
        return 1
    return 0


async def _serve(
    offer_file: str, database_url: str, data_dir: Path, port: int | None, ip: str, kubernetes_identity: Path | None
) -> None:
    hub = HubEnvironment.read()
    offer = load_offer(offer_file)
    _make_folder(data_dir)
    parts = assemble(offer, Database(database_url), hub, data_dir, kubernetes_identity)
    core = parts.core
    stop = asyncio.create_task(_told_to_stop())
    try:
        if not await _until_stopped(stop, core.database.acquire()):
            return
        # from here on nobody else writes
        await core.database.migrate()
        core.clock = Clock(max(await core.database.run(latest_ms), core.sightings.last().at_ms))
        now_ms = core.clock.now_ms()
        gap = core.sightings.gap(now_ms)
        await core.database.run(lambda c: open_books(c, offer, now_ms, gap))
        server = httpserver.HTTPServer(application(parts, hub), max_body_size=RECEIVED_BYTES_MAX)
        server.add_sockets(await _bind(port or urlparse(hub.service_url).port or 8200, ip))
        log.info("the service is ready")
        loops = [
            Enforcer(core).run(),
            Carrier(core).run(),
            Reconciler(core, parts.admissions).run(),
            Notifier(core).run(),
            VolumeKeeper(core).run(),
        ]
        try:
            await _until_stopped(stop, core.database.watch_lease(), *loops)
        finally:
            core.sightings.note(core.clock.now_ms(), all_alive=False)
            server.stop()
            await server.close_all_connections()
    finally:
        stop.cancel()
        await core.hub.close()
        await core.clusters.close()
        core.database.close()


def assemble(
    offer: Offer, database: Database, hub: HubEnvironment, data_dir: Path, kubernetes_identity: Path | None = None
) -> Parts:
    """Put the parts together; nothing is opened or started yet."""
    hub_client = HubClient(hub.api_url, hub.api_token)
    core = Core(offer, database, hub_client, Clusters(offer, data_dir, kubernetes_identity), Sightings(data_dir))
    credits = Credits(core)
    views = Views(core, credits, hub.base_url)
    return Parts(
        core=core,
        admissions=Admissions(core),
        budgets=Budgets(core),
        credits=credits,
        incidents=Incidents(core),
        movements=Movements(core),
        ports=Ports(core),
        statements=Statements(core),
        statuses=Statuses(core, views, credits, hub.prefix),
        views=views,
        volumes=Volumes(core),
        workspaces=Workspaces(core),
        base_url=hub.base_url,
        prefix=hub.prefix,
    )


def application(parts: Parts, hub: HubEnvironment) -> web.Application:
    """The API, the pages and the way to sign in, as one tornado application."""
    auth = HubOAuth.instance(cache_max_age=WHO_IS_CACHED_SECONDS)
    return web.Application(
        [
            (f"{hub.prefix}oauth_callback", HubOAuthCallbackHandler),
            *url_patterns(hub.prefix),
            # one for all scrapes: it remembers how far it has read
            (f"{hub.prefix}metrics", MetricsHandler, {"metrics": Metrics(parts.core)}),
            *page_patterns(hub.prefix),
        ],
        parts=parts,
        routes=ROUTES,
        version=__version__,
        hub_auth=auth,
        # derived, so that people stay signed in when the service restarts
        cookie_secret=hashlib.sha256(b"vessl cookies " + hub.api_token.encode()).digest(),
        log_function=_log_request,
        **page_settings(parts),
    )


def _log_request(handler: web.RequestHandler) -> None:
    """One line for what failed; successes are too many to be read."""
    status = handler.get_status()
    if status >= 400 and status != 404:
        request = handler.request
        log.info("%s %s %s", status, request.method, bounded(request.path))


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CannotServe(f"{data_dir} cannot be written: {error.strerror}.") from error


async def _bind(port: int, ip: str) -> list:
    """Listen; the port of a service that was just killed may take a moment to be free."""
    for attempt in range(BIND_TRIES):
        try:
            return netutil.bind_sockets(port, ip)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt + 1 == BIND_TRIES:
                raise CannotServe(f"Port {port} on {ip} cannot be used: {error.strerror}.") from error
        await asyncio.sleep(BIND_WAIT_SECONDS)
    return []


async def _told_to_stop() -> None:
    """Return at a signal, or at the end of the process that started us."""
    stopped, running = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stopped.set)
    waits = [asyncio.create_task(stopped.wait()), asyncio.create_task(_parent_ended())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()


async def _until_stopped(stop: asyncio.Task[None], *work: Coroutine[Any, Any, None]) -> bool:
    """Run work until one part of it is done (True) or `stop` is (False); raises what broke."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done & set(tasks):
        error = task.exception()
        if isinstance(error, (VesslError, sa.exc.SQLAlchemyError)):
            raise error
        if error is not None:
            raise CannotServe(f"A part of the service broke: {bounded(error)}.") from error
    return not stop.done()


async def _parent_ended() -> None:
    """Return when whoever started us is gone: a killed hub must not leave a service that holds its port."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110  the kernel tells nobody when a parent ends
        await asyncio.sleep(0.5)
    log.info("the process that started the service is gone")
