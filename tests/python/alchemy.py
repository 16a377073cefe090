"""Uses SQLAlchemy as pipelines do, and prints what it saw: one JSON object per scenario and line.

Usage: alchemy.py [SCENARIO...]     (without names: all, in the order of this file)

Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.
"""

import hashlib
import os

import sqlalchemy
from snowflake.sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from scenarios import run

SAMPLE = "SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5"
CUSTOMERS = sqlalchemy.table("customers", *map(sqlalchemy.column, ("id", "name", "email", "ssn", "city", "created_at")))


def connect():
    """Logs in with what the pipeline's author put into the environment."""
    names = ("account", "user", "password", "database", "schema", "warehouse", "role")
    address = URL(**{name: os.environ["SNOWFLAKE_" + name.upper()] for name in names})
    return sqlalchemy.create_engine(address).connect().execution_options(isolation_level="AUTOCOMMIT")


def cells(rows):
    """Values with their types."""
    return [[[type(cell).__name__, repr(cell)] for cell in row] for row in rows]


def failure(error):
    """What an error tells, without the parts that differ from run to run."""
    inner = error.orig
    return {"class": type(error).__name__, "errno": inner.errno, "sqlstate": inner.sqlstate, "message": inner.raw_msg}


def ask(connection, statement, *parameters):
    """Runs a statement, given as text or built, and fetches all of its answer."""
    if isinstance(statement, str):
        statement = sqlalchemy.text(statement)
    result = connection.execute(statement, *parameters)
    if not result.returns_rows:
        return {"rowcount": result.rowcount}
    return {"columns": list(result.keys()), "rows": cells(result.fetchall()), "rowcount": result.rowcount}


def attempt(connection, statement):
    """As `ask`, with an error as an answer."""
    try:
        return ask(connection, statement)
    except DBAPIError as error:
        return {"error": failure(error)}


def login(connection):
    """What SQLAlchemy asks a server that it meets."""
    dialect = connection.dialect
    return {"dialect": dialect.name, "schema": dialect.default_schema_name, "server": str(dialect.server_version_info)}


def select(connection):
    """A few rows with every column."""
    return ask(connection, SAMPLE)


def star(connection):
    """The same rows without naming columns."""
    return ask(connection, "SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5")


def derived(connection):
    """Expressions over columns, built and not written."""
    columns = CUSTOMERS.c
    built = sqlalchemy.select(sqlalchemy.func.upper(columns.email), sqlalchemy.func.left(columns.ssn, 3), columns.city)
    return ask(connection, built.order_by(columns.id).limit(3))


def built(connection):
    """A statement that SQLAlchemy writes, with values that the client puts into it."""
    wanted = sqlalchemy.select(CUSTOMERS.c.name, CUSTOMERS.c.city).where(CUSTOMERS.c.id.in_([7, 9])).order_by(CUSTOMERS.c.id)
    return ask(connection, wanted)


def everything(connection):
    """All rows, as their number and a digest."""
    rows = connection.execute(sqlalchemy.text("SELECT * FROM CUSTOMERS ORDER BY ID")).fetchall()
    return {"count": len(rows), "sha256": hashlib.sha256(repr(rows).encode()).hexdigest()}


def all_rows(connection):
    """All rows, cell by cell."""
    return {"rows": ask(connection, "SELECT * FROM CUSTOMERS ORDER BY ID")["rows"]}


def empty(connection):
    """A result without rows."""
    return ask(connection, "SELECT * FROM CUSTOMERS WHERE ID < 0")


def reflection(connection):
    """What SQLAlchemy finds out about tables by itself."""
    inspector = sqlalchemy.inspect(connection)
    try:
        return {"tables": inspector.get_table_names(), "there": inspector.has_table("customers")}
    except DBAPIError as error:
        return {"error": failure(error)}


def error(connection):
    """Statements that the server refuses."""
    return {sql: attempt(connection, sql) for sql in ("SELECT * FROM NO_SUCH_TABLE", "SELECT ID FROM CUSTOMERS GROUP BY CITY")}


def dml(connection):
    """Writing, and what became of it."""
    statements = (
        "INSERT INTO CUSTOMERS (ID, NAME) VALUES (5001, 'Nia Nobody')",
        "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
        "SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID",
        "DELETE FROM CUSTOMERS WHERE ID > 5000",
    )
    return {sql: attempt(connection, sql) for sql in statements}


def drop(connection):
    """The statement that nobody wants to see from a leaked token."""
    return attempt(connection, "DROP TABLE CUSTOMERS")


SCENARIOS = (login, select, star, derived, built, everything, all_rows, empty, reflection, error, dml, drop)


if __name__ == "__main__":
    run(SCENARIOS, connect, DBAPIError, failure)
