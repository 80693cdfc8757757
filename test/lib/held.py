"""Connections that are held open beside the load.

Idle ones have had an answer, as an API server's have: one that never asked anything is cut by the time limit of a
request. Slow ones send a byte a second, half of them of the header, half of them of the body.
"""

import errno
import selectors
import socket
import ssl
import threading
import time

TICK_SECONDS = 1.0
HANDSHAKE_SECONDS = 20

# Refused, so that it is no review that others would have to count.
QUESTION = b"GET /held HTTP/1.1\r\nHost: profefe-webhook\r\n\r\n"
SLOW_HEADER = b"POST /mutate HTTP/1.1\r\nHost: profefe-webhook\r\nX-Slow: " + b"x" * 1000
BODY_FOLLOWS = (b"POST /mutate HTTP/1.1\r\nHost: profefe-webhook\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n")
SLOW_BODY = b" " * 1000


class Slow:
    """One connection's place in its request."""

    def __init__(self, in_body):
        self.in_body = in_body
        self.sent = 0

    def start(self, connection):
        self.sent = 0
        if self.in_body:
            connection.sendall(BODY_FOLLOWS)

    def next_byte(self):
        text = SLOW_BODY if self.in_body else SLOW_HEADER
        return text[self.sent:self.sent + 1]


class Held:
    """Opens them at once; a thread of its own feeds the slow ones, opens again what the server closed, and counts."""

    def __init__(self, port, idle, slow):
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.idle_closed = 0    # by the server, after its idle time
        self.cut_in_header = 0  # slow ones, by the server, at its limit for a request
        self.cut_in_body = 0
        self.refused = 0        # could not be opened (again)
        self._ending = threading.Event()
        self._selector = selectors.DefaultSelector()
        for _ in range(idle):
            self._open(None)
        for number in range(slow):
            self._open(Slow(in_body=number % 2 == 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def count(self):
        return len(self._selector.get_map())

    def _open(self, slow):
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=HANDSHAKE_SECONDS)
            connection = self.context.wrap_socket(plain)
            if slow:
                slow.start(connection)
            else:
                connection.sendall(QUESTION)
                connection.recv(4096)
            connection.setblocking(False)
        except OSError:
            self.refused += 1
            return
        self._selector.register(connection, selectors.EVENT_READ, slow)

    def _run(self):
        next_tick = time.monotonic()
        while not self._ending.is_set():
            for key, _ in self._selector.select(max(0.0, next_tick - time.monotonic())):
                if _ended(key.fileobj):
                    self._open_again(key)
            if time.monotonic() >= next_tick:
                next_tick += TICK_SECONDS
                self._feed()

    def _open_again(self, key):
        self._selector.unregister(key.fileobj)
        key.fileobj.close()
        if key.data is None:
            self.idle_closed += 1
        elif key.data.in_body:
            self.cut_in_body += 1
        else:
            self.cut_in_header += 1
        self._open(key.data)

    def _feed(self):
        for key in list(self._selector.get_map().values()):
            if key.data is None:
                continue
            try:
                key.fileobj.send(key.data.next_byte())
                key.data.sent += 1
            except ssl.SSLWantWriteError:
                pass
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.ECONNRESET) and not isinstance(error, ssl.SSLError):
                    raise
                self._open_again(key)

    def stop(self):
        """Lets them be: from now on nothing is sent, opened again or counted."""
        self._ending.set()
        self._thread.join()

    def close(self):
        self.stop()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.fileobj.close()


def _ended(connection):
    """Whether the server has closed it. What it sends before (a session ticket, a status) is read away."""
    try:
        return connection.recv(4096) == b""
    except ssl.SSLWantReadError:
        return False
    except OSError:
        return True
