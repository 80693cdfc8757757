"""profefe-agent beside the same agent in Go (test/bench/agentpeer): CPU a profile, memory, what it does when idle,
start, size.

The app and the collector are one small server in this process, whose CPU time counts for nobody; the floor is the pause
process. Both agents get the same environment.
"""

import gzip
import json
import os
import tarfile
import time
import zlib
from dataclasses import dataclass

import idle
import processes
import profiles
from agents import MEMORY, environment, image_of, pause, run_once, running, sides_of
from certificates import Authority, Mount, read
from children import Failure, wait_until
from measure import FLOOR, OURS, PEER, Report, in_turn
from sink import Sink

SETTLE_SECONDS = 0.3   # after the last push: what is still to be done about its end
PUSH_SECONDS = 120     # deadline of a measurement
LABELLED = (False, True)
SCHEMES = ("http", "https")
SMALL_LIMIT = 16 << 20
# The default types, at their shortest EVERY; several targets make more of them in a second. CPU profiles are left out,
# since they make an agent wait.
FIVE = "heap:1s,goroutine:1s,block:1s,mutex:1s,allocs:1s"
# Taken once, soon after the start, and then not again for a day: nothing to do.
ONCE_A_DAY = "cpu:24h=1s,heap:24h,goroutine:24h"


@dataclass(frozen=True)
class Load:
    """What the agents are asked to do for one row, so slowly that the peer keeps up with it. The numbers of profiles
    are whole rounds of all targets and types: the peer takes them all at once."""

    targets: int
    types: str
    warm: int      # profiles before the measurement
    profiles: int  # and in it
    rounds: int


# A profile so small that what remains is the scrape and the push themselves.
TINY = "1k"
TINY_STACKS = 15
FULL = {
    TINY: Load(targets=6, types=FIVE, warm=30, profiles=120, rounds=3),
    "20k": Load(targets=6, types=FIVE, warm=30, profiles=120, rounds=3),
    "200k": Load(targets=1, types=FIVE, warm=5, profiles=20, rounds=3),
    "8m": Load(targets=1, types="heap:6s", warm=1, profiles=2, rounds=1),
}
QUICK = {
    TINY: Load(targets=1, types=FIVE, warm=5, profiles=5, rounds=1),
    "20k": Load(targets=1, types=FIVE, warm=5, profiles=5, rounds=1),
    "200k": Load(targets=1, types=FIVE, warm=5, profiles=5, rounds=1),
    "8m": Load(targets=1, types="heap:1s", warm=0, profiles=1, rounds=1),
}
# The quick form has no 15 seconds to make the 8 MB profile, nor a minute to send it around.
QUICK_FILE = {"20k": "20k", "200k": "20k", "8m": "200k"}


class Bench:
    """What the rows share."""

    def __init__(self, report, sides, folder, quick):
        self.report = report
        self.sides = sides
        self.folder = folder
        self.quick = quick
        self.loads = QUICK if quick else FULL
        self.files = {size: self._file(size) for size in profiles.SIZES}
        self.files[TINY] = profiles.gzipped(profiles.taken_now(profiles.heap_profile(TINY_STACKS)))
        authority = Authority(folder, "bench")
        self.certificate = authority.issue()
        secret = Mount(os.path.join(folder, "secret"))
        secret.swap({"ca.crt": read(authority.crt)})
        self.secret = secret.folder
        self.rows = {}   # (size, labelled, way): Row
        self.peaks = {}  # the same: {side: (RSS peak, cgroup peak or None)}
        self.no_group = ""

    def _file(self, size):
        size = QUICK_FILE[size] if self.quick else size
        with open(profiles.write(self.folder, size, profiles.taken_now), "rb") as file:
            return file.read()

    def raw_mb(self, size):
        return len(zlib.decompress(self.files[size], 31)) / 1e6

    def environment(self, app, collector, types, targets=1, labelled=True):
        more = {"PROFEFE_AGENT_SAMPLE_LABELS": str(labelled).lower()}
        if collector.url.startswith("https"):
            more["PROFEFE_AGENT_SECRET_DIR"] = self.secret
        # Each target a URL of its own: an agent may refuse the same one twice.
        bases = [f"{app.url}/debug/pprof" + "/." * number for number in range(targets)]
        return environment(bases, collector.url, types, **more)


# ---- equal work first

def check_pushes(bench):
    """Failure unless both push the profile itself, with the labels in it when they are asked for."""
    for labelled in LABELLED:
        for side in bench.sides:
            sink = Sink(bench.files["20k"])
            try:
                run_once(side, bench.environment(sink, sink, "heap:1h", labelled=labelled))
                pushed = zlib.decompress(sink.last_body, 31 if sink.last_body[:2] == b"\x1f\x8b" else -15)
            finally:
                sink.close()
            original = gzip.decompress(bench.files["20k"])
            if b"web-7d4b9c6f58-x2x7k" in pushed and not labelled or \
               labelled and not all(text in pushed for text in (b"web-7d4b9c6f58-x2x7k", b"tier", b"node1")):
                raise Failure(f"{side.name}: expected labels in the samples: {labelled}, got otherwise")
            if len(pushed) < len(original) * 0.9:
                raise Failure(f"{side.name}: pushed {len(pushed)} bytes of {len(original)}")


# ---- CPU a profile, and the peaks of memory meanwhile

def run_load(bench, side, size, labelled, way):
    """CPU time for one profile in ms; the peaks are kept aside."""
    load = bench.loads[size]
    app = Sink(bench.files[size])
    collector = Sink(b"", bench.certificate if way != "http" else None, close_each=way == "https, new connection")
    try:
        env = bench.environment(app, collector, load.types, load.targets, labelled)
        with running(side, bench.folder, env) as process:
            alive = process.child.must_live
            collector.wait_for("pushes", load.warm, PUSH_SECONDS, alive)
            before, first = processes.cpu_ns(process.pid), collector.counts["pushes"]
            collector.wait_for("pushes", first + load.profiles, PUSH_SECONDS, alive)
            time.sleep(SETTLE_SECONDS)
            after, last = processes.cpu_ns(process.pid), collector.counts["pushes"]
            bench.no_group = process.no_group
            bench.peaks.setdefault((size, labelled, way), {})[side.name] = (processes.rss_peak(process.pid),
                                                                            process.cgroup_peak())
            return (after - before) / 1e6 / (last - first)
    finally:
        collector.close()
        app.close()


def cpu_row(size, labelled, way):
    return f"{profiles_name(size)}, {way}, {'labels' if labelled else 'no labels'}"


UNREAD = "ours checks all of it, the peer sends it unread"


def profiles_name(size):
    return {TINY: "1 KB", "20k": "20 KB", "200k": "200 KB", "8m": "8 MB"}[size]


CPU_ROWS = [(TINY, False, "http")] + \
    [(size, labelled, way) for size in profiles.SIZES for way in SCHEMES for labelled in LABELLED] + \
    [("20k", False, "https, new connection")]


def cpu_rows(bench):
    for row in CPU_ROWS:
        values = in_turn(bench.loads[row[0]].rounds, bench.sides, lambda side: run_load(bench, side, *row))
        bench.rows[row] = bench.report.add(cpu_row(*row), "ms CPU", values, note="" if row[1] else UNREAD)


HANDSHAKE = "a TLS handshake: new connection less kept one"


def labels_row(size):
    return f"labels into samples, {profiles_name(size)}, by raw MB"


def derived_rows(bench):
    """Differences of the medians: with little to tell apart, as in the quick form, they may be anything."""
    def less(row, base, scale=1.0):
        return {side: [(bench.rows[row].medians[side] - bench.rows[base].medians[side]) / scale]
                for side in (OURS, PEER)}

    for size in ("200k", "8m"):
        raw = bench.raw_mb(size)
        bench.report.add(labels_row(size), "ms CPU", less((size, True, "http"), (size, False, "http"), raw),
                         may_be_zero=True, note=f"{raw:.2f} MB raw")
    bench.report.add(HANDSHAKE, "ms CPU", less(("20k", False, "https, new connection"), ("20k", False, "https")),
                     may_be_zero=True)


def peak_row(kind, size, scheme):
    return f"{kind}, peak, {profiles_name(size)}, {scheme}"


PEAK_ROWS = [(kind, size, scheme) for kind in ("RSS", "cgroup") for size in ("20k", "8m") for scheme in SCHEMES]


def peak_rows(bench, floor):
    for kind, size, scheme in PEAK_ROWS:
        index = ("RSS", "cgroup").index(kind)
        name = peak_row(kind, size, scheme)
        if kind == "cgroup" and bench.no_group:
            bench.report.skip(name, bench.no_group)
            continue
        values = {side: [peaks[index] / 1e6] for side, peaks in bench.peaks[(size, True, scheme)].items()}
        bench.report.add(name, "MB", {**values, FLOOR: [floor["RSS, peak" if kind == "RSS" else "cgroup"] / 1e6]})


# ---- the limit of the container

KILLED = "kills in a cgroup of 16 MiB, 8 MB, https"


def killed_row(bench):
    """Ours alone: the peer needs many times that."""
    app, collector = Sink(bench.files["8m"]), Sink(b"", bench.certificate)
    try:
        env = bench.environment(app, collector, bench.loads["8m"].types)
        with running(bench.sides[0], bench.folder, env, SMALL_LIMIT) as process:
            if process.group is None:
                bench.report.skip(KILLED, process.no_group)
                return
            wanted = 1 if bench.quick else 3
            wait_until(lambda: collector.counts["pushes"] >= wanted or process.group.kills()
                       or process.child.must_live(),
                       PUSH_SECONDS, lambda: f"expected {wanted} pushes, got {collector.counts['pushes']}")
            bench.report.add(KILLED, "", {OURS: [process.group.kills()]}, may_be_zero=True,
                             note=f"{wanted} profiles, peak {process.group.peak() / 1e6:.1f} MB of "
                                  f"{SMALL_LIMIT / 1e6:.1f}")
    finally:
        collector.close()
        app.close()


# ---- idle

CALLS = "system calls a minute, idle"
WAKEUPS = "wake-ups a minute, idle"


def memory_row(name):
    return f"{name}, idle after profiles of 20 KB"


def idle_rows(bench, floor):
    """Both at once: neither has anything to do."""
    seconds = 5 if bench.quick else 60
    how = idle.method()
    sink = Sink(bench.files["20k"])
    env = bench.environment(sink, sink, ONCE_A_DAY)
    try:
        with running(bench.sides[0], bench.folder, env) as ours, running(bench.sides[1], bench.folder, env) as peer:
            agents = {OURS: ours, PEER: peer}
            sink.wait_for("pushes", 6, PUSH_SECONDS, lambda: [agent.child.must_live() for agent in agents.values()])
            time.sleep(2)
            calls, woken = idle.measure(how, [agent.pid for agent in agents.values()], seconds, bench.folder)
            if sink.counts["pushes"] != 6:
                raise Failure(f"expected idle agents, got {sink.counts['pushes'] - 6} more pushes")
            for name, values, note in ((CALLS, calls, f"counted by {how}"),
                                       (WAKEUPS, woken, "voluntary context switches")):
                bench.report.add(name, "1/min", {side: [values[agent.pid]] for side, agent in agents.items()},
                                 may_be_zero=True,
                                 note=f"{note}, {seconds} s")
            for name, measured in MEMORY.items():
                values = {side: [measured(agent.pid) / 1e6] for side, agent in agents.items()}
                bench.report.add(memory_row(name), "MB", {**values, FLOOR: [floor[name] / 1e6]})
    finally:
        sink.close()


# ---- start and size

FIRST_SCRAPE = "exec to first scrape"


def start_row(bench):
    def first_ms(side):
        sink = Sink(bench.files["20k"])
        try:
            started = run_once(side, bench.environment(sink, sink, "heap:1h"))
            return (sink.first_ns["scrapes"] - started) / 1e6
        finally:
            sink.close()

    values = in_turn(2 if bench.quick else 15, bench.sides, first_ms)
    bench.report.add(FIRST_SCRAPE, "ms wall", values, note="--once")


BINARY = "binary"
IMAGE = "image, compressed"


def _image_bytes(path):
    """The blobs of an OCI archive; those of one platform when its index has several."""
    with tarfile.open(path) as archive:
        def blob(digest):
            return json.load(archive.extractfile("blobs/" + digest.replace(":", "/")))
        manifest = json.load(archive.extractfile("index.json"))["manifests"][0]
        while "manifests" in blob(manifest["digest"]):
            manifest = blob(manifest["digest"])["manifests"][0]
        content = blob(manifest["digest"])
        return manifest["size"] + content["config"]["size"] + sum(layer["size"] for layer in content["layers"])


def size_rows(bench, floor_binary):
    report = bench.report
    sizes = {side.name: [os.path.getsize(side.binary) / 1e3] for side in bench.sides}
    report.add(BINARY, "KB", {**sizes, FLOOR: [os.path.getsize(floor_binary) / 1e3]})
    image = image_of(bench.sides[0].binary)
    if not os.path.exists(image):
        report.skip(IMAGE, f"no {image}: the target images of its build tree makes it")
        return
    with open(bench.sides[1].binary, "rb") as file:
        peer = len(gzip.compress(file.read(), 9))
    report.add(IMAGE, "KB", {OURS: [_image_bytes(image) / 1e3], PEER: [peer / 1e3]},
               note="the peer's: its binary alone, gzip -9")


def floor_of(folder):
    with pause(folder) as process:
        values = {name: measured(process.pid) for name, measured in MEMORY.items()}
        return {**values, "RSS, peak": processes.rss_peak(process.pid), "cgroup": process.cgroup_peak()}, process.binary


def expected_rows():
    return [cpu_row(*row) for row in CPU_ROWS] + [labels_row(size) for size in ("200k", "8m")] + [HANDSHAKE] + \
        [peak_row(*row) for row in PEAK_ROWS] + [KILLED, CALLS, WAKEUPS] + [memory_row(name) for name in MEMORY] + \
        [FIRST_SCRAPE, BINARY, IMAGE]


def run_part(_build, tools, folder, quick, agent):
    """The report; Failure when a row could not be made."""
    sides = sides_of(agent, tools)
    report = Report("agent", f"{agent}", "the same in Go with google/pprof and net/http")
    bench = Bench(report, sides, folder, quick)
    check_pushes(bench)
    floor, floor_binary = floor_of(folder)
    start_row(bench)
    size_rows(bench, floor_binary)
    idle_rows(bench, floor)
    cpu_rows(bench)
    derived_rows(bench)
    peak_rows(bench, floor)
    killed_row(bench)
    missing = report.missing(expected_rows())
    if missing:
        raise Failure(f"no figure for: {'; '.join(missing)}")
    return report
