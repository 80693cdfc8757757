"""How the bench measures: rounds in which the sides take turns, medians, a table and JSON. What a side costs is CPU
time of its server alone (lib/processes.py), never time on the wall, so that a busy machine changes little; latencies
are another matter, and the load of the machine is noted beside them."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from dataclasses import dataclass, field

OURS = "ours"
PEER = "peer"
NAME_COLUMNS = 46
FLOOR = "floor"  # where there is one: what does nothing at all


def in_turn(rounds, sides, measure):
    """measure(side) for each side in turn, so often: {side name: [value, ...]}. The order turns around with each round,
    so that what grows with time (heat, another load) falls on both."""
    values = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            values[side.name].append(measure(side))
    return values


def percentile(ordered, share):
    """Of sorted values, by nearest rank."""
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]


@dataclass
class Row:
    """One line: the same quantity of both sides, or of ours alone. `values` are those of the rounds."""

    name: str
    unit: str
    values: dict
    more_is_better: bool = False
    may_be_zero: bool = False
    note: str = ""
    medians: dict = field(init=False)

    def __post_init__(self):
        self.medians = {side: statistics.median(values) for side, values in self.values.items()}

    @property
    def ratio(self):
        """Ours against the peer's: under 1 is less than the peer. None where nothing can be compared."""
        return self.medians[OURS] / self.medians[PEER] if self.medians.get(PEER) else None

    def text(self):
        peer = _shown(self.medians[PEER]) if PEER in self.medians else "-"
        ratio = "-" if self.ratio is None else f"{self.ratio:.3f}"
        notes = [f"floor {_shown(self.medians[FLOOR])}"] if FLOOR in self.medians else []
        notes += [self.note] if self.note else []
        return (f"{self.name:<{NAME_COLUMNS}} {self.unit:<9} {_shown(self.medians[OURS]):>9} {peer:>9} {ratio:>10}"
                + ("  " if notes else "") + "; ".join(notes))

    def as_json(self):
        return {"name": self.name, "unit": self.unit, **self.medians, "ratio": self.ratio,
                "more_is_better": self.more_is_better, "note": self.note, "rounds": self.values}


def _shown(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


class Report:
    """The rows of one part of the bench, printed as they come."""

    def __init__(self, part, what_is_ours, what_is_peer):
        self.part = part
        self.sides = {OURS: what_is_ours, PEER: what_is_peer}
        self.rows = []
        self.skipped = {}  # name: reason
        self.machine = machine()
        print(f"\n{part}: {what_is_ours} (ours) beside {what_is_peer} (peer); {self.machine['cpus']} CPUs shared by "
              f"both and "
              f"the load generator; load average {self.machine['load_at_start']}\n")
        print(f"{'':<{NAME_COLUMNS}} {'unit':<9} {'ours':>9} {'peer':>9} {'ours/peer':>10}")

    def add(self, name, unit, values, **options):
        row = Row(name, unit, values, **options)
        self.rows.append(row)
        print(row.text(), flush=True)
        return row

    def skip(self, name, reason):
        """A row that this machine cannot make: said loudly, and not missing."""
        self.skipped[name] = reason
        print(f"{name:<{NAME_COLUMNS}} SKIPPED: {reason}", flush=True)

    def missing(self, names):
        """Which of these rows are not there, or hold a value that cannot be."""
        good = {row.name for row in self.rows
                if all(value > 0 or row.may_be_zero for values in row.values.values() for value in values)}
        return [name for name in names if name not in good and name not in self.skipped]

    def write(self, folder):
        self.machine["load_at_end"] = load_average()
        path = os.path.join(folder, f"{self.part}.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"part": self.part, "sides": self.sides, "machine": self.machine,
                       "rows": [row.as_json() for row in self.rows], "skipped": self.skipped}, file, indent=1)
            file.write("\n")
        return path


def load_average():
    with open("/proc/loadavg", encoding="ascii") as file:
        return " ".join(file.read().split()[:3])


def _output(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def machine():
    """What the figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"^model name\s*: (.*)$", file.read(), re.MULTILINE)
    here = os.path.dirname(os.path.realpath(__file__))
    return {
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "commit": _output("git", "describe", "--always", "--dirty", cwd=here),
        "go": _output("go", "env", "GOVERSION", cwd="/"),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load_at_start": load_average(),
    }
