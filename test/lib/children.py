"""Child processes that cannot outlive the program that started them.

Each child leads a process group of its own, so that Ctrl-C at the terminal reaches only the parent, which then ends its
children in order; and the kernel kills it when the parent dies without a word (PR_SET_PDEATHSIG). That signal follows
the thread that started the child: start children from the main thread only.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h
TERM_SECONDS = 10  # how long a child may take over its own end before it is killed
POLL_SECONDS = 0.05

_libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """Something a step of the demo or a fixture of a test expected did not happen; the text is for people."""


def _die_with(parent):
    """Runs in the child, before exec."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        os.kill(os.getpid(), signal.SIGKILL)


class Child:
    """A running program whose output goes to a file."""

    def __init__(self, name, argv, log_path, env=None, cwd=None):
        parent = os.getpid()
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            try:
                self.process = subprocess.Popen(
                    [str(a) for a in argv], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    process_group=0, preexec_fn=lambda: _die_with(parent))
            except OSError as error:
                raise Failure(f"cannot start {name}: {error}") from error

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        """Whether it still runs. Once it does not, what it left behind in its process group is killed; that comes
        before the process is reaped, since until then nobody else can have been given its number."""
        if self.process.returncode is not None:
            return False
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return True
        self._kill_group()
        self.process.wait()
        return False

    def _kill_group(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left in it

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "backslashreplace")

    def log_tail(self, lines=15):
        return "\n".join("    " + line for line in self.log().splitlines()[-lines:])

    def must_live(self):
        if not self.alive():
            raise Failure(f"{self.name} ended with {self.ending()}; the end of its output:\n{self.log_tail()}")

    def ending(self):
        code = self.process.returncode
        return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

    def wait(self, seconds):
        """The exit code; Failure when it has not ended by then."""
        wait_until(lambda: not self.alive(), seconds,
                   lambda: f"{self.name} still runs after {seconds:g} s; the end of its output:\n{self.log_tail()}")
        return self.process.returncode

    def wait_for_log(self, pattern, seconds):
        """The first match of the pattern in the child's output."""

        def look():
            self.must_live()
            return re.search(pattern, self.log())

        return wait_until(look, seconds, lambda: f"{self.name} did not say {pattern!r} within {seconds:g} s; the end "
                                                 f"of "
                                                 f"its output:\n{self.log_tail()}")

    def wait_for_port(self, port, seconds):
        def connects():
            self.must_live()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                return False

        wait_until(connects, seconds, lambda: f"{self.name} does not listen on 127.0.0.1:{port} after {seconds:g} s; "
                                              f"the "
                                              f"end of its output:\n{self.log_tail()}")

    def wait_until_it_takes(self, number, seconds):
        """Until it has blocked that signal to take it from a signalfd: before, the signal would end it as any other
        program. While a thread is started all signals are blocked for a moment, SIGCHLD too. An emulator's mask is its
        program's."""

        def takes():
            self.must_live()
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
                blocked = int(re.search(r"(?m)^SigBlk:\s+(\w+)$", file.read())[1], 16)
            return blocked >> number - 1 & 1 and not blocked >> signal.SIGCHLD - 1 & 1

        wait_until(takes, seconds, lambda: f"{self.name} does not block {signal.Signals(number).name} after "
                                           f"{seconds:g} s; "
                                           f"the end of its output:\n{self.log_tail()}")

    def terminate(self):
        if self.alive():
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds=TERM_SECONDS):
        """SIGTERM, and the exit code; Failure when it does not end in time."""
        self.terminate()
        return self.wait(seconds)

    def remove(self):
        """Ends the child and its process group whatever its state. For cleaning up: never raises."""
        try:
            self.stop()
        except Failure:
            self._kill_group()
            self.process.wait()


class Finished:
    """What a short command left: its exit code (negative: a signal), and its two streams as text."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out.decode("utf-8", "backslashreplace")
        self.err = err.decode("utf-8", "backslashreplace")

    def __str__(self):
        return f"code {self.code}\n  stdout: {self.out!r}\n  stderr: {self.err!r}"


def run(argv, seconds, env=None, stdin=b"", cwd=None):
    """Runs a command to its end; Failure when that takes longer than `seconds`."""
    parent = os.getpid()
    argv = [str(a) for a in argv]
    with subprocess.Popen(argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=lambda: _die_with(parent)) as process:
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failure(f"{' '.join(argv)} still runs after {seconds:g} s; it said {out!r} and {err!r}") from None
        except BaseException:
            process.kill()
            raise
    return Finished(process.returncode, out, err)


def wait_until(condition, seconds, message):
    """Polls until the condition is true and returns what it gave; Failure with message() when time is up."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise Failure(message())
        time.sleep(POLL_SECONDS)


def end_by_exception():
    """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, so that every `finally` runs."""

    def leave(number, _frame):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def ignore_signals():
    """While cleaning up: a second Ctrl-C must not leave half of it behind."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def reserve(port=0):
    """A bound socket that does not listen: connections to it are refused, and the kernel gives its port to nobody else.
    Servers set SO_REUSEADDR, which lets them listen on it all the same. port 0: any that is free."""
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


def free_port():
    """A TCP port of 127.0.0.1 that is free now, and until this program ends for those who are told of it."""
    reserved = reserve()
    port = reserved.getsockname()[1]
    reserved.detach()  # its descriptor stays open to the end
    return port
