"""What the service is told of a workspace: a restart in place, where its tcp ports are, and since when it is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from jupyterhub_vessl.client import ServiceClient
from jupyterhub_vessl.model.errors import BadInput, Conflict, NotFound, PublicError
from jupyterhub_vessl.model.plan import WorkspacePlan
from jupyterhub_vessl.model.text import bounded

from .kubernetes_addresses import AddressNews, has_tcp_ports
from .kubernetes_pods import Pod
from .kubernetes_reasons import restart_report
from .kubernetes_session import Session
from .kubernetes_silence import EarlierEnds

if TYPE_CHECKING:
    from .base import VesslSpawnerMixin as Base
else:
    Base = object  # it has no settings, so it is none of the classes that are configured


class Telling(Base):
    """Reports that are sent beside starting and polling, which never wait for them."""

    _session: Session | None = None
    _starting = False
    _restarts_told = 0
    _ended_ms_ago = 0
    """How long before it was noticed, or stopped, it was cut off with its node."""
    _telling: asyncio.Task[None] | None = None

    def service_client(self, tries: int = 3, session: aiohttp.ClientSession | None = None) -> ServiceClient:
        """The service; an end that it is told of was as long ago as the node has been silent."""
        client = super().service_client(tries, session)
        return EarlierEnds(client, self._ended_ms_ago) if self._ended_ms_ago else client

    def _tell_addresses(self) -> None:
        """Report where tcp ports are reached, once for each session; nothing for a plan without any."""
        session, plan = self._session, self._plan
        if session is None or plan is None or session.busy or self._stopping or not has_tcp_ports(plan):
            return
        client = self.service_client(tries=1)
        news = AddressNews(session.objects, plan, self._admission_id, client, session.made_service)
        session.meanwhile(news.tell())

    def _tell_restart(self, pod: Pod | None) -> None:
        """Tell the service of a server that was started again in place; what does not arrive is told again later."""
        if pod is None or self._starting or pod.restarts <= self._restarts_told or self._plan is None:
            return
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._send_restart(pod, self._plan))

    async def _send_restart(self, pod: Pod, plan: WorkspacePlan) -> None:
        try:
            await self.service_client().notice(self._admission_id, restart_report(pod, plan))
        except (NotFound, Conflict, BadInput) as error:
            self.log.error("The service refused a notice of %s: %s", bounded(self._log_name), error.message)
        except PublicError as error:
            self.log.warning("A restart of %s is not told yet: %s", bounded(self._log_name), error.message)
            return
        self._restarts_told = max(self._restarts_told, pod.restarts)
