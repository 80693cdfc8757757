"""Clients of the agent's own port that no server deserves. A few dozen connections at a time, closed after a moment."""

import socket
import struct

SEND_SECONDS = 0.2
CONNECTIONS = 24  # more than the agent takes at a time
FLOOD_BYTES = 256 * 1024

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
MESSAGES = {
    "silent": b"",
    "garbage": bytes(range(256)) * 4,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400),
    "half-a-line": b"GET /met",
    "half-a-head": GET + b"X-More: ",
    "long-path": b"GET /" + b"x" * FLOOD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "headers": GET + b"X-More: header\r\n" * (FLOOD_BYTES // 16),
    "many-requests": (GET + b"\r\n") * 50,
    "large-body": b"POST /status HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n" + b"x" * FLOOD_BYTES,
    "endless-chunks": b"POST /status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5000,
    "wrong-length": b"GET /status HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "bare-line-feeds": b"GET /status HTTP/1.1\nHost: x\n\n",
}


class Hostile:
    """One kind of client at a time."""

    def __init__(self, port, chance):
        self.port = port
        self.chance = chance
        self.open = []
        self.count = 0

    def attack(self):
        self.leave()
        message = self.chance.choice(sorted(MESSAGES))
        for _ in range(CONNECTIONS):
            self._connect(MESSAGES[message])
        return message

    def _connect(self, message):
        client = socket.socket()
        client.settimeout(SEND_SECONDS)
        self.open.append(client)
        self.count += 1
        try:
            client.connect(("127.0.0.1", self.port))
            client.sendall(message)
        except OSError:
            pass  # the agent had enough

    def leave(self):
        """Half of them with RST."""
        for client in self.open:
            if self.chance.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        self.open.clear()
