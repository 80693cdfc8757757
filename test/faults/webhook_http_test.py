"""Malformed AdmissionReviews over TLS: each gets a 4xx or a well-formed reply in time, the next good review is
answered, and the process lives on."""

import copy
import json
import os
import re
import select
import shutil
import socket
import ssl
import struct
import tempfile
import time

import pods
from blackbox import INSTRUMENTS, WEBHOOK, Case
from children import Failure, wait_until
from processes import cpu_ns
from webhook import TIMEOUT_SECONDS, Webhook

JSON = {"Content-Type": "application/json"}
BIG = 10 << 20
ABORTS = 50
SETTLE_SECONDS = 10
STOP_SECONDS = 5
# What a client never finishes is cut by the server, 5 s after it began; SIGTERM waits for what is under way no longer.
CUT_SECONDS = 10
TRIES = 3
# As long as clients hang in their handshakes, and of that the CPU time that may go into waiting for them.
HANG_SECONDS = 1
HANG_CPU_SECONDS = 0.2
CONNECTION_MEMORY = 8 * 1024  # SERVICE_CONNECTION_MEMORY of webhook/service.h: of a request's headers and the reply's
# Ten requests of 10 MB went in by then; held whole they would not fit.
MEMORY_MAX = 48 << 20


def good_review():
    return pods.review_of(pods.pod_of_deployment("web", "shop", {"profefe.com/enable": "true"}))


def changed(**fields):
    """A good review in which fields of the request are replaced, or removed with None."""
    review = good_review()
    for name, value in fields.items():
        if value is None:
            del review["request"][name]
        else:
            review["request"][name] = value
    return review


def nested(levels, opening=b'{"a":', closing=b"}"):
    return opening * levels + b"1" + closing * levels


def inside_pod(field):
    """A review whose pod has one more field, given as raw JSON."""
    return json.dumps(good_review()).replace('"status": {}', f'"status": {{}}, "extra": {field}').encode()


def with_pod(change):
    review = copy.deepcopy(good_review())
    change(review["request"]["object"])
    return review


def encoded(body):
    return body if isinstance(body, bytes) else json.dumps(body).encode()


# What the API server never sends; 4xx or a well-formed reply.
BODIES = {
    "empty": b"",
    "not JSON": b"not JSON at all",
    "a NUL": b"\0",
    "white space": b" \n" * 1000,
    "not UTF-8": b'{"kind":"\xff\xfe"}',
    "half of it": encoded(good_review())[:700],
    "trailing garbage": encoded(good_review()) + b"}}}}",
    "an array": b"[]",
    "a string": b'"AdmissionReview"',
    "a number": b"1e999999",
    "null": b"null",
    "no request": {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"},
    "request is null": {**good_review(), "request": None},
    "request is a list": {**good_review(), "request": []},
    "wrong kind": {**good_review(), "kind": "ConversionReview"},
    "kind is a number": {**good_review(), "kind": 1},
    "wrong version": {**good_review(), "apiVersion": "admission.k8s.io/v9"},
    "no uid": changed(uid=None),
    "uid is a number": changed(uid=7),
    "uid of a megabyte": changed(uid="u" * (1 << 20)),
    "no object": changed(object=None),
    "object is a string": changed(object="pod"),
    "object is no pod": changed(object={"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}),
    "no operation": changed(operation=None),
    "unknown operation": changed(operation="EXPLODE"),
    "annotations are a list": with_pod(lambda pod: pod["metadata"].update(annotations=["profefe.com/enable"])),
    "an annotation is a number": with_pod(lambda pod: pod["metadata"]["annotations"].update({"profefe.com/enable": 1})),
    "containers are an object": with_pod(lambda pod: pod["spec"].update(containers={})),
    "a container is null": with_pod(lambda pod: pod["spec"].update(containers=[None])),
    "no spec": with_pod(lambda pod: pod.pop("spec")),
    "no metadata": with_pod(lambda pod: pod.pop("metadata")),
    "no containers": with_pod(lambda pod: pod["spec"].update(containers=[])),
    "100 levels deep": nested(100),
    "100 levels deep in the pod": inside_pod(nested(100).decode()),
    "100,000 levels deep": nested(100_000),
    "100,000 open brackets": b"[" * 100_000,
    "10,000 equal keys": b"{" + b",".join([b'"kind":"AdmissionReview"'] * 10_000) + b"}",
    "10 MB of white space": b" " * BIG,
    "10 MB of one string": b'{"kind":"' + b"A" * BIG + b'"}',
    "10 MB in the pod": inside_pod('"' + "A" * BIG + '"'),
}

# Requests that are wrong below JSON, as raw bytes; any 4xx or a closed connection.
RAW = {
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no Host": b"POST /mutate HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    "negative Content-Length": b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "huge Content-Length": b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "Content-Length is a word": b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
    "bad chunk size": b"POST /mutate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a megabyte of headers": b"POST /mutate HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 130_000 + b"\r\n",
    "a header of a megabyte": b"POST /mutate HTTP/1.1\r\nHost: x\r\nX-A: " + b"b" * (1 << 20) + b"\r\n\r\n",
    "a path of a megabyte": b"POST /" + b"m" * (1 << 20) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


def post_head(length, extra=""):
    return (f"POST /mutate HTTP/1.1\r\nHost: profefe-webhook\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n{extra}\r\n").encode()


class Reply:
    """What came back on a connection."""

    def __init__(self, received):
        head, _, self.body = received.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        words = lines[0].split()
        self.status = int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") else None
        self.length = next((int(line.split(b":")[1]) for line in lines[1:]
                            if line.lower().startswith(b"content-length:")), 0)

    def whole(self):
        return self.status is not None and self.status >= 200 and len(self.body) >= self.length


def exchange(connection, data, seconds=TIMEOUT_SECONDS):
    """Sends, and reads at the same time: a server that refuses a body answers before it has read it all. Returns the
    Reply, with status None where the connection was closed without one; Failure when neither comes in time."""
    connection.setblocking(False)
    rest, received, end = memoryview(data), b"", time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            while rest:
                rest = rest[connection.send(rest[:1 << 16]):]
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            rest = memoryview(b"")  # the server reads no more; it may have answered
        try:
            piece = connection.recv(1 << 16)
            received += piece
            if not piece or Reply(received).whole():
                return Reply(received)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            return Reply(received)
        select.select([connection], [connection] if rest else [], [], 0.1)
    raise Failure(f"neither an answer nor the end of the connection within {seconds} s; got {received[:200]!r}")


class ReviewHttp(Case):
    """One webhook for all the tests: what one of them breaks, the next one sees."""

    @classmethod
    def setUpClass(cls):
        cls.shared = tempfile.mkdtemp(prefix="profefe-test-")
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
        cls.webhook = Webhook(WEBHOOK, cls.shared, "http://127.0.0.1:9")
        cls.addClassCleanup(cls.webhook.remove)
        cls.webhook.start(env=INSTRUMENTS)

    def tearDown(self):
        self.still_well()

    @classmethod
    def tearDownClass(cls):
        """After all that it still ends with 0: a sanitizer that found something would not."""
        if cls.webhook.child.stop(CUT_SECONDS) != 0:
            raise Failure(f"profefe-webhook ended with {cls.webhook.child.ending()}:\n{cls.webhook.child.log_tail()}")

    def still_well(self):
        """The process lives, is ready, and answers a good review with a patch that fits."""
        self.webhook.child.must_live()
        self.assertEqual(200, self.webhook.admin("GET", "/readyz")[0])
        review = good_review()
        status, body = self.webhook.post(encoded(review))
        self.assertEqual(200, status, body)
        response = pods.response_of(json.loads(body), review["request"]["uid"])
        self.assertTrue(response["allowed"])
        patched = pods.apply_patch(review["request"]["object"], pods.patch_of(response))
        pods.container_of(patched, "profefe-agent")

    def connect(self):
        plain = socket.create_connection(("127.0.0.1", self.webhook.port), timeout=TIMEOUT_SECONDS)
        try:
            connection = self.webhook.tls().wrap_socket(plain, server_hostname="127.0.0.1")
        except BaseException:
            plain.close()
            raise
        self.addCleanup(connection.close)
        return connection

    def plain(self):
        connection = socket.create_connection(("127.0.0.1", self.webhook.port), timeout=TIMEOUT_SECONDS)
        self.addCleanup(connection.close)
        return connection

    def exchange(self, data):
        """Over a connection of its own; once more where the server cut it because the machine was too slow for its
        limit."""
        for _ in range(TRIES):
            cut = self.cut_at_deadline()
            reply = exchange(self.connect(), data, CUT_SECONDS if len(data) > BIG else TIMEOUT_SECONDS)
            if reply.status is not None or self.cut_at_deadline() == cut:
                break
        return reply

    def cut_at_deadline(self):
        text = self.webhook.admin("GET", "/metrics")[1].decode()
        return int(re.search(r'^profefe_webhook_connections_cut_total\{reason="deadline"\} (\d+)$', text,
                             re.MULTILINE)[1])

    def refused_or_answered(self, reply):
        """A 4xx, or 200 with what the API server takes for an answer."""
        self.assertIsNotNone(reply.status, "the connection was closed without an answer")
        if reply.status == 200:
            self.assertTrue(pods.response_of(json.loads(reply.body))["allowed"])
        else:
            self.assertTrue(400 <= reply.status < 500, f"{reply.status} {reply.body[:200]!r}")

    def test_malformed_bodies(self):
        for path in ("/mutate", "/mutate/all"):
            for what, body in BODIES.items():
                with self.subTest(path=path, what=what):
                    body = encoded(body)
                    head = post_head(len(body)).replace(b"/mutate ", f"{path} ".encode())
                    self.refused_or_answered(self.exchange(head + body))
                    self.still_well()

    def test_what_is_no_review_is_a_4xx(self):
        for what in ("empty", "not JSON", "half of it", "an array", "no request", "wrong kind", "10 MB in the pod"):
            with self.subTest(what=what):
                body = encoded(BODIES[what])
                reply = self.exchange(post_head(len(body)) + body)
                self.assertTrue(reply.status and 400 <= reply.status < 500, f"{reply.status} {reply.body[:200]!r}")

    def test_wrong_content_type(self):
        body = encoded(good_review())
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                     "application/vnd.kubernetes.protobuf", "", "x" * 4000):
            with self.subTest(kind=kind[:40]):
                head = (f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n")
                self.refused_or_answered(exchange(self.connect(), head.encode() + body))
                self.still_well()

    def test_content_type_with_charset_is_right(self):
        status, _ = self.webhook.post(encoded(good_review()),
                                      headers={"Content-Type": "application/json; charset=utf-8"})
        self.assertEqual(200, status)

    def test_requests_below_json(self):
        for what, data in RAW.items():
            with self.subTest(what=what):
                status = exchange(self.connect(), data).status
                self.assertTrue(status is None or 400 <= status < 600, status)
                self.assertNotEqual(200, status)
                self.still_well()

    def test_headers_that_leave_no_memory_for_those_of_the_reply(self):
        """Then libmicrohttpd closes the connection: with TLS's own end, since without it could be an attack."""
        body = encoded(good_review())
        closed = 0
        for size in range(CONNECTION_MEMORY - 1400, CONNECTION_MEMORY, 16):
            with self.webhook.tls().wrap_socket(self.plain(), server_hostname="127.0.0.1",
                                                suppress_ragged_eofs=False) as connection:
                bare = len(post_head(len(body), "X: \r\n"))
                connection.sendall(post_head(len(body), f"X: {'x' * (size - bare)}\r\n") + body)
                closed += connection.recv(1 << 16) == b""
        self.assertGreater(closed, 0)

    def test_wrong_methods(self):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            with self.subTest(method=method):
                status, _ = self.webhook.post(None, method=method)
                self.assertTrue(400 <= status < 500 or (method, status) == ("BREW", 501), status)

    def test_unknown_paths(self):
        body = encoded(good_review())
        for path in ("/", "/mutate/", "/mutate/all/", "/mutat", "/mutate/everything", "//mutate", "/healthz",
                     "/metrics",
                     "/mutate%00", "/../mutate", "/mutate;all"):
            with self.subTest(path=path):
                self.assertEqual(404, self.webhook.post(body, path)[0])

    def test_query_of_the_api_server_is_no_other_path(self):
        self.assertEqual(200, self.webhook.post(encoded(good_review()), "/mutate?timeout=2s")[0])

    def test_v1beta1_is_answered_in_kind(self):
        review = {**good_review(), "apiVersion": "admission.k8s.io/v1beta1"}
        status, body = self.webhook.post(encoded(review))
        self.assertEqual(200, status, body)
        pods.response_of(json.loads(body), review["request"]["uid"], review["apiVersion"])

    def test_chunked_body(self):
        body = encoded(good_review())
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 100]), body[i:i + 100]) for i in range(0, len(body), 100))
        head = post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        self.assertEqual(200, exchange(self.connect(), head + chunks + b"0\r\n\r\n").status)

    def test_chunked_body_of_10_mb(self):
        """With its end it is refused in words; without, it is at least cut."""
        head = post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        chunks = (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * (BIG // 0x10000)
        status = self.exchange(head + chunks + b"0\r\n\r\n").status
        self.assertTrue(status and 400 <= status < 500, status)
        status = exchange(self.connect(), head + chunks, CUT_SECONDS).status
        self.assertTrue(status is None or 400 <= status < 500, status)

    def test_body_byte_by_byte(self):
        body = encoded(good_review())
        connection = self.connect()
        connection.sendall(post_head(len(body)) + body[:1])
        for i in range(1, 40):
            connection.sendall(body[i:i + 1])
        self.assertEqual(200, exchange(connection, body[40:]).status)

    def test_many_reviews_on_one_connection(self):
        connection = self.connect()
        for what in ("good", "not JSON", "good", "wrong kind", "good"):
            body = encoded(good_review() if what == "good" else BODIES[what])
            reply = exchange(connection, post_head(len(body)) + body)
            self.assertEqual(what == "good", reply.status == 200, f"{what}: {reply.status}")

    def test_half_a_body_then_close(self):
        body = encoded(good_review())
        for how in ("FIN", "RST"):
            with self.subTest(how=how):
                connection = self.connect()
                connection.sendall(post_head(len(body)) + body[:len(body) // 2])
                if how == "RST":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                self.still_well()

    def answer_beside_silent_clients(self):
        """Some stop before the handshake, some in the middle of it, some in the headers, some in the body."""
        body = encoded(good_review())
        for _ in range(5):
            self.plain()
            self.plain().sendall(b"\x16\x03\x01\x02\x00\x01")
            self.connect().sendall(b"POST /mutate HTT")
            self.connect().sendall(post_head(len(body)) + body[:100])
        started = time.monotonic()
        self.still_well()
        return time.monotonic() - started

    def test_silent_clients_hold_nobody_up(self):
        """A server that waits for them does so each time; a machine may have other things to do once."""
        for _ in range(TRIES):
            took = self.answer_beside_silent_clients()
            if took < CUT_SECONDS / 3:
                break
        self.assertLess(took, CUT_SECONDS / 3, "before the silent ones were cut")

    def hang_in_handshakes(self):
        """One after a part of its first record, one after the whole of it: the server has answered and waits."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self.assertRaises(ssl.SSLWantReadError):
            self.webhook.tls().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1").do_handshake()
        hello = outgoing.read()
        self.plain().sendall(hello[:6])
        whole = self.plain()
        whole.sendall(hello)
        self.assertTrue(whole.recv(1))

    def test_hanging_handshakes_take_no_cpu(self):
        self.hang_in_handshakes()
        before = cpu_ns(self.webhook.child.pid)
        time.sleep(HANG_SECONDS)
        self.assertLess((cpu_ns(self.webhook.child.pid) - before) / 1e9, HANG_CPU_SECONDS)

    def test_hanging_handshakes_cut_no_chunked_body(self):
        """Its pause is no stall, though libmicrohttpd asks to be called at once all the time."""
        body = encoded(good_review())
        head = post_head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection = self.connect()
        connection.sendall(head + b"64\r\n" + body[:100] + b"\r\n")
        self.hang_in_handshakes()
        time.sleep(HANG_SECONDS)
        rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body) - 100, body[100:])
        self.assertEqual(200, exchange(connection, rest).status)

    def test_no_tls_is_no_answer(self):
        body = encoded(good_review())
        self.assertNotEqual(200, exchange(self.plain(), post_head(len(body)) + body).status)

    def test_tls_below_1_2_is_refused(self):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionResetError)):
            old.wrap_socket(self.plain(), server_hostname="127.0.0.1")

    def test_aborted_connections_leave_no_descriptor(self):
        def descriptors():
            return len(os.listdir(f"/proc/{self.webhook.child.pid}/fd"))

        body = encoded(good_review())
        self.still_well()
        before = descriptors()
        for i in range(ABORTS):
            if i % 2:
                self.plain().close()
            else:
                connection = self.connect()
                connection.sendall(post_head(len(body)) + body[:i])
                connection.close()
        # Connections of the tests before may still be on their way out as well, hence no more than before, not as many.
        wait_until(lambda: descriptors() <= before, SETTLE_SECONDS,
                   lambda: f"{descriptors()} descriptors after {ABORTS} aborted connections, {before} before")

    def test_memory_does_not_follow_what_is_sent(self):
        body = encoded(BODIES["10 MB of one string"])
        connections = [self.connect() for _ in range(10)]
        for connection in connections:
            exchange(connection, post_head(len(body)) + body)
        if INSTRUMENTS:
            return  # a sanitizer's memory is its own; that nothing breaks has been seen
        with open(f"/proc/{self.webhook.child.pid}/status", encoding="ascii") as status:
            peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
        self.assertLess(peak, MEMORY_MAX)

    def test_admin_port(self):
        for path in ("/healthz", "/readyz", "/metrics"):
            with self.subTest(path=path):
                self.assertEqual(200, self.webhook.admin("GET", path)[0])
                self.assertTrue(400 <= self.webhook.admin("POST", path, b"x")[0] < 500)
        for path in ("/", "/mutate", "/mutate/all", "/healthz/x"):
            with self.subTest(path=path):
                self.assertEqual(404, self.webhook.admin("GET", path)[0])

    def test_metrics_count_what_was_answered(self):
        families = ("profefe_webhook_reviews_total", "profefe_webhook_refused_requests_total")

        def totals():
            text = self.webhook.admin("GET", "/metrics")[1].decode()
            for family in (*families, "profefe_webhook_review_seconds",
                           "profefe_webhook_certificate_expiry_timestamp_seconds"):
                self.assertIn(f"# HELP {family} ", text)
                self.assertIn(f"# TYPE {family} ", text)
            samples = [line for line in text.splitlines() if 'reason="incomplete"' not in line]  # of earlier tests
            return [sum(float(line.rsplit(" ", 1)[1]) for line in samples if line.startswith(family + "{"))
                    for family in families]

        reviews, refused = totals()
        self.still_well()
        self.assertEqual([reviews + 1, refused], totals())
        self.webhook.post(b"not JSON")
        self.assertEqual([reviews + 1, refused + 1], totals())


class Stop(Case):
    def test_sigterm_ends_it_with_0(self):
        webhook = self.start_webhook()
        self.assertEqual(200, webhook.post(encoded(good_review()))[0])
        self.assertEqual(0, webhook.child.stop(STOP_SECONDS), webhook.child.log())

    def test_sigterm_ends_it_in_spite_of_silent_clients(self):
        webhook = self.start_webhook()
        with (socket.create_connection(("127.0.0.1", webhook.port)),
              socket.create_connection(("127.0.0.1", webhook.admin_port))):
            self.assertEqual(200, webhook.post(encoded(good_review()))[0])
            self.assertEqual(0, webhook.child.stop(CUT_SECONDS), webhook.child.log())
