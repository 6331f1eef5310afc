"""The notifier: sends what waits in the outbox, by e-mail, to chats and to webhooks, and tries again what fails.

Nothing waits for it.  Each try runs in a thread of its own, outside of every transaction; its result is written
afterwards, so a crash in between sends a notice twice rather than never.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
from collections.abc import Callable
from urllib.parse import urlencode

from ..ledger import outbox
from ..ledger.outbox import Notice
from ..model.notify import FROM_ENVIRONMENT, HOOK_SCHEMES, MAIL, MAIL_SCHEMES, SCHEMES
from ..model.text import bounded
from .core import Core, log, wait_for_bell

SMTP_VARIABLE = "VESSL_SMTP_URL"
TRY_SECONDS = 10.0
SOCKET_SECONDS = 5.0
"""The longest wait for one step of a conversation, so that a thread which nobody waits for any more ends too."""
AT_ONCE_MAX = 4
PASS_MAX = 100
PAUSE_MS, PAUSE_MS_MAX = 30_000, 3_600_000
LOOK_AGAIN_SECONDS = 60
"""The longest sleep while something waits: a machine that was suspended is noticed within a minute."""
REFUSED = "the server refused it or could not be reached"

_ANGLES = str.maketrans({"<": "‹", ">": "›", "&": "＆"})
_CALLS = re.compile(r"@(?=(?:all|channel|everyone|here|room|team)\b)|\](?=\()", re.IGNORECASE)


class CannotSend(Exception):
    """A notice has no way out, today or later; the message says why, without any secret."""


class Notifier:
    """Delivers notices.  ``counts`` has the number of notices and tries by outcome since the start."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)
        self._sent: set[int] = set()  # delivered, and yet to be marked
        self._busy: set[tuple[str, str]] = set()  # targets with a thread that still runs
        self._warned: set[str] = set()
        self.counts = {"delivered": 0, "failed try": 0, "gave up": 0}
        _keep_libraries_quiet()

    async def run(self) -> None:
        """Deliver whatever is due, then sleep until the next try or change; for ever."""
        bell = self._core.bell.listen()
        pause_seconds: float | None = None
        while True:
            if pause_seconds is None:
                await bell.wait()
                bell.clear()
            else:
                await wait_for_bell(bell, pause_seconds)
            try:
                while await self.deliver():
                    pass
                pause_seconds = self._pause_seconds(await self._core.database.run(outbox.next_due_ms))
            except Exception:
                log.exception("notices could not be delivered; they are tried again in %s s", PAUSE_MS // 1000)
                await asyncio.sleep(PAUSE_MS / 1000)
                pause_seconds = 0

    def _pause_seconds(self, due_ms: int | None) -> float | None:
        if due_ms is None:
            return None
        return min(max(due_ms - self._core.clock.now_ms(), 0) / 1000 + 0.001, LOOK_AGAIN_SECONDS)

    async def deliver(self) -> int:
        """Try the first notice that is due of each target, once; returns how many were tried."""
        now_ms = self._core.clock.now_ms()
        notices = await self._core.database.run(lambda c: outbox.due(c, now_ms, PASS_MAX))
        results = await asyncio.gather(*(self._deliver_one(notice) for notice in notices), return_exceptions=True)
        for result in results:  # every notice has had its turn before one's trouble is raised
            if isinstance(result, BaseException):
                raise result
        return len(notices)

    async def _deliver_one(self, notice: Notice) -> None:
        async with self._at_once:
            try:
                reason = "" if notice.id in self._sent else await self._send(notice)
            except CannotSend as error:
                await self._mark(notice, f"{outbox.GAVE_UP}: {error}")
                self._count("gave up", notice, str(error), logging.WARNING)
                return
            if reason:
                await self._fail(notice, reason)
                return
            await self._mark(notice, outbox.DELIVERED)
            self._sent.discard(notice.id)
            self._count("delivered", notice)

    async def _send(self, notice: Notice) -> str:
        """Send it; returns why that failed, or nothing.  Raises `CannotSend`."""
        url = self._url(notice.target)
        key = (notice.organization, notice.target)
        if key in self._busy:
            return "the try before this one still waits for an answer"
        self._busy.add(key)
        answer = _in_thread(lambda: _post(url, notice))

        def over(done: asyncio.Future[str | CannotSend]) -> None:
            self._busy.discard(key)
            if not done.cancelled() and done.result() == "":
                # even when it came too late to be waited for: it was delivered, and is not sent again
                self._sent.add(notice.id)

        answer.add_done_callback(over)
        try:
            result = await asyncio.wait_for(asyncio.shield(answer), TRY_SECONDS)
        except asyncio.TimeoutError:
            return f"no answer within {TRY_SECONDS:g} s"
        if isinstance(result, CannotSend):
            self._warn_once(notice.target, f"the target {bounded(notice.target)} of notices does not work: {result}")
            raise result
        return result

    def _url(self, target: str) -> str:
        """The apprise URL of a target, with its secrets; raises `CannotSend`."""
        if target.startswith(FROM_ENVIRONMENT):
            return self._read(target.removeprefix(FROM_ENVIRONMENT), "an apprise URL, such as slack://…")
        if not target.startswith(MAIL) or "://" in target:
            return target
        server = self._read(SMTP_VARIABLE, "the mail server, such as mailtos://user:password@smtp.example")
        if server.partition("://")[0].lower() not in MAIL_SCHEMES:
            raise CannotSend(f"{SMTP_VARIABLE} does not start with mailto:// or mailtos://")
        options = urlencode({"to": target.removeprefix(MAIL), "format": "text"})
        return f"{server}{'&' if '?' in server else '?'}{options}"

    def _read(self, variable: str, meaning: str) -> str:
        value = os.environ.get(variable, "").strip()
        if not value:
            self._warn_once(
                variable, f"notices are not delivered: set {variable} in the environment of the service to {meaning}"
            )
            raise CannotSend(f"{variable} is not set")
        return value

    async def _mark(self, notice: Notice, outcome: str) -> None:
        now_ms = self._core.clock.now_ms()
        await self._core.database.run(lambda c: outbox.mark(c, notice.id, now_ms, outcome))

    async def _fail(self, notice: Notice, reason: str) -> None:
        now_ms = self._core.clock.now_ms()
        next_ms = now_ms + min(PAUSE_MS << min(notice.attempts, 16), PAUSE_MS_MAX)
        given_up = await self._core.database.run(lambda c: outbox.mark_failed(c, notice, now_ms, next_ms, reason))
        self._count("failed try", notice, reason, logging.WARNING)
        if given_up:
            self.counts["gave up"] += given_up
            log.error("gave up %s notices to %s: %s", given_up, bounded(notice.target), reason)

    def _count(self, what: str, notice: Notice, reason: str = "", level: int = logging.INFO) -> None:
        self.counts[what] += 1
        names = (notice.id, bounded(notice.kind), bounded(notice.organization), bounded(notice.target))
        log.log(level, "notice %s (%s) of %s to %s: %s%s", *names, what, f": {reason}" if reason else "")

    def _warn_once(self, about: str, sentence: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            log.warning("%s", sentence)


def _in_thread(work: Callable[[], str | CannotSend]) -> asyncio.Future[str | CannotSend]:
    """Run ``work``, which never raises, in a thread that does not keep the process from ending.

    An executor's threads would: the process would wait at its end for a server that hangs.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str | CannotSend] = loop.create_future()

    def report(result: str | CannotSend) -> None:
        if not answer.done():
            answer.set_result(result)

    def body() -> None:
        result = work()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the service has ended
            loop.call_soon_threadsafe(report, result)

    threading.Thread(target=body, name="notice", daemon=True).start()
    return answer


def _post(url: str, notice: Notice) -> str | CannotSend:
    """Hand a notice to apprise; returns why that failed, or nothing."""
    # imported here, in the thread, because loading all of its services takes most of a second
    import apprise

    scheme = url.partition("://")[0].lower()
    # apprise also knows desktops, syslog and the like: nothing of those is even set up
    if scheme not in SCHEMES | {"https"}:
        return CannotSend("its URL has a scheme that is not supported")
    asset = apprise.AppriseAsset(
        app_id="VESSL",
        app_desc="JupyterHub VESSL",
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
        pem_autogen=False,
        pgp_autogen=False,
        allow_templates=False,
    )
    _answers.code.value = ""
    try:
        service = apprise.Apprise.instantiate(url, asset=asset)
        # https:// is read as the address of a known service, which has to be one of ours too
        if service is None or service.schema not in SCHEMES:
            return CannotSend("its URL cannot be used; jupyterhub-vessl's how-to on notices shows the forms")
        service.socket_connect_timeout = service.socket_read_timeout = SOCKET_SECONDS
        title, body = notice.title, notice.body
        if service.schema not in MAIL_SCHEMES | HOOK_SCHEMES:
            title, body = plain(title), plain(body)
        if service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return ""
    except Exception as error:  # the text of a library's error may hold the URL
        return f"{REFUSED} ({type(error).__name__})"
    code = _answers.code.value
    return f"the server answered {code}" if code else REFUSED


def plain(text: str) -> str:
    """``text`` without what a chat takes for a link or for a call to everybody; it looks nearly the same."""
    return _CALLS.sub(lambda found: found[0] + "\u200b", text.translate(_ANGLES))


class _Answers(logging.Filter):
    """Stops all that apprise logs, and keeps of it, for this thread, what holds no secret: the HTTP status."""

    def __init__(self) -> None:
        super().__init__()
        self.code = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Look for a status; let nothing pass."""
        found = re.search(r"\berror=(\d{3})\b", record.getMessage())
        if found:
            self.code.value = found[1]
        return False


_answers = _Answers()


def _keep_libraries_quiet() -> None:
    """Keep the logs of apprise and of what it uses out of ours: they tell addresses, URLs, keys and texts."""
    apprise_log = logging.getLogger("apprise")
    apprise_log.setLevel(logging.WARNING)
    apprise_log.addFilter(_answers)
    for name in ("oauthlib", "requests_oauthlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
