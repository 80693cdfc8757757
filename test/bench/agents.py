"""The two agents as processes in one and the same environment, and what a sidecar costs at the least: the pause
process."""

import os
import subprocess
import time
from contextlib import contextmanager

import cgroup
import processes
from children import Child, Failure, free_port, run
from measure import OURS, PEER

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
COMPILE_SECONDS = 60
START_SECONDS = 15
PAUSE_SETTLE_SECONDS = 0.2
# Far above what either needs, so that nothing is reclaimed and the peak is the peak. The peer was killed in one of 1
# GiB by profiles of 8 MB.
GROUP_LIMIT = 8 << 30
IDENTITY = {"POD_NAME": "web-7d4b9c6f58-x2x7k", "POD_NAMESPACE": "shop",
            "POD_UID": "5f0e1d6c-6a53-4c55-9d0e-2f9a4f2f7c11",
            "NODE_NAME": "node1", "POD_IP": "127.0.0.1", "PROFEFE_AGENT_SERVICE": "web",
            "PROFEFE_AGENT_CONTAINER": "web", "PROFEFE_AGENT_LABELS": "team=shop,tier=web"}
MEMORY = {
    "RSS": processes.rss,
    "PSS": processes.pss,
    "private memory": processes.private,
}


class Side:
    def __init__(self, name, binary):
        self.name = name
        self.binary = binary


def sides_of(agent, tools):
    return [Side(OURS, agent), Side(PEER, os.path.join(tools, "agentpeer"))]


def environment(targets, collector, types, **more):
    """types with their EVERY written out: the peer knows no defaults."""
    return {**IDENTITY, "PROFEFE_AGENT_TARGETS": ",".join(f"t{i}={url}" for i, url in enumerate(targets)),
            "PROFEFE_AGENT_COLLECTOR": collector, "PROFEFE_AGENT_TYPES": types, **more}


def image_of(agent):
    """Where a build tree keeps the image of an agent that it made."""
    tree = os.path.dirname(os.path.dirname(agent))
    return os.path.join(tree, "images", "profefe-agent.tar")


def make_group(name, limit=GROUP_LIMIT):
    """A memory cgroup, or None and why not."""
    try:
        return cgroup.MemoryGroup(f"profefe-bench-{name}", limit), ""
    except OSError as error:
        return None, f"no memory cgroup can be made ({error.strerror}): run as root"


class Process:
    """A running program, in a memory cgroup of its own where that can be had."""

    def __init__(self, name, argv, folder, env=None, limit=GROUP_LIMIT):
        self.group, self.no_group = make_group(name, limit)
        wrap = self.group.wrap() if self.group else []
        log = os.path.join(folder, f"{name}.log")
        if os.path.exists(log):
            os.unlink(log)  # what an earlier process said explains nothing
        self.child = Child(name, [*wrap, *argv], log, env)
        self.pid = self.child.pid

    def cgroup_peak(self):
        """In bytes; None without a cgroup."""
        return self.group.peak() if self.group else None

    def remove(self):
        self.child.remove()
        if self.group:
            self.group.remove()


@contextmanager
def running(side, folder, env, limit=GROUP_LIMIT):
    """The agent as a sidecar."""
    own = {"PROFEFE_AGENT_SIDECAR": "1", "PROFEFE_AGENT_LISTEN": f"127.0.0.1:{free_port()}",
           "PROFEFE_AGENT_FIRST_WITHIN": "1s"}
    process = Process(f"agent-{side.name}", [side.binary], folder, {**own, **env}, limit)
    try:
        yield process
    finally:
        process.remove()


def run_once(side, env, seconds=START_SECONDS):
    """Each type once; the time of the start, by the monotonic clock in nanoseconds. Started without preexec_fn, so by
    vfork, which takes the same short time whatever the size of this process."""
    started = time.monotonic_ns()
    done = subprocess.run([side.binary, "--once"], env=env, capture_output=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise Failure(f"{side.name}: --once ended with {done.returncode}: {done.stdout + done.stderr}")
    return started


@contextmanager
def pause(folder):
    """The process that holds a pod's namespaces in the test cluster, static: waits for signals and nothing else."""
    binary = os.path.join(folder, "pause")
    if not os.path.exists(binary):
        done = run(["cc", "-Os", "-static", "-s", "-o", binary, os.path.join(ROOT, "test", "cluster", "pause.c")],
                   COMPILE_SECONDS)
        if done.code != 0:
            raise Failure(f"cannot build the pause process: {done}")
    process = Process("pause", [binary], folder)
    process.binary = binary
    try:
        time.sleep(PAUSE_SETTLE_SECONDS)
        yield process
    finally:
        process.remove()
