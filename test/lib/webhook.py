"""A real webhook on loopback: its throwaway certificate, its configuration and requests to it."""

import http.client
import os
import ssl

from children import Child, Failure, free_port, run, wait_until

SERVICE_NAME = "profefe-webhook.profefe-system.svc"
START_SECONDS = 15
OPENSSL_SECONDS = 60
# As in a test: a server that takes longer than this to answer counts as hanging.
TIMEOUT_SECONDS = 5


def make_certificates(folder):
    """A throwaway CA and a server certificate for the Service's name and for 127.0.0.1: ca.crt, tls.crt, tls.key."""

    def openssl(*args):
        done = run(["openssl", *args], OPENSSL_SECONDS, cwd=folder)
        if done.code != 0:
            raise Failure(f"openssl {args[0]} failed: {done.err.strip()}")

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=throwaway CA", "-days", "1")
    openssl("req", *key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN={SERVICE_NAME}")
    with open(os.path.join(folder, "extensions"), "w", encoding="ascii") as extensions:
        extensions.write(f"subjectAltName=DNS:{SERVICE_NAME},IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-out", "tls.crt", "-extfile", "extensions")


class Webhook:
    """profefe-webhook with a configuration in a folder of its own."""

    def __init__(self, binary, folder, collector=None, settings=None):
        """settings: all of webhook.ini but [server]; without it an image, and the collector."""
        self.binary = binary
        self.folder = folder
        self.port = free_port()
        self.admin_port = free_port()
        self.child = None
        make_certificates(folder)
        self.ca = os.path.join(folder, "ca.crt")
        self.config = os.path.join(folder, "webhook.ini")
        with open(self.config, "w", encoding="utf-8") as config:
            config.write(f"[server]\n"
                         f"listen = 127.0.0.1:{self.port}\n"
                         f"admin-listen = 127.0.0.1:{self.admin_port}\n"
                         f"cert = {os.path.join(folder, 'tls.crt')}\n"
                         f"key = {os.path.join(folder, 'tls.key')}\n"
                         f"drain = 0s\n"  # no Service has to forget it
                         "\n"
                         + (settings if settings is not None else
                            "[inject]\nimage = localhost/profefe-agent:dev\n"
                            + (f"collector = {collector}\n" if collector else "")))

    def url(self, path="/mutate"):
        return f"https://127.0.0.1:{self.port}{path}"

    def start(self, env=None, wrap=(), before_ready=lambda: None):
        """wrap: a command that execs its arguments."""
        self.child = Child("profefe-webhook", [*wrap, self.binary, "--config", self.config],
                           os.path.join(self.folder, "webhook.log"), env=env)
        before_ready()
        wait_until(self._ready, START_SECONDS,
                   lambda: f"/readyz of profefe-webhook did not say 200 within {START_SECONDS} s; the end of its "
                           f"output:\n"
                           f"{self.child.log_tail()}")
        return self

    def _ready(self):
        self.child.must_live()
        try:
            return self.admin("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def tls(self):
        """A TLS context that trusts nothing but the throwaway CA."""
        return ssl.create_default_context(cafile=self.ca)

    def post(self, body, path="/mutate", headers=None, method="POST"):
        """Status and body of one request over a connection of its own."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS, context=self.tls())
        return _exchange(connection, method, path, body, headers or {"Content-Type": "application/json"})

    def admin(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=TIMEOUT_SECONDS)
        return _exchange(connection, method, path, body, {})

    def remove(self):
        if self.child:
            self.child.remove()


def _exchange(connection, method, path, body, headers):
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()
