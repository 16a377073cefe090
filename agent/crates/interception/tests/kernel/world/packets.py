"""A job's client that puts its packets together by itself, past the sockets that the kernel offers for that."""

import ctypes
import fcntl
import mmap
import os
import select
import socket
import struct
import subprocess
import sys
import time

# The device of the host that a container's packets go to, and the container's own addresses.
GATEWAY = bytes.fromhex("020000008801")
OWN = {socket.AF_INET: "10.88.0.2", socket.AF_INET6: "fd00:88::2"}
HOSTS_OWN = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8:1::1"}
# What a TUN device stands for: another host behind this one.
BEHIND = {socket.AF_INET: "10.99.0.2", socket.AF_INET6: "fd00:99::2"}
SYN, SYN_ACK = 0x02, 0x12


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, host, port, own_port):
    """A whole packet: how a TCP connection begins."""
    kind = family(host)
    ends = socket.inet_pton(kind, source) + socket.inet_pton(kind, host)
    words = (own_port, port, 1, 0, 5 << 4, SYN, 65535)
    tcp = struct.pack("!HHIIBBHHH", *words, 0, 0)
    pseudo = ends + struct.pack("!I3xB", len(tcp), socket.IPPROTO_TCP)
    tcp = struct.pack("!HHIIBBHHH", *words, checksum(pseudo + tcp), 0)
    if kind == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64) + ends + tcp
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0, 64, socket.IPPROTO_TCP, 0) + ends
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


def is_answer(packet, host, own_port):
    """Whether this is how the server agrees to it."""
    kind = family(host)
    source, tcp = (packet[8:24], packet[40:]) if kind == socket.AF_INET6 else (packet[12:16], packet[20:])
    if len(tcp) < 14 or source != socket.inet_pton(kind, host):
        return False
    return struct.unpack_from("!H", tcp, 2)[0] == own_port and tcp[13] == SYN_ACK


def answered(fd, send, receive, host):
    own_port = 20000 + os.getpid() % 20000
    end = time.monotonic() + SECONDS_MAX
    send(own_port)
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0] and is_answer(receive(), host, own_port):
            return "got=REAL"
    raise TimeoutError


def packet_socket(kind):
    protocol = 0x86DD if kind == socket.AF_INET6 else 0x0800
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
    sock.bind(("eth0", protocol))
    return sock, protocol


def packet(host, port):
    """A packet socket: what it is given leaves through the device as it is."""
    kind = family(host)
    sock, protocol = packet_socket(kind)

    def send(own_port):
        sock.sendto(syn(OWN[kind], host, int(port), own_port), ("eth0", protocol, 0, 0, GATEWAY))

    return answered(sock.fileno(), send, lambda: sock.recv(2048), host)


def raw_whole(host, port, how):
    """A raw socket that is given its packets whole, or from the TCP header on."""
    kind = family(host)
    listening, _ = packet_socket(kind)
    raw_socket = socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW if how == "raw" else socket.IPPROTO_TCP)
    if how == "hdrincl":
        level, option = (socket.IPPROTO_IPV6, 36) if kind == socket.AF_INET6 else (socket.IPPROTO_IP, socket.IP_HDRINCL)
        raw_socket.setsockopt(level, option, 1)
    header_bytes = 0 if how != "tcp" else 40 if kind == socket.AF_INET6 else 20

    def send(own_port):
        raw_socket.sendto(syn(HOSTS_OWN[kind], host, int(port), own_port)[header_bytes:], (host, 0))

    return answered(listening.fileno(), send, lambda: listening.recv(2048), host)


def xdp(host, port):
    """AF_XDP: frames that the device takes from memory."""
    kind = family(host)
    listening, protocol = packet_socket(kind)
    sock = socket.socket(44, socket.SOCK_RAW)
    memory = mmap.mmap(-1, 8 * 4096)
    held = (ctypes.c_char * len(memory)).from_buffer(memory)
    level, tx_ring, umem, fill_ring, completion_ring = 283, 3, 4, 5, 6
    sock.setsockopt(level, umem, struct.pack("=QQIIII", ctypes.addressof(held), len(memory), 4096, 0, 0, 0))
    for ring_of in (fill_ring, completion_ring, tx_ring):
        sock.setsockopt(level, ring_of, 8)
    # Producer, consumer, descriptors, flags; of the second ring of four, which is the sending one.
    producer, _, descriptors, _ = struct.unpack_from("=4Q", sock.getsockopt(level, 1, 128), 32)
    sending = mmap.mmap(sock.fileno(), descriptors + 8 * 16, mmap.MAP_SHARED, offset=0x80000000)
    # By copying, on the device's first queue.
    address = struct.pack("=HHIII", 44, 2, socket.if_nametoindex("eth0"), 0, 0)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        raise OSError(ctypes.get_errno(), "bind")

    def send(own_port):
        frame = GATEWAY + bytes(6) + struct.pack("!H", protocol) + syn(OWN[kind], host, int(port), own_port)
        memory[: len(frame)] = frame
        struct.pack_into("=QII", sending, descriptors, 0, len(frame), 0)
        struct.pack_into("=I", sending, producer, 1)
        if libc.sendto(sock.fileno(), None, 0, socket.MSG_DONTWAIT, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "sendto")

    return answered(listening.fileno(), send, lambda: listening.recv(2048), host)


def packet_often(host, port):
    """A count of the answers to a stream of such packets, which ends when it is told to. Says so at the first one."""
    print("going", flush=True)
    kind, own_port, answers = family(host), 20000, 0
    sock, protocol = packet_socket(kind)
    while not select.select([sys.stdin], [], [], 0)[0]:
        sock.sendto(syn(OWN[kind], host, int(port), own_port), ("eth0", protocol, 0, 0, GATEWAY))
        while select.select([sock], [], [], 0.001)[0]:
            was, answers = answers, answers + is_answer(sock.recv(2048), host, own_port)
            if answers and not was:
                print("answered", flush=True)
        own_port = 20000 + (own_port - 19999) % 20000
    return f"answers={answers}"


def tun(host, port):
    """A TUN device: what is written to it arrives as if from a host behind this one, and is forwarded."""
    kind = family(host)
    if not os.path.exists("/dev/net/tun"):
        subprocess.run(["modprobe", "tun"], check=True)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF; a TUN device, packets without a header of the device's own.
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"away", 0x1001))
    for words in ("addr add 10.99.0.1/24 dev away", "addr add fd00:99::1/64 dev away nodad", "link set away up"):
        subprocess.run(["ip", *words.split()], check=True)

    def send(own_port):
        os.write(fd, syn(BEHIND[kind], host, int(port), own_port))

    return answered(fd, send, lambda: os.read(fd, 2048), host)
