"""Bad collectors. At the end of each, every profile that was taken is stored, or counted as dropped
with a reason: after removing duplicates (same service, type, pod, target and second) stored + dropped = taken."""

import datetime
import os
import signal
import time

import fault_collector
from agent_case import ARRIVE_SECONDS, STOP_SECONDS, AgentCase
from children import free_port, wait_until
from fault_collector import FaultCollector, first, only, status, words
from fault_server import FaultApp, Trap
from profefe import Reader
from small_pprof import Maker

TYPES = "heap:1s,goroutine:1s,block:1s,mutex:1s"  # four profiles a second
# Only where the collector hangs: on a busy machine a short one finds hanging ones that only work.
IMPATIENT = {"PROFEFE_AGENT_PUSH_TIMEOUT": "2s"}
FAILURES = 4      # of a kind, before the collector is good again
SPOOL_MIN = 256 * 1024
LARGE = 40_000    # bytes: seven fill the smallest spool
EVICTED = 6
BLOCKED_TRIES = 5
RETRY_AFTER_SECONDS = 2
CLAMPED_MS = 10 * 60 * 1000
LONG_STOP_SECONDS = 25  # a stop-deadline that no machine needs for a few profiles, far below that clamped wait
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


class Run:
    """An app, an agent and a collector; what happens to the collector is the scenario."""

    def __init__(self, case, scenario):
        self.case = case
        self.scenario = scenario
        self.app = case.serve(FaultApp(Maker()))
        self.app.size = lambda _count: scenario.size
        self.port = free_port()
        self.collector = None
        if not scenario.absent:
            self.start_collector()
        settings = case.settings(self.app.url(), f"http://127.0.0.1:{self.port}", PROFEFE_AGENT_TYPES=TYPES,
                                 **scenario.env)
        self.agent = case.start_agent(settings, name=f"agent-{scenario.name}")
        case.wait_for_port(self.agent)

    def start_collector(self):
        self.collector = self.case.serve(FaultCollector(self.port))
        self.collector.answer_post = self.scenario.answer
        self.collector.before_body = self.scenario.before_body

    def heal(self):
        if self.collector is None:
            self.scenario.answer = None
            self.start_collector()
        if self.scenario.heals:
            self.collector.answer_post = self.collector.before_body = None

    def drain(self):
        return self.case.drain(self.agent, self.app)

    def check_sum(self, seen):
        taken, dropped = seen.sum("taken_profiles_total"), seen.sum("dropped_profiles_total")
        unique = len(self.collector.unique())
        self.case.assertEqual(taken, unique + dropped,
                              f"taken, and {unique} stored + {dropped} dropped:\n{seen.text}\n{self.agent.log_tail()}")
        self.case.assertEqual(len(self.app.given), taken, "profiles that the app gave")
        self.case.assertEqual([], self.collector.broken)


class Scenario:
    """name; answer: to each POST until it is healed (None = as it should be); met: function of (run, metrics), whether
    the fault has shown itself; results: pushes_total that must have occurred; dropped: exactly these reasons, and how
    many of each (None = some); after: more checks, function of (run, metrics)."""

    def __init__(self, name, answer=None, *, results=(), dropped=None, heals=True, absent=False, size=0, env=None,
                 before_body=None, met=None, after=None):
        self.name = name
        self.answer = answer
        self.results = results
        self.dropped = dropped or {}
        self.heals = heals
        self.absent = absent
        self.size = size
        self.env = env or {}
        self.before_body = before_body
        self.after = after or (lambda run, seen: None)
        self.met = met or (lambda run, seen: all(seen.sum("pushes_total", result=result) for result in results))


def failed_often(result):
    return lambda run, seen: seen.sum("pushes_total", result=result) >= FAILURES


def dropped_some(reason, count=1):
    return lambda run, seen: seen.sum("dropped_profiles_total", reason=reason) >= count


def wrong(name, answer):
    """The collector is wrong: everything is kept, and it is said."""
    def met(run, seen):
        code, text = run.case.get("/healthz", run.agent)
        return failed_often("wrong-collector")(run, seen) and code == 500 and "collector" in text
    return Scenario(name, answer, results=["wrong-collector"], met=met)


def one_of(answer):
    """That answer for the third profile that comes, as often as it comes; the others are stored."""
    chosen = []

    def is_chosen(post):
        if post.serial not in chosen and len(chosen) < 3:
            chosen.append(post.serial)
        return post.serial == chosen[-1] and len(chosen) == 3
    return only(is_chosen, answer)


def too_large_at_once(_collector, exchange):
    """As a proxy does: answers before it has read the body."""
    exchange.reply(413, HTML)
    exchange.wait_for_peer(0.5)
    return True


def asked_the_list(run, _seen):
    run.case.assertGreater(len(run.collector.lists), 0, "after an unsure failure the list is asked")


def evicted_oldest(run, _seen):
    """What is missing was taken before all that arrived after the outage."""
    stored = run.collector.serials()
    missing = sorted({serial for serial, _ in run.app.given} - set(stored))
    run.case.assertEqual(sorted(stored), stored, "the order of what arrived")
    run.case.assertLess(missing[-1], stored[0])


def tried(count):
    def check(run, _seen):
        missing = {serial for serial, _ in run.app.given} - set(run.collector.serials())
        tries = [run.collector.tries[serial] for serial in missing]
        run.case.assertTrue(all(one >= count for one in tries) and (count > 1 or tries == [1]), f"tries: {tries}")
    return check


def said_once(text):
    def check(run, _seen):
        run.case.assertEqual(1, run.agent.log().count(text), run.agent.log_tail())
    return check


def both(*checks):
    return lambda run, seen: [check(run, seen) for check in checks]


# One of each way to fail that only two processes show. Which status and which words mean what, what an unsure end leads
# to and whose fault a failure is: test_push.c and test_profefe.c.
SCENARIOS = [
    Scenario("down-longer-than-the-spool-holds", results=["network"], absent=True, size=LARGE,
             env={"PROFEFE_AGENT_SPOOL_BYTES": str(SPOOL_MIN)}, met=dropped_some("spool-full", EVICTED),
             dropped={"spool-full": None}, after=evicted_oldest),
    Scenario("resets-after-the-body", fault_collector.reset, results=["unsure"], met=failed_often("unsure"),
             after=asked_the_list),
    Scenario("hangs", fault_collector.hang, results=["unsure"], env=IMPATIENT, met=failed_often("unsure"),
             after=asked_the_list),
    # As patient as a slow machine needs: without the list's answer in time the profile would be sent once more.
    Scenario("stores-and-times-out", first(2, fault_collector.store_and_hang), results=["unsure", "found"],
             env={"PROFEFE_AGENT_PUSH_TIMEOUT": "6s"}, after=asked_the_list),
    Scenario("hangs-for-ever-for-one", one_of(fault_collector.hang), heals=False, results=["unsure"], env=IMPATIENT,
             dropped={"blocked": 1}, met=dropped_some("blocked"), after=tried(BLOCKED_TRIES)),
    Scenario("400-for-one", one_of(words(400, "malformed profile (a bad day)")), heals=False, results=["refused"],
             dropped={"refused": 1}, met=dropped_some("refused"), after=both(tried(1), said_once("(a bad day)"))),
    Scenario("413-before-the-body", before_body=too_large_at_once, size=400_000, results=["too-large"],
             dropped={"too-large": None}, met=dropped_some("too-large", FAILURES)),
    wrong("200-html", status(200, HTML)),
]


class CollectorCase(AgentCase):
    def serve(self, server):
        self.addCleanup(server.close)
        self.addCleanup(lambda: self.assertEqual([], server.wrong))
        return server

    def wait_for_run(self, run, condition, what):
        return self.wait_for_metrics(run.agent, lambda seen: condition(run, seen), f"{run.scenario.name}: {what}")

    def until_met(self, run):
        """The fault has shown itself; then the collector is good again."""
        self.wait_for_run(run, run.scenario.met, "met")
        run.heal()
        run.before = len(run.collector.serials())

    def until_it_goes_on(self, run):
        """What was kept and what is new arrives; then the app gives no more."""
        wait_until(lambda: len(run.collector.serials()) >= run.before + FAILURES, ARRIVE_SECONDS,
                   lambda: f"{run.scenario.name}: nothing arrives:\n{run.agent.log_tail()}")
        run.app.open = False

    def check_end(self, run):
        seen = run.drain()
        run.check_sum(seen)
        results = seen.by("pushes_total", "result")
        self.assertLessEqual({"stored", *run.scenario.results}, set(results), results)
        dropped = seen.by("dropped_profiles_total", "reason")
        self.assertEqual(set(run.scenario.dropped), set(dropped), seen.text)
        for reason, count in run.scenario.dropped.items():
            self.assertIn(count, (None, dropped[reason]))
        self.assertEqual([], run.collector.duplicates())
        run.scenario.after(run, seen)
        self.stops(run.agent)


class BadCollectors(CollectorCase):
    """All of them at once, each with an app and an agent of its own."""

    def test_each_is_outlived_and_every_profile_accounted_for(self):
        trap = self.serve(Trap())
        redirect = wrong("redirect", status(302, b"", [f"Location: {trap.address}/api/0/profiles"]))
        runs = [Run(self, scenario) for scenario in [*SCENARIOS, redirect]]
        for part in (self.until_met, self.until_it_goes_on, self.check_end):
            for run in list(runs):
                with self.subTest(collector=run.scenario.name):
                    try:
                        part(run)
                    except BaseException:
                        runs.remove(run)
                        raise
        self.assertEqual(0, trap.connections, "a redirect was followed")


class RetryAfter(CollectorCase):
    """Answers 429 with Retry-After once. What the header may say: test_retry.c."""

    def begin(self, name, value, **env):
        """Returns the run and the times of all tries, as they come."""
        tries = []

        def answer(collector, exchange, post):
            tries.append(time.monotonic())
            if len(tries) == 1:
                collector.say(exchange, 429, [f"Retry-After: {value}"], error="slowly")
            else:
                collector.accept(exchange, post)

        run = Run(self, Scenario(name, answer, env=env))
        wait_until(lambda: tries, ARRIVE_SECONDS, lambda: f"no profile comes:\n{run.agent.log_tail()}")
        return run, tries

    def test_it_is_kept_to(self):
        run, tries = self.begin("seconds", RETRY_AFTER_SECONDS)
        wait_until(lambda: len(tries) > 1, ARRIVE_SECONDS, lambda: f"no second try:\n{run.agent.log_tail()}")
        self.assertGreaterEqual(tries[1] - tries[0], RETRY_AFTER_SECONDS - 0.1)
        run.check_sum(run.drain())
        self.stops(run.agent)

    def test_century_is_clamped_and_sigterm_does_not_wait_for_it(self):
        run, _ = self.begin("century", 3153600000, PROFEFE_AGENT_STOP_DEADLINE=f"{LONG_STOP_SECONDS}s")
        said = run.agent.wait_for_log(r"retry_ms=(\d+)", ARRIVE_SECONDS)
        self.assertEqual(CLAMPED_MS, int(said[1]))
        self.wait_for_metrics(run.agent, lambda seen: seen.sum("spool_profiles") >= FAILURES, "waiting")
        self.stops(run.agent, LONG_STOP_SECONDS + STOP_SECONDS)
        ended = self.account(run.agent)
        self.assertEqual(ended["taken"], len(run.collector.unique()))
        # On its way to the agent when the signal came.
        self.assertLessEqual(len(run.app.given) - ended["taken"], ended["cut"])


class Names(CollectorCase):
    """A collector whose name does not resolve at first. /etc/hosts is the agent's own, in a mount namespace."""

    def test_name_that_resolves_later(self):
        if os.geteuid() != 0:
            self.skipTest("needs root: a mount namespace with its own /etc/hosts")
        hosts = self.write("hosts", "127.0.0.1 localhost\n")
        resolv = self.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        wrap = ["unshare", "--mount", "sh", "-c",
                'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && '
                'shift && exec "$@"', hosts, resolv]
        app, collector = self.serve(FaultApp(Maker())), self.serve(FaultCollector())
        settings = self.settings(app.url(), f"http://profefe.test:{collector.port}", PROFEFE_AGENT_TYPES=TYPES)
        agent = self.start_agent(settings, wrap=wrap)
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, "collector", "profefe.test")
        self.assertEqual([], collector.serials())
        with open(hosts, "a", encoding="ascii") as file:
            file.write("127.0.0.1 profefe.test\n")
        wait_until(lambda: len(collector.serials()) >= FAILURES, ARRIVE_SECONDS, lambda: agent.log_tail())
        seen = self.drain(agent, app)
        self.assertEqual(seen.sum("taken_profiles_total"), len(collector.unique()))
        self.assertEqual(0, seen.sum("dropped_profiles_total"))
        self.stops(agent)


class RealProfefe(CollectorCase):
    """The real one, killed and started again under way, and frozen."""

    KILLS = 3

    def listed(self, profefe, maker):
        since = datetime.datetime.fromtimestamp(maker.first_second - 1, datetime.timezone.utc)
        found = Reader.profiles(profefe, "web", since)
        return {(p["type"], p["labels"].get("pod"), p["created_at"]) for p in found}

    def check_all_arrived(self, agent, app, profefe, maker):
        seen = self.drain(agent, app)
        taken = seen.sum("taken_profiles_total")
        self.assertEqual(taken, len(app.given))
        self.assertEqual(taken, len(self.listed(profefe, maker)), seen.text)
        self.assertEqual(0, seen.sum("dropped_profiles_total"), seen.text)
        self.stops(agent)

    def test_frozen_it_stores_what_the_agent_has_given_up_on(self):
        """What it read from its sockets once it goes on counts once, however often it was sent."""
        maker = Maker()
        app = self.serve(FaultApp(maker))
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(app.url(), profefe.url, PROFEFE_AGENT_TYPES=TYPES, **IMPATIENT))
        self.wait_for_port(agent)
        self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="stored") >= FAILURES, "stored")
        os.kill(profefe.child.pid, signal.SIGSTOP)
        try:
            self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="unsure") >= 1, "unsure")
        finally:
            os.kill(profefe.child.pid, signal.SIGCONT)
        self.check_all_arrived(agent, app, profefe, maker)

    def test_killed_and_started_again(self):
        maker = Maker()
        app = self.serve(FaultApp(maker))
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(app.url(), profefe.url, PROFEFE_AGENT_TYPES=TYPES))
        self.wait_for_port(agent)
        for _ in range(self.KILLS):
            stored = self.metrics(agent).sum("pushes_total", result="stored")
            self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="stored") > stored + FAILURES,
                                  "stored")
            os.kill(profefe.child.pid, signal.SIGKILL)
            failed = self.metrics(agent).sum("pushes_total", result="network")
            self.wait_for_metrics(agent, lambda seen: seen.sum("pushes_total", result="network") > failed + 1,
                                  "noticed")
            profefe.child.remove()
            profefe.start()
        self.check_all_arrived(agent, app, profefe, maker)
