"""Python's own ssl with every strictness it has: the chain, the name, TLS 1.2 and 1.3, and a resumed session.

Usage: standard.py HOST PORT ROOT_PEM
"""

import socket
import ssl
import sys

host, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def exchange(context, name, session=None):
    with socket.create_connection((host, port)) as tcp:
        with context.wrap_socket(tcp, server_hostname=name, session=session) as tls:
            tls.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while tls.recv(4096):
                pass
            return tls.version(), tls.selected_alpn_protocol(), tls.session_reused, tls.session


for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=root)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    spoken, alpn, _, session = exchange(context, host)
    print(spoken, alpn, "resumed" if exchange(context, host, session)[2] else "full")

try:
    exchange(ssl.create_default_context(), host)
    print("trusted without our root")
except ssl.SSLCertVerificationError as error:
    print("refused:", error.verify_message)
