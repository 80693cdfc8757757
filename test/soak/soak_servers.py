"""The app and the collector of the soak: the fault servers with what goes wrong at the moment, and with their own
books."""

import collections
import datetime
import itertools
import re

from fault_collector import FaultCollector
from fault_server import FaultApp
from small_pprof import Broken, Maker, noise

PAST_SECONDS = 20 * 3600  # less than a day, or the agent takes its own time for the profile's
TRACE_HEAD = b"go 1.22 trace\0\0\0"
TRACE = re.compile(re.escape(TRACE_HEAD) + rb"(t\d+)/[\w+/]{200}")
# Of a profile, in hundredths: mostly small ones, as in an idle app.
SIZES = [(70, 0), (20, 30_000), (10, 80_000)]


class LongMaker(Maker):
    """Profiles with a second of their own for hours of soaking; Maker's start too late for that."""

    def __init__(self):
        super().__init__()
        self.first_second -= PAST_SECONDS - 6 * 3600
        self.traces = itertools.count()

    def take_trace(self):
        serial = f"t{next(self.traces):06d}"
        return serial, TRACE_HEAD + serial.encode() + b"/" + noise(200)


class SoakApp(FaultApp):
    """One target of all agents: each asks below a prefix of its own, its name."""

    def __init__(self, maker, chance):
        self.fault = None
        self.kept_waiting = collections.Counter()  # by agent: answers that are too late on purpose
        super().__init__(maker)
        weights, sizes = zip(*SIZES)
        self.size = lambda _count: chance.choices(sizes, weights)[0]

    def give_profile(self, exchange, name):
        agent, _, kind = name.partition("/")
        fault = self.fault
        if fault and fault.answer and (not fault.only or kind in fault.only):
            self._go_wrong(exchange, agent, fault)
            return
        if kind in ("profile", "trace"):
            self.closing.wait(float(exchange.request.query["seconds"][0]))
        if kind == "trace":
            self._give_trace(exchange, name)
        else:
            super().give_profile(exchange, name)

    def _go_wrong(self, exchange, agent, fault):
        if fault.result in ("timeout", "slow"):
            with self.lock:
                self.kept_waiting[agent] += 1
        fault.answer(exchange)

    def _give_trace(self, exchange, name):
        with self.lock:
            serial, body = self.maker.take_trace()
        exchange.reply(200, body, ["Content-Type: application/octet-stream"])
        with self.lock:
            self.given.append((serial, name))


class SoakCollector(FaultCollector):
    def __init__(self):
        self.told = set()  # serials whose storing was said in a whole reply
        self.left_unsure = collections.Counter()  # by pod: posts that were read whole and, on purpose, not answered
        super().__init__()

    @staticmethod
    def identify(query, body):
        if query["type"] != ["trace"]:
            return FaultCollector.identify(query, body)
        if not (match := TRACE.fullmatch(body)):
            raise Broken(f"no trace of ours: {body[:40]}")
        when = datetime.datetime.fromisoformat(query["created_at"][0][:19]).replace(tzinfo=datetime.timezone.utc)
        return match[1].decode(), int(when.timestamp())

    def accept(self, exchange, post):
        super().accept(exchange, post)
        with self.lock:
            self.told.add(post.serial)

    def leave_unsure(self, post):
        with self.lock:
            self.left_unsure[post.labels.get("pod")] += 1

    def unique_of(self, pod):
        """What readers find of that pod."""
        return [post for post in self.unique().values() if post.labels.get("pod") == pod]

    def untold_of(self, pod):
        """Stored, but never in so many words: the agent may have taken them for lost."""
        with self.lock:
            return {post.serial for post in self.stored if post.labels.get("pod") == pod} - self.told
