"""The spool against death, a full or read-only disk, a directory that vanishes, a second agent, and the container's
limit."""

import collections
import fcntl
import glob
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import time

import fault_collector
from agent_case import ARRIVE_SECONDS, START_SECONDS, AgentCase, is_bare, memory_kib
from blackbox import AGENT
from cgroup import MemoryGroup
from children import wait_until
from fault_collector import FaultCollector, words
from fault_server import FaultApp
from small_pprof import Maker, read

MIB = 1 << 20
TARGETS = 4
# With four targets 32 profiles a second, so that even the shortest life takes some.
MANY_TYPES = ",".join(f"other/{name}:1s" for name in ("a", "b", "c", "d", "e", "f", "g", "h"))
TYPES = "heap:1s,goroutine:1s,block:1s,mutex:1s"
# `test/run sanitize` sets fewer: an instrumented agent takes longer to start than its whole life here.
KILLS = int(os.environ.get("PROFEFE_TEST_KILLS", 200))
LIFE_SECONDS = (0.05, 0.3)
FAULTY_SHARE = 0.2  # of the collector's answers while agents are killed
FAULTS_A_PROFILE = 4  # at most: one that fails five times while the next one passes is rightly dropped
# Every so many lives the collector is down, and death waits for a profile in the spool. In the others an agent that is
# slow to start may die with none: that of an emulator mostly does.
LIVES_A_FULL_SPOOL = 4
SEED_NAME = "PROFEFE_TEST_SEED"
SOME = 4
MANY = 1500  # profiles, more than the index of a small spool has
INSTRUMENTED_MIB = 1024  # of an agent with a sanitizer or in an emulator, which alone takes more than the limits here
DISK_MIB = 1
DRAIN_SECONDS = 120      # for a hundred megabytes, with labels in them
ROOMY_MIB = 512          # for all that comes while the collector is down
LARGE = 60_000
# Of profiles that go through an agent in a small container; some are larger than the default spool of 8 MiB.
SIZES = (1_000, 100_000, 3_000_000, 20_000_000, 7_900_000, 50_000, 1_000_000, 8_200_000)
DISK_SIZES = (1_000, 8_200_000, 50_000, 3_000_000)
ROUNDS = 3  # of all of them, with the collector down and then up


class SpoolCase(AgentCase):
    def setUp(self):
        super().setUp()
        self.app = self.serve(FaultApp(Maker()))
        self.collector = self.serve(FaultCollector())
        self.spool = self.path("spool")

    def serve(self, server):
        self.addCleanup(server.close)
        self.addCleanup(lambda: self.assertEqual([], server.wrong))
        return server

    def disk_settings(self, **more):
        return self.settings(self.app.url(), self.collector.address, **{
            "PROFEFE_AGENT_TYPES": TYPES, "PROFEFE_AGENT_SPOOL_DIR": self.spool, **more})

    def start_on_disk(self, wrap=(), **more):
        agent = self.start_agent(self.disk_settings(**more), wrap=wrap)
        self.wait_for_port(agent)
        return agent

    def waits(self, agent, count=SOME):
        return self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") >= count, f"{count} waiting")

    def arrives(self, agent, count=SOME):
        """So many more than there are."""
        before = len(self.collector.serials())
        wait_until(lambda: len(self.collector.serials()) >= before + count, ARRIVE_SECONDS,
                   lambda: f"nothing arrives:\n{agent.log_tail()}")

    def check_sum(self, seen):
        """Nothing is lost uncounted. One that was evicted while the collector stored it counts on both sides."""
        sums = {"taken": seen.sum("taken_profiles_total"), "dropped": seen.sum("dropped_profiles_total"),
                "settled": seen.sum("pushes_total", result="stored") + seen.sum("pushes_total", result="found"),
                "unique": len(self.collector.unique()), "evicted": seen.sum("pushes_total", result="evicted")}
        text = f"{sums}:\n{seen.text}"
        self.assertEqual(sums["taken"], sums["settled"] + sums["dropped"], text)
        self.assertGreaterEqual(sums["unique"], sums["settled"], text)
        self.assertLessEqual(sums["unique"], sums["settled"] + sums["evicted"], text)
        self.assertEqual([], self.collector.broken)


class Killed(SpoolCase):
    def finished(self):
        """Serials of the profiles that are whole in the spool's directory."""
        found = set()
        for path in glob.glob(os.path.join(self.spool, "[0-9]*-*")):
            try:
                with open(path, "rb") as file:
                    found.add(read(file.read())[0])
            except FileNotFoundError:
                pass  # stored and removed between the two
        return found

    def faulty(self, chance):
        answers = (words(500, "down"), fault_collector.reset, fault_collector.close, fault_collector.store_and_reset)
        faults = collections.Counter()

        def answer(collector, exchange, post):
            if chance.random() < FAULTY_SHARE and faults[post.serial] < FAULTS_A_PROFILE:
                faults[post.serial] += 1
                chance.choice(answers)(collector, exchange, post)
            else:
                collector.accept(exchange, post)
        return answer

    def live_and_die(self, settings, life, number, wait_for=None):
        """One agent, killed so long after wait_for(agent), or else after its start. Its log goes on in the same
        file."""
        agent = self.start("agent", AGENT, env={**settings, "PROFEFE_AGENT_LISTEN": "none",
                                                      "POD_UID": f"life-{number}"})
        if wait_for is not None:
            wait_for(agent)
        time.sleep(life)
        os.kill(agent.pid, signal.SIGKILL)
        agent.remove()

    def test_kill_9_in_a_loop_loses_no_finished_profile(self):
        seed = int(os.environ.get(SEED_NAME, random.SystemRandom().randrange(1 << 32)))
        print(f"{SEED_NAME}={seed}, {KILLS} kills", flush=True)
        chance = random.Random(seed)
        faulty, down = self.faulty(random.Random(seed + 1)), words(500, "down")
        targets = ",".join(f"{name}={self.app.url(name)}" for name in "wxyz"[:TARGETS])
        settings = {**self.disk_settings(PROFEFE_AGENT_TARGETS=targets, PROFEFE_AGENT_TYPES=MANY_TYPES,
                                         PROFEFE_AGENT_RETRY_MIN="10ms", PROFEFE_AGENT_RETRY_MAX="50ms"),
                    "PROFEFE_AGENT_SIDECAR": "1"}
        finished = set()

        def spooled(agent):
            wait_until(lambda: self.finished() - finished, ARRIVE_SECONDS,
                       lambda: f"nothing is spooled:\n{agent.log_tail()}")

        for number in range(KILLS):
            full = number % LIVES_A_FULL_SPOOL == 0
            self.collector.answer_post = down if full else faulty
            self.live_and_die(settings, chance.uniform(*LIFE_SECONDS), number, wait_for=spooled if full else None)
            finished |= self.finished()
        self.collector.answer_post = None
        self.app.open = False
        agent = self.start_agent(settings)
        self.wait_for_port(agent)
        seen = self.wait_for_metrics(agent, lambda seen: seen.sum("spool_profiles") == 0, "all sent")
        stored = set(self.collector.serials())
        print(f"{len(self.app.given)} given, {len(finished)} seen in the spool after a death, {len(stored)} stored, "
              f"{len(self.collector.duplicates())} of them twice", flush=True)
        self.assertEqual(set(), finished - stored, "finished, but never stored")
        self.assertGreaterEqual(len(finished), KILLS // LIVES_A_FULL_SPOOL, "a test that means something")
        self.assertEqual([], self.collector.broken, "half a file was sent")
        self.assertEqual(set(), stored - {serial for serial, _ in self.app.given})
        self.assertEqual(0, seen.sum("dropped_profiles_total"), seen.text)
        self.assertNotIn("level=error", agent.log())
        self.stops(agent)


class DiskCase(SpoolCase):
    def needs_root(self, what):
        if os.geteuid() != 0:
            self.skipTest(f"needs root: {what}")

    def seen_by(self, agent):
        return f"/proc/{agent.pid}/root{self.spool}"

    def as_somebody(self):
        """A command that runs its arguments without root's powers, which ignore a directory's mode."""
        os.chmod(self.folder, 0o755)
        if os.geteuid() != 0:
            return []
        os.mkdir(self.spool)
        os.chown(self.spool, 65532, 65532)
        return ["setpriv", "--reuid=65532", "--regid=65532", "--clear-groups"]


class Disk(DiskCase):
    def small_disk(self):
        """A command that runs its arguments with a tmpfs of DISK_MIB at the spool's place, in a mount namespace."""
        self.needs_root("a mount namespace with a small disk")
        os.mkdir(self.spool)
        return ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size={DISK_MIB}m tmpfs "$0" && exec "$@"',
                self.spool]

    def fill(self, agent):
        """Takes what is left of the agent's disk."""
        with open(os.path.join(self.seen_by(agent), "somebody-elses"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return file.name

    def test_disk_smaller_than_the_budget_keeps_the_youngest(self):
        self.app.size = lambda _count: LARGE
        self.collector.answer_post = words(500, "down")
        agent = self.start_on_disk(self.small_disk(), PROFEFE_AGENT_SPOOL_BYTES=str(8 * MIB))
        self.wait_for_metrics(agent, lambda seen: seen.sum("dropped_profiles_total", reason="spool-full") >= SOME,
                              "evicted")
        self.collector.answer_post = None
        self.arrives(agent)
        seen = self.drain(agent, self.app)
        self.assertEqual({"spool-full"}, set(seen.by("dropped_profiles_total", "reason")), seen.text)
        self.check_sum(seen)
        stored = self.collector.serials()
        self.assertEqual(sorted(stored), stored, "the order of what arrived")
        self.stops(agent)

    def test_disk_that_others_fill_is_said_and_recovered_from(self):
        agent = self.start_on_disk(self.small_disk(), PROFEFE_AGENT_SPOOL_BYTES=str(8 * MIB))
        self.arrives(agent)
        filler = self.fill(agent)
        errors = lambda seen: seen.sum("scrapes_total", result="error")
        self.wait_for_metrics(agent, lambda seen: errors(seen) >= SOME, "profiles that have no room")
        agent.wait_for_log(r"(?i)no space left", START_SECONDS)
        self.wait_for_health(agent, 500, "space")
        os.unlink(filler)
        self.arrives(agent)
        self.wait_for_health(agent, 200)
        seen = self.drain(agent, self.app)
        self.assertGreaterEqual(seen.sum("dropped_profiles_total"), SOME, "what had no room is counted")
        self.check_sum(seen)
        self.stops(agent)

    def test_read_only_under_way_is_said_and_recovered_from(self):
        agent = self.start_on_disk(self.as_somebody())
        self.arrives(agent)
        os.chmod(self.spool, 0o500)
        self.wait_for_metrics(agent, lambda seen: seen.sum("scrapes_total", result="error") >= SOME,
                              "profiles that cannot be kept")
        agent.wait_for_log(r"(?i)permission denied", START_SECONDS)
        self.wait_for_health(agent, 500, "ermission")
        os.chmod(self.spool, 0o700)
        self.arrives(agent)
        self.wait_for_health(agent, 200)
        seen = self.drain(agent, self.app)
        self.assertGreaterEqual(seen.sum("dropped_profiles_total"), SOME, "what could not be kept is counted")
        self.assertEqual([], self.collector.broken)
        self.stops(agent)

    def delete_spool(self):
        """Also while the agent writes into it."""
        gone = self.path("gone")
        os.rename(self.spool, gone)
        wait_until(lambda: shutil.rmtree(gone, ignore_errors=True) or not os.path.exists(gone), ARRIVE_SECONDS,
                   lambda: f"cannot delete {gone}: {os.listdir(gone)}")

    def test_directory_deleted_under_way_is_counted_said_and_made_anew(self):
        self.collector.answer_post = words(500, "down")
        agent = self.start_on_disk()
        self.waits(agent)
        self.delete_spool()
        self.wait_for_metrics(agent, lambda seen: seen.sum("dropped_profiles_total", reason="spool-error") >= SOME,
                              "counted as lost")
        agent.wait_for_log(r"spool directory was gone", START_SECONDS)
        self.collector.answer_post = None
        self.arrives(agent)
        seen = self.drain(agent, self.app)
        self.check_sum(seen)
        self.assertEqual({"spool-error"}, set(seen.by("dropped_profiles_total", "reason")))
        self.stops(agent)

    def test_second_agent_on_the_directory_is_refused_and_the_first_goes_on(self):
        agent = self.start_on_disk()
        self.arrives(agent)
        alone = self.run_binary(AGENT, env={**self.disk_settings(), "PROFEFE_AGENT_LISTEN": "none"})
        self.assertNotEqual(0, alone.code, alone)
        self.assertIn(self.spool, alone.out + alone.err, alone)
        self.arrives(agent)
        self.stops(agent)

    def test_what_waits_survives_sigterm_and_comes_with_its_time_and_order(self):
        self.collector.answer_post = words(500, "down")
        agent = self.start_on_disk()
        self.waits(agent, 2 * SOME)
        self.stops(agent)
        taken = self.account(agent)["taken"]
        self.app.open = False
        self.collector.answer_post = None
        agent = self.start_on_disk()
        self.drain(agent, self.app)
        # The last that the app gave may have been on its way to the agent when the signal came.
        self.assertEqual(sorted(serial for serial, _ in self.app.given)[:taken], self.collector.serials())
        self.stops(agent)

    def test_a_large_directory_holds_more_than_a_small_one(self):
        """The index of a spool of 64 MiB is larger than the 1,024 profiles of the default."""
        self.collector.answer_post = words(500, "down")
        agent = self.start_on_disk()
        self.waits(agent)
        self.stops(agent)
        self.app.open = False
        names = sorted(name for name in os.listdir(self.spool) if name[0].isdigit())
        sequence, rest = names[-1].split("-", 1)
        for i in range(1, MANY):
            os.link(os.path.join(self.spool, names[-1]), os.path.join(self.spool, f"{int(sequence) + i:010}-{rest}"))
        agent = self.start_on_disk(PROFEFE_AGENT_SPOOL_BYTES=str(64 * MIB))
        seen = self.waits(agent, len(names) + MANY - 1)
        self.assertEqual(0, seen.sum("dropped_profiles_total"), seen.text)
        self.stops(agent)


class BadMoment(DiskCase):
    """At the start. The agent does not idle for its pod's life: profiles go through memory until the directory
    opens."""

    def starts_in_memory(self, wrap=(), told=()):
        self.collector.answer_post = words(401, "who are you?")  # no fault of any profile: none is passed by the next
        agent = self.start_on_disk(wrap)
        self.wait_for_metrics(agent, lambda seen: seen.sum("spool_directory_closed") == 1, "in memory")
        self.waits(agent)
        agent.wait_for_log(r"profiles wait in memory", START_SECONDS)
        self.assertRegex(self.get("/status")[1], r"in memory for \d+s, trying again: spool-dir")
        self.wait_for_health(agent, 500, "profiles wait in memory", self.spool, *told)  # after three intervals
        return agent

    def goes_to_disk(self, agent, folder=None):
        """Before the collector is back, and in order: what waits in memory is sent first."""
        before = len(self.app.given)
        self.wait_for_metrics(agent, lambda seen: seen.sum("spool_directory_closed") == 0, "on disk")
        agent.wait_for_log(r'msg="spool opened"', START_SECONDS)
        self.wait_for_health(agent, 500, "collector")
        self.assertNotIn("in memory for", self.get("/status")[1])
        wait_until(lambda: glob.glob(os.path.join(folder or self.spool, "[0-9]*-*")), ARRIVE_SECONDS,
                   lambda: f"nothing in the directory:\n{agent.log_tail()}")
        self.assertGreater(len(self.app.given), before)
        self.collector.answer_post = None
        seen = self.drain(agent, self.app)
        self.check_sum(seen)
        self.assertEqual(0, seen.sum("dropped_profiles_total"), seen.text)
        stored = self.collector.serials()
        self.assertEqual(sorted(stored), stored, "the order of what arrived")
        self.stops(agent)
        self.assertEqual(0, self.account(agent)["lost"])

    def test_a_directory_that_cannot_be_written(self):
        wrap = self.as_somebody()
        os.makedirs(self.spool, exist_ok=True)
        os.chmod(self.spool, 0o500)
        agent = self.starts_in_memory(wrap, told=["ermission"])
        os.chmod(self.spool, 0o700)
        self.goes_to_disk(agent)

    def test_a_file_in_its_place(self):
        self.write("spool", "not a directory")
        agent = self.starts_in_memory()
        os.unlink(self.spool)
        self.goes_to_disk(agent)

    def test_a_lock_that_the_one_before_still_holds(self):
        os.mkdir(self.spool)
        with open(os.path.join(self.spool, "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            agent = self.starts_in_memory(told=["another agent holds"])
        self.goes_to_disk(agent)

    def test_a_full_disk(self):
        self.needs_root("a mount namespace with a disk that is full")
        os.mkdir(self.spool)
        full = ["unshare", "--mount", "sh", "-c",
                'mount -t tmpfs -o size=1m,nr_inodes=2 tmpfs "$0" && touch "$0/somebody-elses" && exec "$@"',
                self.spool]
        agent = self.starts_in_memory(full, told=["space"])
        subprocess.run(["nsenter", f"--mount=/proc/{agent.pid}/ns/mnt", "mount", "-o", "remount,nr_inodes=1000",
                        self.spool],
                       check=True)
        self.goes_to_disk(agent, self.seen_by(agent))

    def test_sigterm_while_in_memory_is_accounted_for(self):
        self.write("spool", "not a directory")
        agent = self.starts_in_memory()
        self.stops(agent)
        account = self.account(agent)
        self.assertGreaterEqual(account["lost"], SOME)
        self.assertEqual(account["waiting"], account["lost"])
        self.assertEqual(account["taken"], account["stored"] + account["dropped"] + account["waiting"])

    def test_no_descriptor_left(self):
        """From the signals to the last of what it opens: once there are some, it works."""
        for limit in range(4, 13):
            with self.subTest(limit=limit):
                agent = self.start_agent(self.disk_settings(PROFEFE_AGENT_SPOOL_DIR=self.path(f"spool-{limit}")),
                                         name=f"agent-{limit}", wrap=["prlimit", f"--nofile={limit}:1024"])
                agent.wait_for_log(r"(?i)too many open files|no descriptor|profiling", START_SECONDS)
                time.sleep(0.3)
                resource.prlimit(agent.pid, resource.RLIMIT_NOFILE, (1024, 1024))
                self.arrives(agent)
                self.stops(agent)


class ContainerLimit(SpoolCase):
    def goes_through(self, limit_mib, sizes, env):
        """Profiles of these sizes, with the collector down and then up, in a container with so much memory; the last
        metrics."""
        try:
            group = MemoryGroup("profefe-test", (limit_mib if is_bare() else INSTRUMENTED_MIB) * MIB)
        except OSError as error:
            self.skipTest(f"needs root and a memory cgroup that can be written: {error}")
        self.addCleanup(group.remove)
        served, size = ROUNDS * len(sizes), itertools.cycle(sizes)
        self.app.size = lambda _count: next(size)
        agent = self.start_agent({**env, "PROFEFE_AGENT_TYPES": TYPES}, wrap=group.wrap())
        self.wait_for_port(agent)
        for what, answer in (("down", words(500, "down")), ("up", None)):
            self.collector.answer_post = answer
            before = self.app.seen.total()
            wait_until(lambda: self.app.seen.total() >= before + served, 2 * ARRIVE_SECONDS, lambda: agent.log_tail())
            agent.must_live()
            print(f"collector {what}: peak of the cgroup {group.peak() / MIB:.1f} MiB of {limit_mib}, resident "
                  f"{memory_kib(agent.pid, 'VmRSS') / 1024:.1f} MiB, of which libraries and other files "
                  f"{memory_kib(agent.pid, 'RssFile') / 1024:.1f}", flush=True)
        seen = self.drain(agent, self.app, DRAIN_SECONDS)
        self.assertEqual(0, group.kills())
        self.check_sum(seen)
        self.stops(agent)
        return seen

    def test_16_mib_hold_whatever_the_sizes(self):
        seen = self.goes_through(16, SIZES, self.settings(self.app.url(), self.collector.address))
        self.assertEqual({"spool-full"}, set(seen.by("dropped_profiles_total", "reason")), seen.text)
        self.assertGreater(seen.sum("scrapes_total", result="too-big"), 0, seen.text)

    def test_8_mib_hold_with_a_spool_on_disk(self):
        seen = self.goes_through(8, DISK_SIZES, self.disk_settings(PROFEFE_AGENT_SPOOL_BYTES=str(ROOMY_MIB * MIB)))
        self.assertEqual({}, seen.by("dropped_profiles_total", "reason"), seen.text)
        self.assertEqual(0, seen.sum("scrapes_total", result="too-big"), seen.text)
