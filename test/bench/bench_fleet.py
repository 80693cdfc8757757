"""A fleet of 2,000 agents at one collector: whether its requests come evenly, by the agent's own plan (fleet_plan.c),
and what one real profefe costs as the pods become more.

The peer of the plan is a ticker that each pod starts at its own start, as test/bench/agentpeer does.
"""

import collections
import datetime
import http.client
import os
import time
import urllib.parse

import processes
import profiles
from children import Failure, run
from measure import OURS, PEER, Report
from profefe import Profefe, utc
from protowire import number

PODS = 2000
STEPS = (100, 500, 2000)
SECOND = 1000
PLAN_SECONDS = 60
REPLY_SECONDS = 30
LATE_SECONDS = 2        # a sender that falls behind measures itself
SETTLE_SECONDS = 0.5
# 5 minutes after the last start: from then on all repeats each 5 minutes, the longest EVERY of the default types.
STEADY = (900 * SECOND, 1200 * SECOND)
START_UP = (0, 60 * SECOND)
PEER_TYPES = (("cpu", 60 * SECOND, 10 * SECOND), ("heap", 300 * SECOND, 0), ("goroutine", 300 * SECOND, 0),
              ("block", 300 * SECOND, 0), ("mutex", 300 * SECOND, 0))
# Name: within what time all pods start.
STARTS = {"in one second": SECOND, "over 10 minutes": 600 * SECOND}
SLOTS = (1, 10)


def plan_of(build, pods, started_within_ms, window):
    """[(millisecond, type, pod), …] of the pushes in a window, in order."""
    done = run([os.path.join(build, "test", "fleet_plan"), pods, started_within_ms, *window], PLAN_SECONDS)
    if done.code != 0:
        raise Failure(f"fleet_plan: {done}")
    lines = (line.split() for line in done.out.splitlines())
    return sorted((int(at), kind, int(pod)) for at, kind, pod in lines)


def ticker_of(pods, started_within_ms, window):
    """The same of tickers, one a type, from the start of each pod."""
    pushes = []
    for pod in range(pods):
        start = started_within_ms * pod // pods
        for kind, every, seconds in PEER_TYPES:
            first = start + seconds
            skipped = max(0, -(-(window[0] - first) // every))
            pushes += [(at, kind, pod) for at in range(first + skipped * every, window[1], every)]
    return sorted(pushes)


def evenness(pushes, window, slot_seconds):
    """The fullest slot against the mean of all: 1 is perfectly even."""
    slot = slot_seconds * SECOND
    slots = collections.Counter((at - window[0]) // slot for at, _, _ in pushes)
    mean = len(pushes) * slot / (window[1] - window[0])
    return max(slots.values()) / mean


def even_row(start, slot):
    return f"busiest {slot} s by mean, start {start}"


START_UP_ROW = "requests in the busiest second of the start-up"
RATE_ROW = f"requests a second, mean, {PODS:,} pods"


def plan_rows(report, build):
    for start, within in STARTS.items():
        sides = {OURS: plan_of(build, PODS, within, STEADY), PEER: ticker_of(PODS, within, STEADY)}
        for slot in SLOTS:
            report.add(even_row(start, slot), "max/mean",
                       {side: [evenness(pushes, STEADY, slot)] for side, pushes in sides.items()})
    seconds = (STEADY[1] - STEADY[0]) / SECOND
    report.add(RATE_ROW, "1/s", {side: [len(pushes) / seconds] for side, pushes in sides.items()})
    sides = {OURS: plan_of(build, PODS, SECOND, START_UP), PEER: ticker_of(PODS, SECOND, START_UP)}
    report.add(START_UP_ROW, "1/s", {side: [_busiest(pushes)] for side, pushes in sides.items()},
               note="the first minute, all started in one second")


def _busiest(pushes):
    return max(collections.Counter(at // SECOND for at, _, _ in pushes).values())


# ---- what one profefe costs

def _body(now_ns):
    """A heap profile of 20 KB that says it was taken now: profefe sorts by that."""
    raw = profiles.heap_profile(profiles.SIZES["20k"])
    written = number(9, profiles.TIME_NANOS)
    if raw.count(written) != 1:
        raise Failure("expected the time of the profile in it once")
    return profiles.gzipped(raw.replace(written, number(9, now_ns)))


def _target(kind, pod, now):
    labels = urllib.parse.quote(f"pod=shop-{pod},namespace=shop,node=node{pod % 50}", safe="=,")
    return "/api/0/profiles?" + urllib.parse.urlencode(
        {"service": f"shop-{pod % 20}", "type": kind, "labels": labels, "instance_id": f"shop-{pod}",
         "created_at": utc(now)})


def replay(profefe, pushes, body, now):
    """One sender, each push at its time; how late the last ones were, in seconds."""
    connection = http.client.HTTPConnection(profefe.host, profefe.port, timeout=REPLY_SECONDS)
    began = time.monotonic()
    late = 0.0
    try:
        for at, kind, pod in pushes:
            wait = began + (at - STEADY[0]) / SECOND - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            late = max(0.0, -wait)
            connection.request("POST", _target(kind, pod, now), body)
            reply = connection.getresponse()
            text = reply.read()
            if reply.status != 200:
                raise Failure(f"profefe answered {reply.status}: {text[:200]!r}")
    finally:
        connection.close()
    return late


def cost_rows(report, build, tools, folder, seconds):
    """A new profefe for each number of pods: what it keeps in memory depends on what it was given before."""
    for pods in STEPS:
        window = (STEADY[0], STEADY[0] + seconds * SECOND)
        pushes = plan_of(build, pods, 600 * SECOND, window)
        home = os.path.join(folder, f"profefe-{pods}")
        os.mkdir(home)
        profefe = Profefe(os.path.join(tools, "profefe"), home).start()
        try:
            now = datetime.datetime.now(datetime.timezone.utc)
            body = _body(time.time_ns())
            pid = profefe.child.pid
            before, rss = processes.cpu_ns(pid), processes.rss(pid)
            late = replay(profefe, pushes, body, now)
            time.sleep(SETTLE_SECONDS)
            cpu = (processes.cpu_ns(pid) - before) / 1e6
            note = f"{len(pushes)} pushes of {len(body) / 1000:.0f} KB in {seconds} s" + \
                (f"; the sender was {late:.1f} s late" if late > LATE_SECONDS else "")
            report.add(cpu_row(pods), "ms CPU", {OURS: [cpu / len(pushes)]}, note=note)
            report.add(share_row(pods), "%", {OURS: [cpu / 10 / seconds]})
            report.add(rss_row(pods), "MB", {OURS: [processes.rss(pid) / 1e6]}, note=f"{rss / 1e6:.0f} before")
        finally:
            profefe.remove()


def cpu_row(pods):
    return f"profefe, {pods:,} pods: a push"


def share_row(pods):
    return f"profefe, {pods:,} pods: of one CPU"


def rss_row(pods):
    return f"profefe, {pods:,} pods: RSS after it"


def expected_rows():
    return [even_row(start, slot) for start in STARTS for slot in SLOTS] + [RATE_ROW, START_UP_ROW] + \
        [row(pods) for pods in STEPS for row in (cpu_row, share_row, rss_row)]


def run_part(build, tools, folder, quick):
    """The report; Failure when a row could not be made."""
    report = Report("fleet", "profefe-agent's plan", "a ticker from each pod's start")
    plan_rows(report, build)
    cost_rows(report, build, tools, folder, 2 if quick else 20)
    missing = report.missing(expected_rows())
    if missing:
        raise Failure(f"no figure for: {'; '.join(missing)}")
    return report
