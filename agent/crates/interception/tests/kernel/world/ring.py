"""A job's client that asks through io_uring: the kernel connects on its behalf, on its own thread or on another."""

import ctypes
import errno
import mmap
import os
import select
import socket
import struct

IO_URING_SETUP, IO_URING_ENTER = 425, 426
SETUP_SQPOLL = 1 << 1
ENTER_GETEVENTS, ENTER_SQ_WAKEUP = 1, 2
SQES_AT, COMPLETIONS_AT = 0x10000000, 0x8000000
OP_SENDMSG, OP_CONNECT, OP_SOCKET = 9, 16, 45
SQE_ASYNC = 1 << 4

libc = ctypes.CDLL(None, use_errno=True)


def checked(answer, what):
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return answer


class Ring:
    """One request at a time. With `polled`, a thread of the kernel takes requests without being asked."""

    def __init__(self, polled):
        self.polled = polled
        # Entries, completions, flags, the poller's CPU, how long it looks before it sleeps; then what the kernel says.
        params = bytearray(struct.pack("<5I", 0, 0, SETUP_SQPOLL if polled else 0, 0, 2000).ljust(120, b"\0"))
        held = (ctypes.c_char * len(params)).from_buffer(params)
        try:
            self.fd = checked(libc.syscall(IO_URING_SETUP, 4, held), "io_uring_setup")
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOSYS):
                # Told apart from what a guard could have refused.
                raise SystemExit("io_uring is switched off here: sysctl -w kernel.io_uring_disabled=0") from error
            raise
        sq_entries, cq_entries = struct.unpack_from("<2I", params, 0)
        self.sq = struct.unpack_from("<7I", params, 40)
        self.cq = struct.unpack_from("<7I", params, 80)
        self.submissions = mmap.mmap(self.fd, self.sq[6] + 4 * sq_entries, mmap.MAP_SHARED, offset=0)
        self.completions = mmap.mmap(self.fd, self.cq[5] + 16 * cq_entries, mmap.MAP_SHARED, offset=COMPLETIONS_AT)
        self.requests = mmap.mmap(self.fd, 64 * sq_entries, mmap.MAP_SHARED, offset=SQES_AT)

    def ask(self, opcode, fd, address=0, offset=0, length=0, op_flags=0, flags=0):
        """Answers what the call would have."""
        self.requests[:64] = struct.pack("<BBHiQQII", opcode, flags, 0, fd, offset, address, length, op_flags).ljust(
            64, b"\0"
        )
        # Head, tail, mask, entries, flags, dropped, array: where each lies.
        tail = struct.unpack_from("<I", self.submissions, self.sq[1])[0]
        mask = struct.unpack_from("<I", self.submissions, self.sq[2])[0]
        struct.pack_into("<I", self.submissions, self.sq[6] + 4 * (tail & mask), 0)
        struct.pack_into("<I", self.submissions, self.sq[1], tail + 1)
        flags = ENTER_GETEVENTS | (ENTER_SQ_WAKEUP if self.polled else 0)
        checked(libc.syscall(IO_URING_ENTER, self.fd, 1, 1, flags, None, 0), "io_uring_enter")
        head = struct.unpack_from("<I", self.completions, self.cq[0])[0]
        mask = struct.unpack_from("<I", self.completions, self.cq[2])[0]
        _, result = struct.unpack_from("<Qi", self.completions, self.cq[5] + 16 * (head & mask))
        struct.pack_into("<I", self.completions, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result


def socket_address(host, port):
    if ":" in host:
        return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, socket.inet_pton(10, host), 0)
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def ring(host, port, *how):
    asked = Ring("polled" in how)
    kind = family(host)
    if "made" in how:
        sock = socket.socket(fileno=asked.ask(OP_SOCKET, kind, offset=socket.SOCK_STREAM))
    else:
        sock = socket.socket(kind, socket.SOCK_STREAM)
    address = socket_address(host, int(port))
    place = ctypes.create_string_buffer(address, len(address))
    flags = SQE_ASYNC if "async" in how else 0
    if "fastopen" in how:
        payload = ctypes.create_string_buffer(b"hello\n", 6)
        vector = ctypes.create_string_buffer(struct.pack("=2Q", ctypes.addressof(payload), 6), 16)
        words = struct.pack("=QI4xQQQQi4x", ctypes.addressof(place), len(address), ctypes.addressof(vector), 1, 0, 0, 0)
        message = ctypes.create_string_buffer(words, len(words))
        try:
            asked.ask(OP_SENDMSG, sock.fileno(), ctypes.addressof(message), 0, 1, socket.MSG_FASTOPEN, flags)
        except BlockingIOError:
            # The kernel asks without waiting: the handshake goes on by itself.
            select.select([], [sock], [], SECONDS_MAX)
    else:
        asked.ask(OP_CONNECT, sock.fileno(), ctypes.addressof(place), len(address), 0, 0, flags)
    sock.settimeout(SECONDS_MAX)
    return told(sock)
