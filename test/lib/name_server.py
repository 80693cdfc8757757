"""A name server for one name, on 127.0.0.1:53 over UDP and TCP: for a network namespace of its own."""

import collections
import socket
import struct
import threading

PORT = 53
A, AAAA = 1, 28
SECONDS = 5
HEADER = struct.Struct(">HHHHHH")
QUERY_MAX = 4096
RESPONSE, RECURSION, TRUNCATED, NO_NAME = 0x8400, 0x0180, 0x0200, 3

Query = collections.namedtuple("Query", "name type transport")


def _parse(data):
    """Name, type and the end of the only question."""
    at, labels = HEADER.size, []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("ascii").lower())
        at += 1 + data[at]
    return ".".join(labels), int.from_bytes(data[at + 1:at + 3], "big"), at + 5


class NameServer:
    """ipv6: the name has ::1 alone, else 127.0.0.1 alone. truncated: over UDP only that the answer did not fit."""

    def __init__(self, name, ipv6=False, truncated=False):
        self.name = name
        self.address = (AAAA, socket.inet_pton(socket.AF_INET6, "::1")) if ipv6 else (A, socket.inet_aton("127.0.0.1"))
        self.truncated = truncated
        self.queries = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", PORT))
        self._tcp = socket.create_server(("127.0.0.1", PORT))
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _answer(self, data, transport):
        name, kind, end = _parse(data)
        self.queries.append(Query(name, kind, transport))
        flags, answers = RESPONSE | RECURSION, b""
        if name != self.name:
            flags |= NO_NAME
        elif self.truncated and transport == "udp":
            flags |= TRUNCATED
        elif kind == self.address[0]:
            answers = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, SECONDS, len(self.address[1])) + self.address[1]
        head = HEADER.pack(int.from_bytes(data[:2], "big"), flags, 1, 1 if answers else 0, 0, 0)
        return head + data[HEADER.size:end] + answers

    def _serve_udp(self):
        while True:
            data, peer = self._udp.recvfrom(QUERY_MAX)
            self._udp.sendto(self._answer(data, "udp"), peer)

    def _serve_tcp(self):
        while True:
            connection, _ = self._tcp.accept()
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection):
        """Any number of queries: glibc sends both of a name over one connection."""
        with connection, connection.makefile("rb") as stream:
            while data := stream.read(int.from_bytes(stream.read(2), "big")):
                reply = self._answer(data, "tcp")
                connection.sendall(len(reply).to_bytes(2, "big") + reply)
