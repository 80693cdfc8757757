"""A collector that speaks as profefe does, and fails as it is told to. It keeps what it stores, so that every profile
can be accounted for."""

import collections
import datetime
import json
from urllib.parse import unquote_plus

from fault_server import FaultServer
from small_pprof import Broken, read

PROFILES = "/api/0/profiles"
PLAIN = "Content-Type: text/plain; charset=utf-8"  # profefe says so of its JSON

Post = collections.namedtuple("Post", "serial type labels created_at size")


def _unescape_labels(text):
    """`k=v,k2=v2`, each key and value query-escaped, as a dict."""
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {unquote_plus(key): unquote_plus(value) for key, _, value in pairs}


class FaultCollector(FaultServer):
    """answer_post: function of (collector, exchange, post) that answers; None = store and say so. It may call store(),
    refuse(), reset() and so on. answer_list: the same for GET /api/0/profiles; None = as profefe does."""

    def __init__(self, port=0):
        self.answer_post = None
        self.answer_list = None
        # A function of (collector, exchange) that may answer before the body is read: true = it did.
        self.before_body = None
        self.stored = []         # posts, in the order of their storing, duplicates included
        self.tries = collections.Counter()  # by serial
        self.broken = []         # bodies that were no whole profile: what is wrong with them
        self.lists = []          # queries for the list
        super().__init__(port)

    # ---- what the tests ask

    def serials(self):
        with self.lock:
            return [post.serial for post in self.stored]

    def unique(self):
        """After removing duplicates as readers do: by service, type, pod, target and second. All posts are of one
        service."""
        with self.lock:
            return {(p.type, p.labels.get("profile_type"), p.labels.get("pod"), p.labels.get("target"), p.created_at): p
                    for p in self.stored}

    def duplicates(self):
        with self.lock:
            return [serial for serial, count in collections.Counter(p.serial for p in self.stored).items() if count > 1]

    # ---- answers

    def store(self, post):
        with self.lock:
            self.stored.append(post)

    def accept(self, exchange, post):
        self.store(post)
        self.say(exchange, 200, body=self._entry(post))

    @staticmethod
    def say(exchange, code, headers=(), **what):
        exchange.reply(code, json.dumps({"code": code, **what}, separators=(",", ":")).encode() + b"\n",
                       [PLAIN, *headers])

    def _entry(self, post):
        return {"id": f"id{post.serial}", "type": post.type, "service": "web", "created_at": post.created_at + "Z",
                "labels": [{"key": key, "value": value} for key, value in post.labels.items()]}

    # ---- the server

    def answer(self, exchange):
        request = exchange.request
        if request.path != PROFILES:
            exchange.reply(404, b"404 page not found\n", [PLAIN])
        elif request.method == "GET":
            self.list(exchange) if self.answer_list is None else self.answer_list(self, exchange)
        elif not (self.before_body and self.before_body(self, exchange)):
            request.read_body(exchange.stream)
            if request.body is not None:
                self._take_post(exchange)

    @staticmethod
    def identify(_query, body):
        """Serial and time, in whole seconds of Unix time, of what was posted; raises Broken."""
        return read(body)

    def _take_post(self, exchange):
        query = exchange.request.query
        try:
            serial, created_at = self.identify(query, exchange.request.body)
        except Broken as error:
            with self.lock:
                self.broken.append(str(error))
            self.say(exchange, 400, error=f"malformed profile ({error})")
            return
        labels = _unescape_labels(query.get("labels", [""])[0])
        when = datetime.datetime.fromtimestamp(created_at, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
        post = Post(serial, query["type"][0], labels, when, len(exchange.request.body))
        with self.lock:
            self.tries[serial] += 1
        if self.answer_post:
            self.answer_post(self, exchange, post)
        else:
            self.accept(exchange, post)

    def list(self, exchange):
        """As profefe does: `from` and `to` are inclusive and needed, what is not found is a 404 with JSON."""
        query = {key: values[0] for key, values in exchange.request.query.items()}
        with self.lock:
            self.lists.append(query)
            found = [post for post in self.stored
                     if query.get("type") in (None, "", post.type) and
                     query.get("from", "") <= post.created_at <= query.get("to", "")]
        missing = [name for name in ("service", "from", "to") if name not in query]
        if missing:
            self.say(exchange, 400, error=f'bad request: missing "{missing[0]}"')
        elif not found or query["service"] != "web":
            self.say(exchange, 404, error="nothing found")
        else:
            limit = int(query.get("limit", len(found)))
            self.say(exchange, 200, body=[self._entry(post) for post in reversed(found[-limit:])])


# ---- ready-made answers to a POST; each is a function of (collector, exchange, post)

def status(code, body=b"", headers=()):
    """A reply that is not profefe's."""
    return lambda _collector, exchange, _post: exchange.reply(code, body, headers)


def words(code, text="no", headers=()):
    """A reply in profefe's JSON."""
    return lambda collector, exchange, _post: collector.say(exchange, code, headers, error=text)


def reset(_collector, exchange, _post):
    exchange.reset()


def close(_collector, _exchange, _post):
    """No reply at all."""


def hang(_collector, exchange, _post):
    exchange.wait_for_peer()


def store_and_hang(collector, exchange, post):
    collector.store(post)
    exchange.wait_for_peer()


def store_and_reset(collector, exchange, post):
    collector.store(post)
    exchange.reset()


def first(count, answer):
    """That answer to the first `count` tries of all, then as it should be."""
    left = [count]

    def one(collector, exchange, post):
        with collector.lock:
            left[0] -= 1
            failing = left[0] >= 0
        if failing:
            answer(collector, exchange, post)
        else:
            collector.accept(exchange, post)

    return one


def only(chosen, answer):
    """That answer to the profiles for which chosen(post) is true; the others are stored."""

    def one(collector, exchange, post):
        if chosen(post):
            answer(collector, exchange, post)
        else:
            collector.accept(exchange, post)

    return one
