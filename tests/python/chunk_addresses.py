"""Prints the addresses at which a large result's chunks are, and what comes of asking for some of them: one JSON object.

Usage: chunk_addresses.py STATEMENT

The session stays open: whoever asks afterwards asks for a chunk of a session that is there.
"""

import json
import os
import subprocess
import sys

from connector import connect


def ask(url, *options):
    """What curl says of an address: the status, and the body."""
    said = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *options, url], capture_output=True, text=True, check=True)
    body, status = said.stdout.rsplit("\n", 1)
    return {"status": int(status), "body": body}


def main():
    cursor = connect(session_parameters={"PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "JSON"}).cursor()
    cursor.execute(sys.argv[1])
    remote = (getattr(batch, "_remote_chunk_info", None) for batch in cursor.get_result_batches())
    urls = [chunk.url for chunk in remote if chunk]
    key, index = urls[0].rsplit("/", 1)
    seen = {
        "urls": urls,
        "first": ask(urls[0]),
        "again": ask(urls[0], "-H", "Authorization: Snowflake Token=\"nobody's\""),
        "beyond": ask(f"{key}/{int(index) + len(urls)}"),
        "unknown": ask(f"{key[:-4]}0000/0"),
        "head": ask(urls[0], "-I"),
    }
    print(json.dumps(seen), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
