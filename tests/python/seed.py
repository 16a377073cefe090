"""Runs SQL files against fakesnow, statement by statement, in one session.

Usage: seed.py ORIGIN FILE...
A statement that fails ends the run: one line on standard error names file, line and reason.
"""

import json
import sys
import urllib.request

import sqlglot
from sqlglot.errors import TokenError

# Logging in with a database and a schema makes both.
LOGIN = "/session/v1/login-request?databaseName=ANALYTICS&schemaName=PUBLIC"
QUERY = "/queries/v1/query-request"


def post(url, token, body):
    """Sends a request and returns the reply's JSON; fakesnow's failures have JSON as well."""
    headers = {"Content-Type": "application/json", "Authorization": f'Snowflake Token="{token}"'}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as error:
        return json.load(error)


def statements(text):
    """Yields (line, statement) for each statement of a script; the tokenizer knows quotes, comments and $$."""
    start = line = end = None
    for token in sqlglot.tokenize(text, read="snowflake"):
        if token.token_type == sqlglot.TokenType.SEMICOLON:
            if start is not None:
                yield line, text[start:end]
            start = None
            continue
        if start is None:
            start, line = token.start, token.line
        end = token.end + 1
    if start is not None:
        yield line, text[start:end]


def run(origin, token, file):
    """Runs one file; returns a complaint, or None."""
    try:
        with open(file, encoding="utf-8") as script:
            found = list(statements(script.read()))
    except (OSError, UnicodeDecodeError, TokenError) as error:
        return f"seed {file}: {error}"
    for line, statement in found:
        reply = post(origin + QUERY, token, {"sqlText": statement})
        if not reply["success"]:
            return f"seed {file}:{line}: {reply['message']}"
    return None


def main(origin, *files):
    token = post(origin + LOGIN, "None", {"data": {"SESSION_PARAMETERS": {}}})["data"]["token"]
    for file in files:
        if complaint := run(origin, token, file):
            sys.exit(complaint)


main(*sys.argv[1:])
