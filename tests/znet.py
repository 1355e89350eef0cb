# SPDX-License-Identifier: Apache-2.0
"""znet.py - the packet format of znet in another language, from its document alone.

    znet.py client HOST PORT            asks a server over TCP
    znet.py client HOST PORT websocket  asks a server over WebSocket
    znet.py server                      answers one client over TCP; prints its port

A packet is 4 bytes of length, which counts itself, 2 of action, 2 of sequence,
and the body; numbers are signed and big-endian. Over WebSocket a packet is one
binary message, without the length. Each line printed is a packet that came:
[action, sequence, body].
"""

import base64
import json
import os
import socket
import struct
import sys


def encode(action, sequence, value):
    body = json.dumps(value).encode()
    return struct.pack(">ihh", 8 + len(body), action, sequence) + body


def show(packet):
    action, sequence = struct.unpack(">hh", packet[:4])
    body = packet[4:]
    if action == -1:
        # An error: the action that failed, a code, and a message.
        failed, code = struct.unpack(">hh", body[:4])
        value = [failed, code, body[4:].decode()]
    else:
        value = json.loads(body)
    print(json.dumps([action, sequence, value]), flush=True)
    return action, sequence, value


def exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError(f"{len(data)} of {count} bytes")
        data += piece
    return data


class Tcp:
    def __init__(self, connection):
        self.connection = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        self.connection.sendall(data)

    def receive(self):
        (length,) = struct.unpack(">i", exactly(self.connection, 4))
        return exactly(self.connection, length - 4)

    def close(self):
        self.connection.close()


class WebSocket:
    """Just what a packet needs: one masked frame each way, and no extension."""

    def __init__(self, connection, host, port):
        self.connection = connection
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(connection, 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ValueError(head)

    def send(self, data):
        while data:
            (length,) = struct.unpack(">i", data[:4])
            self.message(data[4:length])
            data = data[length:]

    def message(self, payload):
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            head = struct.pack(">BB", 0x82, 0x80 | size)
        elif size < 65536:
            head = struct.pack(">BBH", 0x82, 0xFE, size)
        else:
            head = struct.pack(">BBQ", 0x82, 0xFF, size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.connection.sendall(head + mask + masked)

    def receive(self):
        first, size = exactly(self.connection, 2)
        if first != 0x82:
            raise ValueError(f"frame {first:#x}")
        if size == 126:
            (size,) = struct.unpack(">H", exactly(self.connection, 2))
        elif size == 127:
            (size,) = struct.unpack(">Q", exactly(self.connection, 8))
        return exactly(self.connection, size)

    def close(self):
        self.connection.close()


def client(host, port, kind):
    connection = socket.create_connection((host, int(port)))
    wire = WebSocket(connection, host, port) if kind == "websocket" else Tcp(connection)
    # One packet; in pieces of a byte, where the wire has pieces.
    packet = encode(1, 1, {"foo": "bär"})
    if kind == "websocket":
        wire.send(packet)
    else:
        for at in range(len(packet)):
            wire.send(packet[at : at + 1])
    show(wire.receive())
    # Several at one blow, with numbers from end to end of their range.
    wire.send(
        encode(-32768, 32767, 1) + encode(32767, -32768, [2]) + encode(1, 0, None) + encode(7, 5, "nobody")
    )
    for _ in range(4):
        show(wire.receive())
    wire.send(encode(1, 2, "x" * 100000))
    show(wire.receive())
    wire.close()


def server():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connection, _ = listener.accept()
    wire = Tcp(connection)
    wire.send(encode(101, 0, "welcome"))
    late = None
    while True:
        try:
            action, sequence, value = show(wire.receive())
        except EOFError:
            return
        if action == 1:
            for byte in encode(action, sequence, value):
                wire.send(bytes([byte]))
        elif action == 2:
            body = struct.pack(">hh", action, 404) + "nicht dä".encode()
            wire.send(struct.pack(">ihh", 8 + len(body), -1, sequence) + body)
        elif action == 3 and late is None:
            late = encode(action, sequence, "late")
        elif action == 3:
            wire.send(encode(action, sequence, "early") + late)


if __name__ == "__main__":
    if sys.argv[1] == "client":
        client(sys.argv[2], sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "tcp")
    else:
        server()
