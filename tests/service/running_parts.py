"""What tests of running workspaces ask again and again."""

import sqlalchemy as sa

from jupyterhub_vessl.ledger.records import open_admissions


async def only(service, who="mia"):
    _, listed = await service.call("GET", "workspaces", who)
    (view,) = listed["workspaces"]
    return view


async def rows(service, table):
    query = sa.select(sa.func.count()).select_from(table)
    return await service.parts.core.database.run(lambda c: c.execute(query).scalar())


async def only_from_database(service):
    return len(await service.parts.core.database.run(open_admissions))
