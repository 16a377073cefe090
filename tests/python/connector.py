"""Uses the Snowflake connector as pipelines do, and prints what it saw: one JSON object per scenario and line.

Usage: connector.py [SCENARIO...]     (without names: all, in the order of this file)

The same calls work in majors 4 and 5, which share no code: the interpreter decides which one is used.

Nothing printed depends on the clock or on chance, so that two runs can be compared byte for byte.
"""

import hashlib
import os

import snowflake.connector
from snowflake.connector.errors import Error

from scenarios import run

SAMPLE = "SELECT ID, NAME, EMAIL, SSN, CITY, CREATED_AT FROM CUSTOMERS ORDER BY ID LIMIT 5"


def connect(**more):
    """Logs in with what the pipeline's author put into the environment."""
    names = ("account", "user", "password", "database", "schema", "warehouse", "role")
    given = {name: os.environ["SNOWFLAKE_" + name.upper()] for name in names}
    return snowflake.connector.connect(**{**given, **more})


def columns(description):
    """What the driver says of a result's columns, every field of it."""
    return [list(column) for column in description or ()]


def cells(rows):
    """Values with their types: 1 and Decimal(1) are not the same to a pipeline."""
    return [[[type(cell).__name__, repr(cell)] for cell in row] for row in rows]


def failure(error):
    """What an error tells, without the parts that differ from run to run."""
    return {"class": type(error).__name__, "errno": error.errno, "sqlstate": error.sqlstate, "message": error.raw_msg}


def ask(cursor, sql, *parameters):
    """Runs a statement and fetches all of its answer."""
    cursor.execute(sql, *parameters)
    rows = cursor.fetchall()
    return {
        "columns": columns(cursor.description),
        "rows": cells(rows),
        "rowcount": cursor.rowcount,
        "sqlstate": cursor.sqlstate,
        "format": cursor._query_result_format,
    }


def attempt(cursor, sql, *parameters):
    """As `ask`, with an error as an answer."""
    try:
        return ask(cursor, sql, *parameters)
    except Error as error:
        return {"error": failure(error)}


def login(connection):
    """The names that the server settled on."""
    names = ("account", "user", "role", "database", "schema", "warehouse", "host", "port")
    return {name: getattr(connection, name) for name in names}


def select(connection):
    """A few rows with every column."""
    return ask(connection.cursor(), SAMPLE)


def texts(connection):
    """The same rows, asked for as JSON texts in place of Arrow."""
    with connect(session_parameters={"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON"}) as other:
        return ask(other.cursor(), SAMPLE)


def star(connection):
    """The same rows without naming columns."""
    return ask(connection.cursor(), "SELECT * FROM CUSTOMERS ORDER BY ID LIMIT 5")


def derived(connection):
    """Expressions over columns."""
    return ask(connection.cursor(), "SELECT UPPER(EMAIL) AS E, LEFT(SSN, 3) AS S, CITY FROM CUSTOMERS ORDER BY ID LIMIT 3")


def aggregate(connection):
    """Numbers about all rows."""
    return ask(connection.cursor(), "SELECT COUNT(*), COUNT(DISTINCT CITY), MIN(CREATED_AT) FROM CUSTOMERS")


def everything(connection):
    """All rows, as their number and a digest; in pieces, as a pipeline reads them."""
    cursor = connection.cursor()
    cursor.execute("SELECT * FROM CUSTOMERS ORDER BY ID")
    digest, count = hashlib.sha256(), 0
    while rows := cursor.fetchmany(300):
        digest.update(repr(rows).encode())
        count += len(rows)
    return {"columns": columns(cursor.description), "count": count, "sha256": digest.hexdigest()}


ALL = "SELECT * FROM CUSTOMERS ORDER BY ID"


def all_rows(connection):
    """All rows, cell by cell; then as JSON texts, and as a data frame."""
    seen = {"rows": ask(connection.cursor(), ALL)["rows"]}
    with connect(session_parameters={"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON"}) as other:
        seen["texts"] = ask(other.cursor(), ALL)["rows"]
    cursor = connection.cursor()
    cursor.execute(ALL)
    return {**seen, "frame": cursor.fetch_pandas_all().to_csv(index=False)}


def chunks(connection):
    """All rows of a large result, in the ways in which a store has them."""
    ways = ("chunks", "plain chunks", "keyed chunks")
    if not snowflake.connector.__version__.startswith("4."):
        # It goes by `chunkHeaders` alone.
        ways = ways[:2]
    cursor = connection.cursor()
    return {how: ask(cursor, f"{ALL} /* in {how} of 300 */")["rows"] for how in ways}


def later(connection):
    """A large result that comes after the server said that the statement still runs."""
    return {"rows": ask(connection.cursor(), f"{ALL} /* in chunks of 300 */ /* takes 1.5 s */")["rows"]}


def arrow(connection):
    """Rows as an Arrow table, with the schema and its metadata."""
    cursor = connection.cursor()
    cursor.execute(SAMPLE)
    table = cursor.fetch_arrow_all()
    # One driver keeps metadata in an order of chance.
    schema = [[field.name, str(field.type), sorted((field.metadata or {}).items())] for field in table.schema]
    return {"schema": repr(schema), "rows": cells(zip(*table.to_pydict().values()))}


def pandas(connection):
    """Rows as a data frame."""
    cursor = connection.cursor()
    cursor.execute(SAMPLE)
    frame = cursor.fetch_pandas_all()
    return {"types": {name: str(kind) for name, kind in frame.dtypes.items()}, "rows": frame.to_csv(index=False)}


def types(connection):
    """One value of each type."""
    sql = """SELECT 1::NUMBER(38, 0) AS N, 1.25::NUMBER(10, 2) AS D, 0.5::FLOAT AS F, 'text' AS T, TRUE AS B,
        '2024-02-29'::DATE AS DAY, '2024-02-29 12:34:56.789'::TIMESTAMP_NTZ AS MOMENT, NULL::VARCHAR AS NOTHING"""
    return ask(connection.cursor(), sql)


def empty(connection):
    """A result without rows."""
    return ask(connection.cursor(), "SELECT * FROM CUSTOMERS WHERE ID < 0")


def binding(connection):
    """Values that the client puts into the text, and values that the server binds."""
    sql = "SELECT NAME, CITY FROM CUSTOMERS WHERE ID = "
    client = ask(connection.cursor(), sql + "%s", (7,))
    with connect(paramstyle="qmark") as other:
        return {"client": client, "server": attempt(other.cursor(), sql + "?", (7,))}


def describe(connection):
    """What a statement would return, without running it."""
    try:
        return {"columns": columns(connection.cursor().describe(SAMPLE))}
    except Error as error:
        return {"error": failure(error)}


def table(connection):
    """What the table is."""
    return attempt(connection.cursor(), "DESCRIBE TABLE CUSTOMERS")


def error(connection):
    """Statements that the server refuses."""
    cursor = connection.cursor()
    return {sql: attempt(cursor, sql) for sql in ("SELECT * FROM NO_SUCH_TABLE", "SELECT ID FROM CUSTOMERS GROUP BY CITY", "SELECT NO_SUCH_COLUMN FROM CUSTOMERS")}


def dml(connection):
    """Writing, and what became of it."""
    cursor = connection.cursor()
    statements = (
        "INSERT INTO CUSTOMERS (ID, NAME, EMAIL) VALUES (5001, 'Nia Nobody', 'nia@example.org'), (5002, 'Ole', NULL)",
        "UPDATE CUSTOMERS SET CITY = 'Bergen' WHERE ID > 5000",
        "SELECT ID, NAME, CITY FROM CUSTOMERS WHERE ID > 5000 ORDER BY ID",
        "DELETE FROM CUSTOMERS WHERE ID > 5000",
    )
    return {sql: attempt(cursor, sql) for sql in statements}


def transaction(connection):
    """Writing that is taken back."""
    cursor = connection.cursor()
    statements = (
        "BEGIN",
        "INSERT INTO CUSTOMERS (ID, NAME) VALUES (6001, 'Nobody')",
        "ROLLBACK",
        "SELECT COUNT(*) FROM CUSTOMERS WHERE ID > 6000",
    )
    return {sql: attempt(cursor, sql) for sql in statements}


def ddl(connection):
    """Making a table and dropping it again."""
    cursor = connection.cursor()
    return {sql: attempt(cursor, sql) for sql in ("CREATE TABLE SCRATCH (ID NUMBER)", "DROP TABLE SCRATCH")}


def drop(connection):
    """The statement that nobody wants to see from a leaked token."""
    return attempt(connection.cursor(), "DROP TABLE CUSTOMERS")


SCENARIOS = (
    login, select, texts, star, derived, aggregate, everything, all_rows, chunks, later, arrow, pandas, types, empty, binding, describe, table,
    error, dml, transaction, ddl, drop,
)


if __name__ == "__main__":
    run(SCENARIOS, connect, Error, failure)
