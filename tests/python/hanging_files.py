"""A job that covers a folder with a file system of its own, which answers up to a point and never after it.

Arguments: where it stops (`mount`, `open` or `read`), the folder, and a command that runs below it. Needs root and a
mount namespace of its own. What hangs in it is let go when the command has ended.

Source of the protocol: `include/uapi/linux/fuse.h` of the kernel; every number has the machine's byte order.
"""

import ctypes
import errno
import os
import struct
import subprocess
import sys
import threading

LOOKUP, FORGET, GETATTR, OPEN, READ, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 26, 36, 42
HOUR = 3600
stops, folder, command = sys.argv[1], sys.argv[2], sys.argv[3:]
device = os.open("/dev/fuse", os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
if libc.mount(b"hanging", folder.encode(), b"fuse", 0, options):
    sys.exit(f"no file system at {folder}: {os.strerror(ctypes.get_errno())}")


def attributes(node):
    """Of the folder itself, and of a file of a kilobyte, which is whatever it is called."""
    mode = 0o40755 if node == 1 else 0o100644
    return struct.pack("=6Q10I", node, 1024, 2, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node):
    """What is answered; an error where that is not known."""
    if opcode == INIT:
        return struct.pack("=4I2H2I2HI7I", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0, *[0] * 7)
    if opcode == LOOKUP:
        return struct.pack("=4Q2I", 2, 0, HOUR, HOUR, 0, 0) + attributes(2)
    if opcode == GETATTR:
        return struct.pack("=Q2I", HOUR, 0, 0) + attributes(node)
    if opcode == OPEN:
        return struct.pack("=Q2I", 1, 0, 0)
    return errno.ENOSYS


def serve():
    while True:
        _, opcode, unique, node = struct.unpack_from("=2I2Q", os.read(device, 1 << 17))
        if opcode in (FORGET, INTERRUPT, BATCH_FORGET):
            continue
        if opcode == READ or (opcode == OPEN and stops == "open"):
            print(f"never answered: {'read' if opcode == READ else 'open'}", flush=True)
            continue
        said = answer(opcode, node)
        error, said = (0, said) if isinstance(said, bytes) else (-said, b"")
        os.write(device, struct.pack("=IiQ", 16 + len(said), error, unique) + said)


if stops != "mount":
    threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(command).returncode)
