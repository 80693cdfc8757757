"""Memory cgroups, v1 or v2: the books of one that is there, and one made for a program."""

import os
import re

ROOT = "/sys/fs/cgroup"


def is_v2():
    return os.path.exists(os.path.join(ROOT, "cgroup.controllers"))


def hierarchy():
    return ROOT if is_v2() else os.path.join(ROOT, "memory")


def path_in(text, v2):
    """A process's memory cgroup, from the text of its /proc/PID/cgroup; None where it is in none."""
    found = re.search(r"(?m)^0::/(.*)$" if v2 else r"(?m)^\d+:(?:\w+,)*memory(?:,\w+)*:/(.*)$", text)
    return found and found[1]


class Memory:
    """A cgroup that is there, by its folder."""

    def __init__(self, path):
        self.v2 = is_v2()
        self.path = path

    @classmethod
    def of(cls, pid):
        """That of a process."""
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
            return cls(os.path.join(hierarchy(), path_in(file.read(), is_v2())))

    def beside(self):
        """{name: cgroup} of those that share its parent, itself included."""
        parent = os.path.dirname(self.path)
        return {entry.name: Memory(entry.path) for entry in os.scandir(parent) if entry.is_dir()}

    def _read(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read()

    def pids(self):
        return [int(pid) for pid in self._read("cgroup.procs").split()]

    def usage(self):
        """The bytes it holds now, page cache included."""
        return int(self._read("memory.current" if self.v2 else "memory.usage_in_bytes"))

    def _peak_name(self):
        return "memory.peak" if self.v2 else "memory.max_usage_in_bytes"

    def peak(self):
        """The most bytes it ever held, page cache included."""
        return int(self._read(self._peak_name()))

    def peak_from_now(self):
        """The same from now on: a function that tells it. OSError where the kernel cannot (v2 before Linux 6.12)."""
        file = open(os.path.join(self.path, self._peak_name()), "r+b",
                    buffering=0)  # v2 keeps it for this open file alone
        try:
            file.write(b"0")
        except OSError:
            file.close()
            raise

        def peak():
            file.seek(0)
            return int(file.read())
        return peak

    def kills(self):
        """How many of its processes were killed for memory."""
        return int(re.search(r"(?m)^oom_kill (\d+)$",
                             self._read("memory.events" if self.v2 else "memory.oom_control"))[1])


class MemoryGroup(Memory):
    """OSError from the constructor: there is no memory controller here, or it must not be written."""

    def __init__(self, name, limit_bytes):
        super().__init__(os.path.join(hierarchy(), f"{name}-{os.getpid()}"))
        os.mkdir(self.path)
        try:
            self._write("memory.max" if self.v2 else "memory.limit_in_bytes", limit_bytes)
        except OSError:
            os.rmdir(self.path)
            raise

    def _write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def wrap(self):
        """A command that runs its arguments in the group."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', os.path.join(self.path, "cgroup.procs")]

    def remove(self):
        """Once nobody is in it any more."""
        os.rmdir(self.path)
