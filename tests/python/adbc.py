"""Uses the Go driver through ADBC as pipelines do, and prints what it saw: one JSON object per scenario and line.

Usage: adbc.py [SCENARIO...]     (without names: all, in the order of this file)

Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.
"""

import hashlib
import os

import adbc_driver_snowflake.dbapi
from adbc_driver_manager import Error

from scenarios import run

SAMPLE = "SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5"


def connect():
    """Logs in with what the pipeline's author put into the environment."""
    options = {
        "username": os.environ["SNOWFLAKE_USER"],
        "password": os.environ["SNOWFLAKE_PASSWORD"],
        "adbc.snowflake.sql.account": os.environ["SNOWFLAKE_ACCOUNT"],
        "adbc.snowflake.sql.db": os.environ["SNOWFLAKE_DATABASE"],
        "adbc.snowflake.sql.schema": os.environ["SNOWFLAKE_SCHEMA"],
        "adbc.snowflake.sql.warehouse": os.environ["SNOWFLAKE_WAREHOUSE"],
        "adbc.snowflake.sql.role": os.environ["SNOWFLAKE_ROLE"],
    }
    return adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True)


def failure(error):
    """What an error tells."""
    return {
        "class": type(error).__name__,
        "errno": error.vendor_code,
        "sqlstate": error.sqlstate,
        "status": str(error.status_code),
        "message": str(error),
    }


def ask(cursor, sql):
    """Runs a statement and fetches all of its answer."""
    cursor.execute(sql)
    table = cursor.fetch_arrow_table()
    rows = [[[type(cell).__name__, repr(cell)] for cell in row.values()] for row in table.to_pylist()]
    return {"schema": table.schema.to_string(), "rows": rows, "rowcount": cursor.rowcount}


def attempt(cursor, sql):
    """As `ask`, with an error as an answer."""
    try:
        return ask(cursor, sql)
    except Error as error:
        return {"error": failure(error)}


def login(connection):
    """Which driver this is, and where it landed."""
    info = connection.adbc_get_info()
    return {"driver": info.get("driver_name"), "catalog": connection.adbc_current_catalog}


def select(connection):
    """A few rows with every column."""
    with connection.cursor() as cursor:
        return ask(cursor, SAMPLE)


def star(connection):
    """The same rows without naming columns."""
    with connection.cursor() as cursor:
        return ask(cursor, "SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5")


def derived(connection):
    """Expressions over columns."""
    with connection.cursor() as cursor:
        return ask(cursor, "SELECT UPPER(EMAIL) AS E, LEFT(SSN, 3) AS S, CITY FROM CUSTOMERS ORDER BY ID LIMIT 3")


def everything(connection):
    """All rows, as their number and a digest."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM CUSTOMERS ORDER BY ID")
        table = cursor.fetch_arrow_table()
        return {"count": len(table), "sha256": hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()}


def all_rows(connection):
    """All rows, cell by cell."""
    with connection.cursor() as cursor:
        return {"rows": ask(cursor, "SELECT * FROM CUSTOMERS ORDER BY ID")["rows"]}


def empty(connection):
    """A result without rows."""
    with connection.cursor() as cursor:
        return ask(cursor, "SELECT * FROM CUSTOMERS WHERE ID < 0")


def error(connection):
    """Statements that the server refuses."""
    with connection.cursor() as cursor:
        return {sql: attempt(cursor, sql) for sql in ("SELECT * FROM NO_SUCH_TABLE", "SELECT ID FROM CUSTOMERS GROUP BY CITY")}


def dml(connection):
    """Writing, and what became of it."""
    statements = (
        "INSERT INTO CUSTOMERS (ID, NAME) VALUES (5001, 'Nia Nobody')",
        "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
        "SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID",
        "DELETE FROM CUSTOMERS WHERE ID > 5000",
    )
    with connection.cursor() as cursor:
        return {sql: attempt(cursor, sql) for sql in statements}


def drop(connection):
    """The statement that nobody wants to see from a leaked token."""
    with connection.cursor() as cursor:
        return attempt(cursor, "DROP TABLE CUSTOMERS")


SCENARIOS = (login, select, star, derived, everything, all_rows, empty, error, dml, drop)


if __name__ == "__main__":
    run(SCENARIOS, connect, Error, failure)
