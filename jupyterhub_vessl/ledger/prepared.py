"""Statements that are compiled once for each kind of database; for what is done with every change.

SQLAlchemy looks up and fills in a statement at each execution, which costs more than SQLite takes to run it.
Here the text is kept, and values go to the driver directly, always as parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa


class Prepared:
    """One statement with named parameters, which are the column names of an insert, or its bind parameters."""

    def __init__(self, statement: sa.sql.expression.ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def _text(self, connection: sa.Connection) -> _Text:
        name = connection.dialect.name
        if name not in self._texts:
            compiled = self._statement.compile(dialect=connection.dialect)
            order = getattr(compiled, "positiontup", None)
            # constants of the statement itself, such as the 0 of a coalesce
            constants = {key: value for key, value in compiled.params.items() if value is not None}
            self._texts[name] = _Text(str(compiled), tuple(order) if order is not None else None, constants)
        return self._texts[name]

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> Any:
        """Execute once; returns the rows, with the few ways of SQLAlchemy's result to take them."""
        text = self._text(connection)
        return _execute(connection, text.sql, text.parameters(values))

    def run_many(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute for each row, in one call of the driver."""
        text = self._text(connection)
        _execute_many(connection, text.sql, [text.parameters(row) for row in rows])

    def run_rows(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Execute an insert for each row, given in the order of the table's columns, in one call of the driver."""
        text = self._text(connection)
        columns = tuple(self._statement.table.c.keys())  # type: ignore[attr-defined]
        if text.order == columns:
            _execute_many(connection, text.sql, rows)
        else:
            self.run_many(connection, [dict(zip(columns, row, strict=True)) for row in rows])


def _is_watched(connection: sa.Connection) -> bool:
    """Whether somebody listens to what is executed, or nothing began yet: then SQLAlchemy has to execute it."""
    heard = connection.dispatch.before_cursor_execute or connection.dispatch.after_cursor_execute
    return bool(heard) or not connection.in_transaction()


def _execute(connection: sa.Connection, sql: str, parameters: Any) -> Any:
    if _is_watched(connection):
        return connection.exec_driver_sql(sql, parameters)
    try:
        cursor = connection.connection.cursor()
        cursor.execute(sql, parameters)
        return Rows(cursor.fetchall() if cursor.description else [], cursor.rowcount)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _as_sqlalchemy(connection, sql, parameters, error) from error


def _execute_many(connection: sa.Connection, sql: str, rows: Sequence[Any]) -> None:
    if not rows:
        return
    if len(rows) == 1:
        _execute(connection, sql, rows[0])
    elif _is_watched(connection):
        connection.exec_driver_sql(sql, list(rows))
    else:
        try:
            connection.connection.cursor().executemany(sql, rows)
        except connection.dialect.loaded_dbapi.Error as error:
            raise _as_sqlalchemy(connection, sql, rows, error) from error


def _as_sqlalchemy(connection: sa.Connection, sql: str, parameters: Any, error: Any) -> Exception:
    """The error that SQLAlchemy makes of a driver's, and as there a connection that broke is given up."""
    dialect = connection.dialect
    broken = dialect.is_disconnect(error, connection.connection.driver_connection, None)
    if broken:
        connection.invalidate(error)
    base = dialect.loaded_dbapi.Error
    found: Exception = sa.exc.DBAPIError.instance(
        sql, parameters, error, base, connection_invalidated=broken, dialect=dialect
    )
    return found


class Rows(list[Any]):
    """All rows of an answer, as plain tuples."""

    def __init__(self, rows: Iterable[Any], rowcount: int) -> None:
        super().__init__(rows)
        self.rowcount = rowcount

    def all(self) -> Rows:
        """Every row."""
        return self

    def one_or_none(self) -> Any:
        """The only row; None when there is none."""
        return self[0] if self else None

    def scalar(self) -> Any:
        """The first value of the first row; None when there is none."""
        return self[0][0] if self else None

    scalar_one = scalar


class _Text(NamedTuple):
    sql: str
    order: tuple[str, ...] | None
    constants: Mapping[str, Any]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        if self.order is None:
            return {**self.constants, **values}
        if not self.constants:
            return tuple(map(values.__getitem__, self.order))
        return tuple(values[key] if key in values else self.constants[key] for key in self.order)
