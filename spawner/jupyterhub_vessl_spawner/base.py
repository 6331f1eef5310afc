"""What every backend's spawner shares: ask for admission, start the plan, report ready, report the end.

A backend is `VesslSpawnerMixin` before a JupyterHub spawner class, with three methods: `start_plan`,
`stop_plan` and `poll_plan`.  It never decides who may start what, and never what it costs (DESIGN §4).
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from jupyterhub.spawner import Spawner
from jupyterhub.utils import make_ssl_context, url_path_join
from pydantic import ValidationError
from traitlets import Float, Unicode, default

from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.connections import open_session
from jupyterhub_vessl.model.errors import BadInput, PublicError
from jupyterhub_vessl.model.identity import membership_from_group
from jupyterhub_vessl.model.lifecycle import EndReason
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.request import parse_request
from jupyterhub_vessl.model.text import bounded
from jupyterhub_vessl.model.wire import AdmissionRequest, ReadyReport

from .answering import answers, as_url
from .any_options import AnyOptions, apply_nothing
from .delivery import send_end
from .form import note_refusal, options_from_form, render_form
from .last_end import last_end
from .refusal import HUB_COUNTS_REFUSALS, NotStarted, VesslSpawnRefused
from .server_tokens import revoke_tokens
from .steps import Steps

STATE_KEY = "vessl"
STOP_DELIVERY_SECONDS = 2.0
_LOCALE = frozenset({"LANG", "LC_ALL"})
_CLEAN_UP_SECONDS_MAX = 20.0
"""Of the hub's start_timeout, kept for undoing a start that fails; at most a tenth of it."""
_CANCELLED_SECONDS = 0.5
"""How long a cancelled start may take: a second after it cancelled, the hub stops what does not start any more."""
_undoings: set[asyncio.Task[None]] = set()
"""Starts that are being undone; kept here because a spawner object is dropped when its start has failed."""


@dataclass(frozen=True)
class End:
    """How the backend says that a workspace ended.  ``exit_code`` is 0 when it is not known."""

    reason: EndReason
    detail: str
    exit_code: int = 0


class VesslSpawnerMixin(Steps, Spawner):
    """Admission, billing reports and progress for a JupyterHub spawner."""

    user_options = AnyOptions()

    service_url = Unicode(
        "http://127.0.0.1:8200/services/vessl/",
        help="""Where the hub reaches the service that keeps credits.

        Every start asks it first; while it does not answer, nothing can be started.

        Example: c.VesslLocalSpawner.service_url = "http://127.0.0.1:8200/services/vessl/"
        """,
    ).tag(config=True)

    workspace_service_url = Unicode(
        help="""Where a workspace reaches the service, to show in JupyterLab what it costs.

        Empty means service_url, which is right where workspaces run on the hub's machine.  Where it is wrong,
        JupyterLab shows no credits; nothing else depends on it.

        Example: c.VesslLocalSpawner.workspace_service_url = "http://127.0.0.1:8000/services/vessl/"
        """,
    ).tag(config=True)

    service_token = Unicode(
        help="""The API token with which the spawner reports to the service.

        It is the token of a hub service of its own: only its bearer can start and end billing, so it is never
        given to a workspace.  Taken from the environment variable VESSL_SPAWNER_TOKEN unless it is set.

        Example: c.VesslLocalSpawner.service_token = os.environ["MY_SPAWNER_TOKEN"]
        """,
    ).tag(config=True)

    service_timeout_seconds = Float(
        5.0,
        help="""How long one call to the service may take.

        A call is tried three times, so a start is refused after at most about three times this long.

        Example: c.VesslLocalSpawner.service_timeout_seconds = 10
        """,
    ).tag(config=True)

    ready_timeout_seconds = Float(
        60.0,
        help="""How long an admitted workspace may take until it answers.

        Later it is stopped and the person is told so; nothing is charged.  Keep it well below start_timeout,
        after which the hub gives up with a message of its own.

        Example: c.VesslLocalSpawner.ready_timeout_seconds = 90
        """,
    ).tag(config=True)

    _admission_id = ""
    _plan: WorkspacePlan | None = None
    _ended = False
    _stopping = False
    _give_up_seconds = 0.0
    """The instant of the monotonic clock at which a start gives up by itself, before the hub does."""
    _undone_seconds = 0.0
    """Until when, on that clock, a start that failed waits for what it began to be gone."""
    _undoing: asyncio.Task[None] | None = None

    last_end = last_end  # the page about a server that does not run asks for it

    # -- what a backend provides ----------------------------------------------

    @abstractmethod
    async def start_plan(self, plan: WorkspacePlan) -> str | tuple[str, int]:
        """Start what was admitted and return its URL or (ip, port); raises `PublicError` when that is impossible."""

    @abstractmethod
    async def stop_plan(self, *, now: bool) -> None:
        """Stop it and return when it is gone; stopping twice, or what never started, does nothing.

        With ``now`` at once, else it has the plan's ``stop_grace_seconds`` to save itself.
        """

    @abstractmethod
    async def poll_plan(self) -> End | None:
        """None while it runs, else how it ended."""

    async def isolation_sentence(self) -> str:
        """What separates the workspace from others, as a sentence for its owner."""
        return ""

    async def log_tail(self) -> list[str]:
        """The last lines that the workspace wrote, for the hub's log when it did not start."""
        return []

    # -- traits ---------------------------------------------------------------

    @default("service_token")
    def _default_service_token(self) -> str:
        return os.environ.get("VESSL_SPAWNER_TOKEN", "")

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        return 120  # admission and the ready_timeout_seconds fit in

    @default("options_form")
    def _default_options_form(self) -> Any:
        return render_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return options_from_form

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Any:
        return apply_nothing

    # -- start ----------------------------------------------------------------

    async def start(self) -> str:
        """Ask, start, wait until it answers, report it ready; refuse with one sentence if any of that fails."""
        clean_up_seconds = min(_CLEAN_UP_SECONDS_MAX, self.start_timeout / 10)
        self._give_up_seconds = time.monotonic() + self.start_timeout - clean_up_seconds
        self._undone_seconds = self._give_up_seconds + clean_up_seconds / 2
        async with open_session() as session:
            return await self._ask_and_start(session)

    async def _ask_and_start(self, session: aiohttp.ClientSession) -> str:
        service = self.service_client(session=session)
        self._go(5, "Asking for admission")
        revoke_tokens(self, keep=self.api_token)
        try:
            admission = await service.admit(self._admission_request())
        except PublicError as error:
            raise self._refusal(error) from None
        self._admission_id, self._plan, self._ended = admission.admission_id, admission.plan, False
        try:
            self._go(30, "Starting JupyterLab")
            url = as_url(await self.start_plan(admission.plan), secure=self.internal_ssl)
            self._go(60, "Waiting for it to answer")
            await self._wait_until_it_answers(session, url)
            self._go(90, "It answers")
            report = ReadyReport(isolation=await self.isolation_sentence())
            await service.ready(admission.admission_id, report)
        except asyncio.CancelledError:
            self._report_end(EndReason.FAILED, "the start was cancelled")
            await self._undo(_CANCELLED_SECONDS)
            raise
        except PublicError as error:
            await self._abandon(error.message)
            raise self._refusal(error) from None
        except Exception as error:
            self.log.exception("Workspace %s did not start", bounded(admission.plan.workspace_id))
            await self._abandon(type(error).__name__)
            raise self._refusal(not_started("an error on the machine that runs it")) from error
        return url

    def _admission_request(self) -> AdmissionRequest:
        try:
            parse_request(self.user_options)
        except BadInput:
            # the hub keeps any options, of any size, for the next start; what is no request is not kept
            self.user_options = self.orm_spawner.user_options = {}
            raise
        try:
            return AdmissionRequest(
                user=self.user.name,
                groups=tuple(g.name for g in self.user.groups if membership_from_group(g.name) is not None),
                server_name=self.name,
                options=self.user_options,
                key=uuid.uuid4().hex,
            )
        except ValidationError:
            raise BadInput("The name of the person, group or server is too long for the service.") from None

    async def _wait_until_it_answers(self, session: aiohttp.ClientSession, url: str) -> None:
        """Until the single-user server answers HTTP, so that nobody pays for waiting; raises `NotStarted`."""
        target = url_path_join(url, self.server.base_url, "api")
        seconds = max(1.0, min(self.ready_timeout_seconds, self._give_up_seconds - time.monotonic()))
        deadline = time.monotonic() + seconds
        settings = self.user.settings
        context = make_ssl_context(
            settings.get("internal_ssl_key"), settings.get("internal_ssl_cert"), cafile=settings.get("internal_ssl_ca")
        )
        pause = 0.05
        while not await answers(session, target, context or True):
            end = await self.poll_plan()
            if end is not None:
                await self._log_tail()
                raise not_started(f"it ended while starting ({end.detail.rstrip('.')})")
            if time.monotonic() > deadline:
                await self._log_tail()
                raise not_started(f"it did not answer within {seconds:.0f} seconds")
            await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 0.5)

    async def _log_tail(self) -> None:
        for line in await self.log_tail():
            self.log.warning("%s | %s", bounded(self._log_name), bounded(line, 300))

    async def _abandon(self, why: str) -> None:
        """Undo an admitted start.  The report is sent whatever becomes of the backend."""
        try:
            await self._undo(self._undone_seconds - time.monotonic())
        finally:
            self._report_end(EndReason.FAILED, why)

    async def _undo(self, seconds: float) -> None:
        """Stop what a start has begun; what takes longer than this goes on, and `stop` waits for it."""
        self._undoing = asyncio.get_running_loop().create_task(self._stop_at_once())
        _undoings.add(self._undoing)
        self._undoing.add_done_callback(_undoings.discard)
        await asyncio.wait([self._undoing], timeout=max(0.0, seconds))

    async def _stop_at_once(self) -> None:
        try:
            await self.stop_plan(now=True)
        except Exception:
            self.log.exception("Could not clean up after a start that failed")

    def _refusal(self, error: PublicError) -> VesslSpawnRefused:
        note_refusal(error)
        if HUB_COUNTS_REFUSALS:
            settings = self.user.settings
            settings["failure_count"] = settings.get("failure_count", 0) - 1
        return VesslSpawnRefused(error)

    # -- stop and end ---------------------------------------------------------

    async def stop(self, now: bool = False) -> None:
        """Stop the workspace and report it; does not wait for a service that does not answer."""
        self._stopping = True
        if self._undoing is not None:
            await asyncio.wait([self._undoing])
        await self.stop_plan(now=now)
        delivery = self._report_end(EndReason.USER, "")
        revoke_tokens(self)  # after the report: it asks the hub's database, and nobody pays on because that fails
        if delivery is not None:
            await asyncio.wait([delivery], timeout=STOP_DELIVERY_SECONDS)

    async def poll(self) -> int | None:
        """None while the workspace runs, else its exit code; an end that nobody asked for is reported."""
        if self._undoing is not None and not self._undoing.done():
            return None  # the hub calls stop for what still runs only, and forgets the rest
        end = await self.poll_plan()
        if end is None:
            return None
        if not self._stopping:
            self._report_end(end.reason, end.detail)
            if not self._start_pending:
                revoke_tokens(self)
        return end.exit_code

    def _report_end(self, reason: EndReason, detail: str) -> asyncio.Task[None] | None:
        """Send the end of this admission off, once; the task goes on when the spawner is gone."""
        if not self._admission_id or self._ended:
            return None
        self._ended = True
        return send_end(self.service_client(tries=1), self._admission_id, reason, detail, self.log)

    def service_client(self, tries: int = 3, session: aiohttp.ClientSession | None = None) -> ServiceClient:
        """The service, with the spawner's own token; ``session`` as `ServiceClient` takes it."""
        return ServiceClient(
            self.service_url,
            self.service_token,
            timeout_seconds=self.service_timeout_seconds,
            tries=tries,
            session=session,
        )

    # -- state ----------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub needs to go on; the accepted plan, never ``user_options``."""
        state: dict[str, Any] = super().get_state()
        if self._plan is not None:
            state[STATE_KEY] = {
                "admission_id": self._admission_id,
                "plan": self._plan.model_dump(mode="json"),
                "ended": self._ended,
            }
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `get_state` gave; anything else counts as nothing."""
        super().load_state(state)
        saved = state.get(STATE_KEY)
        if not isinstance(saved, Mapping):
            return
        try:
            plan = WorkspacePlan.model_validate(saved.get("plan"))
        except ValidationError:
            self.log.warning("The saved plan of %s makes no sense and is ignored", bounded(self._log_name))
            return
        self._plan = plan
        self._admission_id = str(saved.get("admission_id") or "")
        self._ended = bool(saved.get("ended"))

    def clear_state(self) -> None:
        """Forget the admission; called before every start and after every end."""
        super().clear_state()
        self._admission_id, self._plan, self._ended, self._stopping = "", None, False, False
        self._undoing = None

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refused: the service knows a workspace by its owner and server name."""
        raise VesslSpawnRefused(
            BadInput("A workspace keeps its name in the address; give it another title instead.", field="name")
        )

    # -- environment and progress ---------------------------------------------

    def get_env(self) -> dict[str, str]:
        """The workspace's variables: the plan's, under those of the hub; nothing from ``user_options``."""
        env: dict[str, str] = super().get_env()
        if self._plan is not None:
            for name, value in self._plan.environment.items():
                if name not in env or name in _LOCALE:
                    env[name] = value
            env["VESSL_WORKSPACE_ID"] = self._plan.workspace_id
        env["VESSL_SERVICE_URL"] = self.workspace_service_url or self.service_url
        env.pop("VESSL_SPAWNER_TOKEN", None)
        return env


def not_started(why: str, *, hint: str = "Try again; if it stays so, tell an admin.") -> NotStarted:
    """What a person is told when their admitted workspace could not be brought up."""
    return NotStarted(f"The workspace did not start: {why}. Nothing is charged.", hint=hint)
