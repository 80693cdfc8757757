"""Pods on a real one-node Kubernetes (test/cluster) with profefe-agent in them and without it: how long they take to
start, to be complete and to go, what the webhook adds to the call that creates them, and the agent's memory by the
books of the node.

The installation is that of the cluster's test. The peer is the same pod in a namespace that the webhook is not called
for. One pod lives at a time, and Kubernetes' own timestamps are not used: they are whole seconds.
"""

import collections
import datetime
import itertools
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass

import processes
from agents import image_of
from cgroup import Memory
from children import Failure
from measure import FLOOR, OURS, PEER, Report, in_turn, percentile

TEST = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.append(os.path.join(TEST, "cluster"))

import cluster  # noqa: E402
import stage  # noqa: E402
import workloads  # noqa: E402
from cluster import (AGENT, AGENT_PORT, Watch, api, eventually, is_injected, is_native, is_ready, say,  # noqa: E402
                     summary)
from workloads import ENABLED, MODES, PLAIN, annotations  # noqa: E402

NEEDS_ROOT = "needs root, as all of test/cluster does"
POD_SECONDS = 60        # several times what one pod takes to start, or to go
LOG_SECONDS = 10        # from Ready until the app's first line
SETTLE_SECONDS = 10     # after the installation
WORK_SECONDS = 1        # what a pod that ends does before it ends
PUSHES_SECONDS = 300
SAMPLE_SECONDS = 1      # between two looks at the memory of a pod


@dataclass(frozen=True)
class Size:
    """How often all is done."""

    warm: int       # pods of each form before those that count: the first of their kind find nothing in memory
    pods: int       # of each form, one after the other
    jobs: int       # the same of those that end
    creates: int    # dry runs of each kind
    residents: int  # pods of each mode whose memory is looked at, all at once
    pushes: int     # profiles that each of their agents has sent by then


FULL = Size(warm=1, pods=20, jobs=10, creates=400, residents=3, pushes=100)
QUICK = Size(warm=0, pods=1, jobs=1, creates=3, residents=1, pushes=3)


@dataclass(frozen=True)
class Form:
    """A side that takes its turn; which of them are ours and which is the peer is said by the rows."""

    name: str
    namespace: str
    notes: dict | None = None
    mode: str | None = None

    def check(self, pod):
        """Failure unless the pod, as the API server has it, is of this form."""
        found = None if not is_injected(pod) else "native" if is_native(pod) else "container"
        if found != self.mode:
            raise Failure(f"a pod of the form {self.name} was created with an agent of mode {found}, expected "
                          f"{self.mode}")


def injected(mode):
    return Form(mode, ENABLED, annotations(enable="true", mode=mode), mode)


ALONE = Form("alone", PLAIN)
FORMS = (ALONE, injected("container"), injected("native"))
JOB_FORMS = (ALONE, injected("native"))
NOT_ASKED = Form("not annotated", ENABLED)  # the API server's own look at it (matchConditions) is all that it costs
CREATE_FORMS = (ALONE, NOT_ASKED, injected("native"))


# ---- the life of a pod

RUNS, READY, COMPLETE, GONE = "create to app runs", "create to Ready", "create to complete", "delete to gone"
BY_LOG = "the container runtime's time of the app's first line"
BY_WATCH = "as a watch on the pod tells it"
HOW = {RUNS: BY_LOG, READY: BY_WATCH, COMPLETE: BY_WATCH, GONE: BY_WATCH}
START_ROWS = [(what, mode) for what in (RUNS, READY, GONE) for mode in ("container", "native")]


def life_row(what, mode):
    return f"{what}, {mode}"


JOB_ROW = f"{COMPLETE}, app of {WORK_SECONDS} s, native"


def moment(timestamp):
    """Seconds since 1970 of a time as the container runtime writes it, to the microsecond."""
    return datetime.datetime.fromisoformat(timestamp).timestamp()


def first_line_at(namespace, name):
    """When the app, which writes its first line once it listens, wrote it."""
    def look():
        return api.log(namespace, name, "app", timestamps=True).partition(" ")[0]

    stamp = eventually(look, LOG_SECONDS, lambda: f"no line from the app of {namespace}/{name}", every=0.1)
    try:
        return moment(stamp)
    except ValueError as error:
        raise Failure(f"the log of {namespace}/{name} does not begin with a time: {error}") from error


class OffBeat:
    """Waits of less than a second before the requests of each form. What the kubelet does it does once a second, and so
    the end of one wait is the beat of the kubelet's clock: requests that followed at once would all meet it at the same
    point. These meet it everywhere, evenly however many they are, and all forms at the same points."""

    GOLDEN = (5 ** 0.5 - 1) / 2  # the share whose multiples fill the second most evenly

    def __init__(self):
        self.waited = collections.Counter()

    def share(self, form, request):
        self.waited[form, request] += 1
        return self.waited[form, request] * self.GOLDEN % 1

    def wait(self, form, request):
        time.sleep(self.share(form, request))


off_beat = OffBeat()
numbers = itertools.count(1)  # no name twice


@contextmanager
def one_pod(form, spec=None):
    """A watch that was there before the pod, and the pod, just created: (watch, its name, monotonic and real time of
    the request). Afterwards the pod is gone."""
    name = f"{form.name}-{next(numbers)}"
    off_beat.wait(form.name, "create")
    with closing(Watch(form.namespace, name, 3 * POD_SECONDS)) as watch:
        real, began = time.time(), time.monotonic()
        form.check(api.create(workloads.pod(name, form.namespace, form.notes, spec)).body)
        yield watch, name, began, real


def end(form, watch, name):
    """Seconds from the request to delete a pod until it is gone."""
    off_beat.wait(form.name, "delete")
    began = time.monotonic()
    api.delete_pod(form.namespace, name)
    return watch.until(lambda kind, _: kind == "DELETED") - began


def life_of(form):
    """Seconds by what was waited for."""
    with one_pod(form) as (watch, name, began, real):
        ready = watch.until(lambda _, pod: is_ready(pod)) - began
        runs = first_line_at(form.namespace, name) - real
        return {RUNS: runs, READY: ready, GONE: end(form, watch, name)}


def job_of(form):
    """Seconds until a pod that ends by itself is complete."""
    spec = workloads.pod_spec(workloads.app(lifetime=WORK_SECONDS), restart="Never")
    with one_pod(form, spec) as (watch, name, began, _):
        complete = watch.until(lambda _, pod: pod.get("status", {}).get("phase") in ("Succeeded", "Failed")) - began
        if watch.last["status"]["phase"] != "Succeeded":
            raise Failure(f"expected the pod to succeed: {summary(watch.last)}")
        end(form, watch, name)
        return complete


def spread(values):
    """Least to most, side by side."""
    return ", ".join(f"{side} {min(times):.2f} to {max(times):.2f}" for side, times in values.items())


def start_rows(report, size):
    say("pods that start")
    in_turn(size.warm, FORMS, life_of)
    lives = in_turn(size.pods, FORMS, life_of)
    for what, mode in START_ROWS:
        values = {side: [life[what] for life in lives[form]] for side, form in ((OURS, mode), (PEER, ALONE.name))}
        report.add(life_row(what, mode), "s wall", values, note=f"{HOW[what]}; {spread(values)}")


def job_rows(report, size):
    say("pods that end")
    times = in_turn(size.jobs, JOB_FORMS, job_of)
    values = {OURS: times["native"], PEER: times[ALONE.name]}
    report.add(JOB_ROW, "s wall", values, note=f"{HOW[COMPLETE]}; {spread(values)}")


# ---- the call that creates a pod

SHARES = {"median": 50, "p99": 99}
WEBHOOK_CALL = "webhook call, mean, by the API server"
CALL_METRIC = "apiserver_admission_webhook_admission_duration_seconds"
CREATE_ROWS = [(form, share) for form in ("native", NOT_ASKED.name) for share in SHARES]


def create_row(form, share):
    return f"create, dry run, {'injected' if form == 'native' else form}, {share}"


def calls():
    """(number of calls to the webhook, seconds they took) since the API server's start."""
    samples = cluster.samples_of(api.request("GET", "/metrics").body.get("message", ""))
    return tuple(cluster.total(samples, f"{CALL_METRIC}_{kind}", operation="CREATE") for kind in ("count", "sum"))


def create_rows(report, size):
    """Over one connection, so that it is the call alone."""
    say("dry runs")
    with closing(api.connection()) as connection:
        def create_ms(form):
            thing = workloads.pod("dry-run", form.namespace, form.notes)
            reply = api.exchange(connection, "POST", api.path_of(thing) + "?dryRun=All", thing)
            if reply.status != 201:
                raise Failure(f"a pod of the form {form.name} was refused: {reply.status} {reply.body.get('message')}")
            form.check(reply.body)
            return reply.seconds * 1e3

        in_turn(size.warm, CREATE_FORMS, create_ms)
        before = calls()
        times = in_turn(size.creates, CREATE_FORMS, create_ms)
        after = calls()
    for form, share in CREATE_ROWS:
        values = {side: [percentile(sorted(times[name]), SHARES[share])]
                  for side, name in ((OURS, form), (PEER, ALONE.name))}
        report.add(create_row(form, share), "ms wall", values, note=f"of {size.creates}")
    count, seconds = (now - then for then, now in zip(before, after))
    if count != size.creates:
        raise Failure(f"{CALL_METRIC} counts {count:g} calls to the webhook, expected {size.creates}")
    report.add(WEBHOOK_CALL, "ms wall", {OURS: [seconds / count * 1e3]}, note=f"of {size.creates}")


# ---- the agent's memory

RSS, NOW, AT_START, PEAK = "RSS", "cgroup", "cgroup, peak of the start", "cgroup, peak after the start"
MEMORY_ROWS = [(what, mode) for what in (RSS, NOW, AT_START, PEAK) for mode in ("container", "native")]


def memory_row(what, mode):
    return f"agent: {what}, {mode}"


class Resident:
    """A pod that stays, its agent's cgroup and, as the floor, that of the process that holds the pod's namespaces."""

    def __init__(self, namespace, name):
        self.namespace, self.name = namespace, name
        self.pod = api.pod(namespace, name)
        (self.pid,) = cluster.processes_of(self.pod, AGENT)
        agent = Memory.of(self.pid)
        known = {item["containerID"].split("://")[-1] for item in cluster.container_statuses(self.pod)}
        (pause,) = [group for name, group in agent.beside().items() if name not in known]
        self.groups = {OURS: agent, FLOOR: pause}
        (self.pause,) = pause.pids()
        self.at_start = {side: group.peak() for side, group in self.groups.items()}
        self.no_peak = ""
        try:
            self.peaks = {side: group.peak_from_now() for side, group in self.groups.items()}
        except OSError as error:
            self.no_peak = f"this kernel's cgroups cannot forget a peak ({error.strerror})"

    def sent(self):
        return cluster.total(cluster.metrics(self.pod["status"]["podIP"], AGENT_PORT), "profefe_agent_pushes_total",
                             result="stored")

    def memory(self):
        """{row: {side: bytes}}; Failure when it is no longer the agent of the beginning."""
        now = api.pod(self.namespace, self.name)
        if cluster.restarts(now):
            raise Failure(f"expected no restart: {summary(now)}")
        measured = {RSS: {OURS: processes.rss(self.pid), FLOOR: processes.rss(self.pause)},
                    NOW: {side: group.usage() for side, group in self.groups.items()},
                    AT_START: self.at_start}
        return measured if self.no_peak else {**measured, PEAK: {side: peak() for side, peak in self.peaks.items()}}


NOTES = {RSS: "", NOW: "page cache and the kernel's own included", AT_START: "until Ready: runc begins in this cgroup",
         PEAK: ""}


def memory_rows(report, size):
    names = {mode: [f"resident-{mode}-{number}" for number in range(size.residents)] for mode in MODES}
    for mode in MODES:
        for name in names[mode]:
            spec = workloads.pod_spec(workloads.app(rates=True))
            thing = workloads.pod(name, ENABLED, workloads.every_type_fast(mode=mode), spec)
            injected(mode).check(api.create(thing).body)
    for name in [name for mode in MODES for name in names[mode]]:
        eventually(lambda: is_ready(api.pod(ENABLED, name)), POD_SECONDS, lambda: summary(api.pod(ENABLED, name)),
                   every=0.1)
    residents = {mode: [Resident(ENABLED, name) for name in names[mode]] for mode in MODES}
    everyone = [resident for mode in MODES for resident in residents[mode]]
    say(f"pods that stay until each agent has sent {size.pushes} profiles")
    eventually(lambda: all(resident.sent() >= size.pushes for resident in everyone), PUSHES_SECONDS,
               lambda: f"expected {size.pushes} profiles of each agent, got "
                       f"{[resident.sent() for resident in everyone]}",
               every=SAMPLE_SECONDS)
    found = {mode: [resident.memory() for resident in residents[mode]] for mode in MODES}
    for what, mode in MEMORY_ROWS:
        reasons = [resident.no_peak for resident in residents[mode] if resident.no_peak]
        if what == PEAK and reasons:
            report.skip(memory_row(what, mode), reasons[0])
            continue
        values = {side: [memory[what][side] / 1e6 for memory in found[mode]] for side in (OURS, FLOOR)}
        notes = [f"{size.residents} pods, {size.pushes} profiles each"] + ([NOTES[what]] if NOTES[what] else [])
        report.add(memory_row(what, mode), "MB", values, note="; ".join(notes))
    for resident in everyone:
        api.delete_pod(ENABLED, resident.name)


# ---- all of it

def expected_rows():
    return [*(create_row(*row) for row in CREATE_ROWS), WEBHOOK_CALL, *(life_row(*row) for row in START_ROWS), JOB_ROW,
            *(memory_row(*row) for row in MEMORY_ROWS)]


def new_report(agent):
    return Report("pods", f"pods with {agent}", "the same pods without a sidecar, no webhook called")


def install(build, agent):
    stage.prepare(image_of(agent), os.path.join(build, "images", "profefe-webhook.tar"))
    for name in (ENABLED, PLAIN):
        stage.make_namespace(name, workloads.NAMESPACES[name])
    stage.wait_until_called()


def run_part(build, _tools, _folder, quick, agent):
    """The report; Failure when a row could not be made."""
    if os.geteuid() != 0:
        report = new_report(agent)
        for name in expected_rows():
            report.skip(name, NEEDS_ROOT)
        return report
    subprocess.run([os.path.join(TEST, "tools"), "cluster"], check=True)
    size = QUICK if quick else FULL
    with cluster.up(), cluster.entered():
        install(build, agent)
        time.sleep(0 if quick else SETTLE_SECONDS)
        report = new_report(agent)
        report.machine["kubernetes"] = api.get("/version")["gitVersion"]
        report.machine["runtime"] = api.get("/api/v1/nodes/node1")["status"]["nodeInfo"]["containerRuntimeVersion"]
        create_rows(report, size)
        start_rows(report, size)
        job_rows(report, size)
        memory_rows(report, size)
    missing = report.missing(expected_rows())
    if missing:
        raise Failure(f"no figure for: {'; '.join(missing)}")
    return report
