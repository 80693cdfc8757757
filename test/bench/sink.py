"""The app and the collector of the bench in one server, in the bench's own process: a profile of fixed bytes for each
scrape, profefe's word of thanks for each push. Plain or with TLS. Its CPU time is nobody's."""

import http.server
import ssl
import threading
import time

from children import POLL_SECONDS, wait_until

PPROF = "/debug/pprof/"
STORED = b'{"code":200,"body":{"id":"bench"}}'
NOTHING_FOUND = b'{"code":404,"error":"nothing found"}'
IDLE_SECONDS = 150  # over the time that either side keeps an idle connection


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS

    def do_GET(self):
        sink = self.server.sink
        if self.path.startswith(PPROF):
            sink.count("scrapes")
            self._reply(200, sink.profile)
        else:
            self._reply(404, NOTHING_FOUND)

    def do_POST(self):
        body = self._read_body()
        sink = self.server.sink
        if sink.close_each:
            self.close_connection = True
        sink.last_body = body
        self._reply(200, STORED)
        sink.count("pushes")

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def _reply(self, status, body):
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # an agent that was ended in the middle


class Sink:
    """certificate: paths of a chain and its key, for TLS. close_each: a new connection for each push."""

    def __init__(self, profile, certificate=None, close_each=False):
        self.profile = profile
        self.close_each = close_each
        self.counts = {"scrapes": 0, "pushes": 0}
        self.first_ns = {}  # of each, by the monotonic clock
        self.last_body = b""
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.sink = self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # The handshake belongs to the thread of the connection, not to the one that accepts.
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    def count(self, what):
        with self.lock:
            self.first_ns.setdefault(what, time.monotonic_ns())
            self.counts[what] += 1

    def wait_for(self, what, number, seconds, alive):
        """Until so many were counted; alive() raises when the other side is dead."""
        def look():
            alive()
            return self.counts[what] >= number

        wait_until(look, seconds, lambda: f"expected {number} {what} within {seconds:g} s, got {self.counts[what]}")

    def close(self):
        self.server.shutdown()
        self.server.server_close()
