"""What drivers make of a Snowflake session: names, statements about the session, errors, expiry and renewal.

Usage: session.py connector|go SCENARIO...     (one JSON object per scenario and line)
"""

import json
import os
import sys
import time
import uuid

NAMES = ("account", "user", "password", "database", "schema", "warehouse", "role")
GIVEN = {name: os.environ["SNOWFLAKE_" + name.upper()] for name in NAMES}
# Seconds: more than a session token of the account `brief` lives, and more than its master token does.
SESSION_EXPIRED, MASTER_EXPIRED = 1.2, 4.5


class Connector:
    """The Python connector."""

    def __init__(self, **given):
        import snowflake.connector

        self.error = snowflake.connector.errors.Error
        self.connection = snowflake.connector.connect(**given)

    def run(self, sql):
        """The rows of a statement."""
        return self.connection.cursor().execute(sql).fetchall()

    def names(self):
        """What the driver says its session is set to."""
        return [getattr(self.connection, name) for name in ("database", "schema", "warehouse", "role")]

    def failure(self, error):
        """What an error tells."""
        return {"errno": error.errno, "sqlstate": error.sqlstate, "id": error.sfqid, "message": str(error)}


class Go:
    """The Go driver, through ADBC."""

    def __init__(self, **given):
        import adbc_driver_manager
        import adbc_driver_snowflake.dbapi

        self.error = adbc_driver_manager.Error
        sql = {"account": "account", "database": "db", "schema": "schema", "warehouse": "warehouse", "role": "role"}
        options = {f"adbc.snowflake.sql.{key}": given[name] for name, key in sql.items() if name in given}
        options |= {"username": given["user"], "password": given["password"]}
        self.connection = adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True)

    def run(self, sql):
        """The rows of a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return [[str(cell) for cell in row] for row in cursor.fetchall()]

    def names(self):
        """What the driver says its session is set to."""
        return [self.connection.adbc_current_catalog, self.connection.adbc_current_db_schema]

    def failure(self, error):
        """What an error tells."""
        return {"errno": error.vendor_code, "sqlstate": error.sqlstate, "message": str(error)}


def attempt(client, sql):
    """The rows of a statement or what its error tells, and the seconds it took."""
    start = time.monotonic()
    try:
        seen = {"rows": client.run(sql)}
    except client.error as error:
        seen = client.failure(error)
    return {**seen, "seconds": time.monotonic() - start}


def names(client):
    """The session's names at login, and as statements change them."""
    seen = {"login": client.names()}
    for sql in ("USE ROLE auditor", 'USE WAREHOUSE "Big"', "CREATE DATABASE SIDE", "USE DATABASE SIDE"):
        client.run(sql)
        seen[sql] = client.names()
    # A database has a schema from its beginning, and a session that moves there is in it.
    seen["unqualified"] = attempt(client, "CREATE TABLE NOTES (ID NUMBER)")
    return seen


def parameters(client):
    """Session parameters can be set."""
    statements = ("ALTER SESSION SET QUERY_TAG = 'nightly'", "ALTER SESSION UNSET QUERY_TAG")
    return {sql: attempt(client, sql) for sql in statements}


def errors(client):
    """A statement that fails, ones that the server cannot execute at all, and the session after them."""
    statements = ("SELECT * FROM NO_SUCH_TABLE", "SELECT 1; SELECT 2", "EXPLAIN SELECT 1", "SELECT COUNT(*) FROM CUSTOMERS")
    return {sql: attempt(client, sql) for sql in statements}


def expiry(client):
    """A session is renewed while it may be, and ends when it may not."""
    sql = "SELECT COUNT(*) FROM CUSTOMERS"
    time.sleep(SESSION_EXPIRED)
    renewed = attempt(client, sql)
    time.sleep(MASTER_EXPIRED)
    return {"renewed": renewed, "ended": attempt(client, sql)}


def repetition(client):
    """A request that is sent again, as after a lost reply; the connector alone lets a caller choose its id."""
    client.run("CREATE TABLE ONCE (ID NUMBER)")
    request = uuid.uuid4()
    for _ in range(2):
        client.connection.cmd_query("INSERT INTO ONCE VALUES (1)", 1, request)
    return {"rows": client.run("SELECT COUNT(*) FROM ONCE")}


def waiting(client):
    """Statements that outlast the time for which the server holds a request."""
    statements = ("SELECT COUNT(*) FROM CUSTOMERS /* takes 2.5 s */", "SELECT SYSTEM$WAIT(1.5)", "SELECT * FROM NOWHERE /* takes 1.5 s */")
    return {sql: attempt(client, sql) for sql in statements}


def submission(client):
    """A statement that nobody waits for, its state, its rows later, and again from another session."""
    sql = "SELECT COUNT(*) FROM CUSTOMERS /* takes 2 s */"
    cursor = client.connection.cursor()
    cursor.execute_async(sql)
    seen = {"at_once": client.connection.get_query_status(cursor.sfqid).name}
    while client.connection.is_still_running(client.connection.get_query_status(cursor.sfqid)):
        time.sleep(0.1)
    seen["in_the_end"] = client.connection.get_query_status(cursor.sfqid).name
    cursor.get_results_from_sfqid(cursor.sfqid)
    seen["rows"] = cursor.fetchall()
    other = Connector(**GIVEN)
    path = f"/queries/{cursor.sfqid}/result"
    seen["again"] = other.connection.rest.request(path, method="get")["data"]["total"]
    other.connection.close()
    return seen


def cancellation(client):
    """Statements that are ended from outside: by the driver's own limit, and by another session."""
    seen = {}
    try:
        client.connection.cursor().execute("SELECT 1 /* takes 30 s */", timeout=2)
    except client.error as error:
        seen["by_driver"] = client.failure(error)
    cursor, other = client.connection.cursor(), Connector(**GIVEN)
    cursor.execute_async("SELECT 1 /* takes 30 s */")
    seen["by_other"] = other.run(f"SELECT SYSTEM$CANCEL_QUERY('{cursor.sfqid}')")[0][0].replace(cursor.sfqid, "ID")
    other.connection.close()
    path = f"/queries/{cursor.sfqid}/result"
    seen["code"] = client.connection.rest.request(path, method="get")["code"]
    return seen


def main(driver, *scenarios):
    kind = {"connector": Connector, "go": Go}[driver]
    for name in scenarios:
        start = time.monotonic()
        client = kind(**GIVEN)
        seen = {"login_seconds": time.monotonic() - start, **globals()[name](client)}
        start = time.monotonic()
        client.connection.close()
        print(json.dumps({"scenario": name, **seen, "close_seconds": time.monotonic() - start}), flush=True)


main(*sys.argv[1:])
