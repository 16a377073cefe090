"""The Go driver logs in to whatever answers as acme, and prints the error that it is answered with."""

import adbc_driver_snowflake.dbapi

options = {"username": "u", "password": "p", "adbc.snowflake.sql.account": "acme"}
options["adbc.snowflake.sql.client_option.login_timeout"] = "8s"
try:
    adbc_driver_snowflake.dbapi.connect(db_kwargs=options)
except adbc_driver_snowflake.dbapi.Error as error:
    print(type(error).__name__, error)
