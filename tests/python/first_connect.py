"""How long a driver's login takes in a network namespace that the agent has never seen, and in one that it serves.

Usage: first_connect.py connector|go|COMMAND...     (prints one JSON object; needs CAP_SYS_ADMIN)
"""

import ctypes
import json
import os
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
NAMES = ("account", "user", "password", "database", "schema", "warehouse", "role")
GIVEN = {name: os.environ["SNOWFLAKE_" + name.upper()] for name in NAMES}


def connector():
    """The Python connector."""
    import snowflake.connector

    return lambda: snowflake.connector.connect(**GIVEN)


def go():
    """The Go driver, which is not loaded before it connects: its threads have to be in the namespace."""
    import adbc_driver_snowflake.dbapi

    sql = {"account": "account", "database": "db", "schema": "schema", "warehouse": "warehouse", "role": "role"}
    options = {f"adbc.snowflake.sql.{key}": GIVEN[name] for name, key in sql.items()}
    options |= {"username": GIVEN["user"], "password": GIVEN["password"]}
    return lambda: adbc_driver_snowflake.dbapi.connect(db_kwargs=options, autocommit=True)


def measured(connect):
    """Seconds of a login; the statement after it only shows that there is a session."""
    start = time.monotonic()
    connection = connect()
    seconds = time.monotonic() - start
    with connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM CUSTOMERS")
        assert int(cursor.fetchone()[0]) == 1000
    connection.close()
    return seconds


def whole(words):
    """Seconds of a whole command, which says by its exit code whether it could log in."""
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main(name, *more):
    driver = {"connector": connector, "go": go}.get(name)
    # Imported before, so that nothing but the login is measured.
    connect = driver and driver()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    seconds = [measured(connect) if driver else whole([name, *more]) for _ in range(2)]
    print(json.dumps(dict(zip(("first", "second"), (round(each, 2) for each in seconds)))))


main(*sys.argv[1:])
