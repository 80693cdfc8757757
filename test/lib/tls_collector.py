"""A collector behind https that asks for what a strict one asks for, and remembers how it was met."""

import collections
import http.server
import json
import ssl
import threading

SOCKET_SECONDS = 60  # no connection outlives a test by much

Met = collections.namedtuple("Met", "path authorization version connection")


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_SECONDS

    def log_message(self, *_args):
        pass

    def say(self, code, **what):
        text = json.dumps({"code": code, **what}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def read_chunks(self):
        while True:
            size = int(self.rfile.readline(), 16)
            self.rfile.read(size + 2)
            if size == 0:
                return

    def parse_request(self):
        self.server.outer.count_request()
        return super().parse_request()

    def do_POST(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.read_chunks()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.outer.met(self)
        self.say(200, body={"id": "one"})

    def do_GET(self):
        self.say(404, error="nothing found")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        request.settimeout(SOCKET_SECONDS)
        try:
            with self.outer.context.wrap_socket(request, server_side=True) as tls:
                self.outer.count_handshake()
                super().finish_request(tls, client_address)
        except OSError as error:  # a refused handshake, or a client that has left
            self.outer.count_failure(error)


class TlsCollector:
    """Listens on 127.0.0.1. pair: paths of certificate and key. client_ca: path of the CA that a client's certificate
    must come from; None = it is not asked for one. version: the only TLS version it speaks."""

    def __init__(self, pair, client_ca=None, version=ssl.TLSVersion.TLSv1_3):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = self.context.maximum_version = version
        self.context.load_cert_chain(*pair)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        self.lock = threading.Lock()
        self.posts = []
        self.handshakes = 0
        self.requests = 0
        self.failures = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.outer = self
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def url(self, host="127.0.0.1"):
        return f"https://{host}:{self.port}"

    def met(self, handler):
        tls = handler.connection
        with self.lock:
            self.posts.append(Met(handler.path, handler.headers.get("Authorization"), tls.version(), id(tls)))

    def count_handshake(self):
        with self.lock:
            self.handshakes += 1

    def count_request(self):
        with self.lock:
            self.requests += 1

    def count_failure(self, error):
        with self.lock:
            self.failures.append(str(error))

    def close(self):
        self._server.shutdown()
        self._server.server_close()
