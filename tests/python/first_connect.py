"""How long a driver's login takes in a network namespace that the agent has never seen, and in one that it serves.

Usage: first_connect.py connector|go|COMMAND...     (prints one JSON object; needs CAP_SYS_ADMIN)
"""

import ctypes
import json
import subprocess
import sys
import time

from session import GIVEN, Connector, Go

CLONE_NEWNET = 0x40000000


def login(driver):
    start = time.monotonic()
    client = driver(**GIVEN)
    seconds = time.monotonic() - start
    rows = client.run("SELECT COUNT(*) FROM CUSTOMERS")
    client.connection.close()
    return {"seconds": round(seconds, 2), "rows": str(rows)}


def command(words):
    """A whole command, which says by its exit code whether it could log in."""
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return {"seconds": round(time.monotonic() - start, 2)}


def main(name, *more):
    # Loaded before, so that nothing but the login is measured. Go makes its threads when it is loaded, and a thread is
    # in the namespace of the one that made it.
    if name == "connector":
        import snowflake.connector  # noqa: F401
    seen = {}
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    driver = {"connector": Connector, "go": Go}.get(name)
    for which in ("first", "second"):
        seen[which] = login(driver) if driver else command([name, *more])
    print(json.dumps(seen))


main(*sys.argv[1:])
