"""What it costs a Go app to be profiled: the work that test/go/app does, alone, beside profefe-agent and beside the
same agent in Go, at the default types and times; and what the agents themselves cost meanwhile.

All three apps run at once, so that whatever else the machine does falls on each of them. Work is counted against the
CPU time of the app's process, not against the clock.
"""

import http.client
import os
import time

import processes
from agents import MEMORY, environment, running, sides_of
from children import Child, Failure, free_port
from measure import OURS, PEER, Report
from sink import Sink

START_SECONDS = 15
ALONE = "alone"
LOAD = "0.3"
# The defaults, written out. A measurement begins when the start-up is over and each agent takes a CPU profile a minute;
# profefe-agent leaves out the first point of its grid when that lies near its first profile.
TYPES = "cpu:60s=10s,heap:300s,goroutine:300s,block:300s,mutex:300s"
QUICK_TYPES = "cpu:3s=1s,heap:3s,goroutine:3s,block:3s,mutex:3s"
WARM_SECONDS = 75
QUICK_WARM_SECONDS = 4


class App:
    def __init__(self, name, tools, folder):
        self.port = free_port()
        self.child = Child(f"app-{name}", [os.path.join(tools, "app"), "-listen", f"127.0.0.1:{self.port}", "-load",
                                           LOAD,
                                           "-block-rate", "10000", "-mutex-fraction", "100"],
                           os.path.join(folder, f"app-{name}.log"))
        self.child.wait_for_port(self.port, START_SECONDS)

    def work(self):
        """(pieces of work, CPU seconds) since its start."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/work")
            return int(connection.getresponse().read()), processes.cpu_ns(self.child.pid) / 1e9
        finally:
            connection.close()


def rates(before, after):
    """Work by CPU second, app by app."""
    return {name: (after[name][0] - work) / (after[name][1] - cpu) for name, (work, cpu) in before.items()}


WORK = "work of the app by CPU second"
AGENT_CPU = "CPU of the agent, a minute"
PUSHES = "profiles, a minute"


def memory_row(name):
    return f"{name} of the agent, default types"


def measure_round(sides, tools, folder, env, warm, seconds):
    """{row: {side: value}} of one round of so many seconds; the apps are new, so that one that lies badly in memory
    lies there for one round only."""
    apps, sinks = {}, {side.name: Sink(b"") for side in sides}
    try:
        for name in (ALONE, OURS, PEER):
            apps[name] = App(name, tools, folder)
        envs = {side.name: {**env, **environment([f"http://127.0.0.1:{apps[side.name].port}/debug/pprof"],
                                                 sinks[side.name].url, env["PROFEFE_AGENT_TYPES"])} for side in sides}
        with running(sides[0], folder, envs[OURS]) as ours, running(sides[1], folder, envs[PEER]) as peer:
            agents = {OURS: ours, PEER: peer}
            time.sleep(warm)
            before = {name: app.work() for name, app in apps.items()}
            cpu = {name: processes.cpu_ns(agent.pid) for name, agent in agents.items()}
            pushes = {name: sink.counts["pushes"] for name, sink in sinks.items()}
            time.sleep(seconds)
            after = {name: app.work() for name, app in apps.items()}
            found = {AGENT_CPU: {name: (processes.cpu_ns(agent.pid) - cpu[name]) / 1e6 * 60 / seconds
                                 for name, agent in agents.items()},
                     PUSHES: {name: (sink.counts["pushes"] - pushes[name]) * 60 / seconds
                              for name, sink in sinks.items()}}
            for name, read in MEMORY.items():
                found[memory_row(name)] = {side: read(agent.pid) / 1e6 for side, agent in agents.items()}
        rate = rates(before, after)
        found[WORK] = {name: 100 * rate[name] / rate[ALONE] for name in agents}
        return found
    finally:
        for app in apps.values():
            app.child.remove()
        for sink in sinks.values():
            sink.close()


UNITS = {WORK: "% alone", AGENT_CPU: "ms CPU", PUSHES: "1/min"}
ROWS = [WORK, AGENT_CPU, PUSHES, *map(memory_row, MEMORY)]


def run_part(_build, tools, folder, quick, agent):
    """The report; Failure when a row could not be made."""
    sides = sides_of(agent, tools)
    rounds, seconds, warm = (1, 3, QUICK_WARM_SECONDS) if quick else (2, 120, WARM_SECONDS)
    report = Report("profiled", "an app with profefe-agent", "with the same agent in Go")
    env = {"PROFEFE_AGENT_TYPES": QUICK_TYPES if quick else TYPES}
    found = [measure_round(sides, tools, folder, env, warm, seconds) for _ in range(rounds)]
    for row in ROWS:
        report.add(row, UNITS.get(row, "MB"),
                   {side.name: [values[row][side.name] for values in found] for side in sides},
                   more_is_better=row == WORK, note=f"alone: 100; {rounds} times {seconds} s" if row == WORK else "")
    missing = report.missing(ROWS)
    if missing:
        raise Failure(f"no figure for: {'; '.join(missing)}")
    return report
