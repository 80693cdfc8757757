"""System calls and wake-ups of processes over a time in which they have nothing to do."""

import os
import re
import shutil
import subprocess
import time

import processes
from children import Child, Failure

PERF_EVENT = "raw_syscalls:sys_enter"
PERF_TRY_SECONDS = 10
STOP_SECONDS = 10


def method():
    """How system calls are counted here: the first of perf, strace, /proc that works."""
    if shutil.which("perf"):
        tried = subprocess.run(["perf", "stat", "-x,", "-e", PERF_EVENT, "--", "true"], capture_output=True, text=True,
                               timeout=PERF_TRY_SECONDS, check=False)
        if tried.returncode == 0 and re.search(rf"(?m)^\d+,.*{PERF_EVENT}", tried.stderr):
            return "perf"
    if shutil.which("strace"):
        return "strace"
    return "/proc/PID/io (reads and writes alone)"


def _perf_count(text):
    """A process that makes none is not run, and so 'not counted'."""
    match = re.search(rf"(?m)^(\d+|<not counted>),.*{PERF_EVENT}", text)
    if match is None:
        raise Failure(f"perf counted nothing: {text!r}")
    return int(match[1]) if match[1].isdigit() else 0


def _strace_count(text):
    """The line of the totals: % time, seconds, usecs/call, calls, errors, name."""
    match = re.search(r"(?m)^\s*[\d.]+\s+[\d.]+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", text)
    return int(match[1]) if match else 0


def _io(pid):
    with open(f"/proc/{pid}/io", encoding="ascii") as file:
        return sum(int(number) for number in re.findall(r"(?m)^sysc[rw]: (\d+)$", file.read()))


def _watch(how, pid, seconds, folder):
    log = os.path.join(folder, f"{how}-{pid}.log")
    if how == "perf":
        return Child("perf", ["perf", "stat", "-x,", "-e", PERF_EVENT, "-p", pid, "--", "sleep", seconds], log)
    return Child("strace", ["timeout", "-s", "INT", seconds, "strace", "-f", "-c", "-p", pid], log)


def _syscalls(how, pids, seconds, folder):
    if how not in ("perf", "strace"):
        before = {pid: _io(pid) for pid in pids}
        time.sleep(seconds)
        return {pid: _io(pid) - before[pid] for pid in pids}
    watchers = {pid: _watch(how, pid, seconds, folder) for pid in pids}
    try:
        for watcher in watchers.values():
            watcher.wait(seconds + STOP_SECONDS)
        count = _perf_count if how == "perf" else _strace_count
        return {pid: count(watcher.log()) for pid, watcher in watchers.items()}
    finally:
        for watcher in watchers.values():
            watcher.remove()


def measure(how, pids, seconds, folder):
    """({pid: system calls a minute}, {pid: wake-ups a minute}). Wake-ups are counted in a time of their own where
    strace watches, whose stops would count among them."""
    before = {pid: processes.wakeups(pid) for pid in pids}
    if how == "strace":
        time.sleep(seconds)
    else:
        calls = _syscalls(how, pids, seconds, folder)
    woken = {pid: (processes.wakeups(pid) - before[pid]) * 60 / seconds for pid in pids}
    if how == "strace":
        calls = _syscalls(how, pids, seconds, folder)
    return {pid: number * 60 / seconds for pid, number in calls.items()}, woken
