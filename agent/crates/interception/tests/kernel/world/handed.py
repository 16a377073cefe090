"""A job's client whose socket changes hands, or who is elsewhere than where it began: other processes and threads,
other cgroups, other namespaces, and programs of its own."""

import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys
import threading

NEW_CGROUP_NAMESPACE, NEW_USER_NAMESPACE = 0x02000000, 0x10000000
BPF, PROG_LOAD, OBJ_GET, PROG_ATTACH, LINK_CREATE, LINK_DETACH = 321, 5, 7, 8, 28, 34
CGROUP_SOCK_ADDR, CONNECT4 = 18, 10


def in_cgroup(folder, verb, *args):
    """From a cgroup that this process moves itself to."""
    with open(f"{folder}/cgroup.procs", "w") as procs:
        procs.write("0")
    return globals()[verb](*args)


def in_cgroup_namespace(verb, *args):
    """From where this cgroup is the root of all that can be seen."""
    unshare(NEW_CGROUP_NAMESPACE)
    with open("/proc/self/cgroup") as own:
        assert "0::/\n" in own.readlines(), "the namespace begins at the own cgroup"
    return globals()[verb](*args)


def in_user_namespace(verb, *args):
    """As a root that the host knows as an ordinary user."""
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    # Who changed users does not own its own files in /proc until it says that it may be looked at: prctl(2).
    ctypes.CDLL(None).prctl(4, 1)
    unshare(NEW_USER_NAMESPACE)
    for name, text in (("setgroups", "deny"), ("uid_map", "0 1000 1"), ("gid_map", "0 1000 1")):
        with open(f"/proc/self/{name}", "w") as own:
            own.write(text)
    assert os.getuid() == 0
    return globals()[verb](*args)


def connect_made_in(folder, host, port):
    """With a socket that a process in another cgroup made, and sent here over a Unix socket."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        with open(f"{folder}/cgroup.procs", "w") as procs:
            procs.write("0")
        made = socket.socket(family(host), socket.SOCK_STREAM)
        socket.send_fds(there, [b"x"], [made.fileno()])
        os._exit(0)
    _, (fd,), _, _ = socket.recv_fds(here, 1, 1)
    os.waitpid(child, 0)
    return use(fd, host, port)


def use(fd, host, port):
    sock = socket.socket(fileno=int(fd))
    sock.settimeout(SECONDS_MAX)
    sock.connect((host, int(port)))
    return told(sock)


def connect_after_exec(host, port):
    """With a socket that the program before this one made."""
    made = socket.socket(family(host), socket.SOCK_STREAM)
    made.set_inheritable(True)
    script = sys.orig_argv[2]
    os.execv(sys.executable, [sys.executable, "-c", script, "use", str(made.fileno()), host, port])


def connect_after_vfork(host, port):
    """With a socket of the parent's, which is stopped until its child runs another program: how `subprocess` begins."""
    made = socket.socket(family(host), socket.SOCK_STREAM)
    script = sys.orig_argv[2]
    command = [sys.executable, "-c", script, "use", str(made.fileno()), host, port]
    return subprocess.run(command, pass_fds=[made.fileno()], stdout=subprocess.PIPE, text=True).stdout.strip()


def connect_on_thread(host, port):
    got = []
    thread = threading.Thread(target=lambda: got.append(f"thread={threading.get_native_id()} {connect(host, port)}"))
    thread.start()
    thread.join()
    return got[0]


def connect_twice(host, port, *how):
    """Begun without waiting, and asked after by the same call once it is done."""
    sock = socket.socket(family(host), socket.SOCK_STREAM, 262 if "mptcp" in how else 0)
    sock.setblocking(False)
    try:
        sock.connect((host, int(port)))
    except BlockingIOError:
        select.select([], [sock], [], SECONDS_MAX)
    sock.connect((host, int(port)))
    sock.settimeout(SECONDS_MAX)
    return told(sock)


def connect_with_data(host, port, *how):
    """TCP_FASTOPEN_CONNECT, tcp(7): the handshake waits for the first data."""
    sock = socket.socket(family(host), socket.SOCK_STREAM, 262 if "mptcp" in how else 0)
    sock.settimeout(SECONDS_MAX)
    sock.setsockopt(socket.IPPROTO_TCP, 30, 1)
    sock.connect((host, int(port)))
    sock.sendall(b"hello\n")
    return told(sock)


def bpf(command, form, *words):
    attr = struct.pack(form, *words)
    held = ctypes.create_string_buffer(attr, len(attr))
    answer = ctypes.CDLL(None, use_errno=True).syscall(BPF, command, held, len(attr))
    if answer < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return answer


def program():
    """For connect(2): whoever is sent to 127.0.0.1 goes to 203.0.113.10 port 443 instead."""
    as_read = lambda data: int.from_bytes(data, "little")
    instructions = [
        (0x61, 0x12, 4, 0),  # r2 = address
        (0x55, 0x02, 4, as_read(socket.inet_aton("127.0.0.1"))),  # if r2 is another, pass over four
        (0xB4, 0x03, 0, as_read(socket.inet_aton("203.0.113.10"))),
        (0x63, 0x31, 4, 0),  # address = r3
        (0xB4, 0x03, 0, as_read(struct.pack("!H", 443))),
        (0x63, 0x31, 24, 0),  # port = r3
        (0xB7, 0x00, 0, 1),  # allow
        (0x95, 0x00, 0, 0),
    ]
    code = b"".join(struct.pack("<BBhi", *words) for words in instructions)
    held, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    form = "<IIQQIIQII16sII"
    words = (CGROUP_SOCK_ADDR, len(instructions), ctypes.addressof(held), ctypes.addressof(licence))
    return bpf(PROG_LOAD, form, *words, 0, 0, 0, 0, 0, b"undo", 0, CONNECT4)


def detach(pin):
    """A pinned link without its program, which root on the host can do."""
    path = ctypes.create_string_buffer(pin.encode())
    bpf(LINK_DETACH, "<I", bpf(OBJ_GET, "<QII", ctypes.addressof(path), 0, 0))
    return "detached"


def under_program(folder, how, verb, *args):
    """With a program of one's own on a cgroup: by a link, or attached with these flags."""
    cgroup = os.open(folder, os.O_RDONLY)
    if how == "link":
        bpf(LINK_CREATE, "<4I", program(), cgroup, CONNECT4, 0)
    else:
        bpf(PROG_ATTACH, "<4I", cgroup, program(), CONNECT4, int(how))
    return globals()[verb](*args)


def patiently(verb, *args):
    """For a connect that has to wait until its first packet is sent again."""
    global SECONDS_MAX
    SECONDS_MAX = 30
    return globals()[verb](*args)


def fill(sock):
    """Leaves no room in what the kernel lets a socket allocate for its options: by a filter, as large as it takes."""
    load, constant, accept = (0x20, 0, 0, 0), (0x00, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)

    def takes(loads, constants):
        code = b"".join(struct.pack("=HBBI", *words) for words in [load] * loads + [constant] * constants + [accept])
        held = ctypes.create_string_buffer(code, len(code))
        # While one filter takes the place of another, both are counted.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, 27, 0)
        try:
            sock.setsockopt(socket.SOL_SOCKET, 26, struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(held)))
            return True
        except OSError:
            return False

    def most(takes_that, limit):
        least = 0
        while least < limit:
            middle = (least + limit + 1) // 2
            least, limit = (middle, limit) if takes_that(middle) else (least, middle - 1)
        return least

    # Of the larger instructions, then of the smallest.
    loads = most(lambda count: takes(count, 0), 4000)
    constants = most(lambda count: takes(loads, count), 95)
    assert 0 < loads < 4000 and takes(loads, constants), "the limit was not reached"


def connect_full(host, port):
    sock = socket.socket(family(host), socket.SOCK_STREAM)
    sock.settimeout(SECONDS_MAX)
    fill(sock)
    sock.connect((host, int(port)))
    return told(sock)


def pose(port):
    """What takes itself for an agent."""
    sock = socket.create_server(("127.0.0.1", int(port)))
    print("listening", flush=True)
    accepted, _ = sock.accept()
    accepted.sendall(b"FAKE\n")
    sys.stdin.readline()
    return "done"
