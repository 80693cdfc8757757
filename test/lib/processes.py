"""What a process costs, from the kernel's own books."""

import ctypes
import os
import time

from children import Failure

_libc = ctypes.CDLL(None, use_errno=True)
KIB = 1024


def cpu_ns(pid):
    """CPU time of all its threads, ended ones included, in user and kernel mode, in nanoseconds: the sum that utime and
    stime of /proc/PID/stat show in steps of 10 ms."""
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error != 0:
        raise Failure(f"no CPU clock of process {pid}: {os.strerror(error)}")
    return time.clock_gettime_ns(clock.value)


def _fields(path):
    with open(path, encoding="ascii") as lines:
        return dict(line.split(":", 1) for line in lines if ":" in line)


def _bytes(text):
    return int(text.split()[0]) * KIB


def rss(pid):
    return _bytes(_fields(f"/proc/{pid}/status")["VmRSS"])


def rss_peak(pid):
    """The highest RSS since its start."""
    return _bytes(_fields(f"/proc/{pid}/status")["VmHWM"])


def pss(pid):
    """RSS in which pages shared with other processes count by their share."""
    return _bytes(_fields(f"/proc/{pid}/smaps_rollup")["Pss"])


def private(pid):
    """What is mapped by it alone: what its end would give back."""
    fields = _fields(f"/proc/{pid}/smaps_rollup")
    return _bytes(fields["Private_Clean"]) + _bytes(fields["Private_Dirty"])


def wakeups(pid):
    """How often its threads gave up a CPU to wait, since their start; those that ended are not in it."""
    folder = f"/proc/{pid}/task"
    return sum(int(_fields(f"{folder}/{task}/status")["voluntary_ctxt_switches"]) for task in os.listdir(folder))


def anonymous(pid):
    """What is its own alone and comes from no file: heap, stacks, data written to."""
    return _bytes(_fields(f"/proc/{pid}/status")["RssAnon"])
