"""The handlers of statements, exports and audits: parse, call one part, answer."""

from __future__ import annotations

from tornado.iostream import StreamClosedError

from ...model.text import bounded
from ...model.wire_credits import parse_instant
from ..core import log
from ..statements import CSV, Asked
from .base import ApiHandler


class _Asking(ApiHandler):
    """What statements and exports are asked with."""

    def asked(self) -> Asked:
        """The period and whose movements; raises `BadInput`."""
        return Asked(
            from_ms=parse_instant(self.query("from"), "from"),
            to_ms=parse_instant(self.query("to"), "to"),
            team=self.query("team", "") or "",
            user=self.query("user", "") or "",
            workspace_id=self.query("workspace", "") or "",
        )


class StatementHandler(_Asking):
    """What moved an organization's credits in a period."""

    async def get(self, organization: str) -> None:
        """Opening, lines and closing."""
        self.answer(await self.parts.statements.statement(self.principal, organization, self.asked()))


class ExportHandler(_Asking):
    """The same line by line, as a file."""

    async def get(self, organization: str) -> None:
        """Sent in pieces, each when the one before has left.

        When something breaks on the way the connection is cut, so that a part is never taken for the whole.
        """
        kind = self.query("format", CSV) or CSV
        download = await self.parts.statements.export(self.principal, organization, self.asked(), kind)
        self.set_header("Content-Type", download.content_type)
        self.set_header("Content-Disposition", f'attachment; filename="{download.name}"')
        try:
            async for piece in download.pieces:
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return
        except Exception as error:
            log.error("export %s of %s broke: %s", bounded(kind), bounded(organization), bounded(error))
            self.detach().close()


class AuditHandler(ApiHandler):
    """Whether an organization's books are in order."""

    async def get(self, organization: str) -> None:
        """Every balance made again from the entries, with what differs."""
        self.answer(await self.parts.statements.audit(self.principal, organization))
