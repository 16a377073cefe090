"""A job's client that puts its packets together by itself, past the sockets that the kernel offers for that."""

import fcntl
import os
import select
import socket
import struct
import subprocess
import time

# The device of the host that a container's packets go to, and the container's own addresses.
GATEWAY = bytes.fromhex("020000008801")
OWN = {socket.AF_INET: "10.88.0.2", socket.AF_INET6: "fd00:88::2"}
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


def answered(fd, send, receive, host, port):
    own_port = 20000 + os.getpid() % 20000
    end = time.monotonic() + SECONDS_MAX
    send(own_port)
    while time.monotonic() < end:
        if select.select([fd], [], [], 0.1)[0] and is_answer(receive(), host, own_port):
            return "got=REAL"
    raise TimeoutError


def packet(host, port):
    """A packet socket: what it is given leaves through the device as it is."""
    kind = family(host)
    protocol = 0x86DD if kind == socket.AF_INET6 else 0x0800
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
    sock.bind(("eth0", protocol))

    def send(own_port):
        sock.sendto(syn(OWN[kind], host, int(port), own_port), ("eth0", protocol, 0, 0, GATEWAY))

    return answered(sock.fileno(), send, lambda: sock.recv(2048), host, port)


def packet_often(seconds, host, port):
    """A count of the answers to a stream of such packets."""
    print("going", flush=True)
    kind, own_port, answers = family(host), 20000, 0
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    sock.bind(("eth0", 0x0800))
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        sock.sendto(syn(OWN[kind], host, int(port), own_port), ("eth0", 0x0800, 0, 0, GATEWAY))
        while select.select([sock], [], [], 0.001)[0]:
            answers += is_answer(sock.recv(2048), host, own_port)
        own_port = 20000 + (own_port - 19999) % 20000
    return f"answers={answers}"


def tun(host, port):
    """A TUN device: what is written to it arrives as if from a host behind this one, and is forwarded."""
    kind = family(host)
    fd = os.open("/dev/net/tun", os.O_RDWR)
    # TUNSETIFF; a TUN device, packets without a header of the device's own.
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"away", 0x1001))
    for words in ("addr add 10.99.0.1/24 dev away", "addr add fd00:99::1/64 dev away nodad", "link set away up"):
        subprocess.run(["ip", *words.split()], check=True)

    def send(own_port):
        os.write(fd, syn(BEHIND[kind], host, int(port), own_port))

    return answered(fd, send, lambda: os.read(fd, 2048), host, port)
