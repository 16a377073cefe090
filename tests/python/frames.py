"""Uses Snowpark as pipelines do, and prints what it saw: one JSON object per scenario and line.

Usage: frames.py [SCENARIO...]     (without names: all, in the order of this file)

Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.
"""

import hashlib
import logging
import os

from snowflake.connector.errors import Error
from snowflake.snowpark import Session
from snowflake.snowpark.exceptions import SnowparkClientException
from snowflake.snowpark.functions import col, left, upper

from scenarios import run

SAMPLE = "SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5"
FAILURES = (SnowparkClientException, Error)

# Snowpark writes every error to its log as well.
logging.disable(logging.CRITICAL)


def connect():
    """Logs in with what the pipeline's author put into the environment."""
    names = ("account", "user", "password", "database", "schema", "warehouse", "role")
    return Session.builder.configs({name: os.environ["SNOWFLAKE_" + name.upper()] for name in names}).create()


def cells(rows):
    """Values with their types."""
    return [[[type(cell).__name__, repr(cell)] for cell in row] for row in rows]


def failure(error):
    """What an error tells, without the parts that differ from run to run."""
    inner = getattr(error, "conn_error", None) or error
    told = {"class": type(error).__name__, "errno": getattr(inner, "errno", None), "sqlstate": getattr(inner, "sqlstate", None)}
    return {**told, "message": getattr(inner, "raw_msg", None) or error.message}


def ask(session, frame):
    """Runs a statement, given as text or as a frame, and fetches all of its answer."""
    frame = session.sql(frame) if isinstance(frame, str) else frame
    return {"rows": cells(frame.collect())}


def attempt(session, frame):
    """As `ask`, with an error as an answer."""
    try:
        return ask(session, frame)
    except FAILURES as error:
        return {"error": failure(error)}


def login(session):
    """The names that the session settled on."""
    names = (session.get_current_role, session.get_current_database, session.get_current_schema, session.get_current_warehouse)
    return {"names": [name() for name in names]}


def select(session):
    """A few rows with every column."""
    return ask(session, SAMPLE)


def star(session):
    """The same rows as a frame, without naming columns."""
    return ask(session, session.table("CUSTOMERS").sort(col("ID")).limit(5))


def derived(session):
    """Expressions over columns, as a frame."""
    frame = session.table("CUSTOMERS").sort(col("ID")).limit(3)
    return ask(session, frame.select(upper(col("EMAIL")).alias("E"), left(col("SSN"), 3).alias("S"), col("CITY")))


def schema(session):
    """What Snowpark finds out about a frame without running it."""
    frame = session.table("CUSTOMERS").select("ID", "NAME")
    try:
        return {"fields": [[field.name, str(field.datatype), field.nullable] for field in frame.schema.fields]}
    except FAILURES as error:
        return {"error": failure(error)}


def filtered(session):
    """A frame with conditions, and numbers about it."""
    frame = session.table("CUSTOMERS").filter((col("ID") <= 20) & (col("CITY") == "Oslo"))
    return {**ask(session, frame.select("ID", "NAME", "CITY").sort("ID")), "count": frame.count()}


def pandas(session):
    """Rows as a data frame."""
    frame = session.sql(SAMPLE).to_pandas()
    return {"types": {name: str(kind) for name, kind in frame.dtypes.items()}, "text": frame.to_csv(index=False)}


def everything(session):
    """All rows, as their number and a digest. Not by `to_local_iterator`: the connector fetches those with RESULT_SCAN,
    which the agent refuses whatever its policy."""
    rows = session.table("CUSTOMERS").sort(col("ID")).collect()
    return {"count": len(rows), "sha256": hashlib.sha256(repr([tuple(row) for row in rows]).encode()).hexdigest()}


def all_rows(session):
    """All rows, cell by cell."""
    return ask(session, "SELECT * FROM CUSTOMERS ORDER BY ID")


def error(session):
    """Statements that the server refuses."""
    return {sql: attempt(session, sql) for sql in ("SELECT * FROM NO_SUCH_TABLE", "SELECT ID FROM CUSTOMERS GROUP BY CITY")}


def dml(session):
    """Writing, and what became of it."""
    statements = (
        "INSERT INTO CUSTOMERS (ID, NAME) VALUES (5001, 'Nia Nobody')",
        "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
        "SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID",
        "DELETE FROM CUSTOMERS WHERE ID > 5000",
    )
    return {sql: attempt(session, sql) for sql in statements}


def save(session):
    """A frame that becomes a table."""
    frame = session.table("CUSTOMERS").filter(col("ID") <= 3).select("ID", "CITY")
    try:
        frame.write.mode("overwrite").save_as_table("SAVED")
    except FAILURES as error:
        return {"error": failure(error)}
    return {**ask(session, "SELECT * FROM SAVED ORDER BY ID"), "dropped": ask(session, "DROP TABLE SAVED")}


def drop(session):
    """The statement that nobody wants to see from a leaked token."""
    return attempt(session, "DROP TABLE CUSTOMERS")


SCENARIOS = (
    login, select, star, derived, schema, filtered, pandas, everything, all_rows, error, dml, save, drop,
)


if __name__ == "__main__":
    run(SCENARIOS, connect, FAILURES, failure)
