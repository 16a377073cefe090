"""A process of a job that is hard to follow. It asks one question from where it is, and says what came of it.

Every word is a way to get there, the last one `ask`."""

import ctypes
import json
import os
import socket
import ssl
import sys
import time

VARIABLES = ("account", "user", "password", "database", "schema", "warehouse", "role")


def arguments():
    return {variable: os.environ[f"SNOWFLAKE_{variable.upper()}"] for variable in VARIABLES}


def ask():
    import snowflake.connector

    try:
        with snowflake.connector.connect(**arguments(), login_timeout=20) as connection:
            connection.cursor().execute("select count(*) from customers").fetchall()
            return "answered"
    except Exception as error:
        return f"refused {error}".replace("\n", " ")


def go(words):
    word, *rest = words
    return globals()[word](*([rest] if rest else []))


def told_by(child):
    """What a child says that runs `child` and is told where to write."""
    read, write = os.pipe()
    child(write)
    os.close(write)
    with os.fdopen(read) as told:
        return told.read()


def tell(write, line):
    os.write(write, line.encode())
    os._exit(0)


def bare(rest):
    """In a child with nothing in its environment that the runner put there for the job, as `env -i` starts one."""
    kept = ("SNOWFLAKE_", "PATH", "HOME", "LANG")
    environment = {name: value for name, value in os.environ.items() if name.startswith(kept)}

    def child(write):
        if os.fork() == 0:
            os.dup2(write, 1)
            os.execve(sys.executable, [sys.executable, __file__, *rest], environment)

    return told_by(child).strip()


def knock():
    """With nothing but what is loaded by now."""
    return login(socket.create_connection(("203.0.113.10", 443)))


def nobody(rest):
    # What it needs is where only root may read.
    "a".encode("idna")
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return go(rest)


def apart(rest):
    """As a daemon, whose parent is the first process."""

    def child(write):
        middle = os.fork()
        if middle == 0:
            own = os.getpid()
            if os.fork() == 0:
                os.setsid()
                while os.getppid() == own:
                    time.sleep(0.01)
                os.dup2(write, 1)
                print(go(rest), flush=True)
                os._exit(0)
            os._exit(0)
        os.waitpid(middle, 0)

    return told_by(child).strip()


def adopted(rest):
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    return apart(rest)


def is_there(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def left(rest):
    """When the worker has ended. Says so in a file, because nobody listens any more."""
    worker, (said, *rest) = os.getppid(), rest
    if os.fork() > 0:
        return "left"
    os.setsid()
    while is_there(worker):
        time.sleep(0.01)
    line = go(rest)
    with open(f"{said}.next", "w") as file:
        file.write(line)
    os.rename(f"{said}.next", said)
    os._exit(0)


def when(rest):
    """When there is a file."""
    file, *rest = rest
    sys.stderr.write("waiting\n")
    with open(f"{file}.{os.getpid()}.waits", "w"):
        pass
    while not os.path.exists(file):
        time.sleep(0.01)
    return go(rest)


def heir(rest):
    """In a child of who connected and ended, when there is a file."""
    (file,) = rest

    def child(write):
        if os.fork() == 0:
            plain = socket.create_connection(("203.0.113.10", 443))
            if os.fork() > 0:
                os._exit(0)
            with open(f"{file}.waits", "w"):
                pass
            while not os.path.exists(file):
                time.sleep(0.01)
            tell(write, login(plain))

    return told_by(child)


def login(plain):
    """As the connector does it, on a connection that is there."""
    own = arguments()
    data = {"CLIENT_APP_ID": "PythonConnector", "CLIENT_APP_VERSION": "4.0.0", "ACCOUNT_NAME": own["account"]}
    data |= {"LOGIN_NAME": own["user"], "PASSWORD": own["password"], "CLIENT_ENVIRONMENT": {}}
    body = json.dumps({"data": data})
    host = f"{own['account']}.snowflakecomputing.com"
    with ssl.create_default_context().wrap_socket(plain, server_hostname=host) as tls:
        head = f"POST /session/v1/login-request HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        tls.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        answer = b""
        while chunk := tls.recv(65536):
            answer += chunk
    answer = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    return "answered" if answer["success"] else f"refused {answer['message']}"


print(go(sys.argv[1:]), flush=True)
