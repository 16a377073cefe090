"""Speaks Snowflake's protocol by hand, where no driver would do the same twice or ask for what is not its own.

Usage: running_wire.py SCENARIO [ARGUMENT...]     (one JSON object)
"""

import gzip
import http.client
import json
import os
import ssl
import sys
import threading
import time
import uuid

HOST = f"{os.environ['SNOWFLAKE_ACCOUNT']}.snowflakecomputing.com"
# The longest statement that Snowflake takes, in bytes.
TEXT_BYTES_MAX = 1 << 20
# Ids that no statement has.
NOBODYS = "00000000-0000-4000-8000-000000000001"


class Session:
    """A session, by its token, on a connection of its own or on several."""

    def __init__(self, token=None, host=HOST, compress=False):
        self.host, self.compress, self.token = host, compress, token
        self.connection = self.connect()
        if token is None:
            names = {"LOGIN_NAME": "USER", "PASSWORD": "PASSWORD"}
            data = {key: os.environ["SNOWFLAKE_" + name] for key, name in names.items()}
            query = "&".join(f"{k}={os.environ['SNOWFLAKE_' + v]}" for k, v in (
                ("databaseName", "DATABASE"), ("schemaName", "SCHEMA"), ("warehouse", "WAREHOUSE"), ("roleName", "ROLE")))
            self.login = self.ask("POST", f"/session/v1/login-request?{query}", {"data": {**data, "CLIENT_APP_ID": "wire"}})
            self.token = (self.login.get("data") or {}).get("token")

    def connect(self):
        """Opens a connection as a client does that is told to reach the host under this name."""
        tls = ssl.create_default_context()
        # The name in the certificate is in small letters, whatever the client wrote.
        return http.client.HTTPSConnection(self.host, context=tls)

    def ask(self, method, path, body=None, connection=None):
        """One exchange; an answer that is no JSON is given as its status."""
        headers = {"Accept": "application/json", "Host": self.host}
        if self.token:
            headers["Authorization"] = f'Snowflake Token="{self.token}"'
        content = None
        if body is not None:
            content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
            if self.compress:
                content, headers["Content-Encoding"] = gzip.compress(content), "gzip"
        connection = connection or self.connection
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read()
        try:
            return json.loads(text)
        except ValueError:
            return {"status": answer.status}

    def run(self, sql, request=None, connection=None, **more):
        """One statement's answer."""
        path = f"/queries/v1/query-request?requestId={request or uuid.uuid4()}"
        return self.ask("POST", path, {"sqlText": sql, **more}, connection)


    def result(self, answer, connection=None):
        """What a statement that may still run comes to."""
        while answer.get("code") == "333333":
            answer = self.ask("GET", answer["data"]["getResultUrl"], connection=connection)
        return answer


def message(answer):
    return answer.get("message")


def joined():
    """The same request from two connections at once, once more afterwards, and with another text."""
    session, request, answers = Session(), uuid.uuid4(), {}
    sql = "SELECT COUNT(*) AS JOINED FROM CUSTOMERS /* takes 0.9 s */"

    def ask(name, delay):
        time.sleep(delay)
        answers[name] = session.run(sql, request, session.connect(), sequenceId=len(name))

    threads = [threading.Thread(target=ask, args=arguments) for arguments in (("a", 0), ("bb", 0.3))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    ask("ccc", 0)
    ids = {answer["data"]["queryId"] for answer in answers.values()}
    different = [
        session.run("SELECT 2 AS OTHER", request),
        session.run(sql, request, parameters={"QUERY_TAG": "other"}),
        session.run(sql, request, bindings={"1": {"type": "TEXT", "value": "x"}}),
    ]
    return {"answers": len(answers), "ids": len(ids), "different": [message(answer) for answer in different]}


def joined_long():
    """A request that comes again after it was answered with more than is kept, and one that is still running."""
    session, request = Session(), uuid.uuid4()
    sql = "SELECT A.ID, A.EMAIL, B.NAME AS LONG FROM CUSTOMERS A, CUSTOMERS B WHERE B.ID <= 40"
    first, second = session.run(sql, request), session.run(sql, request)
    rows = [answer["data"].get("rowset") or answer["data"]["rowsetBase64"] for answer in (first, second)]
    running = uuid.uuid4()
    slow = [session.run("SELECT EMAIL AS SLOW FROM CUSTOMERS LIMIT 2 /* takes 2 s */", running) for _ in range(2)]
    result = session.result(slow[1])
    return {
        "bytes": len(json.dumps(rows[0])), "same": rows[0] == rows[1],
        "ids": len({answer["data"]["queryId"] for answer in slow}), "codes": [answer["code"] for answer in slow],
        "total": result["data"].get("total"),
    }


def twice():
    """One result asked for twice at the same time."""
    session, answers = Session(), []
    slow = session.run("SELECT ID, EMAIL AS TWICE FROM CUSTOMERS LIMIT 3 /* takes 2 s */")

    def ask():
        answers.append(session.result(slow, session.connect()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return {"same": answers[0]["data"] == answers[1]["data"]}


def foreign():
    """Results and states of statements that the session did not ask for: nobody's, and another session's."""
    owner, other = Session(), Session()
    theirs = owner.run("SELECT ID, EMAIL FROM CUSTOMERS LIMIT 3")["data"]["queryId"]
    paths = [f"/queries/{theirs}/result", f"/monitoring/queries/{theirs}", f"/queries/{NOBODYS}/result", f"/monitoring/queries//{NOBODYS}"]
    own = owner.ask("GET", f"/queries/{theirs}/result")
    return {"refused": [message(other.ask("GET", path)) for path in paths], "own": own["success"], "id": theirs}


def owner():
    """Runs a statement, says under which id and token, and keeps the session."""
    session = Session()
    answer = session.run("SELECT ID, EMAIL FROM CUSTOMERS LIMIT 3")
    print(json.dumps({"token": session.token, "id": answer["data"]["queryId"]}), flush=True)
    time.sleep(240)


def thief(token, query_id):
    """Asks for another job's result with its token."""
    session = Session(token)
    return {"refused": [message(session.ask("GET", path)) for path in (f"/queries/{query_id}/result", f"/monitoring/queries/{query_id}")]}


def spellings():
    """The same statement in the ways that drivers send it: plain and compressed, and the host in any letter case."""
    seen = {}
    for name, host, compress in (
        ("plain", HOST, False), ("gzip", HOST, True), ("capitals", HOST.upper(), False), ("mixed", HOST.title(), True),
    ):
        session = Session(host=host, compress=compress)
        answer = session.run("SELECT COUNT(*) FROM CUSTOMERS", queryContextDTO={"entries": []})
        seen[name] = answer["success"]
    return seen


def sizes():
    """A text as long as Snowflake takes, one that is longer by a byte, and bindings of many megabytes."""
    session, seen = Session(), {}
    before, after = "SELECT COUNT(*) FROM CUSTOMERS WHERE NAME <> '", "'"
    for name, length in (("longest", TEXT_BYTES_MAX), ("too long", TEXT_BYTES_MAX + 1)):
        sql = before + "x" * (length - len(before) - len(after)) + after
        answer = session.run(sql)
        seen[name] = [answer["success"], message(answer)]
    values = ["x" * 1000] * 20_000
    answer = session.run("SELECT ? AS MANY", bindings={"1": {"type": "TEXT", "value": values}})
    seen["bindings"] = (message(answer) or "").startswith("Snowfence")
    answer = session.run("SELECT ? AS MORE", bindings={"1": {"type": "TEXT", "value": ["x" * 1000] * 70_000}})
    seen["more bindings"] = message(answer)
    return seen


def idle():
    """A session of several connections, each of which is used after the other and after a pause."""
    session = Session()
    connections, seen = [session.connect() for _ in range(3)], []
    for pause in (0, 1, 2):
        time.sleep(pause)
        for connection in connections:
            seen.append(session.run("SELECT COUNT(*) FROM CUSTOMERS", connection=connection)["success"])
    return {"seen": seen}


def login():
    """Logs in, and does not mind if that is refused."""
    Session()
    return {}


def poll():
    """Asks for a result that does not come for as long as anybody waits."""
    session = Session()
    answer = session.run("SELECT ID AS KILLED FROM CUSTOMERS /* takes 120 s */")
    while answer.get("code") == "333333":
        answer = session.ask("GET", answer["data"]["getResultUrl"])
        print("polling", flush=True)
    return {}


def table():
    """Statements and exchanges of every kind that is refused, masked or passed on."""
    session, request = Session(), uuid.uuid4()
    # What is masked comes first: of statements that were passed on nobody knows what they left behind, and what comes after
    # them is masked more widely.
    for sql in ("SELECT ID, EMAIL, SSN FROM CUSTOMERS LIMIT 2", "SELECT ID FROM CUSTOMERS LIMIT 2",
                "SELECT EMAIL FROM CUSTOMERS LIMIT 2 /* takes 1.5 s */", "DROP TABLE NO_SUCH_TABLE", "SELECT 1; SELECT 2", "SELEC 1",
                "SELECT SYSTEM$WHATEVER()", "INSERT INTO CUSTOMERS SELECT * FROM CUSTOMERS WHERE ID < 0"):
        session.result(session.run(sql))
    session.run("SELECT 1", request)
    session.run("SELECT 2", request)
    session.run("SELECT 1", parameters={"QUOTED_IDENTIFIERS_IGNORE_CASE": "true"})
    session.run("SELECT 1", describedJobId=NOBODYS)
    session.run("SELECT 1", statement="SELECT 2")
    for method, path in (("GET", "/no/such/endpoint"), ("GET", f"/queries/{NOBODYS}/result"), ("GET", f"/monitoring/queries/{NOBODYS}"),
                         ("POST", "/session/authenticator-request")):
        session.ask(method, path, {} if method == "POST" else None)
    Session("no such token").run("SELECT 1")
    return {}


def main(name, *arguments):
    seen = globals()[name](*arguments)
    print(json.dumps({"scenario": name, **seen}), flush=True)


main(*sys.argv[1:])
