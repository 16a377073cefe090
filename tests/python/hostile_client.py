"""A client that keeps every byte it is sent, for statements and tricks that no driver would send.

What a tagged column of the seed holds is looked for in all of those bytes, and in the Arrow streams among them, in the
spellings that SQL makes easily.
"""

import base64
import gzip
import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import uuid

HOST = os.environ["SNOWFLAKE_ACCOUNT"] + ".snowflakecomputing.com"
QUERY = "/queries/v1/query-request"
# Any number and any local part of an address in the seed, forwards and backwards.
SHAPES = re.compile(rb"9\d\d-\d\d-\d{4}|\d{4}-\d\d-\d\d9|[a-z]+\.[a-z]+\d+@example|elpmaxe@\d+[a-z]+\.[a-z]+", re.IGNORECASE)
# The first customer's, for spellings that have no shape.
FIRST = ("937-63-7919", "bruno.berg1@example.org")


def spellings(value):
    """A value as SQL's own functions may write it."""
    raw = value.encode()
    yield value.replace("-", "")
    yield value.split("@")[0]
    yield base64.b64encode(raw).decode()[:12]
    yield raw.hex()
    for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
        yield digest(raw).hexdigest()


NEEDLES = [spelling.lower().encode() for value in FIRST for spelling in spellings(value)]


def leaks(received):
    """What of the tagged columns is in these bytes."""
    found = [match.decode() for match in SHAPES.findall(received)[:3]]
    return found + [needle.decode() for needle in NEEDLES if needle in received.lower()]


def tls(name=HOST, alpn=()):
    """A verified connection, to the account's address whatever the name."""
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    if alpn:
        context.set_alpn_protocols(list(alpn))
    plain = socket.create_connection((HOST, 443), timeout=15)
    try:
        return context.wrap_socket(plain, server_hostname=name)
    except BaseException:
        plain.close()
        raise


class Answer:
    """One HTTP answer, and all of its bytes in plain form."""

    def __init__(self, response):
        self.status = response.status
        body = response.read()
        if response.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.received = str(response.headers).encode() + body
        try:
            self.json = json.loads(body)
        except ValueError:
            self.json = {}
        rows = (self.json.get("data") or {}) if isinstance(self.json.get("data"), dict) else {}
        self.received += base64.b64decode(rows.get("rowsetBase64") or "")

    @property
    def message(self):
        return self.json.get("message") or ""

    def shown(self):
        return {
            "status": self.status,
            "success": self.json.get("success"),
            "message": self.message,
            "leaks": leaks(self.received),
        }


def answers(connection, count=1, method="POST"):
    """The next answers on a connection; fewer when it ends."""
    found = []
    for _ in range(count):
        response = http.client.HTTPResponse(connection, method=method)
        try:
            response.begin()
            found.append(Answer(response))
        except (http.client.HTTPException, OSError, ValueError):
            break
    return found


def head(path, headers, method="POST", version="HTTP/1.1"):
    lines = [f"{method} {path} {version}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode()


def exchange(request, count=1, method="POST"):
    """Sends bytes on a connection of its own; what came back, or None if nothing did."""
    with tls() as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass
        return answers(connection, count, method)


def body_of(sql, **more):
    return json.dumps({"sqlText": sql, **more}).encode()


class Session:
    """A login and what can be asked with it."""

    def __init__(self, **parameters):
        names = "&".join(f"{key}={os.environ[f'SNOWFLAKE_{name}']}" for key, name in (
            ("databaseName", "DATABASE"), ("schemaName", "SCHEMA"), ("warehouse", "WAREHOUSE"), ("roleName", "ROLE")))
        answer = login_request(f"/session/v1/login-request?{names}", login_body(parameters))
        self.token, self.master = answer.json["data"]["token"], answer.json["data"]["masterToken"]

    def headers(self, body, token=None, more=()):
        return [
            ("Host", HOST), ("Content-Type", "application/json"), ("Content-Length", len(body)),
            ("Authorization", f'Snowflake Token="{token or self.token}"'), *more,
        ]

    def post(self, path, body, token=None, more=()):
        """The answer to a request, or None if the connection was closed instead."""
        found = exchange(head(path, self.headers(body, token, more)) + body)
        return found[0] if found else None

    def ask(self, sql, request=None, **more):
        """The answer to a statement."""
        return self.post(f"{QUERY}?requestId={request or uuid.uuid4()}", body_of(sql, **more))


def login_body(parameters=None, **data):
    return json.dumps({"data": {
        "ACCOUNT_NAME": os.environ["SNOWFLAKE_ACCOUNT"], "LOGIN_NAME": os.environ["SNOWFLAKE_USER"],
        "PASSWORD": os.environ["SNOWFLAKE_PASSWORD"], "SESSION_PARAMETERS": parameters or {}, **data,
    }}).encode()


def login_request(path, body, more=()):
    headers = [("Host", HOST), ("Content-Type", "application/json"), ("Content-Length", len(body)), *more]
    found = exchange(head(path, headers) + body)
    return found[0] if found else None
