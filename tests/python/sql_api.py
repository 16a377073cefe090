"""Runs curl as a job that speaks the SQL API: one request after the other, and prints what came back as JSON.

The first argument is a list of steps. Each is a list of curl's arguments, or a number of seconds to wait. `HANDLE` in
one stands for the statement handle of the latest answer of status 200 or 202, and `SESSION` for the token of a session
that the connector opens first, if any step asks for it.
"""

import base64
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from hostile_client import leaks

steps = json.loads(sys.argv[1])
handle, session, answers = "01bd42cc-a95c-4499-9444-1481d21ca810", "", []
if "SESSION" in sys.argv[1]:
    import snowflake.connector

    variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
    connection = snowflake.connector.connect(**{v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables})
    session = connection.rest.token


def headers(text):
    """The last head: curl also writes that of `100 Continue`."""
    lines = text.strip().split("\r\n\r\n")[-1].split("\r\n")
    return {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines[1:])}


def run(arguments):
    with tempfile.TemporaryDirectory() as folder:
        head, body = pathlib.Path(folder, "head"), pathlib.Path(folder, "body")
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--max-time", "90", "--dump-header", head, "--output", body]
            + ["--write-out", "%{http_code}"]
            + [argument.replace("HANDLE", handle).replace("SESSION", session) for argument in arguments],
            capture_output=True,
            text=True,
        )
        raw = body.read_bytes() if body.exists() else b""
        found = headers(head.read_bytes().decode()) if done.returncode == 0 else {}
        return done, found, raw


for step in steps:
    if not isinstance(step, list):
        time.sleep(step)
        continue
    done, found, raw = run(step)
    # With --compressed curl has inflated the body by itself.
    is_packed = raw[:2] == b"\x1f\x8b"
    plain = gzip.decompress(raw) if is_packed else raw
    try:
        said = json.loads(plain)
    except ValueError:
        said = None
    # A refusal has the handle of nothing.
    if done.stdout in ("200", "202") and isinstance(said, dict) and said.get("statementHandle"):
        handle = said["statementHandle"]
    answers.append(
        {
            "curl": done.returncode,
            "stderr": done.stderr,
            "status": int(done.stdout or 0),
            "headers": found,
            "raw": base64.b64encode(raw).decode(),
            "is_packed": is_packed,
            "text": plain.decode(errors="replace"),
            "json": said,
            "leaks": leaks(raw) + leaks(plain),
        }
    )
print(json.dumps(answers))
