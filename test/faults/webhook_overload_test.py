"""The webhook beside those who want to keep it from answering: honest reviews, over a kept connection and over new
ones, are answered within a second while each attack goes on. Attacks run in a process of their own, are bounded in
connections and in time, and begin anew whatever was cut."""

import http.client
import json
import multiprocessing
import os
import re
import select
import signal
import socket
import ssl
import threading
import time

import pods
from blackbox import WEBHOOK, Case
from children import run, wait_until
from webhook import Webhook

HONEST_SECONDS = 1
SHARE = 0.99
REVIEWS = 100  # honest ones, for each of the two ways
PAUSE_SECONDS = 0.03
ATTACK_SECONDS = 60  # at most; it is ended when the honest ones are through
WARM_UP_SECONDS = 1.5  # for the attack to hold what it can
PEER_MAX = 128  # connections of one address
OTHER_ADDRESS = "127.0.0.2"
PIPELINED = 8  # reviews; their replies are more than the kernel takes, they themselves are not
FILLING = 1000  # reviews; more than all buffers between the two take
FILLING_BUFFER = 64 << 10  # bytes that a filling client keeps itself
SOCKETS_MAX = 16 << 20  # bytes of the webhook's own
JSON = {"Content-Type": "application/json"}
HEAD = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def review():
    return json.dumps(pods.review_of(pods.pod_of_deployment("web", "shop", {"profefe.com/enable": "true"}))).encode()


class Base(Case):
    def setUp(self):
        super().setUp()
        self.server = Webhook(WEBHOOK, self.folder)
        self.addCleanup(self.server.remove)

    def metrics(self):
        return self.server.admin("GET", "/metrics")[1].decode()


class Attack:
    """`count` connections that all say the same and then no more; one that is cut is made again."""

    def __init__(self, port, count, say=b"", tls=True, receive_buffer=None, per_second=None, source="127.0.0.1",
                 fill=False):
        """fill: say only as much as the sockets take."""
        self.port, self.count, self.say, self.tls, self.source = port, count, say, tls, source
        self.receive_buffer, self.per_second, self.fill = receive_buffer, per_second, fill
        self.context = ssl._create_unverified_context()
        self.held = {}

    def open(self):
        plain = socket.socket()
        if self.receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        if self.fill:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FILLING_BUFFER)
        plain.settimeout(2)
        connection = plain
        try:
            plain.bind((self.source, 0))
            plain.connect(("127.0.0.1", self.port))
            if self.tls:
                connection = self.context.wrap_socket(plain)
            connection.settimeout(0 if self.fill else 0.5)
            connection.sendall(self.say)
        except (ssl.SSLWantWriteError, BlockingIOError):
            pass
        except OSError:
            connection.close()
            return
        self.held[connection.fileno()] = connection

    def drop(self, fd):
        self.held.pop(fd).close()

    def drop_cut(self):
        poll = select.poll()
        for fd in self.held:
            poll.register(fd, select.POLLRDHUP)
        for fd, _ in poll.poll(0):
            self.drop(fd)

    def run(self):
        end = time.monotonic() + ATTACK_SECONDS
        while time.monotonic() < end:
            began = time.monotonic()
            self.drop_cut()
            if len(self.held) >= self.count:
                if not self.per_second:
                    time.sleep(0.01)
                    continue
                self.drop(next(iter(self.held)))
            self.open()
            if self.per_second:
                time.sleep(max(0, 1 / self.per_second - (time.monotonic() - began)))


def send_whole_bodies(port, body):
    context = ssl._create_unverified_context()
    end = time.monotonic() + ATTACK_SECONDS

    def run():
        while time.monotonic() < end:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
            try:
                while time.monotonic() < end:
                    connection.request("POST", "/mutate", body, JSON)
                    connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()

    for _ in range(4):
        threading.Thread(target=run, daemon=True).start()
    time.sleep(ATTACK_SECONDS)


class Honest(threading.Thread):
    def __init__(self, server, keep, source="127.0.0.1"):
        super().__init__(daemon=True)
        self.server, self.keep, self.source = server, keep, source
        self.answered, self.troubles = 0, []
        self.connection = None

    def ask(self):
        if self.connection is None:
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.server.port, timeout=HONEST_SECONDS,
                                                          context=self.server.tls(),
                                                          source_address=(self.source, 0))
        self.connection.request("POST", "/mutate", review(), JSON)
        reply = self.connection.getresponse()
        body = reply.read()
        if reply.status != 200 or b'"patch"' not in body:
            raise OSError(f"{reply.status}: {body[:100]!r}")

    def leave(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def run(self):
        for _ in range(REVIEWS):
            began = time.monotonic()
            try:
                self.ask()
                took = time.monotonic() - began
                if took > HONEST_SECONDS:
                    raise OSError(f"took {took:.2f} s")
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.troubles.append(f"{type(error).__name__}: {error}")
                self.leave()
            if not self.keep:
                self.leave()
            time.sleep(PAUSE_SECONDS)
        self.leave()


class Overload(Base):
    def attack(self, run, *args):
        process = multiprocessing.get_context("fork").Process(target=run, args=args, daemon=True)
        process.start()

        def end():
            process.kill()
            process.join()

        self.addCleanup(end)
        time.sleep(WARM_UP_SECONDS)

    def hold(self, *args, **more):
        self.attack(Attack(self.server.port, *args, **more).run)

    def expect_honest_answered(self, source="127.0.0.1", meanwhile=lambda: None):
        both = [Honest(self.server, keep=True, source=source), Honest(self.server, keep=False, source=source)]
        for honest in both:
            honest.start()
        while any(honest.is_alive() for honest in both):
            meanwhile()
            time.sleep(PAUSE_SECONDS)
        for honest in both:
            honest.join()
        for honest in both:
            self.assertGreaterEqual(honest.answered, SHARE * REVIEWS, (honest.keep, honest.troubles[:5],
                                                                       self.metrics()))

    def test_large_half_bodies(self):
        self.server.start()
        self.hold(4, HEAD.encode() + b"Content-Length: 4194304\r\n\r\n" + b"[" * (2 * 1024 * 1024 + 1))
        self.expect_honest_answered()

    def test_half_headers(self):
        self.server.start()
        self.hold(300, HEAD.encode())
        self.expect_honest_answered()

    def test_half_reviews(self):
        self.server.start()
        self.hold(300, HEAD.encode() + b"Content-Length: 1000\r\n\r\n" + b"{" * 500)
        self.expect_honest_answered()

    def test_one_address_holds_half_at_most(self):
        self.server.start()
        self.hold(300, tls=False)
        most = 0

        def look():
            nonlocal most
            most = max(most, int(re.search(r"^profefe_webhook_connections (\d+)$", self.metrics(), re.MULTILINE)[1]))

        look()
        self.assertLessEqual(most, PEER_MAX)
        self.expect_honest_answered(OTHER_ADDRESS, look)
        self.assertGreaterEqual(most, PEER_MAX)
        self.assertLessEqual(most, PEER_MAX + 2, "beyond its half and the two honest ones")

    def test_half_reviews_after_good_ones(self):
        self.server.start()
        body = review()
        good = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.hold(300, good + HEAD.encode())
        self.expect_honest_answered()

    def test_whole_bodies_at_full_speed(self):
        self.server.start()
        self.attack(send_whole_bodies, self.server.port, b'{"a":"' + b"x" * (4 * 1024 * 1024 - 100) + b'"}')
        self.expect_honest_answered()

    def test_silent_handshakes(self):
        self.server.start()
        self.hold(300, tls=False)
        self.expect_honest_answered()

    def test_300_new_connections_a_second(self):
        self.server.start()
        self.hold(300, tls=False, per_second=300)
        self.expect_honest_answered()

    def test_300_full_handshakes_a_second(self):
        self.server.start()
        # At most: who makes them shares the CPUs, and takes longer over one than the webhook.
        self.hold(300, tls=True, per_second=300)
        self.expect_honest_answered()

    def test_slow_readers_and_their_memory(self):
        self.server.start()
        body = review()
        good = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.hold(PEER_MAX, good * PIPELINED, receive_buffer=4096)
        self.hold(PEER_MAX, good * PIPELINED, receive_buffer=4096, source=OTHER_ADDRESS)
        self.expect_honest_answered_with_little_memory()

    def test_readers_that_fill_all_buffers_and_their_memory(self):
        self.server.start()
        body = review()
        good = HEAD.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.hold(PEER_MAX, good * FILLING, fill=True)
        self.hold(PEER_MAX, good * FILLING, fill=True, source=OTHER_ADDRESS)
        self.expect_honest_answered_with_little_memory()

    def expect_honest_answered_with_little_memory(self):
        most = 0

        def look():
            nonlocal most
            most = max(most, socket_memory(self.server.port))

        self.expect_honest_answered("127.0.0.3", look)
        self.assertGreater(most, 0)
        self.assertLess(most, SOCKETS_MAX)

    def test_few_descriptors(self):
        self.server.start(wrap=["sh", "-c", 'ulimit -n 20; exec "$@"', "sh"])
        self.hold(30, HEAD.encode())
        self.expect_honest_answered()


def socket_memory(port):
    """Bytes that the kernel holds for the server's side of its connections: received, reserved, and not sent yet."""
    sockets = run(["ss", "-tmnH", f"sport = :{port}"], HONEST_SECONDS * 10).out
    found = re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+),", sockets)
    return sum(int(number) for one in found for number in one)


def blocks(pid, signo):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        blocked = re.search(r"^SigBlk:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)[1]
    return int(blocked, 16) >> (signo - 1) & 1 == 1


class Requests(Base):
    """What is odd in one request or one signal."""

    def test_many_query_arguments_are_not_left_hanging(self):
        self.server.start()
        path = "/mutate?" + "&".join(["a"] * 600)
        began = time.monotonic()
        try:
            status = self.server.post(review(), path)[0]
        except (OSError, http.client.HTTPException):
            status = None
        self.assertIn(status, (None, 414))
        self.assertLess(time.monotonic() - began, HONEST_SECONDS)

    def test_signals_that_others_use_do_not_end_it(self):
        self.server.start()
        for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGQUIT", "SIGIO"):
            os.kill(self.server.child.pid, getattr(signal, name))
        self.assertEqual(200, self.server.post(review())[0])
        self.server.child.must_live()

    def test_hangup_does_not_end_a_start(self):
        path = os.path.join(self.folder, "tls.key")
        with open(path, "rb") as file:
            key = file.read()
        os.unlink(path)
        os.mkfifo(path)
        writer = os.open(path, os.O_RDWR)

        def hang_up_while_it_waits_for_its_key():
            wait_until(lambda: blocks(self.server.child.pid, signal.SIGTERM), 10, self.server.child.log_tail)
            os.kill(self.server.child.pid, signal.SIGHUP)
            os.write(writer, key)
            os.close(writer)

        self.server.start(before_ready=hang_up_while_it_waits_for_its_key)
        self.assertEqual(200, self.server.post(review())[0])

    def test_hangup_means_look_at_the_files_now(self):
        self.server.start(env={"PROFEFE_WEBHOOK_RELOAD": "1h"})
        with open(self.server.config, "a", encoding="utf-8") as config:
            config.write("# changed\n")
        os.kill(self.server.child.pid, signal.SIGHUP)
        taken = 'profefe_webhook_config_reloads_total{result="taken"} 1\n'
        wait_until(lambda: taken in self.metrics(), 10, lambda: self.server.child.log_tail())

    def test_pipes_in_place_of_files_hold_nothing_up(self):
        self.server.start(env={"PROFEFE_WEBHOOK_RELOAD": "50ms"})
        for path in (self.server.config, os.path.join(self.folder, "tls.crt"), os.path.join(self.folder, "tls.key")):
            os.unlink(path)
            os.mkfifo(path)
            writer = os.open(path, os.O_RDWR)
            self.addCleanup(os.close, writer)
        refused = 'profefe_webhook_config_reloads_total{result="refused"} 1\n'
        wait_until(lambda: refused in self.metrics(), 10, lambda: self.server.child.log_tail())
        for _ in range(10):
            began = time.monotonic()
            self.assertEqual(200, self.server.post(review())[0])
            self.assertLess(time.monotonic() - began, HONEST_SECONDS)
