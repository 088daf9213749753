"""Sends one datagram from each of very many made-up source ports, and says when it is done.

The destination port and the number of senders are arguments. It goes on with the next thousand at each line on stdin, so that
whoever is tested can be looked at in between.
"""
import socket
import struct
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
here = socket.inet_aton("127.0.0.1")
payload = b"flood"


def datagram(number):
    source = socket.inet_aton("127.0.%d.1" % (1 + number // 60000))
    size = 28 + len(payload)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 17, 0, source, here)
    return ip + struct.pack("!HHHH", 2000 + number % 60000, port, 8 + len(payload), 0) + payload


for number in range(count):
    if number % 200 == 0:
        print(number, flush=True)
        sys.stdin.readline()
    out.sendto(datagram(number), ("127.0.0.1", port))
print("done", flush=True)
sys.stdin.readline()
