"""A pipeline step as its author wrote it: nothing in it knows of Snowfence."""

import os
import sys

import snowflake.connector
from snowflake.connector.errors import Error


def main(statements):
    variables = ("account", "user", "password", "database", "schema", "warehouse", "role")
    try:
        connection = snowflake.connector.connect(**{v: os.environ[f"SNOWFLAKE_{v.upper()}"] for v in variables})
    except Error as error:
        sys.exit(f"{type(error).__name__}: {error}")
    failed = False
    with connection, connection.cursor() as cursor:
        for statement in statements:
            print(f"SQL> {statement}")
            try:
                for row in cursor.execute(statement):
                    print("    ", *row, sep="  ")
            except Error as error:
                failed = True
                print(f"     {type(error).__name__}: {error}")
    sys.exit(1 if failed else 0)


main(sys.argv[1:])
