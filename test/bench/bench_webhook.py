"""profefe-webhook beside the same webhook in Go (test/bench/webhookpeer): CPU a review, latency, saturation, memory.

Both serve TLS with one certificate, log a line a review to /dev/null and run at once; only one of them has load at a
time.
"""

import base64
import difflib
import json
import os
import ssl
import time
import urllib.request

import bodies
import processes
from children import Child, Failure, free_port
from h2load import check_installed, latencies_us, load
from held import Held
from measure import FLOOR, OURS, PEER, Report, in_turn, percentile
from webhook import Webhook

COLLECTOR = "http://profefe.profefe-system.svc.cluster.local.:10100"
AGENT = "profefe-agent"
USUAL = bodies.name_of(3, "injected")
BUSY = [bodies.name_of(size_kb, "injected") for size_kb in (1, 3, 17)]
START_SECONDS = 15
SETTLE_SECONDS = 0.05   # after a run, for what the server still has to do about its end
CLIENTS = 2             # an API server keeps one connection or a few
SATURATING_CLIENTS = 16
IDLE_CONNECTIONS = 100
HELD_SECONDS = 600      # deadline of the million reviews beside them
RATES = (100, 1000)
RATE_CLIENTS = {100: 2, 1000: 4}

# Enough CPU time for a steady figure, by size in KB.
KEPT_REVIEWS = {1: 8000, 3: 6000, 17: 2000, 64: 800}
NEW_REVIEWS = 400


class Effort:
    """How much of it all: the quick form shows that every row can be made, and little more."""

    def __init__(self, quick):
        self.rounds = 1 if quick else 5
        self.share = 0.15 if quick else 1
        self.rate_seconds = 2 if quick else 10
        self.rate_rounds = 1 if quick else 5
        self.saturated = 2000 if quick else 20_000
        self.held = 3000 if quick else 1_000_000

    def reviews(self, number):
        return max(50, int(number * self.share))


class Ours:
    name = OURS

    def __init__(self, build, folder):
        # Each review is a line of log; nobody reads a million of them.
        os.symlink(os.devnull, os.path.join(folder, "webhook.log"))
        self.webhook = Webhook(os.path.join(build, "webhook", "profefe-webhook"), folder, COLLECTOR).start()
        self.child, self.port = self.webhook.child, self.webhook.port


class Peer:
    name = PEER

    def __init__(self, binary, folder):
        self.port = free_port()
        pair = [os.path.join(folder, name) for name in ("tls.crt", "tls.key")]
        self.child = Child("webhookpeer", [binary, "-listen", f"127.0.0.1:{self.port}", "-cert", pair[0], "-key",
                                           pair[1],
                                           "-image", "localhost/profefe-agent:dev", "-collector", COLLECTOR],
                           os.devnull)
        self.child.wait_for_port(self.port, START_SECONDS)


def url(side):
    return f"https://127.0.0.1:{side.port}/mutate"


def nothing(side):
    """Where the same request over the same TLS meets a 404: what the machine and the load generator take for
    themselves."""
    return f"https://127.0.0.1:{side.port}/nothing"


# ---- equal answers first

def _ask(side, path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with open(path, "rb") as file:
        request = urllib.request.Request(url(side), file.read(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=context, timeout=START_SECONDS) as reply:
        return json.load(reply)["response"]


def _essence(response):
    """What two equal answers agree in: everything but the sidecar's resources and the version in the status."""
    patch = json.loads(base64.b64decode(response.get("patch", "W10=")))
    for operation in patch:
        value = operation["value"]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                item.pop("resources", None)
                if "env" in item:
                    item["env"] = sorted(item["env"], key=lambda variable: variable["name"])
        if operation["path"].endswith("~1status"):
            operation["value"] = value.split()[0]
    return {"uid": response["uid"], "allowed": response["allowed"], "patch": sorted(patch, key=lambda o: o["path"])}


def check_answers(sides, paths):
    """Failure unless both answer each body alike, with the sidecar where it is due."""
    for name, path in paths.items():
        answers = {side.name: _essence(_ask(side, path)) for side in sides}
        if answers[OURS] != answers[PEER]:
            lines = [json.dumps(answers[side], indent=1, sort_keys=True).splitlines() for side in (OURS, PEER)]
            raise Failure(f"the answers to {name} differ:\n" + "\n".join(difflib.unified_diff(*lines, OURS, PEER, n=2)))
        injected = AGENT in json.dumps(answers[OURS]["patch"])
        if injected != name.endswith("injected"):
            raise Failure(f"{name}: expected {name}, got the patch {answers[OURS]['patch']}")


# ---- the rows

def cpu_us(side, path, reviews, new_connections=False, clients=CLIENTS):
    """CPU time of the server for one review, in microseconds."""
    before = processes.cpu_ns(side.child.pid)
    load(url(side), path, clients, requests=reviews, new_connections=new_connections).must_be(2)
    time.sleep(SETTLE_SECONDS)
    return (processes.cpu_ns(side.child.pid) - before) / 1000 / reviews


def cpu_rows(report, sides, paths, effort):
    for new_connections in (False, True):
        for name, path in paths.items():
            number = NEW_REVIEWS if new_connections else KEPT_REVIEWS[int(name.split("k-", maxsplit=1)[0])]
            reviews = effort.reviews(number)
            values = in_turn(effort.rounds, sides, lambda side: cpu_us(side, path, reviews, new_connections))
            report.add(cpu_row(name, new_connections), "µs CPU", values)


def busy_rows(report, sides, paths, effort):
    """The same with more clients than the server has time for: it does not go to sleep between two reviews."""
    for name in BUSY:
        reviews = effort.reviews(2 * KEPT_REVIEWS[int(name.split("k-", maxsplit=1)[0])])
        values = in_turn(effort.rounds, sides,
                         lambda side: cpu_us(side, paths[name], reviews, clients=SATURATING_CLIENTS))
        report.add(busy_row(name), "µs CPU", values)


def busy_row(name):
    return f"{cpu_row(name, False)}, saturated"


def cpu_row(name, new_connections):
    size, decision = name.split("-")
    return f"review {size.removesuffix('k')} KB, {decision}, {'new connection' if new_connections else 'TLS kept'}"


def rate_rows(report, sides, path, effort, folder):
    log = os.path.join(folder, "h2load.log")

    def latencies(address, a_second, status_class=2):
        if os.path.exists(log):
            os.unlink(log)
        result = load(address, path, RATE_CLIENTS[a_second], a_second=a_second, seconds=effort.rate_seconds, log=log)
        result.must_be(status_class)
        times = latencies_us(log)
        return percentile(times, 50), percentile(times, 99), result.rate

    for a_second in RATES:
        values = in_turn(effort.rate_rounds, sides, lambda side: latencies(url(side), a_second))
        values[FLOOR] = [latencies(nothing(sides[0]), a_second, 4) for _ in range(effort.rate_rounds)]
        reached = min(rate for rounds in values.values() for _, _, rate in rounds)
        note = "" if reached > 0.95 * a_second else f"only {reached:.0f} a second reached"
        for index, share in ((0, 50), (1, 99)):
            report.add(rate_row(share, a_second), "µs wall",
                       {name: [rounds[index] for rounds in of_side] for name, of_side in values.items()}, note=note)


def rate_row(share, a_second):
    return f"p{share} at {a_second:,} a second, 3 KB"


SATURATION = f"reviews a second at saturation, {SATURATING_CLIENTS} clients"
MEMORY = {
    "RSS": processes.rss,
    "RSS, peak": processes.rss_peak,
    "RSS, of it anonymous": processes.anonymous,
    "PSS": processes.pss,
}


def saturation_row(report, sides, path, effort):
    values = in_turn(effort.rounds, sides, lambda side: load(
        url(side), path, SATURATING_CLIENTS, requests=effort.saturated).must_be(2).rate)
    report.add(SATURATION, "1/s", values, more_is_better=True)


def memory_row(name):
    return f"{name}, {IDLE_CONNECTIONS} idle connections"


GROWTH = "RSS, growth in the last 90 %"


def memory_rows(report, sides, path, effort):
    taken = {name: {} for name in (*MEMORY, GROWTH)}
    for side in sides:
        held = Held(side.port, idle=IDLE_CONNECTIONS, slow=0)
        try:
            load(url(side), path, CLIENTS, seconds=HELD_SECONDS, requests=effort.held // 10).must_be(2)
            early = processes.rss(side.child.pid)
            load(url(side), path, CLIENTS, seconds=HELD_SECONDS, requests=effort.held - effort.held // 10).must_be(2)
            for name, read in MEMORY.items():
                taken[name][side.name] = [read(side.child.pid) / 1e6]
            taken[GROWTH][side.name] = [(processes.rss(side.child.pid) - early) / 1e6]
            if held.count() != IDLE_CONNECTIONS:
                raise Failure(f"{side.name}: expected {IDLE_CONNECTIONS} connections, got {held.count()}")
        finally:
            held.close()
    for name, values in taken.items():
        report.add(memory_row(name), "MB", values, may_be_zero=name == GROWTH,
                   note=f"after {effort.held:,} more reviews")


def expected_rows():
    names = [bodies.name_of(size_kb, decision) for size_kb in bodies.SIZES_KB for decision in bodies.DECISIONS]
    return [cpu_row(name, new_connections) for new_connections in (False, True) for name in names] + \
        [busy_row(name) for name in BUSY] + [rate_row(share, a_second) for a_second in RATES for share in (50, 99)] + \
        [SATURATION] + [memory_row(name) for name in (*MEMORY, GROWTH)]


def run_part(build, tools, folder, quick):
    """The report; Failure when a row could not be made."""
    check_installed()
    effort = Effort(quick)
    paths = bodies.write_all(folder)
    sides = []
    try:
        sides.append(Ours(build, folder))
        sides.append(Peer(os.path.join(tools, "webhookpeer"), folder))
        check_answers(sides, paths)
        report = Report("webhook", "profefe-webhook", "the same in Go with k8s.io/api and net/http")
        cpu_rows(report, sides, paths, effort)
        busy_rows(report, sides, paths, effort)
        rate_rows(report, sides, paths[USUAL], effort, folder)
        saturation_row(report, sides, paths[USUAL], effort)
        memory_rows(report, sides, paths[USUAL], effort)
    finally:
        for side in sides:
            side.child.remove()
    missing = report.missing(expected_rows())
    if missing:
        raise Failure(f"no figure for: {'; '.join(missing)}")
    return report
