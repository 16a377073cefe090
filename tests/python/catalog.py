"""Statements whose text does not say which columns they show: what the Python connector is given.

Usage: catalog.py STATEMENT...     (one JSON object per statement and line; the statements run in one session)

`last` is whether the statement is the session's last one, as Snowflake itself says.
"""

import json
import os
import sys

import snowflake.connector

NAMES = ("account", "user", "password", "database", "schema", "warehouse", "role")
GIVEN = {name: os.environ["SNOWFLAKE_" + name.upper()] for name in NAMES}


def rows(cursor):
    """What a statement shows, as text."""
    return [[None if cell is None else str(cell) for cell in row] for row in cursor.fetchall()]


def main(*statements):
    connection = snowflake.connector.connect(**GIVEN)
    for sql in statements:
        cursor = connection.cursor()
        try:
            seen = {"rows": rows(cursor.execute(sql)), "columns": [column.name for column in cursor.description]}
            last = rows(connection.cursor().execute("SELECT LAST_QUERY_ID()"))
            seen["last"] = last == [[cursor.sfqid]]
        except snowflake.connector.errors.Error as error:
            seen = {"errno": error.errno, "message": error.msg}
        print(json.dumps({"sql": sql, **seen}), flush=True)
    connection.close()


main(*sys.argv[1:])
