"""What the agents' containers hold in memory, by the books of the node: profiles near the largest that a spool takes in
the small limits they are given, and all that the other tests did."""

import workloads
from case import Case, setUpModule  # noqa: F401 (unittest calls the latter)
from cgroup import Memory
from children import Failure
from cluster import AGENT, api, containers, eventually, is_injected, is_ready, processes_of, restarts, say, summary
from stage import world
from workloads import ENABLED

LARGE_SECONDS = 180
LARGE_PROFILES = 2
MIB = 1 << 20


def memory_of(pod):
    return Memory.of(processes_of(pod, AGENT)[0])


class MemoryLimits(Case):

    def test_large_profiles_go_through_small_containers(self):
        """The default limit with the spool in memory, and half of it with the spool on a volume."""
        for name, limit in workloads.LARGE.items():
            with self.subTest(pod=name):
                pod = self.only_pod(name, ENABLED)
                self.assertEqual(containers(pod)[AGENT]["resources"]["limits"]["memory"], limit)
                eventually(lambda: len(world.profefe.profiles(name, world.since, "other")) >= LARGE_PROFILES,
                           LARGE_SECONDS,
                           lambda: f"profefe has {world.profefe.profiles(name, world.since)}, expected "
                                   f"{LARGE_PROFILES} "
                                   "large ones")
                found = world.profefe.profiles(name, world.since, "other")[0]
                self.assertGreater(len(world.profefe.fetch(found["id"])), workloads.LARGE_BYTES // 2)
                self.agent_says(pod, "/healthz", 30, status=200)
                memory = memory_of(pod)
                self.assertEqual(memory.kills(), 0)
                self.assertEqual(restarts(api.pod(ENABLED, name)), {}, summary(pod))
                say(f"{name}: peak {memory.peak() / MIB:.1f} MiB of {limit}")

    def test_no_agent_was_killed_for_memory(self):
        peaks = {}
        for namespace in workloads.NAMESPACES:
            for pod in api.pods(namespace):
                if not is_injected(pod) or not is_ready(pod):
                    continue
                with self.subTest(pod=pod["metadata"]["name"]):
                    self.about(pod)
                    self.assertNotIn(AGENT, restarts(pod), summary(pod))
                    memory = memory_of(pod)
                    self.assertEqual(memory.kills(), 0, summary(pod))
                    peaks[f"{namespace}/{pod['metadata']['name']}"] = memory.peak()
        if not peaks:
            raise Failure("no agent runs")
        highest = max(peaks, key=peaks.get)
        say(f"{len(peaks)} agents, highest peak {peaks[highest] / MIB:.1f} MiB in {highest}, median "
            f"{sorted(peaks.values())[len(peaks) // 2] / MIB:.1f} MiB")
