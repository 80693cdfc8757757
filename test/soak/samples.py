"""What an agent takes from the machine, looked at again and again: a row in a CSV file each time."""

import csv
import os
import statistics

import processes
from agent_case import memory_kib
from children import wait_until

COLUMNS = ("seconds", "agent", "life", "life_seconds", "rss_kib", "anonymous_kib", "descriptors", "threads", "cpu_ms",
           "log_lines", "taken", "settled", "dropped", "spool_profiles", "spool_bytes", "api", "worker", "collector")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def lines_of(path):
    with open(path, "rb") as log:
        return sum(1 for _ in log)


def wait_for_descriptors(life, most, seconds):
    """Until the process has at most so many, and one thread."""
    def few():
        life.child.must_live()
        return descriptors(life.child.pid) <= most and threads(life.child.pid) == 1

    def what_it_has():
        pid = life.child.pid
        return (f"{life.child.name} has {descriptors(pid)} descriptors, expected {most}, and {threads(pid)} threads, "
                f"expected "
                f"1: {_open_files(pid)}")

    wait_until(few, seconds, what_it_has)


def _open_files(pid):
    folder = f"/proc/{pid}/fd"
    return [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder)]


class Samples:
    def __init__(self, path):
        self.rows = []
        self.file = open(path, "w", newline="", encoding="ascii")
        self.csv = csv.DictWriter(self.file, COLUMNS)
        self.csv.writeheader()

    def close(self):
        self.file.close()

    def take(self, now, life, seen, faults):
        """seen: the agent's metrics now. faults: column → what goes wrong at the moment."""
        pid = life.child.pid
        row = {"seconds": round(now, 2), "agent": life.agent.name, "life": life.number,
               "life_seconds": round(now - life.began, 2), "rss_kib": memory_kib(pid, "VmRSS"),
               "anonymous_kib": memory_kib(pid, "RssAnon"), "descriptors": descriptors(pid), "threads": threads(pid),
               "cpu_ms": processes.cpu_ns(pid) // 1_000_000, "log_lines": lines_of(life.child.log_path),
               "taken": seen.sum("taken_profiles_total"),
               "settled": seen.sum("pushes_total", result="stored") + seen.sum("pushes_total", result="found"),
               "dropped": seen.sum("dropped_profiles_total"), "spool_profiles": seen.sum("spool_profiles"),
               "spool_bytes": seen.sum("spool_bytes"), **faults}
        self.rows.append(row)
        self.csv.writerow(row)
        self.file.flush()
        return row

    def of(self, agent):
        return [row for row in self.rows if row["agent"] == agent]

    def medians(self, agent, column, warm_up, windows):
        """Of each of so many windows of equal length, without the first seconds of each life."""
        rows = [row for row in self.of(agent) if row["life_seconds"] >= warm_up]
        size = len(rows) // windows
        parts = [rows[at * size:(at + 1) * size] for at in range(windows)]
        return [statistics.median(row[column] for row in part) for part in parts] if size else []
