"""A test case that, when it fails, shows the pods it was about."""

import contextlib
import datetime
import unittest

import stage
import workloads

from children import Failure
from cluster import (agent_get, api, condition, containers, eventually, is_injected, is_ready, kubectl, processes_of,
                     restarts, summary)
from stage import SYSTEM, webhook_log, world

STAY_SECONDS = 20  # how long a pod must have been Ready without a break to count as one that stays so
DESCRIBE_LINES, LOG_LINES = 100, 40
SUBJECTS = 4  # pods shown for one failed test


_stage = []  # empty, then how setting it went: the stage is made once, for the first module whose tests are run


def setUpModule():
    """For each module that has tests: unittest calls it wherever a test of another module came before."""
    if not _stage:
        try:
            _stage.append("failed")
            stage.set_up()
            _stage[0] = "made"
        except Failure:
            for name in (SYSTEM, *workloads.NAMESPACES):
                show_pods(name)
            raise
    elif _stage[0] == "failed":
        raise Failure("the stage was not made: see the first failure")


def show(title, text, most=LOG_LINES):
    lines = text.rstrip().splitlines()
    cut = [f"... {len(lines) - most} lines before"] if len(lines) > most else []
    print("\n".join([f"  --- {title}"] + ["  | " + line[:400] for line in cut + lines[-most:]]), flush=True)


def show_pod(namespace, name):
    described = kubectl("-n", namespace, "describe", "pod", name, check=False)
    show(f"kubectl -n {namespace} describe pod {name}", described.stdout + described.stderr, DESCRIBE_LINES)
    with contextlib.suppress(Failure):
        pod = api.pod(namespace, name)
        for container in containers(pod):
            show(f"log of {namespace}/{name} {container}", api.log(namespace, name, container, LOG_LINES))
        if is_injected(pod) and pod["status"].get("podIP"):
            for path in ("/healthz", "/status"):
                with contextlib.suppress(Failure):
                    show(f"{path} of the agent in {namespace}/{name}", agent_get(pod, path)[1])


def show_pods(namespace):
    with contextlib.suppress(Failure):
        for pod in api.pods(namespace):
            print(f"  {summary(pod)}")
            if not is_ready(pod):
                show_pod(namespace, pod["metadata"]["name"])


class Case(unittest.TestCase):
    """A test that, when it fails, shows the pods it was about and what the webhook said."""

    maxDiff = None

    def run(self, result=None):
        self.subjects = {}
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            print(f"\n  What {self.id()} was about:", flush=True)
            for namespace, name in list(self.subjects)[:SUBJECTS]:
                show_pod(namespace, name)
            show("log of the webhook", webhook_log(lines=LOG_LINES))
        return result

    def about(self, *pods):
        """Marks pods as what this test is about; returns the first."""
        for pod in pods:
            self.subjects[pod["metadata"]["namespace"], pod["metadata"]["name"]] = None
        return pods[0] if pods else None

    def only_pod(self, key, namespace):
        found = world.pods_of(key, namespace)
        self.assertEqual(len(found), 1, f"pods labelled test={key} in {namespace}: {[summary(pod) for pod in found]}")
        return self.about(found[0])

    def processes_of(self, pod, container):
        """The pids, on this machine, of a container that runs; never none."""
        pids = processes_of(pod, container)
        self.assertTrue(pids, f"no process of {container} on the node: {summary(pod)}")
        return pids

    def assert_same_life(self, pod):
        """Ready for STAY_SECONDS without a break, and no container of it was ever started twice."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]

        def look():
            now = api.pod(namespace, name)
            if restarts(now):
                raise AssertionError(f"{summary(now)}: restarted, expected to run on from its first start")
            since = condition(now, "Ready").get("lastTransitionTime")
            return is_ready(now) and seconds_since(since) >= STAY_SECONDS

        eventually(look, STAY_SECONDS + 10,
                   lambda: f"{summary(api.pod(namespace, name))}: not Ready for {STAY_SECONDS} s without a break")

    def agent_says(self, pod, path, seconds, *words, status=None):
        """Waits until the agent's page holds all the words, and has the status where one is given."""
        seen = []

        def look():
            seen[:] = [agent_get(pod, path)]
            return all(word in seen[0][1] for word in words) and status in (None, seen[0][0])

        eventually(look, seconds, lambda: f"{path} of the agent in {pod['metadata']['name']} said {seen}, expected "
                                          f"{words}{f' and status {status}' if status else ''}")


def moment(timestamp):
    """A time of Kubernetes or of profefe, both of which are UTC and to the second."""
    return datetime.datetime.strptime(timestamp[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)


def seconds_since(timestamp):
    return (datetime.datetime.now(datetime.timezone.utc) - moment(timestamp)).total_seconds()
