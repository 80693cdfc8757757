"""Servers on loopback that do what no good server does, byte by byte. One thread a connection; each answers one request
and closes, unless what answers says otherwise.
"""

import collections
import socket
import socketserver
import ssl
import struct
import threading
import time
import urllib.parse

from children import reserve

HEAD_MAX = 64 * 1024
SOCKET_SECONDS = 60  # no connection outlives a test by much


class Gone(Exception):
    """The other side closed or reset the connection."""


class Request:
    """One request: method, path, query (a dict of lists), headers (names in lower case) and body (bytes; None when it
    broke off)."""

    def __init__(self, stream):
        head = self._head(stream)
        line, *headers = head.split(b"\r\n")
        parts = line.decode("latin-1").split(" ")
        if len(parts) != 3:
            raise Gone()
        self.method, self.target, _ = parts
        url = urllib.parse.urlsplit(self.target)
        self.path = url.path
        self.query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        pairs = (header.decode("latin-1").partition(":") for header in headers)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.body = None

    @staticmethod
    def _head(stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline(HEAD_MAX)
            if not line or len(head) > HEAD_MAX:
                raise Gone()
            head += line
        return head[:-4]

    def read_body(self, stream, limit=None):
        """Reads the body, or so many bytes of it; leaves None when it broke off."""
        if self.headers.get("transfer-encoding") == "chunked":
            body = self._chunked(stream, limit)
        else:
            size = int(self.headers.get("content-length", 0))
            body = stream.read(size if limit is None else min(size, limit))
            body = body if limit is not None or len(body) == size else None
        self.body = body

    @staticmethod
    def _chunked(stream, limit):
        body = b""
        while limit is None or len(body) < limit:
            line = stream.readline(HEAD_MAX)
            if not line.endswith(b"\r\n"):
                return None
            size = int(line, 16)
            chunk = stream.read(size + 2)
            if len(chunk) != size + 2:
                return None
            if size == 0:
                return body
            body += chunk[:-2]
        return body


class Exchange:
    """A request and the means to answer it."""

    def __init__(self, server, connection, stream, request):
        self.server = server
        self.connection = connection
        self.stream = stream
        self.request = request

    def send(self, data):
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Gone() from error

    def reply(self, status=200, body=b"", headers=(), length=None):
        """A whole reply with a Content-Length: that of the body unless another is given."""
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}",
                 "Connection: close", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def wait_for_peer(self, seconds=SOCKET_SECONDS):
        """Says nothing until the other side closes or the server is closed."""
        self.connection.settimeout(0.1)
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.server.closing.is_set():
            try:
                if not self.connection.recv(4096):
                    return
            except TimeoutError:
                continue
            except OSError:
                return

    def repeat(self, data, seconds=SOCKET_SECONDS):
        """Sends the same over and over until the other side has enough."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.server.closing.is_set():
            self.send(data)

    def reset(self):
        """RST in place of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class FaultServer:
    """Listens on 127.0.0.1; what comes is answered by answer(exchange), in a thread of its own. With port: there."""

    def __init__(self, port=0):
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.connections = 0
        self.wrong = []  # what the server itself tripped over: a bug of the test
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                outer._serve(self.request)

        self._handler = Handler
        self._tls = None
        self._reserved = None  # keeps the port while nobody listens
        self._listen(port)

    @property
    def address(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def speak_tls(self, pair):
        """From the next connection on. pair: paths of certificate and key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self._tls = context

    def _listen(self, port):
        self._tcp = _Tcp(("127.0.0.1", port), self._handler)
        self.port = self._tcp.server_address[1]
        threading.Thread(target=self._tcp.serve_forever, args=(0.02,), daemon=True).start()

    def _close_listener(self):
        self._tcp.shutdown()
        self._tcp.server_close()

    def stop_listening(self):
        """Refuses connections from now on; those that are open stay."""
        self._close_listener()
        self._reserved = reserve(self.port)

    def listen_again(self):
        self._listen(self.port)
        self._reserved.close()
        self._reserved = None

    def close(self):
        self.closing.set()
        if self._reserved:
            self._reserved.close()
        else:
            self._close_listener()

    def _serve(self, connection):
        with self.lock:
            self.connections += 1
        connection.settimeout(SOCKET_SECONDS)
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                self.answer(Exchange(self, connection, stream, Request(stream)))
        except (Gone, OSError):
            pass
        except Exception as error:  # said by the test: a thread's traceback would be lost in the output
            self.wrong.append(repr(error))

    def answer(self, exchange):
        raise NotImplementedError


class Trap(FaultServer):
    """A proxy or the target of a redirect that nobody may come to: only counts."""

    def answer(self, exchange):
        exchange.reply(200, b"trapped")


class FaultApp(FaultServer):
    """A pprof server at url() and, for further targets, at url(PREFIX). Every name is a small profile with a serial of
    its own but for those in `answers`: NAME or PREFIX/NAME → function of the exchange."""

    BASE = "/debug/pprof"

    def __init__(self, maker, port=0):
        self.maker = maker
        self.answers = {}
        self.seen = collections.Counter()    # requests, by name
        self.requests = []                   # (name, query), in order
        self.given = []                      # (serial, name) of profiles that were written to the end
        self.under_way = 0                   # answers that are being given
        self.open = True                     # False: 503 to everything
        self.size = lambda count: 0          # bytes of the count-th profile, 0 = as small as it gets
        super().__init__(port)

    def url(self, prefix=""):
        return f"{self.address}{'/' + prefix if prefix else ''}{self.BASE}"

    def answer(self, exchange):
        with self.lock:
            self.under_way += 1
        try:
            self._answer(exchange)
        finally:
            with self.lock:
                self.under_way -= 1

    def _answer(self, exchange):
        prefix, _, name = exchange.request.path.partition(self.BASE + "/")
        name = f"{prefix.strip('/')}/{name}" if prefix else name
        with self.lock:
            self.seen[name] += 1
            self.requests.append((name, exchange.request.query))
        if not self.open:
            exchange.reply(503, b"closed for the end of the test")
        elif name in self.answers:
            self.answers[name](exchange)
        else:
            self.give_profile(exchange, name)

    def give_profile(self, exchange, name):
        with self.lock:
            serial, body = self.maker.take(self.size(len(self.given)))
        exchange.reply(200, body, ["Content-Type: application/octet-stream"])
        with self.lock:
            self.given.append((serial, name))
