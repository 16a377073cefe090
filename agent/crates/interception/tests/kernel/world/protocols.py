"""A job's client that sends by other protocols than TCP, and datagrams in each way that there is to send them."""

import ctypes
import errno
import os
import socket
import struct

UDP_CORK, UDP_SEGMENT = 1, 103


def told_by(sock):
    sock.settimeout(SECONDS_MAX)
    return f"got={sock.recv(64).decode().strip()}"


def each(verb, hows, *args):
    """One way after the other from one process, and what came of each."""
    outcomes = []
    for how in hows.split(","):
        try:
            outcome = globals()[verb](*args, how)
        except TimeoutError:
            outcome = "error=timeout"
        except OSError as error:
            outcome = f"error={errno.errorcode.get(error.errno, error)}"
        outcomes.append(f"{how}:{outcome}")
    return " ".join(outcomes)


def udp(host, port, how):
    """Sent in one of many ways, and answered."""
    sock = socket.socket(family(host), socket.SOCK_DGRAM)
    place = (host, int(port))
    if how.startswith("connected"):
        sock.connect(place)
    match how:
        case "to":
            sock.sendto(b"hello", place)
        case "message":
            sock.sendmsg([b"hel", b"lo"], [], 0, place)
        case "more":
            sock.sendto(b"hel", socket.MSG_MORE, place)
            sock.sendto(b"lo", place)
        case "segments":
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
            sock.sendto(bytes(1000), place)
        case "many" | "connected-many":
            send_many(sock, None if sock_is_connected(sock) else place)
        case "ring" | "connected-ring":
            send_by_ring(sock, None if sock_is_connected(sock) else place)
        case "connected":
            sock.send(b"hello")
        case "connected-write":
            os.write(sock.fileno(), b"hello")
        case "connected-more":
            sock.send(b"hel", socket.MSG_MORE)
            sock.send(b"lo")
        case "connected-cork":
            sock.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
            sock.send(b"hello")
            sock.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
        case "connected-segments":
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 100)
            sock.send(bytes(1000))
        case _:
            raise SystemExit(f"there is no way {how}")
    return told_by(sock)


def sock_is_connected(sock):
    try:
        sock.getpeername()
        return True
    except OSError:
        return False


def message(place):
    """A `struct msghdr` of five bytes, and what it points to."""
    payload = ctypes.create_string_buffer(b"hello", 5)
    vector = ctypes.create_string_buffer(struct.pack("=2Q", ctypes.addressof(payload), 5), 16)
    address = socket_address(*place) if place else b""
    name = ctypes.create_string_buffer(address, max(len(address), 1))
    words = (ctypes.addressof(name) if place else 0, len(address), ctypes.addressof(vector), 1, 0, 0, 0)
    return struct.pack("=QI4xQQQQi4x", *words), (payload, vector, name)


def send_many(sock, place):
    header, held = message(place)
    messages = ctypes.create_string_buffer((header + bytes(8)) * 2, 128)
    if libc.sendmmsg(sock.fileno(), messages, 2, 0) < 0:
        raise OSError(ctypes.get_errno(), "sendmmsg")
    del held


def send_by_ring(sock, place):
    header, held = message(place)
    words = ctypes.create_string_buffer(header, len(header))
    Ring(False).ask(OP_SENDMSG, sock.fileno(), ctypes.addressof(words), 0, 1)
    del held


def protocol(host, port, kind, how, number):
    """A connection of another family, type or protocol, where the kernel has it."""
    sock = socket.socket(int(kind) or family(host), int(how), int(number))
    for way in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, way, struct.pack("=2q", SECONDS_MAX, 0))
    # By the system call itself: Python does not know the addresses of every family.
    address = socket_address(host, int(port))
    if libc.connect(sock.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "connect")
    return f"got={os.read(sock.fileno(), 256).decode().strip()}"


def raw_protocol(host, number):
    """A packet of any protocol."""
    raw_socket = socket.socket(family(host), socket.SOCK_RAW, int(number))
    raw_socket.sendto(bytes(64), (host, 0))
    return "sent"


def ping(host):
    """A control message, and its answer."""
    kind = family(host)
    number, request, reply = (58, 128, 129) if kind == socket.AF_INET6 else (1, 8, 0)
    sock = socket.socket(kind, socket.SOCK_RAW, number)
    words = struct.pack("!BBHHH", request, 0, 0, os.getpid() & 0xFFFF, 1)
    # Of an IPv6 socket, the kernel writes the checksum.
    sock.sendto(words[:2] + struct.pack("!H", checksum(words)) + words[4:], (host, 0))
    sock.settimeout(SECONDS_MAX)
    while True:
        answer, (source, *_) = sock.recvfrom(2048)
        if source == host and answer[0 if kind == socket.AF_INET6 else 20] == reply:
            return "answered"
