"""Serves one client with pyserial's own half of RFC 2217, in the manner of its example."""
import socket
import sys
import threading
import time

import serial
import serial.rfc2217


class Connection:
    def __init__(self, client):
        self.client = client
        self.lock = threading.Lock()

    def write(self, data):
        with self.lock:
            self.client.sendall(data)


device = serial.Serial(sys.argv[1], timeout=0.05)
listener = socket.create_server(('127.0.0.1', 0))
print('listening on', listener.getsockname()[1], flush=True)
client, _ = listener.accept()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
connection = Connection(client)
manager = serial.rfc2217.PortManager(device, connection)


def to_client():
    while True:
        data = device.read(device.in_waiting or 1)
        if data:
            connection.write(b''.join(manager.escape(data)))


def poll():
    while True:
        time.sleep(0.05)
        manager.check_modem_lines()


for work in (to_client, poll):
    threading.Thread(target=work, daemon=True).start()
while True:
    data = client.recv(1024)
    if not data:
        break
    device.write(b''.join(manager.filter(data)))
