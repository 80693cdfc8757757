"""A memory cgroup for one program, v1 or v2."""

import os
import re

ROOT = "/sys/fs/cgroup"


class MemoryGroup:
    """OSError from the constructor: there is no memory controller here, or it must not be written."""

    def __init__(self, name, limit_bytes):
        self.v2 = os.path.exists(os.path.join(ROOT, "cgroup.controllers"))
        name = f"{name}-{os.getpid()}"
        self.path = os.path.join(ROOT, name) if self.v2 else os.path.join(ROOT, "memory", name)
        os.mkdir(self.path)
        try:
            self._write("memory.max" if self.v2 else "memory.limit_in_bytes", limit_bytes)
        except OSError:
            os.rmdir(self.path)
            raise

    def _write(self, name, value):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def _read(self, name):
        with open(os.path.join(self.path, name), encoding="ascii") as file:
            return file.read()

    def wrap(self):
        """A command that runs its arguments in the group."""
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', os.path.join(self.path, "cgroup.procs")]

    def peak(self):
        """The most bytes it ever held, page cache included."""
        return int(self._read("memory.peak" if self.v2 else "memory.max_usage_in_bytes"))

    def kills(self):
        """How many of its processes were killed for memory."""
        return int(re.search(r"(?m)^oom_kill (\d+)$", self._read("memory.events" if self.v2 else "memory.oom_control"))[1])

    def remove(self):
        """Once nobody is in it any more."""
        os.rmdir(self.path)
