"""Notices arrive, by real servers, again and again until they do, and nothing waits for a server that hangs."""

import asyncio
import contextlib
import email.policy
import logging
import threading

import pytest
import sqlalchemy as sa
from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult

from jupyterhub_vessl.ledger import outbox
from jupyterhub_vessl.ledger.database import Database
from jupyterhub_vessl.ledger.schema import outbox as table
from jupyterhub_vessl.service import notifications
from jupyterhub_vessl.service.core import Core
from jupyterhub_vessl.service.notifications import Notifier, plain
from jupyterhub_vessl.service.sightings import Sightings

TITLE, BODY = "Credits of Acme run low", "6.20 credits are left.\nTop up at *Credits* <b>soon</b> \\n :smile:"
SECRET = "hunter2-very-secret"
MAIL = "mailto:ops@acme.example"


class Hook:
    """A web server that answers with the statuses it was given, then with 200; None hangs."""

    def __init__(self):
        self.statuses, self.received, self.paths = [], [], []
        self.arrived, self.released = asyncio.Event(), asyncio.Event()

    async def answer(self, request):
        self.arrived.set()
        self.paths.append(request.path)
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            await self.released.wait()
            status = 200
        if status == 302:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if status == 200:
            self.received.append(await request.json())
        return web.Response(status=status)


@pytest.fixture
async def hook():
    hook = Hook()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hook.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.at = f"127.0.0.1:{runner.addresses[0][1]}"
    hook.target = f"json://{hook.at}/vessl"
    yield hook
    hook.released.set()
    await runner.cleanup()


@pytest.fixture
async def mailbox(monkeypatch):
    """A mail server that wants a password; what it took."""
    taken = []

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            taken.append(envelope)
            return "250 OK"

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data.password == SECRET.encode())

    options = {"authenticator": authenticate, "auth_require_tls": False, "auth_required": True}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), **options, loop=loop), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv(
        "VESSL_SMTP_URL", f"mailto://vessl:{SECRET}@127.0.0.1:{port}?from=vessl@acme.example&format=html"
    )
    yield taken
    server.close()
    await server.wait_closed()


@pytest.fixture
async def core(clock, tmp_path):
    core = Core(None, Database(f"sqlite:///{tmp_path}/vessl.sqlite"), None, None, Sightings(tmp_path), clock=clock)
    await core.database.migrate()
    yield core
    core.database.close()


@pytest.fixture
def put(core):
    async def put(*targets, title=TITLE, body=BODY):
        now_ms = core.clock.now_ms()
        await core.database.run(lambda c: outbox.enqueue(c, "acme", now_ms, "low", title, body, targets))
        core.bell.ring()

    return put


@pytest.fixture
def outcomes(core):
    async def outcomes():
        query = sa.select(table.c.outcome).order_by(table.c.id)
        return await core.database.run(lambda c: list(c.execute(query).scalars()))

    return outcomes


@pytest.fixture
def notifier(core):
    return Notifier(core)


@contextlib.asynccontextmanager
async def running(notifier):
    task = asyncio.create_task(notifier.run())
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(condition):
    for _ in range(2000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within 20 s")


async def test_a_webhook_gets_the_text_as_it_is(hook, put, notifier, outcomes):
    await put(hook.target)
    assert await notifier.deliver() == 1
    (received,) = hook.received
    assert (received["title"], received["message"]) == (TITLE, BODY)
    assert await outcomes() == ["delivered"]
    assert await notifier.deliver() == 0
    assert notifier.counts == {"delivered": 1, "failed try": 0, "gave up": 0}


async def test_an_email_goes_to_its_one_address_as_plain_text(mailbox, put, notifier, outcomes):
    await put(MAIL)
    await notifier.deliver()
    assert await outcomes() == ["delivered"]
    (envelope,) = mailbox
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert envelope.rcpt_tos == ["ops@acme.example"]
    assert (message["Subject"], message["From"].addresses[0].addr_spec) == (TITLE, "vessl@acme.example")
    assert message.get_content_type() == "text/plain"
    assert message.get_content().strip().replace("\r\n", "\n") == BODY


async def test_a_server_that_fails_twice_gets_it_at_the_third_try(hook, put, notifier, outcomes, clock):
    hook.statuses = [500, 302]
    await put(hook.target)
    for wait_ms in (30_001, 60_001):
        await notifier.deliver()
        assert await outcomes() == [""]
        clock.ms += wait_ms - 2
        assert await notifier.deliver() == 0
        clock.ms += 2
    await notifier.deliver()
    assert (await outcomes(), len(hook.received)) == (["delivered"], 1)
    assert notifier.counts["failed try"] == 2
    assert hook.paths == ["/vessl"] * 3  # a redirect is not followed: it could lead anywhere


async def test_a_server_that_never_takes_it_is_given_up_after_a_day(hook, put, notifier, outcomes, clock, core):
    hook.statuses = [404] * 100
    await put(hook.target)
    began_ms = clock.ms
    while (next_ms := await core.database.run(outbox.next_due_ms)) is not None:
        clock.ms = next_ms
        await notifier.deliver()
    assert await outcomes() == ["gave up: the server answered 404"]
    assert 24 <= (clock.ms - began_ms) / 3_600_000 <= 25
    assert 24 <= notifier.counts["failed try"] <= 36
    assert notifier.counts["gave up"] == 1


async def test_a_server_that_hangs_holds_up_neither_the_books_nor_other_targets(
    hook, put, notifier, outcomes, core, monkeypatch
):
    monkeypatch.setattr(notifications, "TRY_SECONDS", 1.0)
    hook.statuses = [None]
    await put(hook.target)
    trying = asyncio.create_task(notifier.deliver())
    await hook.arrived.wait()
    await put(hook.target + "/other")
    await put(MAIL)  # the books take what is new while the try hangs
    assert not trying.done()
    await trying
    assert await outcomes() == ["", "", ""]
    await notifier.deliver()
    assert (await outcomes())[:2] == ["", "delivered"]


async def test_what_arrives_later_than_anybody_waits_is_not_sent_twice(
    hook, put, notifier, outcomes, clock, monkeypatch
):
    monkeypatch.setattr(notifications, "TRY_SECONDS", 0.5)
    hook.statuses = [None]
    await put(hook.target)
    await notifier.deliver()
    assert await outcomes() == [""]
    hook.released.set()

    async def over():
        return not any(thread.name == "notice" for thread in threading.enumerate()) and notifier._sent

    await until(over)
    clock.ms += 30_001
    await notifier.deliver()
    assert (await outcomes(), len(hook.received)) == (["delivered"], 1)


async def test_at_most_four_are_tried_at_once(hook, put, notifier, outcomes):
    hook.statuses = [None] * 6
    await put(*(f"{hook.target}/{n}" for n in range(6)))
    trying = asyncio.create_task(notifier.deliver())

    async def four_hang():
        return len(hook.statuses) == 2

    await until(four_hang)
    await asyncio.sleep(0.2)
    assert len(hook.statuses) == 2
    hook.released.set()
    await trying
    assert await outcomes() == ["delivered"] * 6


async def test_a_crash_between_sending_and_marking_sends_again(hook, put, notifier, outcomes, core, monkeypatch):
    await put(hook.target)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "mark", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await notifier.deliver()
    assert await outcomes() == [""]
    await Notifier(core).deliver()  # as after a restart
    assert (await outcomes(), len(hook.received)) == (["delivered"], 2)


async def test_a_full_disk_does_not_send_again_and_again(hook, put, notifier, outcomes, monkeypatch):
    await put(hook.target)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "mark", lambda *args: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await notifier.deliver()
    await notifier.deliver()
    assert (await outcomes(), len(hook.received)) == (["delivered"], 1)


@pytest.mark.parametrize(("target", "variable"), [(MAIL, "VESSL_SMTP_URL"), ("env:ACME_URL", "ACME_URL")])
async def test_a_missing_variable_is_told_once(target, variable, put, notifier, outcomes, monkeypatch, caplog):
    monkeypatch.delenv(variable, raising=False)
    for _ in range(2):
        await put(target)
        await notifier.deliver()
    assert await outcomes() == [f"gave up: {variable} is not set"] * 2
    assert sum(f"set {variable} in the environment" in message for message in caplog.messages) == 1


async def test_a_url_from_the_environment_is_used(hook, put, notifier, outcomes, monkeypatch):
    monkeypatch.setenv("ACME_URL", f"json://user:{SECRET}@{hook.at}/hook?+X-Key={SECRET}")
    await put("env:ACME_URL")
    await notifier.deliver()
    assert (await outcomes(), len(hook.received)) == (["delivered"], 1)


@pytest.mark.parametrize(
    "url",
    [
        f"exec://{SECRET}",
        f"syslog://{SECRET}",
        f"dbus://{SECRET}",
        f"file:///tmp/{SECRET}",
        f"https://elsewhere.example/{SECRET}",
        f"https://maker.ifttt.com/use/{SECRET}/event",
        f"slack://{SECRET}",
        SECRET,
    ],
)
async def test_a_url_that_cannot_be_used_is_given_up_and_stays_secret(
    url, put, notifier, outcomes, monkeypatch, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ACME_URL", url)
    await put("env:ACME_URL")
    await notifier.deliver()
    (outcome,) = await outcomes()
    assert outcome.startswith("gave up: its URL")
    assert SECRET not in outcome + caplog.text + "".join(capfd.readouterr())


async def test_secrets_and_bodies_are_in_no_log_and_no_outcome(
    hook, mailbox, put, notifier, outcomes, monkeypatch, caplog, capfd, clock
):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(notifications, "SOCKET_SECONDS", 0.5)
    hook.statuses = [500, 200]
    monkeypatch.setenv("ACME_URL", f"json://user:{SECRET}@{hook.at}/{SECRET}?+X-Key={SECRET}")
    monkeypatch.setenv("DEAD_URL", f"json://user:{SECRET}@127.0.0.1:1/{SECRET}")
    await put("env:ACME_URL", "env:DEAD_URL", MAIL)
    await notifier.deliver()
    clock.ms += 30_001
    await notifier.deliver()
    monkeypatch.setenv("VESSL_SMTP_URL", f"mailto://vessl:wrong{SECRET}@{hook.at}?from=vessl@acme.example")
    await put(MAIL)
    await notifier.deliver()
    assert (await outcomes())[:3] == ["delivered", "", "delivered"]
    assert notifier.counts["failed try"] >= 3
    stand_ins = ("aiohttp.access", "mail.log")  # the other side of the wire, in this process
    lines = [record.getMessage() for record in caplog.records if record.name not in stand_ins]
    told = "".join([*await outcomes(), *lines, *capfd.readouterr()])
    assert "env:ACME_URL: failed try: the server answered 500" in told
    for secret in (SECRET, "6.20 credits"):
        assert secret not in told


async def test_the_loop_sends_at_once_and_neither_looks_nor_writes_while_nothing_waits(hook, put, notifier, core):
    asked = []
    run = core.database.run

    async def counted(work):
        asked.append(work)
        return await run(work)

    async with running(notifier):
        await put(hook.target)
        await hook.arrived.wait()

        async def idle():
            return await run(outbox.next_due_ms) is None

        await until(idle)
        await asyncio.sleep(0.1)
        core.database.run = counted
        await asyncio.sleep(0.5)
        assert asked == []
        await put(hook.target)

        async def two():
            return len(hook.received) == 2

        await until(two)


async def test_the_loop_survives_trouble_with_the_books(hook, put, notifier, core, monkeypatch, caplog):
    monkeypatch.setattr(notifications, "PAUSE_MS", 100)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "due", lambda *args: 1 / 0)
        async with running(notifier):
            await put(hook.target)

            async def failed():
                return "notices could not be delivered" in caplog.text

            await until(failed)
            patch.undo()

            async def received():
                return len(hook.received) == 1

            await until(received)


def test_a_chat_takes_no_text_for_a_link_or_a_call_to_everybody():
    text = plain("<!channel> <@U1> @everyone @Here [x](https://evil.example) ada@acme.example R&D")
    for call in ("<", ">", "&", "@everyone", "@Here", "]("):
        assert call not in text
    assert "ada@acme.example" in text
