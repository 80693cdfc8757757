"""A soak: two agents, one that spools in memory and one on disk, with two targets each, while app and collector go
wrong in ever new ways, strangers come to the agents' own ports, and the one on disk is stopped and started again. At
the end all is well, the spools drain, and the books must balance: every profile taken is stored or counted as dropped,
memory, descriptors and threads are what they were, and the logs tell what happened without repeating it.

PROFEFE_TEST_SOAK_SECONDS: how long things go wrong. The period is a second in place of a minute, so 1800 are 30 hours.
PROFEFE_TEST_SEED: the same faults in the same order again. PROFEFE_TEST_SOAK_OUTPUT: the folder for samples and logs.
"""

import collections
import http.client
import itertools
import os
import random
import re
import shutil
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import processes  # noqa: E402
from agent_case import ARRIVE_SECONDS, REQUEST_SECONDS, AgentCase, Metrics, is_bare, memory_kib  # noqa: E402
from blackbox import ROOT  # noqa: E402
from children import free_port, wait_until  # noqa: E402
from fault_server import Trap  # noqa: E402
from hostile import Hostile  # noqa: E402
from samples import Samples, descriptors, lines_of, wait_for_descriptors  # noqa: E402
from soak_faults import TARGETS, Stream, app_faults, collector_faults, schedule  # noqa: E402
from soak_servers import LongMaker, SoakApp, SoakCollector  # noqa: E402

SECONDS = int(os.environ.get("PROFEFE_TEST_SOAK_SECONDS", "60"))
SEED_NAME = "PROFEFE_TEST_SEED"
OUTPUT = os.environ.get("PROFEFE_TEST_SOAK_OUTPUT", os.path.join(ROOT, "build", "soak"))

# In real seconds. With these ranges all kinds of faults of app and collector have their turn within a minute.
APP_QUIET, APP_LASTS = (0.7, 1.5), (1.5, 3.0)
COLLECTOR_QUIET, COLLECTOR_LASTS = (0.7, 2.0), (2.0, 4.0)
TICK = 0.25
SAMPLE_EVERY = 1.0
STRANGERS_EVERY = 4.0
RESTARTS = max(2, SECONDS // 180)
CARRIED_MIN = 3     # profiles that wait when the agent on disk is stopped
WINDOWS = 3         # of the time after the warm-up, compared by their medians
WARM_UP = min(SECONDS / 12, 60)  # of each life
WARM_PROFILES = 10  # of each agent, before anything goes wrong
STUCK_SECONDS = 120  # a fault that the agent has not met by then, a restart that had no occasion: on any machine a bug
DRAIN_SECONDS = 120

TYPES = "cpu:5s=1s,heap:1s,goroutine:1s,block:5s,mutex:5s,allocs:5s,trace:20s=0.2,other/fgprof:5s"
SPOOL_BYTES = 256 * 1024  # an outage of a few seconds fills it
HOST = "profefe.test"
ENV = {"PROFEFE_AGENT_TYPES": TYPES, "PROFEFE_AGENT_SPOOL_BYTES": str(SPOOL_BYTES), "PROFEFE_AGENT_SPOOL_AGE": "168h",
       "PROFEFE_AGENT_MISSING_RETRY": "2s", "PROFEFE_AGENT_SCRAPE_TIMEOUT": "1500ms",
       "PROFEFE_AGENT_PUSH_TIMEOUT": "2s"}

# Allowed from the warm agent to the drained one: libc's heap stays in pieces after a fault's large header lines (100
# KiB twice while libcurl's buffer grows), and each way to fail touches code and library pages that had not run before.
ANONYMOUS_GROWTH_KIB = 512
RSS_GROWTH_KIB = 1024
# Allowed between the medians of the first and the last window, when most of that has happened. Seen: 20 to 80.
WINDOW_GROWTH_KIB = 256
# A fault is said once for each type and target that meets it, and so is its end. Seen: 10 to 15.
JOBS = 8 * len(TARGETS)
LINES_PER_APP_FAULT = 2 * JOBS
LINES_PER_COLLECTOR_FAULT = 10  # its beginning and its end; one that comes and goes with each push is said more often
LINES_PER_LIFE = 10

REASONS = ("spool-full", "too-big", "spool-error", "too-old", "refused", "too-large", "blocked")
OPENED = re.compile(r'msg="spool opened".* waiting=(\d+) bytes=\d+ broken=(\d+)')
STOPPED = re.compile(r'msg=(?:stopped|"stopped before everything was sent") .*')


class Every:
    def __init__(self, seconds):
        self.seconds = seconds
        self.next = 0.0

    def is_due(self, now):
        if now < self.next:
            return False
        self.next = now + self.seconds
        return True


class Life:
    """One process of an agent."""

    def __init__(self, agent, number, child, began):
        self.agent = agent
        self.number = number
        self.child = child
        self.began = began
        self.seen = None     # the last metrics
        self.account = None  # of the last line of its log

    def found(self):
        """What its predecessor left in the spool."""
        opened = OPENED.search(self.child.log())
        return (int(opened[1]), int(opened[2])) if opened else (0, 0)

    def read_account(self):
        line = STOPPED.search(self.child.log())
        self.account = {key: int(value) for key, value in re.findall(r" ([a-z-]+)=(\d+)(?= |$)", line[0])}


class Agent:
    def __init__(self, name, env, wrap):
        self.name = name
        self.pod = f"web-{name}"
        self.env = {**env, "POD_NAME": self.pod, "POD_UID": f"uid-{name}"}
        self.wrap = wrap
        self.port = free_port()
        self.lives = []
        self.cpu_ns = 0
        self.baseline = None

    @property
    def life(self):
        return self.lives[-1]

    def sum(self, key):
        return sum(life.account.get(key, 0) for life in self.lives)


class World:
    """What the agents live in."""

    def __init__(self, case, seed):
        maker = LongMaker()
        self.apps = {name: case.serve(SoakApp(maker, random.Random(f"{seed} sizes {name}"))) for name in TARGETS}
        self.collector = case.serve(SoakCollector())
        self.trap = case.serve(Trap())
        self.hosts = case.write("hosts", "")
        self.resolv = case.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        self.know_name()

    def know_name(self):
        self._write_hosts(f"127.0.0.1 localhost {HOST}\n")

    def forget_name(self):
        self._write_hosts("127.0.0.1 localhost\n")

    def _write_hosts(self, text):
        """In place: the file is mounted over /etc/hosts of the agents."""
        with open(self.hosts, "w", encoding="ascii") as file:
            file.write(text)

    def wrap(self):
        """A command that runs its arguments where this world's names hold."""
        return ["unshare", "--mount", "sh", "-c",
                'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && '
                'shift && exec "$@"', self.hosts, self.resolv]


class Soak(AgentCase):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get(SEED_NAME, random.SystemRandom().randrange(1 << 32)))
        print(f"{SEED_NAME}={self.seed} PROFEFE_TEST_SOAK_SECONDS={SECONDS}", flush=True)
        self.began = time.monotonic()
        self.may_mount = os.geteuid() == 0
        if not self.may_mount:
            print("not root: without the fault of a name that does not resolve", flush=True)
        self.world = World(self, self.seed)
        name = time.strftime(f"%Y%m%dT%H%M%SZ-{self.seed}", time.gmtime())
        self.output = os.path.join(OUTPUT, name)
        os.makedirs(self.output)
        self.samples = Samples(os.path.join(self.output, "samples.csv"))
        self.addCleanup(self.samples.close)
        print(f"samples and logs: {self.output}", flush=True)
        self.asked_again = 0

    def serve(self, server):
        self.addCleanup(server.close)
        self.addCleanup(lambda: self.assertEqual([], server.wrong))
        return server

    def now(self):
        return time.monotonic() - self.began

    # ---- agents

    def make_agent(self, name, **env):
        targets = ",".join(f"{target}={app.url(name)}" for target, app in self.world.apps.items())
        host = HOST if self.may_mount else "127.0.0.1"
        trap = self.world.trap.address
        settings = self.settings(targets, f"http://{host}:{self.world.collector.port}", **ENV, **env,
                                 http_proxy=trap, HTTPS_PROXY=trap, ALL_PROXY=trap)
        return Agent(name, settings, self.world.wrap() if self.may_mount else ())

    def begin_life(self, agent):
        number = len(agent.lives) + 1
        child = self.start_agent(agent.env, listen=agent.port, name=f"{agent.name}-{number}", wrap=agent.wrap)
        agent.lives.append(Life(agent, number, child, self.now()))
        self.addCleanup(shutil.copy, child.log_path, self.output)
        self.wait_for_port(child)

    def end_life(self, agent):
        life = agent.life
        self.look(life)
        self.stops_and_adds_cpu(agent)
        life.read_account()
        account = life.account
        self.assertEqual(account["taken"], account["stored"] + account["dropped"] + account["waiting"],
                         life.child.log_tail())
        self.assertEqual(0, account["lost"], life.child.log_tail())
        self.assertEqual(account["dropped"], sum(account.get(reason, 0) for reason in REASONS), life.child.log_tail())

    def stops_and_adds_cpu(self, agent):
        child = agent.life.child
        before = processes.cpu_ns(child.pid)
        self.stops(child, ARRIVE_SECONDS)
        agent.cpu_ns += before

    # ---- what an agent says, strangers or not

    def ask(self, life, path, accept="*/*"):
        """A page; when strangers have taken all the room, asked for again."""
        self.said = None

        def answered():
            life.child.must_live()
            connection = http.client.HTTPConnection("127.0.0.1", life.agent.port, timeout=REQUEST_SECONDS)
            try:
                connection.request("GET", path, headers={"Accept": accept})
                reply = connection.getresponse()
                self.said = reply.status, reply.read().decode()
            except (OSError, http.client.HTTPException) as error:
                self.said = 0, repr(error)
            finally:
                connection.close()
            good = self.said[0] in ((200, 500) if path == "/healthz" else (200,))
            self.asked_again += not good
            return self.said if good else None

        return wait_until(answered, STUCK_SECONDS, lambda: f"{life.child.name} {path}: {self.said}")[1]

    def look(self, life):
        """Its metrics. Its books balance at any time."""
        seen = life.seen = Metrics(self.ask(life, "/metrics"))
        settled = seen.sum("pushes_total", result="stored") + seen.sum("pushes_total", result="found")
        self.assertEqual(seen.sum("taken_profiles_total"),
                         settled + seen.sum("dropped_profiles_total") + seen.sum("spool_profiles"), seen.text)
        return seen

    def look_at_pages(self, life, count):
        page, accept, word = (("/status", "*/*", "collector"), ("/status", "application/json", '"targets"'),
                              ("/healthz", "*/*", ""))[count % 3]
        self.assertIn(word, self.ask(life, page, accept))

    def sample(self, life):
        faults = {name: self.app_stream.name() if app.fault else "" for name, app in self.world.apps.items()}
        return self.samples.take(self.now(), life, life.seen, {**faults, "collector": self.collector_stream.name()})

    # ---- the run

    def make_streams(self):
        world = self.world
        chance = random.Random(f"{self.seed} faults")
        chosen = lambda window: [world.apps[name] for name in window.targets]
        apps, collectors = app_faults(world.trap), collector_faults(world.trap, chance, self.may_mount)
        self.app_stream = Stream(
            self.said("app", schedule(apps, random.Random(f"{self.seed} app"), APP_QUIET, APP_LASTS, True)), len(apps),
            lambda window: window.fault.begin(chosen(window)), lambda window: window.fault.end(chosen(window)))
        self.collector_stream = Stream(
            self.said("collector", schedule(collectors, random.Random(f"{self.seed} collector"), COLLECTOR_QUIET,
                                            COLLECTOR_LASTS, False)), len(collectors),
            lambda window: window.fault.begin(world), lambda window: window.fault.end(world))

    def said(self, who, windows):
        for window in windows:
            print(f"{self.now():7.1f} s {who:9} {window}", flush=True)
            yield window

    def warm_up(self):
        """All is well at first."""
        for agent in self.agents:
            self.begin_life(agent)
        for agent in self.agents:
            self.wait_until_stored(agent, WARM_PROFILES)
            wait_until(lambda: self.take_baseline(agent), ARRIVE_SECONDS, lambda: "no sample")

    def wait_until_stored(self, agent, count):
        before = self.look(agent.life).sum("pushes_total", result="stored")
        wait_until(lambda: self.look(agent.life).sum("pushes_total", result="stored") >= before + count, STUCK_SECONDS,
                   lambda: f"{agent.name}: nothing is stored:\n{agent.life.seen.text}\n{agent.life.child.log_tail()}")

    def take_baseline(self, agent):
        """Some looks: between two transfers there are the fewest descriptors."""
        pid = agent.life.child.pid
        few = []
        for _ in range(20):
            few.append(descriptors(pid))
            time.sleep(TICK / 5)
        agent.baseline = {"descriptors": min(few), "rss_kib": memory_kib(pid, "VmRSS"),
                          "anonymous_kib": memory_kib(pid, "RssAnon")}
        return True

    def may_restart(self, disk):
        """While the collector keeps it from sending, and something waits."""
        stream = self.collector_stream
        return (stream.before is not None and stream.window.fault.outage and
                disk.life.seen.sum("spool_profiles") >= CARRIED_MIN)

    def restart(self, disk):
        waits = disk.life.seen.sum("spool_profiles")
        self.end_life(disk)
        self.begin_life(disk)
        self.assertEqual((disk.lives[-2].account["waiting"], 0), disk.life.found(), "carried over, and broken")
        print(f"{self.now():7.1f} s disk      restarted, {waits} waited, {disk.life.found()[0]} carried over",
              flush=True)
        self.look(disk.life)

    def run_faults(self):
        """Until the time is over, each kind of fault had its turn, nothing goes wrong any more, and the restarts are
        done."""
        chance = random.Random(f"{self.seed} strangers")
        self.strangers = [Hostile(agent.port, chance) for agent in self.agents]
        self.pages, self.attacks = itertools.count(), itertools.cycle(self.strangers)
        begin = self.now()
        self.restart_times = [begin + SECONDS * (number + 0.5) / RESTARTS for number in range(RESTARTS)]
        sampling, attacking = Every(SAMPLE_EVERY), Every(STRANGERS_EVERY)
        while not self.turn(begin):
            if sampling.is_due(self.now()):
                self.sample_all()
            if attacking.is_due(self.now()):
                next(self.attacks).attack()
            time.sleep(TICK)
        for one in self.strangers:
            one.leave()

    def turn(self, begin):
        """Whether all is done and well."""
        now, (memory, disk) = self.now(), self.agents
        streams = (self.app_stream, self.collector_stream)
        over = now >= begin + SECONDS and not self.restart_times and all(stream.count >= stream.kinds
                                                                         for stream in streams)
        seen = self.look(memory.life)
        self.look(disk.life)
        calm = [stream.turn(now, seen, not over) for stream in streams]
        if self.restart_times and now >= self.restart_times[0] and self.may_restart(disk):
            self.restart(disk)
            self.restart_times.pop(0)
        self.assert_not_stuck(self.now(), begin)
        return over and all(calm)

    def sample_all(self):
        count = next(self.pages)
        for agent in self.agents:
            self.sample(agent.life)
            self.look_at_pages(agent.life, count)

    def assert_not_stuck(self, now, begin):
        for stream in (self.app_stream, self.collector_stream):
            self.assertLess(now, (stream.next_turn or now) + STUCK_SECONDS,
                            f"{stream.window} is not met:\n{self.agents[0].life.seen.text}\n"
                            f"{self.agents[0].life.child.log_tail()}")
        if self.restart_times:
            self.assertLess(now, self.restart_times[0] + STUCK_SECONDS, "no occasion for a restart")

    def drain(self, agent):
        """Until no profile is under way and none waits: the app says 503 now, and a fetch that was answered so began
        after all others had ended."""
        def all_sent():
            seen = self.look(agent.life)
            return (seen.sum("scrapes_total", result="status") > refused and seen.sum("spool_profiles") == 0) or None

        wait_until(lambda: all(app.under_way == 0 for app in self.world.apps.values()), DRAIN_SECONDS,
                   lambda: "the app still answers")
        refused = self.look(agent.life).sum("scrapes_total", result="status") + 1
        wait_until(all_sent, DRAIN_SECONDS, lambda: f"{agent.name}: profiles still wait:\n{agent.life.seen.text}\n"
                                                    f"{agent.life.child.log_tail()}")

    def test_nothing_is_lost_in_silence_and_nothing_grows(self):
        self.agents = [self.make_agent("memory"), self.make_agent("disk", PROFEFE_AGENT_SPOOL_DIR=self.path("spool"))]
        self.make_streams()
        self.warm_up()
        self.run_faults()
        for agent in self.agents:
            self.wait_until_stored(agent, WARM_PROFILES)
            self.wait_for_health(agent.life.child, 200)
        for app in self.world.apps.values():
            app.open = False
        for agent in self.agents:
            self.drain(agent)
        for agent in self.agents:
            with self.subTest(agent=agent.name):
                self.check_resources(agent)
        for agent in self.agents:
            self.end_life(agent)
        for agent in self.agents:
            with self.subTest(agent=agent.name):
                self.check_sums(agent)
                self.check_log(agent)
        self.check_servers()

    # ---- verdicts

    def check_resources(self, agent):
        life = agent.life
        wait_for_descriptors(life, agent.baseline["descriptors"], ARRIVE_SECONDS)
        memory = {}
        for column, name, most in (("anonymous_kib", "RssAnon", ANONYMOUS_GROWTH_KIB),
                                   ("rss_kib", "VmRSS", RSS_GROWTH_KIB)):
            medians = self.samples.medians(agent.name, column, WARM_UP, WINDOWS)
            memory[column] = (agent.baseline[column], medians, memory_kib(life.child.pid, name), most)
            print(f"{agent.name}: {column} warm {agent.baseline[column]}, medians {medians}, drained "
                  f"{memory[column][2]}, "
                  f"peak {memory_kib(life.child.pid, 'VmHWM')}", flush=True)
        print(f"{agent.name}: descriptors {agent.baseline['descriptors']} again, at most "
              f"{max(row['descriptors'] for row in self.samples.of(agent.name))}; threads 1 again, at most "
              f"{max(row['threads'] for row in self.samples.of(agent.name))}", flush=True)
        if not is_bare():
            return
        for column, (warm, medians, drained, most) in memory.items():
            self.assertLessEqual(drained - warm, most, f"{column}: grown from {warm}")
            self.assertGreater(len(medians), 0, "samples after the warm-up")
            self.assertLessEqual(medians[-1] - medians[0], WINDOW_GROWTH_KIB, f"{column}: grown by windows: {medians}")

    def check_sums(self, agent):
        """What was taken is what was stored and what was dropped, over all lives; the collector has all that the agent
        says it has. It may have more: what it stored without a word, or too late for the agent, who then had to drop
        it."""
        collector = self.world.collector
        found = sum(life.found()[0] for life in agent.lives)
        taken, stored, dropped = agent.sum("taken") - found, agent.sum("stored"), agent.sum("dropped")
        unique = len(collector.unique_of(agent.pod))
        reasons = {reason: agent.sum(reason) for reason in REASONS if agent.sum(reason)}
        text = (f"{agent.name}: {taken} taken = {stored} stored + {dropped} dropped {reasons}; the collector has "
                f"{unique}; "
                f"{len(agent.lives)} lives, {found} carried over, {agent.sum('cut')} cut")
        print(text, flush=True)
        print(f"{agent.name}: pushes {self.pushes(agent)}", flush=True)
        print(f"{agent.name}: CPU {agent.cpu_ns / 1e6:.0f} ms, {agent.cpu_ns / 1e3 / max(taken, 1):.0f} µs a profile, "
              f"status "
              f"pages included", flush=True)
        self.assertEqual(taken, stored + dropped, text)
        self.assertGreaterEqual(unique, stored, text)
        unsure = sum(life.seen.sum("pushes_total", result="unsure") for life in agent.lives)
        late = max(0, unsure + len(agent.lives) -
                   collector.left_unsure[agent.pod])  # one may be under way at a life's end
        self.assertLessEqual(unique - stored, len(collector.untold_of(agent.pod)) + late, text)
        self.check_missing(agent, reasons)

    @staticmethod
    def pushes(agent):
        """Result → count, over all lives."""
        counts = collections.Counter()
        for life in agent.lives:
            counts.update(life.seen.by("pushes_total", "result"))
        return dict(counts)

    def check_missing(self, agent, reasons):
        """What the app gave and the collector never got was dropped, cut by SIGTERM, or came too late for the agent."""
        given = {serial for app in self.world.apps.values() for serial, name in list(app.given)
                 if name.startswith(agent.name + "/")}
        missing = given - set(self.world.collector.serials())
        dropped = sum(count for reason, count in reasons.items() if reason != "too-big")  # that was no good one
        gave_up = sum(life.seen.sum("scrapes_total", result=result)
                      for life in agent.lives for result in ("timeout", "slow"))
        late = max(0, gave_up - sum(app.kept_waiting[agent.name] for app in self.world.apps.values()))
        text = (f"{len(given)} given, {len(missing)} of them missing; {dropped} dropped, {agent.sum('cut')} cut, "
                f"{late} late")
        print(f"{agent.name}: {text}", flush=True)
        self.assertLessEqual(len(missing), dropped + agent.sum("cut") + late, text)

    def check_log(self, agent):
        lines = sum(lines_of(life.child.log_path) for life in agent.lives)
        most = (LINES_PER_APP_FAULT * self.app_stream.count + LINES_PER_COLLECTOR_FAULT * self.collector_stream.count +
                LINES_PER_LIFE * len(agent.lives))
        print(f"{agent.name}: {lines} log lines, {60 * lines / self.now():.0f} a minute, for {self.app_stream.count} "
              f"faults of "
              f"the app and {self.collector_stream.count} of the collector; at most {most}", flush=True)
        self.assertLessEqual(lines, most)
        for life in agent.lives:
            self.check_log_of(life)

    def check_log_of(self, life):
        """A failing collector is said once, then once a minute, until it stores again."""
        text = life.child.log()
        failed, again = text.count('msg="push failed'), text.count('msg="collector stores again"')
        self.assertLessEqual(failed, again + 1 + (self.now() - life.began) / 60, life.child.name)
        self.assertNotIn("spool directory was gone", text)

    def check_servers(self):
        collector = self.world.collector
        wrong = [post.serial for post in collector.stored if not re.fullmatch(r"t?\d+", post.serial)]
        self.assertEqual([], wrong, "bad answers of the app that were sent all the same")
        self.assertEqual([], collector.broken)
        self.assertEqual(0, self.world.trap.connections, "something came to the proxy or the target of a redirect")
        strangers = sum(one.count for one in self.strangers)
        print(f"{len(collector.stored)} stored, {len(collector.duplicates())} of them more than once; {strangers} "
              f"strangers; "
              f"{self.asked_again} pages asked for again; {self.now():.0f} s", flush=True)
