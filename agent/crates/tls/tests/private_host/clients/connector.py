"""The Python connector logs in to whatever answers as acme, and prints the error that it is answered with."""

import snowflake.connector

try:
    snowflake.connector.connect(account="acme", user="u", password="p", login_timeout=20)
except snowflake.connector.errors.Error as error:
    print(type(error).__name__, error)
