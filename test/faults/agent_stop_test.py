"""SIGTERM: what is spooled is sent, no longer than the deadline; a second one leaves at once; a plain container also
takes a last heap and goroutine."""

import time

import fault_collector
from agent_case import ARRIVE_SECONDS, AgentCase
from children import free_port, wait_until
from fault_collector import FaultCollector, words
from fault_server import FaultApp
from small_pprof import Maker

TYPES = "heap:1s,goroutine:1s,block:1s,mutex:1s"
SOME = 4
# Far from each other, so that which of them ended it can be told on a busy machine: a deadline that is waited for, and
# one that is not.
SHORT_SECONDS, SHORT = 1.0, "1s"
LONG_SECONDS, LONG = 60, "60s"
LEAVES_SECONDS = 20
LAST_ONLY = "heap:10m,goroutine:10m,block:10m,cpu:10m=1s"


class Stop(AgentCase):
    def setUp(self):
        super().setUp()
        self.app = self.serve(FaultApp(Maker()))
        self.collector = self.serve(FaultCollector())

    def serve(self, server):
        self.addCleanup(server.close)
        self.addCleanup(lambda: self.assertEqual([], server.wrong))
        return server

    def start_with(self, deadline, **more):
        url = more.pop("collector", self.collector.address)
        agent = self.start_agent(self.settings(self.app.url(), url, **{
            "PROFEFE_AGENT_TYPES": TYPES, "PROFEFE_AGENT_STOP_DEADLINE": deadline, **more}))
        self.wait_for_port(agent)
        return agent

    def waits(self, agent):
        return self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") >= SOME, f"{SOME} waiting")

    def ends(self, agent):
        """Seconds from SIGTERM to exit code 0."""
        started = time.monotonic()
        self.assertEqual(0, agent.stop(LEAVES_SECONDS), agent.log_tail())
        return time.monotonic() - started

    def test_what_is_spooled_is_sent_without_waiting_for_the_backoff(self):
        self.collector.answer_post = words(500, "down")
        agent = self.start_with(LONG, PROFEFE_AGENT_RETRY_MIN="1h", PROFEFE_AGENT_RETRY_MAX="1h")
        self.waits(agent)
        self.collector.answer_post = None
        self.ends(agent)
        given, stored = {serial for serial, _ in self.app.given}, set(self.collector.serials())
        account = self.account(agent)
        self.assertLessEqual(stored, given)
        self.assertLessEqual(len(given - stored), account["cut"])  # on its way to the agent when the signal came
        self.assertEqual(len(stored), account["taken"])

    def test_deadline_holds(self):
        """Whatever the collector does: it hangs, refuses connections, resets, or is slow to say no."""
        closed = f"http://127.0.0.1:{free_port()}"
        for name, answer, more in (("hangs", fault_collector.hang, {}), ("refuses", None, {"collector": closed}),
                                   ("resets", fault_collector.reset, {}), ("fails", words(503, "down"), {})):
            with self.subTest(collector=name):
                self.collector.answer_post = answer
                agent = self.start_with(SHORT, **more)
                self.waits(agent)
                self.assertGreaterEqual(self.ends(agent), SHORT_SECONDS - 0.1, "it tries until the deadline")
                account = self.account(agent)
                self.assertGreaterEqual(account["taken"], SOME)
                self.assertGreaterEqual(account["lost"], SOME, "what was not sent is told")

    def test_deadline_is_inside_the_grace_period(self):
        self.collector.answer_post = fault_collector.hang
        agent = self.start_with(LONG, PROFEFE_AGENT_GRACE="2")
        self.waits(agent)
        self.ends(agent)

    def test_second_sigterm_leaves_at_once(self):
        self.collector.answer_post = fault_collector.hang
        agent = self.start_with(LONG)
        self.waits(agent)
        agent.terminate()
        agent.wait_for_log("msg=stopping", LEAVES_SECONDS)
        agent.must_live()
        self.ends(agent)
        self.assertIn("leaving at once", agent.log())

    def test_running_scrape_is_cut(self):
        self.app.answers["profile"] = lambda exchange: exchange.wait_for_peer()
        agent = self.start_with(LONG, PROFEFE_AGENT_TYPES="cpu:61s=60s", PROFEFE_AGENT_FIRST_WITHIN="1s")
        wait_until(lambda: self.app.seen["profile"], ARRIVE_SECONDS, lambda: agent.log_tail())
        self.ends(agent)
        self.assertEqual(0, self.account(agent)["taken"])

    def test_nothing_is_asked_of_the_app_after_sigterm(self):
        agent = self.start_with(LONG)
        self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="stored") >= SOME, "stored")
        self.collector.answer_post = fault_collector.hang
        self.waits(agent)
        agent.terminate()
        agent.wait_for_log("msg=stopping", LEAVES_SECONDS)
        asked = self.app.seen.total()
        time.sleep(2)
        self.assertEqual(asked, self.app.seen.total())
        self.collector.answer_post = None
        self.ends(agent)

    def test_plain_container_takes_a_last_heap_and_goroutine(self):
        agent = self.start_with(LONG, PROFEFE_AGENT_TYPES=LAST_ONLY, PROFEFE_AGENT_STOP_PROFILES="true",
                                PROFEFE_AGENT_FIRST_WITHIN="1h")
        self.assertEqual([], self.app.given)
        self.ends(agent)
        self.assertEqual(["goroutine", "heap"], sorted(name for _, name in self.app.given))
        self.assertEqual(["goroutine", "heap"], sorted(post.type for post in self.collector.stored))

    def test_last_profiles_of_an_app_that_is_gone_or_hangs_hold_nothing_up(self):
        answers = {"gone": lambda exchange: exchange.reset(), "hangs": lambda exchange: exchange.wait_for_peer()}
        for name, answer in answers.items():
            with self.subTest(app=name):
                self.app.answers.update(heap=answer, goroutine=answer)
                agent = self.start_with("3s", PROFEFE_AGENT_TYPES=LAST_ONLY, PROFEFE_AGENT_STOP_PROFILES="true",
                                        PROFEFE_AGENT_FIRST_WITHIN="1h")
                self.ends(agent)

    def test_cpu_profile_under_way_gives_way_to_the_last_ones(self):
        self.app.answers["profile"] = lambda exchange: exchange.wait_for_peer()
        agent = self.start_with(LONG, PROFEFE_AGENT_TYPES="cpu:61s=60s,heap:10m,goroutine:10m",
                                PROFEFE_AGENT_STOP_PROFILES="true", PROFEFE_AGENT_FIRST_WITHIN="1s")
        wait_until(lambda: self.app.seen["profile"], ARRIVE_SECONDS, lambda: agent.log_tail())
        time.sleep(1.1)  # a type of which there is one from this very second is not taken again
        before = {kind: self.app.seen[kind] for kind in ("heap", "goroutine")}
        self.ends(agent)
        after = {kind: self.app.seen[kind] for kind in ("heap", "goroutine")}
        self.assertEqual({kind: count + 1 for kind, count in before.items()}, after)
        self.assertEqual(len(self.app.given), len(self.collector.unique()))
