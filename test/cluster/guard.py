"""A small door before profefe: who shows the token is let through, who does not gets 401."""

import collections
import http.client
import http.server
import threading

from workloads import TOKEN

TIMEOUT_SECONDS = 30


class Guard:
    """Listens at once, on a thread of this process; counts what it answers by status."""

    def __init__(self, host, port, where):
        """where: gives host and port of profefe, asked for each request."""
        guard = self
        self.answers = collections.Counter()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.read_body()
                status, reply = (guard.forward(where(), self.path, body)
                                 if self.headers.get("Authorization") == f"Bearer {TOKEN}" else (401, b"who are you?"))
                guard.answers[status] += 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def read_body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer((host, port), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()

    @staticmethod
    def forward(where, path, body):
        connection = http.client.HTTPConnection(*where, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            return 502, str(error).encode()
        finally:
            connection.close()
