"""The outbox: one row for each target, bounded, and a failing target that holds up nothing else."""

import pytest
import sqlalchemy as sa

from jupyterhub_vessl.ledger import outbox
from jupyterhub_vessl.ledger.schema import outbox as table
from jupyterhub_vessl.model.notify import check_target

T0 = 1_800_000_000_000
DAY_MS = 24 * 3_600_000
MAIL, HOOK = "mailto:ops@acme.example", "json://127.0.0.1:9000/hook"


def put(connection, *targets, title="Credits run low", organization="acme", at_ms=T0):
    return outbox.enqueue(connection, organization, at_ms, "low", title, "6 credits are left.", targets or (MAIL,))


def rows(connection, **values):
    conditions = [table.c[name] == value for name, value in values.items()]
    return connection.execute(sa.select(table).where(*conditions).order_by(table.c.id)).all()


def due(connection, now_ms=T0):
    return outbox.due(connection, now_ms, 100)


def test_a_notice_waits_once_for_each_target(connection):
    put(connection, MAIL, HOOK, MAIL)
    assert [notice.target for notice in due(connection)] == [MAIL, HOOK]
    assert due(connection, T0 - 1) == ()
    assert outbox.next_due_ms(connection) == T0


def test_what_is_marked_waits_no_more(connection):
    put(connection)
    outbox.mark(connection, due(connection)[0].id, T0 + 5, outbox.DELIVERED)
    assert due(connection) == ()
    assert outbox.next_due_ms(connection) is None
    assert [(row.done_ms, row.outcome) for row in rows(connection)] == [(T0 + 5, "delivered")]


def test_text_is_bounded_and_a_title_is_one_line(connection):
    put(connection, title="a\r\nBcc: all@acme.example" + "x" * 500)
    outbox.enqueue(connection, "acme", T0, "low", "t", "b" * 10_000, [HOOK])
    first, second = due(connection)
    assert first.title.isprintable()
    assert len(first.title) <= 201
    assert len(second.body) == 4001


def test_too_many_that_wait_drop_the_oldest_of_the_organization_only(connection):
    put(connection, organization="other")
    assert sum(put(connection, title=str(n)) for n in range(1000)) == 0
    assert put(connection, MAIL, HOOK, title="last") == 2
    dropped = rows(connection, outcome="dropped: too many notices wait")
    assert [row.title for row in dropped] == ["0", "1"]
    assert len(rows(connection, done_ms=None, organization="acme")) == 1000
    assert len(rows(connection, done_ms=None, organization="other")) == 1


def test_what_was_done_90_days_ago_goes_when_something_new_comes(connection):
    put(connection)
    put(connection, HOOK)
    outbox.mark(connection, due(connection)[0].id, T0, outbox.DELIVERED)
    put(connection, at_ms=T0 + 90 * DAY_MS)
    assert len(rows(connection)) == 3
    put(connection, at_ms=T0 + 90 * DAY_MS + 1)
    assert [row.outcome for row in rows(connection)] == [""] * 3  # what still waits is never removed


def test_a_failed_target_rests_as_a_whole_and_others_do_not(connection):
    put(connection, title="first")
    put(connection, title="second")
    put(connection, HOOK)
    first = due(connection)[0]
    assert outbox.mark_failed(connection, first, T0, T0 + 30_000, "no answer") == 0
    assert [notice.target for notice in due(connection)] == [HOOK]
    # what a server refused goes to the end of its queue
    again = due(connection, T0 + 40_000)
    assert [notice.title for notice in again if notice.target == MAIL] == ["second"]
    assert [notice.attempts for notice in again if notice.target == MAIL] == [1]


def test_what_is_a_day_old_is_given_up_once_it_was_tried_often_enough(connection):
    put(connection, title="old")
    put(connection, title="old, too")
    put(connection, title="new", at_ms=T0 + DAY_MS)
    now_ms, given_up = T0 + DAY_MS, []
    for _ in range(3):
        (notice,) = due(connection, now_ms)
        given_up.append(outbox.mark_failed(connection, notice, now_ms, now_ms + 30_000, "no answer"))
        now_ms += 40_000
    assert given_up == [0, 0, 2]
    assert [row.outcome for row in rows(connection)] == ["gave up: no answer", "gave up: no answer", ""]


@pytest.mark.parametrize(
    "target",
    [
        "mailto:ops@acme.example",
        "env:ACME_SLACK_URL",
        "json://127.0.0.1:9000/hook",
        " jsons://hooks.acme.example/vessl ",
    ],
)
def test_a_target_has_one_of_three_forms(target):
    assert check_target(target) == target.strip()


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("", "write mailto:"),
        ("ops@acme.example", "write mailto:"),
        ("mailto:ops@acme.example,all@acme.example", "one address"),
        ("mailto:ops@acme.example?bcc=x@evil.example", "one address"),
        ("mailto:a\r\nb@acme.example", "one address"),
        ("mailtos://user:hunter2@smtp.example", "VESSL_SMTP_URL"),
        ("env:acme", "capitals"),
        ("env:", "capitals"),
        ("slack://T000/B000/hunter2", "env:NAME"),
        ("SLACK://T000/B000/hunter2", "env:NAME"),
        ("https://hooks.slack.com/services/T000/B000/hunter2", "env:NAME"),
        ("json://user:hunter2@hooks.acme.example", "env:NAME"),
        ("json://hunter2@hooks.acme.example", "env:NAME"),
        ("jsons://hooks.acme.example/?+Authorization=hunter2", "env:NAME"),
        ("json://", "jsons://hooks.acme.example"),
        ("json://host:99999/", "jsons://hooks.acme.example"),
        ("json:host/", "jsons://hooks.acme.example"),
        ("json://[::1", "jsons://hooks.acme.example"),
        ("json://host/{{name}}", "jsons://hooks.acme.example"),
        ("json://" + "a" * 300, "255"),
        ("exec:///bin/sh", "write mailto:"),
        ("dbus://", "write mailto:"),
        ("file:///etc/passwd", "write mailto:"),
        ("syslog://", "write mailto:"),
    ],
)
def test_another_target_is_refused_with_the_right_form_and_without_its_secret(target, advice):
    with pytest.raises(ValueError, match=advice) as caught:
        check_target(target)
    assert "hunter2" not in str(caught.value)
