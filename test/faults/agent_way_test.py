"""The way to a real profefe: proxies that cannot pass on a body without a length, and profiles whose own time is far
off, which profefe would file where nobody looks."""

import datetime
import gzip
import http.client
import itertools
import time
import urllib.parse

import small_pprof
from agent_case import AgentCase, now
from fault_server import FaultApp, FaultServer
from small_pprof import Maker

TYPES = "heap:1s,goroutine:1s"
ENOUGH = 4  # profiles stored
PROXY_SECONDS = 15
SAMPLE_LABELS = {"PROFEFE_AGENT_SAMPLE_LABELS": "true"}


class Proxy(FaultServer):
    """Passes on what has a length. A body in chunks it empties, as some do, or refuses with 411."""

    def __init__(self, url, refuses):
        self.peer = urllib.parse.urlsplit(url).netloc
        self.refuses = refuses
        self.chunked = self.sized = 0
        super().__init__()

    def answer(self, exchange):
        request = exchange.request
        request.read_body(exchange.stream)
        body = request.body
        if request.method == "POST":
            is_chunked = request.headers.get("transfer-encoding") == "chunked"
            with self.lock:
                self.chunked += is_chunked
                self.sized += not is_chunked
            if is_chunked and self.refuses:
                exchange.reply(411, b"<html>Length Required</html>")
                return
            body = b"" if is_chunked else body
        exchange.reply(*self.pass_on(request, body))

    def pass_on(self, request, body):
        connection = http.client.HTTPConnection(self.peer, timeout=PROXY_SECONDS)
        try:
            connection.request(request.method, request.target, body,
                               {"Content-Type": "application/octet-stream"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


class WrongUnit(Maker):
    """Profiles of now whose time is in microseconds where it should be nanoseconds: in 1970."""

    def __init__(self):
        super().__init__()
        self.numbers = itertools.count()

    def take(self, _size=0):
        serial = f"us-{next(self.numbers)}"
        return serial, gzip.compress(small_pprof.raw(serial, int(time.time() * 1_000_000)))


class WayCase(AgentCase):
    def serve(self, server):
        self.addCleanup(server.close)
        return server

    def stored(self, agent):
        return self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="stored") >= ENOUGH, "stored")


class Proxies(WayCase):
    def check(self, refuses):
        app = self.serve(FaultApp(Maker()))
        profefe = self.start_profefe()
        proxy = self.serve(Proxy(profefe.url, refuses))
        agent = self.start_agent(self.settings(app.url(), proxy.address, PROFEFE_AGENT_TYPES=TYPES, **SAMPLE_LABELS))
        self.wait_for_port(agent)
        self.stored(agent)
        seen = self.drain(agent, app)
        taken = seen.sum("taken_profiles_total")
        self.assertEqual({"stored": taken, "no-length": 1}, seen.by("pushes_total", "result"), seen.text)
        self.assertEqual(0, seen.sum("dropped_profiles_total"), seen.text)
        self.assertEqual((1, taken), (proxy.chunked, proxy.sized))
        since = now() - datetime.timedelta(days=1)
        found = profefe.profiles("web", since)
        self.assertEqual(taken, len(found))
        for profile in found:
            small_pprof.read(profefe.fetch(profile["id"]))
        self.assertEqual(1, agent.log().count("a body without a length does not get through"), agent.log())
        self.stops(agent)

    def test_one_that_empties_bodies_without_a_length_loses_nothing(self):
        self.check(refuses=False)

    def test_one_that_wants_a_length_holds_up_nothing(self):
        self.check(refuses=True)


class Times(WayCase):
    def check(self, **more):
        app = self.serve(FaultApp(WrongUnit()))
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(app.url(), profefe.url, PROFEFE_AGENT_TYPES=TYPES, **more))
        self.wait_for_port(agent)
        self.stored(agent)
        seen = self.drain(agent, app)
        taken = seen.sum("taken_profiles_total")
        self.assertEqual(taken, seen.sum("replaced_times_total"), seen.text)
        self.assertEqual(taken, len(profefe.profiles("web", self.since)))
        self.assertEqual(2, agent.log().count("the profile's own time is far from when it was taken"), agent.log())
        self.stops(agent)

    def test_profiles_in_the_wrong_unit_are_found_today(self):
        self.check(**SAMPLE_LABELS)

    def test_profiles_in_the_wrong_unit_are_found_today_without_labels_too(self):
        self.check(PROFEFE_AGENT_SAMPLE_LABELS="false")
