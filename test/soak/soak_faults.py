"""What goes wrong in the soak, one thing at a time with the app and one with the collector: the faults, and the order
in which they come and go, which follows from the seed."""

import gzip
import itertools
import os
import sys

import fault_collector
from fault_collector import status, words
from protowire import data
from small_pprof import NANOS, noise, raw

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "faults"))
from agent_scrape_test import BEGINNING, FAULTS, redirect_to, reply, silence_after  # noqa: E402

TARGETS = ("api", "worker")
HTML = b"<!DOCTYPE html><html><body>Please sign in</body></html>"
FLAPPING_SHARE = 0.3
HUGE = BEGINNING + data(6, noise(3 << 20))  # more than the spool, less than what must be a lying length
# Beside those of agent_scrape_test.py, so that each result occurs.
MORE_FAULTS = {
    "no-answer": (silence_after(b""), "timeout"),
    "missing": (reply(404, b"404 page not found\n"), "missing"),
    "empty": (reply(200, gzip.compress(raw("empty", NANOS, samples=0))), "empty"),
    "more-than-the-spool": (reply(200, HUGE), "too-big"),
}


class AppFault:
    """answer: to every request, or to those for one of `only`; None: the app does not listen. result: what the agent
    must call it."""

    def __init__(self, name, result, answer, only=None):
        self.name = name
        self.result = result
        self.answer = answer
        self.only = only

    def begin(self, apps):
        for app in apps:
            app.fault = self
            if self.answer is None:
                app.stop_listening()

    def end(self, apps):
        for app in apps:
            app.fault = None
            if self.answer is None:
                app.listen_again()

    def is_met(self, now, before):
        return now.sum("scrapes_total", result=self.result) > before.sum("scrapes_total", result=self.result)


def app_faults(trap):
    """Result → the faults that the agent calls so."""
    busy = reply(500, b"Could not enable CPU profiling: cpu profiling already in use\n", ["X-Go-Pprof: 1"])
    faults = [AppFault("down", "refused", None), AppFault("busy", "busy", busy, only=("profile", "trace"))]
    for name, (answer, result) in {**FAULTS, **MORE_FAULTS}.items():
        faults.append(AppFault(name, result, redirect_to(trap) if name == "redirect" else answer))
    kinds = {}
    for fault in faults:
        kinds.setdefault(fault.result, []).append(fault)
    return kinds


class CollectorFault:
    """post, list_, before_body: what answers in the collector's place. results: what the agent calls it, each seen at
    least once. outage: nothing is stored and nothing dropped by it."""

    def __init__(self, name, *results, post=None, list_=None, before_body=None, outage=False):
        self.name = name
        self.results = results
        self.post = post
        self.list = list_
        self.before_body = before_body
        self.outage = outage

    def begin(self, world):
        world.collector.answer_post = self.post
        world.collector.answer_list = self.list
        world.collector.before_body = self.before_body

    def end(self, world):
        world.collector.answer_post = world.collector.answer_list = world.collector.before_body = None

    def is_met(self, now, before):
        return all(now.sum("pushes_total", result=one) > before.sum("pushes_total", result=one) for one in self.results)


class Down(CollectorFault):
    def begin(self, world):
        world.collector.stop_listening()

    def end(self, world):
        world.collector.listen_again()


class NoName(CollectorFault):
    """The name no longer resolves. An address that works is kept for minutes, so the port refuses at first; once it
    listens again, only the missing name can make a push fail."""

    LOOK_UPS = 2

    def begin(self, world):
        self.world = world
        self.failed_by_then = None  # pushes, when it listened again
        world.forget_name()
        world.collector.stop_listening()

    def end(self, world):
        world.know_name()

    def is_met(self, now, before):
        """Asked at each turn; lets it listen again on the way."""
        failed = now.sum("pushes_total", result="network")
        if self.failed_by_then is None and failed > before.sum("pushes_total", result="network"):
            self.world.collector.listen_again()
            self.failed_by_then = failed
        # The first failure after that may have begun before it.
        return self.failed_by_then is not None and failed >= self.failed_by_then + 1 + self.LOOK_UPS


def reset_in_body(_collector, exchange):
    exchange.request.read_body(exchange.stream, limit=100)
    exchange.reset()
    return True


def half_a_reply(collector, exchange, post):
    collector.store(post)
    exchange.reply(200, b'{"code":200,"bo', length=200)


def not_http(_collector, exchange, _post):
    exchange.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")


def no_list(_collector, exchange):
    exchange.reply(500, b"no list")


def counted(answer):
    """An answer that leaves the agent unsure."""
    def one(collector, exchange, post):
        collector.leave_unsure(post)
        answer(collector, exchange, post)
    return one


def flapping(chance):
    def answer(collector, exchange, post):
        if chance.random() < FLAPPING_SHARE:
            collector.say(exchange, 500, error="flapping")
        else:
            collector.accept(exchange, post)
    return answer


def collector_faults(trap, chance, with_names):
    """Kind → faults of it."""
    def wrong(name, answer):
        return CollectorFault(name, "wrong-collector", post=answer, outage=True)

    def unsure(name, answer, *more, **what):
        return CollectorFault(name, "unsure", *more, post=counted(answer), **what)

    kinds = {
        "down": [Down("down", "network", outage=True)],
        "errors": [CollectorFault("500", "later", post=words(500, "down"), outage=True),
                   CollectorFault("503-of-a-proxy", "later", post=status(503, HTML), outage=True)],
        "slow-down": [CollectorFault("429", "later", post=words(429, "slowly", ["Retry-After: 1"]), outage=True)],
        "no-access": [wrong("401", status(401, b"who are you\n")), wrong("403", words(403, "not you")),
                      wrong("404-without-json", status(404, b"404 page not found\n")),
                      wrong("redirect", status(302, b"", [f"Location: {trap.address}/sign-in"]))],
        "not-json": [wrong("200-html", status(200, HTML)), wrong("200-empty", status(200)),
                     wrong("200-json-of-another", status(200, b'{"status":"ok"}'))],
        "breaks-off": [unsure("resets-after-the-body", fault_collector.reset), unsure("closes", fault_collector.close),
                       CollectorFault("resets-in-the-body", before_body=reset_in_body),
                       CollectorFault("not-http", post=not_http)],
        "hangs": [unsure("hangs", fault_collector.hang)],
        "stores-in-silence": [unsure("stores-and-hangs", fault_collector.store_and_hang, "found"),
                              unsure("stores-and-resets", fault_collector.store_and_reset, "found"),
                              unsure("stores-and-breaks-off", half_a_reply, "found"),
                              unsure("stores-and-has-no-list", fault_collector.store_and_reset, list_=no_list)],
        "refuses": [CollectorFault("400", "refused", post=words(400, "malformed profile (a bad day)")),
                    CollectorFault("413", "too-large", post=status(413, HTML))],
        "flaps": [CollectorFault("flaps", "later", "stored", post=flapping(chance))],
    }
    if with_names:
        kinds["no-name"] = [NoName("name-does-not-resolve", "network", outage=True)]
    return kinds


class Window:
    """A fault, how long it stays at least, and how long all is well before it."""

    def __init__(self, fault, quiet, lasts, targets):
        self.fault = fault
        self.quiet = quiet
        self.lasts = lasts
        self.targets = targets

    def __str__(self):
        where = f"@{'+'.join(self.targets)}" if self.targets else ""
        return f"+{self.quiet:.1f}s {self.fault.name}{where} {self.lasts:.1f}s"


def schedule(kinds, chance, quiet, lasts, with_targets):
    """Windows without end: in each round one fault of each kind, in a new order; of each kind all have their turn."""
    members = {kind: itertools.cycle(chance.sample(faults, len(faults))) for kind, faults in sorted(kinds.items())}
    while True:
        for kind in chance.sample(sorted(kinds), len(kinds)):
            targets = chance.choice((TARGETS[:1], TARGETS[1:], TARGETS)) if with_targets else ()
            yield Window(next(members[kind]), chance.uniform(*quiet), chance.uniform(*lasts), targets)


class Stream:
    """Lets the faults of a schedule come and go. begin and end: functions of the window. A fault stays until its time
    is over and the agent has met it, so that a slow machine meets each as well."""

    def __init__(self, windows, kinds, begin, end):
        self.windows = windows
        self.kinds = kinds  # windows until each kind of fault had its turn
        self.begin = begin
        self.end = end
        self.window = next(windows)
        self.next_turn = None
        self.before = None  # the metrics when the fault began; None: all is well
        self.count = 0

    def name(self):
        return self.window.fault.name if self.before else ""

    def turn(self, now, seen, may_begin):
        """seen: the metrics now. Returns whether all is well."""
        if self.next_turn is None:
            self.next_turn = now + self.window.quiet
        if self.before and self.window.fault.is_met(seen, self.before) and now >= self.next_turn:
            self.end(self.window)
            self.before, self.window = None, next(self.windows)
            self.next_turn = now + self.window.quiet
        elif not self.before and may_begin and now >= self.next_turn:
            self.before = seen
            self.next_turn = now + self.window.lasts
            self.begin(self.window)
            self.count += 1
        return not self.before
