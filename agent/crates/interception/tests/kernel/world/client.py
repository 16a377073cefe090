"""A job's client: one attempt to reach an address, told in one line. Knows nothing of what it is up against."""

import collections
import ctypes
import errno
import os
import socket
import struct
import sys
import threading
import time

SECONDS_MAX = 2


def name(address):
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def stream(host, port, *how):
    protocol = 262 if "mptcp" in how else 0
    sock = socket.socket(family(host), socket.SOCK_STREAM, protocol)
    sock.settimeout(SECONDS_MAX)
    if "from" in how:
        sock.bind(("192.0.2.1", 0))
    for own in (word for word in how if word.startswith("port=")):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", int(own.removeprefix("port="))))
    for own in (word for word in how if word.startswith("source=")):
        sock.bind((own.removeprefix("source="), 0))
    if "device" in how:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
    if "v6only" in how:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if "fastopen" in how:
        sock.settimeout(None)
        sock.sendto(b"hello\n", socket.MSG_FASTOPEN, (host, int(port)))
    else:
        sock.connect((host, int(port)))
    return sock


def told(sock):
    return f"peer={name(sock.getpeername())} got={sock.makefile().readline().strip()}"


def connect(*args):
    return told(stream(*args))


def connect_often(host, port, times):
    for _ in range(int(times) - 1):
        try:
            return told(stream(host, port))
        except ConnectionRefusedError:
            pass
    return connect(host, port)


def connect_again(host, port, *how):
    """Until it is no longer refused, as a driver does that tries again."""
    refused, end = 0, time.monotonic() + 30
    while time.monotonic() < end:
        try:
            return f"refused={refused} {connect(host, port, *how)}"
        except ConnectionRefusedError:
            refused += 1
            time.sleep(0.01)
    return f"refused={refused} to the end"


def unshare(what=0x40000000):
    if ctypes.CDLL(None, use_errno=True).unshare(what) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def unshared(host, port):
    """From a new network namespace, once."""
    unshare()
    return connect(host, port)


def unshared_datagram(host, port):
    unshare()
    return connected_datagram(host, port)


def fresh_at_once(threads, host, port):
    """From a new network namespace, by many threads at once: whoever unshares takes those along that it starts."""
    unshare()
    got, start = collections.Counter(), threading.Barrier(int(threads))

    def one():
        start.wait()
        try:
            got[connect(host, port).split("got=")[1].split(" ")[0]] += 1
        except OSError as error:
            got[errno.errorcode[error.errno]] += 1

    together = [threading.Thread(target=one) for _ in range(int(threads))]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    return " ".join(f"{outcome}={count}" for outcome, count in got.items())


def fresh(host, port):
    """From a network namespace that is as new as can be: its loopback is down."""
    unshare()
    return connect_again(host, port)


def come_and_go(times, host, port):
    """One namespace after the other, each gone after its one connection."""
    got = collections.Counter()
    for _ in range(int(times)):
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, fresh(host, port).split("got=")[-1].split(" ")[0].encode())
            os._exit(0)
        os.close(write)
        got[os.read(read, 64).decode()] += 1
        os.close(read)
        os.wait()
    return " ".join(f"{outcome}={count}" for outcome, count in got.items())


def wait(verb, *args):
    print("waiting", flush=True)
    sys.stdin.readline()
    return globals()[verb](*args)


def connect_for(seconds, host, port):
    print("going", flush=True)
    counts, end = collections.Counter(), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        try:
            counts[connect(host, port).split("got=")[1].split(" ")[0] or "closed"] += 1
        except TimeoutError:
            counts["timeout"] += 1
        except OSError as error:
            counts[errno.errorcode[error.errno]] += 1
    return " ".join(f"{outcome}={count}" for outcome, count in counts.items())


def reconnect(host, port, other, other_port):
    sock = stream(host, port)
    libc = ctypes.CDLL(None, use_errno=True)
    nowhere = struct.pack("H14x", socket.AF_UNSPEC)
    if libc.connect(sock.fileno(), nowhere, len(nowhere)) != 0:
        raise OSError(ctypes.get_errno(), "disconnect")
    sock.connect((other, int(other_port)))
    return told(sock)


def hold(host, port):
    sock = stream(host, port)
    print(told(sock), flush=True)
    sys.stdin.readline()
    sock.sendall(b"ping\n")
    return f"got={sock.recv(64).decode().strip()}"


def hold_silent(host, port):
    """Says nothing and waits for an answer, as a program does whose statement takes long."""
    sock = stream(host, port)
    print(told(sock), flush=True)
    sock.settimeout(30)
    return f"got={sock.recv(64).decode().strip()}"


def client_hello(name, *how):
    """RFC 8446 4.1.2. With `long`, other extensions come first, a post-quantum key share among them."""
    name = name.encode()
    server_name = struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    others = [struct.pack("!HH", kind, 4) + bytes(4) for kind in range(100, 120)]
    others.append(struct.pack("!HH", 51, 1300) + bytes(1300))
    extensions = b"".join([*others, server_name] if "long" in how else [server_name, others[0]])
    if "nameless" in how:
        extensions = others[0]
    body = b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + struct.pack("!H", 32) + bytes(32) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def hello(host, port, name, *how):
    """Greets as a TLS client does, and says whether the server heard it."""
    sock = stream(host, port)
    got = told(sock)
    greeting = client_hello(name, *how)
    parts = [greeting[:50], greeting[50:]] if "split" in how else [greeting]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for part in parts:
        sock.sendall(part)
        time.sleep(0.05)
    print("greeted", flush=True)
    heard = b""
    while len(heard) < len(greeting):
        more = sock.recv(65536)
        if not more:
            return f"{got} closed"
        heard += more
    return f"{got} heard"


def hello_again(host, port, name):
    """Until somebody answers, as a driver does whose connection was aborted."""
    errors = []
    for _ in range(5):
        try:
            sock = stream(host, port)
            got = told(sock)
            if "AGENT" in got:
                return f"errors={','.join(errors)} {got}"
            sock.settimeout(30)
            sock.sendall(client_hello(name))
            print("greeted", flush=True)
            sock.recv(65536)
            return f"errors={','.join(errors)} heard"
        except OSError as error:
            errors.append(errno.errorcode.get(error.errno, str(error)))
    return f"errors={','.join(errors)}"


def datagram(host, port):
    socket.socket(family(host), socket.SOCK_DGRAM).sendto(b"hello", (host, int(port)))
    return "sent"


def connected_datagram(host, port):
    sock = socket.socket(family(host), socket.SOCK_DGRAM)
    sock.connect((host, int(port)))
    print("connected", flush=True)
    sock.send(b"hello")
    return "sent"


def raw(host, port, flags="2", payload=""):
    words = struct.pack("!HHIIBBHHH", 40000, int(port), 1, 0, 5 << 4, int(flags), 65535, 0, 0)
    raw_socket = socket.socket(family(host), socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw_socket.sendto(words + payload.encode(), (host, 0))
    return "sent"


def raw_fragment(host, port, flags, place):
    tcp = struct.pack("!HHIIBBHHH", 40000, int(port), 1, 0, 5 << 4, int(flags), 65535, 0, 0)
    ends = socket.inet_aton("192.0.2.1"), socket.inet_aton(host)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 0, 4711, int(place, 16), 64, socket.IPPROTO_TCP, 0, *ends)
    raw_socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw_socket.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    raw_socket.sendto(ip + tcp, (host, 0))
    return "sent"


def open_socket(family, kind, protocol):
    socket.socket(int(family), int(kind), int(protocol))
    return "opened"


def listen(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", int(port)))
    sock.listen()
    print("listening", flush=True)
    sys.stdin.readline()
    return "done"


if __name__ == "__main__":
    verb, *args = sys.argv[1:]
    try:
        told_line = globals()[verb](*args)
    except TimeoutError:
        told_line = "error=timeout"
    except OSError as error:
        told_line = f"error={errno.errorcode.get(error.errno, error)}"
    print(told_line, flush=True)
    os._exit(0)
