"""Runs the statements of a file, a JSON list, by hand and by the driver, and prints what was seen of each as JSON.

Usage: hostile_sql.py FILE
"""

import json
import sys

import snowflake.connector

from connector import connect
from hostile_client import Session, leaks


def by_driver(connection, sql):
    """What the driver made of it, its error's text included."""
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        return repr((cursor.description, cursor.fetchall()))
    except snowflake.connector.errors.Error as error:
        return str(error)


def main(file):
    session = Session()
    with open(file, encoding="utf-8") as statements, connect() as connection:
        for sql in json.load(statements):
            answer = session.ask(sql).shown()
            driven = by_driver(connection, sql)
            answer["leaks"] += leaks(driven.encode())
            print(json.dumps({"sql": sql, "driver": driven, **answer}), flush=True)


main(*sys.argv[1:])
