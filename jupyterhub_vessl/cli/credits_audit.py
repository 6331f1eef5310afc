"""``credits audit``: is every balance what follows from the books?  Asked of the service, or of the database."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import Any

import click

from ..model.money import format_credits
from ..model.text import bounded
from ..model.units import counted
from .credits_shared import link_to_service, print_json, prints, refuse, service_options


@click.command()
@click.option("--database", metavar="URL", help="Look into this database itself; the service need not run.")
@prints
@service_options
def audit(database: str | None, output: str, **service: str | None) -> None:
    """Rebuild every balance from its entries and compare; exits 1 when one differs.

    With --database all organizations, spans and meters are looked at, and nothing can be written.
    """
    if database is not None:
        found = audit_database(database)
    else:
        found = link_to_service(output=output, **service).ask(lambda client, name: client.audit(name)).model_dump()
    if output == "json":
        print_json(found)
    else:
        _print(found)
    sys.exit(0 if found["ok"] else 1)


def _print(found: dict[str, Any]) -> None:
    differences = found["differences"]
    looked = counted(found["transactions"], "transaction")
    total = format_credits(sum(found["balances_micros"].values()), found.get("currency", ""), decimals=6).strip()
    verdict = counted(len(differences), "difference") if differences else "every balance is right"
    click.echo(f"{looked}: {verdict}, and all accounts together sum to {total}.")
    for each in differences:
        sentence = f"{each['what']}: {each['found']} is recorded, {each['expected']} follows from the books"
        click.echo(bounded(sentence, 500))


def audit_database(url: str) -> dict[str, Any]:
    """What an audit of a whole database finds, in one read-only transaction while its service goes on.

    Money in micro-credits, as in `model.wire_statements.AuditView`; here accounts are named with their
    organization.  A database that cannot be read exits 1 with a sentence.
    """
    import sqlalchemy as sa

    from ..ledger.audit import audit as audit_money
    from ..ledger.audit import audit_usage
    from ..model.errors import VesslError

    try:
        engine = open_read_only(url)
        try:
            with engine.connect() as connection:
                money = audit_money(connection)
                differences = (*money.differences, *audit_usage(connection, int(time.time() * 1000)))
        finally:
            engine.dispose()
    except VesslError as error:
        refuse(str(error))
    except sa.exc.SQLAlchemyError as error:
        said = str(error.__cause__ or error).strip().splitlines()[0]
        refuse(f"The database cannot be audited: {bounded(said)}.")
    return {
        "ok": not differences,
        "transactions": money.transactions,
        "balances_micros": money.balances_micros,
        "differences": [asdict(difference) for difference in differences],
    }


def open_read_only(url: str) -> Any:
    """An engine whose connections can write nothing and hold up nobody who does.  Raises `DatabaseUnusable`."""
    import sqlalchemy as sa

    from ..ledger.database import open_engine
    from ..ledger.lease import DatabaseUnusable, sqlite_file

    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise DatabaseUnusable("A database is a URL such as sqlite:////srv/vessl.sqlite or postgresql://…") from error
    if parsed.get_backend_name() != "sqlite":
        engine = open_engine(url)
        sa.event.listen(engine, "begin", _read_only_transaction)
        return engine
    file = sqlite_file(parsed)
    if file is None or not file.is_file():
        raise DatabaseUnusable(f"There is no database at {bounded(url)}.")
    engine = sa.create_engine(f"sqlite:///{file.absolute().as_uri()}?mode=ro&uri=true")
    sa.event.listen(engine, "connect", _explicit_transactions)
    sa.event.listen(engine, "begin", _begin_snapshot)
    return engine


def _read_only_transaction(connection: Any) -> None:
    connection.exec_driver_sql("SET TRANSACTION READ ONLY")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")


def _explicit_transactions(connection: Any, _record: object) -> None:
    connection.isolation_level = None


def _begin_snapshot(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")
