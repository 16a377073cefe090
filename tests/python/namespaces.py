"""Whole exchanges (login, statement, end of session) from network namespaces that come and go.

Usage: namespaces.py COUNT TOGETHER     (prints how many were answered, and how many were refused before that)
"""

import ctypes
import os
import socket
import sys
import time

import hostile_client

CLONE_NEWNET = 0x40000000
# Far more than a busy machine needs to see to one namespace.
GIVE_UP = 60

ADDRESS = socket.gethostbyname(hostile_client.HOST)


def resolve(host, port, *_, **__):
    """No namespace of ours has a way to a name server."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ADDRESS, port))]


def exchange():
    """Logs in, reads, and says goodbye; gives how often it was refused before."""
    refused, deadline = 0, time.monotonic() + GIVE_UP
    while True:
        try:
            session = hostile_client.Session()
            break
        except ConnectionRefusedError:
            refused += 1
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    answer = session.ask("SELECT NAME, SSN FROM CUSTOMERS ORDER BY ID LIMIT 1")
    assert answer.json["success"] and not hostile_client.leaks(answer.received), answer.shown()
    assert session.post("/session?delete=true", b"{}").json["success"]
    return refused


def visitor():
    """A process in a namespace of its own; its exit code is how often it was refused."""
    child = os.fork()
    if child:
        return child
    code = 255
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        code = min(exchange(), 200)
    except BaseException as error:
        print("failed:", repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(code)


def main(count, together):
    socket.getaddrinfo = resolve
    answered = refused = 0
    for first in range(0, count, together):
        for child in [visitor() for _ in range(min(together, count - first))]:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            answered += code in range(201)
            refused += code if code in range(201) else 0
    print("answered", answered, "refused", refused, flush=True)


main(*map(int, sys.argv[1:]))
