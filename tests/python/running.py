"""What drivers make of statements that take long: results that come later, are read again, or never come.

Usage: running.py connector|go SCENARIO...     (one JSON object per scenario and line)

The majors 4 and 5 of the connector are called alike; the interpreter decides which one is used. Nothing printed depends
on the clock or on chance, so that two runs can be compared.
"""

import json
import os
import sys
import threading
import time
import uuid

NAMES = ("account", "user", "password", "database", "schema", "warehouse", "role")
GIVEN = {name: os.environ["SNOWFLAKE_" + name.upper()] for name in NAMES}
PII = "SELECT ID, EMAIL, SSN, CITY FROM CUSTOMERS ORDER BY ID LIMIT 5"
# Seconds: more than a session token of the account `brief` lives, and more than its master token does.
SESSION_EXPIRED, MASTER_EXPIRED = 1.2, 4.5


class Connector:
    """The Python connector."""

    def __init__(self, **more):
        import snowflake.connector

        self.error = snowflake.connector.errors.Error
        # The major 5 is another program, without this one's inner parts.
        self.is_5 = snowflake.connector.__version__.startswith("5.")
        self.connection = snowflake.connector.connect(**{**GIVEN, **more})

    def run(self, sql):
        """The rows of a statement."""
        with self.connection.cursor() as cursor:
            return [[str(cell) for cell in row] for row in cursor.execute(sql).fetchall()]

    def failure(self, error):
        """What an error tells."""
        return {"errno": error.errno, "sqlstate": error.sqlstate}


class Go:
    """The Go driver, through ADBC."""

    def __init__(self):
        import adbc_driver_manager
        import adbc_driver_snowflake.dbapi

        self.error = adbc_driver_manager.Error
        sql = {"account": "account", "database": "db", "schema": "schema", "warehouse": "warehouse", "role": "role"}
        options = {f"adbc.snowflake.sql.{key}": GIVEN[name] for name, key in sql.items()}
        options |= {"username": GIVEN["user"], "password": GIVEN["password"]}
        self.connection = adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True)

    def run(self, sql):
        """The rows of a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return [[str(cell) for cell in row] for row in cursor.fetchall()]

    def failure(self, error):
        """What an error tells."""
        return {"errno": error.vendor_code, "sqlstate": error.sqlstate}


def attempt(client, sql):
    """The rows of a statement, or what its error tells."""
    try:
        return client.run(sql)
    except client.error as error:
        return client.failure(error)


def waiting(client):
    """Statements that outlast the time for which the server holds a request, and the session after them."""
    statements = (
        "SELECT COUNT(*) FROM CUSTOMERS /* takes 2.5 s */",
        "SELECT * FROM NOWHERE /* takes 1.5 s */",
        "CREATE SCHEMA IF NOT EXISTS LATE /* takes 1.5 s */",
        "CREATE OR REPLACE TABLE NOTES (ID NUMBER)",
        "SELECT COUNT(*) FROM LATE.NOTES",
        "USE SCHEMA PUBLIC /* takes 1.5 s */",
        "SELECT COUNT(*) FROM CUSTOMERS",
    )
    return {sql: attempt(client, sql) for sql in statements}


def submission(client):
    """A statement that nobody waits for, how it is doing, its rows later, and once more."""
    cursor = client.connection.cursor()
    cursor.execute_async(f"{PII} /* takes 2 s */")
    seen = {"at_once": client.connection.get_query_status(cursor.sfqid).name}
    while client.connection.is_still_running(client.connection.get_query_status(cursor.sfqid)):
        time.sleep(0.1)
    seen["in_the_end"] = client.connection.get_query_status(cursor.sfqid).name
    seen["rows"], seen["again"] = fetched(client, cursor.sfqid), fetched(client, cursor.sfqid)
    failing = client.connection.cursor()
    failing.execute_async("SELECT * FROM NOWHERE /* takes 0.5 s */")
    try:
        while client.connection.is_still_running(client.connection.get_query_status_throw_if_error(failing.sfqid)):
            time.sleep(0.1)
    except client.error as error:
        seen["failed"] = client.failure(error)
    return seen


def fetched(client, query_id):
    """The rows of a result, by the statement's id."""
    if not client.is_5:
        # Major 4 would read them with a statement, RESULT_SCAN; this is how it reads those of one that it waits for.
        answer = {"code": "333334"}
        while answer["code"] in ("333333", "333334"):
            answer = client.connection.rest.request(f"/queries/{query_id}/result", method="get")
        if not answer["success"]:
            return answer["message"]
        data = answer["data"]
        if data.get("rowset"):
            return data["rowset"]
        import base64
        import pyarrow

        with pyarrow.ipc.open_stream(base64.b64decode(data["rowsetBase64"])) as stream:
            return [[str(cell) for cell in row.values()] for row in stream.read_all().to_pylist()]
    cursor = client.connection.cursor()
    cursor.get_results_from_sfqid(query_id)
    return [[str(cell) for cell in row] for row in cursor.fetchall()]


def cancellation(client):
    """A statement that its client gives up, and the session after it."""
    seen, slow = {}, "SELECT COUNT(*) FROM CUSTOMERS /* takes 30 s */"
    if isinstance(client, Go):
        cursor = client.connection.cursor()
        threading.Timer(2, cursor.adbc_cancel).start()
        try:
            cursor.execute(slow)
        except client.error:
            seen["given up"] = True
    elif not client.is_5:
        try:
            client.connection.cursor().execute(slow, timeout=2)
        except client.error as error:
            seen["given up"] = client.failure(error)
    else:
        other = Connector(query_timeout=2)
        seen["given up"] = attempt(other, slow)
        other.connection.close()
    seen["after"] = client.run("SELECT COUNT(*) FROM CUSTOMERS")
    return seen


def cancellation_by_id(client):
    """A statement that nobody waits for, ended by its id."""
    cursor = client.connection.cursor()
    cursor.execute_async("SELECT COUNT(*) FROM CUSTOMERS /* takes 30 s */")
    aborted = client.connection.rest.request(f"/queries/{cursor.sfqid}/abort-request", {}, method="post")
    result = client.connection.rest.request(f"/queries/{cursor.sfqid}/result", method="get")
    return {"aborted": aborted["success"], "code": result["code"]}


def repetition(client):
    """A request that is sent again, as after a lost reply; the connector alone lets a caller choose its id."""
    client.run("CREATE OR REPLACE TABLE ONCE (ID NUMBER)")
    request = uuid.uuid4()
    replies = [client.connection.cmd_query("INSERT INTO ONCE VALUES (1)", 1, request) for _ in range(2)]
    return {"same": replies[0]["data"]["queryId"] == replies[1]["data"]["queryId"], "rows": client.run("SELECT COUNT(*) FROM ONCE")}


def expiry(client):
    """A session is renewed while it may be, and ends when it may not."""
    sql = "SELECT COUNT(*) FROM CUSTOMERS"
    time.sleep(SESSION_EXPIRED)
    renewed = attempt(client, sql)
    time.sleep(MASTER_EXPIRED)
    return {"renewed": renewed, "ended": attempt(client, sql)}


def moved(client):
    """A session that moves while a statement of it runs that nobody waits for.

    The lab's server finds a name where the session is when it comes to it, which Snowflake does not say it never does.
    """
    cursor = client.connection.cursor()
    cursor.execute_async("SELECT COUNT(*) FROM CUSTOMERS /* takes 2 s */")
    client.run("CREATE SCHEMA IF NOT EXISTS ELSEWHERE")
    return {"rows": fetched(client, cursor.sfqid)}


def polled(client):
    """Tagged columns of a statement that is polled for."""
    return {"rows": client.run(f"{PII} /* takes 2.5 s */")}


def main(driver, *scenarios):
    for name in scenarios:
        client = {"connector": Connector, "go": Go}[driver]()
        print(json.dumps({"scenario": name, **globals()[name](client)}), flush=True)
        client.connection.close()


main(*sys.argv[1:])
