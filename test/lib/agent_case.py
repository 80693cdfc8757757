"""The agent as a process, quick enough for a test, and what it says of itself."""

import datetime
import http.client
import re
import urllib.parse

from blackbox import AGENT, Case
from children import free_port, wait_until

# Deadlines, several times what an idle machine takes: the tests share theirs with a build of Kubernetes.
REQUEST_SECONDS = 15
START_SECONDS = 15
STOP_SECONDS = 15  # the default stop-deadline is 5 s
ARRIVE_SECONDS = 30

# Quick enough for a test; the agent's own ranges allow it. /healthz turns after three intervals.
QUICK = {"PROFEFE_AGENT_INTERVAL": "1s", "PROFEFE_AGENT_TYPES": "cpu:3s=1s,heap:1s,goroutine:1s",
         "PROFEFE_AGENT_CPU_SECONDS": "1", "PROFEFE_AGENT_FIRST_WITHIN": "2s",
         "PROFEFE_AGENT_RETRY_MIN": "100ms", "PROFEFE_AGENT_RETRY_MAX": "500ms", "PROFEFE_AGENT_STOP_DEADLINE": "2s"}
IDENTITY = {"POD_NAME": "web-7d4b9c6f58-x2x7k", "POD_NAMESPACE": "shop",
            "POD_UID": "5f0e1d6c-6a53-4c55-9d0e-2f9a4f2f7c11",
            "NODE_NAME": "node1", "POD_IP": "127.0.0.1"}

STOPPED = re.compile(r'(?m)^.*msg=("stopped before everything was sent"|stopped) (.*)$')
SAMPLE = re.compile(r"(?m)^(\w+)(?:\{(.*?)\})? (\d+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def is_emulated():
    """Whether the agent is one of another architecture, which a script starts in an emulator."""
    with open(AGENT, "rb") as file:
        return file.read(2) == b"#!"


def is_bare():
    """Whether the agent's memory is its own: not in an emulator, and not built with AddressSanitizer."""
    if is_emulated():
        return False
    with open(AGENT, "rb") as file:
        return b"__asan_init" not in file.read()


def memory_kib(pid, name):
    """VmHWM, VmRSS, … of a process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(rf"(?m)^{name}:\s+(\d+) kB$", file.read())[1])


def get_from(base_url, path):
    """Status and text of what is below that URL."""
    url = urllib.parse.urlsplit(base_url)
    connection = http.client.HTTPConnection(url.netloc, timeout=REQUEST_SECONDS)
    try:
        connection.request("GET", url.path + path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


class Metrics:
    """One page of /metrics."""

    def __init__(self, text):
        self.text = text
        self.samples = [(name, dict(LABEL.findall(labels)), int(value)) for name, labels, value in SAMPLE.findall(text)]

    def sum(self, family, **labels):
        """The sum of all samples of a family that have these labels; 0 when there are none."""
        return sum(value for name, has, value in self.samples
                   if name == "profefe_agent_" + family and labels.items() <= has.items())

    def by(self, family, label, **labels):
        """label's value → count, without the zeros."""
        return {has[label]: value for name, has, value in self.samples
                if name == "profefe_agent_" + family and value and labels.items() <= has.items()}


class AgentCase(Case):
    def setUp(self):
        super().setUp()
        self.since = now() - datetime.timedelta(minutes=1)

    def start_agent(self, env, *args, listen=None, name="agent", wrap=()):
        """The sidecar with exactly this environment, its own port on loopback. wrap: a command that execs its
        arguments."""
        self.port = free_port() if listen is None else listen
        own = {"PROFEFE_AGENT_SIDECAR": "1", "PROFEFE_AGENT_LISTEN": f"127.0.0.1:{self.port}"}
        command = [*wrap, AGENT, *args]
        child = self.start(name, command[0], *command[1:], env={**own, **env})
        child.port = self.port
        return child

    def settings(self, app_url, profefe_url, **more):
        return {**QUICK, **IDENTITY, "PROFEFE_AGENT_TARGETS": app_url, "PROFEFE_AGENT_COLLECTOR": profefe_url,
                "PROFEFE_AGENT_SERVICE": "web", **more}

    def get(self, path, agent=None):
        """Status and text of the agent's own port; without an agent, of the one started last."""
        return get_from(f"http://127.0.0.1:{agent.port if agent else self.port}", path)

    def metrics(self, agent=None):
        return Metrics(self.get("/metrics", agent)[1])

    def wait_for_port(self, agent):
        agent.wait_for_port(agent.port, START_SECONDS)

    def wait_for_health(self, agent, status, *words, seconds=ARRIVE_SECONDS):
        """Until /healthz says this status and all these words."""
        def says():
            agent.must_live()
            self.health = self.get("/healthz", agent)
            return self.health[0] == status and all(word in self.health[1] for word in words)

        wait_until(says, seconds, lambda: f"/healthz is {self.health}, expected {status} with {words}; the end of the "
                                          f"agent's output:\n{agent.log_tail()}")

    def wait_for_metrics(self, agent, condition, what, seconds=ARRIVE_SECONDS):
        """Until condition(metrics) is true; returns them."""
        def look():
            agent.must_live()
            self.seen = self.metrics(agent)
            return self.seen if condition(self.seen) else None

        return wait_until(look, seconds, lambda: f"after {seconds} s not {what}:\n{self.seen.text}\nthe end of the "
                                                 f"agent's "
                                                 f"output:\n{agent.log_tail()}")

    def account(self, agent):
        """The numbers of the last line: taken = stored + dropped + waiting; and `cut`, of fetches that the signal
        ended."""
        last = STOPPED.search(agent.log().rstrip().splitlines()[-1])
        self.assertTrue(last, agent.log_tail())
        return {key: int(value) for key, value in re.findall(r"([\w-]+)=(\d+)(?= |$)", last[2])}

    def drain(self, agent, app, seconds=ARRIVE_SECONDS):
        """Closes an app that gave only good answers so far, and waits until all it gave is sent; the metrics after
        that. Once a fetch is answered 503 no other is under way, since an agent has one at a time."""
        app.open = False
        seen = self.wait_for_metrics(agent, lambda seen: seen.sum("scrapes_total", result="status") > 0 and
                                     seen.sum("spool_profiles") == 0, "all sent", seconds)
        wait_until(lambda: app.under_way == 0, seconds, lambda: "the app still answers")
        return seen

    def wait_for_profiles(self, profefe, wanted):
        """Until profefe holds a profile of each type; returns all it holds by then."""
        def look():
            found = profefe.profiles("web", self.since)
            return found if set(wanted) <= {profile["type"] for profile in found} else None

        return wait_until(look, ARRIVE_SECONDS,
                          lambda: f"after {ARRIVE_SECONDS} s profefe has {profefe.profiles('web', self.since)}, "
                                  f"expected "
                                  f"at least {wanted}")

    def is_profiling(self, app_url):
        """Whether the Go app takes a CPU profile for anybody: then a goroutine of it sleeps in the handler."""
        status, text = get_from(app_url, "/goroutine?debug=1")
        self.assertEqual(200, status, text)
        return any("net/http/pprof.sleep+" in stack and "net/http/pprof.Profile+" in stack
                   for stack in text.split("\n\n"))

    def hold_profiler(self, app_url):
        """Takes the Go app's CPU profiler, as somebody else would, until the connection is closed that this returns."""
        url = urllib.parse.urlsplit(app_url)
        holder = http.client.HTTPConnection(url.netloc, timeout=REQUEST_SECONDS)
        self.addCleanup(holder.close)
        holder.request("GET", url.path + "/profile?seconds=60")
        wait_until(lambda: self.is_profiling(app_url), REQUEST_SECONDS,
                   lambda: f"{app_url} does not begin a CPU profile")
        return holder

    def stops(self, agent, seconds=STOP_SECONDS):
        self.assertEqual(0, agent.stop(seconds), agent.log_tail())
