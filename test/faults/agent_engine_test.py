"""The agent's own decisions: every type, what it leaves behind at the end, what it says of itself, and a spool that is
too small for --once."""

import http.client
import json
import os
import re
import signal
import time

from agent_case import ARRIVE_SECONDS, IDENTITY, REQUEST_SECONDS, STOPPED, AgentCase
from blackbox import AGENT
from children import wait_until
from fault_collector import FaultCollector, status
from fault_server import FaultApp
from small_pprof import Maker

# Nothing but the start-up pair within a test: what comes later came from the end.
SLOW = {"PROFEFE_AGENT_INTERVAL": "1h", "PROFEFE_AGENT_FIRST_WITHIN": "1s", "PROFEFE_AGENT_TYPES": "heap,goroutine",
        "PROFEFE_AGENT_STOP_DEADLINE": "4s"}
SPOOL_MIN = 256 * 1024
TRACE = b"go 1.26 trace\0\0\0" + b"\1generation" * 50


class EngineCase(AgentCase):
    def setUp(self):
        super().setUp()
        self.app = FaultApp(Maker())
        self.addCleanup(self.app.close)
        self.asked = []  # (type, Unix time in ms) of each profile given
        give = self.app.give_profile

        def note(exchange, name):
            self.asked.append((name, int(time.time() * 1000)))
            give(exchange, name)

        self.app.give_profile = note
        self.collector = FaultCollector()
        self.addCleanup(self.collector.close)

    def start_slow(self, *args, **more):
        agent = self.start_agent({**self.settings(self.app.url(), self.collector.address), **SLOW, **more}, *args)
        self.wait_for_port(agent)
        return agent

    def wait_for_stored(self, agent, count):
        wait_until(lambda: len(self.collector.serials()) >= count, ARRIVE_SECONDS,
                   lambda: f"{count} profiles are not stored:\n{agent.log_tail()}")

    def wait_for_another_second(self):
        """Of one second there is never more than one profile of a type and target."""
        second = int(time.time())
        wait_until(lambda: int(time.time()) > second, ARRIVE_SECONDS, lambda: "the clock stands still")

    def account(self, agent):
        self.assertEqual(1, len(STOPPED.findall(agent.log())), agent.log_tail())
        return super().account(agent)

    def expect_account(self, agent, **expected):
        account = self.account(agent)
        self.assertEqual(expected, {key: account.get(key) for key in expected}, agent.log_tail())
        self.assertEqual(account["taken"], account["stored"] + account["dropped"] + account["waiting"], account)


class Stopping(EngineCase):
    def test_last_profiles_are_taken_after_sigterm_where_that_is_set(self):
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true")
        self.wait_for_stored(agent, 2)
        self.wait_for_another_second()
        self.stops(agent)
        self.assertEqual(["goroutine", "goroutine", "heap", "heap"],
                         sorted(post.type for post in self.collector.stored))
        self.expect_account(agent, taken=4, stored=4, dropped=0, waiting=0, lost=0)

    def test_no_last_profiles_otherwise(self):
        agent = self.start_slow()
        self.wait_for_stored(agent, 2)
        self.stops(agent)
        self.assertEqual({"heap": 1, "goroutine": 1}, dict(self.app.seen))
        self.expect_account(agent, taken=2, stored=2, lost=0)

    def test_last_profiles_cut_the_one_under_way_and_take_only_what_is_set(self):
        self.app.answers["profile"] = lambda exchange: exchange.wait_for_peer(60)
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true", PROFEFE_AGENT_TYPES="cpu:1h=60s,heap,block")
        wait_until(lambda: self.app.seen["profile"], ARRIVE_SECONDS, agent.log_tail)
        self.wait_for_another_second()
        started = time.monotonic()
        self.stops(agent)
        self.assertLess(time.monotonic() - started, 4)
        self.assertEqual({"profile": 1, "heap": 2}, dict(self.app.seen))
        self.expect_account(agent, stored=2, cut=1, lost=0)

    def test_app_that_is_gone_costs_no_time(self):
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true")
        self.wait_for_stored(agent, 2)
        self.wait_for_another_second()
        self.app.close()
        started = time.monotonic()
        self.stops(agent)
        self.assertLess(time.monotonic() - started, 4)
        self.expect_account(agent, taken=2, stored=2, lost=0)

    def test_app_that_hangs_leaves_time_to_send(self):
        """Two targets with two types each that answer nothing: their time ends, and what waited is sent within the
        deadline."""
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true",
                                PROFEFE_AGENT_TARGETS=f"a={self.app.url('a')},b={self.app.url('b')}")
        self.wait_for_stored(agent, 4)
        self.wait_for_another_second()
        for name in ("a/heap", "a/goroutine", "b/heap"):
            self.app.answers[name] = lambda exchange: exchange.wait_for_peer(60)
        self.stops(agent, 8)
        self.expect_account(agent, dropped=0, waiting=0, lost=0)

    def test_everything_together_ends_at_the_deadline(self):
        self.collector.answer_post = lambda collector, exchange, post: exchange.wait_for_peer(60)
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true", PROFEFE_AGENT_STOP_DEADLINE="2s")
        self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") == 2, "taken")
        self.wait_for_another_second()
        self.app.answers["heap"] = self.app.answers["goroutine"] = lambda exchange: exchange.wait_for_peer(60)
        started = time.monotonic()
        self.stops(agent)
        self.assertGreater(time.monotonic() - started, 1.5)
        self.expect_account(agent, taken=2, stored=0, waiting=2, lost=2)

    def test_no_last_profile_of_a_second_that_has_one(self):
        """Readers would take the two for one that was sent twice."""
        agent = self.start_slow(PROFEFE_AGENT_STOP_PROFILES="true", PROFEFE_AGENT_TYPES="heap:1s,goroutine:1s",
                                PROFEFE_AGENT_INTERVAL="1s")
        self.wait_for_stored(agent, 6)
        self.stops(agent)
        seconds = [(name, ms // 1000) for name, ms in self.asked]
        self.assertEqual(len(seconds), len(set(seconds)), seconds)

    def test_second_sigterm_leaves_at_once(self):
        self.collector.answer_post = lambda collector, exchange, post: exchange.wait_for_peer(60)
        agent = self.start_slow(PROFEFE_AGENT_STOP_DEADLINE="60s")
        self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") == 2, "taken")
        os.kill(agent.pid, signal.SIGTERM)
        agent.wait_for_log("msg=stopping", ARRIVE_SECONDS)
        agent.must_live()
        self.stops(agent, 5)
        self.assertIn("leaving at once", agent.log())
        self.expect_account(agent, taken=2, stored=0, lost=2)

    def test_what_waits_on_disk_is_not_lost(self):
        self.collector.answer_post = status(503)
        spool = self.path("spool")
        agent = self.start_slow(PROFEFE_AGENT_SPOOL_DIR=spool, PROFEFE_AGENT_STOP_DEADLINE="500ms")
        self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") == 2, "taken")
        self.stops(agent)
        self.expect_account(agent, taken=2, stored=0, waiting=2, lost=0)

    def test_drops_are_counted_by_reason_to_the_end(self):
        self.collector.answer_post = lambda collector, exchange, post: collector.say(exchange, 400,
                                                                                     error="no profile of mine")
        agent = self.start_slow()
        self.wait_for_metrics(agent, lambda metrics: metrics.sum("dropped_profiles_total", reason="refused") == 2,
                              "dropped")
        self.stops(agent)
        self.expect_account(agent, taken=2, stored=0, dropped=2, refused=2, waiting=0)


class Types(EngineCase):
    def test_every_type_goes_under_its_own_name(self):
        self.app.answers["trace"] = lambda exchange: exchange.reply(200, TRACE)
        self.collector.answer_post = lambda collector, exchange, post: collector.accept(exchange, post)
        done = self.run_binary(AGENT, "--once", "--target", self.app.url(), "--service", "web", "--output-dir",
                               self.path("out"), "--types", "cpu=1,heap,allocs,trace=0.25,other/wall/x=2,other/ü",
                               "--listen", "none", env=IDENTITY)
        self.assertEqual(0, done.code, done)
        self.assertEqual({"profile": {"seconds": ["1"]}, "heap": {}, "allocs": {}, "trace": {"seconds": ["0.25"]},
                          "wall/x": {"seconds": ["2"]}, "%C3%BC": {}}, dict(self.app.requests))
        files = sorted(os.path.relpath(os.path.join(folder, name), self.path("out"))
                       for folder, _, names in os.walk(self.path("out")) for name in names)
        self.assertEqual(6, len(files), files)
        (trace,) = (name for name in files if name.endswith(".trace"))
        with open(os.path.join(self.path("out"), trace), "rb") as file:
            self.assertEqual(TRACE, file.read())

    def test_page_in_place_of_a_trace_is_named(self):
        self.app.answers["trace"] = lambda exchange: exchange.reply(200, b"<html>sign in</html>")
        done = self.run_binary(AGENT, "--once", "--target", self.app.url(), "--service", "web", "--output-dir",
                               self.path("out"), "--types", "heap,trace", "--listen", "none")
        self.assertEqual(1, done.code, done)
        self.assertRegex(done.out, r"(?m)^text +trace .*sign in")
        self.assertRegex(done.out, r"(?m)^stored +heap ")

    def test_smallest_share_still_takes_the_start_up_pair(self):
        agent = self.start_slow(PROFEFE_AGENT_SAMPLING="0.01%",
                                PROFEFE_AGENT_TYPES="cpu:2s=1s,heap:1s,goroutine:1s,block:1s",
                                PROFEFE_AGENT_INTERVAL="1s")
        self.wait_for_stored(agent, 3)
        time.sleep(3)
        self.assertEqual({"profile": 1, "heap": 1, "goroutine": 1}, dict(self.app.seen))
        self.stops(agent)


class Once(EngineCase):
    def once(self, *args, seconds=30):
        return self.run_binary(AGENT, "--once", "--target", self.app.url(), "--service", "web", "--collector",
                               self.collector.address, "--listen", "none", *args, seconds=seconds)

    def test_profiles_that_had_no_room_are_told_before_the_timeout(self):
        """Each takes most of the smallest spool: while the first is being sent, the next push it out."""
        self.app.size = lambda count: SPOOL_MIN * 2 // 3
        sent = []

        def slow(collector, exchange, post):
            sent.append(post)
            time.sleep(1)
            collector.accept(exchange, post)

        self.collector.answer_post = slow
        started = time.monotonic()
        done = self.once("--types", "heap,goroutine,threadcreate,allocs", "--spool-bytes", str(SPOOL_MIN), "--timeout",
                         "25s")
        self.assertEqual(1, done.code, done)
        self.assertLess(time.monotonic() - started, 20, done)
        told = re.findall(r"(?m)^(stored|dropped) +(\w+) .*$", done.out)
        self.assertEqual(4, len(told), done)
        for line in re.findall(r"(?m)^dropped .*$", done.out):
            self.assertIn("evicted from the spool", line)
        self.assertIn("dropped", done.out, done)
        stored = {kind for what, kind in told if what == "stored"}
        self.assertEqual(len(self.collector.unique()), len(stored), done)


class Telling(EngineCase):
    def json(self, accept):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request("GET", "/status", headers={"Accept": accept} if accept else {})
            reply = connection.getresponse()
            return reply.getheader("Content-Type"), reply.read().decode()
        finally:
            connection.close()

    def test_status_as_json_for_those_who_ask(self):
        self.app.answers["goroutine"] = lambda exchange: exchange.reply(500, b"an \xff \x1b \"error\"")
        agent = self.start_slow(PROFEFE_AGENT_LABELS="team=a")
        self.wait_for_stored(agent, 1)
        wait_until(lambda: self.app.seen["goroutine"], ARRIVE_SECONDS, agent.log_tail)
        for accept in (None, "*/*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/plain"):
            self.assertTrue(self.json(accept)[0].startswith("text/plain"), accept)
        for accept in ("application/json", "text/html, Application/JSON ; q=0.9"):
            kind, text = self.json(accept)
            self.assertEqual("application/json", kind)
            told = json.loads(text)
        self.assertEqual(("web", "a", self.collector.address),
                         (told["service"], told["labels"]["team"], told["collector"]))
        (target,) = told["targets"]
        self.assertEqual(self.app.url(), target["url"])
        heap, goroutine = target["types"]
        self.assertEqual(("heap", "ok", None, {"ok": 1}),
                         (heap["type"], heap["last_result"], heap["last_error"], heap["results"]))
        self.assertRegex(heap["last_success"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertGreater(heap["next_seconds"], 0)
        self.assertEqual(("goroutine", "status", None),
                         (goroutine["type"], goroutine["last_result"], goroutine["last_success"]))
        self.assertIn("error", goroutine["last_error"])
        self.assertEqual((1, 1), (told["spool"]["taken"], told["push"]["results"]["stored"]))
        self.stops(agent)

    def test_account_holds_on_every_page_of_metrics(self):
        """taken = stored + dropped + waiting, also while the spool overflows and the collector comes and goes."""
        self.app.size = lambda count: SPOOL_MIN // 3
        turns = iter(range(10 ** 6))

        def flapping(collector, exchange, post):
            if next(turns) % 3:
                exchange.reply(503)
            else:
                collector.accept(exchange, post)

        def balanced(seen):
            self.assertEqual(seen.sum("taken_profiles_total"),
                             seen.sum("pushes_total", result="stored") + seen.sum("pushes_total", result="found") +
                             seen.sum("dropped_profiles_total") +
                             seen.sum("spool_profiles"), seen.text)
            return seen

        self.collector.answer_post = status(503)
        agent = self.start_slow(PROFEFE_AGENT_TYPES="heap:1s,goroutine:1s,threadcreate:1s,allocs:1s",
                                PROFEFE_AGENT_SPOOL_BYTES=str(SPOOL_MIN), PROFEFE_AGENT_INTERVAL="1s")
        self.wait_for_metrics(agent, lambda seen: balanced(seen).sum("dropped_profiles_total", reason="spool-full") >=
                              4,
                              "an overflow")
        self.collector.answer_post = flapping
        self.wait_for_metrics(agent, lambda seen: balanced(seen).sum("pushes_total", result="stored") >= 8, "stored")
        self.stops(agent)
        self.account(agent)
